"""The metrics of a Text Generation Inference server that rules read, moved by scripted load."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client.metrics_core import HistogramMetricFamily, Metric

from tests.simulators.engine import STEADY, Histogram, Load

SECONDS: Final = tuple(0.0001 * 1.5**step for step in range(1, 36))
"""Edges of histograms of seconds (huggingface/text-generation-inference, router/src/server.rs)."""
TOKENS: Final = tuple(163.84 * step for step in range(1, 101))
"""Edges of histograms of tokens for a context of 16 Ki (the same): a hundred equal parts of it."""


class TgiEngine:
    """One server; `load` gives what it has to do at a time since its start. A series begins with what it first counts."""

    def __init__(self, load: Load | Callable[[float], Load] = STEADY) -> None:
        self._load = load if callable(load) else lambda _: load
        self._counters: dict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
        self._histograms: dict[str, Histogram] = defaultdict(Histogram)
        self._now = 0.0

    def advance(self, seconds: float) -> None:
        self._count(seconds - self._now, self._load(seconds))
        self._now = seconds

    def collect(self) -> Iterable[Metric]:
        load = self._load(self._now)
        for (name, labels), value in self._counters.items():
            yield _sample(name, value, dict(labels))
        for name, histogram in self._histograms.items():
            family = HistogramMetricFamily(name, "scripted")
            family.add_metric([], *histogram.wire(SECONDS if name.endswith("_duration") else TOKENS))
            yield family
        if self._histograms:
            yield _sample("tgi_batch_current_size", load.running, {})
            yield _sample("tgi_queue_size", load.waiting, {})

    def _count(self, seconds: float, load: Load) -> None:
        requests, turned_away = load.requests_per_second * seconds, load.rejections_per_second * seconds
        answered, failed = requests * (1 - load.errors), requests * load.errors
        counted = {
            # One for the route and one for what it calls.
            ("tgi_request_count", ()): 2 * (requests + turned_away),
            ("tgi_request_success", ()): answered,
            ("tgi_request_failure", (("err", "generation"),)): failed,
            ("tgi_request_failure", (("err", "overloaded"),)): turned_away,
            ("tgi_batch_inference_success", (("method", "prefill"),)): requests,
            ("tgi_batch_inference_success", (("method", "decode"),)): requests * load.output_tokens / max(1, load.running),
        }
        for key, count in counted.items():
            if count > 0:
                self._counters[key] += count
        for share, factor in ((1 - load.slow, 1.0), (load.slow, 20.0)):
            if answered * share > 0:
                self._observe(answered * share, load, factor)

    def _observe(self, requests: float, load: Load, factor: float) -> None:
        first, inter = load.first_token_seconds * factor, load.inter_token_seconds * factor
        computed = first - load.queue_seconds + inter * (load.output_tokens - 1)
        seconds = {
            "tgi_request_duration": load.queue_seconds + computed,
            "tgi_request_queue_duration": load.queue_seconds,
            "tgi_request_mean_time_per_token_duration": computed / load.output_tokens,
        }
        tokens = {"tgi_request_input_length": load.prompt_tokens, "tgi_request_generated_tokens": load.output_tokens}
        for edges, values in ((SECONDS, seconds), (TOKENS, tokens)):
            for name, value in values.items():
                self._histograms[name].observe(edges, requests, value)


def _sample(name: str, value: float, labels: Mapping[str, str]) -> Metric:
    metric = Metric(name, "scripted", "unknown")
    metric.add_sample(name, dict(labels), value)
    return metric
