"""What exporters and controllers say at /metrics, as far as rules and dashboards read it: a table for each beside this file."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import Field

from planner.catalog.files import load_yaml

from ...inputs import Model
from ..signals import Kind

OF_PROMETHEUS = frozenset({"up", "ALERTS", "ALERTS_FOR_STATE", "scrape_duration_seconds", "scrape_samples_scraped"})
"""Series that Prometheus makes itself (prometheus.io/docs/concepts/jobs_instances, .../configuration/alerting_rules)."""


class Metric(Model):
    """One metric."""

    type: Kind
    labels: tuple[str, ...] = ()
    """Those that rules and dashboards use."""


class Exporter(Model):
    """What one program says."""

    source: str = Field(min_length=1)
    """Where the names were read, with the version."""
    metrics: Mapping[str, Metric]
    """By the name on the wire, a counter with its suffix, a histogram without."""


@cache
def exporters() -> dict[str, Exporter]:
    """All tables, by the name of their file."""
    files = sorted(Path(__file__).parent.glob("*.yaml"))
    return {file.stem: Exporter.model_validate(load_yaml(file)) for file in files}


@cache
def known_metrics() -> frozenset[str]:
    """The names of all series of all tables, and of those Prometheus makes."""
    named = (
        series for table in exporters().values() for name, metric in table.metrics.items() for series in metric.type.wire(name)
    )
    return frozenset(named) | OF_PROMETHEUS
