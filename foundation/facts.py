"""What monitoring has to know of a stack, from its settings and its plan."""

from components.accelerators.profiles import profile_of
from components.monitoring.facts import ModelFacts, PoolFacts, RouteFacts, StackFacts
from components.serving.groups import MultiNode, Task
from components.types import NodePool
from foundation.foundation import Foundation
from planner.stack import ModelPlan, StackPlan
from settings.cache import CacheKind
from settings.sections import Settings
from settings.tenants import team_of

_MEASURED = (CacheKind.BLOCK, CacheKind.NFS, CacheKind.LUSTRE)
"""Caches of which the kubelet knows how full they are. EFS and buckets have no end; a directory is part of its node's disk."""


def facts(config: Settings, plan: StackPlan, below: Foundation, stack: str) -> StackFacts:
    """The facts of a stack."""
    unseen = unseen_models(config, plan)
    return StackFacts(
        stack=stack,
        models=[_model(name, config, plan.models[name]) for name in config.models if name not in unseen],
        pools=[_pool(pool, config, plan) for pool in below.cluster.node_pools if pool.accelerator],
        routes=[
            RouteFacts(name=r.name, namespace=r.namespace, versions={version: r.track(version) for version in r.versions})
            for r in config.routes.values()
        ],
        prompts_logged=any(model.log_prompts for model in config.models.values()),
    )


def unseen_models(config: Settings, plan: StackPlan) -> list[str]:
    """Models whose engines nothing is known of: Ray Serve has no page of vLLM's, and Ray's own has other names, on another port
    (docs.ray.io, Ray Serve LLM, observability)."""
    kept = {name: model.kept_by(plan.models[name].placement.nodes) for name, model in config.models.items()}
    return [name for name, by in kept.items() if by is MultiNode.RAY_SERVICE]


def _model(name: str, config: Settings, planned: ModelPlan) -> ModelFacts:
    model, placed = config.models[name], planned.placement
    namespace = config.namespace_of(name)
    return ModelFacts(
        name=name,
        namespace=namespace,
        tenant=team_of(config.tenants, namespace),
        engine=model.engine.kind,
        engine_version=model.engine.version,
        pool=model.node_pool,
        generates=model.task is Task.GENERATE,
        min_replicas=model.least_replicas,
        max_replicas=model.most_replicas,
        accelerators_per_replica=placed.accelerators,
        nodes_per_replica=placed.nodes,
        usd_per_replica_hour=_usd_per_replica_hour(planned),
        kv_cache_tokens=placed.fit.kv_cache_tokens,
        max_num_seqs=placed.fit.max_num_seqs,
        max_model_len=placed.fit.max_model_len,
        start_seconds=round(planned.cold.total_s),
        startup_budget_seconds=planned.startup_seconds,
        cache_claim=f"{name}-claim" if model.cache.kind in _MEASURED else None,
        adapters=tuple(model.lora.adapters) if model.lora else (),
        slo=model.slo.slo(model.profile),
    )


def _usd_per_replica_hour(planned: ModelPlan) -> float | None:
    cost = planned.cost
    return cost.usd_per_hour / cost.replicas if cost and cost.usd_per_hour is not None else None


def _pool(pool: NodePool, config: Settings, plan: StackPlan) -> PoolFacts:
    card = pool.accelerator
    assert card is not None  # noqa: S101
    costs = [planned.cost for name, planned in plan.models.items() if config.models[name].node_pool == pool.name]
    prices = [cost.usd_per_hour / cost.instances for cost in costs if cost and cost.usd_per_hour is not None and cost.instances]
    return PoolFacts(
        name=pool.name,
        vendor=profile_of(card.resource).vendor.value,
        resource=card.offered,
        per_node=card.units,
        max_nodes=pool.max_nodes,
        labels=tuple(sorted(pool.labels.items())),
        usd_per_node_hour=prices[0] if prices else None,
        spot=pool.interruptible,
    )
