"""FSx for Lustre: a fast file system in one zone, for models that many nodes load at once."""

from collections.abc import Iterator, Mapping
from typing import NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
from pydantic import Field, model_validator

from ..base import PlatformComponent
from ..inputs import InputText, Model, validate
from .lustre_limits import check_capacity

_PORTS = ((988, 988), (1018, 1023))
"""TCP, both ways (FSx for Lustre user guide, "File system access control with Amazon VPC")."""

_TIMEOUT = 3600
"""Seconds; FSx takes minutes for a small file system and far longer for one of many servers."""


class LustreFileSystemArgs(TypedDict):
    """Inputs of `LustreFileSystem`."""

    kms_key_arn: pulumi.Input[str]
    """The key its disks are encrypted with."""
    vpc_id: pulumi.Input[str]
    """The network of its clients."""
    subnet_id: pulumi.Input[str]
    """The subnet it is in; readers in another zone pay for the traffic."""
    client_security_group_ids: dict[str, pulumi.Input[str]]
    """Security groups of those who may mount it, by a key of your own, e.g. `nodes`."""
    capacity_gib: int
    """Size in GiB: 1200, or a multiple of 2400; it can grow later, but not shrink."""
    throughput_mb_per_tib: NotRequired[int]
    """MB/s for each TiB: 125, 250 (by default), 500 or 1000."""
    efa: NotRequired[bool]
    """Whether clients with EFA reach it past the kernel's network; then the size is a multiple of what one server holds."""
    protect: NotRequired[bool]
    """Whether it refuses to be deleted; true by default."""
    retain: NotRequired[bool]
    """Whether AWS keeps it when the program forgets it; as `protect` when left out."""


class _Config(Model):
    kms_key_arn: InputText
    vpc_id: InputText
    subnet_id: InputText
    client_security_group_ids: Mapping[str, InputText] = Field(min_length=1, examples=["{nodes: sg-0123456789abcdef0}"])
    capacity_gib: int = Field(examples=[1200])
    throughput_mb_per_tib: int = 250
    efa: bool = False
    protect: bool = True
    retain: bool | None = None

    @model_validator(mode="after")
    def _sold(self) -> "_Config":
        check_capacity(self.capacity_gib, self.throughput_mb_per_tib, self.efa)
        return self


class LustreFileSystem(PlatformComponent):
    """A persistent, encrypted, compressing file system, mounted by its clients only."""

    file_system_id: pulumi.Output[str]
    """Id of the file system."""
    dns_name: pulumi.Output[str]
    """Name its clients mount it by."""
    mount_name: pulumi.Output[str]
    """Name of the file system on that host."""

    def __init__(self, name: str, args: LustreFileSystemArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"LustreFileSystem {name}")
        group = aws.ec2.SecurityGroup(
            self.child_name("group"),
            description="FSx for Lustre, reached by its clients only",
            vpc_id=config.vpc_id,
            tags={"Name": self.child_name("group")},
            opts=self.child(),
        )
        traffic = (("tcp", *ports) for ports in _PORTS) if not config.efa else (("-1", None, None),)
        rules = [rule for kind in traffic for rule in self._rules(group.id, config.client_security_group_ids, *kind)]
        system = aws.fsx.LustreFileSystem(
            self.child_name("file-system"),
            deployment_type="PERSISTENT_2",
            storage_type="SSD",
            storage_capacity=config.capacity_gib,
            per_unit_storage_throughput=config.throughput_mb_per_tib,
            data_compression_type="LZ4",
            # EFA needs it, and with it the version of Lustre is 2.15 (FSx API, CreateFileSystem: FileSystemTypeVersion).
            metadata_configuration={"mode": "AUTOMATIC"},
            efa_enabled=config.efa,
            kms_key_id=config.kms_key_arn,
            subnet_ids=config.subnet_id,
            security_group_ids=[group.id],
            tags={"Name": self.child_name("file-system")},
            opts=self.child(
                depends_on=rules,
                timeout=_TIMEOUT,
                protect=config.protect,
                retain=config.protect if config.retain is None else config.retain,
            ),
        )
        self.file_system_id = system.id
        self.dns_name = system.dns_name
        self.mount_name = system.mount_name
        self.finish()

    def _rules(
        self,
        group: pulumi.Output[str],
        clients: Mapping[str, pulumi.Input[str]],
        protocol: str,
        from_port: int | None,
        to_port: int | None,
    ) -> Iterator[pulumi.Resource]:
        """Both ways between the servers themselves and with each client: servers call clients back."""
        ports = "all" if from_port is None else f"{from_port}-{to_port}"
        traffic = {"ip_protocol": protocol, "from_port": from_port, "to_port": to_port}
        among = [("servers", group, "its own servers"), *((f"client-{key}", peer, key) for key, peer in sorted(clients.items()))]
        for role, peer, who in among:
            yield aws.vpc.SecurityGroupIngressRule(
                self.child_name("ingress", f"{role}-{ports}"),
                security_group_id=group,
                referenced_security_group_id=peer,
                description=f"Lustre from {who}",
                **traffic,
                opts=self.child(),
            )
            yield aws.vpc.SecurityGroupEgressRule(
                self.child_name("egress", f"{role}-{ports}"),
                security_group_id=group,
                referenced_security_group_id=peer,
                description=f"Lustre to {who}",
                **traffic,
                opts=self.child(),
            )
        for key, peer in sorted(clients.items()):
            yield aws.vpc.SecurityGroupIngressRule(
                self.child_name("callback", f"{key}-{ports}"),
                security_group_id=peer,
                referenced_security_group_id=group,
                description="FSx for Lustre calls its clients back",
                **traffic,
                opts=self.child(),
            )
