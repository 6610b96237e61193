"""A search's result as one HTML page that needs nothing beside itself: memory bars, ranked plans, and what was rejected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from planner.capacity import Plan, Rejected, Result, Workload
from planner.cost import HOURS_PER_MONTH
from planner.explain import Row, explain
from planner.forecast import Forecast
from planner.memory import Terms
from planner.model import Model
from planner.profiles import tuned
from planner.tables import price_range, shares

FULL_PLANS = 25
"""Plans shown with everything known about them; the others follow as rows of a table."""

_NAMED, _ANYWHERE, _WIDE = 38.0, 19.0, 7.5
"""Percent of a bar from which a part has room for its name and size, for its size on a phone, and on a wide screen only."""

_GRAPHS, _OUTSIDE = "CUDA graphs", "outside"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A segment of a memory bar. Percentages are text: what the page says is what was rounded."""

    name: str
    css: str
    gib: str
    start: str
    middle: str
    width: str
    label: str
    """Text inside the segment; empty where there is no room."""
    wide_only: bool
    """Whether the label has room on a wide screen only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    """One accelerator's memory."""

    parts: tuple[_Part, ...]
    budget: str
    budget_at: str
    """Percent of the bar at which the budget ends."""
    budget_anchor: str
    """Side of the line on which its label has room, as SVG's `text-anchor` has it."""
    text: str
    """The bar in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact:
    """A number of a plan with its name."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A plan as the page shows it."""

    rank: int
    hardware: str
    accelerator: str
    accelerators: str
    sizes: str
    servers: str
    nodes: str
    tokens: str
    requests: str
    hourly: str | None
    """USD per hour; None without a price."""
    monthly: str | None
    facts: tuple[_Fact, ...]
    warnings: tuple[str, ...]
    bar: _Bar
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reason:
    """Why offers were rejected."""

    text: str
    hardware: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rejection:
    """What was rejected of one kind of accelerator."""

    accelerator: str
    reasons: tuple[_Reason, ...]


