"""Node objects for simulated machines, and bringing the API server to exactly those one owner wants."""

import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

from sandbox.control_plane.annotations import ACCELERATOR, DEVICES, MIG
from sandbox.control_plane.api import Api
from sandbox.control_plane.components import SIMULATED_LABEL
from sandbox.control_plane.machines import Machine, declared, mig_instances, plugin_devices, resources
from sandbox.control_plane.node_groups import NodeGroup

GROUP_LABEL = "sandbox.llm-platform/node-group"
OWNER_LABEL = "sandbox.llm-platform/owner"

_NODES = "/api/v1/nodes"
_ADDRESSES = ipaddress.ip_network("10.64.0.0/16")

Manifest: TypeAlias = dict[str, Any]


def manifests(group: NodeGroup, number: int, address: str, version: str) -> tuple[Manifest, Manifest]:
    """Node `number` of a declared group, as `objects` gives it."""
    return objects(declared(group, number), address, version)


def objects(machine: Machine, address: str, version: str) -> tuple[Manifest, Manifest]:
    """A node: its object and its status, to be applied one after the other.

    `address` is the node's IP address; `version` is the Kubernetes version the kubelet reports, e.g. v1.36.3.
    """
    labels = {
        **machine.labels,
        "kubernetes.io/hostname": machine.name,
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/os": "linux",
        SIMULATED_LABEL: "true",
        GROUP_LABEL: machine.group,
    }
    if machine.owner:
        labels[OWNER_LABEL] = machine.owner
    annotations = {}
    if machine.accelerator:
        annotations[ACCELERATOR] = machine.accelerator.model_dump_json(by_alias=True, exclude_none=True, exclude={"mig"})
        if instances := mig_instances(machine):
            annotations[MIG] = json.dumps(instances)
    if waiting := plugin_devices(machine):
        annotations[DEVICES] = json.dumps(waiting)
    identity = {"apiVersion": "v1", "kind": "Node"}
    spec: Manifest = {"taints": [taint.model_dump(exclude_defaults=True) for taint in machine.taints]}
    if machine.unschedulable:
        spec["unschedulable"] = True
    node = identity | {"metadata": {"name": machine.name, "labels": labels, "annotations": annotations}, "spec": spec}
    capacity, allocatable = resources(machine)
    status = identity | {
        "metadata": {"name": machine.name},
        "status": {
            "capacity": capacity,
            "allocatable": allocatable,
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": machine.name}],
            "nodeInfo": {
                "architecture": machine.architecture,
                "operatingSystem": "linux",
                "osImage": "simulated",
                "kernelVersion": "simulated",
                "kubeletVersion": version,
                "kubeProxyVersion": "",
                "containerRuntimeVersion": "simulated://",
                "machineID": machine.name,
                "systemUUID": machine.name,
                "bootID": machine.name,
            },
        },
    }
    return node, status


def reconcile(api: Api, groups: Sequence[NodeGroup], version: str) -> None:
    """Makes the declared nodes exactly those of `groups`: missing ones come, others change in place or go.

    Nodes with another owner stay as they are. Raises SandboxError with what the API server said.
    """
    machines = [declared(group, number) for group in groups for number in range(group.count)]
    wanted = {machine.name for machine in machines}
    for node in simulated(api, owner=None):
        if node["metadata"]["name"] not in wanted:
            remove(api, node["metadata"]["name"])
    put(api, machines, version)


def put(api: Api, machines: Sequence[Machine], version: str) -> None:
    """Makes these nodes be there as described, new or changed in place; others stay as they are.

    One caller at a time per instance, for addresses are given out here. Raises SandboxError with what the API server said.
    """
    existing = {node["metadata"]["name"]: node for node in simulated(api)}
    addresses = {name: _address(node) for name, node in existing.items()}
    free = _free_addresses(addresses)
    for machine in machines:
        node, status = objects(machine, addresses.get(machine.name) or next(free), version)
        # Taints are one list: what the node lifecycle controller put there has to be said again.
        node["spec"]["taints"] += _taints_of_kubernetes(existing.get(machine.name, {}))
        api.apply(f"{_NODES}/{machine.name}", node)
        api.apply(f"{_NODES}/{machine.name}/status", status)


def remove(api: Api, name: str) -> None:
    """Deletes a node; it may be gone already. Raises SandboxError with what the API server said."""
    api.delete(f"{_NODES}/{name}")


def is_ready(node: Mapping[str, Any]) -> bool:
    """Whether a Node or Pod object has the condition Ready."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def simulated(api: Api, owner: str | None = "*") -> list[dict[str, Any]]:
    """The simulated Node objects: of every owner ("*"), of one, or (None) those a stack file declares."""
    of_owner = {"*": "", None: f",!{OWNER_LABEL}"}.get(owner, f",{OWNER_LABEL}={owner}")
    return api.items(_NODES, selector=f"{SIMULATED_LABEL}=true{of_owner}")


def _address(node: Mapping[str, Any]) -> str:
    addresses = node.get("status", {}).get("addresses", [])
    return next((entry["address"] for entry in addresses if entry["type"] == "InternalIP"), "")


def _taints_of_kubernetes(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    taints: list[dict[str, Any]] = node.get("spec", {}).get("taints", [])
    return [taint for taint in taints if taint["key"].startswith("node.kubernetes.io/")]


def _free_addresses(existing: Mapping[str, str]) -> Iterator[str]:
    taken = set(existing.values())
    return (str(host) for host in islice(_ADDRESSES.hosts(), 9, None) if str(host) not in taken)
