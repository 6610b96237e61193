"""What a scaler asks Prometheus, by the metric names of the engine's version. Pure.

A model nobody can see is not a model without load. A query without `or vector(0)` and a trigger with `ignoreNullValues: "false"`
are an error when the engines are not scraped, and then the fallback holds; a zero would take its servers away.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..monitoring.signals import signal
from .groups import Targets

WINDOW, STEP = "2m", "30s"
"""Four scrapes: what runs goes up and down by chance, and one scrape that fails is no change of the load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One question and what its answer should be."""

    name: str
    query: str
    threshold: float
    average: bool
    """Whether the answer is a sum over all servers, of which each should bear `threshold`; else it is compared as it is."""


def triggers(targets: Targets, model_name: str, namespace: str, engine_version: str) -> tuple[Trigger, ...]:
    """The questions for what is looked at. Raises ValueError for an engine version without such a metric."""
    return tuple(_triggers(targets, f'{{namespace="{namespace}",model_name="{model_name}"}}', engine_version))


def _triggers(targets: Targets, of: str, version: str) -> Iterator[Trigger]:
    if targets.waiting is not None:
        yield Trigger(name="waiting", query=f"sum({signal(version, 'waiting')}{of})", threshold=targets.waiting, average=True)
    if targets.running is not None:
        yield Trigger(
            name="running", query=_mean(f"sum({signal(version, 'running')}{of})"), threshold=targets.running, average=True
        )
    if targets.kv_usage is not None:
        # An engine of several ranks has a cache for each.
        usage = _mean(f"sum(avg by (pod) ({signal(version, 'kv_cache_usage')}{of}))")
        yield Trigger(name="kv-usage", query=usage, threshold=targets.kv_usage, average=True)
    if targets.time_to_first_token is not None:
        query = _p95(version, "first_token", of)
        yield Trigger(name="time-to-first-token", query=query, threshold=targets.time_to_first_token, average=False)
    if targets.latency is not None:
        yield Trigger(name="latency", query=_p95(version, "end_to_end", of), threshold=targets.latency, average=False)


def _mean(of: str) -> str:
    return f"avg_over_time({of}[{WINDOW}:{STEP}])"


def _p95(version: str, name: str, of: str) -> str:
    """Seconds; 0 while nobody asks an engine that is there, since a quantile of nothing is no number."""
    histogram = f"histogram_quantile(0.95, sum by (le) (rate({signal(version, name)}_bucket{of}[{WINDOW}])))"
    return f"{histogram} > 0 or 0 * sum({signal(version, 'running')}{of})"
