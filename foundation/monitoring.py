"""What watches a stack and keeps its logs: exporters, Prometheus and Alertmanager, Grafana, Fluent Bit, Loki."""

from dataclasses import dataclass
from urllib.parse import urlsplit

import pulumi

from components.accelerators.profiles import Vendor
from components.logging import LogCollector, LogCollectorArgs, LogStore
from components.monitoring import MonitoringStack
from components.monitoring.alerts import alert_groups, left_out
from components.monitoring.dashboards import dashboards
from components.monitoring.exporters import (
    AcceleratorExporter,
    AcceleratorExporterArgs,
    DcgmExporter,
    DcgmExporterArgs,
    KubeStateMetrics,
    NodeExporter,
    unseen,
)
from components.monitoring.exporters.kube_state import labels_read
from components.monitoring.exporters.plan import KUBE_STATE_METRICS, NODE_EXPORTER
from components.monitoring.exporters.recording import accelerator_groups
from components.monitoring.facts import StackFacts
from components.monitoring.programs import own_targets
from components.monitoring.recording import recording_groups
from components.monitoring.rules import rule_files
from components.monitoring.scrape import KUBELET_JOBS
from components.monitoring.targets import Target
from foundation.facts import facts, unseen_models
from foundation.foundation import Foundation
from foundation.secrets import MadeSecrets
from foundation.watching import nodes, own_exporters, targets
from planner.stack import StackPlan
from settings.logs import CloudWatchSettings
from settings.monitoring import MonitoringSettings
from settings.sections import Settings


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a stack is watched by."""

    prometheus_url: pulumi.Input[str] | None = None
    """Where its metrics are asked for; None where nobody reads them."""
    grafana_url: pulumi.Input[str] | None = None
    """Where dashboards are."""

    def exports(self) -> dict[str, pulumi.Input[str]]:
        """What people want to know of it."""
        found = {"prometheus": self.prometheus_url, "grafana": self.grafana_url}
        return {name: url for name, url in found.items() if url is not None}


def watch(config: Settings, plan: StackPlan, below: Foundation, secrets: MadeSecrets) -> Watched:
    """Logs and metrics, as far as the stack wants them."""
    loki_url = _keep_logs(config, below, secrets)
    if config.monitoring is None:
        return Watched()
    _export(config, config.monitoring, below, secrets)
    for name in unseen_models(config, plan):
        pulumi.log.warn(
            f"models.{name}.multiNode: Ray Serve has no metrics of vLLM's names, so dashboards and alerts leave {name} out; use "
            "leaderWorkerSet, or read Ray's own (docs.ray.io, Ray Serve LLM, observability)"
        )
    stack = _stack(config, config.monitoring, below, secrets, facts(config, plan, below, pulumi.get_stack()), loki_url)
    return Watched(prometheus_url=stack.prometheus_url, grafana_url=stack.grafana_url)


def _export(config: Settings, monitoring: MonitoringSettings, below: Foundation, secrets: MadeSecrets) -> None:
    on_cluster, pools = pulumi.ResourceOptions(provider=below.provider), below.cluster.node_pools
    agents, exporters = secrets.namespaces[config.namespaces.node_agents], monitoring.exporters
    for vendor, wanted in exporters.wanted(pools).items():
        on = [pool.args() for pool in wanted.pools]
        if vendor is Vendor.NVIDIA:
            dcgm: DcgmExporterArgs = {"namespace_name": agents, "pools": on, "profiling": exporters.profiling}
            DcgmExporter("dcgm", {**dcgm, "image": wanted.image} if wanted.image else dcgm, opts=on_cluster)
        else:
            pull = secrets.image_pull(config.namespaces.node_agents)
            args: AcceleratorExporterArgs = {
                "namespace_name": agents,
                "vendor": vendor,
                "pools": on,
                "image_pull_secrets": pull,
            }
            AcceleratorExporter(vendor.value, {**args, "image": wanted.image} if wanted.image else args, opts=on_cluster)
    for vendor, names in unseen(pools).items():
        pulumi.log.warn(
            f"cluster.nodePools.{names[0]}: no exporter of {vendor} accelerators is published, so nobody sees how they do"
        )
    own, pool_labels = own_exporters(config), sorted({key for pool in pools for key in pool.labels})
    if NODE_EXPORTER in own:
        NodeExporter("node-exporter", {"namespace_name": agents}, opts=on_cluster)
    if KUBE_STATE_METRICS in own:
        KubeStateMetrics(
            "kube-state-metrics",
            {
                "namespace_name": secrets.namespaces[config.namespaces.monitoring],
                "pool_labels": pool_labels,
                "system_labels": dict(below.system_labels),
                "nodes": nodes(config, below),
            },
            opts=on_cluster,
        )
    elif config.watched_by_operator:
        pulumi.log.warn(
            "monitoring.exporters.kubeStateMetrics: rules know pools and the pods of models by labels, so the kube-state-metrics "
            f"of the cluster has to run with --metric-labels-allowlist={','.join(labels_read(pool_labels))}"
        )


def _stack(
    config: Settings,
    monitoring: MonitoringSettings,
    below: Foundation,
    secrets: MadeSecrets,
    known: StackFacts,
    loki_url: pulumi.Input[str] | None,
) -> MonitoringStack:
    read, urls, space = targets(config, below), monitoring.external_urls, config.namespaces.monitoring
    return MonitoringStack(
        "monitoring",
        {
            "form": monitoring.kind,
            "namespace_name": secrets.namespaces[space],
            "targets": [target.args() for target in read],
            "namespaces": {name: namespace for name, namespace in secrets.namespaces.items() if _is_read(name, read)},
            "rules": _rules(monitoring, known, read),
            "dashboards": dashboards(known),
            "retention_days": monitoring.retention_days,
            "storage_gib": monitoring.storage_gib,
            "storage_class_name": monitoring.storage_class or below.watching_class,
            "scrape_interval_seconds": monitoring.scrape_interval_seconds,
            "receivers": [
                {**receiver.args(name), "secret": secrets.key(space, receiver.secret)}
                for name, receiver in monitoring.receivers.items()
            ],
            "grafana_admin_secret": secrets.key(space, monitoring.grafana.admin_secret),
            "loki_url": loki_url,
            "nodes": nodes(config, below),
            "operator_installed": config.watched_by_operator,
            "prometheus_url": monitoring.prometheus_url,
            "object_labels": dict(monitoring.object_labels),
            "verify_kubelets": monitoring.verify_kubelets,
            "external_urls": {name: url for name, url in urls if url},
            "alert_labels": {"stack": known.stack},
            "image_pull_secrets": secrets.image_pull(space),
            "system_labels": dict(below.system_labels),
        },
        opts=pulumi.ResourceOptions(provider=below.provider),
    )


def _is_read(namespace: str, read: list[Target]) -> bool:
    return any(namespace in target.namespaces for target in read)


def _rules(monitoring: MonitoringSettings, known: StackFacts, read: list[Target]) -> dict[str, list[dict[str, object]]]:
    jobs = {target.name for target in read}
    if monitoring.prometheus_url is None:
        jobs |= {*KUBELET_JOBS, *(target.name for target in own_targets(by_operator=monitoring.by_operator))}
    else:
        # An exporter that is not installed is there already, under the name that kube-prometheus-stack gives its job.
        jobs |= {KUBELET_JOBS[0], KUBE_STATE_METRICS, NODE_EXPORTER}
    for name, why in left_out(known, jobs).items():
        if name in monitoring.alerts:
            pulumi.log.warn(f"monitoring.alerts.{name}: changes nothing, as this stack has no such alert: {why}")
    alerts = alert_groups(known, monitoring.alerts, monitoring.runbook_url, jobs)
    return rule_files([*recording_groups(known), *accelerator_groups(known), *alerts])


def _keep_logs(config: Settings, below: Foundation, secrets: MadeSecrets) -> pulumi.Output[str] | None:
    """Where logs are asked for; None where they are not in the cluster."""
    logs = config.logs
    if logs is None:
        return None
    if logs.in_cluster and (config.monitoring is None or config.watched_by_operator):
        pulumi.log.warn(
            "logs.store: loki answers the stack's own Grafana alone, and this stack has none, so logs are read by kubectl "
            "port-forward only (docs/logs.md); add monitoring with a Prometheus of its own, or on EKS use kind: cloudWatch"
        )
    collector: LogCollectorArgs = {
        "namespace_name": secrets.namespaces[config.namespaces.node_agents],
        "excluded_namespaces": list(logs.excluded_namespaces),
        "buffer_mib": logs.buffer_mib,
    }
    if isinstance(logs.store, CloudWatchSettings):
        assert below.aws is not None  # noqa: S101
        collector["cloud_watch"] = {
            "cluster_name": config.cluster.name,
            "kms_key_arn": below.aws.kms_key_arn,
            "retention_days": logs.store.retention_days,
        }
        LogCollector("logs", collector, opts=pulumi.ResourceOptions(providers=[below.provider, below.aws.provider]))
        return None
    on_cluster = pulumi.ResourceOptions(provider=below.provider)
    store = LogStore(
        "logs",
        {
            "namespace_name": secrets.namespaces[config.namespaces.monitoring],
            "retention_days": logs.store.retention_days,
            "storage_gib": logs.store.storage_gib,
            "storage_class_name": logs.store.storage_class or below.watching_class,
            "system_labels": dict(below.system_labels),
        },
        opts=on_cluster,
    )
    collector["loki_host"] = store.url.apply(lambda url: str(urlsplit(url).hostname))
    LogCollector("logs", collector, opts=on_cluster)
    return store.url
