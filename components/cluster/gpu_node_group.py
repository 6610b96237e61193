"""A managed node group with accelerators."""

import datetime
from collections.abc import Mapping
from typing import NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
from pydantic import Field, model_validator

from components.base import PlatformComponent
from components.cluster.capacity import Capacity, CapacityArgs
from components.cluster.eks_pool import EksPool
from components.cluster.images import Image, ImageArgs, ami_type, brings_device_plugin, check_release, has_local_disks
from components.cluster.launch_template import Disk, efa_interfaces, launch_template
from components.cluster.node_group import DiskArgs, make_node_group
from components.cluster.user_data import user_data
from components.inputs import InputText, Model, validate
from components.types import KubernetesVersion, NodePool, Taint, TaintArgs


class GpuNodeGroupArgs(TypedDict):
    """Inputs of `GpuNodeGroup`."""

    pool_name: str
    """Name of the pool; what selects it is the label `llm-platform/pool`."""
    cluster_name: pulumi.Input[str]
    """Name of the EKS cluster, known once nodes can join it."""
    kubernetes_version: str
    """Minor version of the nodes, e.g. `1.36`."""
    node_role_arn: pulumi.Input[str]
    """Role of the nodes."""
    subnet_ids: dict[str, pulumi.Input[str]]
    """Private subnets by zone."""
    security_group_ids: list[pulumi.Input[str]]
    """Security groups of the nodes."""
    kms_key_arn: pulumi.Input[str]
    """Key of their disks."""
    instance_types: list[str]
    """EC2 types with the same accelerators, the same number each, the first choice first."""
    min_nodes: int
    """Nodes that are always there; 0 where something outside scales the pool."""
    max_nodes: int
    """Nodes the pool can grow to."""
    image: NotRequired[ImageArgs]
    """Machine image; Bottlerocket in the release of this platform by default."""
    disk: NotRequired[DiskArgs]
    """Their volume beside local NVMe."""
    labels: NotRequired[dict[str, str]]
    """Labels beside the pool's own."""
    taints: NotRequired[list[TaintArgs]]
    """Taints; by default one by the accelerators' resource name, so that only pods that want them come."""
    capacity: NotRequired[CapacityArgs]
    """How the instances are bought; on-demand by default."""
    efa: NotRequired[bool]
    """Whether nodes get all their EFA interfaces and one placement group; false by default."""
    fabric_security_group_id: NotRequired[pulumi.Input[str]]
    """Security group of EFA's traffic, for `efa`."""
    max_unavailable: NotRequired[int]
    """Nodes an update may replace at once; 1 by default."""


class _Config(Model):
    pool_name: str
    cluster_name: InputText
    kubernetes_version: KubernetesVersion
    node_role_arn: InputText
    subnet_ids: Mapping[str, InputText] = Field(min_length=1)
    security_group_ids: tuple[InputText, ...] = Field(min_length=1)
    kms_key_arn: InputText
    instance_types: tuple[str, ...] = Field(min_length=1, examples=["[g6.xlarge]"])
    min_nodes: int = Field(ge=0, examples=[1])
    max_nodes: int = Field(ge=1, examples=[2])
    image: Image = Field(default_factory=Image)
    disk: Disk = Field(default_factory=Disk)
    labels: Mapping[str, str] = Field(default_factory=dict)
    taints: tuple[Taint, ...] | None = None
    capacity: Capacity = Field(default_factory=Capacity)
    efa: bool = False
    fabric_security_group_id: InputText | None = None
    max_unavailable: int = Field(1, ge=1, examples=[1])

    @model_validator(mode="after")
    def _can_be(self) -> "_Config":
        pool = self.pool()
        ami_type(self.image.family, self.instance_types)
        check_release(self.image, self.kubernetes_version)
        if self.min_nodes > self.max_nodes:
            raise ValueError(f"minNodes: {self.min_nodes} is more than maxNodes: {self.max_nodes}; raise maxNodes")
        if self.efa:
            efa_interfaces(pool.types())
            if self.fabric_security_group_id is None:
                raise ValueError(
                    "efa needs fabricSecurityGroupId, a group that lets its members' traffic through in both directions"
                )
        if self.capacity.zone and self.capacity.zone not in self.subnet_ids:
            known = ", ".join(sorted(self.subnet_ids))
            raise ValueError(f"capacity.zone: {self.capacity.zone} has no subnet here; the pool's zones are {known}")
        if self.capacity.kind == "capacityBlock" and len(self.instance_types) > 1:
            raise ValueError("instanceTypes: a capacity block is of one type; name that one")
        return self

    def pool(self) -> EksPool:
        """The pool behind the group."""
        return EksPool(
            name=self.pool_name,
            instance_types=self.instance_types,
            max_nodes=self.max_nodes,
            labels=self.labels,
            taints=self.taints,
        )


