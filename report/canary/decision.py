"""Promote, wait or roll back: what follows from what was measured. Pure.

Something bad has to be sure before it counts against the canary, and something good has to be likely before it counts for it;
between the two it is too early to say.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from components.monitoring.facts import Track
from report.canary.measuring import Histogram, Measured
from report.canary.proportions import Share
from report.canary.rollout import Rollout
from report.canary.rules import Rules, Time
from report.canary.units import percent, points, requests, seconds


class Decision(StrEnum):
    """What to do with a rollout."""

    PROMOTE = "promote"
    WAIT = "wait"
    ROLL_BACK = "roll back"


class State(StrEnum):
    """What a finding says of the canary."""

    GOOD = "good"
    UNSURE = "unsure"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    text: str
    """A sentence with the numbers."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to do with a rollout, and why."""

    rollout: Rollout
    measured: Mapping[str, Measured]
    decision: Decision
    findings: Sequence[Finding]

    @property
    def reasons(self) -> list[Finding]:
        """The findings that decided: all of them for a promotion."""
        decisive = {Decision.PROMOTE: State.GOOD, Decision.WAIT: State.UNSURE, Decision.ROLL_BACK: State.BAD}[self.decision]
        return [finding for finding in self.findings if finding.state is decisive]


def decide(rollout: Rollout, measured: Mapping[str, Measured], rules: Rules) -> Verdict:
    """What to do with a rollout after `measured`, by model."""
    findings = list(_Comparison(rollout, measured, rules).findings())
    states = {finding.state for finding in findings}
    decision = Decision.ROLL_BACK if State.BAD in states else Decision.WAIT if State.UNSURE in states else Decision.PROMOTE
    return Verdict(rollout=rollout, measured=measured, decision=decision, findings=findings)


