"""What each implementation of gateways can do of what a stack may ask for (features.yaml)."""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from planner.catalog.files import load_yaml

from ..inputs import Model
from .config import GatewayConfig, Implementation
from .route_config import LoadBalancerRouteConfig, RouteConfig

TABLE = Path(__file__).parent / "features.yaml"
NAMES: Mapping[Implementation, str] = {
    Implementation.ENVOY_GATEWAY: "Envoy Gateway",
    Implementation.ISTIO: "Istio",
    Implementation.GATEWAY_API: "Gateway API alone",
    Implementation.LOAD_BALANCER: "a load balancer alone",
}
"""What people call them; the first that has a feature is the one that a message names."""
_NO = "no: "


class Feature(StrEnum):
    """What may be asked for."""

    WEIGHTS = "weights"
    HEADERS = "headers"
    HOSTS = "hosts"
    PREFIX = "prefix"
    PATH_ALLOW_LIST = "pathAllowList"
    TLS = "tls"
    REDIRECT = "redirect"
    SOURCE_RANGES = "sourceRanges"
    API_KEYS = "apiKeys"
    JWT = "jwt"
    RATE_LIMIT = "rateLimit"
    ROUTE_RATE_LIMIT = "routeRateLimit"
    BODY_LIMIT = "bodyLimit"
    REQUEST_TIMEOUT = "requestTimeout"
    IDLE_TIMEOUT = "idleTimeout"
    INFERENCE_POOL = "inferencePool"
    INFERENCE_POOL_WEIGHTS = "inferencePoolWeights"
    MESH_MTLS = "meshMtls"


class Row(Model):
    """One feature."""

    what: str = Field(min_length=1)
    """What it is called."""
    instead: str | None = None
    """What to do where nobody has it."""
    sources: Mapping[Implementation, str]

    @model_validator(mode="before")
    @classmethod
    def _told_apart(cls, raw: dict[str, Any]) -> dict[str, Any]:
        own = {key: value for key, value in raw.items() if key in ("what", "instead")}
        return {**own, "sources": {key: value for key, value in raw.items() if key not in own}}

    @model_validator(mode="after")
    def _whole(self) -> "Row":
        if missing := set(Implementation) - self.sources.keys():
            raise ValueError(f"nothing is said of {', '.join(sorted(missing))}")
        return self

    def has(self, implementation: Implementation) -> bool:
        """Whether an implementation can do it."""
        return not self.sources[implementation].startswith(_NO)


@cache
def table() -> Mapping[Feature, Row]:
    """The file, read once."""
    raw = load_yaml(TABLE)
    return {feature: Row.model_validate(raw[feature]) for feature in Feature}


def check_features(implementation: Implementation, asked: Mapping[str, Feature]) -> None:
    """Raise ValueError, a sentence that begins with its key, for the first feature `asked` for that there is not.

    `asked` has them by the keys they are asked for with.
    """
    for key, feature in asked.items():
        row = table()[feature]
        if not row.has(implementation):
            other = next((f"{name}, or leave it out" for each, name in NAMES.items() if row.has(each)), row.instead)
            raise ValueError(f"{key}: {NAMES[implementation]} has no {row.what}; use e.g. {other}")


def wanted(asked: Mapping[str, Feature | None]) -> dict[str, Feature]:
    """Those that are asked for, of features by their keys."""
    return {key: feature for key, feature in asked.items() if feature is not None}


def of_gateway(config: GatewayConfig) -> dict[str, Feature]:
    """What a gateway is asked for, by argument; a default asks for nothing."""
    auth = config.auth
    return wanted(
        {
            "tls_secret_name": Feature.TLS if config.tls_secret_name is not None else None,
            "issuer": Feature.TLS if config.issuer is not None else None,
            "source_ranges": _unless_default(config, "source_ranges", Feature.SOURCE_RANGES),
            "auth.api_key_secret_name": Feature.API_KEYS if auth and auth.api_key_secret_name is not None else None,
            "auth.jwt": Feature.JWT if auth and auth.jwt is not None else None,
            "mesh_mtls": Feature.MESH_MTLS if config.mesh_mtls else None,
            **_limits(config),
        }
    )


def of_route(config: RouteConfig | LoadBalancerRouteConfig) -> dict[str, Feature]:
    """What a route is asked for, by argument; a default asks for nothing."""
    by_headers = next((name for name, version in config.versions.items() if version.headers), None)
    shares = sum(version.weight > 0 for version in config.versions.values()) > 1
    pools = config.inference_pool
    return wanted(
        {
            f"versions.{by_headers}.headers": Feature.HEADERS if by_headers else None,
            "versions": Feature.WEIGHTS if len(config.versions) > 1 else None,
            "path": Feature.PREFIX if config.path else None,
            "inference_pool": Feature.INFERENCE_POOL if pools else None,
            "versions, with inference_pool": Feature.INFERENCE_POOL_WEIGHTS if pools and shares else None,
            **_limits(config),
        }
    )


def _limits(config: GatewayConfig | RouteConfig | LoadBalancerRouteConfig) -> dict[str, Feature | None]:
    return {
        "requests_per_minute": Feature.RATE_LIMIT if config.requests_per_minute is not None else None,
        "body_mib": _unless_default(config, "body_mib", Feature.BODY_LIMIT),
        "request_seconds": _unless_default(config, "request_seconds", Feature.REQUEST_TIMEOUT),
        "idle_seconds": _unless_default(config, "idle_seconds", Feature.IDLE_TIMEOUT),
    }


def _unless_default(config: Model, argument: str, feature: Feature) -> Feature | None:
    """Programs hand on settings that nobody wrote, so that a value is there says nothing."""
    return feature if getattr(config, argument) != type(config).model_fields[argument].default else None
