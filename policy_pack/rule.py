"""What a rule is."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from policy_pack.resources import Pod, Resource, Stack, pods
from policy_pack.values import as_far_as_known, shown


class Severity(StrEnum):
    """What a violation may cost."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Level(StrEnum):
    """What a violation does."""

    ADVISORY = "advisory"
    """It is shown."""
    MANDATORY = "mandatory"
    """It ends the preview or the update."""
    DISABLED = "disabled"


@dataclass(frozen=True)
class Finding:
    """A violation: what is wrong, as a sentence without values that may be secret."""

    resource: Resource
    sentence: str


OnResource = Callable[[Resource], Iterable[str]]
OnStack = Callable[[Stack], Iterable[Finding]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. It looks at every resource by itself, or at the whole stack at its end."""

    id: str
    title: str
    """What has to hold, as a sentence."""
    reason: str
    remedy: str
    source: str
    """Who says so."""
    severity: Severity
    level: Level = Level.ADVISORY
    """Where the stack says nothing else."""
    resource: OnResource | None = None
    stack: OnStack | None = None

    def on_resource(self, resource: Resource) -> list[Finding]:
        """The violations of one resource, as far as its values are known."""
        check = self.resource
        if check is None:
            return []
        return [Finding(resource, sentence) for sentence in as_far_as_known(check, resource)]

    def on_stack(self, stack: Stack) -> list[Finding]:
        """The violations of a stack, as far as its values are known."""
        check = self.stack
        return [] if check is None else as_far_as_known(check, stack)


def each_pod(check: Callable[[Pod], Iterable[str]]) -> OnResource:
    """A check of every pod that a resource starts; one with unknown values does not hide the others."""

    def of_resource(resource: Resource) -> Iterable[str]:
        for pod in pods(resource):
            yield from as_far_as_known(check, pod)

    return of_resource


def each_container(check: Callable[[Pod, str, Mapping[str, Any]], Iterable[str]]) -> OnResource:
    """A check of every container, which gets its pod and where it is; one with unknown values does not hide the others."""

    def of_pod(pod: Pod) -> Iterable[str]:
        for path, container in pod.containers:
            yield from as_far_as_known(check, pod, shown(path), container)

    return each_pod(of_pod)


def each(check: Callable[[Resource], Iterable[str]], *types: str) -> OnResource:
    """A check of resources of these types alone."""

    def of_resource(resource: Resource) -> Iterable[str]:
        return check(resource) if resource.type in types else ()

    return of_resource
