"""What clients know as one model: where its requests come in, and which versions answer them."""

from typing import Any, Self

import pulumi
from pydantic import model_validator

from ..base import PlatformComponent
from ..inputs import InputError, validate
from ..ordering import known_after
from . import envoy_gateway, gateway_api, istio, load_balanced
from .config import GatewayRef, Host, Implementation
from .features import check_features, of_route
from .load_balancers import LONGEST_TLS_IDLE
from .objects import Object, make
from .route_config import LoadBalancer, LoadBalancerRouteConfig, RouteArgs, RouteConfig, RouteFields


class _Config(RouteFields):
    gateway: GatewayRef | None = None
    load_balancer: LoadBalancer | None = None
    host: Host | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.gateway is None) == (self.load_balancer is None):
            raise ValueError("a route has one way in; give either gateway, e.g. Gateway.reference, or load_balancer")
        return self

    def given(self) -> dict[str, Any]:
        """What is not left out."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}


class Route(PlatformComponent):
    """Leads requests to the versions of a model, through a gateway or a load balancer of its own."""

    url: pulumi.Output[str]
    """Base address of the API as clients see it, known once the route is in force."""

    def __init__(self, name: str, args: RouteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        where = f"Route {name}"
        given = validate(_Config, args, where)
        config: RouteConfig | LoadBalancerRouteConfig
        if given.gateway is None:
            config, implementation = validate(LoadBalancerRouteConfig, given.given(), where), Implementation.LOAD_BALANCER
        else:
            config, implementation = validate(RouteConfig, given.given(), where), given.gateway.implementation
        try:
            check_features(implementation, of_route(config))
            objects = route_objects(config)
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
        made = make(self, objects)
        if isinstance(config, RouteConfig):
            scheme = "https" if config.gateway.tls else "http"
            base = known_after(config.host, *(child.metadata["name"] for child in made.values()))
        else:
            self._warn(config)
            scheme = "http" if config.load_balancer.certificate_arn is None else "https"
            inside = pulumi.Output.format("{0}.{1}.svc", made["service"].metadata["name"], config.namespace_name)
            status = made["service"].status
            base = pulumi.Output.all(status, inside).apply(lambda known: config.host or _address(known[0]) or str(known[1]))
        self.url = pulumi.Output.format("{0}://{1}{2}/v1", scheme, base, config.path)
        self.finish()

    def _warn(self, config: LoadBalancerRouteConfig) -> None:
        """What a load balancer lets through, and what it cuts off."""
        pulumi.log.warn(
            f"whoever may connect to {config.route_name} reaches every path of the engine, also those that ask for no key; keep "
            "source_ranges narrow, or use a gateway",
            resource=self,
        )
        if config.load_balancer.certificate_arn is not None and config.idle_seconds > LONGEST_TLS_IDLE:
            pulumi.log.warn(
                f"AWS ends answers of {config.route_name} that are silent for {LONGEST_TLS_IDLE} s, since its load balancer ends "
                "TLS; use a gateway where that is too short",
                resource=self,
            )


def route_objects(config: RouteConfig | LoadBalancerRouteConfig) -> dict[str, Object]:
    """Objects of a route by role, in the words of whoever realises it.

    Raises:
        ValueError: it cannot be said in them.
    """
    if isinstance(config, LoadBalancerRouteConfig):
        return load_balanced.route_objects(config)
    match config.gateway.implementation:
        case Implementation.ENVOY_GATEWAY:
            return envoy_gateway.route_objects(config)
        case Implementation.GATEWAY_API:
            return gateway_api.route_objects(config)
        case Implementation.ISTIO:
            return istio.route_objects(config)
        case Implementation.LOAD_BALANCER:
            raise ValueError("gateway.implementation: loadBalancer has no gateway; give the route a load_balancer instead")


def _address(status: Any) -> str | None:
    """The name or the address of a load balancer, as its Service tells it; None while it tells none."""
    ingress = status.load_balancer.ingress if status and status.load_balancer else None
    return (ingress[0].hostname or ingress[0].ip) if ingress else None
