"""What Karpenter would do: nodes for pods that wait, and which empty nodes go. Pure.

Simpler than Karpenter: pods are taken one by one, largest first, and each that fits nowhere gets a node of the cheapest type.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from components.quantities import quantity
from sandbox.aws.karpenter_fit import Amounts, fits, less, requested, satisfies, selects, tolerates, total

CAPACITY_TYPES = ("reserved", "spot", "on-demand")
"""In the order Karpenter tries them (Karpenter documentation, NodePools, karpenter.sh/capacity-type)."""

NODE_POOL = "karpenter.sh/nodepool"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
ZONE = "topology.kubernetes.io/zone"

_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Offer:
    """A node that could be had: one instance type, bought in one way, in one zone."""

    labels: Mapping[str, str]
    capacity: Amounts
    allocatable: Amounts
    usd_per_hour: float
    """Infinite where no price is known."""

    @property
    def order(self) -> tuple[Any, ...]:
        """The cheaper way of buying first, then the cheaper and the smaller type."""
        way = CAPACITY_TYPES.index(self.labels[CAPACITY_TYPE])
        return way, self.usd_per_hour, self.capacity["cpu"], self.labels[INSTANCE_TYPE], self.labels[ZONE]


@dataclass(frozen=True)
class Pool:
    """A NodePool that is ready, with what its node class offers."""

    name: str
    weight: int
    labels: Mapping[str, str]
    taints: Sequence[Mapping[str, Any]]
    limits: Amounts
    in_use: Amounts
    """Capacity of the nodes it has."""
    offers: Sequence[Offer]
    nodes_by_zone: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Space:
    """Room on a node that comes: one that is starting, or one this plan launches."""

    labels: Mapping[str, str]
    taints: Sequence[Mapping[str, Any]]
    free: Amounts


@dataclass(frozen=True)
class Launch:
    """A node to make."""

    pool: Pool
    offer: Offer
    requests: Amounts
    """What the pods it is made for ask for, so far as known."""

    @property
    def labels(self) -> dict[str, str]:
        """The labels the node will have."""
        return {**self.offer.labels, **self.pool.labels, NODE_POOL: self.pool.name}


@dataclass(frozen=True)
class Plan:
    """What to do about the pods that wait."""

    launches: tuple[Launch, ...]
    hopeless: Mapping[str, str]
    """Why a pod (by uid) gets no node."""


def pool_labels(template: Mapping[str, Any]) -> dict[str, str]:
    """The labels a NodePool's template gives its nodes: named ones, and custom requirements with one value to choose."""
    chosen = {
        each["key"]: sorted(each["values"])[0]
        for each in template["spec"]["requirements"]
        if each["operator"] == "In" and _is_custom(each["key"])
    }
    return chosen | (template.get("metadata", {}).get("labels") or {})


def acceptable(offers: Iterable[Offer], template: Mapping[str, Any]) -> tuple[Offer, ...]:
    """The offers that meet a NodePool's requirements, best first."""
    named = pool_labels(template)
    requirements = template["spec"]["requirements"]
    return tuple(
        sorted(
            (offer for offer in offers if all(satisfies({**offer.labels, **named}, each) for each in requirements)),
            key=lambda offer: offer.order,
        )
    )


def plan(
    pods: Iterable[Mapping[str, Any]],
    pools: Iterable[Pool],
    starting: Iterable[Space],
    daemons: Sequence[Mapping[str, Any]] = (),
) -> Plan:
    """Nodes for `pods` that fit on none that is `starting` or planned for another one.

    `daemons` are the specs of pods that DaemonSets put on every node they fit.
    """
    spaces, launches, hopeless = list(starting), dict[int, Launch](), dict[str, str]()
    current = sorted(pools, key=lambda pool: (-pool.weight, pool.name))
    for pod in sorted(pods, key=_largest_first):
        wanted = requested(pod["spec"])
        place = next((number for number, space in enumerate(spaces) if _has_room(pod["spec"], wanted, space)), None)
        if place is None:
            reasons = []
            for number, pool in enumerate(current):
                chosen = _choose(pod["spec"], wanted, pool, daemons)
                if isinstance(chosen, str):
                    reasons.append(f"NodePool {pool.name}: {chosen}")
                    continue
                place, launch = len(spaces), Launch(pool, chosen, {})
                launches[place] = launch
                spaces.append(Space(launch.labels, pool.taints, _free(chosen, launch.labels, pool.taints, daemons)))
                counted = Counter(pool.nodes_by_zone) + Counter([chosen.labels[ZONE]])
                current[number] = replace(pool, in_use=total([pool.in_use, chosen.capacity]), nodes_by_zone=counted)
                break
            else:
                hopeless[pod["metadata"]["uid"]] = "; ".join(reasons) or "there is no NodePool that is ready"
                continue
        spaces[place] = replace(spaces[place], free=less(spaces[place].free, wanted))
        if place in launches:
            launches[place] = replace(launches[place], requests=total([launches[place].requests, wanted]))
    return Plan(tuple(launches.values()), hopeless)


