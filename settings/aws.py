"""The AWS account of a stack, its network, its file systems and its bucket."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from components.cluster.network import NatGateways
from components.inputs import Matching, Model

AccountId = Annotated[str, Matching(pattern=r"\d{12}", what="an AWS account (12 digits, in quotes)", example='"123456789012"')]
Region = Annotated[str, Matching(pattern=r"[a-z]{2}(-[a-z]+)+-\d", what="an AWS region", example="us-east-1")]
Zone = Annotated[
    str, Matching(pattern=r"[a-z]{2}(-[a-z]+)+-\d[a-z]", what="an availability zone of a region", example="us-east-1a")
]
Days = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]
"""Retentions CloudWatch Logs offers (API_PutRetentionPolicy)."""


class AwsSettings(Model):
    """Where everything is made."""

    account_id: AccountId = Field(description="The only account this stack may touch; credentials of another are refused.")
    region: Region = Field("us-east-1", description="The region of the stack.")
    tags: Mapping[str, str] = Field(default_factory=dict, description="Tags of everything, for bills and clean-up.")
    protect: bool = Field(
        True,
        description="Whether cluster, keys, file systems and bucket refuse to be deleted; false for stacks that come and go.",
    )
    log_retention_days: Days = Field(365, description="How long control-plane and flow logs are kept.", examples=[365])


class NetworkSettings(Model):
    """The network of the cluster."""

    cidr: str = Field(description="Addresses of the VPC; pods take theirs from it.", examples=["10.40.0.0/16"])
    zones: tuple[Zone, ...] = Field(
        min_length=2, description="Availability zones, two or more.", examples=["[us-east-1a, us-east-1b]"]
    )
    nat_gateways: NatGateways = Field(
        NatGateways.PER_ZONE, description="One way out for all zones, one for each, or none (then interfaceEndpoints have to do)."
    )
    interface_endpoints: tuple[str, ...] = Field(
        (), description="AWS services reached inside the network, by short name.", examples=["[ecr.api, ecr.dkr, sts]"]
    )
    peer_cidrs: tuple[str, ...] = Field((), description="Networks this one must not overlap.", examples=["[10.0.0.0/16]"])


class EfsSettings(Model):
    """A file system many nodes share; needs no size."""


class LustreSettings(Model):
    """FSx for Lustre: fast, shared, in one zone."""

    zone: Zone = Field(description="Zone it is in; readers elsewhere pay for traffic between zones.")
    capacity_gib: int = Field(1200, ge=1200, description="1200 or a multiple of 2400.", examples=[2400])
    throughput_mb_per_tib: Literal[125, 250, 500, 1000] = Field(250, description="MB/s for each TiB.", examples=[500])


class BlockSettings(Model):
    """A storage class of encrypted EBS volumes (gp3), each for one node at a time."""

    throughput_mib_per_second: int = Field(125, ge=125, le=2000, description="MiB/s of each volume.", examples=[1000])


class BucketSettings(Model):
    """An S3 bucket for models."""


class StorageSettings(Model):
    """Where models lie beside the disks of nodes."""

    efs: EfsSettings | None = Field(None, description="An EFS file system; {} for its defaults.")
    lustre: LustreSettings | None = Field(None, description="An FSx for Lustre file system.")
    block: BlockSettings | None = Field(None, description="A storage class of block volumes; {} for its defaults.")
    bucket: BucketSettings | None = Field(None, description="A bucket for models; {} for its defaults.")

    def file_systems(self, *, mounts_bucket: bool = False) -> list[str]:
        """Kinds of file systems that pods mount; block volumes have their driver in every cluster."""
        found = [kind for kind in ("efs", "lustre") if getattr(self, kind) is not None]
        return [*found, "s3"] if mounts_bucket else found
