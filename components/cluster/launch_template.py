"""The launch template of managed nodes: disks, metadata service, interfaces, reservation. Pure; values may be outputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pydantic import Field, model_validator

from planner.catalog import InstanceType

from ..inputs import Model
from .images import ImageFamily

_SYSTEM_DISK = "/dev/xvda"
_DATA_DISK = {"bottlerocket": "/dev/xvdb", "al2023": _SYSTEM_DISK}
"""Where images, pods and logs are; Bottlerocket keeps them apart from the system."""

_IOPS_PER_GIB, _IOPS_PER_MIBPS = 500, 4
"""What a gp3 volume can do at most for its size, and needs at least for its throughput (EBS user guide, General Purpose SSD)."""

ONE_INTERFACE: Sequence[Mapping[str, Any]] = ({"device_index": 0},)
"""Of a node without EFA."""

_FIRST_CARD_WITHOUT_EFA = frozenset({"p6-b300.48xlarge"})
"""Its first of 17 cards carries IP alone (aws/aws-parallelcluster#7143)."""


class Disk(Model):
    """The encrypted gp3 volume of a node."""

    size_gib: int = Field(200, ge=20, le=16384, description="GiB.", examples=[200])
    throughput_mibps: int = Field(600, ge=125, le=2000, description="MiB/s; unpacking images wants much.", examples=[600])
    iops: int = Field(6000, ge=3000, le=80000, description="Operations a second.", examples=[6000])

    @model_validator(mode="after")
    def _can_be_had(self) -> "Disk":
        # EC2 would refuse the volume only when a node starts.
        if self.iops > max(3000, self.size_gib * _IOPS_PER_GIB):
            raise ValueError(f"iops: {self.iops} needs sizeGib: {-(-self.iops // _IOPS_PER_GIB)} or more; raise it")
        needed = self.throughput_mibps * _IOPS_PER_MIBPS
        if self.iops < needed:
            raise ValueError(f"throughputMibps: {self.throughput_mibps} needs iops: {needed} or more; raise it")
        return self


def launch_template(
    name: str,
    *,
    family: ImageFamily,
    disk: Disk,
    kms_key_arn: pulumi.Input[str],
    security_groups: Sequence[pulumi.Input[str]],
    user_data: str | None = None,
    interfaces: Sequence[Mapping[str, Any]] = ONE_INTERFACE,
    placement_group: pulumi.Input[str] | None = None,
    reservation_id: str | None = None,
    capacity_block: bool = False,
    instance_type: str | None = None,
) -> dict[str, Any]:
    """Arguments of `aws.ec2.LaunchTemplate` for nodes called `name`.

    No interface gets a public address, whatever the subnets give. `instance_type` only for a capacity block: everything else
    names its types in the node group.
    """
    private = {"associate_public_ip_address": "false", "delete_on_termination": "true", "security_groups": list(security_groups)}
    arguments: dict[str, Any] = {
        "block_device_mappings": _disks(family, disk, kms_key_arn),
        # Tokens only, and none for pods: a container would be a hop further.
        "metadata_options": {
            "http_endpoint": "enabled",
            "http_tokens": "required",
            "http_put_response_hop_limit": 1,
            "instance_metadata_tags": "disabled",
        },
        "monitoring": {"enabled": True},
        "network_interfaces": [{**interface, **private} for interface in interfaces],
        "tag_specifications": [
            {"resource_type": kind, "tags": {"Name": name}} for kind in ("instance", "volume", "network-interface")
        ],
        "update_default_version": True,
    }
    if user_data:
        arguments["user_data"] = user_data
    if placement_group is not None:
        arguments["placement"] = {"group_name": placement_group}
    if reservation_id:
        target = {"capacity_reservation_id": reservation_id}
        arguments["capacity_reservation_specification"] = {"capacity_reservation_target": target}
    if capacity_block:
        arguments["instance_market_options"] = {"market_type": "capacity-block"}
        arguments["instance_type"] = instance_type
    return arguments


def efa_interfaces(types: Sequence[InstanceType]) -> list[dict[str, Any]]:
    """The interfaces of nodes with all EFA that every one of these types has. Raises ValueError where one has none.

    The first carries IP alone, the others EFA alone, so that they need no addresses (EC2 user guide, "Maximize network bandwidth
    on Amazon EC2 instances with multiple network cards").
    """
    for found in types:
        if not found.efa_max_interfaces:
            raise ValueError(f"efa: {found.name} has no EFA; use a type that has, e.g. p5.48xlarge, or efa: false")
    count = min(found.efa_max_interfaces or 0 for found in types)
    first = 1 if any(found.name in _FIRST_CARD_WITHOUT_EFA for found in types) else 0
    fabric = [
        {"network_card_index": card, "device_index": 1 if card == 0 else 0, "interface_type": "efa-only"}
        for card in range(first, first + count)
    ]
    return [{"network_card_index": 0, "device_index": 0, "interface_type": "interface"}, *fabric]


def _disks(family: ImageFamily, disk: Disk, kms_key_arn: pulumi.Input[str]) -> list[dict[str, Any]]:
    encrypted = {"encrypted": "true", "kms_key_id": kms_key_arn, "delete_on_termination": "true", "volume_type": "gp3"}
    data = {
        "device_name": _DATA_DISK[family],
        "ebs": {**encrypted, "volume_size": disk.size_gib, "throughput": disk.throughput_mibps, "iops": disk.iops},
    }
    system = {"device_name": _SYSTEM_DISK, "ebs": encrypted}
    return [data] if data["device_name"] == _SYSTEM_DISK else [system, data]
