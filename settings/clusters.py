"""The cluster of a stack: one that is there already, or one on EKS."""

import datetime
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from components.cluster.eks_access import PrincipalArn
from components.inputs import Model
from components.types import DnsLabel, KubernetesVersion, NodePool, NodePoolModel
from settings.aws import Zone


class ExistingClusterSettings(Model):
    """A cluster that is there already, reached through a kubeconfig."""

    kind: Literal["existing"] = Field(description="How the cluster comes to be: existing.", examples=["existing"])
    name: DnsLabel = Field(description="Name of the cluster, part of its identifier.", examples=["local"])
    context: str = Field(
        min_length=1,
        description="Context of the kubeconfig (KUBECONFIG, else ~/.kube/config). A stack reaches this context or none.",
        examples=["llm-platform-local"],
    )
    kubernetes_version: KubernetesVersion = Field(description="Minor version of the cluster, in quotes.")
    node_pools: Mapping[DnsLabel, NodePoolModel] = Field(default_factory=dict, description="Pools workloads may name.")

    def pool(self, name: str) -> NodePool:
        """The pool of that name."""
        return NodePool(name=name, **self.node_pools[name].model_dump())

    def instance_type(self, pool: str) -> str | None:
        """The EC2 type of a pool's nodes by their well-known label, where the catalogue has it."""
        name = self.node_pools[pool].labels.get("node.kubernetes.io/instance-type", "")
        return name if name in instance_types() else None


class ImageSettings(Model):
    """The machine image of a pool's nodes."""

    family: Literal["bottlerocket", "al2023"] = Field("bottlerocket", description="Operating system.", examples=["bottlerocket"])
    release: str | None = Field(
        None,
        min_length=1,
        description="Release, so that nodes never change by themselves; Bottlerocket's by this platform when left out.",
        examples=['"1.66.0"'],
    )


class DiskSettings(Model):
    """The encrypted gp3 volume of a node, for images and logs."""

    size_gib: int = Field(200, ge=50, le=16384, description="GiB.", examples=[200])
    throughput_mibps: int = Field(600, ge=125, le=2000, description="MiB/s; unpacking images wants much.", examples=[600])
    iops: int = Field(6000, ge=3000, le=80000, description="Operations a second.", examples=[6000])


class SystemPoolSettings(Model):
    """The nodes of controllers and add-ons."""

    instance_types: tuple[str, ...] = Field(("m7g.large",), min_length=1, description="EC2 types.", examples=["[m7g.large]"])
    min_nodes: int = Field(2, ge=1, description="Nodes that are always there.", examples=[2])
    max_nodes: int = Field(4, ge=1, description="Nodes the pool can grow to.", examples=[4])
    image: ImageSettings = Field(default_factory=ImageSettings, description="Machine image.")


class CapacitySettings(Model):
    """How a managed pool's instances are bought."""

    kind: Literal["onDemand", "spot", "reservation", "capacityBlock"] = Field("onDemand", description="Way of buying.")
    reservation_id: str | None = Field(None, description="The reservation.", examples=["cr-0123456789abcdef0"])
    zone: Zone | None = Field(None, description="Zone of the reservation.")
    starts: datetime.date | None = Field(None, description="First day of a capacity block.", examples=["2026-12-01"])
    ends: datetime.date | None = Field(None, description="Last day of a capacity block.", examples=["2026-12-14"])


class _EksPool(Model):
    """What managed pools and Karpenter's have in common."""

    instance_types: tuple[str, ...] = Field(
        min_length=1, description="EC2 types with the same accelerators, the first choice first.", examples=["[g6.xlarge]"]
    )
    max_nodes: int = Field(ge=1, description="Nodes the pool can grow to.", examples=[1])
    zones: tuple[Zone, ...] | None = Field(None, min_length=1, description="Zones it may use; all of the network when left out.")
    image: ImageSettings = Field(default_factory=ImageSettings, description="Machine image.")
    disk: DiskSettings = Field(default_factory=DiskSettings, description="The volume beside local NVMe.")
    labels: Mapping[str, str] = Field(default_factory=dict, description="Labels beside the pool's own.")


class ManagedPoolSettings(_EksPool):
    """An EKS managed node group: for reserved and steady capacity."""

    kind: Literal["managed"] = Field(description="Who makes the nodes: managed or karpenter.", examples=["managed"])
    min_nodes: int = Field(0, ge=0, description="Nodes that are always there.", examples=[0])
    capacity: CapacitySettings = Field(default_factory=CapacitySettings, description="How the instances are bought.")
    efa: bool = Field(False, description="Whether its nodes get EFA interfaces and one placement group.")
    max_unavailable: int = Field(1, ge=1, description="Nodes an update may replace at once.", examples=[1])


class KarpenterPoolSettings(_EksPool):
    """Nodes Karpenter makes when pods wait for them: for elastic capacity."""

    kind: Literal["karpenter"] = Field(description="Who makes the nodes: managed or karpenter.", examples=["karpenter"])
    capacity_types: tuple[Literal["reserved", "spot", "onDemand"], ...] = Field(
        ("onDemand",),
        min_length=1,
        description="Ways of buying it may use; it takes the cheapest there is.",
        examples=["[spot, onDemand]"],
    )
    reservation_ids: tuple[str, ...] = Field((), description="Reservations it may use.", examples=["[cr-0123456789abcdef0]"])


EksPoolSettings = Annotated[ManagedPoolSettings | KarpenterPoolSettings, Field(discriminator="kind")]


class EksClusterSettings(Model):
    """A cluster this stack makes on EKS."""

    kind: Literal["eks"] = Field(description="How the cluster comes to be: existing or eks.", examples=["eks"])
    name: DnsLabel = Field(description="Name of the cluster; another name is another cluster.", examples=["llm-dev"])
    kubernetes_version: KubernetesVersion = Field(description="Minor version of the cluster, in quotes.")
    admin_principals: tuple[PrincipalArn, ...] = Field(description="IAM roles that may do everything; whoever deploys is one.")
    viewer_principals: tuple[PrincipalArn, ...] = Field((), description="IAM roles that may read everything, for previews.")
    public_access_cidrs: tuple[str, ...] = Field(
        (),
        description="Networks that reach the API from outside; without any it has no public address.",
        examples=["[203.0.113.0/24]"],
    )
    addon_versions: Mapping[str, str] = Field(
        default_factory=dict,
        description="Versions of add-ons; EKS's default of the day it is made for those left out.",
        examples=["{coredns: v1.11.4-eksbuild.2}"],
    )
    system: SystemPoolSettings = Field(default_factory=SystemPoolSettings, description="Nodes of controllers and add-ons.")
    node_pools: Mapping[DnsLabel, EksPoolSettings] = Field(default_factory=dict, description="Pools workloads may name.")
