"""The metrics of a vLLM server: all that the pinned version has, moved by scripted load."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, Metric

from components.monitoring.signals import edges
from components.serving.engine_tables import engine_table

TOKENS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Edges of histograms of tokens for a context of 16 Ki (vLLM 0.33.0, vllm/v1/metrics/buckets.py: 1, 2, 5 up to the context)."""
Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a server has to do, and how it fares."""

    requests_per_second: float = 2.0
    prompt_tokens: int = 400
    output_tokens: int = 200
    first_token_seconds: float = 0.2
    inter_token_seconds: float = 0.02
    queue_seconds: float = 0.01
    slow: float = 0.0
    """Share of requests that take twenty times as long."""
    errors: float = 0.0
    """Share of requests that end with an error of the server."""
    running: int = 8
    waiting: int = 0
    kv_cache_usage: float = 0.4
    prefix_hits: float = 0.5
    """Share of the prompts' tokens that the prefix cache has."""
    preemptions_per_second: float = 0.0
    rejections_per_second: float = 0.0
    adapters: tuple[str, ...] = ()
    """LoRA adapters that requests run with."""


STEADY: Final = Load()
BURST: Final = replace(
    STEADY, requests_per_second=12.0, running=60, waiting=40, queue_seconds=4.0, first_token_seconds=4.5, kv_cache_usage=0.8
)
SATURATED: Final = replace(BURST, kv_cache_usage=0.998, preemptions_per_second=0.5, waiting=200)
FAILING: Final = replace(STEADY, errors=0.3)
SLOW: Final = replace(STEADY, slow=0.5)
REJECTING: Final = replace(SATURATED, rejections_per_second=5.0)
STALLED: Final = replace(STEADY, requests_per_second=0.0)
"""It holds requests, and ends none."""


