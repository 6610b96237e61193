"""Whether a pod may run on a node that is not there yet: selectors, affinity, taints, resources. Pure.

Pod affinity, topology spread and volumes are left to the scheduler: it has the last word once the node is there.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from components.quantities import quantity

Amounts = Mapping[str, Decimal]


def satisfies(labels: Mapping[str, str], requirement: Mapping[str, Any]) -> bool:
    """Whether labels meet one requirement (key, operator, values) of a selector term or of a NodePool."""
    value, values = labels.get(requirement["key"]), requirement.get("values") or []
    match requirement["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case comparison:
            return value is not None and value.isdecimal() and _compare(int(value), comparison, int(values[0]))


def selects(pod: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether the node selector and the required node affinity of a pod's spec accept a node with these labels."""
    if any(labels.get(key) != value for key, value in (pod.get("nodeSelector") or {}).items()):
        return False
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(
        all(satisfies(labels, each) for each in term.get("matchExpressions") or [])
        for term in required["nodeSelectorTerms"]
        if term.get("matchExpressions")
    )


def tolerates(pod: Mapping[str, Any], taints: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a pod's spec tolerates the taints that keep pods off a node."""
    return all(
        any(_tolerates_one(toleration, taint) for toleration in pod.get("tolerations") or [])
        for taint in taints
        if taint["effect"] != "PreferNoSchedule"
    )


def requested(pod: Mapping[str, Any]) -> dict[str, Decimal]:
    """What a pod's spec asks for; init containers run one after the other, those that restart run on beside all that follow."""
    sidecars: dict[str, Decimal] = {}
    highest: dict[str, Decimal] = {}
    for container in pod.get("initContainers") or []:
        wanted = _of_container(container)
        if container.get("restartPolicy") == "Always":
            sidecars = total([sidecars, wanted])
            wanted = {}
        highest = _larger(highest, total([sidecars, wanted]))
    running = total([sidecars, *map(_of_container, pod["containers"])])
    overhead = {name: quantity(str(amount)) for name, amount in (pod.get("overhead") or {}).items()}
    return total([_larger(highest, running), overhead, {"pods": Decimal(1)}])


def fits(wanted: Amounts, free: Amounts) -> bool:
    """Whether there is that much of everything."""
    return all(amount <= free.get(name, Decimal(0)) for name, amount in wanted.items() if amount)


def total(amounts: Sequence[Amounts]) -> dict[str, Decimal]:
    """The sum of resources."""
    return {name: sum((each.get(name, Decimal(0)) for each in amounts), Decimal(0)) for each in amounts for name in each}


def less(amounts: Amounts, taken: Amounts) -> dict[str, Decimal]:
    """What is left of resources; negative where more was taken."""
    return {name: amount - taken.get(name, Decimal(0)) for name, amount in amounts.items()}


def _compare(value: int, comparison: str, bound: int) -> bool:
    return {"Gt": value > bound, "Lt": value < bound, "Gte": value >= bound, "Lte": value <= bound}[comparison]


def _tolerates_one(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return bool(toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", ""))


def _of_container(container: Mapping[str, Any]) -> dict[str, Decimal]:
    resources = container.get("resources") or {}
    # A limit without a request is a request, as the API server has it by default.
    wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: quantity(str(amount)) for name, amount in wanted.items()}


def _larger(one: Amounts, other: Amounts) -> dict[str, Decimal]:
    return {name: max(one.get(name, Decimal(0)), other.get(name, Decimal(0))) for name in {**one, **other}}
