"""What collector and store are called, for those who reach, scrape or judge them. Pure."""

from ..monitoring.targets import Target

LOKI = "loki"
"""Release and Service of the store."""
LOKI_PORT = 3100
LOKI_PODS = {"app.kubernetes.io/name": "loki", "app.kubernetes.io/instance": LOKI}
"""Labels of the store's pod (chart loki, templates/_helpers.tpl)."""

COLLECTOR = "fluent-bit"
"""Release and service account of the collector."""
COLLECTOR_PORT = 2020
"""Where it tells its metrics, and is told to read its settings again."""
COLLECTOR_PODS = {"app.kubernetes.io/name": "fluent-bit", "app.kubernetes.io/instance": COLLECTOR}
"""Labels of its pods (chart fluent-bit, templates/_helpers.tpl)."""


def store_target(namespace: str) -> Target:
    """The store's metrics."""
    return Target(name="loki", namespaces=[namespace], pods=LOKI_PODS, port=LOKI_PORT)


def collector_target(namespace: str) -> Target:
    """The collector's metrics (docs.fluentbit.io, "Monitoring")."""
    return Target(
        name="fluent-bit", namespaces=[namespace], pods=COLLECTOR_PODS, port=COLLECTOR_PORT, path="/api/v2/metrics/prometheus"
    )


def log_group(cluster_name: str) -> str:
    """Name of the log group of a cluster's pods in CloudWatch, for the key that encrypts it."""
    return f"/llm-platform/{cluster_name}/pods"
