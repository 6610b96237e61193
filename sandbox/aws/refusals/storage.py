"""Refusals of EFS and FSx. Codes: their API references; capacities: FSx for Lustre user guide, "Managing storage capacity"."""

from sandbox.aws.backends import Backends
from sandbox.aws.refusals.errors import Parameters, RefusalError, Rule

_LUSTRE_GIB = 1200
_LUSTRE_STEP_GIB = 2400


def _efs_available(aws: Backends, given: Parameters) -> None:
    system = aws.efs.file_systems_by_id.get(given["FileSystemId"])
    if system is None:
        raise RefusalError("FileSystemNotFound", f"File system '{given['FileSystemId']}' does not exist.")
    if system.life_cycle_state != "available":
        raise RefusalError("IncorrectFileSystemLifeCycleState", f"The file system is {system.life_cycle_state}, not available.")


def _access_point(aws: Backends, given: Parameters) -> None:
    if given["AccessPointId"] not in aws.efs.access_points:
        raise RefusalError("AccessPointNotFound", f"Access Point {given['AccessPointId']} does not exist.")


def _fsx_creation(aws: Backends, given: Parameters) -> None:
    for subnet in given["SubnetIds"]:
        if not any(subnet in subnets for subnets in aws.ec2.subnets.values()):
            raise RefusalError("InvalidNetworkSettings", f"The subnet ID '{subnet}' does not exist")
    for group in given.get("SecurityGroupIds", ()):
        if aws.ec2.get_security_group_from_id(group) is None:
            raise RefusalError("InvalidNetworkSettings", f"The security group ID '{group}' does not exist")
    capacity = given.get("StorageCapacity")
    if given["FileSystemType"] == "LUSTRE":
        if len(given["SubnetIds"]) != 1:
            raise RefusalError("BadRequest", "Lustre file systems must be created in exactly one subnet.")
        solid = given.get("StorageType", "SSD") == "SSD"
        scratch_1 = given.get("LustreConfiguration", {}).get("DeploymentType", "SCRATCH_1") == "SCRATCH_1"
        if solid and not scratch_1 and (capacity is None or (capacity != _LUSTRE_GIB and capacity % _LUSTRE_STEP_GIB)):
            raise RefusalError(
                "BadRequest", f"Storage capacity must be {_LUSTRE_GIB} GiB or a multiple of {_LUSTRE_STEP_GIB} GiB."
            )


def _fsx_there(aws: Backends, given: Parameters) -> None:
    for identifier in given.get("FileSystemIds", [given["FileSystemId"]] if "FileSystemId" in given else ()):
        if identifier not in aws.fsx.file_systems:
            raise RefusalError("FileSystemNotFound", f"File system '{identifier}' does not exist.")


RULES: dict[tuple[str, str], tuple[Rule, ...]] = {
    ("efs", "CreateAccessPoint"): (_efs_available,),
    ("efs", "CreateMountTarget"): (_efs_available,),
    ("efs", "DeleteAccessPoint"): (_access_point,),
    ("fsx", "CreateFileSystem"): (_fsx_creation,),
    ("fsx", "DescribeFileSystems"): (_fsx_there,),
    ("fsx", "UpdateFileSystem"): (_fsx_there,),
}
