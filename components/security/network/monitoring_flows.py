"""Who talks to whom for metrics, alerts and logs. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...accelerators.profiles import Vendor
from ...cluster.contract import WorkloadIdentity
from ...logging.names import COLLECTOR, COLLECTOR_PODS, LOKI, LOKI_PODS, LOKI_PORT
from ...monitoring.exporters import kube_state
from ...monitoring.exporters.accelerator import APP
from ...monitoring.exporters.plan import JOBS, KUBE_STATE_METRICS
from ...monitoring.programs import ALERTMANAGER, GRAFANA, PORTS, PROMETHEUS, pods
from ...monitoring.targets import Target
from .addresses import internet, private
from .policies import NetworkFlowArgs, NetworkPolicyArgs
from .surroundings import INSTANCE, NAME, Peer, Surroundings, asks_api, identity, in_aws, pods_of

RBLN_DAEMON_PORT = 50051
"""Where the daemon of Rebellions listens on a node (rebellions-sw/rbln-metrics-exporter)."""
KUBELET_PORT = 10250
"""Where kubelets have metrics (kubernetes.io/docs, "Ports and Protocols")."""
_OPERATOR = "kube-prometheus-stack-prometheus-operator"
_METRICS = "metrics are read"


@dataclass(frozen=True, kw_only=True)
class MonitoringFlows:
    """What watches a stack."""

    namespace: str
    """Where it runs."""
    by_chart: bool
    """Whether its pods come from the chart kube-prometheus-stack."""
    targets: Sequence[Target]
    """What is read beside itself."""
    clients: Sequence[Peer] = ()
    """Who opens Grafana, and asks Prometheus and Alertmanager."""
    receiver_ports: Sequence[int] = ()
    """Ports on the internet that alerts are sent to."""
    receivers: Sequence[tuple[Peer, int]] = ()
    """Pods that alerts are sent to, each with its port."""
    keda: Peer | None = None
    """Who asks Prometheus how much there is to do."""

    @property
    def scraper(self) -> Peer:
        """The pods of Prometheus."""
        return self._of(PROMETHEUS)

    def _of(self, program: str) -> Peer:
        # By what the selectors of their Services have too, the chart's as well: EKS' network plugin opens no other address.
        return Peer(self.namespace, {NAME: program})

    def chart_makes(self, program: str) -> bool:
        """Whether the pods of a program are not ours. Grafana's always are."""
        return self.by_chart and program != GRAFANA

    @property
    def grafana(self) -> Peer:
        """The pods of Grafana."""
        return self._of(GRAFANA)

    @property
    def alertmanager(self) -> Peer:
        """The pods of Alertmanager."""
        return self._of(ALERTMANAGER)


@dataclass(frozen=True, kw_only=True)
class LogFlows:
    """Who reads logs, and where they go."""

    agents: str
    """Namespace of Fluent Bit."""
    store: str | None
    """Namespace of Loki; None where logs go to CloudWatch."""

    @property
    def collector(self) -> Peer:
        """The pods of Fluent Bit."""
        return Peer(self.agents, COLLECTOR_PODS)

    @property
    def loki(self) -> Peer | None:
        """The pods of Loki."""
        return Peer(self.store, LOKI_PODS) if self.store else None


def scraped_policies(namespace: str, targets: Iterable[Target], scraper: Peer) -> dict[str, NetworkPolicyArgs]:
    """What opens the ports of metrics of a namespace to who reads them. Models open theirs themselves."""
    return {
        f"metrics-{target.name}": {
            "pods": dict(target.pods),
            "made_by_chart": target.pods.get(NAME) != APP,
            "ingress": [{"reason": _METRICS, "pods": [pods_of(scraper)], "ports": [{"port": target.port}]}],
        }
        for target in targets
        if namespace in target.namespaces
    }


def monitoring_policies(
    watching: MonitoringFlows | None, logs: LogFlows | None, around: Surroundings
) -> dict[str, NetworkPolicyArgs]:
    """The policies of the namespace of what watches, and of Loki beside it."""
    found: dict[str, NetworkPolicyArgs] = {}
    loki = logs.loki if logs else None
    if watching:
        sends = _pods([watching.scraper], PORTS[ALERTMANAGER], "alerts come from Prometheus")
        asks = [_pods([watching.scraper], PORTS[PROMETHEUS], "dashboards ask Prometheus")]
        if loki:
            asks.append(_pods([loki], LOKI_PORT, "people look into logs"))
        shown = _pods([watching.scraper], PORTS[GRAFANA], _METRICS)
        found[PROMETHEUS] = _program(watching, PROMETHEUS, [*_asked(watching)], [*_reads(watching, around)])
        found[ALERTMANAGER] = _program(
            watching, ALERTMANAGER, [sends, *_people(watching, PORTS[ALERTMANAGER])], [*_notifies(watching)]
        )
        found[GRAFANA] = _program(watching, GRAFANA, [shown, *_people(watching, PORTS[GRAFANA])], asks)
        if watching.by_chart:
            works = [*asks_api(around, "it watches and makes objects")]
            found["operator"] = _policy({NAME: _OPERATOR}, True, [], works)
    if logs and loki:
        writes = _pods([logs.collector], LOKI_PORT, "logs are delivered")
        reads = [_pods([watching.grafana], LOKI_PORT, "people look into logs")] if watching else []
        found[LOKI] = _policy(LOKI_PODS, True, [writes, *reads], [])
    return found


