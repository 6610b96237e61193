"""Why something is not ready, in words, from pods, claims, conditions and events. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sandbox.providers.kubernetes.awaiting.rules import condition, holds
from sandbox.providers.kubernetes.objects import WAIT_FOR, Object, annotation, describe, metadata, name_of
from sandbox.providers.properties import lookup

_MOST: Final = 3  # reasons shown: the first few say it all, and replicas repeat each other
_GOOD: Final = ("Accepted", "Programmed", "Ready", "ResolvedRefs")
"""Conditions that are to hold, of Gateway API and of most others."""
_TELLING: Final = (
    "FailedCreate",
    "FailedMount",
    "FailedAttachVolume",
    "FailedBinding",
    "ProvisioningFailed",
    "Unhealthy",
    "FailedScheduling",
)


@dataclass(frozen=True)
class Evidence:
    """What was found around an object that is not ready."""

    pods: list[Object] = field(default_factory=list)
    claims: list[Object] = field(default_factory=list)
    owners: list[Object] = field(default_factory=list)  # ReplicaSets of a Deployment
    events: list[Object] = field(default_factory=list)


def explain(obj: Object, waiting: str, seconds: float, evidence: Evidence) -> str:
    """`Deployment models/qwen: 0 of 1 replicas ready after 60 s: pod qwen-abc is Pending: 0/2 nodes are available: …`."""
    found = [*_of_pods(evidence.pods, evidence.events), *_of_conditions(obj), *_of_claims(evidence), *_of_events(obj, evidence)]
    after = f" after {seconds:.0f} s" if seconds >= 1 else ""
    head = f"{describe(obj)}: {waiting}{after}"
    return ": ".join(part for part in (head, "; ".join(_distinct(found)[:_MOST])) if part)


def _distinct(texts: Iterable[str]) -> list[str]:
    """Without repetitions; pods of one set say the same thing under different names."""
    seen: dict[str, str] = {}
    for text in texts:
        seen.setdefault(re.sub(r"pod \S+", "pod", text), text)
    return list(seen.values())


def _of_pods(pods: list[Object], events: list[Object]) -> list[str]:
    waiting = [pod for pod in pods if not holds(pod, "Ready") and lookup(pod, ("status", "phase")) != "Succeeded"]
    return [f"pod {name_of(pod)} {reason}" for pod in waiting if (reason := of_pod(pod, events))]


def of_pod(pod: Object, events: list[Object]) -> str:
    """Why a pod is not ready: not scheduled, image, crash, probe; empty when it only needs time."""
    if metadata(pod).get("deletionTimestamp"):
        return "is being deleted"
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"is Pending: {_short(scheduled.get('message') or scheduled.get('reason') or 'not scheduled')}"
    status = pod.get("status") or {}
    for entry in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        if reason := _of_container(entry):
            return f"container {entry.get('name')} {reason}"
    about = [event for event in events if lookup(event, ("involvedObject", "name")) == name_of(pod)]
    for event in reversed(about):
        if event.get("reason") in _TELLING:
            return f"{event['reason']}: {_short(event.get('message', ''))}"
    if status.get("phase") == "Failed":
        return f"Failed: {status.get('reason') or ''} {status.get('message') or ''}".strip()
    unready = condition(pod, "ContainersReady").get("message") or condition(pod, "Ready").get("message")
    return f"is {status.get('phase', 'Pending')}: {_short(unready)}" if unready else ""


def _of_container(entry: Object) -> str:
    state, last = entry.get("state") or {}, lookup(entry, ("lastState", "terminated"))
    ended = state.get("terminated") or last
    how = ""
    if isinstance(ended, dict) and ended.get("exitCode"):
        how = f"exited with {ended['exitCode']} ({ended.get('reason', 'Error')})"
        how += f": {_short(ended['message'])}" if ended.get("message") else ""
    waiting = state.get("waiting")
    if isinstance(waiting, dict):
        reason = waiting.get("reason", "waiting")
        if reason in ("PodInitializing", "ContainerCreating"):
            return ""
        if reason == "CrashLoopBackOff":
            return f"crashes again and again ({entry.get('restartCount', 0)} restarts): it {how or 'ends at once'}"
        return f"waits: {reason}" + (f": {_short(waiting['message'])}" if waiting.get("message") else "")
    return how


def _of_conditions(obj: Object) -> list[str]:
    failure = condition(obj, "ReplicaFailure")
    found = [_short(failure["message"])] if failure.get("status") == "True" and failure.get("message") else []
    return [*found, *(_of_waited_for(obj.get("status")) if annotation(obj, WAIT_FOR) else ())]


def _of_waited_for(part: object) -> Iterator[str]:
    """What conditions say is not so, of parts first: a Gateway has some for each listener, a route for each Gateway."""
    if isinstance(part, list):
        for each in part:
            yield from _of_waited_for(each)
    elif isinstance(part, dict):
        for name, each in part.items():
            if name != "conditions":
                yield from _of_waited_for(each)
        for each in part.get("conditions") or []:
            if each.get("type") in _GOOD and each.get("status") != "True":
                yield f"{each.get('reason', '')}: {_short(each.get('message', ''))}"


def _of_claims(evidence: Evidence) -> list[str]:
    found = []
    for claim in evidence.claims:
        if lookup(claim, ("status", "phase")) != "Bound":
            about = [event for event in evidence.events if lookup(event, ("involvedObject", "name")) == name_of(claim)]
            why = f": {_short(about[-1].get('message', ''))}" if about else ""
            found.append(f"claim {name_of(claim)} is not bound{why}")
    return found


def _of_events(obj: Object, evidence: Evidence) -> list[str]:
    names = {name_of(obj), *(name_of(owner) for owner in evidence.owners)}
    about = [event for event in evidence.events if lookup(event, ("involvedObject", "name")) in names]
    return [f"{event.get('reason', '')}: {_short(event.get('message', ''))}" for event in reversed(about)]


def _short(text: object) -> str:
    """One line, without the scheduler's second opinion on preemption, and without a full stop."""
    line = " ".join(str(text).split())
    return re.sub(r"\.? (?:no new claims to deallocate, )?preemption: .*$", "", line).rstrip(".")
