"""The cluster of a stack: one that is there already, or one on EKS."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from components.cluster.capacity import Capacity, ReservationId
from components.cluster.contract import Brought, WorkloadIdentity
from components.cluster.eks_access import PrincipalArn
from components.cluster.eks_cluster import SystemPoolArgs
from components.cluster.eks_pool import EksPool
from components.cluster.images import Image
from components.cluster.karpenter_pools import CapacityType, Pool
from components.cluster.launch_template import Disk
from components.cluster.managed_pool import ManagedPool
from components.inputs import Model
from components.types import DnsLabel, KubernetesVersion, NodePool, NodePoolModel
from planner.catalog.hardware import instance_types
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
    other_nodes: int = Field(
        10,
        ge=0,
        le=10_000,
        description="Nodes beside those of the pools, at the most: Prometheus needs memory for each.",
        examples=[10],
    )
    brings: frozenset[Brought] = Field(
        frozenset(),
        description="What is there and not installed again: prometheusOperator, keda, metricsServer, certManager, gatewayApi, "
        "istioAmbient (ztunnel and istio-cni).",
        examples=["[keda]"],
    )
    node_pools: Mapping[DnsLabel, NodePoolModel] = Field(default_factory=dict, description="Pools workloads may name.")

    def pool(self, name: str) -> NodePool:
        """The pool of that name."""
        return NodePool(name=name, **self.node_pools[name].model_dump())

    def instance_type(self, pool: str) -> str | None:
        """The EC2 type of a pool's nodes by their well-known label, where the catalogue has it."""
        name = self.node_pools[pool].labels.get("node.kubernetes.io/instance-type", "")
        return name if name in instance_types() else None


class SystemPoolSettings(Model):
    """The nodes of controllers and add-ons."""

    instance_types: tuple[str, ...] = Field(("m7g.large",), min_length=1, description="EC2 types.", examples=["[m7g.large]"])
    min_nodes: int = Field(2, ge=1, description="Nodes that are always there.", examples=[2])
    max_nodes: int = Field(4, ge=1, description="Nodes the pool can grow to.", examples=[4])
    image: Image = Field(default_factory=Image, description="Machine image.")

    def args(self) -> SystemPoolArgs:
        """The same pool as a component takes it."""
        return {
            "instance_types": list(self.instance_types),
            "min_nodes": self.min_nodes,
            "max_nodes": self.max_nodes,
            "image": self.image.args(),
        }


class _EksPool(Model):
    """What managed pools and Karpenter's have in common."""

    instance_types: tuple[str, ...] = Field(
        min_length=1, description="EC2 types with the same accelerators, the first choice first.", examples=["[g6.xlarge]"]
    )
    max_nodes: int = Field(ge=1, description="Nodes the pool can grow to.", examples=[1])
    zones: tuple[Zone, ...] | None = Field(None, min_length=1, description="Zones it may use; all of the network when left out.")
    image: Image = Field(default_factory=Image, description="Machine image.")
    disk: Disk = Field(default_factory=Disk, description="The volume beside local NVMe.")
    labels: Mapping[str, str] = Field(default_factory=dict, description="Labels beside the pool's own.")

    def named(self, name: str) -> EksPool:
        """The pool under that name."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        try:
            self.named("pool")
        except ValidationError as error:
            (fault, *_) = error.errors()
            raise ValueError(str(fault["ctx"]["error"])) from None
        return self


class ManagedPoolSettings(_EksPool):
    """An EKS managed node group: for reserved and steady capacity."""

    kind: Literal["managed"] = Field(description="Who makes the nodes: managed or karpenter.", examples=["managed"])
    min_nodes: int = Field(0, ge=0, description="Nodes that are always there.", examples=[0])
    capacity: Capacity = Field(default_factory=Capacity, description="How the instances are bought.")
    efa: bool = Field(False, description="Whether its nodes get EFA interfaces and one placement group.")
    max_unavailable: int = Field(1, ge=1, description="Nodes an update may replace at once.", examples=[1])

    def named(self, name: str) -> ManagedPool:
        return ManagedPool(name=name, **self.model_dump(exclude={"kind", "zones"}))


class KarpenterPoolSettings(_EksPool):
    """Nodes Karpenter makes when pods wait for them: for elastic capacity."""

    kind: Literal["karpenter"] = Field(description="Who makes the nodes: managed or karpenter.", examples=["karpenter"])
    capacity_types: tuple[CapacityType, ...] = Field(
        (CapacityType.ON_DEMAND,),
        min_length=1,
        description="Ways of buying it may use; it takes the cheapest there is.",
        examples=["[spot, onDemand]"],
    )
    reservation_ids: tuple[ReservationId, ...] = Field(
        (), description="Reservations it may use.", examples=["[cr-0123456789abcdef0]"]
    )

    def named(self, name: str) -> Pool:
        return Pool(name=name, zones=self.zones or (), **self.model_dump(exclude={"kind", "zones"}))


EksPoolSettings = Annotated[ManagedPoolSettings | KarpenterPoolSettings, Field(discriminator="kind")]


class EksClusterSettings(Model):
    """A cluster this stack makes on EKS."""

    kind: Literal["eks"] = Field(description="How the cluster comes to be: eks.", examples=["eks"])
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
    workload_identity: Literal[WorkloadIdentity.POD_IDENTITY, WorkloadIdentity.IRSA] = Field(
        WorkloadIdentity.POD_IDENTITY,
        description="How service accounts of models get an identity in AWS: podIdentity or irsa.",
    )
    system: SystemPoolSettings = Field(default_factory=SystemPoolSettings, description="Nodes of controllers and add-ons.")
    node_pools: Mapping[DnsLabel, EksPoolSettings] = Field(default_factory=dict, description="Pools workloads may name.")

    def pool(self, name: str) -> NodePool:
        """The pool of that name."""
        return self.node_pools[name].named(name).contract()

    def instance_type(self, pool: str) -> str | None:
        """The EC2 type a pool's nodes are planned and priced as: the first choice."""
        return self.node_pools[pool].instance_types[0]
