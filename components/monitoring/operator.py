"""Prometheus by its operator: the values of the chart kube-prometheus-stack. Pure; names of Secrets may be outputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from . import sizing
from .receivers import KEYS_MOUNT, Receiver, alertmanager_config, keys_volume
from .scrape import kubelet_configs
from .standalone import alertmanager
from .standalone.pods import Placing, claim_spec

CHART = "oci://ghcr.io/prometheus-community/charts/kube-prometheus-stack"
_SELECTORS = ("rule", "serviceMonitor", "podMonitor", "probe", "scrapeConfig")
_UNSEEN = ("kubeApiServer", "kubelet", "kubeControllerManager", "coreDns", "kubeDns", "kubeEtcd", "kubeScheduler", "kubeProxy")
"""What the chart would have scraped: parts of the control plane that EKS hides and k3s runs in one process, and the kubelet,
which both forms read alike."""


def stack_values(
    *,
    alertmanager_url: str,
    interval_seconds: int,
    labels: Mapping[str, str],
    placing: Placing,
    prometheus_url: str,
    pull_secrets: Sequence[pulumi.Input[str]],
    receivers: Sequence[Receiver],
    retention_days: int,
    series: int,
    storage_class_name: pulumi.Input[str] | None,
    storage_gib: int,
    verify_kubelets: bool,
) -> dict[str, Any]:
    """Values of the chart: the operator, Prometheus and Alertmanager.

    Exporters have components of their own, Grafana is the same in both forms, and so are rules: the chart's own would be other
    alerts than those of *standalone*, without runbooks. There are no webhooks: they need Jobs that may change webhooks of the
    whole cluster, and what they would refuse, promtool refuses in the tests.
    """
    placed, keys = placing.pod(), keys_volume(receivers)
    return {
        "global": {"imagePullSecrets": [{"name": name} for name in pull_secrets]},
        "defaultRules": {"create": False},
        "grafana": {"enabled": False, "forceDeployDatasources": False, "forceDeployDashboards": False},
        "nodeExporter": {"enabled": False},
        "kubeStateMetrics": {"enabled": False},
        "kubernetesServiceMonitors": {"enabled": False},
        **{part: {"enabled": False} for part in _UNSEEN},
        "prometheusOperator": {
            **placed,
            "admissionWebhooks": {"enabled": False},
            # Its certificate would be that of the webhooks.
            "tls": {"enabled": False},
            "kubeletService": {"enabled": False},
            "kubeletEndpointsEnabled": False,
            "serviceMonitor": {"selfMonitor": False},
            "resources": _fixed("50m", 256),
            "prometheusConfigReloader": {"resources": _fixed("10m", 64)},
        },
        "prometheus": {
            "serviceMonitor": {"selfMonitor": False},
            "prometheusSpec": {
                **placed,
                **{f"{kind}SelectorNilUsesHelmValues": False for kind in _SELECTORS},
                "externalUrl": prometheus_url,
                "externalLabels": dict(labels),
                # Both would be labels of every alert, and other ones than those of *standalone*.
                "replicaExternalLabelNameClear": True,
                "prometheusExternalLabelNameClear": True,
                "scrapeInterval": f"{interval_seconds}s",
                "scrapeTimeout": f"{min(10, interval_seconds)}s",
                "evaluationInterval": f"{interval_seconds}s",
                "retention": f"{retention_days}d",
                "retentionSize": sizing.retention_size(storage_gib),
                "resources": _fixed(sizing.cpu(series), sizing.memory_mib(series)),
                "additionalScrapeConfigs": kubelet_configs(verify=verify_kubelets),
                "enableAdminAPI": False,
                "enableRemoteWriteReceiver": False,
                "storageSpec": {"volumeClaimTemplate": {"spec": claim_spec(storage_gib, storage_class_name)}},
                "persistentVolumeClaimRetentionPolicy": _CLAIMS_GO,
            },
        },
        "alertmanager": {
            "serviceMonitor": {"selfMonitor": False},
            "config": {"global": {"resolve_timeout": "5m"}, "templates": [], **alertmanager_config(receivers)},
            "alertmanagerSpec": {
                **placed,
                "externalUrl": alertmanager_url,
                "automountServiceAccountToken": False,
                **({"volumes": [keys], "volumeMounts": [KEYS_MOUNT]} if keys else {}),
                "resources": _fixed("20m", 128),
                "storage": {"volumeClaimTemplate": {"spec": claim_spec(alertmanager.STORAGE_GIB, storage_class_name)}},
                "persistentVolumeClaimRetentionPolicy": _CLAIMS_GO,
            },
        },
    }


_CLAIMS_GO = {"whenDeleted": "Delete", "whenScaled": "Retain"}
"""As those of *standalone* go with the stack."""


def _fixed(cpu: str, memory_mib: int) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": f"{memory_mib}Mi"}, "limits": {"memory": f"{memory_mib}Mi"}}
