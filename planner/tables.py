"""Plans for people: tables and memory bars for a terminal."""

from collections.abc import Iterable, Iterator, Sequence

from rich.table import Table
from rich.text import Text

from planner.capacity import Plan
from planner.explain import Row
from planner.forecast import Forecast
from planner.memory import Terms
from planner.stack import StackPlan

PARTS = (
    ("weights", "weights_gib", "blue"),
    ("non-torch", "non_torch_gib", "magenta"),
    ("activation", "activation_gib", "yellow"),
    ("CUDA graphs", "cuda_graph_gib", "cyan"),
    ("KV cache", "kv_cache_gib", "green"),
)
"""Parts of an accelerator's memory in the order of the bar, with the colour of each."""


def shares(terms: Terms) -> list[tuple[str, float, str]]:
    """Name, GiB and colour of each part of the memory, with what stays free outside the budget last; together the total."""
    parts = [(name, max(getattr(terms, field), 0.0), colour) for name, field, colour in PARTS]
    free = max(terms.total_gib - sum(size for _, size, _ in parts), 0.0)
    return [*parts, ("outside", free, "bright_black")]


def bar(terms: Terms, width: int = 40) -> Text:
    """One accelerator's memory as a bar of `width` cells."""
    parts = shares(terms)
    whole = max(sum(size for _, size, _ in parts), terms.total_gib) or 1.0
    text = Text()
    filled = 0
    so_far = 0.0
    for _, size, colour in parts:
        so_far += size
        end = round(so_far / whole * width)
        text.append("█" * (end - filled), style=colour)
        filled = end
    return text


def legend() -> Text:
    """What the colours of a bar mean."""
    text = Text()
    for name, _, colour in (*PARTS, ("outside the budget", "", "bright_black")):
        text.append("█ ", style=colour)
        text.append(f"{name}  ")
    return text


def plans_table(plans: Sequence[Plan], forecasts: Sequence[Forecast]) -> Table:
    """Ranked plans with what they mean; `forecasts` holds as many or more, in the same order."""
    columns = ("servers", "nodes", "KV tokens", "requests", "start s", "USD/h", "USD/M tokens")
    table = Table("", "hardware", "TP x PP", *columns, "memory of one accelerator")
    for column in table.columns[3:-1]:
        column.justify = "right"
    for rank, (plan, meant) in enumerate(zip(plans, forecasts, strict=False), start=1):
        table.add_row(
            str(rank),
            plan.offer.name,
            f"{plan.options.tensor_parallel_size} x {plan.options.pipeline_parallel_size}",
            str(plan.replicas),
            str(plan.nodes),
            f"{plan.fit.kv_cache_tokens:,}",
            f"{min(plan.fit.max_concurrency, plan.fit.max_num_seqs) * plan.replicas:,.1f}",
            f"{meant.cold.total_s:.0f}",
            "?" if plan.usd_per_hour is None else f"{plan.usd_per_hour:,.2f}",
            price_range(meant),
            bar(plan.fit.terms, 30),
        )
    return table


def price_range(meant: Forecast) -> str:
    """USD per million output tokens from the optimistic to the pessimistic throughput, or a question mark."""
    found = meant.cost.usd_per_million_output_tokens if meant.cost else None
    return "?" if found is None else f"{found[0]:.2f}-{found[1]:.2f}"


def stack_sentences(plan: StackPlan) -> Iterator[str]:
    """What a stack's models cost together, and the accelerators left in its pools."""
    if plan.cost.costs:
        yield f"all models together: {plan.cost.usd_per_month:,.0f} USD a month"
    for cost in plan.cost.unpriced:
        yield "; ".join(cost.unknown)
    for pool, accelerators in plan.free.items():
        yield f"pool {pool}: {accelerators} accelerators free at its largest"


def explanation_table(title: str, rows: Iterable[Row]) -> Table:
    """Every derived number with formula and source."""
    table = Table("number", "value", "formula", "source", title=title, title_justify="left", show_lines=True)
    for row in rows:
        table.add_row(row.name, row.value, row.formula, row.source)
    return table
