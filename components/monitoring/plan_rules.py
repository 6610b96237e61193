"""Rules that set what runs against what was planned: replicas, nodes, money. Pure."""

import re
from collections.abc import Sequence

from .engines import escaped, named
from .facts import ModelFacts, PoolFacts, StackFacts
from .rules import Rule, RuleGroup, merged, record

_MODEL = "namespace, model_name, tenant"
IDLE_RATIO = 0.05
"""An accelerator that computes less than this share of the time over a quarter of an hour does nothing (our choice): an engine
without requests stays near 0, and a monitoring agent that wakes it stays below."""
KEDA_PREFIX = "keda-hpa-"
"""What KEDA puts before the name of a ScaledObject for its autoscaler (kedacore/keda, controllers/keda/hpa.go, getHPAName)."""


def plan_group(facts: StackFacts) -> RuleGroup:
    """What was planned, as series that do not change; of routes, who is which version, so that nothing is written on pods."""
    rules: list[Rule] = []
    for model in facts.models:
        labels = {"namespace": model.namespace, "model_name": model.name, "tenant": model.tenant or ""}
        rules += [_constant(f"llm:{name}", value, {**labels, "pool": model.pool}) for name, value in _planned(model)]
        for slo, objective, seconds in _objectives(model):
            rules.append(_constant("llm:slo_objective", objective, {**labels, "slo": slo}))
            if seconds is not None:
                rules.append(_constant("llm:slo_threshold_seconds", seconds, {**labels, "slo": slo}))
    for pool in facts.pools:
        labels = {"pool": pool.name, "vendor": pool.vendor, "resource": pool.resource}
        rules.append(_constant("llm:pool_nodes_max", pool.max_nodes, labels))
        rules.append(_constant("llm:pool_accelerators_per_node", pool.per_node, labels))
        if pool.usd_per_node_hour is not None:
            rules.append(_constant("llm:pool_usd_per_node_hour", pool.usd_per_node_hour, labels))
    for route in facts.routes:
        for version, track in route.versions.items():
            labels = {"namespace": route.namespace, "model_name": version, "route": route.name, "track": track.value}
            rules.append(_constant("llm:version:info", 1, labels))
    return RuleGroup(family="plan", name="plan", rules=tuple(rules))


def _planned(model: ModelFacts) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = [
        ("planned_replicas_min", model.min_replicas),
        ("planned_replicas_max", model.max_replicas),
        ("planned_accelerators_per_replica", model.accelerators_per_replica),
        ("planned_nodes_per_replica", model.nodes_per_replica),
        ("planned_kv_cache_tokens", model.kv_cache_tokens),
        ("planned_max_num_seqs", model.max_num_seqs),
        ("planned_context_tokens", model.max_model_len),
        ("planned_start_seconds", model.start_seconds),
        ("planned_startup_budget_seconds", model.startup_budget_seconds),
    ]
    if model.usd_per_replica_hour is not None:
        found.append(("planned_usd_per_replica_hour", model.usd_per_replica_hour))
    return found


def _objectives(model: ModelFacts) -> list[tuple[str, float, float | None]]:
    """Objectives by name: the share, and the seconds it is about."""
    timed = [
        ("first_token", model.slo.objective, model.slo.time_to_first_token_s),
        ("inter_token", model.slo.objective, model.slo.inter_token_latency_s),
    ]
    return [*(timed if model.generates else []), ("availability", model.slo.availability, None)]


def _constant(name: str, value: float, labels: dict[str, str]) -> Rule:
    return record(name, f"vector({value})", labels)


def capacity_group(facts: StackFacts) -> RuleGroup:
    """Which pod is of which model and which node of which pool, as kube-state-metrics sees the cluster, and what is left idle."""
    rules: list[Rule] = []
    for namespace in sorted({model.namespace for model in facts.models}):
        here = [model for model in facts.models if model.namespace == namespace]
        rules.append(record("llm:model_pod", _pods(namespace, here), {"tenant": here[0].tenant or ""}))
        if scaled(here):
            rules.append(record("llm:replicas_desired", _desired(namespace, here), {"tenant": here[0].tenant or ""}))
    rules += [record("llm:node_pool", _nodes(pool), {"pool": pool.name}) for pool in facts.pools]
    planned = f"max by ({_MODEL}) (llm:planned_replicas_min)"
    rules += [
        record("llm:replicas_ready", f"count by ({_MODEL}) (llm:requests_running) or 0 * {planned}"),
        record("llm:replicas_wanted", f"llm:replicas_desired or {planned}" if scaled(facts.models) else planned),
        record(
            "llm:pod_start_seconds",
            "(kube_pod_status_ready_time - kube_pod_created) * on (namespace, pod) group_left (model_name, tenant) llm:model_pod",
        ),
    ]
    if facts.pools:
        rules += [
            record("llm:pool_nodes", "count by (pool) (llm:node_pool) or 0 * max by (pool) (llm:pool_nodes_max)"),
            *(_requested(facts.pools)),
            record("llm:pool_idle_accelerators", _idle()),
        ]
        if any(pool.usd_per_node_hour is not None for pool in facts.pools):
            price = "max by (pool) (llm:pool_usd_per_node_hour / llm:pool_accelerators_per_node)"
            rules.append(record("llm:pool_idle_usd_per_hour", f"llm:pool_idle_accelerators * on (pool) {price}"))
    return RuleGroup(family="capacity", name="capacity", rules=merged(rules))


