"""How one version of a server follows another, and what may be taken away meanwhile. Pure functions."""

from collections.abc import Mapping
from typing import Any

from planner.drain import Drain, check_drain

from ..types import NodePool


def rollout(replicas: int, accelerators: int, spare_accelerators: int) -> dict[str, Any]:
    """Deployment strategy: the new replica first where the pool has room for it, else an old one must make room.

    A surge without room would wait for accelerators that the old replica holds, and the old one for the new.
    """
    if spare_accelerators >= accelerators:
        return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    if replicas > 1:
        return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    return {"type": "Recreate"}


def check_stop(drain: Drain, pool: NodePool) -> None:
    """Raise ValueError when a server would be killed before it has drained."""
    parts = (drain.pre_stop, drain.shutdown_timeout, drain.teardown, drain.grace)
    if problem := check_drain(*parts, spot=pool.interruptible):
        raise ValueError(f"drain: {problem}")


def disruption_budget(match: Mapping[str, str], pods: int, *, by_ray: bool = False) -> dict[str, Any]:
    """Spec of the PodDisruptionBudget: one pod at a time, and one that does not work never holds a node up.

    `maxUnavailable`, since `minAvailable: 1` of a single replica would keep its node from ever being drained. Of pods that Ray
    has, Kubernetes cannot tell how many there should be; there the others are counted. `pods` are those of all replicas.
    """
    most = {"minAvailable": pods - 1} if by_ray else {"maxUnavailable": 1}
    return {
        **most,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": dict(match)},
    }
