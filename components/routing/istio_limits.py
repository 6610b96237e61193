"""Limits that Istio has no object for: its proxies are Envoy, and patches of an EnvoyFilter set what Envoy has for them. Pure.

Patches name parts of what Istio makes itself, so each upgrade of Istio is to be checked against what these match (istio.io,
"Envoy Filter"): the connection manager, the router filter in it, routes that lead somewhere.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .config import GatewayConfig

HEADERS_SECONDS: Final = 10
RECEIVED_SECONDS: Final = 300
"""How long clients may take to send a request, or to be slow about it on purpose."""

_MANAGER: Final = "envoy.filters.network.http_connection_manager"
_LIMIT: Final = "envoy.filters.http.local_ratelimit"
_TYPES: Final = "type.googleapis.com/envoy.extensions.filters"
_ALL: Final = {"numerator": 100, "denominator": "HUNDRED"}


def limits(config: GatewayConfig) -> list[dict[str, Any]]:
    """Patches for the proxies of a gateway.

    A longer body is answered 413 before an engine hears of it, a longer silence ends the answer, one request too many is answered
    429. Every proxy counts requests by itself, and for each path of each rule.
    """
    return list(_limits(config))


def _limits(config: GatewayConfig) -> Iterator[dict[str, Any]]:
    manager = _typed(
        "network.http_connection_manager.v3.HttpConnectionManager",
        stream_idle_timeout=f"{config.idle_seconds}s",
        request_headers_timeout=f"{HEADERS_SECONDS}s",
        request_timeout=f"{RECEIVED_SECONDS}s",
    )
    yield _patch("NETWORK_FILTER", _within({"name": _MANAGER}), "MERGE", {"name": _MANAGER, "typed_config": manager})
    if config.requests_per_minute is not None:
        counted = _typed("http.local_ratelimit.v3.LocalRateLimit", stat_prefix="requests")
        tokens = {"max_tokens": config.requests_per_minute, "tokens_per_fill": config.requests_per_minute, "fill_interval": "60s"}
        bucket = {
            "token_bucket": tokens,
            "filter_enabled": {"runtime_key": "requests_counted", "default_value": dict(_ALL)},
            "filter_enforced": {"runtime_key": "requests_refused", "default_value": dict(_ALL)},
        }
        yield _before_router(_LIMIT, counted)
        routes = {"routeConfiguration": {"vhost": {"route": {"action": "ROUTE"}}}}
        yield _patch("HTTP_ROUTE", routes, "MERGE", {"typed_per_filter_config": {_LIMIT: counted | bucket}})
    # After whoever asks for tokens and counts requests: only what passes them is kept in memory.
    yield _before_router(
        "envoy.filters.http.buffer", _typed("http.buffer.v3.Buffer", max_request_bytes=config.body_mib * 1024**2)
    )


def _before_router(name: str, typed: Mapping[str, Any]) -> dict[str, Any]:
    router = _within({"name": _MANAGER, "subFilter": {"name": "envoy.filters.http.router"}})
    return _patch("HTTP_FILTER", router, "INSERT_BEFORE", {"name": name, "typed_config": dict(typed)})


def _within(network_filter: Mapping[str, Any]) -> dict[str, Any]:
    return {"listener": {"filterChain": {"filter": dict(network_filter)}}}


def _patch(what: str, match: Mapping[str, Any], operation: str, value: Mapping[str, Any]) -> dict[str, Any]:
    patch = {"operation": operation, "value": dict(value)}
    return {"applyTo": what, "match": {"context": "GATEWAY", **match}, "patch": patch}


def _typed(name: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"{_TYPES}.{name}", **fields}
