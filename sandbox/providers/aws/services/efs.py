"""EFS: file systems, where they are mounted, and who may use them."""

from typing import Final

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services.shapes import (
    STATUS,
    Operation,
    ServiceAdapter,
    camel,
    document,
    given,
    pascal,
    retag,
    tag_list,
    tag_map,
    tag_values,
    taken,
)

_SPELLED: Final = {"transitionToIa": "TransitionToIA"}
_SIZES: Final = {"value": "Value", "valueInIa": "ValueInIA", "valueInStandard": "ValueInStandard"}


class FileSystem(ServiceAdapter):
    token = "aws:efs/fileSystem:FileSystem"
    service = "efs"
    replaces = frozenset(("availabilityZoneName", "creationToken", "encrypted", "kmsKeyId", "performanceMode"))
    refused = frozenset(("protection",))

    _made_with: Final = {
        "availabilityZoneName": "AvailabilityZoneName",
        "creationToken": "CreationToken",
        "encrypted": "Encrypted",
        "kmsKeyId": "KmsKeyId",
        "performanceMode": "PerformanceMode",
    }
    _throughput: Final = {"provisionedThroughputInMibps": "ProvisionedThroughputInMibps", "throughputMode": "ThroughputMode"}
    _found: Final = {
        "arn": "FileSystemArn",
        "availabilityZoneId": "AvailabilityZoneId",
        "numberOfMountTargets": "NumberOfMountTargets",
        "ownerId": "OwnerId",
        STATUS: "LifeCycleState",
    }

    def make(self, op: Operation) -> str:
        identity = str(
            op.client.create_file_system(
                **taken(op.values, {**self._made_with, **self._throughput}),
                Tags=tag_list(op.tags),
            )["FileSystemId"]
        )
        if op.values.get("lifecyclePolicies"):
            self._put_lifecycle(op, identity)
        return identity

    def look(self, op: Operation) -> Values:
        system = op.client.describe_file_systems(FileSystemId=op.id)["FileSystems"][0]
        policies = op.client.describe_lifecycle_configuration(FileSystemId=op.id)["LifecyclePolicies"]
        tags = tag_map(system["Tags"])
        return {
            **given(system, {**self._made_with, **self._throughput, **self._found}),
            "lifecyclePolicies": camel(policies, _SPELLED),
            "dnsName": f"{op.id}.efs.{op.account.region}.amazonaws.com",
            "name": tags.get("Name"),
            "sizeInBytes": [given(system["SizeInBytes"], _SIZES)],
            **tag_values(op, tags),
        }

    def change(self, op: Operation) -> None:
        if op.changed(*self._throughput):
            op.client.update_file_system(FileSystemId=op.id, **taken(op.values, self._throughput))
        if op.changed("lifecyclePolicies"):
            self._put_lifecycle(op, op.id)
        retag(
            op,
            lambda tags: op.client.tag_resource(ResourceId=op.id, Tags=tag_list(tags)),
            lambda keys: op.client.untag_resource(ResourceId=op.id, TagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        op.client.delete_file_system(FileSystemId=op.id)

    def _put_lifecycle(self, op: Operation, identity: str) -> None:
        policies = pascal(op.values.get("lifecyclePolicies") or [], _SPELLED)
        op.client.put_lifecycle_configuration(FileSystemId=identity, LifecyclePolicies=policies)


class MountTarget(ServiceAdapter):
    token = "aws:efs/mountTarget:MountTarget"
    service = "efs"
    replaces = frozenset(("fileSystemId", "ipAddress", "subnetId"))
    unordered = frozenset(("securityGroups",))
    refused = frozenset(("ipAddressType", "ipv6Address"))

    _names: Final = {"fileSystemId": "FileSystemId", "ipAddress": "IpAddress", "subnetId": "SubnetId"}
    _found: Final = {
        "availabilityZoneId": "AvailabilityZoneId",
        "availabilityZoneName": "AvailabilityZoneName",
        "networkInterfaceId": "NetworkInterfaceId",
        "ownerId": "OwnerId",
        STATUS: "LifeCycleState",
    }

    def make(self, op: Operation) -> str:
        names = {**self._names, "securityGroups": "SecurityGroups"}
        return str(op.client.create_mount_target(**taken(op.values, names))["MountTargetId"])

    def look(self, op: Operation) -> Values:
        target = op.client.describe_mount_targets(MountTargetId=op.id)["MountTargets"][0]
        system, account = target["FileSystemId"], op.account
        dns = f"{system}.efs.{account.region}.amazonaws.com"
        return {
            **given(target, {**self._names, **self._found}),
            "securityGroups": op.client.describe_mount_target_security_groups(MountTargetId=op.id)["SecurityGroups"],
            "dnsName": dns,
            "fileSystemArn": _system_arn(op, system),
            "mountTargetDnsName": f"{target['AvailabilityZoneName']}.{dns}",
        }

    def change(self, op: Operation) -> None:
        if op.changed("securityGroups"):
            groups = op.values.get("securityGroups") or []
            op.client.modify_mount_target_security_groups(MountTargetId=op.id, SecurityGroups=groups)

    def remove(self, op: Operation) -> None:
        op.client.delete_mount_target(MountTargetId=op.id)


class AccessPoint(ServiceAdapter):
    token = "aws:efs/accessPoint:AccessPoint"
    service = "efs"
    replaces = frozenset(("fileSystemId", "posixUser", "rootDirectory"))
    unordered = frozenset(("posixUser.secondaryGids",))

    def make(self, op: Operation) -> str:
        parts = taken(op.values, {"posixUser": "PosixUser", "rootDirectory": "RootDirectory"})
        return str(
            op.client.create_access_point(
                FileSystemId=op.values["fileSystemId"],
                Tags=tag_list(op.tags),
                **pascal(parts),
            )["AccessPointId"]
        )

    def look(self, op: Operation) -> Values:
        point = op.client.describe_access_points(AccessPointId=op.id)["AccessPoints"][0]
        names = {"fileSystemId": "FileSystemId", "arn": "AccessPointArn", "ownerId": "OwnerId", STATUS: "LifeCycleState"}
        parts = given(point, {"posixUser": "PosixUser", "rootDirectory": "RootDirectory"})
        return {
            **given(point, names),
            **camel(parts),
            "fileSystemArn": _system_arn(op, point["FileSystemId"]),
            **tag_values(op, tag_map(point.get("Tags"))),
        }

    def change(self, op: Operation) -> None:
        retag(
            op,
            lambda tags: op.client.tag_resource(ResourceId=op.id, Tags=tag_list(tags)),
            lambda keys: op.client.untag_resource(ResourceId=op.id, TagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        op.client.delete_access_point(AccessPointId=op.id)


class FileSystemPolicy(ServiceAdapter):
    token = "aws:efs/fileSystemPolicy:FileSystemPolicy"
    service = "efs"
    replaces = frozenset(("fileSystemId",))
    documents = frozenset(("policy",))
    write_only = frozenset(("bypassPolicyLockoutSafetyCheck",))

    def make(self, op: Operation) -> str:
        self._put(op, op.values["fileSystemId"])
        return str(op.values["fileSystemId"])

    def look(self, op: Operation) -> Values:
        policy = op.client.describe_file_system_policy(FileSystemId=op.id)["Policy"]
        return {"fileSystemId": op.id, "policy": document(policy, op.values.get("policy"))}

    def change(self, op: Operation) -> None:
        self._put(op, op.id)

    def remove(self, op: Operation) -> None:
        op.client.delete_file_system_policy(FileSystemId=op.id)

    def _put(self, op: Operation, identity: str) -> None:
        bypass = bool(op.values.get("bypassPolicyLockoutSafetyCheck"))
        op.client.put_file_system_policy(FileSystemId=identity, Policy=op.values["policy"], BypassPolicyLockoutSafetyCheck=bypass)


class BackupPolicy(ServiceAdapter):
    token = "aws:efs/backupPolicy:BackupPolicy"
    service = "efs"
    replaces = frozenset(("fileSystemId",))

    def make(self, op: Operation) -> str:
        self._put(op, op.values["fileSystemId"], op.values["backupPolicy"]["status"])
        return str(op.values["fileSystemId"])

    def look(self, op: Operation) -> Values:
        status = op.client.describe_backup_policy(FileSystemId=op.id)["BackupPolicy"]["Status"]
        return {"fileSystemId": op.id, "backupPolicy": {"status": status}}

    def change(self, op: Operation) -> None:
        self._put(op, op.id, op.values["backupPolicy"]["status"])

    def remove(self, op: Operation) -> None:
        self._put(op, op.id, "DISABLED")

    def _put(self, op: Operation, identity: str, status: str) -> None:
        op.client.put_backup_policy(FileSystemId=identity, BackupPolicy={"Status": status})


def _system_arn(op: Operation, identity: str) -> str:
    account = op.account
    return f"arn:{account.partition}:elasticfilesystem:{account.region}:{account.account_id}:file-system/{identity}"
