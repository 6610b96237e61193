"""Plan and reality: replicas, KV cache, time to start, pools of nodes."""

from collections.abc import Sequence

from grafana_foundation_sdk.models.dashboard import DataTransformerConfig

from ..facts import StackFacts
from .board import Board, Choice, Row, Uid
from .choices import CHOSEN, EACH, MODEL, NAMED, NAMESPACE, SERIES, TENANT, TO_MODEL
from .panels import (
    ANY_IS_BAD,
    Column,
    Graph,
    Number,
    Query,
    Table,
    Unit,
    bad_above,
    bad_below,
    rows_high,
)

POOL = Choice("pool", "pool", "Pool", "llm:pool_nodes_max")
POOLS = '{pool=~"$pool"}'

_NO_PLAN = "no model in the plan, or its rules are not loaded"
_NO_POOL = "no pool with accelerators, or kube-state-metrics does not answer"


def board(facts: StackFacts) -> Board:
    """For the stack with these facts."""
    rows = [_now(), _replicas(), _cache(), _start(), _pools(len(facts.pools))]
    why = f"What was planned for the stack {facts.stack}, and what is: replicas, KV cache, time to start, pools of nodes."
    alerts = 'alertname=~"ScalerAtMaximum|NodePoolAtLimit|ModelReplicasMissing|ModelColdStartOverBudget|AcceleratorsMissing"'
    return Board(Uid.CAPACITY, "Capacity", why, [TENANT, NAMESPACE, MODEL, POOL], rows, alerts, since="now-24h")


def _sum(series: str) -> str:
    return f"sum by ({EACH}) ({series}{CHOSEN})"


def _plan(series: str) -> str:
    return f"max by ({EACH}) (llm:planned_{series}{CHOSEN})"


_SCALED = f"({_plan('replicas_max')} > on ({EACH}) {_plan('replicas_min')})"
"""The most replicas of those models that an autoscaler drives."""


def _now() -> Row:
    return Row(
        "Now",
        [
            Number(
                title="Ready of wanted replicas",
                why="Replicas that answer, as a share of those that Kubernetes was asked for.",
                expr=f"sum(llm:replicas_ready{CHOSEN}) / (sum(llm:replicas_wanted{CHOSEN}) > 0)",
                unit=Unit.SHARE,
                scale=bad_below(0.5, 1),
                decimals=0,
                empty="none is wanted",
            ),
            Number(
                title="Models at their most",
                why="Models that an autoscaler drives and that already have as many replicas as they may.",
                expr=f"count({_sum('llm:replicas_wanted')} >= on ({EACH}) {_SCALED}) or vector(0)",
                unit=Unit.COUNT,
                scale=bad_above(1, 1e6),
                empty=_NO_PLAN,
            ),
            Number(
                title="Fullest KV cache",
                why="Used share of the KV cache of the fullest replica of all chosen models.",
                expr=f"max(llm:model_kv_cache_usage:max{CHOSEN})",
                unit=Unit.SHARE,
                scale=bad_above(0.8, 0.95),
                decimals=0,
                empty="no engine answers",
            ),
            Number(
                title="Fullest pool",
                why="Nodes of the pool that is nearest to its limit, as a share of that limit; always 100 % for machines of"
                " one's own.",
                expr=f"max(llm:pool_nodes{POOLS} / on (pool) group_left () max by (pool) (llm:pool_nodes_max{POOLS}))",
                unit=Unit.SHARE,
                decimals=0,
                empty=_NO_POOL,
            ),
            Number(
                title="Accelerators asked for",
                why="Accelerators that pods ask for, as a share of those that the nodes of now can give.",
                expr=f"sum(llm:pool_accelerators_requested{POOLS}) / (sum(accelerator:allocatable{POOLS}) > 0)",
                unit=Unit.SHARE,
                decimals=0,
                empty=_NO_POOL,
            ),
            Number(
                title="Accelerators missing",
                why="Accelerators that the nodes of now should offer and do not.",
                expr=f"sum(accelerator:missing{POOLS})",
                unit=Unit.COUNT,
                scale=ANY_IS_BAD,
                empty=_NO_POOL,
            ),
        ],
    )


def _replicas() -> Row:
    return Row(
        "Replicas",
        [
            Table(
                title="Replicas, planned and real",
                why="How many replicas the plan allows, how many are wanted now, and how many answer. 'At once' is how many"
                " requests the plan lets a replica compute together.",
                by=NAMED,
                columns=[
                    Column("At least", _plan("replicas_min")),
                    Column("Wanted", _sum("llm:replicas_wanted")),
                    Column("Ready", _sum("llm:replicas_ready")),
                    Column("At most", _plan("replicas_max")),
                    Column("Accelerators each", _plan("accelerators_per_replica")),
                    Column("At once", _plan("max_num_seqs")),
                    Column("Running", _sum("llm:model_requests_running:sum")),
                ],
                empty=_NO_PLAN,
                links=TO_MODEL,
                width=14,
            ),
            Graph(
                title="Wanted replicas, of the most",
                why="How far each model that an autoscaler drives is from its largest number of replicas.",
                queries=[Query(f"{_sum('llm:replicas_wanted')} / on ({EACH}) {_SCALED}", SERIES)],
                limit=Query("vector(1)", "at most"),
                unit=Unit.SHARE,
                empty="no model is scaled",
                width=10,
            ),
        ],
    )


