"""Which pods talk to anybody."""

from collections.abc import Iterator, Mapping
from typing import Any

from components.security.network.reachability import Direction, covers, selects
from policy_pack.addresses import everybody
from policy_pack.resources import Pod, Resource, Stack
from policy_pack.rule import Finding, Level, Rule, Severity
from policy_pack.values import as_far_as_known, at, every, maybe

_BOTH = frozenset(Direction)
_RULES = {Direction.INGRESS: ("ingress", "from"), Direction.EGRESS: ("egress", "to")}


def _covered(stack: Stack) -> Iterator[Finding]:
    policies = stack.kinds("NetworkPolicy")
    for pod in stack.pods:
        if maybe(_on_node, pod) is not False:
            continue
        for fault in as_far_as_known(_faults, stack, policies, pod.owner, pod.labels):
            yield Finding(pod.owner, fault)


def _on_node(pod: Pod) -> bool:
    """Whether it is on the network of its node, which policies do not reach."""
    return bool(at(pod.spec, "hostNetwork"))


def _denied(stack: Stack) -> Iterator[Finding]:
    of_all = [policy for policy in stack.kinds("NetworkPolicy") if maybe(_for_some, policy) is not True]
    for namespace in stack.kinds("Namespace"):
        if not namespace.is_patch and any(as_far_as_known(_faults, stack, of_all, namespace, {})):
            yield Finding(namespace, "no policy denies what no other one allows: one for all pods, ingress and egress")


def _for_some(policy: Resource) -> bool:
    """Whether a policy is for some pods only."""
    selector = at(policy.properties, "spec", "podSelector", default={})
    return bool(at(selector, "matchLabels") or at(selector, "matchExpressions"))


def _faults(stack: Stack, policies: list[Resource], owner: Resource, labels: Mapping[str, str]) -> Iterator[str]:
    """What the policies leave open of pods with these labels, beside or in `owner`, unless one not known yet may close it."""
    here = stack.place(owner)
    closed: set[Direction] = set()
    unsure = False
    for policy in policies:
        selected = every((maybe(_is_in, stack, policy, here), maybe(_selects, policy, labels)))
        if selected is False:
            continue
        ways = next(iter(as_far_as_known(_ways, policy)), None) if selected else None
        if ways is None:
            unsure = True
            continue
        closed |= ways
        for way in sorted(ways):
            if maybe(_opens, policy, way):
                yield f"NetworkPolicy {policy.name} lets all {way.lower()} of its pods through"
    if (missing := _BOTH - closed) and not unsure:
        yield f"no NetworkPolicy limits the {' and '.join(sorted(way.lower() for way in missing))} of its pods"


def _is_in(stack: Stack, policy: Resource, place: str) -> bool:
    return stack.is_same(stack.place(policy), place)


def _selects(policy: Resource, labels: Mapping[str, str]) -> bool:
    return selects(at(policy.properties, "spec", "podSelector"), labels)


def _ways(policy: Resource) -> Iterator[frozenset[Direction]]:
    spec = {**at(policy.properties, "spec", default={}), "podSelector": {}}
    yield covers([{"metadata": {"namespace": "here"}, "spec": spec}], "here", {})


def _opens(policy: Resource, way: Direction) -> bool:
    """Whether a rule of the policy lets everything through, which makes it as if there were none."""
    rules, peers = _RULES[way]
    given = at(policy.properties, "spec", rules, default=[])
    return any(maybe(_is_everything, rule, peers) for rule in given)


def _is_everything(rule: Mapping[str, Any], peers: str) -> bool:
    if at(rule, "ports"):
        return False
    named = at(rule, peers)
    if not named:
        return True
    blocks = [at(peer, "ipBlock", "cidr") for peer in named if not at(peer, "ipBlock", "except")]
    return bool(everybody(blocks))


RULES = (
    Rule(
        id="network-policy-pod",
        title="A NetworkPolicy limits every pod in both directions.",
        reason="A pod that no policy selects talks to every other pod, to the metadata of its node and to the internet.",
        remedy="add a NetworkPolicy that selects it, with the flows it has",
        source="https://kubernetes.io/docs/concepts/services-networking/network-policies/#the-two-sorts-of-pod-isolation",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        stack=_covered,
    ),
    Rule(
        id="network-policy-default-deny",
        title="Every namespace denies by default.",
        reason="The next pod somebody starts there is else open until somebody thinks of it.",
        remedy="add a NetworkPolicy with podSelector {} and policyTypes [Ingress, Egress]",
        source="https://kubernetes.io/docs/concepts/services-networking/network-policies/#default-deny-all-ingress-and-all-egress-traffic",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        stack=_denied,
    ),
)
