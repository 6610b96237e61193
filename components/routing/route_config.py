"""Inputs of routes, the same for every realisation, and the rules that follow from them."""

from collections.abc import Mapping
from typing import NotRequired, Self, TypedDict

import pulumi
from pydantic import Field, model_validator

from ..inputs import InputText, Model
from ..serving.arguments import PORT
from ..serving.groups import Task
from ..types import DnsLabel
from .config import GatewayRef, GatewayRefArgs, HeaderName, HeaderValue, Host, PathPrefix, SourceRange, check_ranges
from .paths import allowed_paths


class VersionArgs(TypedDict):
    """A version of what a route leads to."""

    weight: int
    """Its share among the weights of the route; 0 leaves it to `headers`."""
    headers: NotRequired[Mapping[str, str]]
    """Requests with all of these headers go there, whatever the weights say."""
    pods: NotRequired[Mapping[str, str]]
    """Labels of the pods that answer for it (`ModelServer.pods`), for load balancers and inference pools, which choose pods
    themselves."""
    endpoint_picker: NotRequired[str | None]
    """Service in the route's namespace of the endpoint picker that knows its replicas, for inference pools."""


class Version(Model):
    """Validated `VersionArgs`."""

    weight: int = Field(ge=0, le=1_000_000)
    headers: Mapping[HeaderName, HeaderValue] = Field(default_factory=dict)
    pods: Mapping[str, str] = Field(default_factory=dict)
    endpoint_picker: DnsLabel | None = None


class LoadBalancerArgs(TypedDict):
    """A load balancer for one route alone."""

    source_ranges: list[str]
    """Ranges that may connect; there is nobody else to keep others out."""
    internal: NotRequired[bool]
    """Whether it has private addresses only; true by default."""
    on_aws: NotRequired[bool]
    """Whether AWS makes it; false by default."""
    certificate_arn: NotRequired[str | None]
    """Certificate of AWS Certificate Manager with which it answers by https; clear text without it. AWS only."""


class LoadBalancer(Model):
    """Validated `LoadBalancerArgs`."""

    source_ranges: tuple[SourceRange, ...] = Field(min_length=1, examples=["[10.0.0.0/8]"])
    internal: bool = True
    on_aws: bool = False
    certificate_arn: str | None = Field(None, examples=["arn:aws:acm:us-east-1:123456789012:certificate/12345678"])

    @model_validator(mode="after")
    def _certificate_on_aws(self) -> "LoadBalancer":
        if self.certificate_arn is not None and not self.on_aws:
            raise ValueError("certificate_arn: only AWS ends TLS in its load balancers; remove it, or use a gateway")
        check_ranges(self.source_ranges, on_aws=self.on_aws)
        return self


class RouteArgs(TypedDict):
    """Inputs of `Route`. One of `gateway` and `load_balancer` is given."""

    route_name: str
    """What clients know it by."""
    namespace_name: pulumi.Input[str]
    """Namespace of the Services it leads to."""
    gateway: NotRequired[GatewayRefArgs | None]
    """The gateway that takes requests for it."""
    load_balancer: NotRequired[LoadBalancerArgs | None]
    """A load balancer of its own instead. It leads to one version and looks at no request."""
    host: NotRequired[str | None]
    """Host of requests. A load balancer may do without: then clients call it by its address."""
    path: NotRequired[str]
    """Prefix of their paths, e.g. `/chat`; none by default."""
    task: NotRequired[Task]
    """What its models are for, which decides the paths that are let through; `generate` by default."""
    versions: Mapping[str, VersionArgs]
    """By the name of the model's Service."""
    body_mib: NotRequired[int]
    """As `GatewayArgs.body_mib`. Of this and of what follows Istio knows the gateway's alone."""
    requests_per_minute: NotRequired[int | None]
    """As `GatewayArgs.requests_per_minute`."""
    idle_seconds: NotRequired[int]
    """As `GatewayArgs.idle_seconds`."""
    request_seconds: NotRequired[int]
    """As `GatewayArgs.request_seconds`; Istio knows the route's alone."""
    inference_pool: NotRequired[bool]
    """Whether requests with the same beginning go to the same replica (InferencePool); Gateway API only. Every version then
    names its `pods` and its `endpoint_picker`."""


