"""Rules that read what engines say, under the names of their version, and record it as `llm:*`, whose names stay. Pure."""

from collections.abc import Sequence

from .engines import MODEL, POD, Ended, Engines, alike, escaped
from .facts import ModelFacts
from .rules import Rule, RuleGroup, merged

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
"""Over which errors are measured against an objective (Google, The Site Reliability Workbook, chapter 5, table 5-8)."""
_LONG = ("6h", "1d", "3d")
"""Those that move so slowly that two minutes between two looks lose nothing, and cost most."""
_RATE = "5m"
TIMINGS = {
    "first_token": "time_to_first_token_seconds",
    "inter_token": "inter_token_latency_seconds",
    "end_to_end": "end_to_end_seconds",
    "queue_time": "queue_time_seconds",
}
LENGTHS = {"prompt_length": "prompt_length_tokens", "generation_length": "generation_length_tokens"}
COMPARED = {"token_time": "token_time_seconds"}
"""Histograms by what they are recorded as; of the last one no quantiles are, for only versions of a route are compared by it."""
OF_TEXT = ("first_token", "inter_token", "token_time", "generation_length")
"""What only models that make text have."""
RECENT_SECONDS = 60
"""An adapter runs when the engine named it in the last minute: it does so at every step that computes with it."""


def engine_groups(models: Sequence[ModelFacts]) -> list[RuleGroup]:
    """What engines say, each version of them in its own words, and how that compares with the models' objectives.

    While a model is on its way from one version to another, the replicas of the old one are not in series whose names changed.
    """
    traffic: list[Rule] = []
    objectives: dict[bool, list[Rule]] = {}
    for engines in alike(models):
        traffic += [*_gauges(engines), *_counters(engines), *_histograms(engines), *_adapters(engines)]
        for window in WINDOWS:
            objectives.setdefault(window in _LONG, []).extend(_objectives(engines, window))
    return [
        RuleGroup(family="engines", name="engines", rules=merged(traffic)),
        RuleGroup(family="slo", name="slo", rules=merged(objectives[False])),
        RuleGroup(family="slo", name="slo-long", rules=merged(objectives[True]), interval="2m"),
    ]


def _gauges(engines: Engines) -> list[Rule]:
    wanted = {
        "llm:requests_running": ("sum", POD, engines.now("running")),
        "llm:requests_waiting": ("sum", POD, engines.now("waiting")),
        "llm:requests_waiting_by_reason": ("sum", f"{POD}, reason", engines.maybe("waiting_by_reason")),
        "llm:kv_cache_usage:ratio": ("max", POD, engines.maybe("kv_cache_usage")),
        "llm:cache_config": ("max", f"{MODEL}, pod, num_gpu_blocks, block_size", engines.maybe("cache_config")),
    }
    return [engines.record(name, f"{function} by ({by}) ({read})") for name, (function, by, read) in wanted.items() if read]


def _counters(engines: Engines) -> list[Rule]:
    counted = {
        name: (MODEL, f"rate({read}[{_RATE}])")
        for name in ("preemptions", "prompt_tokens", "prompt_tokens_cached", "generation_tokens", "prefix_queries", "prefix_hits")
        if (read := engines.maybe(name))
    }
    if rejected := engines.rejected(_RATE):
        counted["rejections"] = (f"{MODEL}, reason", rejected)
    within_hour = engines.ended(Ended.ALL, "increase", "1h")
    return [
        engines.record("llm:replica_progress:rate5m", engines.progress(_RATE)),
        engines.record("llm:requests:rate5m", f"sum by ({MODEL}, finished_reason) ({engines.ended(Ended.ALL, 'rate', _RATE)})"),
        engines.record("llm:requests:increase1h", f"sum by ({MODEL}) ({within_hour})"),
        engines.record("llm:replica_requests:increase1h", f"sum by ({POD}) ({within_hour})"),
        *(engines.record(f"llm:{name}:rate5m", f"sum by ({by}) ({rate})") for name, (by, rate) in counted.items()),
    ]


def _histograms(engines: Engines) -> list[Rule]:
    rules = []
    for name, recorded in {**TIMINGS, **LENGTHS, **COMPARED}.items():
        of = engines.generating if name in OF_TEXT else engines
        if of.models and (buckets := of.maybe(name, suffix="_bucket")):
            rules.append(engines.record(f"llm:{recorded}_bucket:rate5m", f"sum by ({MODEL}, le) (rate({buckets}[{_RATE}]))"))
    return rules


def _adapters(engines: Engines) -> list[Rule]:
    """When each replica last computed with each adapter; the engine says it of those with requests only."""
    rules = []
    for adapter in sorted({adapter for model in engines.models for adapter in model.adapters}):
        having = engines.of(model for model in engines.models if adapter in model.adapters)
        if listed := having.maybe("lora_info", f'running_lora_adapters=~"(.+,)?{escaped(adapter)}(,.+)?"'):
            used, labels = f"max by ({MODEL}, pod) ({listed})", {"adapter": adapter}
            rules.append(engines.record("llm:lora_adapter_last_used_timestamp_seconds", used, labels))
            rules.append(engines.record("llm:lora_adapter_running", f"time() - ({used}) < bool {RECENT_SECONDS}", labels))
    return rules


def _objectives(engines: Engines, window: str) -> list[Rule]:
    """Shares of what was worse than a model's objective allows; no series where nothing happened."""
    rules = []
    text = engines.generating.models
    for name in ("first_token", "inter_token"):
        for edge in sorted({_owed(model, name) for model in text}):
            of = engines.of(model for model in text if _owed(model, name) == edge)
            if slow := _slow(of, name, edge, window):
                rules.append(engines.record(f"llm:slo_{name}:error_ratio{window}", slow))
    return [*rules, engines.record(f"llm:slo_availability:error_ratio{window}", _failed(engines, window))]


def _owed(model: ModelFacts, name: str) -> float:
    return float(model.slo.time_to_first_token_s if name == "first_token" else model.slo.inter_token_latency_s)


def _slow(engines: Engines, name: str, edge: float, window: str) -> str | None:
    # Prometheus 3 writes the edges of buckets as Go does floats, e.g. 1.0; so does Python.
    quick = engines.maybe(name, f'le="{edge}"', suffix="_bucket")
    every = engines.maybe(name, suffix="_count")
    if quick is None:
        return None
    share = f"sum by ({MODEL}) (rate({quick}[{window}])) / (sum by ({MODEL}) (rate({every}[{window}])) > 0)"
    return f"clamp_min(1 - {share}, 0)"


def _failed(engines: Engines, window: str) -> str:
    """What ended with an error of the server or was turned away, of all that its client did not give up."""

    def total(rates: str) -> str:
        return f"sum by ({MODEL}) ({rates})"

    ended = total(engines.ended(Ended.KEPT, "rate", window))
    bad = f"({total(engines.ended(Ended.FAILED, 'rate', window))} or 0 * {ended})"
    if rejected := engines.rejected(window):
        turned_away = f"({total(rejected)} or 0 * {ended})"
        return f"({bad} + {turned_away}) / (({ended} + {turned_away}) > 0)"
    return f"{bad} / ({ended} > 0)"
