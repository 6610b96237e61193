"""The nodes of controllers and add-ons."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

import pulumi
from pydantic import Field, model_validator

from ..base import PlatformComponent
from ..inputs import InputText, Model, validate
from ..types import KubernetesVersion
from .eks_pool import POOL_LABEL
from .images import Image, ImageArgs, ami_type, check_release
from .launch_template import Disk, launch_template
from .node_group import DiskArgs, make_node_group
from .user_data import user_data

SYSTEM_POOL = "system"
"""Name of the pool, as its label has it."""


class SystemNodeGroupArgs(TypedDict):
    """Inputs of `SystemNodeGroup`."""

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
    """EC2 types of one architecture, the first choice first."""
    min_nodes: int
    """Nodes that are always there."""
    max_nodes: int
    """Nodes the pool can grow to."""
    image: NotRequired[ImageArgs]
    """Machine image; Bottlerocket in the release of this platform by default."""
    disk: NotRequired[DiskArgs]
    """Their volume; 100 GiB with what gp3 has without extra cost by default."""


class _Config(Model):
    cluster_name: InputText
    kubernetes_version: KubernetesVersion
    node_role_arn: InputText
    subnet_ids: Mapping[str, InputText] = Field(min_length=1)
    security_group_ids: tuple[InputText, ...] = Field(min_length=1)
    kms_key_arn: InputText
    instance_types: tuple[str, ...] = Field(min_length=1, examples=["[m7g.large]"])
    min_nodes: int = Field(ge=1, examples=[2])
    max_nodes: int = Field(ge=1, examples=[4])
    image: Image = Field(default_factory=Image)
    disk: Disk = Field(default_factory=lambda: Disk(size_gib=100, throughput_mibps=125, iops=3000))

    @model_validator(mode="after")
    def _can_be(self) -> "_Config":
        ami_type(self.image.family, self.instance_types)
        check_release(self.image, self.kubernetes_version)
        if self.min_nodes > self.max_nodes:
            raise ValueError(f"minNodes: {self.min_nodes} is more than maxNodes: {self.max_nodes}; raise maxNodes")
        return self


class SystemNodeGroup(PlatformComponent):
    """A managed node group without accelerators, for whatever tolerates nothing."""

    node_group_name: pulumi.Output[str]
    """Name of the node group, known when its nodes are ready."""

    def __init__(self, name: str, args: SystemNodeGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"SystemNodeGroup {name}")
        family = config.image.family
        group = make_node_group(
            self,
            role="nodes",
            template=launch_template(
                self.child_name("node"),
                family=family,
                disk=config.disk,
                kms_key_arn=config.kms_key_arn,
                security_groups=config.security_group_ids,
                user_data=user_data(family, local_disks=False, large_images=False),
            ),
            image=config.image,
            kubernetes_version=config.kubernetes_version,
            cluster_name=config.cluster_name,
            node_role_arn=config.node_role_arn,
            subnet_ids=[subnet for _, subnet in sorted(config.subnet_ids.items())],
            instance_types=config.instance_types,
            sizes=(config.min_nodes, config.min_nodes, config.max_nodes),
            labels={POOL_LABEL: SYSTEM_POOL},
        )
        self.node_group_name = group.node_group_name
        self.finish()
