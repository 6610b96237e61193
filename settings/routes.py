"""What the traffic of a stack comes to: each route with its versions, their shares now, and what has to fit together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.cluster.contract import Brought
from components.monitoring.facts import Track
from components.routing.features import Feature, check_features, wanted
from components.routing.route_config import Version, check_versions
from components.serving.groups import Task
from settings.traffic import RouteSettings, RoutingKind, TrafficSettings

if TYPE_CHECKING:
    from settings.sections import Settings


@dataclass(frozen=True, kw_only=True)
class StackRoute:
    """A route of a stack, with nothing left out."""

    name: str
    host: str | None
    """None where it is called by the address of its load balancer."""
    path: str
    namespace: str
    """Of its models."""
    task: Task
    versions: Mapping[str, Version]
    canary: str | None
    """The version that takes over."""
    requests_per_minute: int | None
    inference_pool: bool

    def track(self, version: str) -> Track:
        """What a version is; nothing of it follows from its share, so that a step changes the route alone."""
        return Track.CANARY if version == self.canary else Track.STABLE


def routes_of(settings: "Settings") -> dict[str, StackRoute]:
    """Every route of a stack, those of models that no other leads to among them; none without `traffic`."""
    if settings.traffic is None:
        return {}
    given = {name: route if route.versions else _of_one(name, route) for name, route in settings.traffic.routes.items()}
    versions = {version for route in given.values() for version in route.versions}
    alone = {name: _of_one(name, RouteSettings()) for name in settings.models if name not in versions and name not in given}
    return {name: _route(name, route, settings, settings.traffic) for name, route in {**given, **alone}.items()}


def led_to(settings: "Settings") -> list[str]:
    """Models that some route leads to, in the order of their names."""
    return sorted({version for route in settings.routes.values() for version in route.versions})


def _of_one(name: str, route: RouteSettings) -> RouteSettings:
    return RouteSettings.model_validate({**route.model_dump(exclude_unset=True), "versions": {name: {}}})


def _route(name: str, route: RouteSettings, settings: "Settings", traffic: TrafficSettings) -> StackRoute:
    first, weights = next(iter(route.versions)), route.weights()
    return StackRoute(
        name=name,
        host=route.host or (f"{name}.{traffic.domain}" if traffic.domain else None),
        path=route.path,
        namespace=settings.namespace_of(first),
        task=settings.models[first].task,
        versions={
            version: Version(weight=weights[version], headers=each.headers, endpoint_picker=each.endpoint_picker)
            for version, each in route.versions.items()
        },
        canary=route.rollout.to if route.rollout else None,
        requests_per_minute=route.requests_per_minute or traffic.requests_per_minute,
        inference_pool=route.inference_pool,
    )


def names_by_route(settings: "Settings", model: str) -> tuple[str, ...]:
    """Names beside its own that a model has to answer to, because clients of a route ask for the route's name."""
    if settings.traffic is None:
        return ()
    own = {model, *settings.models[model].aliases}
    return tuple(name for name, route in settings.traffic.routes.items() if model in route.versions and name not in own)


def unasked(settings: "Settings") -> list[str]:
    """Models of routes that answer whoever may connect: nobody asks for a key."""
    if settings.traffic is None or settings.traffic.auth is not None:
        return []
    return [name for name in led_to(settings) if settings.models[name].api_key_secret is None]


def check_traffic(settings: "Settings") -> None:
    """Raise ValueError, a sentence that begins with its setting, for a route that leads nowhere, or not as it was meant."""
    traffic = settings.traffic
    if traffic is None:
        return
    _check_kind(settings, traffic)
    for name, given in traffic.routes.items():
        _check_versions(settings, name, given)
    seen: dict[str, str] = {}
    for name, route in settings.routes.items():
        key = f"traffic.routes.{name}"
        if route.host is None and traffic.has_gateway:
            raise ValueError(f"{key}.host is missing; give it, or traffic.domain for all routes, e.g. domain: models.example.com")
        if route.host and (other := seen.setdefault(route.host + route.path, name)) != name:
            raise ValueError(f"{key}: {route.host}{route.path} is {other}'s already; use another host, or e.g. path: /{name}")
        try:
            check_versions(route.versions)
        except ValueError as error:
            raise ValueError(f"{key}.{error}") from None
        try:
            check_features(traffic.realised_by, _asked(traffic, route))
        except ValueError as error:
            raise ValueError(f"traffic.{error}") from None


def _asked(traffic: TrafficSettings, route: StackRoute) -> dict[str, Feature]:
    """What a route and its gateway ask for, by the keys below `traffic`."""
    key, given, auth = f"routes.{route.name}", traffic.model_fields_set, traffic.auth
    by_headers = next((name for name, version in route.versions.items() if version.headers), "")
    shares = sum(version.weight > 0 for version in route.versions.values()) > 1
    own = route.requests_per_minute != traffic.requests_per_minute
    return wanted(
        {
            "auth.apiKeys": Feature.API_KEYS if auth and auth.api_keys else None,
            "auth.jwt": Feature.JWT if auth and auth.jwt else None,
            "mesh": Feature.MESH_MTLS if traffic.mesh else None,
            "sourceRanges": Feature.SOURCE_RANGES if "source_ranges" in given else None,
            "bodyMib": Feature.BODY_LIMIT if "body_mib" in given else None,
            "idleSeconds": Feature.IDLE_TIMEOUT if "idle_seconds" in given else None,
            "requestSeconds": Feature.REQUEST_TIMEOUT if "request_seconds" in given else None,
            "requestsPerMinute": Feature.RATE_LIMIT if traffic.requests_per_minute else None,
            f"{key}.requestsPerMinute": Feature.ROUTE_RATE_LIMIT if own else None,
            f"{key}.versions": Feature.WEIGHTS if len(route.versions) > 1 else None,
            f"{key}.versions.{by_headers}.headers": Feature.HEADERS if by_headers else None,
            f"{key}.path": Feature.PREFIX if route.path else None,
            f"{key}.inferencePool": Feature.INFERENCE_POOL if route.inference_pool else None,
            f"{key}.versions, with inferencePool": Feature.INFERENCE_POOL_WEIGHTS if route.inference_pool and shares else None,
        }
    )