def page(
    title: str,
    workload: Workload,
    model: Model,
    result: Result,
    rows: Mapping[int, Sequence[Row]] | None = None,
    forecasts: Sequence[Forecast] = (),
) -> str:
    """The page for `result`, headed by `title`.

    `rows` are the derived numbers of a plan by its index in `result.plans`; those of `planner.explain` when left out. `forecasts`
    are what the plans mean in time and money, in the same order; none of it is shown when left out.
    """
    meant = [*forecasts, *[None] * (len(result.plans) - len(forecasts))]
    plans = [_plan(index, plan, _rows(index, plan, model, rows), meant[index]) for index, plan in enumerate(result.plans)]
    more = plans[FULL_PLANS:]
    return _template().render(
        title=title,
        inputs=_inputs(workload, model, result),
        warnings=model.architecture.warnings,
        summary=_summary(result),
        legend=_legend(),
        hours=HOURS_PER_MONTH,
        plans=plans[:FULL_PLANS],
        more=more,
        notes=tuple(dict.fromkeys(warning for plan in more for warning in plan.warnings)),
        rejected=_rejections(result.rejected),
        rejected_count=_count(len(result.rejected), "offer"),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def _rows(index: int, plan: Plan, model: Model, rows: Mapping[int, Sequence[Row]] | None) -> tuple[Row, ...]:
    if index >= FULL_PLANS:
        return ()
    if rows is None:
        return explain(model, plan.offer.device, plan.options, plan.fit)
    return tuple(rows.get(index, ()))


def _inputs(workload: Workload, model: Model, result: Result) -> tuple[_Fact, ...]:
    options = tuned(workload.options, workload.profile)
    stored = model.quantization
    number_format = f"{stored.method} ({stored.bits:.3g} bits)" if stored.method else f"{model.dtype_bits} bit"
    length = result.plans[0].fit.max_model_len if result.plans else options.max_model_len or model.architecture.max_positions
    facts = [
        _Fact(name="parameters", value=f"{model.architecture.parameters() / 1e9:,.2f} B"),
        _Fact(name="number format", value=number_format),
        _Fact(name="context", value=f"{length:,} tokens" if length else "the model's longest"),
        _Fact(name="concurrency", value=_count(workload.concurrency, "request")),
        _Fact(name="profile", value=workload.profile),
        _Fact(name="vLLM", value=options.vllm_version),
    ]
    if options.kv_cache_dtype != "auto":
        facts.append(_Fact(name="KV cache format", value=options.kv_cache_dtype))
    return tuple(facts)


def _summary(result: Result) -> str:
    if not result.plans:
        return "Nothing on offer can serve this; the reasons are below."
    best = result.plans[0]
    hourly, monthly = _price(best)
    price = f"{hourly} USD/h ({monthly} USD a month)" if hourly else "price not known"
    cards = f"{best.options.accelerators} x {best.offer.device.name}"
    return (
        f"{'Cheapest' if hourly else 'Smallest, as no price is known'}: {_count(best.replicas, 'server')} with {cards}"
        f"{' each' if best.replicas > 1 else ''}, on {_count(best.nodes, 'node')} {best.offer.name}, {price}. "
        f"Room for {_requests(best)} requests of {best.fit.max_model_len:,} tokens at once."
    )


def _plan(index: int, plan: Plan, rows: tuple[Row, ...], meant: Forecast | None) -> _Plan:
    hourly, monthly = _price(plan)
    card = plan.offer.device.name
    options, planned = plan.options, plan.fit
    sizes = f"{options.tensor_parallel_size} x {options.pipeline_parallel_size}"
    held = f"{planned.max_concurrency * plan.replicas:,.1f}"
    capped = planned.max_concurrency > planned.max_num_seqs
    there = plan.nodes * plan.offer.per_node
    tokens = f"{planned.kv_cache_tokens:,}"
    facts = [
        _Fact(name="TP x PP", value=sizes, note="with expert parallelism" if options.enable_expert_parallel else ""),
        _Fact(name="servers", value=f"{plan.replicas:,}"),
        _Fact(
            name="nodes", value=f"{plan.nodes:,}", note=f"{plan.nodes_per_server} a server" if plan.nodes_per_server > 1 else ""
        ),
        _Fact(name="accelerators", value=f"{plan.accelerators:,}", note=f"of {there:,}" if there > plan.accelerators else ""),
        _Fact(name="cache tokens", value=tokens, note="a server" if plan.replicas > 1 else ""),
        _Fact(name="requests at once", value=_requests(plan), note=f"the cache holds {held}" if capped else ""),
    ]
    if meant is not None:
        warm = f"{meant.cold.warm_s:,.0f} s on a warm node"
        facts += [
            _Fact(name="cold start", value=f"{meant.cold.total_s:,.0f} s", note=warm),
            _Fact(name="USD a million tokens", value=price_range(meant), note="of output, at half use"),
        ]
    return _Plan(
        rank=index + 1,
        hardware=plan.offer.name,
        accelerator=card,
        accelerators=f"{_count(plan.nodes, 'node')} with {plan.offer.per_node} x {card}",
        sizes=sizes,
        servers=f"{plan.replicas:,}",
        nodes=f"{plan.nodes:,}",
        tokens=tokens,
        requests=_requests(plan),
        hourly=hourly,
        monthly=monthly,
        facts=tuple(facts),
        warnings=plan.warnings,
        bar=_bar(card, planned.terms),
        rows=rows,
    )


def _price(plan: Plan) -> tuple[str, str] | tuple[None, None]:
    if plan.usd_per_hour is None:
        return None, None
    return f"{plan.usd_per_hour:,.2f}", f"{plan.usd_per_hour * HOURS_PER_MONTH:,.0f}"


def _requests(plan: Plan) -> str:
    """Requests of the longest context that all servers run at once: as many as the cache holds and the scheduler takes."""
    return f"{min(plan.fit.max_concurrency, plan.fit.max_num_seqs) * plan.replicas:,.1f}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bar(card: str, terms: Terms) -> _Bar:
    sizes = {name: size for name, size, _ in shares(terms)}
    if not terms.cuda_graphs_inside_budget:
        # Parts before the budget's end are those that count against it.
        sizes[_GRAPHS] = sizes.pop(_GRAPHS)
        sizes[_OUTSIDE] = sizes.pop(_OUTSIDE)
    whole = sum(sizes.values()) or 1.0
    parts = []
    so_far, start = 0.0, 0
    for name, size in sizes.items():
        so_far += size
        # Thousandths of a percent between rounded ends: the widths add up to the whole bar.
        end = round(so_far / whole * 100_000)
        parts.append(_part(name, size, start, end))
        start = end
    share = terms.budget_gib / whole
    inside = ", ".join(f"{part.name} {part.gib}" for part in parts)
    return _Bar(
        parts=tuple(parts),
        budget=f"{terms.budget_gib:.2f} GiB",
        budget_at=f"{share * 100:.3f}%",
        budget_anchor="end" if share > 0.5 else "start",
        text=f"{card}, {terms.total_gib:.2f} GiB, budget {terms.budget_gib:.2f} GiB: {inside}",
    )


def _part(name: str, size: float, start: int, end: int) -> _Part:
    percent = (end - start) / 1000
    gib = f"{size:.2f} GiB"
    named = f"{_shown(name)} {gib}"
    return _Part(
        name=_shown(name),
        css=_css(name),
        gib=gib,
        start=f"{start / 1000:.3f}%",
        middle=f"{(start + end) / 2000:.4f}%",
        width=f"{percent:.3f}%",
        label=named if percent >= _NAMED else gib if percent >= _WIDE else "",
        wide_only=percent < _ANYWHERE,
    )


def _shown(name: str) -> str:
    return "outside the budget" if name == _OUTSIDE else name


def _css(name: str) -> str:
    return name.lower().replace(" ", "-")


_MEANINGS = {
    "weights": "with adapters and a draft model, if any",
    "non-torch": "communication buffers and libraries",
    "activation": "peak of a forward pass and of sampling",
    _GRAPHS: "captured decode steps",
    "KV cache": "what is left of the budget: keys and values of running requests",
    _OUTSIDE: "left to the driver and as a reserve",
}


def _legend() -> tuple[tuple[str, str, str], ...]:
    """Class, name and meaning of each part."""
    return tuple((_css(name), _shown(name), meaning) for name, meaning in _MEANINGS.items())


def _rejections(rejected: Sequence[Rejected]) -> tuple[_Rejection, ...]:
    groups: dict[str, dict[str, list[str]]] = {}
    for found in rejected:
        groups.setdefault(found.offer.device.name, {}).setdefault(found.reason, []).append(found.offer.name)
    return tuple(
        _Rejection(accelerator=card, reasons=tuple(_Reason(text=text, hardware=tuple(names)) for text, names in reasons.items()))
        for card, reasons in groups.items()
    )
