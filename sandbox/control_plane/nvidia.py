"""What NVIDIA's device plugin, feature discovery and operator make of a node: pure functions over Kubernetes objects.

Sources: NVIDIA/k8s-device-plugin README.md ("Shared Access to GPUs", labels of GPU feature discovery) and cmd/config-manager;
NVIDIA/gpu-operator controllers/state_manager.go; NVIDIA/mig-parted deployments/k8s-mig-manager; labels of node-feature-discovery.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

import yaml

from planner.catalog import UnknownAcceleratorError, accelerator
from planner.catalog.hardware import Accelerator
from planner.sharing import mig_profiles
from sandbox.control_plane.annotations import ACCELERATOR, MIG

Object = Mapping[str, Any]
ConfigMaps = Mapping[tuple[str, str], Mapping[str, str]]
"""Data by namespace and name."""

GPU: Final = "nvidia.com/gpu"
_PCI_LABEL: Final = "feature.node.kubernetes.io/pci-10de.present"
_MIG_WANTED: Final = "nvidia.com/mig.config"
_STRATEGIES: Final = {"timeSlicing": "time-slicing", "mps": "mps"}
_OPERANDS: Final = ("device-plugin", "gpu-feature-discovery", "operator-validator")


def offered(node: Object, count: int, plugin: Object, agents: Iterable[Object], config_maps: ConfigMaps) -> dict[str, int]:
    """What the plugin's pod makes a node with so many GPUs offer: resource name to count.

    `agents` are the ready pods of DaemonSets on the node. Nothing, where the node's configuration is missing, as the real plugin
    then does not start, and for MPS until its control daemon runs.
    """
    config = configuration(node, plugin, config_maps)
    if config is None:
        return {}
    resources = _resources(node, count, _strategy(plugin, config))
    for kind, part in _sharing(config):
        if kind == "mps" and not any(_runs(pod, "mps-control-daemon") for pod in agents):
            return {}
        for entry in part.get("resources", ()):
            name, replicas = entry["name"], entry.get("replicas", 1)
            if name in resources:
                shared = entry.get("rename") or (f"{name}.shared" if part.get("renameByDefault") else name)
                resources[shared] = resources.pop(name) * replicas
    return resources


def configuration(node: Object, pod: Object, config_maps: ConfigMaps) -> dict[str, Any] | None:
    """The configuration that the config-manager in a pod takes for a node; empty without one, None where it is not there."""
    manager = next((each for each in pod["spec"]["containers"] if "NODE_LABEL" in _env(each)), None)
    if manager is None:
        return {}
    names = [volume["configMap"]["name"] for volume in pod["spec"].get("volumes", ()) if "configMap" in volume]
    data = config_maps.get((pod["metadata"].get("namespace", ""), names[0])) if names else None
    env = _env(manager)
    chosen = node["metadata"].get("labels", {}).get(env["NODE_LABEL"]) or env.get("DEFAULT_CONFIG")
    if not chosen and data:
        chosen = "default" if "default" in data else next(iter(data)) if len(data) == 1 else None
    try:
        parsed = yaml.safe_load((data or {})[chosen or ""])
    except (KeyError, yaml.YAMLError):
        return None
    return parsed if isinstance(parsed, dict) else None


def labels(node: Object, agents: Iterable[Object], config_maps: ConfigMaps, *, operator: bool) -> dict[str, str]:
    """The labels that discovery puts on a node while it runs there, and the operator while it runs anywhere."""
    found = _card(node)
    if found is None:
        return {}
    card, declared = found
    agents = list(agents)
    wanted = {_PCI_LABEL: "true"} if any(_runs(pod, "nfd-worker") for pod in agents) else {}
    if discovery := next((pod for pod in agents if _runs(pod, "gpu-feature-discovery")), None):
        config = configuration(node, discovery, config_maps)
        wanted |= _discovered(node, card, declared, config, _strategy(discovery, config)) if config is not None else {}
    if operator and _PCI_LABEL in wanted:
        wanted |= {"nvidia.com/gpu.present": "true"} | {f"nvidia.com/gpu.deploy.{operand}": "true" for operand in _OPERANDS}
        if wanted.get("nvidia.com/mig.capable") == "true":
            wanted["nvidia.com/gpu.deploy.mig-manager"] = "true"
    if _MIG_WANTED in node["metadata"].get("labels", {}) and any(_runs(pod, "nvidia-mig-manager") for pod in agents):
        wanted["nvidia.com/mig.config.state"] = "failed" if _instances_wanted(node) is None else "success"
    return wanted


def is_operator(pod: Object) -> bool:
    """Whether this is a ready pod of the GPU operator."""
    metadata = pod["metadata"]
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and "deletionTimestamp" not in metadata and metadata.get("labels", {}).get("app") == "gpu-operator"


def annotations(node: Object, agents: Iterable[Object]) -> dict[str, str]:
    """What the operator's MIG manager cuts the GPUs of a node into, while it runs there."""
    instances = _instances_wanted(node)
    if instances and any(_runs(pod, "nvidia-mig-manager") for pod in agents):
        return {MIG: json.dumps(instances)}
    return {}


