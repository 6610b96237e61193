"""A gateway and its routes in Istio's own objects (networking.istio.io/v1, security.istio.io/v1). Pure; names may be outputs.

What is said here of Istio is what its control plane makes of the objects (istio/istio, pilot/pkg/networking/core).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import pulumi

from ..names import DNS_LABEL_MAX, fit
from ..serving.groups import Task
from .certificates import certificate, certificate_secret
from .config import GatewayConfig, Jwt
from .gateway_api import HTTP, HTTPS, REMOVED_HEADERS
from .istio_limits import limits
from .objects import KEEP_ALIVE_SECONDS, Object, whole
from .paths import allowed_paths
from .route_config import RouteConfig, Rule

_NETWORKING: Final = "networking.istio.io/v1"
_FILTERS: Final = "networking.istio.io/v1alpha3"
_SECURITY: Final = "security.istio.io/v1"

RETRIES: Final = {"attempts": 2, "retryOn": "connect-failure,refused-stream,reset-before-request"}
"""Only where no server has seen the request (Envoy, "x-envoy-retry-on"): Istio's own default also repeats what was answered 503,
and a completion computed twice is paid for twice."""


def proxy_labels(name: str) -> dict[str, str]:
    """Labels of the proxies of the gateway `name`: those that the chart istio/gateway gives a release of this name.

    A Gateway takes proxies by labels alone, in whatever namespace they are: by Istio's usual names it would take those of others
    too, which ask for no token.
    """
    return {"app": name, "istio": name.removeprefix("istio-")}


def gateway_objects(config: GatewayConfig, name: str) -> dict[str, Object]:
    """Objects of the gateway `name` by role, what refuses requests before what lets them in.

    Raises:
        ValueError: API keys are asked for, which Istio does not check.
    """
    if config.auth is not None and config.auth.jwt is None:
        raise ValueError("auth: Istio checks no API keys; use jwt, or another implementation")
    jwt = config.auth.jwt if config.auth else None
    proxies = proxy_labels(name)
    selected = {"selector": {"matchLabels": proxies}}

    def made(api_version: str, kind: str, spec: Mapping[str, Any]) -> Object:
        return whole(api_version, kind, name, spec, namespace=config.namespace_name)

    found: dict[str, Object] = {}
    if config.issuer is not None:
        found["certificate"] = certificate(config, config.issuer, name)
    if jwt is not None:
        found["tokens"] = made(_SECURITY, "RequestAuthentication", selected | _tokens(jwt))
    found["access"] = made(_SECURITY, "AuthorizationPolicy", selected | _access(jwt))
    patches = {"workloadSelector": {"labels": proxies}, "configPatches": limits(config)}
    found["limits"] = made(_FILTERS, "EnvoyFilter", patches)
    found["gateway"] = made(_NETWORKING, "Gateway", {"selector": proxies, "servers": _servers(config, name)})
    return found


def route_objects(config: RouteConfig) -> dict[str, Object]:
    """Objects of a route by role: for each version how it is called, and the rules. Weights are in the last alone."""
    found = {}
    for service in config.versions:
        spec = {"host": _host(config, service), "trafficPolicy": _called(mesh_mtls=config.gateway.mesh_mtls)}
        name = fit(config.route_name, service, limit=DNS_LABEL_MAX)
        found[f"destination-{service}"] = whole(_NETWORKING, "DestinationRule", name, spec, namespace=config.namespace_name)
    rules = {
        "hosts": [config.host],
        "gateways": [joined(config.gateway.namespace_name, "/", config.gateway.name)],
        "http": [_http(config, rule) for rule in config.rules()],
    }
    return {**found, "route": whole(_NETWORKING, "VirtualService", config.route_name, rules, namespace=config.namespace_name)}


def joined(*parts: pulumi.Input[str]) -> pulumi.Input[str]:
    """The parts as one text, an output only where one of them is."""
    known = [part for part in parts if isinstance(part, str)]
    return "".join(known) if len(known) == len(parts) else pulumi.Output.concat(*parts)


def _servers(config: GatewayConfig, name: str) -> list[dict[str, Any]]:
    # With its namespace before it a host is taken from there only: no other can put itself in the way.
    hosts = [joined(namespace, "/", host) for namespace in config.model_namespaces for host in config.hosts]
    http: dict[str, Any] = {"port": {"number": HTTP, "name": "http", "protocol": "HTTP"}, "hosts": hosts}
    if not config.tls:
        return [http]
    tls = {"mode": "SIMPLE", "credentialName": certificate_secret(config, name), "minProtocolVersion": "TLSV1_2"}
    https = {"port": {"number": HTTPS, "name": "https", "protocol": "HTTPS"}, "hosts": hosts, "tls": tls}
    return [https, http | {"tls": {"httpsRedirect": True}}]


def _access(jwt: Jwt | None) -> dict[str, Any]:
    """What is refused whatever the rules of routes say: paths of no engine, and requests without a token."""
    paths = dict.fromkeys(path for task in Task for path in allowed_paths(task))
    rules: list[dict[str, Any]] = [{"to": [{"operation": {"notPaths": [f"*{path}" for path in paths]}}]}]
    if jwt is not None:
        rules.append({"from": [{"source": {"notRequestPrincipals": [f"{jwt.issuer}/*"]}}]})
    return {"action": "DENY", "rules": rules}


def _tokens(jwt: Jwt) -> dict[str, Any]:
    # Not in the address too, where Istio looks besides unless it is told: addresses are logged.
    header = {"name": "Authorization", "prefix": "Bearer "}
    rule: dict[str, Any] = {"issuer": jwt.issuer, "jwksUri": jwt.jwks_uri, "fromHeaders": [header]}
    return {"jwtRules": [rule | ({"audiences": list(jwt.audiences)} if jwt.audiences else {})]}


def _http(config: RouteConfig, rule: Rule) -> dict[str, Any]:
    headers = {name: {"exact": value} for name, value in sorted(rule.headers.items())}
    rewrite = {"rewrite": {"uriRegexRewrite": {"match": f"^{re.escape(config.path)}(/.*)$", "rewrite": r"\1"}}}
    return {
        "name": "-".join(["headers", *rule.weights]) if headers else "weights",
        "match": [{"uri": {"exact": path}, **({"headers": headers} if headers else {})} for path in rule.paths],
        **(rewrite if config.path else {}),
        "route": _shares(config, rule),
        "timeout": f"{config.request_seconds}s",
        "retries": dict(RETRIES),
        "headers": {"request": {"remove": list(REMOVED_HEADERS)}},
    }


def _shares(config: RouteConfig, rule: Rule) -> list[dict[str, Any]]:
    alone = len(rule.weights) == 1
    return [
        {
            "destination": {"host": _host(config, service), "port": {"number": rule.port}},
            **({} if alone else {"weight": weight}),
        }
        for service, weight in sorted(rule.weights.items())
    ]


def _host(config: RouteConfig, service: str) -> pulumi.Input[str]:
    return joined(service, ".", config.namespace_name, ".svc.cluster.local")


def _called(*, mesh_mtls: bool) -> dict[str, Any]:
    """How proxies call the servers of a version."""
    policy: dict[str, Any] = {
        "loadBalancer": {
            "simple": "LEAST_REQUEST",
            # Watching for failures would send everything to servers in the proxy's own zone otherwise, and leave the others idle.
            "localityLbSetting": {"enabled": False},
        },
        "connectionPool": {
            # A security group forgets a silent connection after 350 s on newer instances (EC2, "Connection tracking timeouts").
            "tcp": {"tcpKeepalive": {"probes": 3, "time": "60s", "interval": "30s"}},
            "http": {"idleTimeout": f"{KEEP_ALIVE_SECONDS}s", "h2UpgradePolicy": "DO_NOT_UPGRADE"},
        },
        "outlierDetection": {
            # Servers that no connection reaches. Answers do not count: one request that engines fail at would take all away.
            "splitExternalLocalOriginErrors": True,
            "consecutiveLocalOriginFailures": 5,
            "consecutive5xxErrors": 0,
            "interval": "10s",
            "baseEjectionTime": "30s",
            "maxEjectionPercent": 50,
            # With fewer left than this all are asked again: the only server is never given up.
            "minHealthPercent": 50,
        },
    }
    # Through the mesh's tunnel where a pod has one, else by Istio's TLS: what Istio chooses by itself may be clear text.
    return policy | ({"tls": {"mode": "ISTIO_MUTUAL"}} if mesh_mtls else {})
