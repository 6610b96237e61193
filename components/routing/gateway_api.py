"""A gateway and its routes in Gateway API (gateway.networking.k8s.io/v1), whoever implements it. Pure; names may be outputs.

Standard channel alone. Of what is *extended* there (kubernetes-sigs/gateway-api, apis/v1/httproute_types.go), routes use
time-outs, and with a prefix a rewritten path.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pulumi

from ..serving.arguments import PORT
from . import load_balancers
from .certificates import certificate, certificate_secret
from .config import GatewayConfig
from .objects import GATEWAY_API, INFERENCE, Object, whole
from .route_config import RouteConfig, Rule, Version

HTTP: Final = 80
HTTPS: Final = 443
_V1: Final = f"{GATEWAY_API}/v1"
_MOST_RULES: Final = 16
"""Of an HTTPRoute (config/crd/standard, `rules.maxItems`). Its 64 matches a rule and 128 in all are out of reach then."""
_PICKER_PORT: Final = 9002
"""Where endpoint pickers answer (llm-d/llm-d-router, config/charts/routerlib/values.yaml, `extProcPort`)."""
REMOVED_HEADERS: Final = ("x-request-id",)
"""An engine may connect to where this one points (CVE-2026-116176)."""


def gateway_objects(config: GatewayConfig, name: str) -> dict[str, Object]:
    """Objects of the gateway `name` by role: the gateway, its certificate, and what redirects to https."""
    assert config.gateway_class is not None  # noqa: S101 - GatewayConfig sees to it
    found = load_balancers.annotations(
        on_aws=config.on_aws, internal=config.internal, ports=ports(config), idle_seconds=config.idle_seconds
    )
    return around_gateway(config, name, config.gateway_class, {"annotations": found} if found else {})


def around_gateway(config: GatewayConfig, name: str, gateway_class: str, infrastructure: Mapping[str, Any]) -> dict[str, Object]:
    """The same for a class and what it is told."""
    found: dict[str, Object] = {}
    if config.issuer is not None:
        found["certificate"] = certificate(config, config.issuer, name)
    spec = {
        "gatewayClassName": gateway_class,
        **({"infrastructure": dict(infrastructure)} if infrastructure else {}),
        "listeners": list(_listeners(config, name)),
    }
    found["gateway"] = whole(_V1, "Gateway", name, spec, namespace=config.namespace_name)
    if config.tls:
        found["redirect"] = _redirect(config, name)
    return found


def ports(config: GatewayConfig) -> list[int]:
    """Where it listens."""
    return [HTTP, HTTPS] if config.tls else [HTTP]


def _listeners(config: GatewayConfig, name: str) -> Iterator[dict[str, Any]]:
    """Clear text, which only redirects beside https.

    For all hosts at once: browsers and clients of HTTP/2 ask for every host of a certificate on one connection, and by a listener
    for each they would come to the wrong one (gateway-api.sigs.k8s.io, GEP-3567).
    """
    of = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(config.model_namespaces)}]}
    models = {"namespaces": {"from": "Selector", "selector": of}}
    routes = [{"group": GATEWAY_API, "kind": "HTTPRoute"}]
    own = {"namespaces": {"from": "Same"}}
    http = {"name": "http", "port": HTTP, "protocol": "HTTP"}
    yield http | {"allowedRoutes": (own if config.tls else models) | {"kinds": routes}}
    if config.tls:
        secret = {"group": "", "kind": "Secret", "name": certificate_secret(config, name)}
        tls = {"mode": "Terminate", "certificateRefs": [secret]}
        yield {"name": "https", "port": HTTPS, "protocol": "HTTPS", "tls": tls, "allowedRoutes": models | {"kinds": routes}}


def _redirect(config: GatewayConfig, name: str) -> Object:
    redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
    spec = {
        "parentRefs": [_parent(name, config.namespace_name, "http")],
        "rules": [{"matches": [_match("/", kind="PathPrefix")], "filters": [redirect]}],
    }
    return whole(_V1, "HTTPRoute", f"{name}-redirect", spec, namespace=config.namespace_name)


def _parent(name: pulumi.Input[str], namespace: pulumi.Input[str], listener: str) -> dict[str, Any]:
    return {"group": GATEWAY_API, "kind": "Gateway", "namespace": namespace, "name": name, "sectionName": listener}


def route_objects(config: RouteConfig) -> dict[str, Object]:
    """Objects of a route by role: inference pools of its versions where it has them, and the route, where alone weights are.

    Raises:
        ValueError: there are more rules than a route has room for.
    """
    pools = {name: version for name, version in config.versions.items() if config.inference_pool}
    found = {f"pool-{name}": _pool(config, name, version) for name, version in pools.items()}
    # By headers last: the order decides nothing here, and Envoy Gateway calls its clusters by it, so the shares would move to
    # clusters that are just being made, and answer 503, whenever a rule by headers comes or goes before them.
    ordered = sorted(config.rules(), key=lambda rule: bool(rule.headers))
    rules = [each for rule in ordered for each in _rules(config, rule)]
    if len(rules) > _MOST_RULES:
        raise ValueError(
            f"versions: by headers and paths there are {len(rules)} rules, and an HTTPRoute has room for {_MOST_RULES}; "
            + ("use a host instead of path" if config.path else "choose fewer versions by headers")
        )
    gateway = config.gateway
    parent = _parent(gateway.name, gateway.namespace_name, "https" if gateway.tls else "http")
    spec = {"parentRefs": [parent], "hostnames": [config.host], "rules": rules}
    return {**found, "route": whole(_V1, "HTTPRoute", config.route_name, spec, namespace=config.namespace_name)}


def _rules(config: RouteConfig, rule: Rule) -> Iterator[dict[str, Any]]:
    """The rules of an HTTPRoute for one of ours: one for all paths, or one for each where it has to be rewritten.

    By whole paths, never by their beginning: below `/v1/completions` engines answer what nobody is to ask.
    """
    modifier = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": list(REMOVED_HEADERS)}}
    most = f"{config.request_seconds}s"
    last = {
        "backendRefs": [_backend(config, rule, name, weight) for name, weight in rule.weights.items()],
        "timeouts": {"request": most, "backendRequest": most},
    }
    if not config.path:
        yield {"matches": [_match(path, rule.headers) for path in rule.paths], "filters": [modifier], **last}
        return
    for path, seen in rule.paths.items():
        rewrite = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": seen}}}
        yield {"matches": [_match(path, rule.headers)], "filters": [modifier, rewrite], **last}


def _match(path: str, headers: Mapping[str, str] | None = None, *, kind: str = "Exact") -> dict[str, Any]:
    wanted = [{"type": "Exact", "name": name, "value": value} for name, value in sorted((headers or {}).items())]
    return {"path": {"type": kind, "value": path}, **({"headers": wanted} if wanted else {})}


def _backend(config: RouteConfig, rule: Rule, name: str, weight: int) -> dict[str, Any]:
    if config.inference_pool:
        return {"group": INFERENCE, "kind": "InferencePool", "name": name, "weight": weight}
    return {"group": "", "kind": "Service", "name": name, "port": rule.port, "weight": weight}


def _pool(config: RouteConfig, name: str, version: Version) -> Object:
    picker = {"group": "", "kind": "Service", "name": version.endpoint_picker, "port": {"number": _PICKER_PORT}}
    spec = {
        "selector": {"matchLabels": dict(version.pods)},
        "targetPorts": [{"number": PORT}],
        # While it is away, requests go to any replica: slower than it would have chosen, and answered.
        "endpointPickerRef": picker | {"failureMode": "FailOpen"},
    }
    return whole(f"{INFERENCE}/v1", "InferencePool", name, spec, namespace=config.namespace_name)
