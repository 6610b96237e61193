"""Karpenter's pools: what their owner writes, and the EC2NodeClass and NodePool that follow. Pure; values may be outputs."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, NotRequired, TypedDict

import pulumi
from pydantic import Field, model_validator

from components.inputs import InputText, Matching, Model
from components.types import Accelerator, DnsLabel, NodePool, Taint, TaintArgs, TaintEffect
from planner.catalog import InstanceType, UnknownInstanceTypeError
from planner.catalog import accelerator as catalogue_accelerator
from planner.catalog import instance_type as catalogue_instance_type
from planner.drain import Drain

POOL_LABEL = "llm-platform/pool"
DISCOVERY_TAG = "karpenter.sh/discovery"

CONSOLIDATE_AFTER_SECONDS = 600
"""No pool gives up an empty node sooner (planner.timeouts.karpenter_consolidate_after_seconds says why)."""

_SYSTEM_GIB = 4  # Karpenter's own default for Bottlerocket
_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}


class CapacityType(StrEnum):
    """How Karpenter buys an instance. Of those allowed it takes reserved first, then spot, then on-demand."""

    RESERVED = "reserved"
    SPOT = "spot"
    ON_DEMAND = "onDemand"

    @property
    def label(self) -> str:
        """The value of the label karpenter.sh/capacity-type."""
        return "on-demand" if self is CapacityType.ON_DEMAND else self.value


class KarpenterImageArgs(TypedDict):
    """The machine image of nodes; it changes only with these values."""

    family: str
    """Operating system: `bottlerocket` or `al2023`."""
    release: str
    """Its release, e.g. `1.66.0` for Bottlerocket, `20260724` for AL2023; never `latest`."""


class KarpenterDiskArgs(TypedDict):
    """The encrypted gp3 volume of a node, for images and logs."""

    size_gib: NotRequired[int]
    """Size in GiB; 200 by default."""
    iops: NotRequired[int]
    """Operations a second; 6000 by default."""
    throughput_mibps: NotRequired[int]
    """MiB/s; 600 by default, since unpacking images wants much."""


class KarpenterPoolArgs(TypedDict):
    """Nodes of one kind that Karpenter makes when pods wait for them."""

    name: str
    """Name of the pool; what selects it is the label `llm-platform/pool`."""
    instance_types: list[str]
    """EC2 types with the same accelerators, the same number each."""
    max_nodes: int
    """Nodes the pool can grow to."""
    image: KarpenterImageArgs
    """Machine image."""
    capacity_types: NotRequired[list[CapacityType]]
    """Ways of buying it may use; on-demand by default."""
    reservation_ids: NotRequired[list[str]]
    """Capacity reservations and blocks, for `reserved`."""
    zones: NotRequired[list[str]]
    """Zones it may use; those of the subnets by default."""
    disk: NotRequired[KarpenterDiskArgs]
    """The volume beside local NVMe."""
    labels: NotRequired[dict[str, str]]
    """Labels beside the pool's own."""
    taints: NotRequired[list[TaintArgs]]
    """Taints; by default one by the accelerators' resource name, so that only pods that want them come."""
    consolidate_after_seconds: NotRequired[int]
    """How long a node stays that has become empty: at least as long as another one takes to serve; 600 by default."""
    drain_seconds: NotRequired[int]
    """The longest `terminationGracePeriodSeconds` of the pods that run there; 90 by default."""
    user_data: NotRequired[pulumi.Input[str]]
    """Settings of the machine image beside those Karpenter makes: TOML for Bottlerocket, MIME for AL2023."""


class Image(Model):
    """Validated `KarpenterImageArgs`."""

    family: Literal["bottlerocket", "al2023"] = Field(examples=["bottlerocket"])
    release: str = Field(examples=["1.66.0"])

    @model_validator(mode="after")
    def _pinned(self) -> "Image":
        _RELEASES[self.family].check(self.release)
        return self

    @property
    def alias(self) -> str:
        """What Karpenter calls it. With an alias it takes the variant with the drivers by itself where there are accelerators."""
        return f"{self.family}@v{self.release}"