def _cache() -> Row:
    by = "model_name, namespace, pod, num_gpu_blocks, block_size"
    real = Table(
        title="KV cache of each replica, planned and real",
        why="Tokens that the plan has room for in the KV cache of a replica, and what the engine made when it started: its blocks"
        " times the tokens of a block. Much below 100 %: the plan took the engine's own needs too lightly, and long requests will"
        " wait.",
        by={
            "model_name": "Model",
            "namespace": "Namespace",
            "pod": "Replica",
            "num_gpu_blocks": "Blocks",
            "block_size": "Tokens of a block",
        },
        columns=[
            Column(
                "Planned tokens",
                f"max by ({by}) (llm:cache_config{CHOSEN}) * on (namespace, model_name) group_left ()"
                f" max by (namespace, model_name) (llm:planned_kv_cache_tokens{CHOSEN})",
                Unit.TOKENS,
            ),
            Column("Real tokens", "", Unit.TOKENS),
            Column("Of the plan", "", Unit.SHARE, 0, bad_below(0.8, 0.95)),
        ],
        steps=_calculated(),
        empty="no engine answers",
        width=14,
    )
    used = Graph(
        title="KV tokens in use, by model",
        why="Planned tokens of the ready replicas times the mean used share of their caches.",
        queries=[
            Query(
                f"avg by ({EACH}) (llm:model_kv_cache_usage:avg{CHOSEN}) * on ({EACH}) {_plan('kv_cache_tokens')}"
                f" * on ({EACH}) {_sum('llm:replicas_ready')}",
                SERIES,
            )
        ],
        unit=Unit.TOKENS,
        empty="no engine answers",
        stacked=True,
        width=10,
    )
    return Row("KV cache", [real, used])


def _calculated() -> Sequence[DataTransformerConfig]:
    """Numbers from the engine's labels, which PromQL cannot calculate with."""
    numbers = ["Blocks", "Tokens of a block"]
    conversions = [{"targetField": name, "destinationType": "number"} for name in numbers]
    return [
        DataTransformerConfig("convertFieldType", options={"conversions": conversions, "fields": {}}),
        _binary("Real tokens", numbers[0], "*", numbers[1]),
        _binary("Of the plan", "Real tokens", "/", "Planned tokens"),
    ]


def _binary(alias: str, left: str, operator: str, right: str) -> DataTransformerConfig:
    sides = {side: {"matcher": {"id": "byName", "options": name}} for side, name in (("left", left), ("right", right))}
    return DataTransformerConfig(
        "calculateField", options={"mode": "binary", "alias": alias, "binary": {**sides, "operator": operator}}
    )


def _start() -> Row:
    slowest = f"max by ({EACH}) (llm:pod_start_seconds{CHOSEN})"
    return Row(
        "Time to start",
        [
            Table(
                title="Time to start, planned and real",
                why="From the creation of a pod until it answers, the slowest of those that are there, beside the predicted cold"
                " start and what the startup probe allows a container.",
                by=NAMED,
                columns=[
                    Column("Slowest", slowest, Unit.SECONDS),
                    Column("Planned", _plan("start_seconds"), Unit.SECONDS),
                    Column(
                        "Slowest of planned",
                        f"{slowest} / on ({EACH}) {_plan('start_seconds')}",
                        Unit.SHARE,
                        0,
                        bad_above(1, 1.5),
                    ),
                    Column("Probe allows", _plan("startup_budget_seconds"), Unit.SECONDS),
                ],
                empty=_NO_PLAN,
                links=TO_MODEL,
                width=14,
            ),
            Graph(
                title="Slowest start, of the planned",
                why="The slowest replica of each model beside its predicted cold start. A warm start, with the image and the"
                " files on the node, is far below.",
                queries=[Query(f"{slowest} / on ({EACH}) {_plan('start_seconds')}", SERIES)],
                limit=Query("vector(1)", "planned"),
                unit=Unit.TIMES,
                empty=_NO_PLAN,
                width=10,
            ),
        ],
    )


def _pools(count: int) -> Row:
    def each(series: str) -> str:
        return f"max by (pool) (llm:pool_{series}{POOLS})"

    there = f"sum by (pool) (accelerator:allocatable{POOLS})"
    asked = f"{each('accelerators_requested')} / on (pool) ({there} > 0)"

    return Row(
        "Pools of nodes",
        [
            Table(
                title="Pools",
                why="Nodes of each pool, the most it may have, and its accelerators. Idle ones are there and nobody asks for"
                " them.",
                by={"pool": "Pool"},
                columns=[
                    Column("Nodes", each("nodes")),
                    Column("At most", each("nodes_max")),
                    Column("Of the most", f"{each('nodes')} / on (pool) {each('nodes_max')}", Unit.SHARE, 0),
                    Column("Accelerators", there),
                    Column("Asked for", each("accelerators_requested")),
                    Column("Idle", each("idle_accelerators")),
                    Column("Dollars per node and hour", each("usd_per_node_hour"), Unit.DOLLARS, 2),
                ],
                empty=_NO_POOL,
                height=rows_high(count),
            ),
            Graph(
                title="Nodes, of the most",
                why="How far each pool is from its largest number of nodes.",
                queries=[Query(f"{each('nodes')} / on (pool) {each('nodes_max')}", "{{pool}}")],
                limit=Query("vector(1)", "at most"),
                unit=Unit.SHARE,
                empty=_NO_POOL,
                width=12,
            ),
            Graph(
                title="Accelerators asked for",
                why="Accelerators that pods ask for, as a share of those the pool's nodes can give. Above 100 %: pods wait for a"
                " node.",
                queries=[Query(asked, "{{pool}}")],
                limit=Query("vector(1)", "all"),
                unit=Unit.SHARE,
                empty=_NO_POOL,
                width=12,
            ),
        ],
    )
