"""The controller that opens sealed secrets, by its project's own Helm chart."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field

from ..base import PlatformComponent
from ..charts import placed, release
from ..inputs import InputText, Model, validate
from ..versions import SEALED_SECRETS

PODS = {"app.kubernetes.io/name": "sealed-secrets", "app.kubernetes.io/instance": "sealed-secrets"}
"""Labels of its pods (chart sealed-secrets, templates/_helpers.tpl)."""
_REPOSITORY = "https://bitnami-labs.github.io/sealed-secrets"


class SealedSecretsControllerArgs(TypedDict):
    """Inputs of `SealedSecretsController`."""

    namespace_name: pulumi.Input[str]
    """Namespace it runs in, and where its keys lie; *restricted* suffices."""
    watched_namespace_names: list[pulumi.Input[str]]
    """Namespaces whose sealed secrets it opens; in others it has no rights."""
    system_labels: NotRequired[dict[str, str]]
    """Labels of the nodes it runs on; any Linux node by default."""


class _Config(Model):
    namespace_name: InputText
    watched_namespace_names: tuple[InputText, ...] = Field(min_length=1, examples=["[models]"])
    system_labels: Mapping[str, str] = Field(default_factory=dict)


class SealedSecretsController(PlatformComponent):
    """Opens SealedSecrets. Whoever has its keys can read every one of them, and without them nobody can: docs/secrets.md says how
    they are backed up."""

    chart_version: pulumi.Output[str]
    """Version of the chart, known once the controller runs: sealed secrets wait for it."""

    def __init__(self, name: str, args: SealedSecretsControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"SealedSecretsController {name}")
        made = release(
            self,
            config.namespace_name,
            "sealed-secrets",
            chart="sealed-secrets",
            version=SEALED_SECRETS,
            repository=_REPOSITORY,
            # It watches its own namespace too, and does not start where it may not.
            values=sealed_secrets_values(config.system_labels, [config.namespace_name, *config.watched_namespace_names]),
        )
        self.chart_version = made.version
        self.finish()


def sealed_secrets_values(system_labels: Mapping[str, str], watched: Sequence[pulumi.Input[str]]) -> dict[str, Any]:
    """Values of the chart sealed-secrets: rights in the namespaces it opens secrets for, by Roles, and no way in from outside."""
    return {
        **placed(system_labels, PODS),
        "fullnameOverride": "sealed-secrets",
        "additionalNamespaces": list(watched),
        "rbac": {
            "clusterRole": False,
            "namespacedRoles": True,
            # Else everybody who is logged in may ask it, through the API server, whether a text is one of its secrets.
            "serviceProxier": {"create": False, "bind": False},
        },
        "podSecurityContext": {"fsGroup": 65534, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containerSecurityContext": {"allowPrivilegeEscalation": False},
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "64Mi"},
            "limits": {"memory": "64Mi", "ephemeral-storage": "64Mi"},
        },
    }
