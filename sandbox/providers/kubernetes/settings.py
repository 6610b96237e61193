"""The provider's own settings: reading them, refusing what is unknown, and whether a change means another cluster."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sandbox.errors import SandboxError
from sandbox.providers.contract import ChangeKind, Checked, Diffed, ProviderError, Request
from sandbox.providers.kubernetes.client import Cluster, UnreachableError, parse_kubeconfig, with_cluster
from sandbox.providers.properties import UNKNOWN

_PLACES: Final = ("kubeconfig", "context", "cluster")  # what says which cluster is meant
_SWITCHES: Final = {
    "deleteUnreachable": "PULUMI_K8S_DELETE_UNREACHABLE",
    "enableConfigMapMutable": "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE",
    "enablePatchForce": "PULUMI_K8S_ENABLE_PATCH_FORCE",
    "enableSecretMutable": "PULUMI_K8S_ENABLE_SECRET_MUTABLE",
    "enableServerSideApply": "PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY",
    "skipUpdateUnreachable": "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE",
    "suppressDeprecationWarnings": "PULUMI_K8S_SUPPRESS_DEPRECATION_WARNINGS",
    "suppressHelmHookWarnings": "PULUMI_K8S_SUPPRESS_HELM_HOOK_WARNINGS",
    "upsertExistingObjects": "PULUMI_K8S_UPSERT_EXISTING_OBJECTS",
}
_ON_BY_DEFAULT: Final = frozenset({"enableServerSideApply"})
_OTHERS: Final = frozenset(
    {*_PLACES, "clusterIdentifier", "namespace", "kubeClientSettings", "helmReleaseSettings", "strictMode", "version"}
)
_REFUSED: Final = {
    "renderYamlToDirectory": "the emulated kubernetes provider does not render YAML; take the official plugin for that",
    "alwaysRender": "the emulated kubernetes provider does not render YAML; take the official plugin for that",
}


@dataclass(frozen=True)
class Settings:
    """What the rest of the provider needs to know; defaults are the official ones."""

    namespace: str = ""
    delete_unreachable: bool = False
    skip_update_unreachable: bool = False
    config_map_mutable: bool = False
    secret_mutable: bool = False
    patch_force: bool = False
    upsert: bool = False


def check(request: Request) -> Checked:
    """Refuse settings that are unknown or not emulated."""
    failures: list[tuple[str, str]] = []
    for name, value in request.inputs.values.items():
        if name in _REFUSED and value not in ("", "false", False):
            failures.append((name, _REFUSED[name]))
        elif name not in _OTHERS and name not in _SWITCHES and name not in _REFUSED:
            failures.append(
                (name, f"is not a setting of the kubernetes provider; known are {', '.join(sorted(_OTHERS | set(_SWITCHES)))}")
            )
        elif name in _SWITCHES and value is not UNKNOWN and str(value).lower() not in ("true", "false", ""):
            failures.append((name, f"must be true or false, not {value!r}"))
    if not _switch(request.inputs.values, "enableServerSideApply"):
        failures.append(("enableServerSideApply", "false is not emulated: this provider works by server-side apply only"))
    return Checked(request.inputs, tuple(failures))


def diff(request: Request) -> Diffed:
    """A change replaces the provider, and with it everything in the cluster, only when it means another cluster."""
    old, new = request.state.values or request.old_inputs.values, request.inputs.values
    changes = {
        name: _kind(old, new, name) for name in sorted({*old, *new}) if old.get(name) is UNKNOWN or old.get(name) != new.get(name)
    }
    changes |= {name: ChangeKind.UPDATE for name, value in new.items() if value is UNKNOWN}
    was, now = old.get("clusterIdentifier"), new.get("clusterIdentifier")
    if was and now and was is not UNKNOWN and now is not UNKNOWN:
        return Diffed(changes, ("clusterIdentifier",) if was != now else ())
    computed = [name for name in _PLACES if new.get(name) is UNKNOWN]
    if computed:
        return Diffed(changes, tuple(computed[:1]))
    before, after = _active_cluster(old), _active_cluster(new)
    moved = before is not None and after is not None and before != after
    return Diffed(changes, tuple(name for name in _PLACES if moved and name in changes))


def read(values: Mapping[str, Any]) -> Settings:
    return Settings(
        namespace=_text(values, "namespace"),
        delete_unreachable=_switch(values, "deleteUnreachable"),
        skip_update_unreachable=_switch(values, "skipUpdateUnreachable"),
        config_map_mutable=_switch(values, "enableConfigMapMutable"),
        secret_mutable=_switch(values, "enableSecretMutable"),
        patch_force=_switch(values, "enablePatchForce"),
        upsert=_switch(values, "upsertExistingObjects"),
    )


def cluster(values: Mapping[str, Any]) -> Cluster:
    """The cluster the settings name; without a kubeconfig the one of $KUBECONFIG, ~/.kube/config or the pod it runs in.

    Raises:
        ProviderError: the kubeconfig is not one.
    """
    text, context, named = (_text(values, name) for name in _PLACES)
    source: dict[str, Any] | str | None = None
    if text:
        source = str(Path(text).expanduser()) if _is_path(text) else _parsed(text)
    if named:
        if isinstance(source, str) or source is None:
            source = _parsed(Path(source or os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser().read_text())
        source = with_cluster(source, context, named)
    return Cluster(source, context)


def _parsed(text: str) -> dict[str, Any]:
    try:
        return parse_kubeconfig(text)
    except UnreachableError as error:
        raise ProviderError(str(error)) from error


def _is_path(text: str) -> bool:
    """A kubeconfig setting is its content, or one or more paths."""
    return "\n" not in text and not text.lstrip().startswith("{") and ":" not in text.replace(os.pathsep + "/", "/")


def _active_cluster(values: Mapping[str, Any]) -> Any:
    """The cluster entry that is in use, or None where that cannot be told."""
    text = _text(values, "kubeconfig")
    try:
        config = parse_kubeconfig(Path(text).expanduser().read_text() if _is_path(text) else text)
        active = _text(values, "context") or config.get("current-context")
        contexts = {entry["name"]: entry["context"] for entry in config["contexts"]}
        clusters = {entry["name"]: entry["cluster"] for entry in config["clusters"]}
        return clusters.get(_text(values, "cluster") or contexts[active]["cluster"])
    except (SandboxError, OSError, KeyError, TypeError):
        return None


def _kind(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> ChangeKind:
    if name not in old:
        return ChangeKind.ADD
    return ChangeKind.UPDATE if name in new else ChangeKind.DELETE


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _switch(values: Mapping[str, Any], name: str) -> bool:
    value = values.get(name)
    if value is None or value == "":
        value = os.environ.get(_SWITCHES[name], "")
    return str(value).lower() == "true" if value != "" else name in _ON_BY_DEFAULT