def daemons_on(daemons: Iterable[Mapping[str, Any]], labels: Mapping[str, str], taints: Sequence[Mapping[str, Any]]) -> Amounts:
    """What the pods of DaemonSets take of a node."""
    return total([requested(spec) for spec in daemons if selects(spec, labels) and tolerates(spec, taints)])


def removable(empty_for_s: Mapping[str, float], disruption: Mapping[str, Any], count: int, leaving: int) -> list[str]:
    """The empty nodes of a NodePool that go now, the longest empty first.

    `empty_for_s` says for how long each empty one has been so; the pool has `count` nodes, of which `leaving` go already.
    """
    after = seconds(disruption["consolidateAfter"])
    due = sorted((name for name, empty in empty_for_s.items() if empty >= after), key=lambda name: (-empty_for_s[name], name))
    return due[: max(0, _budget(disruption, count) - leaving)]


def seconds(text: str) -> float:
    """A duration as Karpenter writes it (`1h30m`); infinite for `Never`."""
    if text == "Never":
        return math.inf
    return float(sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smh])", text)))


def _budget(disruption: Mapping[str, Any], count: int) -> int:
    """How many of `count` nodes may be disrupted for being empty; budgets with a schedule are taken for inactive."""
    allowed = [
        math.ceil(count * int(budget["nodes"][:-1]) / 100) if budget["nodes"].endswith("%") else int(budget["nodes"])
        for budget in disruption.get("budgets") or [{"nodes": "10%"}]
        if "schedule" not in budget and "Empty" in (budget.get("reasons") or ["Empty"])
    ]
    return min(allowed, default=count)


def _choose(pod: Mapping[str, Any], wanted: Amounts, pool: Pool, daemons: Sequence[Mapping[str, Any]]) -> Offer | str:
    """The best offer of a pool for a pod, or why there is none."""
    if not tolerates(pod, pool.taints):
        return "its taints are not tolerated"
    selected = [offer for offer in pool.offers if selects(pod, _labels_of(pool, offer))]
    if not selected:
        return "no instance type it allows has the labels asked for"
    large = [offer for offer in selected if fits(wanted, _free(offer, _labels_of(pool, offer), pool.taints, daemons))]
    if not large:
        return "no instance type it allows is large enough"
    within = [offer for offer in large if _is_within(pool, offer)]
    if not within:
        return "its limits are reached"
    return min(within, key=lambda offer: (*offer.order[:-1], pool.nodes_by_zone.get(offer.labels[ZONE], 0), offer.labels[ZONE]))


def _labels_of(pool: Pool, offer: Offer) -> dict[str, str]:
    return Launch(pool, offer, {}).labels


def _is_within(pool: Pool, offer: Offer) -> bool:
    used = total([pool.in_use, offer.capacity])
    return all(used.get(name, Decimal(0)) <= limit for name, limit in pool.limits.items())


def _has_room(pod: Mapping[str, Any], wanted: Amounts, space: Space) -> bool:
    return tolerates(pod, space.taints) and selects(pod, space.labels) and fits(wanted, space.free)


def _free(
    offer: Offer, labels: Mapping[str, str], taints: Sequence[Mapping[str, Any]], daemons: Sequence[Mapping[str, Any]]
) -> Amounts:
    return less(offer.allocatable, daemons_on(daemons, labels, taints))


def _largest_first(pod: Mapping[str, Any]) -> tuple[Any, ...]:
    wanted = requested(pod["spec"])
    return -wanted.get("cpu", Decimal(0)), -wanted.get("memory", Decimal(0)), pod["metadata"]["uid"]


def _is_custom(key: str) -> bool:
    domain = key.rpartition("/")[0]
    return not domain.endswith(("kubernetes.io", "karpenter.sh", "karpenter.k8s.aws", "k8s.aws"))


def amounts(texts: Mapping[str, Any]) -> dict[str, Decimal]:
    """Quantities of an object as numbers."""
    return {name: quantity(str(text)) for name, text in texts.items()}
