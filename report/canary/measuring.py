"""What Prometheus measured of the versions of a route, over a window that ends now."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from types import TracebackType
from typing import Self

import httpx

from components.inputs import InputError
from components.monitoring.engines import named
from components.monitoring.facts import Track
from report.canary.proportions import Share
from report.canary.rollout import Rollout
from report.canary.rules import Rules

_STEP = 15
"""Seconds between two looks at rates that rules record; what happened in the window is their sum."""


@dataclass(frozen=True)
class Histogram:
    """How many observations were not above each edge, the last of which is infinite."""

    counts: Sequence[tuple[float, float]]

    @property
    def total(self) -> float:
        """All observations."""
        return self.counts[-1][1]

    def edge(self, seconds: float) -> float:
        """The first edge that is not below this."""
        edges = [edge for edge, _ in self.counts]
        return edges[min(bisect_left(edges, seconds * (1 - 1e-9)), len(edges) - 1)]

    def over(self, seconds: float) -> float:
        """The share of observations above the edge of these seconds."""
        edge = self.edge(seconds)
        below = next(count for known, count in self.counts if known == edge)
        return max(0.0, 1 - below / self.total) if self.total > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One version in the window."""

    ended: float = 0.0
    """Requests that its clients did not give up, those that were turned away among them."""
    failed: float = 0.0
    """Those of them that ended with an error of the server or were turned away."""
    minutes: float = 0.0
    """How long it had requests."""
    ready: float = 0.0
    wanted: float = 0.0
    """Replicas, at the end."""
    waiting: float | None = None
    """Requests in its queues, on average."""
    kv_cache: float | None = None
    """Used share of the KV caches, on average over time and replicas."""
    quantiles: Mapping[str, float] = field(default_factory=dict)
    """Seconds by the names of times."""
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    """By series."""
    alerts: Mapping[str, str] = field(default_factory=dict)
    """Severity of the alerts about it that fire at the end."""
    track: Track | None = None
    """What Prometheus' rules take it for; None where they know nothing of the route."""

    @property
    def failures(self) -> Share:
        """Failed of ended requests."""
        return Share(self.failed, self.ended)


