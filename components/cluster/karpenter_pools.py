"""Karpenter's pools: what their owner writes, and the EC2NodeClass and NodePool that follow. Pure; values may be outputs."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, NotRequired, TypedDict

import pulumi
import tomli_w
from pydantic import Field, model_validator

from planner.drain import Drain

from ..types import TaintArgs
from .capacity import ReservationId
from .eks_pool import EksPool
from .images import Image, ImageArgs, ImageFamily, ami_type, has_local_disks
from .launch_template import Disk
from .node_group import DiskArgs
from .user_data import al2023, bottlerocket, cache_path

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


class KarpenterPoolArgs(TypedDict):
    """Nodes of one kind that Karpenter makes when pods wait for them."""

    name: str
    """Name of the pool; what selects it is the label `llm-platform/pool`."""
    instance_types: list[str]
    """EC2 types with the same accelerators, the same number each."""
    max_nodes: int
    """Nodes the pool can grow to."""
    image: NotRequired[ImageArgs]
    """Machine image; Bottlerocket in the release of this platform by default."""
    capacity_types: NotRequired[list[CapacityType]]
    """Ways of buying it may use; on-demand by default."""
    reservation_ids: NotRequired[list[str]]
    """Capacity reservations and blocks, for `reserved`."""
    zones: NotRequired[list[str]]
    """Zones it may use; those of the subnets by default."""
    disk: NotRequired[DiskArgs]
    """The volume beside local NVMe."""
    labels: NotRequired[dict[str, str]]
    """Labels beside the pool's own."""
    taints: NotRequired[list[TaintArgs]]
    """Taints; by default one by the accelerators' resource name, so that only pods that want them come."""
    consolidate_after_seconds: NotRequired[int]
    """How long a node stays that has become empty: at least as long as another one takes to serve; 600 by default."""
    drain_seconds: NotRequired[int]
    """The longest `terminationGracePeriodSeconds` of the pods that run there; 90 by default."""


class Pool(EksPool):
    """Validated `KarpenterPoolArgs`."""

    capacity_types: tuple[CapacityType, ...] = Field((CapacityType.ON_DEMAND,), min_length=1, examples=["[spot, onDemand]"])
    reservation_ids: tuple[ReservationId, ...] = Field((), examples=["[cr-0123456789abcdef0]"])
    zones: tuple[str, ...] = Field((), examples=["[us-east-1a]"])
    disk: Disk = Field(default_factory=Disk)
    consolidate_after_seconds: int = Field(CONSOLIDATE_AFTER_SECONDS, ge=CONSOLIDATE_AFTER_SECONDS, examples=[1200])
    drain_seconds: int = Field(Drain().grace, ge=1, examples=[90])

    @model_validator(mode="after")
    def _can_be_bought(self) -> "Pool":
        ami_type(self.image.family, self.instance_types)
        if (CapacityType.RESERVED in self.capacity_types) != bool(self.reservation_ids):
            raise ValueError(
                "capacityTypes with reserved and reservationIds go together, since Karpenter uses named reservations only; "
                "give both, e.g. capacityTypes: [reserved] and reservationIds: [cr-0123456789abcdef0]"
            )
        return self

    @property
    def interruptible(self) -> bool:
        return CapacityType.SPOT in self.capacity_types


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
        # With an alias Karpenter takes the variant with the drivers by itself where there are accelerators.
        "amiSelectorTerms": [{"alias": _alias(pool.image)}],
        "role": role,
        "subnetSelectorTerms": list(subnets),
        "securityGroupSelectorTerms": list(security_groups),
        "blockDeviceMappings": _volumes(pool, key_arn),
        # Tokens only, and none for pods: a hop further would be a container.
        "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
        "associatePublicIPAddress": False,
        "userData": _user_data(pool),
        "tags": {"Name": f"karpenter-{pool.name}", **tags},
    }
    if has_local_disks(pool.types()):
        spec["instanceStorePolicy"] = "RAID0"
    if pool.reservation_ids:
        spec["capacityReservationSelectorTerms"] = [{"id": reservation} for reservation in pool.reservation_ids]
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
            "metadata": {"labels": pool.effective_labels()},
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


def _alias(image: Image) -> str:
    """What Karpenter calls a release; of AL2023 it wants the date only."""
    return f"{image.family}@v{image.pinned.rpartition('-')[2]}"


def _user_data(pool: Pool) -> str:
    """What nodes are told beside what Karpenter tells them; it puts the local disks together itself.

    Bottlerocket keeps directories of others on the system volume unless they are bound to those disks.
    """
    if pool.image.family is ImageFamily.AL2023:
        return al2023(local_disks=False, large_images=True)
    settings = bottlerocket(local_disks=False, large_images=True)
    if not has_local_disks(pool.types()):
        return settings
    models = PurePosixPath(cache_path(ImageFamily.BOTTLEROCKET, local_disks=True)).parent
    bind = {"commands": [["apiclient", "ephemeral-storage", "bind", "--dirs", str(models)]], "essential": True, "mode": "always"}
    # Commands run in the order of their names, and Karpenter's is 000-mount-instance-storage.
    return settings + tomli_w.dumps({"settings": {"bootstrap-commands": {"100-model-caches": bind}}})


def _volumes(pool: Pool, key_arn: pulumi.Input[str]) -> list[dict[str, Any]]:
    """The root volume is the one below the kubelet: Bottlerocket has another one for the system alone."""
    data = {
        "volumeSize": f"{pool.disk.size_gib}Gi",
        "iops": pool.disk.iops,
        "throughput": pool.disk.throughput_mibps,
        **_encrypted(key_arn),
    }
    if pool.image.family is ImageFamily.AL2023:
        return [{"deviceName": "/dev/xvda", "rootVolume": True, "ebs": data}]
    system = {"volumeSize": f"{_SYSTEM_GIB}Gi", **_encrypted(key_arn)}
    return [{"deviceName": "/dev/xvda", "ebs": system}, {"deviceName": "/dev/xvdb", "rootVolume": True, "ebs": data}]


def _encrypted(key_arn: pulumi.Input[str]) -> dict[str, Any]:
    return {"volumeType": "gp3", "encrypted": True, "kmsKeyID": key_arn, "deleteOnTermination": True}