class GpuNodeGroup(PlatformComponent):
    """Nodes with accelerators for reserved and steady capacity; what scales it later is not overruled."""

    node_group_name: pulumi.Output[str]
    """Name of the node group, known when its nodes are ready."""

    def __init__(self, name: str, args: GpuNodeGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"GpuNodeGroup {name}")
        self._pool = config.pool()
        first = config.min_nodes
        if warning := config.capacity.check_dates(datetime.date.today()):
            pulumi.log.warn(warning, resource=self)
            first = 0
        if config.capacity.kind == "spot" and len(config.instance_types) == 1:
            pulumi.log.warn(
                "spot capacity of one instance type is often interrupted; name several in instanceTypes", resource=self
            )
        kind, family = ami_type(config.image.family, config.instance_types), config.image.family
        if not brings_device_plugin(kind):
            pulumi.log.warn(f"nodes of {kind} offer no accelerators until a device plugin runs in the cluster", resource=self)
        zones = {config.capacity.zone: config.subnet_ids[config.capacity.zone]} if config.capacity.zone else config.subnet_ids
        template = launch_template(
            self.child_name("node"),
            family=family,
            disk=config.disk,
            kms_key_arn=config.kms_key_arn,
            security_groups=[*config.security_group_ids, *self._fabric(config)],
            user_data=user_data(family, local_disks=has_local_disks(self._pool.types()), large_images=True),
            interfaces=efa_interfaces(self._pool.types()) if config.efa else (),
            placement_group=self._placement_group() if config.efa else None,
            reservation_id=config.capacity.reservation_id,
            capacity_block=config.capacity.kind == "capacityBlock",
            instance_type=config.instance_types[0],
        )
        group = make_node_group(
            self,
            role="nodes",
            template=template,
            image=config.image,
            kubernetes_version=config.kubernetes_version,
            cluster_name=config.cluster_name,
            node_role_arn=config.node_role_arn,
            subnet_ids=[subnet for _, subnet in sorted(zones.items())],
            instance_types=config.instance_types,
            sizes=(min(config.min_nodes, first), first, config.max_nodes),
            labels=self._pool.effective_labels(),
            taints=self._pool.effective_taints(),
            capacity_type=config.capacity.eks,
            max_unavailable=config.max_unavailable,
            type_in_template=config.capacity.kind == "capacityBlock",
        )
        self.node_group_name = group.node_group_name
        self.finish()

    @property
    def pool(self) -> NodePool:
        """The pool as the cluster contract has it."""
        return self._pool.contract()

    def _fabric(self, config: _Config) -> list[pulumi.Input[str]]:
        return [config.fabric_security_group_id] if config.efa and config.fabric_security_group_id is not None else []

    def _placement_group(self) -> pulumi.Output[str]:
        group = aws.ec2.PlacementGroup(self.child_name("placement"), strategy="cluster", opts=self.child())
        group_name: pulumi.Output[str] = group.name
        return group_name