class Prometheus:
    """Somebody's Prometheus, asked through its HTTP API."""

    def __init__(self, url: str, at: float | None = None) -> None:
        self._url, self._at, self._client = url.rstrip("/"), at, httpx.Client(timeout=30, follow_redirects=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._client.close()

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and values of an instant query, without what is no number. Raises InputError where nobody answers it."""
        asked = {"query": query} | ({"time": str(self._at)} if self._at is not None else {})
        try:
            answer = self._client.post(f"{self._url}/api/v1/query", data=asked)
            content = answer.json()
            found = [(each["metric"], float(each["value"][1])) for each in content["data"]["result"]]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise InputError(
                f"--prometheus {self._url}: nobody answers there ({str(error) or type(error).__name__}); bring it here, e.g. "
                "with kubectl -n monitoring port-forward svc/prometheus 9090"
            ) from None
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"--prometheus {self._url}: answers with {answer.status_code}, and not as Prometheus does; "
                "give its address without /api, e.g. http://localhost:9090"
            ) from None
        return [(labels, value) for labels, value in found if isfinite(value)]


def measure(prometheus: Prometheus, rollout: Rollout, rules: Rules, window_s: int) -> dict[str, Measured]:
    """What was measured of each version of a route, by model. Raises InputError where Prometheus does not know the canary."""
    chosen = f'namespace="{rollout.namespace}", {named("model_name", rollout.models)}'
    questions = _Questions(prometheus, chosen, window_s)
    if rollout.canary not in questions.now("llm:planned_replicas_min"):
        raise InputError(
            f"Prometheus knows no model {rollout.canary} in namespace {rollout.namespace}; ask that of the stack, or roll the "
            "stack file out first"
        )
    kept = questions.total("llm:requests:rate5m", 'finished_reason!="abort"')
    errors = questions.total("llm:requests:rate5m", 'finished_reason="error"')
    rejected = questions.total("llm:rejections:rate5m")
    ready, wanted = questions.now("llm:replicas_ready"), questions.now("llm:replicas_wanted")
    minutes, waiting = questions.minutes("llm:requests:rate5m"), questions.mean("llm:model_requests_waiting:sum")
    kv_cache, alerts = questions.mean("llm:model_kv_cache_usage:avg"), questions.alerts()
    tracks = questions.tracks(rollout.route)
    histograms = {series: questions.histogram(series) for series in {time.series for time in rules.times.values()}}
    quantiles = {name: questions.quantile(time.series, time.quantile) for name, time in rules.times.items()}
    return {
        model: Measured(
            ended=kept.get(model, 0.0) + rejected.get(model, 0.0),
            failed=errors.get(model, 0.0) + rejected.get(model, 0.0),
            minutes=minutes.get(model, 0.0),
            ready=ready.get(model, 0.0),
            wanted=wanted.get(model, 0.0),
            waiting=waiting.get(model),
            kv_cache=kv_cache.get(model),
            quantiles={name: found[model] for name, found in quantiles.items() if model in found},
            histograms={series: found[model] for series, found in histograms.items() if model in found},
            alerts=alerts.get(model, {}),
            track=tracks.get(model),
        )
        for model in rollout.models
    }


@dataclass(frozen=True)
class _Questions:
    prometheus: Prometheus
    chosen: str
    """Matchers of the models."""
    window_s: int

    def now(self, series: str) -> dict[str, float]:
        """By model."""
        return self._by_model(f"max by (model_name) ({series}{self._select()})")

    def mean(self, series: str) -> dict[str, float]:
        """By model, over the window."""
        return self._by_model(f"max by (model_name) (avg_over_time({series}{self._select()}[{self.window_s}s]))")

    def total(self, rate: str, *matchers: str) -> dict[str, float]:
        """How much there was by model, of what has a rate."""
        return self._by_model(self._sum("model_name", rate, *matchers))

    def minutes(self, rate: str) -> dict[str, float]:
        """For how long a rate was not 0."""
        busy = f"sum by (model_name) ({rate}{self._select()}) > 0"
        return self._by_model(f"count_over_time(({busy})[{self.window_s}s:{_STEP}s]) * {_STEP / 60}")

    def histogram(self, series: str) -> dict[str, Histogram]:
        """By model."""
        found: dict[str, list[tuple[float, float]]] = {}
        for labels, count in self.prometheus.ask(self._sum("model_name, le", _buckets(series))):
            found.setdefault(labels["model_name"], []).append((float(labels["le"]), count))
        whole = {model: sorted(counts) for model, counts in found.items()}
        return {model: Histogram(counts) for model, counts in whole.items() if counts[-1][0] == inf and counts[-1][1] > 0}

    def quantile(self, series: str, q: float) -> dict[str, float]:
        """Seconds by model."""
        return self._by_model(f"histogram_quantile({q}, {self._sum('model_name, le', _buckets(series))})")

    def alerts(self) -> dict[str, dict[str, str]]:
        """Severities by model and alert; the worse where one alert fires twice."""
        found: dict[str, dict[str, str]] = {}
        firing = 'alertstate="firing", severity=~"warning|critical"'
        for labels, _ in self.prometheus.ask(f"ALERTS{self._select(firing)}"):
            of_model = found.setdefault(labels["model_name"], {})
            of_model[labels["alertname"]] = min(labels["severity"], of_model.get(labels["alertname"], "warning"))
        return found

    def tracks(self, route: str) -> dict[str, Track]:
        """What the rules that are loaded take each model for."""
        known = self.prometheus.ask(f"llm:version:info{self._select(_equal('route', route))}")
        return {labels["model_name"]: Track(labels["track"]) for labels, _ in known}

    def _sum(self, by: str, rate: str, *matchers: str) -> str:
        return f"sum by ({by}) (sum_over_time({rate}{self._select(*matchers)}[{self.window_s}s:{_STEP}s])) * {_STEP}"

    def _select(self, *matchers: str) -> str:
        return f"{{{', '.join((self.chosen, *matchers))}}}"

    def _by_model(self, query: str) -> dict[str, float]:
        return {labels["model_name"]: value for labels, value in self.prometheus.ask(query)}


def _buckets(series: str) -> str:
    return f"llm:{series}_bucket:rate5m"


def _equal(label: str, value: str) -> str:
    return f'{label}="{value}"'
