"""The figures of a plan for programs that compare them, as a report on a pull request does; `summary()` is for people."""

from typing import Any

from planner.stack import ModelPlan


def figures(plan: ModelPlan, revision: str) -> dict[str, Any]:
    """What a model takes, costs and how long it needs, as a stack output. `revision` is the commit of its files.

    `accelerators` are those of all replicas, and `usdPerMonth` is what they cost: the most, where an autoscaler decides; None
    where no price is known. Seconds are from a pod's creation until it answers: on a node that has to be made, and on one that
    has the image.
    """
    placed = plan.placement
    return {
        "model": f"{placed.model.name}@{revision}",
        "pool": placed.offer.name,
        "accelerator": placed.offer.device.name,
        "accelerators": placed.replicas * placed.accelerators,
        "replicas": placed.replicas,
        "leastReplicas": placed.replicas if plan.min_replicas is None else plan.min_replicas,
        "usdPerMonth": plan.cost.usd_per_month if plan.cost else None,
        "newNodeSeconds": round(plan.cold.total_s),
        "warmNodeSeconds": round(plan.cold.warm_s),
        "stopSeconds": plan.drain.grace,
    }
