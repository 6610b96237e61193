"""What an autoscaler is told: how much a server should bear, and how long to wait before the next step. Pure.

Everything follows from the cold start: a server that is asked for helps only after it, so nothing is asked for twice meanwhile,
and one that is given up sooner than another can be had is missed before it is saved.
"""

from dataclasses import dataclass
from math import ceil, floor

from planner.cold_start import ColdStart
from planner.cost import PROMPT_TOKENS_PER_OUTPUT_TOKEN, output_rates
from planner.derived import Derived
from planner.throughput import Throughput
from planner.timeouts import keda_cooldown_seconds

QUEUE_SECONDS = 5.0
"""Seconds that a request may wait for its turn before another server is worth its start: assumed."""
BUSY = 0.8
"""Share of its batch, and of its KV cache, that a server should use: the rest is for more requests while another server starts,
and for running ones to grow in, which else preempt each other. Whichever is used up first counts: by the plan that is known, by
the prompts that come it may be the other one."""
LEAST_WINDOW = 900
"""Seconds that a server must have been too many at least: with 600 s their number flaps where a load lingers between two of them
(the simulation of docs/scaling.md)."""
LONGEST_WINDOW, LONGEST_PERIOD = 3600, 1800
"""What an autoscaler takes at most: `stabilizationWindowSeconds` and `periodSeconds` (Kubernetes API, autoscaling/v2)."""

_HPA_SOURCE = "Kubernetes documentation, Horizontal Pod Autoscaling: configurable scaling behavior"


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How fast an autoscaler may be."""

    scale_down_seconds: int
    """How long a server must have been too many before it goes (`stabilizationWindowSeconds`)."""
    scale_down_period: int
    """Seconds in which at most one server goes: as long as one takes to stop."""
    scale_up_step: int
    """Servers that may be added within `scale_up_period`."""
    scale_up_period: int
    """Seconds until what was added answers."""
    cooldown_seconds: int
    """KEDA's `cooldownPeriod` and `initialCooldownPeriod`."""


def windows(start_seconds: float, least: int, most: int, grace: int, scale_down_seconds: int | None = None) -> Windows:
    """What follows from a cold start of `start_seconds`, `least` to `most` servers, and `grace` seconds that one takes to stop.

    `scale_down_seconds` goes before what is derived.
    """
    minutes = ceil(start_seconds / 60) * 60
    stable = max(LEAST_WINDOW, 2 * minutes) if scale_down_seconds is None else scale_down_seconds
    return Windows(
        scale_down_seconds=min(LONGEST_WINDOW, stable),
        scale_down_period=min(LONGEST_PERIOD, max(60, grace)),
        scale_up_step=max(1, ceil((most - least) / 2)),
        scale_up_period=min(LONGEST_PERIOD, max(15, ceil(start_seconds / 15) * 15)),
        cooldown_seconds=max(300, minutes),
    )


def requests_per_second(throughput: Throughput) -> float:
    """Requests that a server ends in a second at the pessimistic end.

    One has `PROMPT_TOKENS_PER_OUTPUT_TOKEN` prompt tokens for each of its own, so that on average the prompt and half the answer
    are in the cache: `mean context = (3 + 1/2) x output tokens`.
    """
    output = throughput.mean_context / (PROMPT_TOKENS_PER_OUTPUT_TOKEN + 0.5)
    return output_rates(throughput, PROMPT_TOKENS_PER_OUTPUT_TOKEN)[0] / output


def waiting_target(throughput: Throughput | None, max_num_seqs: int) -> int:
    """Requests that may wait for each server: those it begins within `QUEUE_SECONDS`, at least one and at most a batch.

    Where the throughput is not known, an eighth of a batch: assumed.
    """
    if throughput is None:
        return max(1, max_num_seqs // 8)
    return min(max_num_seqs, max(1, floor(QUEUE_SECONDS * requests_per_second(throughput))))


def running_target(max_num_seqs: int) -> int:
    """Requests that each server should compute at once: `BUSY` of a batch, at least one."""
    return max(1, floor(BUSY * max_num_seqs))


def scaling_rows(
    cold: ColdStart, throughput: Throughput | None, max_num_seqs: int, least: int, most: int, grace: int
) -> tuple[Derived, ...]:
    """What a model's autoscaler is told where settings say nothing else, for a table."""
    found = windows(cold.total_s, least, most, grace)
    start = f"cold start of {cold.total_s:.0f} s"
    waiting = (
        f"{QUEUE_SECONDS:g} s x {requests_per_second(throughput):.3g} requests/s, 1 to {max_num_seqs}"
        if throughput
        else f"{max_num_seqs} requests of a batch / 8, throughput unknown"
    )
    rows = (
        ("replicas, least", least, "", "settings", "models.<name>.scaling.minReplicas"),
        ("replicas, most", most, "", "settings", "models.<name>.scaling.maxReplicas"),
        ("waiting requests a replica", waiting_target(throughput, max_num_seqs), "", waiting, "throughput model; 5 s: assumed"),
        ("running requests a replica", running_target(max_num_seqs), "", f"{BUSY:g} x {max_num_seqs} of a batch", "assumed"),
        ("KV cache in use", BUSY, "", "a fifth is left to running requests", "assumed"),
        (
            "scale-down stabilisation",
            found.scale_down_seconds,
            "s",
            f"max(900 s, 2 x {start}), at most 3600 s",
            "docs/scaling.md",
        ),
        ("scale-down period", found.scale_down_period, "s", f"one replica in max(60 s, {grace} s of grace)", _HPA_SOURCE),
        ("scale-up step", found.scale_up_step, "replicas", f"half of {most} - {least}, at least 1", _HPA_SOURCE),
        ("scale-up period", found.scale_up_period, "s", f"{start}, at most 1800 s", _HPA_SOURCE),
        ("cool-down", keda_cooldown_seconds(cold), "s", f"max(300 s, {start})", "KEDA documentation, ScaledObject"),
    )
    return tuple(
        Derived(name=name, value=value, unit=unit, formula=formula, source=source) for name, value, unit, formula, source in rows
    )
