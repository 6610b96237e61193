"""What namespaces demand of their pods."""

from collections.abc import Iterator

from policy_pack.pod_security import LABEL, violations
from policy_pack.resources import Pod, Resource, Stack
from policy_pack.rule import Finding, Level, Rule, Severity
from policy_pack.values import as_far_as_known, at

_LEVELS = ("privileged", "baseline", "restricted")


def _labelled(resource: Resource) -> Iterator[str]:
    if resource.kind != "Namespace":
        return
    labels = at(resource.properties, "metadata", "labels", default={})
    if resource.is_patch and at(labels, LABEL) is None:
        return  # of a namespace of others, it says nothing of the level
    if at(labels, LABEL) not in _LEVELS:
        yield f"the label {LABEL} is missing, so its pods may do anything"
        return
    version = at(labels, f"{LABEL}-version")
    if version in (None, "latest"):
        yield f"the label {LABEL}-version is {version or 'missing'}, so an upgrade of the cluster changes what is allowed"


def levels(stack: Stack) -> dict[str, str]:
    """The Pod Security level of every namespace of a stack that is known to have one, by `Stack.place`."""
    namespaces = stack.kinds("Namespace")
    return {stack.place(namespace): level for namespace in namespaces for level in as_far_as_known(_level, namespace)}


def _level(namespace: Resource) -> Iterator[str]:
    if level := at(namespace.properties, "metadata", "labels", LABEL):
        yield str(level)


def _admitted(stack: Stack) -> Iterator[Finding]:
    known = levels(stack)
    for pod in stack.pods:
        yield from as_far_as_known(_within, pod, stack, known)


def _within(pod: Pod, stack: Stack, known: dict[str, str]) -> Iterator[Finding]:
    level = known.get(stack.place(pod.owner), "")
    for sentence in violations(pod, level):
        yield Finding(pod.owner, f"{sentence}, which the level {level} of its namespace forbids")


RULES = (
    Rule(
        id="pod-security-label",
        title="Every namespace has a Pod Security level with a pinned version.",
        reason="Without one a pod may mount the node's disk and run as root on it.",
        remedy="label it with pod-security.kubernetes.io/enforce: restricted and enforce-version: v1.36",
        source="https://kubernetes.io/docs/concepts/security/pod-security-admission/",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=_labelled,
    ),
    Rule(
        id="pod-security-level",
        title="Pods meet the Pod Security level of their namespace.",
        reason="The API server refuses them one by one after the update began: a Deployment then waits for pods that never come.",
        remedy="change the pod, or move it to a namespace of another level",
        source="https://kubernetes.io/docs/concepts/security/pod-security-standards/",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        stack=_admitted,
    ),
)
