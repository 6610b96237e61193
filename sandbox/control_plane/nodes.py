"""Node objects for declared groups, and bringing the API server to exactly those."""

import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, TypeAlias

from planner.catalog import accelerator as catalogue_accelerator
from planner.catalog import instance_type
from sandbox.control_plane.api import Api
from sandbox.control_plane.components import SIMULATED_LABEL
from sandbox.control_plane.device_plugins import DEVICES_ANNOTATION
from sandbox.control_plane.node_groups import Accelerator, NodeGroup
from sandbox.control_plane.quantities import quantity

GROUP_LABEL = "sandbox.llm-platform/node-group"
ACCELERATOR_ANNOTATION = "sandbox.llm-platform/accelerator"

_NODES = "/api/v1/nodes"
_ADDRESSES = ipaddress.ip_network("10.64.0.0/16")

_MIB = 2**20
_PODS = 110

# Karpenter's default vmMemoryOverheadPercent: what hypervisor and firmware take from the advertised memory.
_VM_MEMORY_OVERHEAD = Decimal("0.075")

# What the nodeadm of EKS reserves for kubelet and container runtime: memory by pods, processors by their number
# (6 % of the first, 1 % of the second, 0.5 % of two more, 0.25 % of the rest), and the kubelet's eviction thresholds.
_RESERVED_MEMORY = (255 + 11 * _PODS) * _MIB + 100 * _MIB
_RESERVED_STORAGE = 1024 * _MIB
_EVICTION_STORAGE = Decimal("0.1")

Manifest: TypeAlias = dict[str, Any]


def manifests(group: NodeGroup, number: int, address: str, version: str) -> tuple[Manifest, Manifest]:
    """Node `number` of a group: its object and its status, to be applied one after the other.

    `address` is the node's IP address; `version` is the Kubernetes version the kubelet reports, e.g. v1.36.3.
    """
    name = f"{group.name}-{number}"
    found = instance_type(group.instance_type) if group.instance_type else None
    architecture = "arm64" if found and found.arch == "arm64" else "amd64"
    accelerator = _accelerator(group)
    devices = _devices(accelerator)
    labels = {
        **group.labels,
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": architecture,
        "kubernetes.io/os": "linux",
        SIMULATED_LABEL: "true",
        GROUP_LABEL: group.name,
    }
    if group.instance_type:
        labels["node.kubernetes.io/instance-type"] = group.instance_type
    if group.zone:
        labels["topology.kubernetes.io/zone"] = group.zone
    annotations = {}
    if accelerator:
        annotations[ACCELERATOR_ANNOTATION] = accelerator.model_dump_json(by_alias=True, exclude_none=True)
        if group.device_plugin == "required":
            annotations[DEVICES_ANNOTATION] = json.dumps(devices)
    identity = {"apiVersion": "v1", "kind": "Node"}
    node = identity | {
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {"taints": [taint.model_dump(exclude_defaults=True) for taint in group.taints]},
    }
    capacity, allocatable = _resources(group, devices if group.device_plugin == "builtin" else {})
    status = identity | {
        "metadata": {"name": name},
        "status": {
            "capacity": capacity,
            "allocatable": allocatable,
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "nodeInfo": {
                "architecture": architecture,
                "operatingSystem": "linux",
                "osImage": "simulated",
                "kernelVersion": "simulated",
                "kubeletVersion": version,
                "kubeProxyVersion": "",
                "containerRuntimeVersion": "simulated://",
                "machineID": name,
                "systemUUID": name,
                "bootID": name,
            },
        },
    }
    return node, status


