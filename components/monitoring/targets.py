"""What Prometheus reads, for both of its forms. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NotRequired, TypedDict, cast


class TargetArgs(TypedDict):
    """A `Target`, as a component takes it."""

    name: str
    """Label `job`."""
    namespaces: list[str]
    """Namespaces of the pods; none for that of Prometheus itself."""
    pods: dict[str, str]
    """Labels of the pods."""
    port: int
    """Port of the metrics, which a container of the pods declares."""
    path: NotRequired[str]
    """Path of the metrics; `/metrics` by default."""
    honor_labels: NotRequired[bool]
    """Whether the labels in the metrics go before those of the pod; false by default."""
    pod_labels: NotRequired[dict[str, str]]
    """Labels of the pod that every series gets, by the name they get."""
    keep: NotRequired[list[str]]
    """Names of metrics that are kept, as regular expressions; all by default."""
    sample_limit: NotRequired[int]
    """A page with more samples is refused as a whole; 50,000 by default."""
    series_per_pod: NotRequired[int]
    """About how many series a page has, which decides the memory of Prometheus; 1,500 by default."""
    replicas: NotRequired[int]
    """How many such pods there are at the most; 1 by default."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Pods with the same labels, and the port their metrics are on.

    Every series gets the labels `job` (the target's name), `namespace`, `pod`, `node` and `instance` (address and port).
    """

    name: str
    """Label `job`, e.g. `models`, `dcgm-exporter`, `kube-state-metrics`."""
    namespaces: Sequence[str]
    """None for that of Prometheus itself."""
    pods: Mapping[str, str]
    """Labels of the pods."""
    port: int
    """A container of the pods declares it: pods with another one are passed over."""
    path: str = "/metrics"
    honor_labels: bool = False
    """Whether the labels in the metrics go before those of the pod: for who speaks of other objects, as kube-state-metrics."""
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the pod that every series gets, by the name they get, e.g. `{"model_name": "app.kubernetes.io/instance"}`.

    They go before what the page says, which then becomes `exported_…`, so that no page speaks for another pod."""
    keep: Sequence[str] = ()
    """Names of metrics that are kept, as regular expressions; all when empty."""
    sample_limit: int = 50_000
    """A page with more samples is refused as a whole: labels of a broken exporter must not fill the memory."""
    series_per_pod: int = 1_500
    """About how many series a page has; with `replicas` it decides the memory and the disk of Prometheus."""
    replicas: int = 1
    """How many such pods there are at the most."""

    def args(self) -> TargetArgs:
        """The same target as a component takes it."""
        found: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        found |= {"namespaces": list(self.namespaces), "keep": list(self.keep)}
        found |= {"pods": dict(self.pods), "pod_labels": dict(self.pod_labels)}
        return cast(TargetArgs, found)
