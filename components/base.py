"""What every component of this platform shares: its type token, its children's options, its labels, its outputs."""

import inspect
from collections.abc import Sequence

import pulumi
from pydantic.alias_generators import to_camel

from .names import AUTONAME_SUFFIX, DNS_LABEL_MAX, fit

PACKAGE = "llm-platform"

PART_OF = "app.kubernetes.io/part-of"
"""Label of every object of this platform; nobody else may give it to pods (components/security/admission.py)."""

COMPONENT = "app.kubernetes.io/component"
"""Label that says what an object is for."""

SELECTOR_KEYS = ("app.kubernetes.io/name", "app.kubernetes.io/instance")
"""Labels that never change for a workload: selectors are immutable, so versions and hashes stay out of them."""


class PlatformComponent(pulumi.ComponentResource):
    """A component with the token `llm-platform:index:<Class>`.

    The caller's options reach only the component itself. Children take theirs from `child()`, and `finish()` registers every
    attribute the class annotates in public as an output, once, after the last child.
    """

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None) -> None:
        # No inputs are recorded: the children hold what was asked for, and inputs may be secret.
        super().__init__(f"{PACKAGE}:index:{type(self).__name__}", name, None, opts)
        self._name = name

    def child(
        self,
        *,
        depends_on: Sequence[pulumi.Input[pulumi.Resource]] | None = None,
        timeout: int | None = None,
        replace_on_changes: list[str] | None = None,
        ignore_changes: list[str] | None = None,
        protect: bool | None = None,
        retain: bool | None = None,
    ) -> pulumi.ResourceOptions:
        """Options for one child: this parent and what is named here.

        `timeout` in seconds, for creation and update; `protect` refuses its deletion, `retain` leaves it behind when the program
        forgets it.
        """
        limits = pulumi.CustomTimeouts(create=f"{timeout}s", update=f"{timeout}s") if timeout else None
        return pulumi.ResourceOptions(
            parent=self,
            depends_on=depends_on,
            custom_timeouts=limits,
            replace_on_changes=replace_on_changes,
            ignore_changes=ignore_changes,
            protect=protect,
            retain_on_delete=retain,
        )

    def child_name(self, role: str, key: str = "", *, limit: int = DNS_LABEL_MAX) -> str:
        """The logical name of a child, short enough for the suffix its physical name gets within `limit` characters."""
        return fit(self._name, role, key, limit=limit - AUTONAME_SUFFIX)

    def finish(self) -> None:
        """Register the outputs this class declares. Call once, last."""
        declared = [name for name in inspect.get_annotations(type(self)) if not name.startswith("_")]
        self.register_outputs({to_camel(name): getattr(self, name) for name in declared})


def labels(app: str, instance: str, component: str, version: str = "") -> dict[str, str]:
    """The recommended labels of Kubernetes for one object; `instance` tells apart what has the same `app`."""
    common = {
        "app.kubernetes.io/name": app,
        "app.kubernetes.io/instance": fit(instance, limit=DNS_LABEL_MAX),
        COMPONENT: component,
        PART_OF: PACKAGE,
        "app.kubernetes.io/managed-by": "pulumi",
    }
    return common | ({"app.kubernetes.io/version": version} if version else {})


def selector(of: dict[str, str]) -> dict[str, str]:
    """The part of an object's labels that its selectors use."""
    return {key: of[key] for key in SELECTOR_KEYS}
