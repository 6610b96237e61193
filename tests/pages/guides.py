"""The tables of docs/choosing.md and docs/costs.md, which the planner fills."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from planner.capacity import Plan, Workload, offers, search
from planner.catalog.models import model as entry
from planner.cold_start import cold_start, storages
from planner.cost import HOURS_PER_MONTH
from planner.forecast import Forecast, Rented, forecast
from planner.model import Model, load
from planner.options import Options

CONTEXT, CONCURRENCY, REGION = 16_384, 16, "us-east-1"
MODELS = (
    "Qwen/Qwen2.5-7B-Instruct-AWQ",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-32B-FP8",
    "openai/gpt-oss-120b",
    "meta-llama/Llama-3.3-70B-Instruct",
    "deepseek-ai/DeepSeek-R1",
)

STORED = tuple(name for name in MODELS if name not in ("Qwen/Qwen3-32B-FP8", "deepseek-ai/DeepSeek-R1"))


def with_tables(page: str) -> str:
    """A page with its tables anew, each between `<!-- table: NAME -->` and `<!-- end -->`."""
    return re.sub(
        r"(?s)(<!-- table: (\w+) -->\n).*?(<!-- end -->)", lambda part: f"{part[1]}\n{TABLES[part[2]]()}\n{part[3]}", page
    )


def _options() -> Options:
    return Options(max_model_len=CONTEXT, language_model_only=True)


@cache
def _loaded(name: str) -> Model:
    return load(entry(name).config)


@cache
def _plans(name: str) -> Sequence[tuple[Plan, Forecast]]:
    """The cheapest plan of each accelerator, the cheapest first."""
    found = search(_loaded(name), Workload(concurrency=CONCURRENCY, options=_options()), offers((), REGION, {})).plans
    priced = [plan for plan in found if plan.usd_per_hour is not None]
    first = {plan.offer.device.name: plan for plan in reversed(priced)}
    return [(plan, _meant(name, plan)) for plan in priced if first[plan.offer.device.name] is plan]


def _meant(name: str, plan: Plan) -> Forecast:
    rented = Rented(instance_type=plan.offer.name, instances=plan.nodes, region=REGION, prices={})
    return forecast(
        name,
        _loaded(name),
        plan.offer.device,
        plan.options,
        plan.fit,
        replicas=plan.replicas,
        nodes_per_server=plan.nodes_per_server,
        rented=rented,
    )


def _million(meant: Forecast) -> str:
    found = meant.cost and meant.cost.usd_per_million_output_tokens
    return f"{found[0]:.2f} to {found[1]:.2f}" if found else ""


def _accelerators() -> Iterator[tuple[str, ...]]:
    yield "model", "accelerators", "instance type", "context at once", "USD/h", "USD a million output tokens"
    for name in MODELS:
        for index, (plan, meant) in enumerate(_plans(name)[:4]):
            cards = f"{plan.accelerators} x {plan.offer.device.name}"
            instances = f"{plan.nodes} x {plan.offer.name}" if plan.nodes > 1 else plan.offer.name
            room = f"{plan.fit.max_concurrency * plan.replicas:.0f} x {CONTEXT:,}"
            yield "" if index else name, cards, instances, room, f"{plan.usd_per_hour:.2f}", _million(meant)


def _caches() -> Iterator[tuple[str, ...]]:
    yield "backend", "MB/s of one node", "MB/s of all", *(f"{name.partition('/')[2]}: 1 server, 4 at once" for name in STORED)
    for storage in storages():
        shared = "" if storage.total_mb_per_s is None else f"{storage.total_mb_per_s:,.0f}"
        times = []
        for name in STORED:
            plan, _ = _plans(name)[0]
            options = replace(plan.options, max_model_len=CONTEXT)
            readers = (1,) if storage.exclusive else (1, 4)
            seconds = [cold_start(_loaded(name), options, storage=storage.name, readers=many).weights_s for many in readers]
            times.append(", ".join(f"{each:,.0f} s" for each in seconds))
        yield storage.title, f"{storage.read_mb_per_s:,.0f}", shared, *times


def _starts() -> Iterator[tuple[str, ...]]:
    yield "model", "accelerators", "node", "image", "weights", "engine", "in all", "on a warm node"
    for name in MODELS:
        plan, meant = _plans(name)[0]
        cold = meant.cold
        rest = cold.total_s - cold.node_s - cold.image_s - cold.weights_s
        phases = (cold.node_s, cold.image_s, cold.weights_s, rest, cold.total_s, cold.warm_s)
        yield name, f"{plan.accelerators} x {plan.offer.device.name}", *(f"{seconds:,.0f} s" for seconds in phases)


def _months() -> Iterator[tuple[str, ...]]:
    yield "model", "cheapest hardware", "USD/h", "USD a month", "output tokens/s of a server", "USD a million at 50% use"
    for name in MODELS:
        plan, meant = _plans(name)[0]
        made = meant.throughput
        rate = f"{made.decode_tokens_per_s_low:,.0f} to {made.decode_tokens_per_s_high:,.0f}" if made else ""
        hour = plan.usd_per_hour or 0.0
        yield name, f"{plan.nodes} x {plan.offer.name}", f"{hour:.2f}", f"{hour * HOURS_PER_MONTH:,.0f}", rate, _million(meant)


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)) + "\n"


TABLES: dict[str, Callable[[], str]] = {
    "accelerators": lambda: _markdown(_accelerators()),
    "caches": lambda: _markdown(_caches()),
    "starts": lambda: _markdown(_starts()),
    "months": lambda: _markdown(_months()),
}
