"""Pods as Karpenter sees them: which wait for a node, which keep one, and what they leave of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.aws.karpenter_fit import less, requested, total
from sandbox.aws.karpenter_plan import Space, amounts, daemons_on
from sandbox.aws.karpenter_status import age, condition, now

Objects = list[dict[str, Any]]

_SETTLE_S = 5.0
"""How long after a node is complete the scheduler may still not have looked at it; a pod that waits longer does not fit there."""


def by_node(pods: Objects) -> defaultdict[str, Objects]:
    """Pods by the name of their node; empty for those that have none."""
    found = defaultdict[str, Objects](list)
    for pod in pods:
        found[pod["spec"].get("nodeName", "")].append(pod)
    return found


def waits_for_a_node(pod: Mapping[str, Any]) -> bool:
    """Whether the scheduler has found no place for a pod."""
    is_refused = condition(pod, "PodScheduled").get("reason") == "Unschedulable"
    return is_refused and "deletionTimestamp" not in pod["metadata"] and not _is_of_daemon_set(pod)


def keeps_node(pod: Mapping[str, Any]) -> bool:
    """Whether a pod keeps its node: those of DaemonSets and those that have ended do not."""
    return not _is_of_daemon_set(pod) and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def is_starting(claim: Mapping[str, Any]) -> bool:
    """Whether pods may still come to the node of a NodeClaim that the scheduler could not put there yet."""
    if "deletionTimestamp" in claim["metadata"] or "allocatable" not in claim.get("status", {}):
        return False
    complete = condition(claim, "Initialized")
    return complete.get("status") != "True" or age(complete["lastTransitionTime"]) < _SETTLE_S


def space(claim: Mapping[str, Any], pods: Objects, daemons: Sequence[Mapping[str, Any]]) -> Space:
    """The room on the node of a NodeClaim with these pods."""
    labels, taints = claim["metadata"]["labels"], claim["spec"].get("taints", [])
    taken = [daemons_on(daemons, labels, taints), *(requested(pod["spec"]) for pod in pods if keeps_node(pod))]
    return Space(labels, taints, less(amounts(claim["status"]["allocatable"]), total(taken)))


def unplaced(pod: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """The event that says why a pod gets no node."""
    metadata = pod["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"karpenter-{metadata['uid']}", "namespace": metadata["namespace"]},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", **{key: metadata[key] for key in ("name", "namespace", "uid")}},
        "type": "Warning",
        "reason": "FailedScheduling",
        "message": f"Failed to schedule pod, {reason}",
        "source": {"component": "karpenter"},
        "firstTimestamp": now(),
        "lastTimestamp": now(),
        "count": 1,
    }


def _is_of_daemon_set(pod: Mapping[str, Any]) -> bool:
    return any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", []))
