"""A simulated node before it is an object: its size as the kubelet would see it, and what its labels say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from components.quantities import quantity
from components.types import Taint
from planner.catalog import accelerator as catalogue_accelerator
from planner.catalog import instance_type
from planner.host import MAX_PODS, RESERVED_MIB, VM_OVERHEAD
from sandbox.control_plane.node_groups import Accelerator, NodeGroup

Architecture = Literal["amd64", "arm64"]

_MIB = 2**20

# What the nodeadm of EKS reserves for kubelet and container runtime: memory by pods, processors by their number
# (6 % of the first, 1 % of the second, 0.5 % of two more, 0.25 % of the rest), and the kubelet's eviction thresholds.
_RESERVED_MEMORY = RESERVED_MIB * _MIB
_RESERVED_STORAGE = 1024 * _MIB
_EVICTION_STORAGE = Decimal("0.1")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One node: sizes in cores and bytes."""

    name: str
    group: str
    """The node group it is of."""
    owner: str | None = None
    """What looks after it; None for the stack file's declaration."""
    cores: Decimal
    memory: Decimal
    storage: Decimal
    architecture: Architecture = "amd64"
    accelerator: Accelerator | None = None
    device_plugin: Literal["required", "builtin"] = "required"
    """Whether the accelerators wait for a device-plugin pod; other devices always do."""
    other_devices: Mapping[str, int] = field(default_factory=dict)
    """Devices beside the accelerators: resource name to count."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels beside the ones every node has."""
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False


def declared(group: NodeGroup, number: int) -> Machine:
    """Node `number` of a group of a stack file."""
    labels = dict(group.labels)
    architecture: Architecture = "amd64"
    if group.instance_type:
        found = instance_type(group.instance_type)
        cores, memory = Decimal(found.vcpus), usable_memory(found.memory_mib)
        architecture = "arm64" if found.arch == "arm64" else "amd64"
        labels["node.kubernetes.io/instance-type"] = group.instance_type
    else:
        cores, memory = quantity(group.cpu or "0"), quantity(group.memory or "0")
    if group.zone:
        labels["topology.kubernetes.io/zone"] = group.zone
    return Machine(
        name=f"{group.name}-{number}",
        group=group.name,
        cores=cores,
        memory=memory,
        storage=quantity(group.ephemeral_storage),
        architecture=architecture,
        accelerator=accelerators_of(group.instance_type) if group.instance_type else group.accelerator,
        device_plugin=group.device_plugin,
        labels=labels,
        taints=group.taints,
    )


def usable_memory(advertised_mib: int) -> Decimal:
    """Bytes the operating system sees of an EC2 instance's memory."""
    return advertised_mib * _MIB * (1 - Decimal(str(VM_OVERHEAD)))


def accelerators_of(name: str) -> Accelerator:
    """The accelerators of an instance type of the catalogue.

    Raises UnknownInstanceTypeError when it has none of that name.
    """
    found = instance_type(name)
    device = catalogue_accelerator(found.accelerator)
    return Accelerator(
        resource=device.resource,
        count=found.accelerator_count,
        product=device.product.replace(" ", "-"),
        memory_mib=int(device.memory_gib * 1024),
        cores_per_device=device.multiprocessors if device.vendor == "aws" else None,
    )


def builtin_devices(machine: Machine) -> dict[str, int]:
    """What the node offers at once: resource name to count."""
    return _accelerator_devices(machine) if machine.device_plugin == "builtin" else {}


def plugin_devices(machine: Machine) -> dict[str, int]:
    """What the node offers once its device plugins run: resource name to count."""
    return dict(machine.other_devices) | ({} if machine.device_plugin == "builtin" else _accelerator_devices(machine))


def mig_instances(machine: Machine) -> dict[str, int]:
    """What the GPUs are cut into: MIG profile to number of instances on the node."""
    if machine.accelerator is None:
        return {}
    return {profile: count * machine.accelerator.count for profile, count in machine.accelerator.mig.items()}


def _accelerator_devices(machine: Machine) -> dict[str, int]:
    if machine.accelerator is None:
        return {}
    found = {machine.accelerator.resource: machine.accelerator.count}
    if machine.accelerator.cores_per_device:
        found["aws.amazon.com/neuroncore"] = machine.accelerator.count * machine.accelerator.cores_per_device
    return found


def resources(machine: Machine) -> tuple[dict[str, str], dict[str, str]]:
    """Capacity and allocatable, as quantities."""
    fixed = {"pods": str(MAX_PODS)} | {name: str(count) for name, count in builtin_devices(machine).items()}
    return (
        _amounts(machine.cores, machine.memory, machine.storage) | fixed,
        _amounts(
            machine.cores - _reserved_cores(machine.cores),
            machine.memory - _RESERVED_MEMORY,
            machine.storage * (1 - _EVICTION_STORAGE) - _RESERVED_STORAGE,
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
