"""Rules that read what engines say, under the names of their version, and record it as `llm:*`, whose names stay. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from components.monitoring.facts import ModelFacts
from components.monitoring.rules import Rule, RuleGroup, merged, record
from components.monitoring.signals import optional_signal, signal

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
"""Over which errors are measured against an objective (Google, The Site Reliability Workbook, chapter 5, table 5-8)."""
_LONG = ("6h", "1d", "3d")
"""Those that move so slowly that two minutes between two looks lose nothing, and cost most."""
_RATE = "5m"
_MODEL = "namespace, model_name"
_POD = f"{_MODEL}, pod, node, track"
_TRACK = f"{_MODEL}, track"
TIMINGS = {
    "first_token": "time_to_first_token_seconds",
    "inter_token": "inter_token_latency_seconds",
    "end_to_end": "end_to_end_seconds",
    "queue_time": "queue_time_seconds",
}
LENGTHS = {"prompt_length": "prompt_length_tokens", "generation_length": "generation_length_tokens"}
"""Histograms by what they are recorded as."""
OF_TEXT = ("first_token", "inter_token", "generation_length")
"""What only models that make text have."""
RECENT_SECONDS = 60
"""An adapter runs when the engine named it in the last minute: it does so at every step that computes with it."""


def engine_groups(models: Sequence[ModelFacts]) -> list[RuleGroup]:
    """What engines say, each version of them in its own words, and how that compares with the models' objectives.

    While a model is on its way from one version to another, the replicas of the old one are not in series whose names changed.
    """
    traffic: list[Rule] = []
    objectives: dict[bool, list[Rule]] = {}
    for version, namespace in sorted({(model.engine_version, model.namespace) for model in models}):
        alike = tuple(model for model in models if (model.engine_version, model.namespace) == (version, namespace))
        engines = _Engines(version, alike)
        traffic += [*_gauges(engines), *_counters(engines), *_histograms(engines), *_adapters(engines)]
        for window in WINDOWS:
            objectives.setdefault(window in _LONG, []).extend(_objectives(engines, window))
    return [
        RuleGroup(family="engines", name="engines", rules=merged(traffic)),
        RuleGroup(family="slo", name="slo", rules=merged(objectives[False])),
        RuleGroup(family="slo", name="slo-long", rules=merged(objectives[True]), interval="2m"),
    ]


@dataclass(frozen=True)
class _Engines:
    """Models of one namespace whose engines have one version."""

    version: str
    models: tuple[ModelFacts, ...]

    def record(self, name: str, expr: str, labels: Mapping[str, str] | None = None) -> Rule:
        """A recording rule with the label of the team that has the namespace."""
        return record(name, expr, {**(labels or {}), "tenant": self.models[0].tenant or ""})

    @property
    def generating(self) -> "_Engines":
        return _Engines(self.version, tuple(model for model in self.models if model.generates))

    def read(self, name: str, *matchers: str, suffix: str = "") -> str:
        """The selector of a signal that every version has."""
        return f"{signal(self.version, name)}{suffix}{{{', '.join((self._chosen(), *matchers))}}}"

    def maybe(self, name: str) -> str | None:
        """The same; None where this version has no such signal."""
        found = optional_signal(self.version, name)
        return found and f"{found}{{{self._chosen()}}}"

    def unnamed(self, name: str, *matchers: str, keep: str = "") -> str:
        """A signal without the label model_name, which it gets from another of the same pod. A pod has one for each of `keep`."""
        chosen = ", ".join((self._place(), *matchers))
        by = f"namespace, pod{keep and f', {keep}'}"
        names = f"0 * max by (namespace, pod, model_name) ({self.read('running')}) + 1"
        found = signal(self.version, name)
        return f"max by ({by}) ({found}{{{chosen}}}) * on (namespace, pod) group_left (model_name) ({names})"

    def _place(self) -> str:
        return f'job="models", namespace="{self.models[0].namespace}"'

    def _chosen(self) -> str:
        return f"{self._place()}, {named('model_name', (model.name for model in self.models))}"


def named(label: str, values: Iterable[str]) -> str:
    """A matcher for values of a label."""
    found = sorted(set(values))
    if len(found) == 1:
        return f'{label}="{found[0]}"'
    return f'{label}=~"{"|".join(map(escaped, found))}"'


def escaped(name: str) -> str:
    """A name inside a regular expression of PromQL: of what names may have, only the dot means something there."""
    return name.replace(".", r"\\.")


def tracked(expr: str) -> str:
    """`expr` with label `track` of stable where pods have none."""
    return f'label_replace({expr}, "track", "stable", "track", "")'


def _gauges(engines: _Engines) -> list[Rule]:
    rules = [
        engines.record("llm:requests_running", tracked(f"sum by ({_POD}) ({engines.read('running')})")),
        engines.record("llm:requests_waiting", tracked(f"sum by ({_POD}) ({engines.read('waiting')})")),
        engines.record("llm:kv_cache_usage:ratio", tracked(f"max by ({_POD}) ({engines.read('kv_cache_usage')})")),
        engines.record("llm:cache_config", engines.unnamed("cache_config", keep="num_gpu_blocks, block_size")),
    ]
    reasons = engines.maybe("waiting_by_reason")
    if reasons:
        rules.append(engines.record("llm:requests_waiting_by_reason", tracked(f"sum by ({_POD}, reason) ({reasons})")))
    return rules


def _counters(engines: _Engines) -> list[Rule]:
    finished = engines.read("finished")
    # Requests that clients gave up are no progress.
    progress = (engines.read("finished", 'finished_reason!="abort"'), *map(engines.read, ("prompt_tokens", "generation_tokens")))
    moved = " + ".join(f"sum by ({_POD}) (rate({read}[{_RATE}]))" for read in progress)
    rules = [
        engines.record("llm:replica_progress:rate5m", tracked(moved)),
        engines.record("llm:requests:rate5m", tracked(f"sum by ({_TRACK}, finished_reason) (rate({finished}[{_RATE}]))")),
        engines.record("llm:requests:increase1h", tracked(f"sum by ({_TRACK}) (increase({finished}[1h]))")),
        engines.record("llm:replica_requests:increase1h", tracked(f"sum by ({_POD}) (increase({finished}[1h]))")),
        *(
            engines.record(f"llm:{name}:rate5m", f"sum by ({_MODEL}) (rate({engines.read(name)}[{_RATE}]))")
            for name in ("preemptions", "prompt_tokens", "generation_tokens", "prefix_queries", "prefix_hits")
        ),
    ]
    for name, by in (("rejections", f"{_MODEL}, reason"), ("prompt_tokens_cached", _MODEL)):
        counted = engines.maybe(name)
        if counted:
            rules.append(engines.record(f"llm:{name}:rate5m", f"sum by ({by}) (rate({counted}[{_RATE}]))"))
    return rules


def _histograms(engines: _Engines) -> list[Rule]:
    rules = []
    for name, recorded in {**TIMINGS, **LENGTHS}.items():
        of = engines.generating if name in OF_TEXT else engines
        if of.models:
            by = _TRACK if name in TIMINGS else _MODEL
            rate = f"sum by ({by}, le) (rate({of.read(name, suffix='_bucket')}[{_RATE}]))"
            rules.append(engines.record(f"llm:{recorded}_bucket:rate5m", tracked(rate) if name in TIMINGS else rate))
    return rules


def _adapters(engines: _Engines) -> list[Rule]:
    """When each replica last computed with each adapter; the engine says it of those with requests only."""
    rules = []
    for adapter in sorted({adapter for model in engines.models for adapter in model.adapters}):
        having = _Engines(engines.version, tuple(model for model in engines.models if adapter in model.adapters))
        listed = f'running_lora_adapters=~"(.+,)?{escaped(adapter)}(,.+)?"'
        used = having.unnamed("lora_info", listed)
        labels = {"adapter": adapter}
        rules.append(engines.record("llm:lora_adapter_last_used_timestamp_seconds", used, labels))
        rules.append(engines.record("llm:lora_adapter_running", f"time() - ({used}) < bool {RECENT_SECONDS}", labels))
    return rules


def _objectives(engines: _Engines, window: str) -> list[Rule]:
    """Shares of what was worse than a model's objective allows; no series where nothing happened."""
    rules = []
    text = engines.generating.models
    for name in ("first_token", "inter_token"):
        for edge in sorted({_owed(model, name) for model in text}):
            of = _Engines(engines.version, tuple(model for model in text if _owed(model, name) == edge))
            rules.append(engines.record(f"llm:slo_{name}:error_ratio{window}", _slow(of, name, edge, window)))
    return [*rules, engines.record(f"llm:slo_availability:error_ratio{window}", _failed(engines, window))]


