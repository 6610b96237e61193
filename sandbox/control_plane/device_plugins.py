"""Which accelerators a pod's device plugin makes its node offer: pure functions over Pod and Node objects."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

DEVICES_ANNOTATION = "sandbox.llm-platform/devices"
FIELD_MANAGER = "device-manager"


class Plugin(BaseModel):
    """One entry of device_plugins.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    resources: tuple[str, ...]
    not_plugins: tuple[str, ...] = Field(default=(), alias="notPlugins")


@cache
def plugins() -> tuple[Plugin, ...]:
    """The known device plugins."""
    raw = yaml.safe_load(Path(__file__).with_name("device_plugins.yaml").read_text(encoding="utf-8"))
    return tuple(Plugin(**entry) for entry in raw)


def offered_by(pod: Mapping[str, Any]) -> frozenset[str]:
    """The resources the device plugins in this pod serve; none unless the pod is ready and of a DaemonSet."""
    metadata = pod["metadata"]
    owners = metadata.get("ownerReferences", [])
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    if not ready or "deletionTimestamp" in metadata or not any(owner["kind"] == "DaemonSet" for owner in owners):
        return frozenset()
    return frozenset(
        resource
        for container in pod["spec"]["containers"]
        for plugin in plugins()
        if _is_plugin(container, plugin)
        for resource in plugin.resources
    )


def wanted_capacity(node: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> dict[str, str] | None:
    """The accelerator capacity `node` should have, given the pods on it, or None when it has just that.

    A resource without its plugin is 0 once it was offered, as with a kubelet whose plugin has gone, and absent before.
    """
    devices: dict[str, int] = json.loads(node["metadata"].get("annotations", {}).get(DEVICES_ANNOTATION, "{}"))
    served = frozenset[str]().union(*map(offered_by, pods))
    owned = _owned(node)
    wanted = {
        resource: str(count if resource in served else 0)
        for resource, count in devices.items()
        if resource in served or resource in owned
    }
    capacity = node.get("status", {}).get("capacity", {})
    is_so = wanted.keys() == owned and all(capacity.get(resource) == count for resource, count in wanted.items())
    return None if is_so else wanted


def _is_plugin(container: Mapping[str, Any], plugin: Plugin) -> bool:
    repository = container["image"].partition("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    path = plugin.image.partition("/")[2]
    if repository not in (plugin.image, path) and not repository.endswith("/" + path):
        return False
    command = container.get("command") or [""]
    return PurePosixPath(command[0]).name not in plugin.not_plugins


def _owned(node: Mapping[str, Any]) -> set[str]:
    """The resources this program's field manager set on `node`."""
    for entry in node["metadata"].get("managedFields", []):
        if entry["manager"] == FIELD_MANAGER:
            fields = entry.get("fieldsV1", {}).get("f:status", {}).get("f:capacity", {})
            return {field.removeprefix("f:") for field in fields if field.startswith("f:") and field != "f:."}
    return set()
