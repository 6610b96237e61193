"""What the models cost, who uses them, and what nobody uses."""

from ..facts import StackFacts
from .board import Board, Row, Uid
from .choices import CHOSEN, EACH, MODEL, NAMED, NAMESPACE, SERIES, TENANT, TO_MODEL
from .panels import Column, Graph, Number, Query, Table, Unit, rows_high

_NO_PRICE = "no price is known, or nothing ran"
_QUIET = "no tokens in this time"
_TENANT = "{{tenant}}"
_NAMELESS = 'label_replace({}, "tenant", "(platform)", "tenant", "^$")'
"""The platform's own models have no tenant; a legend needs a word for that."""


def board(facts: StackFacts) -> Board:
    """For the stack with these facts."""
    unpriced = sorted(model.name for model in facts.models if model.usd_per_replica_hour is None)
    without = f"; none is known for {', '.join(unpriced)}" if unpriced else ""
    why = (
        "What the stack's models cost in dollars and make in tokens, per model and tenant. Prices are the list prices of the"
        f" stack's plan{without}. Sums over time leave out when Prometheus was away."
    )
    rows = [_range(), _models(len(facts.models)), _tenants(), _over_time(), _idle()]
    return Board(Uid.COST, "Cost", why, [TENANT, NAMESPACE, MODEL], rows, 'alertname=~".*Idle.*"', since="now-7d")


def dollars(series: str) -> str:
    """Dollars in the time range, from dollars per hour: a sample each 5 minutes, and none where nothing ran."""
    return f"sum_over_time({series}[$__range:5m]) / 12"


def tokens(series: str) -> str:
    """Tokens in the time range, from the rate of 5 minutes: one sample each 5 minutes covers all of it once."""
    return f"sum_over_time({series}[$__range:5m]) * 300"


_READ = f"llm:prompt_tokens:rate5m{CHOSEN}"
_MADE = f"llm:generation_tokens:rate5m{CHOSEN}"
_USD = f"llm:cost_usd_per_hour{CHOSEN}"


def _per_million(by: str = "") -> str:
    group, on = (f" by ({by})", f" on ({by})") if by else ("", "")
    both = f"(sum{group} ({tokens(_READ)}) +{on} sum{group} ({tokens(_MADE)}))"
    return f"1e6 * sum{group} ({dollars(_USD)}) /{on} ({both} > 0)"


def _range() -> Row:
    return Row(
        "In the time range",
        [
            Number(
                title="Cost",
                why="Dollars of all ready replicas of the chosen models in the time range.",
                expr=f"sum({dollars(_USD)})",
                unit=Unit.DOLLARS,
                decimals=2,
                empty=_NO_PRICE,
            ),
            Number(
                title="Cost per hour now",
                why="Dollars per hour of the replicas that are ready now.",
                expr=f"sum({_USD})",
                unit=Unit.DOLLARS,
                decimals=2,
                empty=_NO_PRICE,
            ),
            Number(
                title="A month at this rate",
                why="The cost per hour of now, times the 730 hours of a mean month.",
                expr=f"sum({_USD}) * 730",
                unit=Unit.DOLLARS,
                empty=_NO_PRICE,
            ),
            Number(
                title="Tokens read",
                why="Tokens of prompts in the time range.",
                expr=f"sum({tokens(_READ)})",
                unit=Unit.TOKENS,
                empty=_QUIET,
            ),
            Number(
                title="Tokens made",
                why="Tokens of answers in the time range.",
                expr=f"sum({tokens(_MADE)})",
                unit=Unit.TOKENS,
                empty=_QUIET,
            ),
            Number(
                title="Per million tokens",
                why="Dollars in the time range over the million tokens read and made in it: idle hours make it dearer.",
                expr=_per_million(),
                unit=Unit.DOLLARS,
                decimals=2,
                empty="no tokens, or no price",
            ),
        ],
    )