_RELEASES = {
    "bottlerocket": Matching(pattern=r"\d+\.\d+\.\d+", what="a release of Bottlerocket", example="1.66.0"),
    "al2023": Matching(pattern=r"20\d{6}", what="a release of the EKS AMIs (a date)", example="'20260724'"),
}


class Disk(Model):
    """Validated `KarpenterDiskArgs`."""

    size_gib: int = Field(200, ge=50, le=16384, examples=[200])
    iops: int = Field(6000, ge=3000, le=80000, examples=[6000])
    throughput_mibps: int = Field(600, ge=125, le=2000, examples=[600])


class Pool(Model):
    """Validated `KarpenterPoolArgs`."""

    name: DnsLabel = Field(examples=["l4"])
    instance_types: tuple[str, ...] = Field(min_length=1, examples=["[g6.xlarge, g6.2xlarge]"])
    max_nodes: int = Field(ge=1, examples=[4])
    image: Image
    capacity_types: tuple[CapacityType, ...] = Field((CapacityType.ON_DEMAND,), min_length=1, examples=["[spot, onDemand]"])
    reservation_ids: tuple[str, ...] = Field((), examples=["[cr-0123456789abcdef0]"])
    zones: tuple[str, ...] = Field((), examples=["[us-east-1a]"])
    disk: Disk = Field(default_factory=Disk)
    labels: Mapping[str, str] = Field(default_factory=dict)
    taints: tuple[Taint, ...] | None = None
    consolidate_after_seconds: int = Field(CONSOLIDATE_AFTER_SECONDS, ge=CONSOLIDATE_AFTER_SECONDS, examples=[1200])
    drain_seconds: int = Field(Drain().grace, ge=1, examples=[90])
    user_data: InputText | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Pool":
        first, *others = self.types()
        if first.accelerator_count == 0:
            raise ValueError(f"instanceTypes: {first.name} has a fraction of a GPU, which no engine uses; use e.g. g6.xlarge")
        for other in others:
            if _hardware(other) != _hardware(first):
                raise ValueError(
                    f"instanceTypes: {other.name} has {_hardware(other)} and {first.name} {_hardware(first)}; "
                    "use types that are alike, or a pool for each"
                )
        if (CapacityType.RESERVED in self.capacity_types) != bool(self.reservation_ids):
            raise ValueError(
                "capacityTypes with reserved and reservationIds go together, since Karpenter uses named reservations only; "
                "give both, e.g. capacityTypes: [reserved] and reservationIds: [cr-0123456789abcdef0]"
            )
        return self

    def types(self) -> tuple[InstanceType, ...]:
        """The instance types. Raises ValueError for one the catalogue does not have."""
        try:
            return tuple(map(catalogue_instance_type, self.instance_types))
        except UnknownInstanceTypeError as error:
            hint = "" if "nearest" in str(error) else "; use e.g. g6.xlarge"
            raise ValueError(f"instanceTypes: {error}{hint}") from error

    @property
    def resource(self) -> str:
        """The extended resource its accelerators are."""
        return catalogue_accelerator(self.types()[0].accelerator).resource

    def effective_taints(self) -> tuple[Taint, ...]:
        """Its taints, with the default."""
        if self.taints is not None:
            return self.taints
        return (Taint(key=self.resource, value="present", effect=TaintEffect.NO_SCHEDULE),)

    def contract(self) -> NodePool:
        """The pool as workloads know it."""
        first = self.types()[0]
        return NodePool(
            name=self.name,
            accelerator=Accelerator(product=first.accelerator, resource=self.resource, per_node=first.accelerator_count),
            max_nodes=self.max_nodes,
            labels={POOL_LABEL: self.name},
            taints=self.effective_taints(),
        )


