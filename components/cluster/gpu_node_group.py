"""A managed node group with accelerators."""

import datetime
from collections.abc import Mapping
from typing import NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
from pydantic import Field, model_validator

from ..base import PlatformComponent
from ..inputs import InputText, validate
from ..types import KubernetesVersion, NodePool, TaintArgs
from .capacity import CapacityArgs, CapacityKind
from .images import ImageArgs, check_release, has_local_disks
from .launch_template import ONE_INTERFACE, efa_interfaces, launch_template
from .managed_pool import ManagedPool
from .node_group import DiskArgs, make_node_group
from .user_data import cache_path, user_data


class GpuNodeGroupArgs(TypedDict):
    """Inputs of `GpuNodeGroup`."""

    name: str
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
    min_nodes: NotRequired[int]
    """Nodes that are always there; none by default, where something outside scales the pool."""
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


class _Config(ManagedPool):
    cluster_name: InputText
    kubernetes_version: KubernetesVersion
    node_role_arn: InputText
    subnet_ids: Mapping[str, InputText] = Field(min_length=1)
    security_group_ids: tuple[InputText, ...] = Field(min_length=1)
    kms_key_arn: InputText
    fabric_security_group_id: InputText | None = None

    @model_validator(mode="after")
    def _has_its_place(self) -> "_Config":
        check_release(self.image, self.kubernetes_version)
        self.check_zones(self.subnet_ids)
        self.capacity.check_dates(datetime.date.today())
        if self.efa and self.fabric_security_group_id is None:
            raise ValueError("efa needs fabric_security_group_id, a group that lets its members' traffic through both ways")
        return self


class GpuNodeGroup(PlatformComponent):
    """Nodes with accelerators for reserved and steady capacity; what scales it later is not overruled."""

    node_group_name: pulumi.Output[str]
    """Name of the node group, known when its nodes are ready."""

    def __init__(self, name: str, args: GpuNodeGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"GpuNodeGroup {name}")
        self._pool = config
        first = config.min_nodes
        if warning := config.capacity.check_dates(datetime.date.today()):
            pulumi.log.warn(warning, resource=self)
            first = 0
        if config.capacity.kind is CapacityKind.SPOT and len(config.instance_types) == 1:
            pulumi.log.warn(
                "spot capacity of one instance type is often interrupted; name several in instanceTypes", resource=self
            )
        family, block = config.image.family, config.capacity.kind is CapacityKind.CAPACITY_BLOCK
        zones = {config.capacity.zone: config.subnet_ids[config.capacity.zone]} if config.capacity.zone else config.subnet_ids
        template = launch_template(
            self.child_name("node"),
            family=family,
            disk=config.disk,
            kms_key_arn=config.kms_key_arn,
            security_groups=[*config.security_group_ids, *self._fabric(config)],
            user_data=user_data(family, local_disks=has_local_disks(config.types()), large_images=True),
            interfaces=efa_interfaces(config.types()) if config.efa else ONE_INTERFACE,
            placement_group=self._placement_group() if config.efa else None,
            reservation_id=config.capacity.reservation_id,
            capacity_block=block,
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
            # EKS itself empties a group before its block ends, so there is no fewest number of nodes.
            sizes=(0 if block else config.min_nodes, first, config.max_nodes),
            labels=config.effective_labels(),
            taints=config.effective_taints(),
            capacity_type=config.capacity.eks,
            max_unavailable=config.max_unavailable,
            spare=config.capacity.reservation_id is None,
            resources={config.resource: config.types()[0].accelerator_count},
            type_in_template=block,
        )
        self.node_group_name = group.node_group_name
        self.finish()

    @property
    def pool(self) -> NodePool:
        """The pool as the cluster contract has it."""
        return self._pool.contract()

    @property
    def cache_path(self) -> str:
        """Directory of its nodes below which model caches belong: on their own NVMe disks where they have them."""
        return cache_path(self._pool.image.family, has_local_disks(self._pool.types()))

    def _fabric(self, config: _Config) -> list[pulumi.Input[str]]:
        return [config.fabric_security_group_id] if config.efa and config.fabric_security_group_id is not None else []

    def _placement_group(self) -> pulumi.Output[str]:
        group = aws.ec2.PlacementGroup(self.child_name("placement"), strategy="cluster", opts=self.child())
        group_name: pulumi.Output[str] = group.name
        return group_name
