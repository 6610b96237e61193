"""Operations that moto has not, or only for other services: they work on moto's memory and answer in the forms of AWS."""

import json
import secrets
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeAlias

from moto.ec2.models.launch_templates import LaunchTemplate
from moto.ec2.models.managed_prefixes import ManagedPrefixList
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.fsx.models import FileSystem, FSxBackend
from moto.s3.models import FakeBucket

from sandbox.aws.backends import Backends
from sandbox.aws.refusals.errors import Parameters, RefusalError

Operation: TypeAlias = Callable[[Backends, Parameters], dict[str, Any] | None]
"""What it returns is the answer; None leaves the answer to moto."""

_ROTATION_DAYS = 365


def _update_efs(aws: Backends, given: Parameters) -> dict[str, Any]:
    system = _efs(aws, given)
    system.throughput_mode = given.get("ThroughputMode", system.throughput_mode)
    system.provisioned_throughput_in_mibps = given.get("ProvisionedThroughputInMibps")
    told: dict[str, Any] = system.info_json()
    return told


def _put_backup_policy(aws: Backends, given: Parameters) -> dict[str, Any]:
    system = _efs(aws, given)
    system._backup = given["BackupPolicy"]["Status"] == "ENABLED"
    return {"BackupPolicy": {"Status": "ENABLED" if system._backup else "DISABLED"}}


def _backup_policy(aws: Backends, given: Parameters) -> dict[str, Any]:
    """As AWS, which tells DISABLED; moto knows no policy then."""
    return {"BackupPolicy": {"Status": "ENABLED" if _efs(aws, given)._backup else "DISABLED"}}


def _delete_efs_policy(aws: Backends, given: Parameters) -> dict[str, Any]:
    _efs(aws, given).file_system_policy = None
    return {}


def _efs(aws: Backends, given: Parameters) -> Any:
    system = aws.efs.file_systems_by_id.get(given["FileSystemId"])
    if system is None:
        raise RefusalError("FileSystemNotFound", f"File system '{given['FileSystemId']}' does not exist.")
    return system


def _update_fsx(aws: Backends, given: Parameters) -> dict[str, Any]:
    system = aws.fsx.file_systems[given["FileSystemId"]]
    system.storage_capacity = given.get("StorageCapacity", system.storage_capacity)
    if "LustreConfiguration" in given:
        system.lustre_configuration |= given["LustreConfiguration"]
    return {"FileSystem": system.to_dict()}


def _associate_kms_key(aws: Backends, given: Parameters) -> dict[str, Any]:
    _log_group(aws, given).kms_key_id = given["kmsKeyId"]
    return {}


def _disassociate_kms_key(aws: Backends, given: Parameters) -> dict[str, Any]:
    _log_group(aws, given).kms_key_id = None
    return {}


def _log_group(aws: Backends, given: Parameters) -> Any:
    group = aws.logs.groups.get(given["logGroupName"])
    if group is None:
        raise RefusalError("ResourceNotFoundException", "The specified log group does not exist.")
    return group


def _enable_rotation(aws: Backends, given: Parameters) -> None:
    if (key := _key(aws, given)) is not None:
        key.rotation_days = given.get("RotationPeriodInDays", _ROTATION_DAYS)


def _rotation(aws: Backends, given: Parameters) -> dict[str, Any] | None:
    key = _key(aws, given)
    if key is None or not key.key_rotation_status:
        return None
    return {"KeyId": key.id, "KeyRotationEnabled": True, "RotationPeriodInDays": key.rotation_days}


def _create_placement_group(aws: Backends, given: Parameters) -> dict[str, Any]:
    name, groups = given["GroupName"], _placement_groups(aws)
    if name in groups:
        raise RefusalError("InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' already exists.")
    identity = f"pg-{secrets.token_hex(9)[:17]}"
    asked = ("GroupName", "Strategy", "PartitionCount", "SpreadLevel")
    told: dict[str, Any] = {member: given[member] for member in asked if member in given}
    arn = f"arn:aws:ec2:{aws.ec2.region_name}:{aws.ec2.account_id}:placement-group/{name}"
    groups[name] = {**told, "GroupId": identity, "GroupArn": arn, "State": "available"}
    tags = [tag for one in given.get("TagSpecifications", []) for tag in one.get("Tags", [])]
    if tags:
        aws.ec2.tags[identity].update({tag["Key"]: tag.get("Value", "") for tag in tags})
    return {"PlacementGroup": _with_tags(aws, groups[name])}


def _describe_placement_groups(aws: Backends, given: Parameters) -> dict[str, Any]:
    groups = _placement_groups(aws)
    for name in given.get("GroupNames", []):
        if name not in groups:
            raise RefusalError("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")
    return {"PlacementGroups": [_with_tags(aws, groups[name]) for name in given.get("GroupNames", groups)]}


def _delete_placement_group(aws: Backends, given: Parameters) -> dict[str, Any]:
    if _placement_groups(aws).pop(given["GroupName"], None) is None:
        raise RefusalError("InvalidPlacementGroup.Unknown", f"The Placement Group '{given['GroupName']}' is unknown.")
    return {}


def _create_tags(aws: Backends, given: Parameters) -> dict[str, Any] | None:
    """Of placement groups, whose ids moto does not know."""
    if not all(identity.startswith("pg-") for identity in given["Resources"]):
        return None
    for identity in given["Resources"]:
        aws.ec2.tags[identity].update({tag["Key"]: tag.get("Value", "") for tag in given["Tags"]})
    return {}