def node_class_spec(
    pool: Pool,
    *,
    role: pulumi.Input[str],
    subnets: Sequence[Mapping[str, Any]],
    security_groups: Sequence[Mapping[str, Any]],
    key_arn: pulumi.Input[str],
    tags: Mapping[str, str],
) -> dict[str, Any]:
    """`spec` of the EC2NodeClass; `subnets` and `security_groups` are selector terms."""
    spec: dict[str, Any] = {
        "amiSelectorTerms": [{"alias": pool.image.alias}],
        "role": role,
        "subnetSelectorTerms": list(subnets),
        "securityGroupSelectorTerms": list(security_groups),
        "blockDeviceMappings": _volumes(pool, key_arn),
        # Tokens only, and none for pods: a hop further would be a container.
        "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
        "associatePublicIPAddress": False,
        "tags": {"Name": f"karpenter-{pool.name}", **tags},
    }
    if all(found.nvme_gb for found in pool.types()):
        spec["instanceStorePolicy"] = "RAID0"
    if pool.reservation_ids:
        spec["capacityReservationSelectorTerms"] = [{"id": reservation} for reservation in pool.reservation_ids]
    if pool.user_data is not None:
        spec["userData"] = pool.user_data
    return spec


def node_pool_spec(pool: Pool, node_class_name: pulumi.Input[str]) -> dict[str, Any]:
    """`spec` of the NodePool.

    Only empty nodes go, and only after the time another one takes to serve: a node whose model is still loading is not empty.
    Nodes of an older image release stay until they are empty, or somebody deletes their NodeClaim.
    """
    types = pool.types()
    requirements = {
        "kubernetes.io/os": ["linux"],
        "kubernetes.io/arch": [_ARCHITECTURES[types[0].arch]],
        "node.kubernetes.io/instance-type": [found.name for found in types],
        "karpenter.sh/capacity-type": [each.label for each in CapacityType if each in pool.capacity_types],
    }
    if pool.zones:
        requirements["topology.kubernetes.io/zone"] = list(pool.zones)
    accelerators = pool.max_nodes * types[0].accelerator_count
    return {
        "template": {
            "metadata": {"labels": {**pool.labels, POOL_LABEL: pool.name}},
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": node_class_name},
                "requirements": [{"key": key, "operator": "In", "values": values} for key, values in requirements.items()],
                "taints": [taint.model_dump(mode="json", exclude_defaults=True) for taint in pool.effective_taints()],
                "expireAfter": "Never",
                # A replacement may have to come up before a disruption budget lets the last pod go, which then drains.
                "terminationGracePeriod": f"{pool.consolidate_after_seconds + pool.drain_seconds}s",
            },
        },
        "disruption": {
            "consolidationPolicy": "WhenEmpty",
            "consolidateAfter": f"{pool.consolidate_after_seconds}s",
            "budgets": [{"nodes": "100%", "reasons": ["Empty"]}, {"nodes": "0", "reasons": ["Drifted", "Underutilized"]}],
        },
        "limits": {pool.resource: str(accelerators), "cpu": str(pool.max_nodes * max(found.vcpus for found in types))},
    }


def selector_terms(ids: Sequence[pulumi.Input[str]] | None, cluster_name: pulumi.Input[str]) -> list[dict[str, Any]]:
    """Selector terms for these ids; without any, for what is tagged for the cluster."""
    if ids is None:
        return [{"tags": {DISCOVERY_TAG: cluster_name}}]
    return [{"id": each} for each in ids]


def _hardware(found: InstanceType) -> str:
    return f"{found.accelerator_count} x {found.accelerator} ({found.arch})"


def _volumes(pool: Pool, key_arn: pulumi.Input[str]) -> list[dict[str, Any]]:
    """The root volume is the one below the kubelet: Bottlerocket has another one for the system alone."""
    data = {
        "volumeSize": f"{pool.disk.size_gib}Gi",
        "iops": pool.disk.iops,
        "throughput": pool.disk.throughput_mibps,
        **_encrypted(key_arn),
    }
    if pool.image.family == "al2023":
        return [{"deviceName": "/dev/xvda", "rootVolume": True, "ebs": data}]
    system = {"volumeSize": f"{_SYSTEM_GIB}Gi", **_encrypted(key_arn)}
    return [{"deviceName": "/dev/xvda", "ebs": system}, {"deviceName": "/dev/xvdb", "rootVolume": True, "ebs": data}]


def _encrypted(key_arn: pulumi.Input[str]) -> dict[str, Any]:
    return {"volumeType": "gp3", "encrypted": True, "kmsKeyID": key_arn, "deleteOnTermination": True}
