"""What can be a managed pool, and what cannot. Pure."""

from collections.abc import Collection

from pydantic import Field, model_validator

from .capacity import Capacity, CapacityKind
from .eks_pool import EksPool
from .images import ami_type
from .launch_template import Disk, efa_interfaces


class ManagedPool(EksPool):
    """A pool of one EKS managed node group."""

    min_nodes: int = Field(0, ge=0, description="Nodes that are always there.", examples=[1])
    disk: Disk = Field(default_factory=Disk, description="The volume beside local NVMe.")
    capacity: Capacity = Field(default_factory=Capacity, description="How the instances are bought.")
    efa: bool = Field(False, description="Whether its nodes get all their EFA interfaces and one placement group.")
    max_unavailable: int = Field(1, ge=1, description="Nodes an update may replace at once.", examples=[1])

    @model_validator(mode="after")
    def _can_be_made(self) -> "ManagedPool":
        ami_type(self.image.family, self.instance_types)
        if self.min_nodes > self.max_nodes:
            raise ValueError(f"minNodes: {self.min_nodes} is more than maxNodes: {self.max_nodes}; raise maxNodes")
        if self.efa:
            efa_interfaces(self.types())
        if self.capacity.reservation_id and len(self.instance_types) > 1:
            raise ValueError("instanceTypes: a reservation and a capacity block are of one type; name that one")
        return self

    @property
    def interruptible(self) -> bool:
        return self.capacity.kind is CapacityKind.SPOT

    @property
    def fabric_interfaces(self) -> int:
        return min(found.efa_max_interfaces for found in self.types()) if self.efa else 0

    def check_zones(self, zones: Collection[str]) -> None:
        """Raise ValueError when its reservation is in a zone it may not use, or its placement group would be in several."""
        if self.capacity.zone and self.capacity.zone not in zones:
            raise ValueError(
                f"capacity.zone: {self.capacity.zone} is not a zone of the pool; it may use {', '.join(sorted(zones))}"
            )
        if self.efa and not self.capacity.zone and len(zones) > 1:
            raise ValueError(f"zones: nodes with EFA are side by side in one zone; use e.g. zones: [{min(zones)}]")
