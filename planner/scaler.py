"""The arithmetic of Kubernetes' HorizontalPodAutoscaler with metrics of KEDA: from metrics to replicas, step by step. Pure.

Follows kubernetes/kubernetes, pkg/controller/podautoscaler (horizontal.go, replica_calculator.go), and kedacore/keda,
pkg/fallback/fallback.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from planner.autoscaling import Windows

SYNC_SECONDS = 15
"""How often the autoscaler looks (`--horizontal-pod-autoscaler-sync-period`)."""
TOLERANCE = 0.1
"""A metric this near its target changes nothing (`--horizontal-pod-autoscaler-tolerance`)."""
FAILURES = 3
"""Answers that may fail in a row before the fallback holds (`fallback.failureThreshold`)."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What one trigger says."""

    value: float | None
    """None where nobody knows."""
    target: float
    average: bool
    """Whether the value is a sum over all replicas, of which each should bear the target; else it is compared as it is."""

    def wants(self, replicas: int, ready: int) -> int | None:
        """Replicas by this metric alone, when there are `replicas` of which `ready` answer."""
        if self.value is None:
            return None
        ratio = self.value / (self.target * (replicas if self.average else 1))
        if abs(1 - ratio) <= TOLERANCE:
            return replicas
        return ceil(self.value / self.target) if self.average else ceil(ratio * ready)


@dataclass(slots=True, kw_only=True)
class Scaler:
    """An autoscaler over time; `step` is called every `SYNC_SECONDS`."""

    least: int
    most: int
    windows: Windows
    fallback: int
    """Replicas that hold at least while no metric is known."""
    _wanted: list[tuple[float, int]] = field(default_factory=list)
    _added: list[tuple[float, int]] = field(default_factory=list)
    _removed: list[tuple[float, int]] = field(default_factory=list)
    _failures: dict[int, int] = field(default_factory=dict)

    def step(self, now: float, replicas: int, ready: int, metrics: Sequence[Metric]) -> int:
        """How many replicas there should be now."""
        if not self.least <= replicas <= self.most:
            return min(max(replicas, self.least), self.most)
        wishes = [self._wish(number, replicas, ready, metric) for number, metric in enumerate(metrics)]
        known = [wish for wish in wishes if wish is not None]
        if not known or (len(known) < len(wishes) and max(known) < replicas):
            return replicas
        wanted = self._limited(now, replicas, self._stable(now, replicas, max(known)))
        if wanted > replicas:
            self._added.append((now, wanted - replicas))
        elif wanted < replicas:
            self._removed.append((now, replicas - wanted))
        return wanted

    def _wish(self, number: int, replicas: int, ready: int, metric: Metric) -> int | None:
        self._failures[number] = self._failures.get(number, 0) + 1 if metric.value is None else 0
        if self._failures[number] > FAILURES:
            return max(replicas, self.fallback)
        return metric.wants(replicas, ready)

    def _stable(self, now: float, replicas: int, wanted: int) -> int:
        """No fewer than anything wanted in the window of scaling down; scaling up has none."""
        self._wanted = [each for each in self._wanted if each[0] > now - self.windows.scale_down_seconds]
        if not self._wanted:
            self._wanted.append((now, replicas))
        window = [number for _, number in self._wanted]
        self._wanted.append((now, wanted))
        return min(replicas, max([wanted, *window])) if wanted < replicas else wanted

    def _limited(self, now: float, replicas: int, wanted: int) -> int:
        """No further than the policies allow within their periods, and within the bounds."""
        windows = self.windows
        if wanted > replicas:
            before = replicas - _within(self._added, now, windows.scale_up_period)
            before += _within(self._removed, now, windows.scale_up_period)
            return min(wanted, max(replicas, before + windows.scale_up_step), self.most)
        if wanted < replicas:
            before = replicas + _within(self._removed, now, windows.scale_down_period)
            before -= _within(self._added, now, windows.scale_down_period)
            return max(wanted, min(replicas, before - 1), self.least)
        return wanted


def _within(events: Sequence[tuple[float, int]], now: float, seconds: float) -> int:
    return sum(number for at, number in events if at > now - seconds)
