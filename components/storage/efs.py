"""EFS: a file system in all zones, for models that many nodes read."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
from pydantic import Field

from ..base import PlatformComponent
from ..cloud import cloud
from ..inputs import InputText, Model, validate
from ..ordering import known_after
from ..security.policies import document
from ..types import DnsLabel
from .efs_policy import directory, file_system_statements

_NFS = 2049


class EfsThroughput(StrEnum):
    """How throughput is bought (EFS user guide, "Throughput modes")."""

    ELASTIC = "elastic"
    """By the byte, without a limit that the stored amount sets."""
    BURSTING = "bursting"
    """By the amount stored: little for a few models."""


class EfsFileSystemArgs(TypedDict):
    """Inputs of `EfsFileSystem`."""

    kms_key_arn: pulumi.Input[str]
    """The key it is encrypted with."""
    vpc_id: pulumi.Input[str]
    """The network of its clients."""
    subnet_ids: dict[str, pulumi.Input[str]]
    """By zone the subnet it is reached in; one for each zone with clients."""
    client_security_group_ids: dict[str, pulumi.Input[str]]
    """Security groups of those who may mount it, by a key of your own, e.g. `nodes`."""
    access_points: list[str]
    """Directories below `/models` it hands out, each as a volume of its own."""
    throughput: NotRequired[EfsThroughput]
    """How throughput is bought; `elastic` by default."""
    infrequent_access: NotRequired[bool]
    """Whether files nobody read for 30 days move to cheaper storage, which costs per read; false by default."""
    protect: NotRequired[bool]
    """Whether it refuses to be deleted; true by default."""
    retain: NotRequired[bool]
    """Whether AWS keeps it when the program forgets it; as `protect` when left out."""


class _Config(Model):
    kms_key_arn: InputText
    vpc_id: InputText
    subnet_ids: Mapping[str, InputText] = Field(min_length=1, examples=["{us-east-1a: subnet-0123456789abcdef0}"])
    client_security_group_ids: Mapping[str, InputText] = Field(min_length=1, examples=["{nodes: sg-0123456789abcdef0}"])
    access_points: Annotated[tuple[DnsLabel, ...], Field(min_length=1, examples=["[qwen]"])]
    throughput: EfsThroughput = EfsThroughput.ELASTIC
    infrequent_access: bool = False
    protect: bool = True
    retain: bool | None = None


class EfsFileSystem(PlatformComponent):
    """An encrypted file system, mounted over TLS and by directory only."""

    file_system_id: pulumi.Output[str]
    """Id of the file system, known when it can be mounted."""
    access_point_ids: pulumi.Output[dict[str, str]]
    """By directory the id of its access point."""

    def __init__(self, name: str, args: EfsFileSystemArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"EfsFileSystem {name}")
        retain = config.protect if config.retain is None else config.retain
        system = aws.efs.FileSystem(
            self.child_name("file-system"),
            encrypted=True,
            kms_key_id=config.kms_key_arn,
            throughput_mode=config.throughput.value,
            lifecycle_policies=[{"transition_to_ia": "AFTER_30_DAYS"}] if config.infrequent_access else None,
            tags={"Name": self.child_name("file-system")},
            opts=self.child(protect=config.protect, retain=retain),
        )
        policy = aws.efs.FileSystemPolicy(
            self.child_name("policy"),
            file_system_id=system.id,
            policy=document(*file_system_statements(system.arn, cloud(self).arn("elasticfilesystem", "access-point/*"))),
            opts=self.child(),
        )
        group = self._group(config)
        targets = [
            aws.efs.MountTarget(
                self.child_name("mount-target", zone),
                file_system_id=system.id,
                subnet_id=subnet,
                security_groups=[group],
                opts=self.child(),
            )
            for zone, subnet in sorted(config.subnet_ids.items())
        ]
        self._access_points: dict[str, pulumi.Output[str]] = {
            key: aws.efs.AccessPoint(
                self.child_name("access-point", key),
                file_system_id=system.id,
                **directory(key),
                tags={"Name": self.child_name("access-point", key)},
                opts=self.child(),
            ).id
            for key in config.access_points
        }
        self.file_system_id = known_after(system.id, policy.file_system_id, *(target.file_system_id for target in targets))
        self.access_point_ids = pulumi.Output.all(**self._access_points)
        self.finish()

    @property
    def access_points(self) -> Mapping[str, pulumi.Output[str]]:
        """As `access_point_ids`, for programs: a new directory leaves the ids of the others known in a preview."""
        return self._access_points

    def _group(self, config: _Config) -> pulumi.Output[str]:
        """The security group of the mount targets, known when the clients get through."""
        group = aws.ec2.SecurityGroup(
            self.child_name("group"),
            description="EFS, reached by its clients only",
            vpc_id=config.vpc_id,
            tags={"Name": self.child_name("group")},
            opts=self.child(),
        )
        rules = [
            aws.vpc.SecurityGroupIngressRule(
                self.child_name("ingress", key),
                security_group_id=group.id,
                referenced_security_group_id=client,
                ip_protocol="tcp",
                from_port=_NFS,
                to_port=_NFS,
                description=f"NFS from {key}",
                opts=self.child(),
            )
            for key, client in sorted(config.client_security_group_ids.items())
        ]
        return known_after(group.id, *(rule.security_group_id for rule in rules))
