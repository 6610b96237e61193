"""FSx: file systems for Lustre."""

from typing import Final

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services.shapes import (
    ISSUES,
    STATUS,
    Operation,
    ServiceAdapter,
    camel,
    given,
    pascal,
    retag,
    tag_list,
    tag_map,
    tag_values,
    taken,
)


class LustreFileSystem(ServiceAdapter):
    token = "aws:fsx/lustreFileSystem:LustreFileSystem"
    service = "fsx"
    replaces = frozenset(
        (
            "copyTagsToBackups",
            "deploymentType",
            "driveCacheType",
            "efaEnabled",
            "kmsKeyId",
            "securityGroupIds",
            "storageType",
            "subnetIds",
        )
    )
    unordered = frozenset(("securityGroupIds", "rootSquashConfiguration.noSquashNids"))
    write_only = frozenset(("finalBackupTags", "securityGroupIds", "skipFinalBackup"))
    refused = frozenset(
        ("autoImportPolicy", "backupId", "exportPath", "fileSystemTypeVersion", "importPath", "importedFileChunkSize")
    )

    _names: Final = {
        "kmsKeyId": "KmsKeyId",
        "securityGroupIds": "SecurityGroupIds",
        "storageCapacity": "StorageCapacity",
        "storageType": "StorageType",
        "subnetIds": "SubnetIds",
    }
    _found: Final = {
        "arn": "ResourceARN",
        "dnsName": "DNSName",
        "networkInterfaceIds": "NetworkInterfaceIds",
        "ownerId": "OwnerId",
        "vpcId": "VpcId",
        STATUS: "Lifecycle",
    }
    _lustre: Final = (
        "automaticBackupRetentionDays",
        "copyTagsToBackups",
        "dailyAutomaticBackupStartTime",
        "dataCompressionType",
        "dataReadCacheConfiguration",
        "deploymentType",
        "driveCacheType",
        "efaEnabled",
        "logConfiguration",
        "metadataConfiguration",
        "perUnitStorageThroughput",
        "rootSquashConfiguration",
        "throughputCapacity",
        "weeklyMaintenanceStartTime",
    )
    """The inputs that the API keeps in `LustreConfiguration`."""
    _spelled: Final = {"sizeGiB": "SizeGiB", "size": "SizeGiB"}

    def make(self, op: Operation) -> str:
        lustre = {name: op.values[name] for name in self._lustre if op.values.get(name) is not None}
        return str(
            op.client.create_file_system(
                FileSystemType="LUSTRE",
                **{**taken(op.values, self._names), "SubnetIds": [op.values["subnetIds"]]},
                LustreConfiguration=pascal(lustre, self._spelled),
                Tags=tag_list(op.tags),
            )["FileSystem"]["FileSystemId"]
        )

    def look(self, op: Operation) -> Values | None:
        systems = op.client.describe_file_systems(FileSystemIds=[op.id])["FileSystems"]
        if not systems:
            return None
        system = systems[0]
        lustre = camel(system.get("LustreConfiguration") or {}, {"size": "SizeGiB"})
        return {
            **given(system, {**self._names, **self._found}),
            "subnetIds": system["SubnetIds"][0],
            **{name: lustre.get(name) for name in (*self._lustre, "mountName")},
            ISSUES: system.get("FailureDetails", {}).get("Message"),
            **tag_values(op, tag_map(system.get("Tags"))),
        }

    def change(self, op: Operation) -> None:
        changed = [name for name in self._lustre if op.changed(name) and op.values.get(name) is not None]
        capacity = taken(op.values, {"storageCapacity": "StorageCapacity"}) if op.changed("storageCapacity") else {}
        if changed or capacity:
            lustre = pascal({name: op.values[name] for name in changed}, self._spelled)
            op.client.update_file_system(FileSystemId=op.id, **capacity, **({"LustreConfiguration": lustre} if lustre else {}))
        arn = op.client.describe_file_systems(FileSystemIds=[op.id])["FileSystems"][0]["ResourceARN"]
        retag(
            op,
            lambda tags: op.client.tag_resource(ResourceARN=arn, Tags=tag_list(tags)),
            lambda keys: op.client.untag_resource(ResourceARN=arn, TagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        final: Values = {"SkipFinalBackup": op.values.get("skipFinalBackup") is not False}
        if tags := op.values.get("finalBackupTags"):
            final["FinalBackupTags"] = tag_list(tags)
        # Scratch file systems have no backups, and the API refuses the option for them.
        scratch = str(op.values.get("deploymentType") or "SCRATCH_1").startswith("SCRATCH")
        op.client.delete_file_system(FileSystemId=op.id, **({} if scratch else {"LustreConfiguration": final}))
