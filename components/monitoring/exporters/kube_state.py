"""What has metrics of Kubernetes' objects, by kube-state-metrics' own chart."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field

from ...base import SELECTOR_KEYS, PlatformComponent
from ...charts import placed, release
from ...inputs import InputText, Model, validate
from ...types import QualifiedName
from ...versions import KUBE_STATE_METRICS_CHART

NAME = "kube-state-metrics"
"""Name of the release; one per cluster."""
PODS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": NAME}
"""Labels of its pods (chart kube-state-metrics, templates/_helpers.tpl)."""
_REPOSITORY = "https://prometheus-community.github.io/helm-charts"
_MEMORY_MIB, _ENOUGH_FOR, _MIB_PER_NODE = 256, 100, 2
"""What it takes in a cluster of up to 100 nodes, and for each node beyond (kubernetes/kube-state-metrics, README, "Resource
recommendation"; the second was there until v1.9)."""
COLLECTORS = ("horizontalpodautoscalers", "nodes", "pods")
"""What rules and dashboards read of. It may list these and nothing else."""
_NODE_LABELS = (
    "karpenter.sh/capacity-type",
    "karpenter.sh/nodepool",
    "llm-platform/pool",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
)


class KubeStateMetricsArgs(TypedDict):
    """Inputs of `KubeStateMetrics`."""

    namespace_name: pulumi.Input[str]
    """Namespace it runs in; *restricted* suffices."""
    pool_labels: NotRequired[list[str]]
    """Keys of the labels that select pools, so that rules know the pool of a node."""
    system_labels: NotRequired[dict[str, str]]
    """Labels of the nodes it runs on; any Linux node by default."""
    nodes: NotRequired[int]
    """Nodes of the cluster at the most, which decide its memory; 10 by default."""


class _Config(Model):
    namespace_name: InputText
    pool_labels: tuple[QualifiedName, ...] = ()
    system_labels: Mapping[str, str] = Field(default_factory=dict)
    nodes: int = Field(10, ge=1, le=10_000, examples=[10])


class KubeStateMetrics(PlatformComponent):
    """kube-state-metrics, which reads what the rules and dashboards need of the cluster's objects."""

    chart_version: pulumi.Output[str]
    """Version of the chart, known once it runs."""

    def __init__(self, name: str, args: KubeStateMetricsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"KubeStateMetrics {name}")
        made = release(
            self,
            config.namespace_name,
            NAME,
            chart=NAME,
            version=KUBE_STATE_METRICS_CHART,
            repository=_REPOSITORY,
            values=kube_state_values(config.pool_labels, config.system_labels, config.nodes),
        )
        self.chart_version = made.version
        self.finish()


def kube_state_values(pool_labels: Iterable[str], system_labels: Mapping[str, str], nodes: int) -> dict[str, Any]:
    """Values of the chart kube-state-metrics; its security contexts are the chart's, which are restricted."""
    memory = f"{_MEMORY_MIB + _MIB_PER_NODE * max(0, nodes - _ENOUGH_FOR)}Mi"
    return {
        **placed(system_labels, PODS),
        "collectors": list(COLLECTORS),
        "metricLabelsAllowlist": labels_read(pool_labels),
        "prometheusScrape": False,
        "resources": {"requests": {"cpu": "50m", "memory": memory}, "limits": {"memory": memory}},
    }


def labels_read(pool_labels: Iterable[str]) -> list[str]:
    """The labels that rules read, as the flag `--metric-labels-allowlist` takes them, with commas between."""
    return [_allowed("nodes", (*_NODE_LABELS, *pool_labels)), _allowed("pods", SELECTOR_KEYS)]


def _allowed(kind: str, keys: Sequence[str]) -> str:
    return f"{kind}=[{','.join(sorted(set(keys)))}]"
