"""A gateway and its routes in Gateway API, with the policies of Envoy Gateway 1.9 (gateway.envoyproxy.io/v1alpha1).

Pure; names may be outputs.

Fields and defaults: envoyproxy/gateway v1.9.0, api/v1alpha1. A policy of a route takes the place of the gateway's as a whole
(backendtrafficpolicy_types.go, `mergeType`), so both say everything.
"""

from typing import Any, Final

import pulumi

from ..base import PACKAGE
from ..names import DNS_LABEL_MAX, fit
from . import gateway_api
from .config import Auth, GatewayConfig
from .envoy_gateway_controller import CONTROLLER_NAME
from .envoy_proxy import CLIENT_HEADER, envoy_proxy
from .objects import ENVOY_GATEWAY, GATEWAY_API, KEEP_ALIVE_SECONDS, Object, whole
from .route_config import RouteConfig

_V1ALPHA1: Final = f"{ENVOY_GATEWAY}/v1alpha1"
_RECEIVED_SECONDS: Final = 300
"""How long clients may take to send a request, or to be slow about it on purpose; 20 MiB pass 0.6 Mbit/s in that time."""
_HEADERS_SECONDS: Final = 10
_KEEP_ALIVE: Final = {"probes": 3, "idleTime": "60s", "interval": "30s"}
"""A silent stream is an idle connection to load balancers, NAT and security groups, which on AWS forget it after 350 s (Elastic
Load Balancing, "Connection idle timeout"; EC2, "Connection tracking timeouts"); empty packets keep it known."""
_AT_ONCE: Final = 10_000
"""Connections and requests of a proxy to a version at one time. Envoy's own 1024 are fewer than a few replicas have waiting; how
many are too many is the engines' to say."""
_RETRY: Final = {"numRetries": 2, "retryOn": {"triggers": ["connect-failure", "refused-stream"]}}
"""Only where no server has seen the request: a completion computed twice is paid for twice."""


def gateway_objects(config: GatewayConfig, name: str) -> dict[str, Object]:
    """Objects of the gateway `name` by role: its class, its proxies, the gateway itself and its policies."""
    own = class_name(name)
    proxy = {"group": ENVOY_GATEWAY, "kind": "EnvoyProxy", "name": name}
    found: dict[str, Object] = {}
    if config.gateway_class is None:
        found["class"] = whole(f"{GATEWAY_API}/v1", "GatewayClass", own, {"controllerName": CONTROLLER_NAME})
    found["proxy"] = _policy("EnvoyProxy", name, config.namespace_name, envoy_proxy(config, name, gateway_api.ports(config)))
    found |= gateway_api.around_gateway(config, name, config.gateway_class or own, {"parametersRef": proxy})
    target = {"group": GATEWAY_API, "kind": "Gateway", "name": name}
    found["clients"] = _policy("ClientTrafficPolicy", name, config.namespace_name, {"targetRefs": [target], **_clients(config)})
    found["backends"] = _policy(
        "BackendTrafficPolicy", name, config.namespace_name, {"targetRefs": [target], **_backends(config)}
    )
    if config.auth is not None:
        listener = {"sectionName": "https" if config.tls else "http"}
        access = {"targetRefs": [target | listener], **_access(config.auth)}
        found["access"] = _policy("SecurityPolicy", name, config.namespace_name, access)
    return found


def route_objects(config: RouteConfig) -> dict[str, Object]:
    """Objects of a route by role: the route, and what its requests may be. Weights are in the first alone.

    Raises:
        ValueError: there are more rules than a route has room for.
    """
    target = {"group": GATEWAY_API, "kind": "HTTPRoute", "name": config.route_name}
    spec = {"targetRefs": [target], **_backends(config)}
    limits = _policy("BackendTrafficPolicy", config.route_name, config.namespace_name, spec)
    return gateway_api.route_objects(config) | {"limits": limits}


def class_name(name: str) -> str:
    """The GatewayClass of the gateway `name`; classes belong to the whole cluster."""
    return fit(PACKAGE, name, limit=DNS_LABEL_MAX)


def _policy(kind: str, name: str, namespace: pulumi.Input[str], spec: dict[str, Any]) -> Object:
    return whole(_V1ALPHA1, kind, name, spec, namespace=namespace)


def _clients(config: GatewayConfig) -> dict[str, Any]:
    tls = {"tls": {"minVersion": "1.2"}} if config.tls else {}
    return {
        **tls,
        "tcpKeepalive": dict(_KEEP_ALIVE),
        "path": {"escapedSlashesAction": "RejectRequest"},
        "headers": {
            "earlyRequestHeaders": {
                "remove": [CLIENT_HEADER],
                # Envoy believes clients with private addresses how long, and how often, it is to try (Envoy, "x-envoy-internal").
                "removeOnMatch": [{"type": "Prefix", "value": "x-envoy-"}],
            }
        },
        "timeout": {
            "http": {
                "requestHeadersReceivedTimeout": f"{_HEADERS_SECONDS}s",
                "requestReceivedTimeout": f"{_RECEIVED_SECONDS}s",
                "streamIdleTimeout": f"{config.idle_seconds}s",
            }
        },
    }


def _backends(config: GatewayConfig | RouteConfig) -> dict[str, Any]:
    """How versions are called, and what may be asked of them. Without a time Envoy's own would hold: 15 s for an answer."""
    counted = {"requests": config.requests_per_minute, "unit": "Minute"}
    limited = {"rateLimit": {"local": {"rules": [{"limit": counted}]}}} if config.requests_per_minute else {}
    return {
        **limited,
        "loadBalancer": {"type": "LeastRequest"},
        "requestBuffer": {"limit": f"{config.body_mib}Mi"},
        "retry": _RETRY,
        "timeout": {
            "http": {
                "requestTimeout": f"{config.request_seconds}s",
                "streamIdleTimeout": f"{config.idle_seconds}s",
                "connectionIdleTimeout": f"{KEEP_ALIVE_SECONDS}s",
            }
        },
        "tcpKeepalive": dict(_KEEP_ALIVE),
        "circuitBreaker": {
            "maxConnections": _AT_ONCE,
            "maxPendingRequests": _AT_ONCE,
            "maxParallelRequests": _AT_ONCE,
        },
    }


def _access(auth: Auth) -> dict[str, Any]:
    if auth.jwt is not None:
        token = auth.jwt
        provider = {
            "name": "clients",
            "issuer": token.issuer,
            "remoteJWKS": {"uri": token.jwks_uri},
            # Not in the address too, which Envoy would take as well: addresses are logged.
            "extractFrom": {"headers": [{"name": "Authorization", "valuePrefix": "Bearer "}]},
            **({"audiences": list(token.audiences)} if token.audiences else {}),
        }
        return {"jwt": {"providers": [provider]}}
    secret = {"group": "", "kind": "Secret", "name": auth.api_key_secret_name}
    return {
        "apiKeyAuth": {
            "credentialRefs": [secret],
            # Envoy takes "Bearer " away itself (envoyproxy/envoy, api/envoy/extensions/filters/http/api_key_auth).
            "extractFrom": [{"headers": ["Authorization"]}],
            "forwardClientIDHeader": CLIENT_HEADER,
            "sanitize": True,
        }
    }
