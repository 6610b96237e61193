"""Operations that moto has not, or only for other services: they work on moto's memory and answer in the forms of AWS."""

import time
from collections.abc import Callable
from typing import Any, TypeAlias

from moto.fsx.models import FileSystem, FSxBackend

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


def _key(aws: Backends, given: Parameters) -> Any | None:
    return aws.kms.keys.get(given["KeyId"].rpartition("/")[2])


OPERATIONS: dict[tuple[str, str], Operation] = {
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
    """Makes moto's FSx file systems tell what AWS's tell, in this process."""
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
