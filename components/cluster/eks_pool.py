"""Pools of EC2 instances with accelerators: what managed node groups and Karpenter's pools have in common. Pure."""

from collections.abc import Mapping

from pydantic import Field, model_validator

from planner.catalog import InstanceType, UnknownInstanceTypeError
from planner.catalog import accelerator as catalogue_accelerator
from planner.catalog import instance_type as catalogue_instance_type

from ..inputs import Model
from ..types import Accelerator, DnsLabel, NodePool, Taint
from .images import Image, ami_type, brings_device_plugin

POOL_LABEL = "llm-platform/pool"
"""Label of every node of a pool, with the pool's name for a value; it is what selects the pool."""


class EksPool(Model):
    """Instances that are alike for a workload."""

    name: DnsLabel = Field(examples=["l4"])
    instance_types: tuple[str, ...] = Field(min_length=1, examples=["[g6.xlarge, g6.2xlarge]"])
    max_nodes: int = Field(ge=1, examples=[4])
    image: Image = Field(default_factory=Image, description="Machine image.")
    labels: Mapping[str, str] = Field(default_factory=dict)
    taints: tuple[Taint, ...] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "EksPool":
        first, *others = self.types()
        if first.accelerator_count == 0:
            raise ValueError(f"instanceTypes: {first.name} has a fraction of a GPU, which no engine uses; use e.g. g6.xlarge")
        for other in others:
            if _hardware(other) != _hardware(first):
                raise ValueError(
                    f"instanceTypes: {other.name} has {_hardware(other)} and {first.name} {_hardware(first)}; "
                    "use types that are alike, or a pool for each"
                )
        return self

    def types(self) -> tuple[InstanceType, ...]:
        """The instance types. Raises ValueError for one the catalogue does not have."""
        try:
            return tuple(map(catalogue_instance_type, self.instance_types))
        except UnknownInstanceTypeError as error:
            raise ValueError(f"instanceTypes: {error}") from error

    @property
    def resource(self) -> str:
        """The extended resource its accelerators are."""
        return catalogue_accelerator(self.types()[0].accelerator).resource

    def effective_labels(self) -> dict[str, str]:
        """Its labels, with the one that selects it."""
        return {**self.labels, POOL_LABEL: self.name}

    def effective_taints(self) -> tuple[Taint, ...]:
        """Its taints; by default one by the accelerators' resource, so that only pods that want them come."""
        if self.taints is not None:
            return self.taints
        return (Taint.by_resource(self.resource),)

    @property
    def interruptible(self) -> bool:
        """Whether its nodes can go with two minutes' notice."""
        return False

    @property
    def fabric_interfaces(self) -> int:
        """EFA interfaces of one node that pods may use."""
        return 0

    def contract(self) -> NodePool:
        """The pool as workloads know it."""
        first = self.types()[0]
        return NodePool(
            name=self.name,
            accelerator=Accelerator(product=first.accelerator, resource=self.resource, per_node=first.accelerator_count),
            max_nodes=self.max_nodes,
            labels={POOL_LABEL: self.name},
            taints=self.effective_taints(),
            interruptible=self.interruptible,
            fabric_interfaces=self.fabric_interfaces,
            topology_key="topology.kubernetes.io/zone",
            ships_device_plugin=brings_device_plugin(ami_type(self.image.family, self.instance_types)),
        )


def _hardware(found: InstanceType) -> str:
    return f"{found.accelerator_count} x {found.accelerator} ({found.arch})"
