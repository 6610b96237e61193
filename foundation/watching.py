"""What Prometheus reads of a stack, and who talks to whom for that."""

import ipaddress
from collections.abc import Iterator, Sequence

from components.cluster.contract import Brought
from components.logging import collector_target, store_target
from components.monitoring.exporters import exporter_targets, kube_state_target
from components.monitoring.exporters.plan import KUBE_STATE_METRICS, NODE_EXPORTER
from components.monitoring.targets import Target
from components.routing.targets import aws_load_balancer_target, cert_manager_target, gateway_targets
from components.scaling.controllers import METRICS_PORT, OPERATOR
from components.security.network.flows import SERVERS
from components.security.network.monitoring_flows import LogFlows, MonitoringFlows
from components.security.network.surroundings import INSTANCE, NAME, Peer
from components.serving.arguments import PORT
from foundation.foundation import Foundation
from settings.clusters import ExistingClusterSettings
from settings.sections import Settings

_CONTROLLER_PORT = 8080
"""Where the charts of Karpenter and External Secrets have their metrics, by default."""

_CERT_MANAGER, _CERT_MANAGER_PORT = "cert-manager", 9402
"""Where its chart puts it, and where it has its metrics, by default (cert-manager.io/docs, "Prometheus Metrics")."""


def targets(config: Settings, below: Foundation) -> list[Target]:
    """Everything that is read beside the stack's own Prometheus, Alertmanager and Grafana, and the kubelets."""
    return [*_models(config), *_exporters(config, below), *_controllers(config), *_logs(config)]


def nodes(config: Settings, below: Foundation) -> int:
    """Nodes of the cluster at the most, as far as the stack knows."""
    on_eks, on_hosts = config.on_eks(), config.on_hosts()
    if on_eks:
        others = on_eks.cluster.system.max_nodes
    elif on_hosts:
        others = len(on_hosts.servers)
    else:
        others = config.cluster.other_nodes if isinstance(config.cluster, ExistingClusterSettings) else 0
    return others + sum(pool.max_nodes for pool in below.cluster.node_pools)


def own_exporters(config: Settings) -> frozenset[str]:
    """Jobs of the exporters of nodes and of objects that the stack brings."""
    if config.monitoring is None:
        return frozenset()
    return config.monitoring.exporters.of_cluster(theirs=config.watched_by_operator)


def node_ranges(config: Settings) -> tuple[str, ...] | None:
    """Where nodes have their addresses; None where the stack does not know."""
    if on_eks := config.on_eks():
        return (on_eks.network.cidr,)
    if on_hosts := config.on_hosts():
        try:
            return tuple(str(ipaddress.ip_network(host.address)) for host in on_hosts.hosts().values())
        except ValueError:
            return None  # names, whose addresses only the network knows
    return None


def watching(config: Settings, read: Sequence[Target]) -> MonitoringFlows | None:
    """Who watches, and `read` what, where the stack brings that itself."""
    monitoring = config.monitoring
    if monitoring is None or config.watched_by_operator:
        return None
    return MonitoringFlows(
        namespace=config.namespaces.monitoring,
        by_chart=monitoring.by_operator,
        targets=read,
        clients=[client.peer() for client in monitoring.clients],
        receiver_ports=monitoring.told_elsewhere(),
        receivers=monitoring.told_inside(),
        keda=_keda(config),
    )


def _keda(config: Settings) -> Peer | None:
    """Who asks Prometheus how much there is to do."""
    theirs = config.network_policies.keda
    if theirs:
        return theirs.peer()
    return Peer(config.namespaces.controllers, OPERATOR) if config.scaled_by_keda else None


def logging(config: Settings) -> LogFlows | None:
    """Who reads logs, and where they go."""
    if config.logs is None:
        return None
    store = config.namespaces.monitoring if config.logs.in_cluster else None
    return LogFlows(agents=config.namespaces.node_agents, store=store)


def _models(config: Settings) -> Iterator[Target]:
    if config.models:
        yield Target(
            name="models",
            namespaces=sorted({*map(config.namespace_of, config.models)}),
            pods=dict(SERVERS),
            port=PORT,
            # Not every series of every engine says of which model it is.
            pod_labels={"model_name": INSTANCE},
            replicas=sum(model.most_replicas for model in config.models.values()),
        )


def _exporters(config: Settings, below: Foundation) -> Iterator[Target]:
    monitoring = config.monitoring
    if monitoring is None:
        return
    own, most = own_exporters(config), nodes(config, below)
    vendors = {vendor: wanted.pools for vendor, wanted in monitoring.exporters.wanted(below.cluster.node_pools).items()}
    for target in exporter_targets(vendors, config.namespaces.node_agents, nodes=most):
        if target.name != NODE_EXPORTER or NODE_EXPORTER in own:
            yield target
    if KUBE_STATE_METRICS in own:
        yield kube_state_target(config.namespaces.monitoring, nodes=most)


def _controllers(config: Settings) -> Iterator[Target]:
    space = config.namespaces.controllers
    if config.by_karpenter:
        named = {NAME: "karpenter", INSTANCE: "karpenter"}
        yield Target(name="karpenter", namespaces=["kube-system"], pods=named, port=_CONTROLLER_PORT, replicas=2)
    if config.secrets.by_external_secrets:
        named = {NAME: "external-secrets", INSTANCE: "external-secrets"}
        yield Target(name="external-secrets", namespaces=[space], pods=named, port=_CONTROLLER_PORT, replicas=2)
    if config.has(Brought.CERT_MANAGER):
        yield Target(name="cert-manager", namespaces=[_CERT_MANAGER], pods={NAME: _CERT_MANAGER}, port=_CERT_MANAGER_PORT)
    if config.makes_cert_manager:
        yield cert_manager_target(space)
    if config.balanced_by_aws:
        yield aws_load_balancer_target(space)
    if config.traffic and config.traffic.own_proxies:
        name, front = config.traffic.gateway_name, config.namespaces.gateway
        of, replicas, led = config.traffic.realised_by, config.traffic.replicas, len(config.routes)
        yield from gateway_targets(of, name, front, space, replicas=replicas, routes=led)
    if config.makes_keda:
        yield Target(name="keda", namespaces=[space], pods=OPERATOR, port=METRICS_PORT, replicas=2)


def _logs(config: Settings) -> Iterator[Target]:
    if flows := logging(config):
        yield collector_target(flows.agents)
        if flows.store:
            yield store_target(flows.store)
