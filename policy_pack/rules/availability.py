"""Whether nodes can be drained."""

from collections.abc import Iterator, Mapping
from typing import Any

from components.security.network.reachability import selects
from policy_pack.resources import Pod, Resource, Stack
from policy_pack.rule import Finding, Level, Rule, Severity
from policy_pack.values import as_far_as_known, at, every, maybe


def _drainable(stack: Stack) -> Iterator[Finding]:
    for budget in stack.kinds("PodDisruptionBudget"):
        yield from as_far_as_known(_blocks, budget, stack)


def _blocks(budget: Resource, stack: Stack) -> Iterator[Finding]:
    spec = at(budget.properties, "spec", default={})
    most, least = at(spec, "maxUnavailable"), at(spec, "minAvailable")
    if str(most) in ("0", "0%") or str(least) == "100%":
        yield Finding(budget, "it lets no pod go, so no node under it is ever drained, upgraded or replaced")
        return
    if not isinstance(least, int):
        return
    place, selector = stack.place(budget), at(spec, "selector")
    answers = [(pod, _selected(pod, stack, place, selector)) for pod in stack.pods]
    if None in (answer for _, answer in answers):
        return
    here = [pod for pod, answer in answers if answer]
    if here and least >= (there := sum(map(_copies, here))):
        yield Finding(budget, f"it wants {least} pods there and there are {there}, so none may ever go")


def _selected(pod: Pod, stack: Stack, place: str, selector: Mapping[str, Any] | None) -> bool | None:
    return every((maybe(lambda: stack.is_same(stack.place(pod.owner), place)), maybe(selects, selector, pod.labels)))


def _copies(pod: Pod) -> int:
    return int(at(pod.owner.properties, "spec", "replicas", default=1))


RULES = (
    Rule(
        id="disruption-budget",
        title="A PodDisruptionBudget lets at least one pod go.",
        reason="A drain waits for ever on one that does not, and with it every upgrade of the nodes.",
        remedy="use maxUnavailable: 1",
        source="https://kubernetes.io/docs/tasks/run-application/configure-pdb/",
        severity=Severity.MEDIUM,
        level=Level.MANDATORY,
        stack=_drainable,
    ),
)
