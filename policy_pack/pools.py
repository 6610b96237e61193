"""The pools of nodes that a stack makes: EKS node groups and NodePools of Karpenter."""

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.accelerators.profiles import Vendor, profile, profile_of
from planner.catalog import UnknownInstanceTypeError, instance_type
from policy_pack.resources import Resource, Stack
from policy_pack.values import as_far_as_known, at

NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
NODE_POOL = "kubernetes:karpenter.sh/v1:NodePool"


@dataclass(frozen=True)
class Pool:
    """A pool, as far as pods see it."""

    resource: Resource
    accelerators: bool
    """Whether its nodes have any."""
    taints: tuple[Mapping[str, Any], ...]
    """With `key`, `value` and `effect` as Kubernetes has them."""


def pools(stack: Stack) -> list[Pool]:
    """The pools whose nodes are known."""
    return [pool for resource in stack.of(NODE_GROUP, NODE_POOL) for pool in as_far_as_known(_pool, resource)]


def _pool(resource: Resource) -> Iterator[Pool]:
    if resource.type == NODE_GROUP:
        types = at(resource.properties, "instanceTypes", default=[])
        taints = at(resource.properties, "taints", default=[])
        yield Pool(resource, any(map(_accelerated, types)), tuple(_like_kubernetes(taint) for taint in taints))
        return
    template = at(resource.properties, "spec", "template", "spec", default={})
    limits = at(resource.properties, "spec", "limits", default={})
    some = any(is_accelerator(name) for name in limits) or any(map(_accelerated, _types(template)))
    yield Pool(resource, some, tuple(at(template, "taints", default=[])))


def _types(template: Mapping[str, Any]) -> Iterator[str]:
    for requirement in at(template, "requirements", default=[]):
        if at(requirement, "key") == "node.kubernetes.io/instance-type" and at(requirement, "operator") == "In":
            yield from at(requirement, "values", default=[])


def _like_kubernetes(taint: Mapping[str, Any]) -> dict[str, Any]:
    """A taint as EKS writes it (NO_SCHEDULE), as Kubernetes does (NoSchedule)."""
    effect = "".join(word.title() for word in str(at(taint, "effect")).split("_"))
    return {"key": at(taint, "key"), "value": at(taint, "value", default=""), "effect": effect}


def _accelerated(name: str) -> bool:
    try:
        return instance_type(name).accelerator_count > 0
    except UnknownInstanceTypeError:
        return False


def is_accelerator(resource: str) -> bool:
    """Whether an extended resource is an accelerator of a known vendor."""
    return "/" in resource and profile_of(resource).vendor is not Vendor.CUSTOM


def keeps_others_away(key: str) -> bool:
    """Whether a taint with that key is one of nodes with accelerators."""
    keys = (profile(vendor).taint_key for vendor in Vendor)
    return any(known is not None and fnmatch.fnmatchcase(key, known) for known in keys)


def seconds(duration: str) -> float:
    """A duration of Kubernetes, e.g. `1h30m` or `720s`; `Never` is for ever."""
    if duration == "Never":
        return float("inf")
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)([hms])", duration))