def _check_kind(settings: "Settings", traffic: TrafficSettings) -> None:
    for wrong, sentence in (*_of_kind(traffic, on_eks=settings.on_eks() is not None), *_of_surroundings(settings, traffic)):
        if wrong:
            raise ValueError(sentence)


def _of_kind(traffic: TrafficSettings, *, on_eks: bool) -> Iterator[tuple[bool, str]]:
    """What the kind does not know what to do with, or cannot be without."""
    yield (
        traffic.gateway_class is not None and traffic.kind is not RoutingKind.GATEWAY_API,
        "traffic.gatewayClass: only kind: gatewayApi has classes; remove it, or use kind: gatewayApi",
    )
    yield (
        traffic.implementation is not None and traffic.gateway_class is None,
        "traffic.implementation says what is behind gatewayClass, and that is missing; give gatewayClass, or remove it",
    )
    yield (
        traffic.mesh is not None and traffic.kind is not RoutingKind.ISTIO,
        "traffic.mesh: only Istio has a mesh; remove it, or use kind: istio",
    )
    yield (
        traffic.certificate_arn is not None and not (traffic.kind is RoutingKind.LOAD_BALANCER and on_eks),
        "traffic.certificateArn: only load balancers of AWS take it, with kind: loadBalancer on a cluster of kind eks; "
        "remove it, or use tls",
    )
    yield (
        traffic.has_gateway and traffic.tls is None,
        "traffic.tls is missing, so keys and prompts would travel in clear text; use a Secret, an issuer, or a certificate "
        "authority of the stack's own: tls: {privateCa: true}",
    )
    yield (
        not traffic.has_gateway and traffic.tls is not None,
        "traffic.tls: a load balancer alone has no Secret to take it from; use certificateArn on EKS, or a gateway",
    )
    yield (
        not traffic.has_gateway and not traffic.internal and traffic.certificate_arn is None,
        "traffic.internal: false lets the internet in, in clear text; give certificateArn, or use kind: gatewayApi with tls",
    )


def _of_surroundings(settings: "Settings", traffic: TrafficSettings) -> Iterator[tuple[bool, str]]:
    """What does not go with the rest of the stack."""
    of_others = settings.network_policies.gateway
    yield (
        traffic.gateway_class is not None and not settings.has(Brought.GATEWAY_API),
        f"traffic.gatewayClass: {traffic.gateway_class} has to be in the cluster already; add gatewayApi to cluster.brings, "
        "or leave it out, then Envoy Gateway is installed",
    )
    yield (
        traffic.has_gateway and not traffic.own_proxies and of_others is None,
        "networkPolicies.gateway is missing; policies close every way that is not named, so the proxies of "
        f"{traffic.gateway_class} would reach no model: give their pods, e.g. {{namespace: gateway, pods: {{app: gateway}}}}",
    )
    yield (
        traffic.own_proxies and of_others is not None,
        "networkPolicies.gateway: traffic brings proxies of the stack's own; remove networkPolicies.gateway, or name who asks "
        "models beside them in networkPolicies.clients",
    )
    yield (
        traffic.mesh is not None and not settings.has(Brought.ISTIO_AMBIENT),
        "traffic.mesh: every node needs Istio's ztunnel and istio-cni, which no stack installs; use a cluster of kind existing "
        "that has them, and add istioAmbient to cluster.brings",
    )
    for name, model in settings.models.items():
        yield (
            traffic.auth is not None and model.api_key_secret is not None,
            f"models.{name}.apiKeySecret: clients send one key, in the header that traffic.auth looks at too; "
            "remove apiKeySecret, or traffic.auth",
        )


def _check_versions(settings: "Settings", name: str, route: RouteSettings) -> None:
    key, models = f"traffic.routes.{name}", settings.models
    known = ", ".join(sorted(models)) or "none; add it to models"
    if not route.versions and name not in models:
        example = next(iter(models), "qwen")
        raise ValueError(
            f"{key}.versions is missing, and no model is called {name}; name the models, e.g. versions: {{{example}: {{}}}}"
        )
    for version in route.versions:
        if version not in models:
            raise ValueError(f"{key}.versions.{version}: there is no such model; known: {known}")
    versions = [*route.versions] or [name]
    first, *others = versions
    for other in others:
        for what, one, two in (
            ("namespace", settings.namespace_of(first), settings.namespace_of(other)),
            ("task", models[first].task.value, models[other].task.value),
            ("lora.adapters", _adapters(settings, first), _adapters(settings, other)),
            ("apiKeySecret", _key(settings, first), _key(settings, other)),
        ):
            if one != two:
                raise ValueError(
                    f"{key}.versions.{other}: its {what} is {two or 'none'} and that of {first} is {one or 'none'}, so clients "
                    f"would be answered differently by chance; make models.{other}.{what} the same"
                )


def _adapters(settings: "Settings", model: str) -> str:
    lora = settings.models[model].lora
    return ", ".join(sorted(lora.adapters)) if lora else ""


def _key(settings: "Settings", model: str) -> str:
    secret = settings.models[model].api_key_secret
    return f"{secret.name}/{secret.key}" if secret else ""
