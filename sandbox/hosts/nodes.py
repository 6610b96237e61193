"""The nodes of joined hosts: registered once as a kubelet does, later only their status and what says how they are."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

from components.quantities import quantity
from planner.catalog import accelerator
from sandbox.control_plane import annotations, nodes
from sandbox.control_plane.api import Api
from sandbox.control_plane.machines import Machine
from sandbox.control_plane.node_groups import Accelerator
from sandbox.hosts.hardware import disk_bytes, kernel_of, os_release
from sandbox.hosts.host import Host
from sandbox.hosts.k3s_config import Settings

OWNER = "k3s"
STOPPED_ANNOTATION = "sandbox.llm-platform/stopped"
"""On a node whose kubelet does not run: kwok leaves it alone."""

_RUNTIMES = (
    "crun",
    "lunatic",
    "nvidia",
    "nvidia-cdi",
    "nvidia-experimental",
    "slight",
    "spin",
    "wasmedge",
    "wasmer",
    "wasmtime",
    "wws",
)


def path(name: str) -> str:
    """Where a node is in the API."""
    return f"/api/v1/nodes/{name}"


def register(api: Api, host: Host, settings: Settings, version: str, mig: dict[str, int]) -> None:
    """Makes the node be there and work. Labels and taints are given when it is new, and never again.

    Raises SandboxError with what the API server said.
    """
    machine = _machine(host, settings)
    node, status = nodes.objects(machine, host.address, version)
    status["status"]["nodeInfo"] |= {
        "osImage": os_release(host.state.spec).splitlines()[0].partition("=")[2].strip('"'),
        "kernelVersion": kernel_of(host.state.spec),
        "containerRuntimeVersion": "containerd://2.2.2-k3s1",
        "bootID": host.state.boot,
    }
    node["metadata"]["annotations"][annotations.MIG] = json.dumps(mig)
    if api.is_there(path(machine.name)):
        api.patch(
            path(machine.name), {"metadata": {"annotations": {**node["metadata"]["annotations"], STOPPED_ANNOTATION: None}}}
        )
    else:
        api.apply(path(machine.name), node)
    api.apply(f"{path(machine.name)}/status", status)


def ship_runtimes(api: Api) -> None:
    """The RuntimeClass objects that k3s brings (docs.k3s.io, "Advanced Options", Alternative Container Runtime Support)."""
    for name in _RUNTIMES:
        runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": name}
        api.apply(f"/apis/node.k8s.io/v1/runtimeclasses/{name}", runtime)


def tell_mig(api: Api, name: str, mig: dict[str, int]) -> None:
    """The MIG instances of a node are these now; a node that is not there is left so."""
    if api.is_there(path(name)):
        api.patch(path(name), {"metadata": {"annotations": {annotations.MIG: json.dumps(mig)}}})


def stop(api: Api, name: str) -> None:
    """The kubelet of a node reports no more: the node is not ready."""
    if not api.is_there(path(name)):
        return
    api.patch(path(name), {"metadata": {"annotations": {STOPPED_ANNOTATION: "true"}}})
    conditions: list[dict[str, Any]] = api.get(path(name)).get("status", {}).get("conditions", [])
    unknown = {"status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
    api.patch(f"{path(name)}/status", {"status": {"conditions": [{**condition, **unknown} for condition in conditions]}})


def resume(api: Api, name: str) -> None:
    """The kubelet of a node reports again; a node that is not there is left so."""
    if api.is_there(path(name)):
        api.patch(path(name), {"metadata": {"annotations": {STOPPED_ANNOTATION: None}}})


def _machine(host: Host, settings: Settings) -> Machine:
    spec = host.state.spec
    roles = ("control-plane", "etcd") if settings.server else ()
    labels = {f"node-role.kubernetes.io/{role}": "true" for role in roles}
    machine = Machine(
        name=settings.node_name(host),
        group=host.name,
        owner=OWNER,
        cores=Decimal(spec.cpus),
        memory=quantity(spec.memory),
        storage=disk_bytes(spec),
        labels={"node.kubernetes.io/instance-type": "k3s", **labels, **settings.labels()},
        taints=settings.taints(),
    )
    if spec.accelerator is None or (spec.has_nvidia and host.driver is None):
        return machine
    device = accelerator(spec.accelerator.product)
    found = Accelerator(
        resource=device.resource,
        count=spec.accelerator.count,
        product=device.product.replace(" ", "-"),
        memory_mib=int(device.memory_gib * 1024),
        cores_per_device=device.multiprocessors if device.vendor == "aws" else None,
    )
    return replace(machine, accelerator=found)
