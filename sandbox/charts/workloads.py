"""Which workloads the releases of charts make, as far as a rehearsal has them: the tables, and what is read from them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

Manifest = dict[str, Any]
_TABLES = ("node_agents.yaml", "monitoring.yaml", "scaling.yaml", "traffic.yaml")


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Container(_Facts):
    """One container; node_agents.yaml says what the fields mean."""

    container: str
    image: str
    when: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    resources: str | None = None
    env: Mapping[str, str] = {}
    ports: tuple[int, ...] = ()
    security: str | Mapping[str, Any] | None = None
    mounts: tuple[str, ...] = ()


class Claim(_Facts):
    """The volume that every pod of a StatefulSet has of its own."""

    name: str
    template: str | None = None
    values: str = ""
    when: str | None = None
    retention: str | None = None
    retention_when: str | None = None


class Workload(Container):
    """One workload: its first container, the pod around it, and how many of them."""

    kind: Literal["DaemonSet", "Deployment", "StatefulSet"] = "DaemonSet"
    name: str
    of: Literal["chart", "operator"] = "chart"
    labels: Mapping[str, str]
    pod_labels: Mapping[str, str] = {}
    given_labels: tuple[str, ...] = ()
    release_label: str | None = None
    placed: tuple[str, ...]
    selector: Mapping[str, str] = {}
    tolerations: tuple[Mapping[str, str], ...] = ()
    instances: Literal["efa"] | None = None
    instances_unknown: tuple[str, ...] = ()
    replicas: str | None = None
    claim: Claim | None = None
    priority: str | None = None
    runtime_class: str | None = None
    configured: bool = False
    sidecars: tuple[Container, ...] = ()
    host_paths: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    privileged: bool = False
    pod_security: str | None = None
    host_network: bool | str = False
    host_pid: str | None = None


class Configurations(_Facts):
    """The ConfigMap of named configurations."""

    data: str
    name: str
    existing: str | None = None
    default: str


class Subchart(_Facts):
    """A chart that comes with another one, under the values of its name."""

    version: str
    when: str


class Api(_Facts):
    """An API that a workload serves beside the API server's own."""

    group: str
    version: str
    service: str
    when: str


class WorkloadChart(_Facts):
    """One version of a chart."""

    defaults: dict[str, Any]
    workloads: tuple[Workload, ...] = ()
    subcharts: Mapping[str, Subchart] = {}
    apis: tuple[Api, ...] = ()
    configurations: Configurations | None = None
    runtime_class: str | None = None
    fullname_length: int = 63


def known(chart: str) -> Mapping[str, WorkloadChart]:
    """What is known of a chart by its version, without a leading v; empty for one whose workloads are not made."""
    return _table().get(chart, {})


@cache
def _table() -> Mapping[str, Mapping[str, WorkloadChart]]:
    raw: dict[str, Any] = {}
    for name in _TABLES:
        raw |= yaml.safe_load(Path(__file__).with_name(name).read_text("utf-8"))
    return {
        chart: {version: WorkloadChart.model_validate(entry) for version, entry in versions.items()}
        for chart, versions in raw.items()
    }
