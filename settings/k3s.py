"""A cluster this stack makes on hosts that are there, with k3s."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, cast

from pydantic import Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from components.cluster.k3s.config import Component, Endpoint, HostFile, Mirror, RegistryName, Snapshots, Version
from components.cluster.k3s.hosts import Address, Bastion, HostArgs, HostKey, HostName, UserName
from components.cluster.k3s.settings import TOOLKIT, Driver, K3sClusterArgs, K3sPool, K3sPoolArgs, K3sSettings, NodeLabel
from components.inputs import Model
from components.types import Accelerator, DnsLabel, LabelValue, NodePool, Taint


class HostSettings(Model):
    """One host."""

    address: Address = Field(description="IP address or DNS name that everybody reaches it under.", examples=["10.20.0.11"])
    host_key: HostKey = Field(
        description="Its SSH host key, as `ssh-keyscan -t ed25519 ADDRESS` prints it after the address.",
        examples=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI..."],
    )
    port: int | None = Field(None, ge=1, le=65535, description="Port of its SSH server.", examples=[22])

    def args(self) -> HostArgs:
        """The host as a component takes it."""
        found: HostArgs = {"address": self.address, "host_key": self.host_key}
        if self.port is not None:
            found["port"] = self.port
        return found


class SshSettings(Model):
    """How hosts are reached."""

    user: UserName = Field(description="User on the hosts: root, or one with sudo without a password.")
    port: int = Field(22, ge=1, le=65535, description="Port of the SSH servers.", examples=[22])
    private_key_file: str | None = Field(
        None,
        min_length=1,
        description="Private key without a passphrase, on the machine that deploys.",
        examples=["~/.ssh/id_ed25519"],
    )
    agent: bool = Field(False, description="Whether the keys of the SSH agent (SSH_AUTH_SOCK) are used in place of a file.")
    bastion: Bastion | None = Field(None, description="A host that connections go through; it takes the same key.")
    sudo: bool = Field(True, description="Whether commands run through sudo; false for root.")

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if (self.private_key_file is None) != self.agent:
            raise ValueError("give either privateKeyFile or agent: true; use e.g. privateKeyFile: ~/.ssh/id_ed25519")
        return self


class RegistrySettings(Model):
    """Where the images of one registry come from."""

    endpoint: Endpoint | None = Field(None, description="A mirror that is asked first.")
    username: str | None = Field(None, min_length=1, description="User there.", examples=["puller"])
    password_file: str | None = Field(
        None, min_length=1, description="File with the password, on the machine that deploys.", examples=["~/.mirror-password"]
    )
    authority: HostFile | None = Field(
        None,
        description="File on the hosts with the authority of the endpoint's certificate.",
        examples=["/etc/ssl/certs/mirror.pem"],
    )

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and passwordFile belong together; give both or neither")
        if not (self.endpoint or self.username or self.authority):
            raise ValueError("nothing is said of it; add e.g. endpoint: https://mirror.example")
        return self


class HostPoolSettings(Model):
    """Hosts that are alike for a workload."""

    hosts: Mapping[HostName, HostSettings] = Field(min_length=1, description="Its hosts by the names their nodes get.")
    accelerator: Accelerator | None = Field(None, description="The accelerators of each.")
    labels: Mapping[NodeLabel, LabelValue] = Field(
        default_factory=dict, description="Labels beside the pool's own.", examples=["{example.com/room: a1}"]
    )
    taints: tuple[Taint, ...] | None = Field(
        None, description="Taints; by default one by the accelerators' resource, so that only pods that want them come."
    )

    def named(self, name: str) -> K3sPool:
        """The pool under that name."""
        return K3sPool.model_validate(self.args(name))

    def args(self, name: str) -> K3sPoolArgs:
        """The pool as a component takes it."""
        return {
            "name": name,
            "hosts": {host: found.args() for host, found in self.hosts.items()},
            **self.model_dump(include={"accelerator", "taints"}, exclude_none=True),  # type: ignore[typeddict-item]
            "labels": dict(self.labels),
        }


class K3sClusterSettings(Model):
    """A cluster of k3s on hosts that are reached over SSH."""

    kind: Literal["k3s"] = Field(description="How the cluster comes to be: k3s.", examples=["k3s"])
    name: DnsLabel = Field(description="Name of the cluster.", examples=["rack"])
    version: Annotated[str, Version] = Field(description="Release of k3s; a newer one is rolled out host by host.")
    ssh: SshSettings = Field(description="How hosts are reached.")
    servers: Mapping[HostName, HostSettings] = Field(
        min_length=1, description="One, three or five hosts with the control plane, in the order they join."
    )
    endpoint: Address | None = Field(
        None, description="Where the API is reached; the first server when left out.", examples=["api.rack.example"]
    )
    node_pools: Mapping[DnsLabel, HostPoolSettings] = Field(default_factory=dict, description="Pools workloads may name.")
    driver: Driver = Field(default_factory=Driver, description="NVIDIA's driver on the hosts.")
    toolkit: str = Field(TOOLKIT, description="NVIDIA container toolkit that is installed where none is.", examples=[TOOLKIT])
    cis: bool = Field(True, description="Whether the settings of k3s' CIS hardening guide hold.")
    components: tuple[Component, ...] = Field((), description="Parts of k3s that are off otherwise.", examples=["[traefik]"])
    registries: Mapping[RegistryName, RegistrySettings] = Field(
        default_factory=dict,
        description="Where images come from, by registry.",
        examples=["{docker.io: {endpoint: https://mirror.example}}"],
    )
    snapshots: Snapshots = Field(default_factory=Snapshots, description="Copies of etcd.")
    mirror: Mirror | None = Field(
        None, description="Directory on every host, or https address, with k3s' releases; else the internet."
    )

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        try:
            K3sSettings.model_validate(self.args())
        except ValidationError as error:
            (fault, *_) = error.errors()
            pools = list(self.node_pools)
            where = ".".join(pools[part] if isinstance(part, int) else to_camel(str(part)) for part in fault["loc"])
            told = str((fault.get("ctx") or {}).get("error") or fault["msg"])
            raise ValueError(f"{where}: {told}" if where else told) from None
        return self

    def args(self) -> K3sClusterArgs:
        """The cluster as the component takes it, without secrets and without what hosts were seen to be."""
        ssh = self.ssh.model_dump(exclude={"private_key_file"}, exclude_none=True)
        registries = {
            name: entry.model_dump(include={"endpoint", "authority"}, exclude_none=True)
            for name, entry in self.registries.items()
        }
        found = {
            "cluster_name": self.name,
            "ssh": {**ssh, "private_key": "-"} if self.ssh.private_key_file else ssh,
            "servers": {name: host.args() for name, host in self.servers.items()},
            "node_pools": [pool.args(name) for name, pool in self.node_pools.items()],
            "registries": registries,
            **self.model_dump(
                include={"version", "endpoint", "driver", "toolkit", "cis", "components", "snapshots", "mirror"},
                exclude_none=True,
            ),
        }
        return cast(K3sClusterArgs, found)

    def hosts(self) -> dict[str, HostSettings]:
        """All hosts by name: the servers, then those of the pools."""
        return dict(self.servers) | {name: host for pool in self.node_pools.values() for name, host in pool.hosts.items()}

    def pool(self, name: str) -> NodePool:
        """The pool of that name."""
        return self.node_pools[name].named(name).contract()

    def instance_type(self, _pool: str) -> str | None:
        """Nobody rents these hosts."""
        return None
