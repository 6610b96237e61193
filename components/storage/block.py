"""A storage class of encrypted EBS volumes."""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field

from ..base import PlatformComponent, labels
from ..inputs import InputText, Model, validate

_LEAST_IOPS = 3000
_IOPS_OF_A_MIB = 4
"""gp3 has 3,000 IOPS unless more are bought, and one IOPS carries at most 0.25 MiB/s (Amazon EBS user guide, "General Purpose SSD
volumes")."""


class BlockStorageClassArgs(TypedDict):
    """Inputs of `BlockStorageClass`."""

    kms_key_arn: pulumi.Input[str]
    """The key its volumes are encrypted with."""
    throughput_mib_per_second: NotRequired[int]
    """MiB/s of each volume, 125 (by default) to 2000."""
    retain: NotRequired[bool]
    """Whether a volume is kept when its claim is deleted; true by default."""


class _Config(Model):
    kms_key_arn: InputText
    throughput_mib_per_second: int = Field(125, ge=125, le=2000, examples=[1000])
    retain: bool = True


class BlockStorageClass(PlatformComponent):
    """gp3 volumes of the EBS CSI driver, made in the zone of the first pod that uses them; they can grow, but not shrink."""

    class_name: pulumi.Output[str]
    """Name for claims."""

    def __init__(self, name: str, args: BlockStorageClassArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"BlockStorageClass {name}")
        throughput = config.throughput_mib_per_second
        made = kubernetes.storage.v1.StorageClass(
            self.child_name("class"),
            metadata={"labels": labels("block-storage", name, "storage")},
            provisioner="ebs.csi.aws.com",
            parameters={
                "type": "gp3",
                "encrypted": "true",
                "kmsKeyId": config.kms_key_arn,
                "throughput": str(throughput),
                "iops": str(max(_LEAST_IOPS, _IOPS_OF_A_MIB * throughput)),
                "csi.storage.k8s.io/fstype": "ext4",
            },
            # A volume made before its pod has a node may lie in a zone without accelerators.
            volume_binding_mode="WaitForFirstConsumer",
            reclaim_policy="Retain" if config.retain else "Delete",
            allow_volume_expansion=True,
            opts=self.child(),
        )
        self.class_name = made.metadata["name"]
        self.finish()
