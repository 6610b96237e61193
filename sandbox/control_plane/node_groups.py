"""The simulated nodes a stack file declares under `sandbox:nodes`."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from components.inputs import Model
from components.quantities import quantity
from components.types import COMPUTED_LABELS, LabelValue, QualifiedName, Taint
from planner.catalog import UnknownInstanceTypeError, instance_type

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_MIG_PROFILE = re.compile(r"[1-7]g\.\d+gb(\+\w+)?")


def _node_name(value: str) -> str:
    if not _DNS_LABEL.fullmatch(value) or len(value) > 50:  # room for "-" and the number of the node in 63
        raise ValueError(f"{value!r} is no node name; use up to 50 lower-case letters, digits and dashes, e.g. name: gpu")
    return value


def _free_label(value: str) -> str:
    if value in COMPUTED_LABELS or value.startswith("sandbox.llm-platform/"):
        raise ValueError(f"every node gets its own {value}; remove it")
    return value


def _quantity(value: str) -> str:
    try:
        positive = quantity(value) > 0
    except ValueError:
        positive = False
    if not positive:
        raise ValueError(f"{value!r} is no amount; use a number with or without a unit, e.g. 16, 500m or 64Gi")
    return value


def _mig_profile(value: str) -> str:
    if not _MIG_PROFILE.fullmatch(value):
        raise ValueError(f"{value!r} is no MIG profile; use a name as `nvidia-smi mig -lgip` lists it, e.g. 3g.40gb")
    return value


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


MigProfile = Annotated[str, AfterValidator(_mig_profile)]
Quantity = Annotated[str, BeforeValidator(_number_as_text, json_schema_input_type=str | int | float), AfterValidator(_quantity)]


class Accelerator(Model):
    """The accelerators of one node."""

    resource: QualifiedName = Field(examples=["nvidia.com/gpu"])
    """The resource name its device plugin offers."""
    count: int = Field(1, ge=1, le=128, strict=True, examples=[1])
    """Devices per node."""
    product: str | None = Field(None, examples=["NVIDIA-L4"])
    """What the vendor's discovery calls the device."""
    memory_mib: int | None = Field(None, ge=1, strict=True, examples=[23034])
    """Memory of one device in MiB."""
    cores_per_device: int | None = Field(None, ge=1, strict=True, examples=[2])
    """AWS Neuron only: NeuronCores of one device, offered as aws.amazon.com/neuroncore beside the devices."""
    mig: dict[MigProfile, Annotated[int, Field(ge=1, le=16, strict=True)]] = Field({}, examples=["{3g.40gb: 2}"])
    """NVIDIA only: what each GPU is cut into, MIG profile to number of instances; nothing for whole GPUs."""


class NodeGroup(Model):
    """Nodes that are all alike: the size of an EC2 instance type, or an explicit one."""

    name: Annotated[str, AfterValidator(_node_name)] = Field(examples=["gpu"])
    """Nodes are named after it: gpu-0, gpu-1 …"""
    count: int = Field(1, ge=1, le=1000, strict=True, examples=[1])
    """How many there are."""
    instance_type: str | None = Field(None, examples=["g6.xlarge"])
    """An instance type of the catalogue; gives processors, memory and accelerators."""
    cpu: Quantity | None = Field(None, examples=[8])
    """Processors, where there is no instance type."""
    memory: Quantity | None = Field(None, examples=["32Gi"])
    """Memory, where there is no instance type."""
    ephemeral_storage: Quantity = Field("100Gi", examples=["100Gi"])
    """Size of the root volume."""
    accelerator: Accelerator | None = None
    """The accelerators, where there is no instance type."""
    labels: dict[Annotated[QualifiedName, AfterValidator(_free_label)], LabelValue] = Field({}, examples=["{pool: gpu}"])
    """Labels beside the ones every node has."""
    taints: tuple[Taint, ...] = ()
    """Taints every node of the group has."""
    zone: LabelValue | None = Field(None, examples=["us-east-1a"])
    """Availability zone label."""
    device_plugin: Literal["required", "builtin"] = Field("required", examples=["required"])
    """Whether accelerators are offered only while a device-plugin pod is ready on the node, or always (builtin: the
    node image ships the plugin, as on Bottlerocket)."""

    @model_validator(mode="after")
    def _has_one_size(self) -> "NodeGroup":
        explicit = self.cpu is not None and self.memory is not None
        if self.instance_type is None:
            if not explicit:
                raise ValueError("the size is missing; give instanceType: g6.xlarge, or cpu: 8 and memory: 32Gi")
            return self
        if self.cpu is not None or self.memory is not None or self.accelerator is not None:
            raise ValueError("instanceType gives cpu, memory and accelerator already; remove those, or remove instanceType")
        try:
            found = instance_type(self.instance_type)
        except UnknownInstanceTypeError as error:
            raise ValueError(f"{error}; or give cpu, memory and accelerator in place of instanceType") from error
        if found.accelerator_count == 0:
            raise ValueError(
                f"{self.instance_type} has a fraction of a GPU, which is not simulated; use a whole one, e.g. g6.xlarge"
            )
        return self
