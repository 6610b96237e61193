"""What a policy is written as: the pods it is for, and who talks to them and whom they talk to, each with its reason."""

import ipaddress
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, NotRequired, TypedDict

import pulumi
from pydantic import AfterValidator, Field, PlainValidator, model_validator

from ...inputs import InputText, Model
from ...types import LabelValue, QualifiedName


class NetworkProtocol(StrEnum):
    """What a port belongs to."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


class NetworkPodsArgs(TypedDict):
    """Pods at the other end."""

    labels: dict[str, str]
    """Labels they have; empty means every pod of the namespace."""
    namespace_name: NotRequired[pulumi.Input[str] | None]
    """Their namespace; that of the policy by default."""


class NetworkBlockArgs(TypedDict):
    """Addresses at the other end."""

    cidr: str
    """The range, e.g. `10.40.0.0/16`."""
    excluded: NotRequired[list[str]]
    """Ranges inside it that are left out."""


class NetworkPortArgs(TypedDict):
    """A port, or all from one to another."""

    port: int
    """Its number, or that of the first."""
    end: NotRequired[int | None]
    """The last one; only `port` by default."""
    protocol: NotRequired[NetworkProtocol]
    """`TCP` by default."""


class NetworkFlowArgs(TypedDict):
    """Who is at the other end, on which ports, and why.

    At least one of `pods`, `blocks` and `cidrs` is given: a rule that names nobody would let everybody through.
    """

    reason: str
    """Why it has to be, in one line."""
    pods: NotRequired[list[NetworkPodsArgs]]
    """Pods."""
    blocks: NotRequired[list[NetworkBlockArgs]]
    """Addresses."""
    cidrs: NotRequired[pulumi.Input[list[str]] | None]
    """Ranges that only a deployment tells."""
    ports: NotRequired[list[NetworkPortArgs]]
    """Ports; all of them by default."""


class NetworkPolicyArgs(TypedDict):
    """What some pods of a namespace may do beside nothing."""

    pods: dict[str, str]
    """Their labels."""
    made_by_chart: NotRequired[bool]
    """Whether a chart makes them: then they lack the platform's own label, and pods that have it are left out. False by default:
    then only pods that have it are meant."""
    resolves_names: NotRequired[bool]
    """Whether they ask the cluster's DNS; false by default."""
    ingress: NotRequired[list[NetworkFlowArgs]]
    """Who reaches them."""
    egress: NotRequired[list[NetworkFlowArgs]]
    """Whom they reach."""


class NetworkDnsArgs(TypedDict):
    """Who answers for names."""

    namespace_name: NotRequired[str]
    """Namespace of its pods; `kube-system` by default."""
    pods: NotRequired[dict[str, str]]
    """Their labels; `k8s-app: kube-dns` by default, which CoreDNS has on EKS, k3s and kubeadm alike."""
    addresses: NotRequired[list[str]]
    """Addresses of caches on the nodes, e.g. `169.254.20.10` of NodeLocal DNSCache; none by default."""


def _cidr(value: str) -> str:
    try:
        meant = ipaddress.ip_network(value.partition("%")[0], strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not a range of addresses; use e.g. 10.40.0.0/16") from None
    if mapped := isinstance(meant, ipaddress.IPv6Network) and meant.network_address.ipv4_mapped:
        plain = ipaddress.ip_network((mapped, meant.prefixlen - 96))
        raise ValueError(f"{value} is IPv4 written as IPv6, which the API server refuses; use {plain}")
    if value != str(meant):
        raise ValueError(f"{value} is not a range as the API server wants it, the network and its length; use {meant}")
    return value


def _address(value: str) -> str:
    try:
        meant = ipaddress.ip_address(value.partition("%")[0])
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address; use e.g. 169.254.20.10") from None
    plain = (meant.ipv4_mapped if isinstance(meant, ipaddress.IPv6Address) else None) or meant
    if value != str(plain):
        raise ValueError(f"{value} is not an address as the API server wants it; use {plain}")
    return value


def some_cidrs(value: Sequence[str]) -> list[str]:
    """Ranges of addresses, and at least one: to Kubernetes an empty list of peers is everybody. Else ValueError."""
    if not value:
        raise ValueError("there is no range of addresses, and a rule without any would let everybody through; leave the flow out")
    return [_cidr(text) for text in value]


def _cidrs(value: object) -> object:
    if isinstance(value, pulumi.Output):
        return value.apply(some_cidrs)
    if isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value):
        return some_cidrs(value)
    raise ValueError("is neither a list of ranges nor an output; use e.g. [10.40.0.0/16]")


Cidr = Annotated[str, AfterValidator(_cidr)]
"""A range of addresses, IPv4 or IPv6."""
IpAddress = Annotated[str, AfterValidator(_address)]
"""An IP address."""
PodLabels = Mapping[QualifiedName, LabelValue]


class Pods(Model):
    """Validated `NetworkPodsArgs`."""

    labels: PodLabels
    namespace_name: InputText | None = None


class Block(Model):
    """Validated `NetworkBlockArgs`."""

    cidr: Cidr
    excluded: tuple[Cidr, ...] = ()

    @model_validator(mode="after")
    def _inside(self) -> "Block":
        whole = ipaddress.ip_network(self.cidr)
        for text in self.excluded:
            part = ipaddress.ip_network(text)
            if whole.version != part.version or not whole.supernet_of(part) or part == whole:  # type: ignore[arg-type]
                raise ValueError(f"excluded: {text} is no part of {self.cidr}; leave it out")
        return self


class Port(Model):
    """Validated `NetworkPortArgs`."""

    port: int = Field(ge=1, le=65535, examples=[8000])
    end: int | None = Field(None, ge=1, le=65535)
    protocol: NetworkProtocol = NetworkProtocol.TCP

    @model_validator(mode="after")
    def _in_order(self) -> "Port":
        if self.end is not None and self.end < self.port:
            raise ValueError(f"end: {self.end} is before {self.port}; use {self.port} or more")
        return self


class Flow(Model):
    """Validated `NetworkFlowArgs`."""

    reason: str = Field(min_length=1, pattern=r"^[^\n]*$", examples=["clients ask through the gateway"])
    pods: tuple[Pods, ...] = ()
    blocks: tuple[Block, ...] = ()
    cidrs: Annotated[object, PlainValidator(_cidrs)] | None = None
    ports: tuple[Port, ...] = ()

    @model_validator(mode="after")
    def _names_somebody(self) -> "Flow":
        if not self.pods and not self.blocks and self.cidrs is None:
            raise ValueError("nobody is named, and such a rule would let everybody through; give pods, blocks or cidrs")
        return self


class Policy(Model):
    """Validated `NetworkPolicyArgs`."""

    pods: PodLabels
    made_by_chart: bool = False
    resolves_names: bool = False
    ingress: tuple[Flow, ...] = ()
    egress: tuple[Flow, ...] = ()


class Dns(Model):
    """Validated `NetworkDnsArgs`."""

    namespace_name: str = Field("kube-system", min_length=1)
    pods: PodLabels = Field(default_factory=lambda: {"k8s-app": "kube-dns"})
    addresses: tuple[IpAddress, ...] = ()
