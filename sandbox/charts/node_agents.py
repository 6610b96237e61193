"""What charts put onto nodes: the workloads of a release that make nodes offer devices, as objects. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from planner.catalog import instance_types

Manifest = dict[str, Any]
RELEASE = "meta.helm.sh/release-name"
NAMESPACE = "meta.helm.sh/release-namespace"
"""Annotations by which Helm knows what is a release's; with them, what the operator makes is too."""
CONFIG_LABEL = "nvidia.com/device-plugin.config"
_INSTANCE_LABEL = "node.kubernetes.io/instance-type"


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Agent(_Facts):
    """One workload; node_agents.yaml says what the fields mean."""

    kind: Literal["DaemonSet", "Deployment"] = "DaemonSet"
    name: str
    of: Literal["chart", "operator"] = "chart"
    when: tuple[str, ...] = ()
    labels: Mapping[str, str]
    container: str
    image: str
    command: tuple[str, ...] = ()
    placed: str
    selector: Mapping[str, str] = {}
    tolerations: tuple[Mapping[str, str], ...] = ()
    instances: Literal["efa"] | None = None
    instances_unknown: tuple[str, ...] = ()
    priority: str | None = None
    runtime_class: str | None = None
    resources: str | None = None
    env: Mapping[str, str] = {}
    configured: bool = False
    host_paths: tuple[str, ...] = ()
    privileged: bool = False
    host_network: bool = False


class Configurations(_Facts):
    """The ConfigMap of named configurations."""

    data: str
    name: str
    existing: str | None = None
    default: str


class NodeChart(_Facts):
    """One version of a chart."""

    defaults: dict[str, Any]
    agents: tuple[Agent, ...]
    configurations: Configurations | None = None
    runtime_class: str | None = None


def known(chart: str) -> Mapping[str, NodeChart]:
    """What is known of a chart by its version, without a leading v; empty for one that puts nothing onto nodes."""
    return _table().get(chart, {})


def objects(chart: str, of: NodeChart, release: str, namespace: str, values: Mapping[str, Any]) -> list[Manifest]:
    """What a release makes, in the order in which it is made."""
    return list(_Rendering(chart, of, release, namespace, _merged(of.defaults, values)).objects())


def awaited(of: NodeChart, release: str, chart: str) -> set[tuple[str, str]]:
    """(kind, name) of the workloads that the chart itself makes, which a release waits for."""
    names = _names(chart, release)
    return {(agent.kind, agent.name.format(**names)) for agent in of.agents if agent.of == "chart"}