def _delete_tags(aws: Backends, given: Parameters) -> dict[str, Any] | None:
    if not all(identity.startswith("pg-") for identity in given["Resources"]):
        return None
    for identity in given["Resources"]:
        for tag in given.get("Tags", []):
            aws.ec2.tags[identity].pop(tag["Key"], None)
    return {}


def _modify_endpoint(aws: Backends, given: Parameters) -> None:
    """The routes of a gateway endpoint: moto notes the tables it is asked to add or remove, and routes nothing."""
    endpoint = aws.ec2.vpc_end_points[given["VpcEndpointId"]]
    for table in given.get("AddRouteTableIds", []):
        aws.ec2.create_route(table, None, destination_prefix_list_id=endpoint.destination_prefix_list_id, gateway_id=endpoint.id)
    for table in given.get("RemoveRouteTableIds", []):
        aws.ec2.delete_route(table, endpoint.destination_prefix_list_id)


def _placement_groups(aws: Backends) -> dict[str, dict[str, Any]]:
    """Kept with moto's backend, which has no place of its own for them."""
    kept: dict[str, dict[str, Any]] = vars(aws.ec2).setdefault("placement_groups", {})
    return kept


def _with_tags(aws: Backends, group: dict[str, Any]) -> dict[str, Any]:
    return {**group, "Tags": [{"Key": key, "Value": value} for key, value in aws.ec2.tags.get(group["GroupId"], {}).items()]}


def _key(aws: Backends, given: Parameters) -> Any | None:
    return aws.kms.keys.get(given["KeyId"].rpartition("/")[2])


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("ec2", "CreatePlacementGroup"): _create_placement_group,
    ("ec2", "CreateTags"): _create_tags,
    ("ec2", "DeleteTags"): _delete_tags,
    ("ec2", "DeletePlacementGroup"): _delete_placement_group,
    ("ec2", "ModifyVpcEndpoint"): _modify_endpoint,
    ("ec2", "DescribePlacementGroups"): _describe_placement_groups,
    ("efs", "DeleteFileSystemPolicy"): _delete_efs_policy,
    ("efs", "DescribeBackupPolicy"): _backup_policy,
    ("efs", "PutBackupPolicy"): _put_backup_policy,
    ("efs", "UpdateFileSystem"): _update_efs,
    ("fsx", "UpdateFileSystem"): _update_fsx,
    ("kms", "EnableKeyRotation"): _enable_rotation,
    ("kms", "GetKeyRotationStatus"): _rotation,
    ("logs", "AssociateKmsKey"): _associate_kms_key,
    ("logs", "DisassociateKmsKey"): _disassociate_kms_key,
}


def install() -> None:
    """Makes some of moto's resources tell what AWS's tell, in this process."""
    SecurityGroupRule.description = property(_description)
    ManagedPrefixList.cidrs = property(_ranges)
    asked = FakeBucket._log_permissions_enabled_policy

    def may_log(target_bucket: Any, target_prefix: str | None) -> bool:
        return bool(asked(_named_principals(target_bucket), target_prefix))

    FakeBucket._log_permissions_enabled_policy = staticmethod(may_log)
    # Moto notes the tags when it makes a template, and tells those for ever.
    LaunchTemplate.tags = property(LaunchTemplate.get_tags, lambda _template, _tags: None)
    create, told = FSxBackend.create_file_system, FileSystem.to_dict

    def created(backend: Any, *arguments: Any, **named: Any) -> Any:
        system = create(backend, *arguments, **named)
        subnet = Backends(backend.region_name).ec2.get_subnet(system.subnet_ids[0])
        system.told = {"OwnerId": backend.account_id, "CreationTime": time.time(), "VpcId": subnet.vpc_id}
        if (lustre := system.lustre_configuration) is not None:
            # Eight characters that clients name at mount; every SCRATCH_1 has the name fsx.
            first = lustre.get("DeploymentType", "SCRATCH_1") == "SCRATCH_1"
            lustre["MountName"] = "fsx" if first else system.file_system_id[-8:]
        return system

    def to_dict(system: Any) -> dict[str, Any]:
        return {**told(system), **system.told, "Lifecycle": system.lifecycle}

    FSxBackend.create_file_system, FileSystem.to_dict = created, to_dict


def _named_principals(bucket: Any) -> Any:
    """A bucket whose policy has only the statements about named principals: moto stumbles over `*`."""
    policy = json.loads(bucket.policy) if bucket.policy else {"Statement": []}
    policy["Statement"] = [one for one in policy["Statement"] if isinstance(one.get("Principal"), dict)]
    return SimpleNamespace(policy=json.dumps(policy).encode(), partition=bucket.partition, name=bucket.name)


def _ranges(prefixes: ManagedPrefixList) -> list[str]:
    """Moto tells them of customers' own lists only, in another operation."""
    versions = list(prefixes.entries.values())
    return [entry["Cidr"] for entry in versions[-1]] if versions else []


def _description(rule: SecurityGroupRule) -> str | None:
    """Moto tells it of rules about addresses only."""
    said: str | None = {**rule.source_group, **rule.ip_range}.get("Description")
    return said
