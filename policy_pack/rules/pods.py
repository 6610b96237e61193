"""How pods run: what they ask for, and how it is told whether they work."""

from collections.abc import Iterator, Mapping
from typing import Any

from components.serving.invariants import start_faults
from policy_pack.pools import is_accelerator
from policy_pack.resources import Pod
from policy_pack.rule import Level, Rule, Severity, each_container
from policy_pack.values import at

_ANSWERING = ("Deployment", "StatefulSet", "ReplicaSet", "LeaderWorkerSet")
"""Kinds whose pods get requests; of Ray's the operator sets the probes."""


def accelerators(container: Mapping[str, Any]) -> dict[str, Any]:
    """The accelerators that a container asks for, by extended resource of a known vendor."""
    asked = {**at(container, "resources", "requests", default={}), **at(container, "resources", "limits", default={})}
    return {name: amount for name, amount in asked.items() if is_accelerator(name)}


def _readiness(pod: Pod, where: str, container: Mapping[str, Any]) -> Iterator[str]:
    if pod.owner.kind not in _ANSWERING or ".initContainers" in where:
        return
    if at(container, "ports") and not at(container, "readinessProbe"):
        yield f"{where} has ports and no readiness probe, so requests reach it while it starts"


def _startup(pod: Pod, where: str, container: Mapping[str, Any]) -> Iterator[str]:
    if accelerators(container):
        workload = pod.owner.properties
        annotations = at(workload, "metadata", "annotations", default={})
        for fault in start_faults(container, at(workload, "spec", default={}), annotations):
            yield f"{where}: {fault}"


def _resources(_pod: Pod, where: str, container: Mapping[str, Any]) -> Iterator[str]:
    missing = [f"requests.{key}" for key in ("cpu", "memory") if not at(container, "resources", "requests", key)]
    if not at(container, "resources", "limits", "memory"):
        missing.append("limits.memory")
    if missing:
        yield f"{where}.resources has no {' and no '.join(missing)}"


RULES = (
    Rule(
        id="readiness-probe",
        title="What takes requests says when it can.",
        reason="A server that loads a model for minutes else gets requests from its first second.",
        remedy="add a readinessProbe on the path that answers when it serves, e.g. /health",
        source="https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/",
        severity=Severity.MEDIUM,
        resource=each_container(_readiness),
    ),
    Rule(
        id="startup-probe",
        title="Model servers are given the time that loading takes.",
        reason="Loading takes longer than any liveness probe allows, and after a restart it begins again.",
        remedy="add a startupProbe that allows for the whole start, and a progressDeadlineSeconds above that",
        source="https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/#startup-probe",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=each_container(_startup),
    ),
    Rule(
        id="pod-resources",
        title="Containers request CPU and memory, and have a memory limit.",
        reason="What asks for nothing is placed anywhere and ends its neighbours when memory runs out.",
        remedy="set resources.requests.cpu, requests.memory and limits.memory",
        source="https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
        severity=Severity.MEDIUM,
        resource=each_container(_resources),
    ),
)
