"""How Prometheus reads a target: the same labels by a scrape configuration of its own and by a PodMonitor. Pure.

The operator makes a scrape configuration of every PodMonitor (prometheus-operator v0.93.1, pkg/prometheus/promcfg.go,
`generatePodMonitorConfig`): it passes over pods that have ended, keeps the port, and sets `namespace`, `container`, `pod`, `job`
and `endpoint`. What is written here sets the rest, and takes away what only one of the two would have.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from .targets import Target

LABEL_LIMIT = 64
"""Labels of one series; the widest, cAdvisor's with an image's name, have about twenty."""
LABEL_VALUE_LIMIT = 2_048
"""Bytes of a label's value: an error message that became a label is refused with its page."""
KUBELET_JOBS = ("kubelet", "cadvisor")
"""Jobs of what kubelets know: of themselves and their volumes, and of their containers."""
CREDENTIALS = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where pods find the token of their service account and the certificate of the cluster's authority."""

_META = "__meta_kubernetes_pod"
KUBELET_KEPT = ("kubelet_node_name", "kubelet_running_(pods|containers)", "kubelet_volume_stats_.+")
CADVISOR_KEPT = (
    "container_cpu_usage_seconds_total",
    "container_cpu_cfs_(throttled_)?periods_total",
    "container_memory_working_set_bytes",
    "container_oom_events_total",
)
"""What is kept of the two pages of a kubelet, which are the largest of most clusters."""


def scrape_config(target: Target) -> dict[str, Any]:
    """An entry of `scrape_configs` for one target."""
    config: dict[str, Any] = {
        "job_name": target.name,
        "metrics_path": target.path,
        "honor_labels": target.honor_labels,
        **_limits(target.sample_limit),
        "kubernetes_sd_configs": [
            {
                "role": "pod",
                "namespaces": {"names": [*target.namespaces]} if target.namespaces else {"own_namespace": True},
                # The API server picks them: Prometheus need not hold every pod of the namespace for every target.
                "selectors": [{"role": "pod", "label": ",".join(f"{key}={value}" for key, value in sorted(target.pods.items()))}],
            }
        ],
        "relabel_configs": [
            {"source_labels": [f"{_META}_phase"], "regex": "(Failed|Succeeded)", "action": "drop"},
            {"source_labels": [f"{_META}_container_port_number"], "regex": str(target.port), "action": "keep"},
            _copied("namespace", "__meta_kubernetes_namespace"),
            _copied("pod", f"{_META}_name"),
            *(_copied(name, source) for name, source in _own_labels(target)),
        ],
    }
    if target.keep:
        config["metric_relabel_configs"] = [{"source_labels": ["__name__"], "regex": _any_of(target.keep), "action": "keep"}]
    return config


def pod_monitor_spec(target: Target) -> dict[str, Any]:
    """Spec of the PodMonitor of one target."""
    endpoint: dict[str, Any] = {
        "portNumber": target.port,
        "path": target.path,
        "honorLabels": target.honor_labels,
        "relabelings": [
            {"targetLabel": "job", "replacement": target.name, "action": "replace"},
            *({"sourceLabels": [source], "targetLabel": name, "action": "replace"} for name, source in _own_labels(target)),
            {"regex": "container|endpoint", "action": "labeldrop"},
        ],
    }
    if target.keep:
        endpoint["metricRelabelings"] = [{"sourceLabels": ["__name__"], "regex": _any_of(target.keep), "action": "keep"}]
    limits = _limits(target.sample_limit)
    return {
        # Without one it is the namespace of the PodMonitor, which is that of Prometheus.
        **({"namespaceSelector": {"matchNames": [*target.namespaces]}} if target.namespaces else {}),
        "selector": {"matchLabels": dict(target.pods)},
        "sampleLimit": limits["sample_limit"],
        "labelLimit": limits["label_limit"],
        "labelValueLengthLimit": limits["label_value_length_limit"],
        "podMetricsEndpoints": [endpoint],
    }


def kubelet_configs(*, verify: bool) -> list[dict[str, Any]]:
    """Entries of `scrape_configs` for what every kubelet knows: of itself and its volumes, and of its containers.

    Both forms take these as they are. With `verify` a kubelet proves who it is by a certificate of the cluster's authority; one
    that signs its own (kubeadm without `serverTLSBootstrap`) cannot.
    """
    tls: dict[str, Any] = {"ca_file": f"{CREDENTIALS}/ca.crt"} if verify else {"insecure_skip_verify": True}
    pages = (("/metrics", KUBELET_KEPT), ("/metrics/cadvisor", CADVISOR_KEPT))
    return [
        {
            "job_name": job,
            "metrics_path": path,
            "scheme": "https",
            # Its metrics speak of the pods of others.
            "honor_labels": True,
            **_limits(50_000),
            "authorization": {"credentials_file": f"{CREDENTIALS}/token"},
            "tls_config": dict(tls),
            "kubernetes_sd_configs": [{"role": "node"}],
            "relabel_configs": [_copied("node", "__meta_kubernetes_node_name")],
            "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": _any_of(kept), "action": "keep"}],
        }
        for job, (path, kept) in zip(KUBELET_JOBS, pages, strict=True)
    ]


def _limits(samples: int) -> dict[str, int]:
    return {"sample_limit": samples, "label_limit": LABEL_LIMIT, "label_value_length_limit": LABEL_VALUE_LIMIT}


def _own_labels(target: Target) -> Iterable[tuple[str, str]]:
    """Labels of a target that the operator does not set, and where each comes from."""
    yield "node", f"{_META}_node_name"
    for name, label in sorted(target.pod_labels.items()):
        # As service discovery names them (prometheus/prometheus, discovery/kubernetes, `strutil.SanitizeLabelName`).
        yield name, f"{_META}_label_{re.sub('[^a-zA-Z0-9_]', '_', label)}"


def _copied(name: str, source: str) -> dict[str, Any]:
    return {"source_labels": [source], "target_label": name, "action": "replace"}


def _any_of(names: Sequence[str]) -> str:
    return "|".join(names)