def _models(count: int) -> Row:
    panel = Table(
        title="By model, in the time range",
        why="Dollars and tokens of each model. 'Per million' is for tokens read and made together.",
        by=NAMED,
        columns=[
            Column("Dollars", f"sum by ({EACH}) ({dollars(_USD)})", Unit.DOLLARS, 2),
            Column("Tokens read", f"sum by ({EACH}) ({tokens(_READ)})", Unit.TOKENS),
            Column("Tokens made", f"sum by ({EACH}) ({tokens(_MADE)})", Unit.TOKENS),
            Column("Per million", _per_million(EACH), Unit.DOLLARS, 2),
            Column("Dollars per hour now", f"sum by ({EACH}) ({_USD})", Unit.DOLLARS, 2),
        ],
        empty="no price is known, and there were no tokens",
        links=TO_MODEL,
        height=rows_high(count),
        sort_by="Dollars",
    )
    return Row("By model", [panel])


def _tenants() -> Row:
    def each(expr: str) -> str:
        return _NAMELESS.format(f"sum by (tenant) ({expr})")

    return Row(
        "By tenant",
        [
            Table(
                title="By tenant, in the time range",
                why="Dollars and tokens of all models of a tenant. (platform) is what belongs to no tenant.",
                by={"tenant": "Tenant"},
                columns=[
                    Column("Dollars", each(dollars(_USD)), Unit.DOLLARS, 2),
                    Column("Tokens read", each(tokens(_READ)), Unit.TOKENS),
                    Column("Tokens made", each(tokens(_MADE)), Unit.TOKENS),
                    Column("Per million", _NAMELESS.format(_per_million("tenant")), Unit.DOLLARS, 2),
                ],
                empty="no price is known, and there were no tokens",
                width=12,
                sort_by="Dollars",
            ),
            Graph(
                title="Dollars per hour by tenant",
                why="Cost of the ready replicas; the areas add up to all.",
                queries=[Query(each(_USD), _TENANT)],
                unit=Unit.DOLLARS,
                empty=_NO_PRICE,
                stacked=True,
                width=12,
            ),
        ],
    )


def _over_time() -> Row:
    return Row(
        "Over time",
        [
            Graph(
                title="Dollars per hour by model",
                why="Cost of the ready replicas; the areas add up to all.",
                queries=[Query(f"sum by ({EACH}) ({_USD})", SERIES)],
                unit=Unit.DOLLARS,
                empty=_NO_PRICE,
                stacked=True,
            ),
            Graph(
                title="Tokens by model",
                why="Tokens per second, read and made; the areas add up to all.",
                queries=[Query(f"sum by ({EACH}) ({_READ}) + on ({EACH}) sum by ({EACH}) ({_MADE})", SERIES)],
                unit=Unit.TOKENS_PER_SECOND,
                empty=_QUIET,
                stacked=True,
            ),
            Graph(
                title="Dollars per million tokens",
                why="What a million tokens, read and made, cost in the hour before. It rises when replicas wait for work.",
                queries=[Query(f"max by ({EACH}) (llm:usd_per_million_tokens{CHOSEN})", SERIES)],
                unit=Unit.DOLLARS,
                empty="no tokens in an hour, or no price",
            ),
        ],
    )


def _idle() -> Row:
    return Row(
        "Paid for and idle",
        [
            Number(
                title="Idle now",
                why="Dollars per hour of accelerators that are there and that no pod asks for, in all pools.",
                expr="sum(llm:pool_idle_usd_per_hour)",
                unit=Unit.DOLLARS,
                decimals=2,
                empty="no price is known, or no pool has a node",
                width=6,
                height=8,
            ),
            Graph(
                title="Idle dollars per hour by pool",
                why="Accelerators that are there and that no pod asks for, by the pool's price; the areas add up to all.",
                queries=[Query("sum by (pool) (llm:pool_idle_usd_per_hour)", "{{pool}}")],
                unit=Unit.DOLLARS,
                empty="no price is known, or no pool has a node",
                stacked=True,
                width=9,
            ),
            Graph(
                title="Dollars per hour that computed nothing",
                why="Cost of a model's replicas times the share of time in which their accelerators did nothing: held, but idle.",
                queries=[
                    Query(
                        f"sum by ({EACH}) ({_USD}) * on (namespace, model_name) group_left ()"
                        " (1 - avg by (namespace, model_name) (accelerator:utilization:ratio))",
                        SERIES,
                    )
                ],
                unit=Unit.DOLLARS,
                empty="no price is known, or no exporter answers",
                stacked=True,
                width=9,
            ),
        ],
    )