def reconcile(api: Api, groups: Sequence[NodeGroup], version: str) -> None:
    """Makes the simulated nodes exactly those of `groups`: missing ones come, others change in place or go.

    Raises SandboxError with what the API server said.
    """
    existing = {node["metadata"]["name"]: node for node in simulated(api)}
    declared = {f"{group.name}-{number}": (group, number) for group in groups for number in range(group.count)}
    for name in existing.keys() - declared.keys():
        api.delete(f"{_NODES}/{name}")
    addresses = {name: _address(node) for name, node in existing.items()}
    free = _free_addresses(addresses)
    for name, (group, number) in declared.items():
        node, status = manifests(group, number, addresses.get(name) or next(free), version)
        # Taints are one list: what the node lifecycle controller put there has to be said again.
        node["spec"]["taints"] += _taints_of_kubernetes(existing.get(name, {}))
        api.apply(f"{_NODES}/{name}", node)
        api.apply(f"{_NODES}/{name}/status", status)


def is_ready(node: Mapping[str, Any]) -> bool:
    """Whether a Node or Pod object has the condition Ready."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def simulated(api: Api) -> list[dict[str, Any]]:
    """The simulated Node objects."""
    return api.items(_NODES, selector=f"{SIMULATED_LABEL}=true")


def _resources(group: NodeGroup, devices: Mapping[str, int]) -> tuple[dict[str, str], dict[str, str]]:
    """Capacity and allocatable of a node, as quantities."""
    if group.instance_type:
        found = instance_type(group.instance_type)
        cores = Decimal(found.vcpus)
        memory = found.memory_mib * _MIB * (1 - _VM_MEMORY_OVERHEAD)
    else:
        cores, memory = quantity(group.cpu or "0"), quantity(group.memory or "0")
    storage = quantity(group.ephemeral_storage)
    fixed = {"pods": str(_PODS)} | {name: str(count) for name, count in devices.items()}
    return (
        _amounts(cores, memory, storage) | fixed,
        _amounts(
            cores - _reserved_cores(cores),
            memory - _RESERVED_MEMORY,
            storage * (1 - _EVICTION_STORAGE) - _RESERVED_STORAGE,
        )
        | fixed,
    )


def _amounts(cores: Decimal, memory: Decimal, storage: Decimal) -> dict[str, str]:
    return {
        "cpu": f"{max(0, int(cores * 1000))}m",
        "memory": f"{max(0, int(memory // 1024))}Ki",
        "ephemeral-storage": f"{max(0, int(storage // 1024))}Ki",
    }


def _reserved_cores(cores: Decimal) -> Decimal:
    shares = ((1, Decimal("0.06")), (1, Decimal("0.01")), (2, Decimal("0.005")), (None, Decimal("0.0025")))
    reserved, left = Decimal(0), cores
    for width, share in shares:
        part = left if width is None else min(left, Decimal(width))
        reserved, left = reserved + part * share, left - part
    return reserved


def _accelerator(group: NodeGroup) -> Accelerator | None:
    if not group.instance_type:
        return group.accelerator
    found = instance_type(group.instance_type)
    device = catalogue_accelerator(found.accelerator)
    return Accelerator(
        resource=device.resource,
        count=found.accelerator_count,
        product=device.product.replace(" ", "-"),
        memory_mib=int(device.memory_gib * 1024),
        cores_per_device=device.multiprocessors if device.vendor == "aws" else None,
    )


def _devices(accelerator: Accelerator | None) -> dict[str, int]:
    """What the node offers once its device plugin runs: resource name to count."""
    if accelerator is None:
        return {}
    devices = {accelerator.resource: accelerator.count}
    if accelerator.cores_per_device:
        devices["aws.amazon.com/neuroncore"] = accelerator.count * accelerator.cores_per_device
    return devices


def _address(node: Mapping[str, Any]) -> str:
    addresses = node.get("status", {}).get("addresses", [])
    return next((entry["address"] for entry in addresses if entry["type"] == "InternalIP"), "")


def _taints_of_kubernetes(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    taints: list[dict[str, Any]] = node.get("spec", {}).get("taints", [])
    return [taint for taint in taints if taint["key"].startswith("node.kubernetes.io/")]


def _free_addresses(existing: Mapping[str, str]) -> Iterator[str]:
    taken = set(existing.values())
    return (str(host) for host in islice(_ADDRESSES.hosts(), 9, None) if str(host) not in taken)