@dataclass(frozen=True)
class _Comparison:
    rollout: Rollout
    measured: Mapping[str, Measured]
    rules: Rules

    @property
    def canary(self) -> Measured:
        return self.measured[self.rollout.canary]

    @property
    def stable(self) -> dict[str, Measured]:
        """The stable versions that had enough requests to compare with."""
        found = {model: self.measured[model] for model in self.rollout.stable}
        return {model: each for model, each in found.items() if each.ended >= self.rules.least_requests}

    def findings(self) -> Iterator[Finding]:
        yield self._rolled_out()
        yield self._replicas()
        yield from self._alerts()
        if not self.rollout.step and not self.rollout.headers:
            yield Finding("requests", State.GOOD, "no request reaches it before the first step")
            return
        yield self._requests()
        if 0 < self.rollout.percent < 100:
            yield self._share()
        yield from self._errors()
        if self.canary.ended >= self.rules.least_requests:
            for name, time in self.rules.times.items():
                yield from self._time(name, time)
        yield from self._kv_cache()

    def _rolled_out(self) -> Finding:
        if self.canary.track is Track.CANARY:
            return Finding("rules", State.GOOD, "Prometheus' rules know it as the canary")
        known = self.canary.track or "nothing"
        text = f"Prometheus' rules know it as {known} of this route: the stack file is not rolled out as it is"
        return Finding("rules", State.UNSURE, text)

    def _replicas(self) -> Finding:
        ready, wanted = self.canary.ready, max(1.0, self.canary.wanted)
        state = State.GOOD if ready >= wanted else State.UNSURE
        return Finding("replicas", state, f"{ready:g} of {wanted:g} replicas answer")

    def _alerts(self) -> Iterator[Finding]:
        others = {name for model in self.rollout.stable for name in self.measured[model].alerts}
        for name, severity in sorted(self.canary.alerts.items()):
            if name in others:
                yield Finding("alerts", State.UNSURE, f"{name} ({severity}) fires, for a stable version too")
            else:
                yield Finding("alerts", State.BAD if severity == "critical" else State.UNSURE, f"{name} ({severity}) fires")

    def _requests(self) -> Finding:
        ended, minutes = self.canary.ended, self.canary.minutes
        had = f"{requests(ended)} in {minutes:.0f} minutes"
        least = f"{self.rules.least_requests:,} in {self.rules.least_minutes:g} minutes"
        if ended < self.rules.least_requests or minutes < self.rules.least_minutes:
            return Finding("requests", State.UNSURE, f"it had {had}, and less than {least} says too little")
        return Finding("requests", State.GOOD, f"it had {had}")

    def _share(self) -> Finding:
        every = sum(self.measured[model].ended for model in self.rollout.models)
        share, planned = Share(self.canary.ended, every).value, self.rollout.percent / 100
        text = f"it had {percent(share)} of the route's requests, and step {self.rollout.step} gives it {percent(planned)}"
        if share < self.rules.least_share * planned:
            return Finding("share", State.UNSURE, f"{text}: the step is younger than the window, or not rolled out")
        return Finding("share", State.GOOD, text)

    def _errors(self) -> Iterator[Finding]:
        canary, sure = self.canary.failures, self.rules.confidence
        yield self._owed(
            "availability", canary, 1 - self.rollout.slo.availability, [each.failures for each in self.stable.values()]
        )
        if not self.stable:
            if self.rollout.percent < 100:
                text = f"no stable version had {self.rules.least_requests:,} requests to compare with"
                yield Finding("errors", State.UNSURE, text)
            return
        model, worst = max(((model, each.failures) for model, each in self.stable.items()), key=lambda each: each[1].value)
        least, most = canary.above(worst, sure)
        tolerated = self.rules.errors
        others = f"{percent(worst.value)} of {requests(worst.whole)} to {model}"
        text = f"{percent(canary.value)} of {requests(canary.whole)} failed, and {others}"
        if least > tolerated:
            yield Finding("errors", State.BAD, f"{text}: at least {points(least)} more, and {100 * tolerated:g} is tolerated")
        elif most > tolerated:
            why = f"it may be {points(most)} more, and {100 * tolerated:g} is tolerated; more requests will tell"
            yield Finding("errors", State.UNSURE, f"{text}: {why}")
        else:
            yield Finding("errors", State.GOOD, f"{text}: at most {points(max(0.0, most))} more")

    def _time(self, name: str, time: Time) -> Iterator[Finding]:
        if not self._counts(time):
            if time.instead is None and any(name in each.quantiles for each in self.stable.values()):
                yield Finding(name, State.GOOD, f"{name}: the canary does not measure it")
            return
        of_canary = self.canary.histograms[time.series]
        references = {model: each for model, each in self.stable.items() if name in each.quantiles}
        if time.objective:
            owed = self.rollout.slo
            limit = owed.time_to_first_token_s if time.objective == "first_token" else owed.inter_token_latency_s
            others = [self._slower(each, time, limit) for each in references.values()]
            what = f"{name.rpartition(' ')[0]} over {seconds(limit)}"
            yield self._owed(what, self._slower(self.canary, time, limit), 1 - owed.objective, others)
        if not references:
            if self.stable:
                yield Finding(name, State.GOOD, f"{name} {seconds(self.canary.quantiles[name])}; no stable version measures it")
            return
        model, slowest = max(((model, each.quantiles[name]) for model, each in references.items()), key=lambda each: each[1])
        mine, limit = self.canary.quantiles[name], time.tolerated * slowest
        slower = self._slower(self.canary, time, limit)
        text = (
            f"{name} {seconds(mine)}, {mine / slowest:.2f} times {model}'s {seconds(slowest)}"
            if slowest
            else f"{name} {seconds(mine)}"
        )
        if slower.bounds(self.rules.confidence)[0] > 1 - time.quantile:
            edge = seconds(of_canary.edge(limit))
            text = f"{text}, and {time.tolerated:g} times are tolerated: {percent(slower.value)} of its requests took over {edge}"
            yield Finding(name, State.BAD, text)
        elif mine > limit:
            yield Finding(name, State.UNSURE, f"{text}, and {time.tolerated:g} times are tolerated; more requests will tell")
        else:
            yield Finding(name, State.GOOD, text)

    def _counts(self, time: Time) -> bool:
        """Whether the canary measures it, and nothing better."""
        if time.series not in self.canary.histograms:
            return False
        versions = [self.canary, *self.stable.values()]
        return time.instead is None or any(time.instead not in each.histograms for each in versions)

    def _slower(self, version: Measured, time: Time, limit: float) -> Share:
        """The share of requests that took longer. Of tokens a request has many that are alike, so its requests are counted."""
        histogram: Histogram = version.histograms[time.series]
        return Share(histogram.over(limit) * version.ended, version.ended)

    def _owed(self, what: str, canary: Share, allowed: float, stable: Sequence[Share]) -> Finding:
        """Whether an objective of the model is surely missed."""
        sure = self.rules.confidence
        text = f"{what}: {percent(canary.value)} of {requests(canary.whole)}, and its objective allows {percent(allowed)}"
        if canary.bounds(sure)[0] <= allowed:
            return Finding("objective", State.GOOD, text)
        if any(each.bounds(sure)[0] > allowed for each in stable):
            return Finding("objective", State.UNSURE, f"{text}; a stable version misses it too")
        return Finding("objective", State.BAD, text)

    def _kv_cache(self) -> Iterator[Finding]:
        used, waiting = self.canary.kv_cache, self.canary.waiting or 0.0
        if used is None:
            return
        text = f"its KV cache is {percent(used)} full on average, and {requests(waiting)} wait"
        if used > self.rules.kv_cache and waiting >= 1:
            yield Finding("KV cache", State.UNSURE, f"{text}: it needs more replicas before it gets more requests")
        else:
            yield Finding("KV cache", State.GOOD, text)
