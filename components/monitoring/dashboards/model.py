"""One model: is it fast, what slows it, and what fails."""

from collections.abc import Sequence

from ..facts import StackFacts
from .board import Board, Choice, Row, Uid
from .choices import burn
from .model_load import NO_TEXT, ONE, QUIET, SILENT, failures, load, queue
from .panels import (
    ANY_IS_BAD,
    AT_LEAST_ONE,
    Column,
    Graph,
    Heat,
    Number,
    Panel,
    Query,
    Table,
    Unit,
    bad_above,
    rows_high,
)

NAMESPACE = Choice("namespace", "namespace", "Namespace", "llm:planned_replicas_min", one=True)
MODEL = Choice("model", "model_name", "Model", 'llm:planned_replicas_min{namespace="$namespace"}', one=True)


def board(facts: StackFacts) -> Board:
    """For the stack with these facts."""
    most = max((model.max_replicas for model in facts.models), default=1)
    rows = [_now(), _levels(), _latency(), load(), queue(), failures(), _adapters(), _versions(), _replicas(most)]
    why = f"One model of the stack {facts.stack}: speed against its service level, load, queue, KV cache, failures, replicas."
    return Board(Uid.MODEL, "Model", why, [NAMESPACE, MODEL], rows, 'namespace=~"$namespace|",model_name="$model"')


def _one(**labels: str) -> str:
    return ONE.replace("}", "".join(f',{name}="{value}"' for name, value in labels.items()) + "}")


def _now() -> Row:
    return Row(
        "Now",
        [
            Number(
                title="Replicas that answer",
                why="Replicas whose engine Prometheus reads.",
                expr=f"sum(llm:replicas_ready{ONE})",
                unit=Unit.COUNT,
                scale=AT_LEAST_ONE,
                empty="none",
                width=3,
            ),
            Number(
                title="Running",
                why="Requests that are computed now, in all replicas.",
                expr=f"sum(llm:model_requests_running:sum{ONE})",
                unit=Unit.COUNT,
                empty=SILENT,
                width=3,
            ),
            Number(
                title="Waiting",
                why="Requests in the queues of all replicas.",
                expr=f"sum(llm:model_requests_waiting:sum{ONE})",
                unit=Unit.COUNT,
                empty=SILENT,
                width=3,
            ),
            Number(
                title="First token / limit",
                why="Time to the first token that 99 of 100 requests keep to, as a share of what the service level allows.",
                expr=_of_limit("time_to_first_token_seconds", "first_token"),
                unit=Unit.SHARE,
                scale=bad_above(0.8, 1),
                decimals=0,
                empty=QUIET,
                width=3,
            ),
            Number(
                title="Between tokens / limit",
                why="Time between two tokens that 99 of 100 keep to, as a share of what the service level allows.",
                expr=_of_limit("inter_token_latency_seconds", "inter_token"),
                unit=Unit.SHARE,
                scale=bad_above(0.8, 1),
                decimals=0,
                empty=NO_TEXT,
                width=3,
            ),
            Number(
                title="Failed",
                why="Share of the requests of the last 5 minutes that ended with an error of the server.",
                expr=f"sum(llm:errors:rate5m{ONE}) / (sum(llm:requests:rate5m{ONE}) > 0)",
                unit=Unit.SHARE,
                scale=ANY_IS_BAD,
                decimals=2,
                empty=QUIET,
                width=3,
            ),
            Number(
                title="Fullest KV cache",
                why="Used share of the KV cache of the replica that has least room.",
                expr=f"max(llm:model_kv_cache_usage:max{ONE})",
                unit=Unit.SHARE,
                scale=bad_above(0.8, 0.95),
                decimals=0,
                empty=SILENT,
                width=3,
            ),
            Number(
                title="Tokens made",
                why="Output tokens per second of all replicas.",
                expr=f"sum(llm:generation_tokens:rate5m{ONE})",
                unit=Unit.TOKENS_PER_SECOND,
                empty=NO_TEXT,
                width=3,
            ),
        ],
    )


def _of_limit(series: str, slo: str) -> str:
    return f"max(llm:{series}:p99_5m{ONE}) / max(llm:slo_threshold_seconds{_one(slo=slo)})"


def _levels() -> Row:
    def level(title: str, objective: str, what: str) -> Panel:
        return Graph(
            title=title,
            why=f"How many times faster than allowed the error budget goes, over an hour and over six. A bad event is {what}."
            " At 1 the budget is used up exactly at the end of its period.",
            queries=[Query(burn(objective, window, ONE), f"over {window}") for window in ("1h", "6h")],
            limit=Query("vector(1)", "allowed"),
            unit=Unit.TIMES,
            empty="no requests in six hours",
        )

    return Row(
        "Service levels",
        [
            level("Budget for first tokens", "first_token", "a first token later than its limit"),
            level("Budget between tokens", "inter_token", "a pause between two tokens longer than its limit"),
            level("Budget for failures", "availability", "a request that ends with an error of the server"),
        ],
    )


def _quantiles(series: str, quantiles: Sequence[str] = ("p50", "p95", "p99")) -> list[Query]:
    return [Query(f"max(llm:{series}:{quantile}_5m{ONE})", quantile) for quantile in quantiles]


