"""How requests from outside come to the models and apps of a stack: what policies and load balancers have to know."""

from components.routing.route_config import LoadBalancerArgs
from components.security.network.app_flows import AppFlows, caller
from components.security.network.flows import SERVER as VLLM
from components.security.network.flows import server
from components.security.network.gateway_flows import Clients, GatewayFlows
from components.security.network.surroundings import Peer
from components.serving.tgi.tgi_server import APP as TGI
from foundation.watching import node_ranges
from settings.apps import AppLoadBalancerSettings
from settings.models import ModelSettings
from settings.routes import led_to
from settings.sections import Settings
from settings.traffic import TrafficSettings


def clients(config: Settings) -> Clients:
    """Who connects from outside, wherever the load balancer leads."""
    ranges = config.traffic.source_ranges if config.traffic else ()
    # AWS' balancers connect in their own names, from anywhere in the network; those of racks often in that of a node.
    return Clients(ranges=ranges, balancers=node_ranges(config) or ())


def gateway(config: Settings) -> GatewayFlows | None:
    """The gateway of a stack, where its proxies are the stack's own."""
    traffic = config.traffic
    if traffic is None or not traffic.own_proxies:
        return None
    return GatewayFlows(
        name=traffic.gateway_name,
        namespace_name=config.namespaces.gateway,
        implementation=traffic.realised_by,
        controllers=config.namespaces.controllers,
        clients=clients(config),
        models=[_server(version, config) for version in led_to(config)],
        tls=traffic.tls is not None,
        checks_tokens=traffic.auth is not None and traffic.auth.jwt is not None,
    )


def balanced(config: Settings, namespace: str) -> list[str]:
    """Models of a namespace that load balancers lead to, without a gateway."""
    if config.traffic is None or config.traffic.has_gateway:
        return []
    return [version for version in led_to(config) if config.namespace_of(version) == namespace]


def load_balancer(wanted: TrafficSettings | AppLoadBalancerSettings, *, on_aws: bool) -> LoadBalancerArgs:
    """A load balancer as components take it."""
    return {
        "source_ranges": list(wanted.source_ranges),
        "internal": wanted.internal,
        "on_aws": on_aws,
        "certificate_arn": wanted.certificate_arn,
    }


def app_flows(name: str, config: Settings) -> AppFlows:
    """Whom an app has to reach, and who it."""
    app = config.apps[name]
    balancer = app.load_balancer
    return AppFlows(
        name=name,
        port=app.port,
        models=[_server(app.model.name, config)] if app.model else [],
        destinations=app.destinations(),
        clients=Clients(
            ranges=balancer.source_ranges if balancer else (),
            balancers=(node_ranges(config) or ()) if balancer else (),
            pods=[client.peer() for client in app.clients],
        ),
    )


def callers(model: str, config: Settings) -> list[Peer]:
    """The apps of the stack that ask a model."""
    return [
        caller(name, config.namespace_of_app(name)) for name, app in config.apps.items() if app.model and app.model.name == model
    ]


def _server(model: str, config: Settings) -> Peer:
    return server(model, config.namespace_of(model), engine_label(config.models[model]))


def engine_label(model: ModelSettings) -> str:
    """Label `app.kubernetes.io/name` of a model's servers."""
    return TGI if model.engine.by_tgi else VLLM
