"""How clients reach the models of a stack: a gateway or load balancers, routes, and shares between versions."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.inputs import Model
from components.routing.config import PRIVATE_RANGES, HeaderName, HeaderValue, Host, Implementation, Jwt, PathPrefix, SourceRange
from components.routing.istio_ingress import RELEASE
from components.types import DnsLabel


class RoutingKind(StrEnum):
    """What clients come through."""

    LOAD_BALANCER = "loadBalancer"
    GATEWAY_API = "gatewayApi"
    ISTIO = "istio"


class IssuerSettings(Model):
    """An issuer of cert-manager that is there already."""

    name: DnsLabel = Field(description="Its name.", examples=["corporate"])
    kind: Literal["ClusterIssuer", "Issuer"] = Field(
        "ClusterIssuer", description="ClusterIssuer, or Issuer in the namespace of the gateway."
    )


class TlsSettings(Model):
    """Where the gateway's certificate comes from; one of the three."""

    secret: DnsLabel | None = Field(
        None,
        description="Secret of type kubernetes.io/tls that is in the gateway's namespace already, or that somebody brings there.",
        examples=["models-tls"],
    )
    issuer: IssuerSettings | None = Field(None, description="An issuer of cert-manager.", examples=["{name: corporate}"])
    private_ca: bool = Field(False, description="A certificate authority of the stack's own, which clients have to be told.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum((self.secret is not None, self.issuer is not None, self.private_ca)) != 1:
            raise ValueError("the certificate comes from one place; give one of secret, issuer and privateCa")
        return self


class AuthSettings(Model):
    """What clients must show the gateway; one of the two."""

    api_keys: DnsLabel | None = Field(
        None,
        description="Secret in the gateway's namespace, or an item of `secrets`: for each client a key with what it sends as "
        "`Authorization: Bearer …`.",
        examples=["gateway-keys"],
    )
    jwt: Jwt | None = Field(None, description="Tokens that somebody else signs.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.api_keys is None) == (self.jwt is None):
            raise ValueError("clients show one thing; give either apiKeys or jwt")
        return self


class RolloutSettings(Model):
    """A version that takes over in steps."""

    to: DnsLabel = Field(description="The version that takes over.", examples=["qwen-v2"])
    steps: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(
        (10, 50, 100), min_length=1, description="Its shares in per cent, one after the other.", examples=["[10, 50, 100]"]
    )
    step: int = Field(0, ge=0, description="How many steps were taken; at 0 only `headers` lead to it.", examples=[1])

    @model_validator(mode="after")
    def _upwards(self) -> Self:
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError(f"steps: {', '.join(map(str, self.steps))} do not rise; use e.g. [10, 50, 100]")
        if self.step > len(self.steps):
            raise ValueError(f"step: {self.step} is beyond the last of {len(self.steps)} steps; use {len(self.steps)}")
        return self

    @property
    def percent(self) -> int:
        """The share of `to` now."""
        return self.steps[self.step - 1] if self.step else 0


class VersionSettings(Model):
    """A model entry that a route leads to."""

    weight: int = Field(1, ge=0, le=1_000_000, description="Its share among the weights of the route.", examples=[90])
    headers: Mapping[HeaderName, HeaderValue] = Field(
        default_factory=dict,
        description="Requests with all of these go there, whatever the weights say.",
        examples=["{x-llm-version: v2}"],
    )
    endpoint_picker: DnsLabel | None = Field(
        None,
        description="Service of the endpoint picker that knows its replicas, which somebody has installed; for inferencePool.",
        examples=["qwen-v2-epp"],
    )


class RouteSettings(Model):
    """What clients know as one model."""

    host: Host | None = Field(
        None, description="Host of requests; `<route>.<domain>` when left out.", examples=["chat.example.com"]
    )
    path: PathPrefix = Field("", description="Prefix of their paths, which the engine does not see.", examples=["/chat"])
    versions: Mapping[DnsLabel, VersionSettings] = Field(
        default_factory=dict,
        description="Model entries it leads to; the one of its own name when left out.",
        examples=["{qwen-v1: {weight: 90}, qwen-v2: {weight: 10}}"],
    )
    rollout: RolloutSettings | None = Field(
        None, description="A version that takes over in steps.", examples=["{to: qwen-v2, step: 1}"]
    )
    requests_per_minute: int | None = Field(
        None, ge=1, description="Requests each proxy lets through in a minute; as the gateway's when left out.", examples=[600]
    )
    inference_pool: bool = Field(
        False, description="Requests that begin alike go to the replica that has their beginning in its cache."
    )

    @model_validator(mode="after")
    def _rolls_out_a_version(self) -> Self:
        if self.rollout is None:
            return self
        if self.rollout.to not in self.versions:
            known = ", ".join(self.versions) or "none"
            raise ValueError(
                f"rollout.to: {self.rollout.to} is none of versions ({known}); add it there, e.g. {{{self.rollout.to}: {{}}}}"
            )
        others = [name for name in self.versions if name != self.rollout.to]
        if not others:
            raise ValueError("rollout: there is no other version that it could take over from; remove rollout")
        if self.versions[self.rollout.to].model_fields_set & {"weight"}:
            raise ValueError(f"versions.{self.rollout.to}.weight: rollout.steps say its share; remove weight")
        if not any(self.versions[name].weight for name in others):
            raise ValueError(f"versions.{others[0]}.weight: 0 leaves nobody the share that rollout.to does not have; use e.g. 1")
        return self

    def weights(self) -> dict[str, int]:
        """By version its share now, in whole numbers."""
        if self.rollout is None:
            return {name: version.weight for name, version in self.versions.items()}
        percent, to = self.rollout.percent, self.rollout.to
        others = {name: version.weight for name, version in self.versions.items() if name != to}
        whole = sum(others.values())
        # In parts of one per cent of their weights together, so that nothing is rounded.
        return {name: percent * whole if name == to else (100 - percent) * others[name] for name in self.versions}


class MeshSettings(Model):
    """Encryption between pods."""

    mtls: Literal["strict"] = Field("strict", description="Pods of models take encrypted connections only.")
    ztunnel: DnsLabel = Field(
        "istio-system",
        description="Namespace of Istio's ztunnels, which the cluster has, with its plugin for networks (istio-cni).",
    )


class TrafficSettings(Model):
    """How clients reach models."""

    kind: RoutingKind = Field(description="What they come through.", examples=["gatewayApi"])
    domain: Host | None = Field(
        None, description="Routes without a host of their own are `<route>.<domain>`.", examples=["models.example.com"]
    )
    internal: bool = Field(True, description="Whether the load balancer has private addresses only.")
    source_ranges: tuple[SourceRange, ...] = Field(
        PRIVATE_RANGES,
        min_length=1,
        description="Who may connect; private addresses when left out.",
        examples=["[10.0.0.0/8]"],
    )
    gateway_class: DnsLabel | None = Field(
        None, description="A GatewayClass of the cluster's own; Envoy Gateway is installed when left out.", examples=["internal"]
    )
    implementation: Literal["envoyGateway", "gatewayApi"] | None = Field(
        None,
        description="What is behind gatewayClass: Envoy Gateway, or another, of which the standard features are used alone.",
        examples=["gatewayApi"],
    )
    tls: TlsSettings | None = Field(None, description="The certificate; requests go in clear text without one.")
    certificate_arn: str | None = Field(
        None,
        pattern=r"^arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[\w-]+$",
        description="Certificate of AWS Certificate Manager, for kind loadBalancer on EKS.",
        examples=["arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"],
    )
    replicas: int = Field(2, ge=1, le=100, description="Proxies.", examples=[2])
    auth: AuthSettings | None = Field(
        None, description="What clients must show; nothing when left out, then engines ask for keys of their own."
    )
    body_mib: int = Field(20, ge=1, le=1024, description="Longest request in MiB.", examples=[20])
    requests_per_minute: int | None = Field(
        None,
        ge=1,
        description="Requests each proxy lets through for a route in a minute; no limit when left out.",
        examples=[600],
    )
    idle_seconds: int = Field(3600, ge=1, le=86400, description="Longest silence within an answer, in seconds.", examples=[3600])
    request_seconds: int = Field(3600, ge=1, le=86400, description="Longest answer, in seconds.", examples=[3600])
    mesh: MeshSettings | None = Field(None, description="Encryption between pods; kind istio only.", examples=["{mtls: strict}"])
    routes: Mapping[DnsLabel, RouteSettings] = Field(
        default_factory=dict,
        description="Routes by the name clients ask for; a model that none leads to has one of its own name.",
        examples=["{chat: {versions: {qwen-v1: {weight: 90}, qwen-v2: {weight: 10}}}}"],
    )

    @property
    def realised_by(self) -> Implementation:
        """What does what the objects say."""
        match self.kind:
            case RoutingKind.LOAD_BALANCER:
                return Implementation.LOAD_BALANCER
            case RoutingKind.ISTIO:
                return Implementation.ISTIO
            case RoutingKind.GATEWAY_API:
                if self.gateway_class is None or self.implementation == "envoyGateway":
                    return Implementation.ENVOY_GATEWAY
                return Implementation.GATEWAY_API

    @property
    def gateway_name(self) -> str:
        """Name of the gateway. One of Istio is called as the release of its proxies, whose labels follow from that."""
        return RELEASE if self.kind is RoutingKind.ISTIO else "gateway"

    @property
    def has_gateway(self) -> bool:
        """Whether a gateway is made."""
        return self.kind is not RoutingKind.LOAD_BALANCER

    @property
    def own_proxies(self) -> bool:
        """Whether its proxies are the stack's own."""
        return self.has_gateway and self.gateway_class is None
