"""Which accelerators the device plugins on a node make it offer: pure functions over Pod and Node objects."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from sandbox.control_plane import nvidia
from sandbox.control_plane.annotations import DEVICES
from sandbox.control_plane.nvidia import ConfigMaps

FIELD_MANAGER = "device-manager"
OFFERS = "llm-platform/offers"
"""Annotation of the pods of a plugin whose image nobody knows: the resources it serves."""


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


def is_agent(pod: Mapping[str, Any]) -> bool:
    """Whether this is a ready pod of a DaemonSet that is not on its way out."""
    metadata = pod["metadata"]
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    of_daemon_set = any(owner["kind"] == "DaemonSet" for owner in metadata.get("ownerReferences", []))
    return ready and of_daemon_set and "deletionTimestamp" not in metadata


def offered_by(pod: Mapping[str, Any]) -> frozenset[str]:
    """The resources the device plugins in this pod serve; none unless the pod is ready and of a DaemonSet."""
    if not is_agent(pod):
        return frozenset()
    found = [(container, plugin) for container in pod["spec"]["containers"] for plugin in plugins() if _has(container, plugin)]
    if not found:
        named = pod["metadata"].get("annotations", {}).get(OFFERS, "")
        return frozenset(filter(None, named.split(",")))
    return frozenset(resource for container, plugin in found if _is_plugin(container, plugin) for resource in plugin.resources)


def wanted_capacity(
    node: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], config_maps: ConfigMaps = MappingProxyType({})
) -> dict[str, str] | None:
    """The accelerator capacity `node` should have, given the pods on it, or None when it has just that.

    A resource without its plugin is 0 once it was offered, as with a kubelet whose plugin has gone, and absent before.
    """
    devices: dict[str, int] = json.loads(node["metadata"].get("annotations", {}).get(DEVICES, "{}"))
    owned = owned_fields(node, "status", "f:status", "f:capacity")
    served = _served(node, devices, list(filter(is_agent, pods)), config_maps)
    gone = {resource for resource in owned - served.keys() if _device_of(resource) in devices}
    wanted = {resource: str(served.get(resource, 0)) for resource in gone | served.keys()}
    capacity = node.get("status", {}).get("capacity", {})
    is_so = wanted.keys() == owned and all(capacity.get(resource) == count for resource, count in wanted.items())
    return None if is_so else wanted


def wanted_metadata(
    node: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], config_maps: ConfigMaps, *, operator: bool
) -> dict[str, dict[str, str]] | None:
    """The labels and annotations that agents give `node`, or None when it has just them.

    `operator` tells whether NVIDIA's GPU operator runs in the cluster. What others have set stays as it is.
    """
    agents = list(filter(is_agent, pods))
    asked = {
        "labels": nvidia.labels(node, agents, config_maps, operator=operator),
        "annotations": nvidia.annotations(node, agents),
    }
    wanted, same = {}, True
    for name, values in asked.items():
        live, own = node["metadata"].get(name, {}), owned_fields(node, "", "f:metadata", f"f:{name}")
        wanted[name] = {key: value for key, value in values.items() if key in own or key not in live}
        same = same and wanted[name].keys() == own and all(live.get(key) == value for key, value in wanted[name].items())
    return None if same else wanted


def owned_fields(node: Mapping[str, Any], subresource: str, *path: str) -> set[str]:
    """The keys of a map of `node` that this program's field manager set."""
    for entry in node["metadata"].get("managedFields", []):
        if entry["manager"] == FIELD_MANAGER and entry.get("subresource", "") == subresource:
            fields = entry.get("fieldsV1", {})
            for step in path:
                fields = fields.get(step, {})
            return {field.removeprefix("f:") for field in fields if field.startswith("f:") and field != "f:."}
    return set()


def _served(
    node: Mapping[str, Any], devices: Mapping[str, int], agents: Sequence[Mapping[str, Any]], config_maps: ConfigMaps
) -> dict[str, int]:
    """Resource name to count of what the plugins on the node serve of its devices."""
    found: dict[str, int] = {}
    for pod in agents:
        for resource in offered_by(pod) & devices.keys():
            if resource == nvidia.GPU:
                found |= nvidia.offered(node, devices[resource], pod, agents, config_maps)
            else:
                found[resource] = devices[resource]
    return found


def _device_of(resource: str) -> str:
    """The device a resource is a part of: `nvidia.com/mig-3g.40gb` and `nvidia.com/gpu.shared` are GPUs."""
    name = resource.removesuffix(".shared")
    return nvidia.GPU if name.startswith("nvidia.com/mig-") else name


def _has(container: Mapping[str, Any], plugin: Plugin) -> bool:
    repository = container["image"].partition("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    path = plugin.image.partition("/")[2]
    return repository in (plugin.image, path) or repository.endswith("/" + path)


def _is_plugin(container: Mapping[str, Any], plugin: Plugin) -> bool:
    command = container.get("command") or [""]
    return PurePosixPath(command[0]).name not in plugin.not_plugins