def scaled(models: Sequence[ModelFacts]) -> list[ModelFacts]:
    """Those of which there may be more servers, or fewer, by what they are asked for."""
    return [model for model in models if model.max_replicas > model.min_replicas]


def label_of(key: str) -> str:
    """The name that kube-state-metrics gives a Kubernetes label: no sign but letters and digits, and camelCase becomes
    snake_case (kubernetes/kube-state-metrics, internal/store/utils.go, mapToPrometheusLabels)."""
    plain = re.sub(r"[^a-zA-Z0-9_]", "_", key)
    snake = re.sub("([a-z0-9])([A-Z])", r"\1_\2", plain).lower()
    return f"label_{snake}"


def _pods(namespace: str, models: Sequence[ModelFacts]) -> str:
    app, instance = label_of("app.kubernetes.io/name"), label_of("app.kubernetes.io/instance")
    programs, names = named(app, {model.engine.value for model in models}), named(instance, (model.name for model in models))
    chosen = f'namespace="{namespace}", {programs}, {names}'
    return (
        f"max by (namespace, pod, model_name) "
        f'(label_replace(kube_pod_labels{{{chosen}}}, "model_name", "$1", "{instance}", "(.+)"))'
    )


def _desired(namespace: str, models: Sequence[ModelFacts]) -> str:
    """What scalers ask for; each has its model's name, KEDA's after a prefix."""
    names = "|".join(sorted(escaped(model.name) for model in scaled(models)))
    matching = f'namespace="{namespace}", horizontalpodautoscaler=~"({KEDA_PREFIX})?({names})"'
    wanted = f"kube_horizontalpodautoscaler_status_desired_replicas{{{matching}}}"
    model = f'label_replace({wanted}, "model_name", "$1", "horizontalpodautoscaler", "(?:{KEDA_PREFIX})?(.+)")'
    return f"max by (namespace, model_name) ({model})"


def _nodes(pool: PoolFacts) -> str:
    chosen = ", ".join(f'{label_of(key)}="{value}"' for key, value in pool.labels)
    return f"max by (node) (kube_node_labels{{{chosen}}})"


def _requested(pools: Sequence[PoolFacts]) -> list[Rule]:
    """Accelerators that pods on a pool's nodes asked for."""
    resources = named("resource", {resource_of(pool.resource) for pool in pools})
    asked = f'kube_pod_container_resource_requests{{{resources}, node!=""}}'
    alive = 'on (namespace, pod) kube_pod_status_phase{phase=~"Pending|Running"} == 1'
    summed = f"sum by (node) ({asked} and {alive}) * on (node) group_left (pool) llm:node_pool"
    return [record("llm:pool_accelerators_requested", f"sum by (pool) ({summed}) or 0 * llm:pool_nodes")]


def resource_of(resource: str) -> str:
    """The value of the label `resource` for an extended resource, e.g. nvidia_com_gpu for nvidia.com/gpu
    (kubernetes/kube-state-metrics, internal/store/utils.go, SanitizeLabelName)."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", resource)


def _idle() -> str:
    # A card's series ends when a pod begins to use it: the last value of each of its series counts, whatever its other labels.
    calm = f"max by (node, accelerator) (max_over_time(accelerator:utilization:ratio[15m])) < {IDLE_RATIO}"
    return f"count by (pool) (({calm}) * on (node) group_left (pool) llm:node_pool) or 0 * llm:pool_nodes"


def cost_group(facts: StackFacts) -> RuleGroup:
    """What models and teams cost and get: the price of the replicas that answer, at the plan's price."""
    tokens = {"prompt": "llm:prompt_tokens:rate5m", "generation": "llm:generation_tokens:rate5m"}
    rules = [record("llm:tenant_tokens:rate5m", f"sum by (tenant) ({series})", {"kind": kind}) for kind, series in tokens.items()]
    if any(model.usd_per_replica_hour is not None for model in facts.models):
        price = f"max by ({_MODEL}) (llm:planned_usd_per_replica_hour)"
        hourly = " + ".join(f"avg_over_time({series}[1h])" for series in tokens.values())
        rules += [
            record("llm:cost_usd_per_hour", f"llm:replicas_ready * on ({_MODEL}) {price}"),
            record("llm:tenant_cost_usd_per_hour", "sum by (tenant) (llm:cost_usd_per_hour)"),
            record("llm:usd_per_million_tokens", f"1e6 * avg_over_time(llm:cost_usd_per_hour[1h]) / (3600 * ({hourly}) > 0)"),
        ]
    return RuleGroup(family="plan", name="cost", rules=tuple(rules))
