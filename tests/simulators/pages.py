"""Pages of metrics: what they have in common, and those of exporters, whose figures are simply said."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from prometheus_client.metrics_core import Metric

from components.monitoring.metrics import exporters
from components.monitoring.signals import Kind


class Page(Protocol):
    """What one process says of itself."""

    def advance(self, seconds: float) -> None:
        """To this time since the start, which never goes back."""

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now, as prometheus_client writes them."""


class Figure(NamedTuple):
    """One sample."""

    name: str
    """On the wire."""
    value: float
    labels: Mapping[str, str]


def figure(metric: str, number: float, **labels: str) -> Figure:
    """A sample with its labels."""
    return Figure(metric, number, labels)


@dataclass
class Said:
    """An exporter's page: the figures that it has at a time. Each is in the table of that exporter, or there is a KeyError."""

    table: str
    """In components/monitoring/metrics."""
    figures: Callable[[float], Iterable[Figure]]
    now: float = 0.0

    def advance(self, seconds: float) -> None:
        self.now = seconds

    def collect(self) -> Iterable[Metric]:
        metrics: dict[str, Metric] = {}
        for name, value, labels in self.figures(self.now):
            counter = exporters()[self.table].metrics[name].type is Kind.COUNTER and name.endswith("_total")
            # prometheus_client wants a counter's name without its suffix.
            metric = metrics.setdefault(
                name, Metric(name.removesuffix("_total") if counter else name, "scripted", "counter" if counter else "gauge")
            )
            metric.add_sample(name, dict(labels), value)
        return metrics.values()


@dataclass
class Silent:
    """A page of something that nobody reads but to see whether it answers."""

    def advance(self, seconds: float) -> None:
        """Nothing changes."""

    def collect(self) -> Iterable[Metric]:
        return ()
