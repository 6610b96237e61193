"""Where what makes nodes offer accelerators runs: on every node of some pools, whatever their taints, and on no other. Pure."""

from collections.abc import Sequence
from typing import Any

from ..types import NodePool


def affinity(pools: Sequence[NodePool]) -> dict[str, Any]:
    """Affinity to the nodes of any of `pools`."""
    terms = [term for pool in pools for term in pool.node_affinity()["nodeSelectorTerms"]]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def tolerations(pools: Sequence[NodePool]) -> list[dict[str, Any]]:
    """Tolerations of every taint of any of `pools`, each once."""
    found: list[dict[str, Any]] = []
    for pool in pools:
        found += [each for each in pool.tolerations() if each not in found]
    return found


def runtime_class(pools: Sequence[NodePool]) -> str | None:
    """The RuntimeClass with which pods reach the accelerators of `pools`; ValueError when they differ in it."""
    first, *others = pools
    for other in others:
        if other.runtime_class_name != first.runtime_class_name:
            raise ValueError(
                f"pools {first.name} and {other.name} need different runtime classes ({first.runtime_class_name or 'none'}, "
                f"{other.runtime_class_name or 'none'}), and their nodes run the same pods; give both the same runtimeClassName"
            )
    return first.runtime_class_name
