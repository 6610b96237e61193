"""The table of docs/scaling.md: what autoscaling does for two models under loads of different kinds."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from planner.autoscaling import BUSY, requests_per_second, running_target, waiting_target, windows
from planner.capacity import Offer
from planner.catalog.hardware import accelerator
from planner.cost import PROMPT_TOKENS_PER_OUTPUT_TOKEN
from planner.load import Aims, Outcome, Server, Trace, simulate
from planner.options import Options, device
from planner.request import model_of
from planner.scaler import Scaler
from planner.stack import ModelPlan, StackModel, plan_stack

MOST = 4
OBJECTIVE = 0.99
"""Share of requests that must have their first token in time."""
_HOUR, _DAY = 3600, 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One kind of load; rates are in servers' worth of requests."""

    name: str
    hours: int
    servers: Callable[[float], float]
    warm: bool = False
    """Whether the nodes are there, and the image on them."""
    blind: tuple[float, float] = (0, 0)
    schedule: Callable[[float], int] = lambda _: 0


def _burst(now: float) -> float:
    return 2.5 if 2 * _HOUR <= now < 3 * _HOUR else 0.5


LOADS = (
    Load(name="steady, 0.6 of a server", hours=6, servers=lambda _: 0.6),
    Load(name="steady, lingers at 1.7 servers", hours=24, servers=lambda _: 1.7),
    Load(name="day and night, 0.3 to 2.5", hours=48, servers=lambda now: 1.4 - 1.1 * math.cos(2 * math.pi * now / _DAY)),
    Load(name="burst, 0.5 to 2.5 for an hour", hours=6, servers=_burst),
    Load(name="the same, on nodes that are there", hours=6, servers=_burst, warm=True),
    Load(
        name="the same, scheduled 30 min ahead",
        hours=6,
        servers=_burst,
        schedule=lambda now: 4 if 1.5 * _HOUR <= now < 3 * _HOUR else 0,
    ),
    Load(name="the same, Prometheus away meanwhile", hours=6, servers=_burst, blind=(2 * _HOUR, 3 * _HOUR)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A model on a pool, and what it owes."""

    source: str
    accelerator: str
    instance: str
    per_node: int
    storage: str
    first_token_s: float

    def plan(self) -> ModelPlan:
        """The plan of one to `MOST` servers."""
        card = device(accelerator(self.accelerator))
        wanted = StackModel(
            name="model",
            model=model_of({"model": self.source})[0],
            offer=Offer(name=self.instance, device=card, per_node=self.per_node, max_nodes=MOST),
            options=Options(max_model_len=8192),
            replicas=MOST,
            min_replicas=1,
            storage=self.storage,
        )
        return plan_stack([wanted]).models["model"]


EXAMPLES = (
    Example(
        source="Qwen/Qwen2.5-7B-Instruct-AWQ",
        accelerator="L4",
        instance="g6.xlarge",
        per_node=1,
        storage="s3-streamer",
        first_token_s=2.5,
    ),
    Example(
        source="Qwen/Qwen3-32B-FP8", accelerator="H100", instance="p5.48xlarge", per_node=8, storage="efs", first_token_s=2.5
    ),
)


def server_of(plan: ModelPlan, *, warm: bool = False) -> Server:
    """What one server of a plan can do, at the pessimistic end of its throughput, on a new node or a `warm` one.

    Raises ValueError where the throughput is not known.
    """
    made, fit = plan.throughput, plan.placement.fit
    if made is None:
        raise ValueError(f"the throughput of {plan.name} is not known; use an accelerator of the catalogue")
    prompt = made.mean_context * PROMPT_TOKENS_PER_OUTPUT_TOKEN / (PROMPT_TOKENS_PER_OUTPUT_TOKEN + 0.5)
    by_cache = made.batch < fit.max_num_seqs
    return Server(
        slots=made.batch,
        seconds=made.batch / requests_per_second(made),
        prompt_seconds=prompt / made.prefill_tokens_per_s_low,
        kv_full=1.0 if by_cache else made.batch * made.mean_context / fit.kv_cache_tokens,
        start_seconds=plan.cold.warm_s if warm else plan.cold.total_s,
        stop_seconds=plan.drain.grace,
    )


def outcome(plan: ModelPlan, load: Load, first_token_s: float, least: int = 1) -> Outcome:
    """What comes of a load with `least` to `MOST` servers."""
    server, seqs = server_of(plan, warm=load.warm), plan.placement.fit.max_num_seqs
    trace: Trace = lambda now: load.servers(now) * server.rate  # noqa: E731 - a function of a function
    return simulate(
        server,
        Scaler(
            least=least,
            most=MOST,
            windows=windows(plan.cold.total_s, least, MOST, plan.drain.grace),
            fallback=max(least, MOST // 2),
        ),
        Aims(waiting=waiting_target(plan.throughput, seqs), running=running_target(seqs), kv_usage=BUSY),
        trace,
        seconds=load.hours * _HOUR,
        objective_s=first_token_s,
        blind=load.blind,
        schedule=load.schedule,
    )


def scaling_table() -> str:
    """The table in Markdown."""
    head = (
        "load",
        "first token in time",
        "p95",
        "servers",
        "changes (turns)",
        "server hours, of those always on",
        f"{OBJECTIVE:.0%} in time",
    )
    lines = []
    for example in EXAMPLES:
        plan = example.plan()
        server = server_of(plan)
        told = windows(server.start_seconds, 1, MOST, plan.drain.grace)
        lines += [
            f"{example.source} on {example.instance}: {server.rate:.2f} requests/s a server with {server.slots} at once, start "
            f"{server.start_seconds:.0f} s, {plan.cold.warm_s:.0f} s on a node that is there, objective "
            f"{example.first_token_s:g} s; waits {told.scale_down_seconds} s before a server goes, adds {told.scale_up_step} in "
            f"{told.scale_up_period} s.",
            "",
            f"| {' | '.join(head)} |",
            f"|{'---|' * len(head)}",
            *(f"| {' | '.join(row)} |" for row in _rows(plan, example.first_token_s)),
            "",
        ]
    return "\n".join(lines).rstrip()


def _rows(plan: ModelPlan, first_token_s: float) -> Iterator[tuple[str, ...]]:
    for load in LOADS:
        found = outcome(plan, load, first_token_s)
        yield (
            load.name,
            f"{found.in_time:.1%}",
            f"{found.p95_s:.1f} s",
            f"{found.fewest} to {found.most}",
            f"{found.changes} ({found.turns})",
            f"{found.replica_hours:.1f} of {MOST * load.hours}",
            "kept" if found.in_time >= OBJECTIVE else f"missed; {_remedy(plan, load, first_token_s)}",
        )


def _remedy(plan: ModelPlan, load: Load, first_token_s: float) -> str:
    for least in range(2, MOST + 1):
        if outcome(plan, load, first_token_s, least).in_time >= OBJECTIVE:
            return f"kept with minReplicas: {least}"
    return f"not kept by {MOST} servers either"