class Engine:
    """One server; `load` gives what it has to do at a time since its start."""

    def __init__(
        self,
        model: str,
        load: Load | Callable[[float], Load] = STEADY,
        *,
        version: str = "0.33.0",
        lora: bool = False,
        epoch: float = 0.0,
    ) -> None:
        self._epoch = epoch
        self._load = load if callable(load) else lambda _: load
        self._base = {"model_name": model, "engine": "0"}
        table = engine_table(version, "metrics")
        self._kinds: Mapping[str, str] = table["always"] | (table["lora"] if lora else {})
        self._counters: dict[Key, float] = defaultdict(float)
        self._histograms: dict[str, Histogram] = defaultdict(Histogram)
        self._now = 0.0
        self._count(0.0, self._load(0.0))

    def advance(self, seconds: float) -> None:
        self._count(seconds - self._now, self._load(seconds))
        self._now = seconds

    def collect(self) -> Iterable[Metric]:
        load = self._load(self._now)
        for name, kind in self._kinds.items():
            match kind:
                case "counter":
                    metric = Metric(name, "scripted", "counter")
                    series = {key[1]: value for key, value in self._counters.items() if key[0] == name} or {(): 0.0}
                    for extra, value in series.items():
                        metric.add_sample(f"{name}_total", self._base | dict(extra), value)
                    yield metric
                case "histogram":
                    family = HistogramMetricFamily(name, "scripted", labels=list(self._base))
                    family.add_metric(list(self._base.values()), *self._histograms[name].wire(_edges(name)))
                    yield family
                case _:
                    yield self._gauge(name, load)

    def _gauge(self, name: str, load: Load) -> Metric:
        """Labels and values as vllm/v1/metrics/loggers.py of 0.33.0 sets them."""
        if name == "vllm:lora_requests_info":  # this one alone does not say whose it is
            adapters = {"max_lora": "4", "waiting_lora_adapters": "", "running_lora_adapters": ",".join(load.adapters)}
            return _family(name, [(adapters, self._epoch + self._now)])
        if name == "vllm:cache_config_info":
            return _family(name, [({"engine": "0", "block_size": "16", "num_gpu_blocks": "20000", "cache_dtype": "auto"}, 1)])
        single = {
            "vllm:num_requests_running": load.running,
            "vllm:num_requests_waiting": load.waiting,
            "vllm:kv_cache_usage_perc": load.kv_cache_usage,
        }
        if name in single:
            return _family(name, [(self._base, single[name])])
        several = {
            "vllm:num_requests_waiting_by_reason": ("reason", {"capacity": load.waiting, "deferred": 0}),
            "vllm:engine_sleep_state": ("sleep_state", {"awake": 1, "weights_offloaded": 0, "discard_all": 0}),
        }
        label, values = several[name]
        return _family(name, [(self._base | {label: key}, value) for key, value in values.items()])

    def _count(self, seconds: float, load: Load) -> None:
        requests = load.requests_per_second * seconds
        prompt, output = requests * load.prompt_tokens, requests * load.output_tokens
        hits = prompt * load.prefix_hits
        counted: dict[str, float | Mapping[tuple[str, str], float]] = {
            "vllm:num_preemptions": load.preemptions_per_second * seconds,
            "vllm:prompt_tokens": prompt,
            "vllm:prompt_tokens_cached": hits,
            "vllm:prompt_tokens_by_source": {("source", "local_compute"): prompt - hits, ("source", "local_cache_hit"): hits},
            "vllm:prompt_tokens_cached_by_source": {("source", "device"): hits},
            "vllm:generation_tokens": output,
            "vllm:prefix_cache_queries": prompt,
            "vllm:prefix_cache_hits": hits,
            "vllm:request_success": {
                ("finished_reason", "stop"): requests * (1 - load.errors) * 0.9,
                ("finished_reason", "length"): requests * (1 - load.errors) * 0.1,
                ("finished_reason", "abort"): 0.0,
                ("finished_reason", "error"): requests * load.errors,
                ("finished_reason", "repetition"): 0.0,
            },
            "vllm:admission_rejections": {
                ("reason", "max_num_queued_reqs"): load.rejections_per_second * seconds,
                ("reason", "max_num_queued_tokens"): 0.0,
            },
        }
        for name, value in counted.items():
            for extra, number in value.items() if isinstance(value, Mapping) else [((), value)]:
                self._counters[name, (extra,) if extra else ()] += number
        for share, factor in ((1 - load.slow, 1.0), (load.slow, 20.0)):
            self._observe(requests * share, load, factor)

    def _observe(self, requests: float, load: Load, factor: float) -> None:
        first, inter = load.first_token_seconds * factor, load.inter_token_seconds * factor
        decode = inter * (load.output_tokens - 1)
        each: dict[str, tuple[float, float]] = {
            "vllm:time_to_first_token_seconds": (requests, first),
            "vllm:inter_token_latency_seconds": (requests * (load.output_tokens - 1), inter),
            "vllm:request_time_per_output_token_seconds": (requests, inter),
            "vllm:e2e_request_latency_seconds": (requests, first + decode),
            "vllm:request_queue_time_seconds": (requests, load.queue_seconds),
            "vllm:request_prefill_time_seconds": (requests, max(first - load.queue_seconds, 0.001)),
            "vllm:request_decode_time_seconds": (requests, decode),
            "vllm:request_inference_time_seconds": (requests, first + decode - load.queue_seconds),
            "vllm:request_prompt_tokens": (requests, load.prompt_tokens),
            "vllm:request_generation_tokens": (requests, load.output_tokens),
            "vllm:request_max_num_generation_tokens": (requests, load.output_tokens),
            "vllm:request_params_n": (requests, 1),
            "vllm:request_params_max_tokens": (requests, 1024),
            "vllm:request_num_preemptions": (requests, 0),
            "vllm:request_prefill_kv_computed_tokens": (requests, load.prompt_tokens * (1 - load.prefix_hits)),
            "vllm:iteration_tokens_total": (requests * load.output_tokens, load.running),
        }
        for name, (count, value) in each.items():
            self._histograms[name].observe(_edges(name), count, value)


@dataclass
class Histogram:
    """Counts by bucket, and their sum."""

    counts: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    total: float = 0.0

    def observe(self, upper: Sequence[float], count: float, value: float) -> None:
        self.counts[bisect_left(upper, value)] += count
        self.total += count * value

    def wire(self, upper: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
        """Cumulated buckets and the sum."""
        cumulated, buckets = 0.0, []
        for index, edge in enumerate([*map(float, upper), float("inf")]):
            cumulated += self.counts[index]
            buckets.append(("+Inf" if edge == float("inf") else str(edge), cumulated))
        return buckets, self.total


def _edges(name: str) -> Sequence[float]:
    match name:
        case "vllm:time_to_first_token_seconds":
            return edges("first_token")
        case "vllm:inter_token_latency_seconds" | "vllm:request_time_per_output_token_seconds":
            return edges("inter_token")
        case _ if name.endswith("_seconds"):
            return edges("end_to_end")
        case _:
            return TOKENS


def _family(name: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> Metric:
    metric = GaugeMetricFamily(name, "scripted")
    for named, value in samples:
        metric.add_sample(name, dict(named), value)
    return metric