def _instances_wanted(node: Object) -> dict[str, int] | None:
    """By the label of the node, `all-<profile>`; empty for whole GPUs, None where the card has no such profile."""
    wanted = node["metadata"].get("labels", {}).get(_MIG_WANTED, "all-disabled").removeprefix("all-")
    if wanted == "disabled":
        return {}
    found = _card(node)
    profile = mig_profiles(found[0].name).get(wanted) if found and found[0] else None
    return {wanted: profile.count * found[1]["count"]} if profile and found else None


def _resources(node: Object, count: int, strategy: str) -> dict[str, int]:
    """Before sharing: whole GPUs, and MIG instances where there are some and the strategy shows them."""
    instances: dict[str, int] = json.loads(node["metadata"].get("annotations", {}).get(MIG, "{}"))
    if not instances or strategy == "none":
        return {GPU: count}
    whole = max(0, count - _cut(node, count, instances))
    if strategy == "single":
        return {GPU: sum(instances.values()) or whole}
    parts = {f"nvidia.com/mig-{profile.replace('+', '.')}": number for profile, number in instances.items()}
    return parts | ({GPU: whole} if whole else {})


def _cut(node: Object, count: int, instances: Mapping[str, int]) -> int:
    """How many GPUs so many instances take."""
    found = _card(node)
    profiles = mig_profiles(found[0].name) if found and found[0] else {}
    if not set(instances) <= set(profiles):
        return count
    return math.ceil(sum(number / profiles[name].count for name, number in instances.items()))


def _discovered(
    node: Object, card: Accelerator | None, declared: Mapping[str, Any], config: Mapping[str, Any], strategy: str
) -> dict[str, str]:
    """The labels of GPU feature discovery."""
    sharing = next(_sharing(config), None)
    product = (card.product if card else str(declared.get("product", ""))).replace(" ", "-")
    replicas = next((entry.get("replicas", 1) for entry in sharing[1].get("resources", ())), 1) if sharing else 1
    capable = bool(card and mig_profiles(card.name))
    found = {
        "gpu.count": str(declared["count"]),
        "gpu.product": f"{product}-SHARED" if sharing and not sharing[1].get("renameByDefault") else product,
        "gpu.memory": str(declared.get("memoryMib") or (int(card.memory_gib * 1024) if card else 0)),
        "gpu.replicas": str(replicas),
        "gpu.sharing-strategy": _STRATEGIES[sharing[0]] if sharing else "none",
        "mig.capable": "true" if capable else "false",
        "mps.capable": "true" if sharing and sharing[0] == "mps" else "false",
    }
    if card and card.compute_capability:
        major, minor = card.compute_capability
        found |= {"gpu.family": card.architecture, "gpu.compute.major": str(major), "gpu.compute.minor": str(minor)}
    if strategy != "none":
        found["mig.strategy"] = strategy
    if strategy == "mixed":
        for profile, number in json.loads(node["metadata"].get("annotations", {}).get(MIG, "{}")).items():
            name = f"mig-{profile.replace('+', '.')}"
            found |= {f"{name}.count": str(number), f"{name}.product": f"{product}-MIG-{profile}", f"{name}.replicas": "1"}
    return {f"nvidia.com/{name}": value for name, value in found.items() if value}


def _card(node: Object) -> tuple[Accelerator | None, Mapping[str, Any]] | None:
    """The card of the catalogue, where it has it, and what is declared of it; None for a node without NVIDIA's."""
    declared: dict[str, Any] = json.loads(node["metadata"].get("annotations", {}).get(ACCELERATOR, "{}"))
    if declared.get("resource") != GPU:
        return None
    try:
        return accelerator(declared.get("product") or ""), declared
    except UnknownAcceleratorError:
        return None, declared


def _sharing(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((kind, part) for kind, part in (config.get("sharing") or {}).items() if kind in _STRATEGIES and part)


def _strategy(pod: Object, config: Mapping[str, Any] | None) -> str:
    """How MIG instances are offered: a variable of the container goes before its configuration."""
    given = next((env["MIG_STRATEGY"] for each in pod["spec"]["containers"] if "MIG_STRATEGY" in (env := _env(each))), None)
    return given or ((config or {}).get("flags") or {}).get("migStrategy") or "none"


def _env(container: Object) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container.get("env", ())}


def _runs(pod: Object, program: str) -> bool:
    commands = (container.get("command") or [""] for container in pod["spec"]["containers"])
    return any(PurePosixPath(command[0]).name == program for command in commands)
