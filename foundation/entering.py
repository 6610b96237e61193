"""How requests from outside come to the models of a stack, as far as its policies have to know."""

from components.security.network.app_flows import AppFlows, caller
from components.security.network.flows import SERVER as VLLM
from components.security.network.flows import server
from components.security.network.gateway_flows import Clients, GatewayFlows
from components.security.network.surroundings import Peer
from components.serving.tgi.tgi_server import APP as TGI
from foundation.watching import node_ranges
from settings.apps import AppSettings
from settings.models import ModelSettings
from settings.routes import routes
from settings.sections import Settings


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
        models=led_to(config),
        tls=traffic.tls is not None,
        checks_tokens=traffic.auth is not None and traffic.auth.jwt is not None,
    )


def led_to(config: Settings) -> list[Peer]:
    """Servers that some route leads to."""
    found = {version: route.namespace for route in routes(config).values() for version in route.versions}
    return [server(version, namespace, engine_label(config.models[version])) for version, namespace in sorted(found.items())]


def balanced(config: Settings, namespace: str) -> list[str]:
    """Models of a namespace that load balancers lead to, without a gateway."""
    if config.traffic is None or config.traffic.has_gateway:
        return []
    return sorted({version for route in routes(config).values() if route.namespace == namespace for version in route.versions})


def app_flows(name: str, config: Settings) -> AppFlows:
    """Whom an app has to reach, and who it."""
    app = config.apps[name]
    balancer = app.load_balancer
    return AppFlows(
        name=name,
        port=app.port,
        models=[asked] if (asked := _asked(app, config)) else [],
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


def _asked(app: AppSettings, config: Settings) -> Peer | None:
    if app.model is None:
        return None
    name = app.model.name
    return server(name, config.namespace_of(name), engine_label(config.models[name]))


def engine_label(model: ModelSettings) -> str:
    """Label `app.kubernetes.io/name` of a model's servers."""
    return TGI if model.engine.by_tgi else VLLM