class _Rendering:
    """One release; values are the chart's defaults with the user's over them."""

    def __init__(self, chart: str, of: NodeChart, release: str, namespace: str, values: Mapping[str, Any]) -> None:
        self._of = of
        self._values = values
        self._names = _names(chart, release)
        self._namespace = namespace
        self._marks = {RELEASE: release, NAMESPACE: namespace}
        self._data: dict[str, str] = self._value(of.configurations.data) or {} if of.configurations else {}

    def objects(self) -> Iterator[Manifest]:
        if name := self._value(self._of.runtime_class):
            yield {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": self._metadata(name), "handler": name}
        if self._data and (name := self._config_map()):
            yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": self._here(name), "data": self._data}
        for agent in self._of.agents:
            if all(self._value(switch) for switch in agent.when):
                yield self._workload(agent)

    def _workload(self, agent: Agent) -> Manifest:
        labels = {key: value.format(**self._names) for key, value in agent.labels.items()}
        spec: dict[str, Any] = {"selector": {"matchLabels": labels}, "template": self._template(agent, labels)}
        metadata = self._here(agent.name.format(**self._names), labels)
        return {"apiVersion": "apps/v1", "kind": agent.kind, "metadata": metadata, "spec": spec}

    def _template(self, agent: Agent, labels: Mapping[str, str]) -> dict[str, Any]:
        reads = self._config_map() if agent.configured else None
        pod: dict[str, Any] = {"containers": [self._container(agent)], "automountServiceAccountToken": False}
        if reads:
            pod["containers"].append(self._config_manager(agent))
        paths = [{"name": f"host-{number}", "hostPath": {"path": path}} for number, path in enumerate(agent.host_paths)]
        pod["volumes"] = [*paths, *([{"name": "available-configs", "configMap": {"name": reads}}] if reads else [])]
        pod |= self._placement(agent)
        if priority := self._value(agent.priority):
            pod["priorityClassName"] = priority
        if runtime := self._value(agent.runtime_class):
            pod["runtimeClassName"] = runtime
        if agent.host_network:
            pod["hostNetwork"] = True
        metadata: dict[str, Any] = {"labels": dict(labels)}
        if reads and self._data:  # as in the chart: other configurations are another template
            metadata["annotations"] = {"checksum/config": hashlib.sha256(json.dumps(self._data).encode()).hexdigest()}
        return {"metadata": metadata, "spec": pod}

    def _placement(self, agent: Agent) -> dict[str, Any]:
        given = (self._value(agent.placed) if agent.placed else self._values) or {}
        affinity = self._instances(agent) if agent.instances else given.get("affinity")
        found = {
            "nodeSelector": {**(given.get("nodeSelector") or {}), **agent.selector},
            "affinity": affinity,
            "tolerations": [*agent.tolerations, *(given.get("tolerations") or [])],
        }
        return {name: value for name, value in found.items() if value}

    def _instances(self, agent: Agent) -> dict[str, Any]:
        """An affinity for the instance types with EFA: those of the values, else those that the chart itself lists."""
        given = self._values.get("supportedInstanceLabels") or {}
        ours = sorted(name for name, found in instance_types().items() if found.efa and name not in agent.instances_unknown)
        expressions = [
            {"key": key, "operator": "In", "values": given.get("values") or ours}
            for key in given.get("keys") or [_INSTANCE_LABEL]
        ]
        terms = [{"matchExpressions": [expression]} for expression in expressions]
        return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}

    def _container(self, agent: Agent) -> dict[str, Any]:
        container: dict[str, Any] = {"name": agent.container, "image": self._image(agent)}
        if agent.command:
            container["command"] = list(agent.command)
        given = {name: self._value(path) for name, path in agent.env.items()}
        if env := [{"name": name, "value": str(value)} for name, value in given.items() if value is not None]:
            container["env"] = env
        if resources := self._value(agent.resources):
            container["resources"] = resources
        if agent.privileged:
            container["securityContext"] = {"privileged": True}
        container["volumeMounts"] = [
            {"name": f"host-{number}", "mountPath": path} for number, path in enumerate(agent.host_paths)
        ]
        return container

    def _config_manager(self, agent: Agent) -> dict[str, Any]:
        """The container that gives the agent beside it the configuration of its node."""
        default = self._value(self._of.configurations.default) if self._of.configurations else None
        env = {"NODE_LABEL": CONFIG_LABEL, "DEFAULT_CONFIG": default or ""}
        return {
            "name": "config-manager",
            "image": self._image(agent),
            "command": ["config-manager"],
            "env": [{"name": name, "value": value} for name, value in env.items()],
            "volumeMounts": [{"name": "available-configs", "mountPath": "/available-configs"}],
        }

    def _image(self, agent: Agent) -> str:
        given = self._value(agent.image)
        path = "/".join(filter(None, (given["repository"], given.get("image"))))
        return f"{path}:{given.get('tag') or given['version']}"

    def _config_map(self) -> str | None:
        """The name of the ConfigMap that the agents read; None where they have no named configurations."""
        of = self._of.configurations
        if of is None:
            return None
        if of.existing and (existing := self._value(of.existing)):
            return str(existing)
        if "{" in of.name:
            return of.name.format(**self._names) if self._data else None
        return self._value(of.name) or None

    def _value(self, path: str | None) -> Any:
        found: Any = self._values if path else None
        for step in (path or "").split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        return found

    def _here(self, name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
        return {**self._metadata(name, labels), "namespace": self._namespace}

    def _metadata(self, name: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
        return {
            "name": name,
            "labels": {**(labels or {}), "app.kubernetes.io/managed-by": "Helm"},
            "annotations": dict(self._marks),
        }


def _names(chart: str, release: str) -> dict[str, str]:
    fullname = release if chart in release else f"{release}-{chart}"
    return {"release": release, "fullname": fullname[:63].rstrip("-")}


def _merged(base: Any, over: Any) -> Any:
    """Values over values, as Helm merges them: maps by key, null takes a default away, everything else as a whole."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return {**base, **{key: _merged(base.get(key), value) for key, value in over.items()}}
    return over


@cache
def _table() -> Mapping[str, Mapping[str, NodeChart]]:
    raw = yaml.safe_load(Path(__file__).with_name("node_agents.yaml").read_text("utf-8"))
    return {
        chart: {version: NodeChart.model_validate(entry) for version, entry in versions.items()}
        for chart, versions in raw.items()
    }