class RouteFields(Model):
    """What routes have in common, whatever leads to them."""

    route_name: DnsLabel
    namespace_name: InputText
    path: PathPrefix = ""
    task: Task = Task.GENERATE
    versions: Mapping[DnsLabel, Version] = Field(min_length=1)
    body_mib: int = Field(20, ge=1, le=1024)
    requests_per_minute: int | None = Field(None, ge=1)
    idle_seconds: int = Field(3600, ge=1, le=86400)
    request_seconds: int = Field(3600, ge=1, le=86400)
    inference_pool: bool = False

    @model_validator(mode="after")
    def _reach_somebody(self) -> Self:
        check_versions(self.versions)
        return self


class RouteConfig(RouteFields):
    """Validated `RouteArgs` of a route through a gateway."""

    gateway: GatewayRef
    host: Host

    @model_validator(mode="after")
    def _pools_are_whole(self) -> Self:
        for name, version in self.versions.items() if self.inference_pool else ():
            check_pods(name, version)
            if version.endpoint_picker is None:
                raise ValueError(
                    f"versions.{name}.endpoint_picker is missing; an inference pool asks it where each request goes, so install "
                    f"one and name its Service, e.g. {name}-epp"
                )
        return self

    def rules(self) -> "list[Rule]":
        """What is done with requests, in order: the first rule that matches decides."""
        return rules(self)


class LoadBalancerRouteConfig(RouteFields):
    """Validated `RouteArgs` of a route with a load balancer of its own."""

    load_balancer: LoadBalancer
    host: Host | None = None

    @model_validator(mode="after")
    def _finds_pods(self) -> Self:
        for name, version in self.versions.items():
            check_pods(name, version)
        return self


class Rule(Model):
    """Requests that are sent on: those with one of `paths` and all of `headers`."""

    paths: Mapping[str, str]
    """Exact paths of requests, each with the path that the engine sees instead."""
    headers: Mapping[str, str]
    weights: Mapping[str, int]
    """By Service the share; never 0."""
    port: int = PORT


def rules(route: RouteConfig) -> list[Rule]:
    """The rules of a route: first those by headers, the most particular first, then the one by weights."""
    paths = {route.path + path: path for path in allowed_paths(route.task)}
    picked = sorted(
        ((name, version) for name, version in route.versions.items() if version.headers),
        key=lambda each: (-len(each[1].headers), each[0]),
    )
    weights = {name: version.weight for name, version in route.versions.items() if version.weight}
    return [
        *(Rule(paths=paths, headers=version.headers, weights={name: 1}) for name, version in picked),
        *([Rule(paths=paths, headers={}, weights=weights)] if weights else []),
    ]


def check_pods(name: str, version: Version) -> None:
    """Raise ValueError where nothing tells the pods of a version from all others."""
    if not version.pods:
        raise ValueError(f"versions.{name}.pods is missing, and what chooses pods itself has to know them; use ModelServer.pods")


def check_versions(versions: Mapping[str, Version]) -> None:
    """Raise ValueError where nobody answers, or two versions are picked by the same headers."""
    if not any(version.weight for version in versions.values()):
        raise ValueError("versions: no version has a weight, so requests without headers reach nobody; use e.g. weight: 100")
    seen: dict[frozenset[tuple[str, str]], str] = {}
    for name, version in versions.items():
        if version.headers and (other := seen.setdefault(frozenset(version.headers.items()), name)) != name:
            raise ValueError(f"versions.{name}.headers: {other} is picked by the same headers; use other values")
