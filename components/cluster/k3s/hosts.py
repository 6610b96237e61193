"""Hosts and how they are reached: what stack files and components write, and what must hold for all of them. Pure."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, NotRequired, TypedDict

import pulumi
from pydantic import AfterValidator, Field, model_validator

from ...inputs import InputText, Matching, Model
from ...types import DnsLabel

_HOST_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.IGNORECASE)
_KEY = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]{40,}={0,2}( \S+)?")


def _address(value: str) -> str:
    try:
        # The zone of an IPv6 address (after %) is free text, and means nothing on another host.
        ipaddress.ip_address("" if "%" in value else value)
    except ValueError:
        if not _HOST_NAME.fullmatch(value) or value.rpartition(".")[2].isdigit():
            raise ValueError(f"{value!r} is neither an IP address nor a host name; use e.g. 10.20.0.11") from None
    return value


def _host_key(value: str) -> str:
    # OpenSSH refuses the signatures that a client asks for with a bare `ssh-rsa` (release notes of OpenSSH 8.8).
    if _KEY.fullmatch(value):
        import asyncssh  # noqa: PLC0415 - a tenth of a second, for stacks that have hosts

        try:
            asyncssh.import_public_key(value)
        except ValueError:
            raise ValueError(
                "is damaged, so no host can have this key; copy it again, as `ssh-keyscan -t ed25519 ADDRESS` prints it after "
                "the address"
            ) from None
        return value
    raise ValueError(
        "is no public host key of type ed25519 or ecdsa; use what `ssh-keyscan -t ed25519 ADDRESS` prints after the address"
    )


Address = Annotated[str, AfterValidator(_address)]
"""An IP address or a DNS name."""

HostKey = Annotated[str, AfterValidator(_host_key)]
"""Type and base64 of a host's public key, as the second and third column of known_hosts."""

UserName = Annotated[
    str,
    Matching(
        pattern=r"[A-Za-z_][A-Za-z0-9_.-]{0,31}",
        what="a user name (up to 32 letters, digits, dots, dashes and underscores)",
        example="ops",
    ),
]
"""Name of a user on a host (POSIX, portable)."""

Generation = Annotated[str, Matching(pattern="[A-Za-z0-9-]{1,64}", what="a generation of a host", example="3f2a9c")]

FOUNDER = "founder-"
"""What the generation of the server begins with that the cluster began with."""


class HostArgs(TypedDict):
    """One host."""

    address: str
    """IP address or DNS name under which all other hosts and this program reach it."""
    host_key: str
    """Its public SSH host key (`ssh-ed25519 AAAA...`); no other host is ever spoken to."""
    port: NotRequired[int]
    """Port of its SSH server; the one of the SSH settings by default."""
    generation: NotRequired[str]
    """What `observe` read, another text once the host was wiped: then it is prepared and joined again. That of the first server
    begins with `founder-` where the cluster began with it."""
    k3s: NotRequired[str | None]
    """Version of k3s that was seen to run there; None for a host that is new."""
    reachable: NotRequired[bool]
    """False keeps everything of this host as the state has it, since nothing can be done there now."""


class Host(Model):
    """Validated `HostArgs`."""

    address: Address = Field(examples=["10.20.0.11"])
    host_key: HostKey = Field(examples=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI..."])
    port: int | None = Field(None, ge=1, le=65535, examples=[22])
    generation: Generation = "first"
    k3s: str | None = None
    reachable: bool = True


class BastionArgs(TypedDict):
    """A host that SSH connections go through."""

    address: str
    """Its IP address or DNS name."""
    host_key: str
    """Its public SSH host key."""
    port: NotRequired[int]
    """Port of its SSH server; 22 by default."""
    user: NotRequired[str]
    """User there; that of the hosts by default."""


class Bastion(Model):
    """Validated `BastionArgs`."""

    address: Address = Field(description="Its IP address or DNS name.", examples=["bastion.example"])
    host_key: HostKey = Field(description="Its public SSH host key.", examples=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI..."])
    port: int = Field(22, ge=1, le=65535, description="Port of its SSH server.")
    user: UserName | None = Field(None, description="User there; that of the hosts when left out.")


class SshArgs(TypedDict):
    """How all hosts are reached."""

    user: str
    """User on the hosts: root, or one that may use sudo without a password."""
    port: NotRequired[int]
    """Port of the hosts' SSH servers; 22 by default."""
    private_key: NotRequired[pulumi.Input[str]]
    """Text of the private key, without a passphrase; treated as secret."""
    agent: NotRequired[bool]
    """Whether the keys of the running SSH agent (SSH_AUTH_SOCK) are used, so that none is in the state; false by default."""
    bastion: NotRequired[BastionArgs]
    """A host that connections go through; it takes the same key."""
    sudo: NotRequired[bool]
    """Whether commands run through sudo; true by default. False for root."""


class Ssh(Model):
    """Validated `SshArgs`."""

    user: UserName
    port: int = Field(22, ge=1, le=65535, examples=[22])
    private_key: InputText | None = None
    agent: bool = False
    bastion: Bastion | None = None
    sudo: bool = True

    @model_validator(mode="after")
    def _one_way(self) -> "Ssh":
        if bool(self.private_key) == self.agent:
            raise ValueError("give either a private key or agent: true; use e.g. privateKeyFile: ~/.ssh/id_ed25519")
        if not self.sudo and self.user != "root":
            raise ValueError(f"sudo: false is for root, and {self.user} is another user; use sudo: true, or user: root")
        return self


HostName = DnsLabel
"""Name of a host, which its node gets."""


def in_url(address: str) -> str:
    """An address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


def check_hosts(hosts: Iterable[tuple[str, Host]]) -> None:
    """Raise ValueError unless all names and all addresses differ."""
    names: set[str] = set()
    owners: dict[tuple[str, int | None], str] = {}
    for name, host in hosts:
        if name in names:
            raise ValueError(f"the host {name} is named twice; give each host one place, as a server or in one pool")
        names.add(name)
        where = (host.address, host.port)
        if where in owners:
            raise ValueError(f"the hosts {owners[where]} and {name} have the address {host.address}; give each its own")
        owners[where] = name


def check_servers(servers: Mapping[str, Host]) -> None:
    """Raise ValueError unless etcd can have a majority after it lost a server, or there is only one; each at its own address."""
    owners: dict[str, str] = {}
    for name, host in servers.items():
        if owners.setdefault(host.address, name) != name:
            raise ValueError(
                f"servers: {owners[host.address]} and {name} have the address {host.address}, where only one can be reached on "
                "port 6443; give each its own"
            )
    if len(servers) not in (1, 3, 5):
        raise ValueError(f"servers: {len(servers)} servers cannot keep a majority of etcd when one fails; use 1, 3 or 5")