def _latency() -> Row:
    return Row(
        "Latency",
        [
            Graph(
                title="Time to first token",
                why="From the arrival of a request to its first token, of all replicas together.",
                queries=_quantiles("time_to_first_token_seconds"),
                limit=Query(f"max(llm:slo_threshold_seconds{_one(slo='first_token')})", "limit"),
                unit=Unit.SECONDS,
                empty=QUIET,
                width=12,
            ),
            Graph(
                title="Time between tokens",
                why="From one output token to the next; what a reader sees as speed.",
                queries=_quantiles("inter_token_latency_seconds"),
                limit=Query(f"max(llm:slo_threshold_seconds{_one(slo='inter_token')})", "limit"),
                unit=Unit.SECONDS,
                empty=NO_TEXT,
                width=12,
            ),
            Graph(
                title="Whole request",
                why="From the arrival of a request to its last token. Long answers take long: compare with the tokens per"
                " answer.",
                queries=_quantiles("end_to_end_seconds"),
                unit=Unit.SECONDS,
                empty=QUIET,
                width=12,
            ),
            Graph(
                title="Time in the queue",
                why="From the arrival of a request until an engine starts with it. If this grows with the first token's time,"
                " more replicas help; if it stays near zero, they do not. The engine counts from 0.3 s on: 0.15 s stands"
                " for any less.",
                queries=_quantiles("queue_time_seconds"),
                unit=Unit.SECONDS,
                empty=QUIET,
                width=12,
            ),
            Heat(
                title="First tokens, spread",
                why="How many first tokens per second came in which time. Two bands: two kinds of requests, or some that wait.",
                expr=f"sum by (le) (llm:time_to_first_token_seconds_bucket:rate5m{ONE})",
                unit=Unit.SECONDS,
                empty=QUIET,
            ),
            Heat(
                title="Between tokens, spread",
                why="How many tokens per second came in which time after the one before.",
                expr=f"sum by (le) (llm:inter_token_latency_seconds_bucket:rate5m{ONE})",
                unit=Unit.SECONDS,
                empty=NO_TEXT,
            ),
        ],
    )


def _adapters() -> Row:
    used = f"max by (pod, adapter) (llm:lora_adapter_last_used_timestamp_seconds{ONE})"
    return Row(
        "Adapters",
        [
            Table(
                title="Adapters by replica",
                why="Each LoRA adapter that a replica has computed with, and how long ago. One that is asked for and missing"
                " here is not loaded on that replica.",
                by={"adapter": "Adapter", "pod": "Replica"},
                columns=[Column("Last used before", f"time() - {used}", Unit.SECONDS)],
                empty="no request has asked for an adapter",
                width=12,
                sort_by="Last used before",
            ),
            Graph(
                title="Replicas that compute with an adapter",
                why="How many replicas computed with each adapter within the last minute.",
                queries=[Query(f"sum by (adapter) (llm:lora_adapter_running{ONE})", "{{adapter}}")],
                empty="no request has asked for an adapter",
                width=12,
            ),
        ],
    )


def _versions() -> Row:
    """Every version of the routes that lead to the model, itself among them."""

    def lines(of_model: str) -> list[Query]:
        beside = f"(llm:version:info and on (namespace, route) llm:version:info{ONE})"
        return [
            Query(f"{beside} * on (namespace, model_name) group_left () ({of_model})", "{{route}}: {{model_name}} ({{track}})")
        ]

    everyone = "sum by (namespace, model_name)"
    why = "The model beside the other versions of its routes; one line where it has no other."
    return Row(
        "Versions of its routes",
        [
            Graph(
                title="Requests by version",
                why="Requests that ended per second. A step of a rollout changes the shares, and nothing else.",
                queries=lines(f"{everyone} (llm:requests:rate5m)"),
                unit=Unit.REQUESTS_PER_SECOND,
                empty=QUIET,
                stacked=True,
                width=12,
            ),
            Graph(
                title="Failed by version",
                why="Share of the requests of each version that ended with an error of the server.",
                queries=lines("llm:error:ratio5m"),
                unit=Unit.SHARE,
                empty=QUIET,
                width=12,
            ),
            Graph(
                title="First token p95 by version",
                why=why,
                queries=lines("llm:time_to_first_token_seconds:p95_5m"),
                unit=Unit.SECONDS,
                empty=QUIET,
            ),
            Graph(
                title="Between tokens p95 by version",
                why=why,
                queries=lines("llm:inter_token_latency_seconds:p95_5m"),
                unit=Unit.SECONDS,
                empty=NO_TEXT,
            ),
            Graph(
                title="Whole request p95 by version",
                why=why,
                queries=lines("llm:end_to_end_seconds:p95_5m"),
                unit=Unit.SECONDS,
                empty=QUIET,
            ),
        ],
    )


def _replicas(replicas: int) -> Row:
    panel = Table(
        title="Replicas",
        why="Each replica that Prometheus reads, and the node it is on.",
        by={"pod": "Replica", "node": "Node"},
        columns=[
            Column("Running", f"sum by (pod, node) (llm:requests_running{ONE})"),
            Column("Waiting", f"sum by (pod, node) (llm:requests_waiting{ONE})"),
            Column("KV cache", f"max by (pod, node) (llm:kv_cache_usage:ratio{ONE})", Unit.SHARE, 0, bad_above(0.8, 0.95)),
        ],
        empty=SILENT,
        height=rows_high(replicas),
        sort_by="KV cache",
    )
    return Row("Replicas", [panel])
