"""Who talks to whom where apps run that call models, and why. Pure; names of namespaces may be outputs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pulumi

from ...apps.llm_app import APP
from ...base import PACKAGE, PART_OF
from ...names import DNS_LABEL_MAX, fit
from ...serving.arguments import PORT
from .addresses import HTTPS, internet, private
from .gateway_flows import Clients
from .policies import NetworkFlowArgs, NetworkPolicyArgs, NetworkPortArgs
from .surroundings import INSTANCE, NAME, Peer, pods_of

NOBODY = Clients(ranges=())


@dataclass(frozen=True, kw_only=True)
class Destination:
    """What an app asks beside models of this platform; on the internet where neither pods nor addresses are named."""

    reason: str
    port: int = HTTPS
    pods: Sequence[Peer] = ()
    addresses: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class AppFlows:
    """Whom an app has to reach, and who it."""

    name: str
    port: int
    """Where its pods listen."""
    models: Sequence[Peer] = ()
    """Models it asks, as `flows.server` names them."""
    destinations: Sequence[Destination] = ()
    clients: Clients = NOBODY
    """Who asks it: pods, e.g. those of a gateway, and whom its load balancer lets through; no ranges without one."""


def caller(app: str, namespace_name: pulumi.Input[str]) -> Peer:
    """The pods of an app, for models that let it in (`ModelFlows.clients`)."""
    return Peer(namespace_name, {**_selected(app), PART_OF: PACKAGE})


def app_policies(apps: Iterable[AppFlows]) -> dict[str, NetworkPolicyArgs]:
    """The policies of a namespace with apps."""
    return {fit("app", app.name, limit=DNS_LABEL_MAX): _app(app) for app in apps}


def unreachable_apps(apps: Iterable[AppFlows]) -> list[str]:
    """The apps that nobody may ask: neither a client nor a load balancer is named."""
    return [app.name for app in apps if not app.clients.pods and not app.clients.ranges]


def _app(app: AppFlows) -> NetworkPolicyArgs:
    here: list[NetworkPortArgs] = [{"port": app.port}]
    ingress: list[NetworkFlowArgs] = []
    if app.clients.pods:
        ingress.append({"reason": "named clients ask it", "pods": [*map(pods_of, app.clients.pods)], "ports": here})
    if ranges := sorted({*app.clients.ranges, *app.clients.balancers}):
        reason = "clients ask through its load balancer, or that in its own name"
        ingress.append({"reason": reason, "blocks": [*map(private, ranges)], "ports": here})
    egress: list[NetworkFlowArgs] = []
    if app.models:
        egress.append({"reason": "it asks its model", "pods": [*map(pods_of, app.models)], "ports": [{"port": PORT}]})
    egress += [_way(destination) for destination in app.destinations]
    return {"pods": _selected(app.name), "resolves_names": True, "ingress": ingress, "egress": egress}


def _way(destination: Destination) -> NetworkFlowArgs:
    way: NetworkFlowArgs = {"reason": destination.reason, "ports": [{"port": destination.port}]}
    if not destination.pods and not destination.addresses:
        return {**way, "blocks": internet()}
    return {
        **way,
        "pods": [*map(pods_of, destination.pods)],
        "blocks": [{"cidr": cidr} for cidr in destination.addresses],
    }


def _selected(app: str) -> dict[str, str]:
    return {NAME: APP, INSTANCE: fit(app, limit=DNS_LABEL_MAX)}
