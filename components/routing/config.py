"""Inputs of gateways, the same for every realisation."""

import ipaddress
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, NotRequired, TypedDict

import pulumi
from pydantic import AfterValidator, Field, model_validator

from ..inputs import InputText, Matching, Model
from ..security.network.policies import Cidr
from ..types import DnsLabel
from .paths import check_prefix

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"

Host = Annotated[
    str,
    Matching(pattern=rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})+", what="a host name in lower case", example="chat.example.com"),
]
"""A name that clients resolve; no wildcard."""
PathPrefix = Annotated[str, AfterValidator(check_prefix)]
"""What stands before the engine's own paths; cut off before the engine sees the request."""
HeaderName = Annotated[
    str, Matching(pattern=r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", what="the name of a header in lower case", example="x-llm-version")
]
HeaderValue = Annotated[str, Matching(pattern=r"[!-~]{1,256}", what="the value of a header", example="v2")]


_WIDEST = {4: 8, 6: 12}
"""Shortest prefix by version of IP of a public range that somebody could own."""


def _not_everybody(value: str) -> str:
    network = ipaddress.ip_network(value)
    if not network.is_private and network.prefixlen < _WIDEST[network.version]:
        raise ValueError(f"{value} is nearly everybody; name the networks of those who may connect, e.g. 10.0.0.0/8")
    return value


SourceRange = Annotated[Cidr, AfterValidator(_not_everybody)]
"""Addresses that may connect to a load balancer; never everybody's."""
PRIVATE_RANGES = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
"""Private addresses of IPv4 (RFC 1918)."""


def check_ranges(ranges: Sequence[str], *, on_aws: bool) -> None:
    """Raise ValueError for ranges that the load balancer of AWS does not take."""
    if on_aws and (found := [cidr for cidr in ranges if ":" in cidr]):
        raise ValueError(f"source_ranges: {found[0]} is IPv6, and AWS' load balancer has IPv4 alone; use e.g. 10.0.0.0/8")


class Implementation(StrEnum):
    """What does what the objects say; decides what may be asked for (features.yaml)."""

    LOAD_BALANCER = "loadBalancer"
    """A Service of type LoadBalancer per route: no gateway at all."""
    ENVOY_GATEWAY = "envoyGateway"
    """Gateway API with Envoy Gateway's own policies."""
    GATEWAY_API = "gatewayApi"
    """Gateway API alone, whatever class: its core and standard features."""
    ISTIO = "istio"
    """Istio's own Gateway, VirtualService and DestinationRule."""


class IssuerArgs(TypedDict):
    """Who signs certificates: an issuer of cert-manager."""

    name: pulumi.Input[str]
    """Its name."""
    kind: NotRequired[str]
    """`ClusterIssuer` (the default) or `Issuer`, then in the gateway's namespace."""


class Issuer(Model):
    """Validated `IssuerArgs`."""

    name: InputText
    kind: Annotated[str, Matching(pattern="ClusterIssuer|Issuer", what="a kind of issuer", example="ClusterIssuer")] = (
        "ClusterIssuer"
    )


class JwtArgs(TypedDict):
    """Tokens that somebody else signs."""

    issuer: str
    """Who signs them (`iss`)."""
    jwks_uri: str
    """Where the keys are that they are checked with; https."""
    audiences: NotRequired[list[str]]
    """For whom they must be (`aud`); anybody's by default."""


class Jwt(Model):
    """Validated `JwtArgs`."""

    issuer: str = Field(min_length=1, description="Who signs the tokens.", examples=["https://id.example.com"])
    jwks_uri: Annotated[
        str, Matching(pattern=r"https://\S+", what="a URL of https", example="https://id.example.com/.well-known/jwks.json")
    ] = Field(description="Where the keys are that tokens are checked with.")
    audiences: tuple[str, ...] = Field((), description="For whom tokens must be.", examples=["[llm-platform]"])


class AuthArgs(TypedDict):
    """What clients must show at the gateway; one of the two."""

    api_key_secret_name: NotRequired[pulumi.Input[str] | None]
    """Secret in the gateway's namespace: for each client a key of it, the key's value is what the client sends as
    `Authorization: Bearer …`."""
    jwt: NotRequired[JwtArgs | None]
    """Tokens that clients send."""


class Auth(Model):
    """Validated `AuthArgs`."""

    api_key_secret_name: InputText | None = None
    jwt: Jwt | None = None

    @model_validator(mode="after")
    def _one(self) -> "Auth":
        if (self.api_key_secret_name is None) == (self.jwt is None):
            raise ValueError("auth takes either api keys or jwt; give one of the two")
        return self


class GatewayArgs(TypedDict):
    """Inputs of `Gateway`."""

    namespace_name: pulumi.Input[str]
    """Namespace of the gateway and its proxies; *baseline* suffices."""
    model_namespaces: list[pulumi.Input[str]]
    """Namespaces whose routes it takes."""
    hosts: list[str]
    """Every host it answers for."""
    implementation: NotRequired[Implementation]
    """What does what the objects say; `envoyGateway` by default. Not `loadBalancer`, which has no gateway."""
    gateway_class: NotRequired[str | None]
    """GatewayClass of the cluster's own; one for Envoy Gateway is made when left out."""
    tls_secret_name: NotRequired[pulumi.Input[str] | None]
    """Secret of type kubernetes.io/tls in the gateway's namespace. One of this and `issuer`; clear text without both."""
    issuer: NotRequired[IssuerArgs | None]
    """Who signs the certificate for `hosts`."""
    internal: NotRequired[bool]
    """Whether the load balancer before it has private addresses only; true by default."""
    on_aws: NotRequired[bool]
    """Whether AWS makes that load balancer; false by default."""
    source_ranges: NotRequired[list[str]]
    """Ranges that may connect; private addresses by default."""
    replicas: NotRequired[int]
    """Proxies; 2 by default."""
    auth: NotRequired[AuthArgs | None]
    """What clients must show; nothing by default, then engines ask for their own keys."""
    body_mib: NotRequired[int]
    """Longest request in MiB; 20 by default, which holds a few images."""
    requests_per_minute: NotRequired[int | None]
    """Requests a proxy lets through for each path of a route in a minute; no limit by default."""
    idle_seconds: NotRequired[int]
    """Longest silence within an answer; 3600 by default. Load balancers before it cut earlier unless they are told."""
    request_seconds: NotRequired[int]
    """Longest answer, from the first byte of the request to the last of the answer; 3600 by default."""
    system_labels: NotRequired[Mapping[str, str]]
    """Labels of the nodes proxies run on."""
    image_pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets of the namespace that proxies pull images with."""
    mesh_mtls: NotRequired[bool]
    """Whether the way from the proxies to the engines is encrypted by the mesh; Istio only."""


class GatewayConfig(Model):
    """Validated `GatewayArgs`."""

    namespace_name: InputText
    model_namespaces: tuple[InputText, ...]
    hosts: tuple[Host, ...] = Field(min_length=1)
    implementation: Implementation = Implementation.ENVOY_GATEWAY
    gateway_class: DnsLabel | None = None
    tls_secret_name: InputText | None = None
    issuer: Issuer | None = None
    internal: bool = True
    on_aws: bool = False
    source_ranges: tuple[SourceRange, ...] = Field(PRIVATE_RANGES, min_length=1, examples=["[10.0.0.0/8]"])
    replicas: int = Field(2, ge=1, le=100)
    auth: Auth | None = None
    body_mib: int = Field(20, ge=1, le=1024)
    requests_per_minute: int | None = Field(None, ge=1)
    idle_seconds: int = Field(3600, ge=1, le=86400)
    request_seconds: int = Field(3600, ge=1, le=86400)
    system_labels: Mapping[str, str] = Field(default_factory=dict)
    image_pull_secrets: tuple[InputText, ...] = ()
    mesh_mtls: bool = False

    @model_validator(mode="after")
    def _fits(self) -> "GatewayConfig":
        if self.tls_secret_name is not None and self.issuer is not None:
            raise ValueError("tls_secret_name and issuer both give the certificate; remove one of the two")
        if self.implementation is Implementation.LOAD_BALANCER:
            raise ValueError("implementation: loadBalancer has no gateway; use e.g. envoyGateway, or give routes a load_balancer")
        if self.implementation is Implementation.GATEWAY_API and self.gateway_class is None:
            raise ValueError("gateway_class is missing; name a GatewayClass of the cluster, or use implementation: envoyGateway")
        check_ranges(self.source_ranges, on_aws=self.on_aws)
        return self

    @property
    def tls(self) -> bool:
        """Whether clients are answered by https."""
        return self.tls_secret_name is not None or self.issuer is not None


class GatewayRefArgs(TypedDict):
    """A gateway as routes name it: `Gateway.reference`."""

    name: pulumi.Input[str]
    """Its name."""
    namespace_name: pulumi.Input[str]
    """Its namespace."""
    implementation: Implementation
    """What does what its objects say."""
    tls: bool
    """Whether it answers by https."""
    mesh_mtls: NotRequired[bool]
    """As `GatewayArgs.mesh_mtls`."""


class GatewayRef(Model):
    """Validated `GatewayRefArgs`."""

    name: InputText
    namespace_name: InputText
    implementation: Implementation
    tls: bool
    mesh_mtls: bool = False