def counter_policy(around: Surroundings) -> dict[str, NetworkPolicyArgs]:
    """The policy of kube-state-metrics."""
    return {KUBE_STATE_METRICS: _policy(kube_state.PODS, True, [], [*asks_api(around, "it reads the objects it counts")])}


def collector_policy(logs: LogFlows, around: Surroundings) -> dict[str, NetworkPolicyArgs]:
    """The policy of Fluent Bit."""
    delivers = [*asks_api(around, "it reads whose log a file is")]
    if loki := logs.loki:
        delivers.append(_pods([loki], LOKI_PORT, "logs are delivered"))
    else:
        delivers.append(in_aws(around, "logs are delivered to CloudWatch"))
        if around.identity is not WorkloadIdentity.NONE:
            delivers += identity(around)
    return {COLLECTOR: _policy(COLLECTOR_PODS, True, [], delivers, resolves_names=True)}


def exporter_policies(vendors: Collection[Vendor], around: Surroundings) -> dict[str, NetworkPolicyArgs]:
    """The policies of exporters that talk to somebody; their ports are opened by `scraped_policies`."""
    found: dict[str, NetworkPolicyArgs] = {}
    if Vendor.AMD in vendors:
        found[JOBS[Vendor.AMD]] = _exporter(Vendor.AMD, [*asks_api(around, "it reads whose pods have which device")])
    if Vendor.REBELLIONS in vendors:
        daemon: NetworkFlowArgs = {
            "reason": "the vendor's daemon on its node tells how devices do",
            "ports": [{"port": RBLN_DAEMON_PORT}],
        }
        found[JOBS[Vendor.REBELLIONS]] = _exporter(Vendor.REBELLIONS, [{**daemon, "blocks": [*map(private, around.nodes)]}])
    return found


def _exporter(vendor: Vendor, egress: list[NetworkFlowArgs]) -> NetworkPolicyArgs:
    return {"pods": {NAME: APP, INSTANCE: vendor.value}, "egress": egress}


def _program(
    watching: MonitoringFlows, program: str, ingress: list[NetworkFlowArgs], egress: list[NetworkFlowArgs]
) -> NetworkPolicyArgs:
    labels = pods(program, by_operator=watching.by_chart)
    return _policy(labels, watching.chart_makes(program), ingress, egress, resolves_names=True)


def _asked(watching: MonitoringFlows) -> Iterable[NetworkFlowArgs]:
    yield _pods([watching.grafana], PORTS[PROMETHEUS], "dashboards ask Prometheus")
    yield _pods([watching.scraper], PORTS[PROMETHEUS], _METRICS)
    if watching.keda:
        yield _pods([watching.keda], PORTS[PROMETHEUS], "KEDA asks how much there is to do")
    yield from _people(watching, PORTS[PROMETHEUS])


def _reads(watching: MonitoringFlows, around: Surroundings) -> Iterable[NetworkFlowArgs]:
    yield from asks_api(around, "it looks for what to read")
    nodes: NetworkFlowArgs = {"reason": _METRICS, "ports": [{"port": KUBELET_PORT}]}
    yield {**nodes, "blocks": [*map(private, around.nodes)]}
    yield _pods([watching.alertmanager], PORTS[ALERTMANAGER], "alerts are sent on")
    yield _pods([watching.scraper], PORTS[PROMETHEUS], _METRICS)
    yield _pods([watching.grafana], PORTS[GRAFANA], _METRICS)
    for target in watching.targets:
        yield _pods([Peer(namespace, target.pods) for namespace in target.namespaces], target.port, _METRICS)


def _notifies(watching: MonitoringFlows) -> Iterable[NetworkFlowArgs]:
    if watching.receiver_ports:
        ports = sorted({*watching.receiver_ports})
        yield {"reason": "people are told of alerts", "blocks": internet(), "ports": [{"port": port} for port in ports]}
    for peer, port in watching.receivers:
        yield _pods([peer], port, "people are told of alerts")


def _people(watching: MonitoringFlows, port: int) -> Iterable[NetworkFlowArgs]:
    if watching.clients:
        yield _pods(watching.clients, port, "named clients look at it")


def _pods(peers: Sequence[Peer], port: int, reason: str) -> NetworkFlowArgs:
    return {"reason": reason, "pods": [*map(pods_of, peers)], "ports": [{"port": port}]}


def _policy(
    labels: Mapping[str, str],
    by_chart: bool,
    ingress: list[NetworkFlowArgs],
    egress: list[NetworkFlowArgs],
    *,
    resolves_names: bool = False,
) -> NetworkPolicyArgs:
    return {
        "pods": dict(labels),
        "made_by_chart": by_chart,
        "resolves_names": resolves_names,
        "ingress": ingress,
        "egress": egress,
    }
