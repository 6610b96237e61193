"""How all models do, and where to look first."""

from ..facts import StackFacts
from .board import Board, Row, Uid
from .choices import (
    CHOSEN,
    EACH,
    MODEL,
    NAMED,
    NAMESPACE,
    SERIES,
    TENANT,
    TO_MODEL,
    burn,
    by_version,
    limit,
)
from .panels import (
    ANY_IS_BAD,
    AT_LEAST_ONE,
    WIDTH,
    Colour,
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

_OBJECTIVES = {"first_token": "first token", "inter_token": "between tokens", "availability": "availability"}


def board(facts: StackFacts) -> Board:
    """For the stack with these facts."""
    rows = [_now(facts), _alerts(), _models(len(facts.models)), _routes(facts), _load(), _levels()]
    why = f"All models of the stack {facts.stack}: who serves, who is slow, who fails, and what fires."
    return Board(Uid.FLEET, "Fleet", why, [TENANT, NAMESPACE, MODEL], rows, 'namespace=~"$namespace|",model_name=~"$model|"')


def _now(facts: StackFacts) -> Row:
    allowed = round(min((1 - model.slo.availability for model in facts.models), default=0.001), 6)
    ended = f"sum(llm:requests:rate5m{CHOSEN})"
    return Row(
        "Now",
        [
            Number(
                title="Models that serve",
                why="Share of the planned models with at least one replica that answers.",
                expr=f"count(llm:replicas_ready{CHOSEN} > 0) / count(max by ({EACH}) (llm:planned_replicas_min{CHOSEN}))",
                unit=Unit.SHARE,
                scale=bad_below(0.5, 1),
                empty="no model serves",
                width=3,
            ),
            Number(
                title="Requests",
                why="Requests that ended per second, of all chosen models.",
                expr=ended,
                unit=Unit.REQUESTS_PER_SECOND,
                empty="none in 5 min",
                width=3,
            ),
            Number(
                title="Tokens made",
                why="Output tokens per second, of all chosen models.",
                expr=f"sum(llm:generation_tokens:rate5m{CHOSEN})",
                unit=Unit.TOKENS_PER_SECOND,
                empty="none in 5 min",
                width=3,
            ),
            Number(
                title="Waiting",
                why="Requests that wait for room in an engine.",
                expr=f"sum(llm:model_requests_waiting:sum{CHOSEN})",
                unit=Unit.COUNT,
                empty="no engine answers",
                width=3,
            ),
            Number(
                title="Failed",
                why="Share of the requests of the last 5 minutes that ended with an error of the server. Orange: more than the"
                " strictest service level allows; red: ten times as much.",
                expr=f"sum(llm:errors:rate5m{CHOSEN}) / ({ended} > 0)",
                unit=Unit.SHARE,
                scale=bad_above(allowed, 10 * allowed),
                empty="no requests",
                decimals=2,
                width=3,
            ),
            Number(
                title="Dollars per hour",
                why="Dollars per hour of the replicas that are ready, by the list prices of the stack's plan.",
                expr=f"sum(llm:cost_usd_per_hour{CHOSEN})",
                unit=Unit.DOLLARS,
                empty="no prices",
                decimals=2,
                width=3,
            ),
            Number(
                title="Alerts",
                why="Alerts that fire now, of the whole stack.",
                expr='count(ALERTS{alertstate="firing",alertname!="Watchdog"}) or vector(0)',
                unit=Unit.COUNT,
                scale=ANY_IS_BAD,
                empty="Prometheus is silent",
                width=3,
            ),
            Number(
                title="Silent targets",
                why="Targets of Prometheus whose last scrape failed, of the whole stack.",
                expr="count(up == 0) or vector(0)",
                unit=Unit.COUNT,
                scale=ANY_IS_BAD,
                empty="Prometheus is silent",
                width=3,
            ),
        ],
    )


def _models(count: int) -> Row:
    def sole(series: str, function: str = "sum") -> str:
        return f"{function} by ({EACH}) ({series}{CHOSEN})"

    slowness = f"{sole('llm:time_to_first_token_seconds:p99_5m', 'max')} / on ({EACH}) {limit('first_token')}"
    failed = f"{sole('llm:errors:rate5m')} / on ({EACH}) ({sole('llm:requests:rate5m')} > 0)"
    columns = [
        Column("Ready", sole("llm:replicas_ready"), scale=AT_LEAST_ONE),
        Column("At least", sole("llm:planned_replicas_min", "max")),
        Column("At most", sole("llm:planned_replicas_max", "max")),
        Column("Requests", sole("llm:requests:rate5m"), Unit.REQUESTS_PER_SECOND),
        Column("Waiting", sole("llm:model_requests_waiting:sum")),
        Column("Tokens made", sole("llm:generation_tokens:rate5m"), Unit.TOKENS_PER_SECOND),
        Column("KV cache, fullest", sole("llm:model_kv_cache_usage:max", "max"), Unit.SHARE, 0, bad_above(0.8, 0.95)),
        Column("First token p95", sole("llm:time_to_first_token_seconds:p95_5m", "max"), Unit.SECONDS),
        Column("p99 of its limit", slowness, Unit.SHARE, 0, bad_above(0.8, 1)),
        Column("Failed", failed, Unit.SHARE, 2, ANY_IS_BAD),
        Column("Dollars per hour", sole("llm:cost_usd_per_hour"), Unit.DOLLARS, 2),
    ]
    panel = Table(
        title="Models",
        why="One line for each model of the plan. An empty cell: nothing was measured in the last 5 minutes. 'p99 of its limit'"
        " is the slowest hundredth of first tokens as a share of what the model's service level allows. A click on the"
        " model leads to its dashboard.",
        by=NAMED,
        columns=columns,
        empty="no model in the plan, or its rules are not loaded",
        links=TO_MODEL,
        height=rows_high(count),
        sort_by="Requests",
    )
    return Row("Models", [panel])


def _routes(facts: StackFacts) -> Row:
    def sole(series: str, function: str = "sum") -> str:
        return by_version(f"{function} by (namespace, model_name) ({series}{CHOSEN})")

    requests = sole("llm:requests:rate5m")
    columns = [
        Column("Answering", sole("llm:replicas_ready"), scale=AT_LEAST_ONE),
        Column("Asked for", requests, Unit.REQUESTS_PER_SECOND),
        Column(
            "Of its route",
            f"{requests} / on (namespace, route) group_left () (sum by (namespace, route) ({requests}) > 0)",
            Unit.SHARE,
            0,
        ),
        Column("Errors", sole("llm:error:ratio5m", "max"), Unit.SHARE, 2, ANY_IS_BAD),
        Column("First token", sole("llm:time_to_first_token_seconds:p95_5m", "max"), Unit.SECONDS),
        Column("Between tokens", sole("llm:inter_token_latency_seconds:p95_5m", "max"), Unit.SECONDS),
        Column("Whole request", sole("llm:end_to_end_seconds:p95_5m", "max"), Unit.SECONDS),
    ]
    panel = Table(
        title="Versions of routes",
        why="One line for each model that a route leads to. A canary takes over from the stable ones: see whether it is as good."
        " Times are those that 95 of 100 keep to. A click on the model leads to its dashboard.",
        by={"route": "Route", "track": "Track", "model_name": "Model", "namespace": "Namespace"},
        columns=columns,
        empty="no route leads to a model",
        links=TO_MODEL,
        height=rows_high(sum(len(route.versions) for route in facts.routes)),
        sort_by="Route",
    )
    return Row("Routes", [panel])


def _load() -> Row:
    return Row(
        "Load",
        [
            Graph(
                title="Requests by model",
                why="Requests that ended per second; the areas add up to the fleet.",
                queries=[Query(f"sum by ({EACH}) (llm:requests:rate5m{CHOSEN})", SERIES)],
                unit=Unit.REQUESTS_PER_SECOND,
                empty="no requests ended",
                stacked=True,
                width=12,
            ),
            Graph(
                title="Output tokens by model",
                why="Tokens made per second; the areas add up to the fleet.",
                queries=[Query(f"sum by ({EACH}) (llm:generation_tokens:rate5m{CHOSEN})", SERIES)],
                unit=Unit.TOKENS_PER_SECOND,
                empty="no tokens made",
                stacked=True,
                width=12,
            ),
            Graph(
                title="Waiting requests by model",
                why="Requests in the engines' queues, of all replicas of a model.",
                queries=[Query(f"sum by ({EACH}) (llm:model_requests_waiting:sum{CHOSEN})", SERIES)],
                unit=Unit.COUNT,
                empty="no engine answers",
                width=12,
            ),
            Graph(
                title="KV cache of the fullest replica",
                why="Used share of the KV cache. The fullest replica, because the mean hides the one that preempts.",
                queries=[Query(f"max by ({EACH}) (llm:model_kv_cache_usage:max{CHOSEN})", SERIES)],
                unit=Unit.SHARE,
                empty="no engine answers",
                top=1,
                width=12,
            ),
        ],
    )


def _levels() -> Row:
    panels = [
        Graph(
            title=f"Error budget: {title}",
            why="How many times faster than allowed the budget of the objective went in the last hour. 1 uses it up exactly at"
            " the end of its period; above 14.4 it is gone in two days of thirty.",
            queries=[Query(burn(name, "1h"), SERIES)],
            limit=Query("vector(1)", "allowed"),
            unit=Unit.TIMES,
            empty="no requests in an hour",
        )
        for name, title in _OBJECTIVES.items()
    ]
    return Row("Service levels", panels)


def _alerts() -> Row:
    labels = "alertname, severity, namespace, model_name, tenant, node"
    return Row(
        "Alerts",
        [
            Table(
                title="Firing",
                why="Alerts that fire now, the oldest first. docs/runbooks has a page for each of them.",
                by={
                    "alertname": "Alert",
                    "severity": "Severity",
                    "namespace": "Namespace",
                    "model_name": "Model",
                    "tenant": "Tenant",
                    "node": "Node",
                },
                columns=[
                    Column(
                        "For",
                        f'max by ({labels}) (time() - ALERTS_FOR_STATE{{alertname!="Watchdog"}})'
                        f' and on ({labels}) ALERTS{{alertstate="firing"}}',
                        Unit.SECONDS,
                    )
                ],
                empty="nothing fires",
                width=14,
                height=6,
                sort_by="For",
            ),
            Graph(
                title="Firing over time",
                why="How many alerts fired, by severity.",
                queries=[Query('sum by (severity) (ALERTS{alertstate="firing",alertname!="Watchdog"})', "{{severity}}")],
                unit=Unit.COUNT,
                empty="nothing fired",
                stacked=True,
                colours={"critical": Colour.BAD, "warning": Colour.LOOK, "info": Colour.CALM},
                height=6,
                width=WIDTH - 14,
            ),
        ],
    )