def _owed(model: ModelFacts, name: str) -> float:
    return float(model.slo.time_to_first_token_s if name == "first_token" else model.slo.inter_token_latency_s)


def _slow(engines: _Engines, name: str, edge: float, window: str) -> str:
    # Prometheus 3 writes the edges of buckets as Go does floats, e.g. 1.0; so does Python.
    quick = engines.read(name, f'le="{edge}"', suffix="_bucket")
    every = engines.read(name, suffix="_count")
    share = f"sum by ({_MODEL}) (rate({quick}[{window}])) / (sum by ({_MODEL}) (rate({every}[{window}])) > 0)"
    return f"clamp_min(1 - {share}, 0)"


def _failed(engines: _Engines, window: str) -> str:
    """What ended with an error of the server or was turned away, of all that its client did not give up."""

    def rate(selected: str) -> str:
        return f"sum by ({_MODEL}) (rate({selected}[{window}]))"

    ended = rate(engines.read("finished", 'finished_reason!="abort"'))
    failed = rate(engines.read("finished", 'finished_reason="error"'))
    bad = f"({failed} or 0 * {ended})"
    rejections = engines.maybe("rejections")
    if rejections:
        turned_away = f"({rate(rejections)} or 0 * {ended})"
        return f"({bad} + {turned_away}) / (({ended} + {turned_away}) > 0)"
    return f"{bad} / ({ended} > 0)"
