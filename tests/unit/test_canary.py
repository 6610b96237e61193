"""Canaries: what is decided after which numbers, in which words, and with which edit."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.monitoring.facts import Slo, Track
from report.canary import Decision, Measured, Rollout, Verdict, decide, edit_for, read_rules
from report.canary.edit import with_value
from report.canary.measuring import Histogram
from report.canary.proportions import Share
from report.canary.units import percent, points

RULES = read_rules()
ROLLOUT = Rollout(
    route="chat",
    namespace="models",
    canary="v2",
    stable=("v1",),
    steps=(10, 50, 100),
    step=1,
    headers=False,
    slo=Slo(time_to_first_token_s=2.5, inter_token_latency_s=0.25),
    generates=True,
)


@pytest.mark.parametrize(
    ("share", "said"), [(0, "0"), (0.0014, "0.14"), (0.0375, "3.8"), (0.0996, "10"), (0.55, "55"), (0.998, "100"), (1, "100")]
)
def test_shares_are_said_with_as_many_digits_as_small_ones_need(share: float, said: str) -> None:
    assert (percent(share), points(share)) == (f"{said} %", f"{said} points")


# Shares of few requests, as the papers that the formulas are from compute them: both sides with 95 %, so each with 97.5 %.


@pytest.mark.parametrize(
    ("part", "whole", "bounds"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_bounds_of_a_share_are_those_of_the_literature(part: int, whole: int, bounds: tuple[float, float]) -> None:
    assert Share(part, whole).bounds(0.975) == pytest.approx(bounds, abs=5e-5)


@pytest.mark.parametrize(
    ("one", "other", "bounds"),
    [((56, 70), (48, 80), (0.0524, 0.3339)), ((9, 10), (3, 10), (0.1705, 0.8090)), ((10, 10), (0, 20), (0.6791, 1.0))],
)
def test_bounds_of_a_difference_are_too(one: tuple[int, int], other: tuple[int, int], bounds: tuple[float, float]) -> None:
    assert Share(*one).above(Share(*other), 0.975) == pytest.approx(bounds, abs=5e-5)


@given(st.floats(0, 1), st.floats(0, 1e6), st.floats(0.6, 0.999))
def test_a_share_lies_within_its_bounds(share: float, whole: float, confidence: float) -> None:
    low, high = Share(share * whole, whole).bounds(confidence)
    assert 0 <= low <= high <= 1
    if whole >= 1:
        assert low - 1e-9 <= Share(share * whole, whole).value <= high + 1e-9
        more = Share(share * whole * 4, whole * 4).bounds(confidence)
        assert more[1] - more[0] <= high - low + 1e-9


# Decisions.

EDGES = (0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, inf)
VLLM = ("time_to_first_token_seconds", "inter_token_latency_seconds", "end_to_end_seconds")
TGI = ("token_time_seconds", "end_to_end_seconds")


def version(
    *,
    count: float = 2_000,
    failed: float = 0,
    slow: float = 0.01,
    times: Mapping[str, float] | None = None,
    measures: Sequence[str] = VLLM,
    track: Track = Track.CANARY,
    alerts: Mapping[str, str] | None = None,
    ready: float = 2,
    kv_cache: float = 0.4,
    waiting: float = 0,
    minutes: float = 30,
) -> Measured:
    """A version whose times lie between a tenth and a quarter of a second, or, `slow` of them, between 2.5 and 5 seconds."""
    quick = count * (1 - slow)
    histogram = Histogram([(edge, 0.0 if edge < 0.25 else quick if edge < 5 else count) for edge in EDGES])
    found = {name: quantile(histogram, rule.quantile) for name, rule in RULES.times.items() if rule.series in measures and count}
    return Measured(
        ended=count,
        failed=failed,
        minutes=minutes,
        ready=ready,
        wanted=2,
        waiting=waiting,
        kv_cache=kv_cache,
        quantiles={**found, **(times or {})},
        histograms=dict.fromkeys(measures, histogram) if count else {},
        alerts=alerts or {},
        track=track,
    )


def quantile(histogram: Histogram, q: float) -> float:
    """As Prometheus' histogram_quantile has it."""
    rank, below, start = q * histogram.total, 0.0, 0.0
    for edge, count in histogram.counts:
        if count >= rank and count > below:
            return start + (edge - start) * (rank - below) / (count - below)
        below, start = count, edge
    return 5.0


def stable(**differing: Any) -> Measured:
    return version(**{"count": 18_000, "track": Track.STABLE, **differing})


def judged(canary: Measured, other: Measured | None = None, rollout: Rollout = ROLLOUT) -> Verdict:
    return decide(rollout, {"v1": other or stable(), "v2": canary}, RULES)


NOBODY = version(count=0, minutes=0)
CASES: Mapping[str, tuple[Measured, Measured, str, Sequence[str]]] = {
    "as good": (
        version(),
        stable(),
        "promote",
        [
            "0 % of 2,000 requests failed, and 0 % of 18,000 requests to v1: at most 0.14 points more",
            "first token p95 244 ms, 1.00 times v1's 244 ms",
        ],
    ),
    "errors": (
        version(failed=90),
        stable(),
        "roll back",
        ["4.5 % of 2,000 requests failed, and 0 % of 18,000 requests to v1: at least 3.8 points more, and 1 is tolerated"],
    ),
    "errors that the others have too": (
        version(failed=90),
        stable(failed=900),
        "wait",
        ["availability: 4.5 % of 2,000 requests, and its objective allows 0.1 %; a stable version misses it too"],
    ),
    "few errors, and more than the objective allows": (
        version(failed=12),
        stable(),
        "roll back",
        ["availability: 0.6 % of 2,000 requests, and its objective allows 0.1 %"],
    ),
    "too few requests to be sure that none fails": (
        version(count=150),
        stable(),
        "wait",
        ["it may be 1.8 points more, and 1 is tolerated; more requests will tell"],
    ),
    "hardly a request": (
        version(count=40),
        stable(),
        "wait",
        ["it had 40 requests in 30 minutes, and less than 100 in 15 minutes says too little"],
    ),
    "not a request": (
        NOBODY,
        stable(),
        "wait",
        ["it had 0 requests in 0 minutes, and less than 100 in 15 minutes says too little"],
    ),
    "six minutes": (version(minutes=6), stable(), "wait", ["it had 2,000 requests in 6 minutes"]),
    "slow": (
        version(slow=0.2),
        stable(),
        "roll back",
        ["first token p95 4.38 s, 17.93 times v1's 244 ms, and 1.5 times are tolerated: 20 % of its requests took over 500 ms"],
    ),
    "slow by a part of a bucket": (
        version(times={"first token p95": 0.4}),
        stable(),
        "wait",
        ["first token p95 400 ms, 1.64 times v1's 244 ms, and 1.5 times are tolerated; more requests will tell"],
    ),
    "slower than the objective, as the others": (
        version(slow=0.03),
        stable(slow=0.03),
        "wait",
        ["first token over 2.5 s: 3.0 % of 2,000 requests, and its objective allows 1.0 %; a stable version misses it too"],
    ),
    "an alert": (version(alerts={"ModelRestartLoop": "critical"}), stable(), "roll back", ["ModelRestartLoop (critical) fires"]),
    "an alert of all": (
        version(alerts={"ModelQueueOld": "critical"}),
        stable(alerts={"ModelQueueOld": "critical"}),
        "wait",
        ["ModelQueueOld (critical) fires, for a stable version too"],
    ),
    "a warning": (version(alerts={"ModelPreempting": "warning"}), stable(), "wait", ["ModelPreempting (warning) fires"]),
    "a replica too few": (version(ready=1), stable(), "wait", ["1 of 2 replicas answer"]),
    "not rolled out": (
        version(track=Track.STABLE),
        stable(),
        "wait",
        ["Prometheus' rules know it as stable of this route: the stack file is not rolled out as it is"],
    ),
    "less than its share": (
        version(count=500),
        stable(),
        "wait",
        [
            "it had 2.7 % of the route's requests, and step 1 gives it 10 %: "
            "the step is younger than the window, or not rolled out"
        ],
    ),
    "a full cache": (
        version(kv_cache=0.97, waiting=12),
        stable(),
        "wait",
        ["its KV cache is 97 % full on average, and 12 requests wait: it needs more replicas before it gets more requests"],
    ),
    "nothing to compare with": (version(), stable(count=20), "wait", ["no stable version had 100 requests to compare with"]),
    "from another engine": (
        version(measures=(*VLLM, *TGI)),
        stable(measures=TGI),
        "promote",
        ["first token p95 244 ms; no stable version measures it", "per token p95 244 ms, 1.00 times v1's 244 ms"],
    ),
    "to another engine": (
        version(measures=TGI),
        stable(measures=(*VLLM, *TGI)),
        "promote",
        ["first token p95: the canary does not measure it", "per token p95 244 ms, 1.00 times v1's 244 ms"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_decided_and_why(name: str) -> None:
    canary, other, decision, told = CASES[name]
    verdict = judged(canary, other)
    reasons = "\n".join(finding.text for finding in verdict.reasons)
    assert verdict.decision == decision, reasons
    for sentence in told:
        assert sentence in reasons


@given(
    st.floats(0, 5_000),
    st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted),
    st.floats(0, 0.2),
)
def test_more_errors_never_speak_for_a_canary(count: float, shares: list[float], others: float) -> None:
    order = [Decision.PROMOTE, Decision.WAIT, Decision.ROLL_BACK]
    fewer, more = (judged(version(count=count, failed=share * count), stable(failed=others * 18_000)) for share in shares)
    assert order.index(fewer.decision) <= order.index(more.decision)


@given(st.floats(1, 100_000), st.floats(0, 0.5), st.floats(0, 0.5))
def test_nobody_is_rolled_back_for_being_alike(count: float, errors: float, slow: float) -> None:
    alike = replace(ROLLOUT, slo=replace(ROLLOUT.slo, availability=0.5, objective=0.5))
    verdict = judged(version(count=count, failed=errors * count, slow=slow), stable(failed=errors * 18_000, slow=slow), alike)
    assert verdict.decision is not Decision.ROLL_BACK


def test_before_the_first_step_it_has_to_be_there_and_no_more() -> None:
    before = replace(ROLLOUT, step=0)
    assert judged(NOBODY, rollout=before).decision is Decision.PROMOTE
    assert judged(replace(NOBODY, ready=0), rollout=before).decision is Decision.WAIT
    # Somebody tries it, so there is something to judge.
    assert judged(NOBODY, rollout=replace(before, headers=True)).decision is Decision.WAIT


def test_after_the_last_step_there_is_nothing_to_compare_with() -> None:
    last, gone = replace(ROLLOUT, step=3), stable(count=0)
    assert judged(version(), gone, last).decision is Decision.PROMOTE
    assert judged(version(failed=90), gone, last).decision is Decision.ROLL_BACK


# Edits.

STACK_FILE = "stacks/Pulumi.prod.yaml"
ROUTE = """\
config:
  llm-platform:traffic:  # all of it
    routes:
      chat:
        rollout:
          to: v2
          step: 1  # since Monday
        versions: {v1: {}, v2: {}}
"""


def edited(verdict: Verdict, content: str = ROUTE) -> str:
    edit = edit_for(verdict, STACK_FILE, content)
    return f"{edit.text}\n{edit.diff}" if edit else ""


def test_a_step_is_one_line_of_the_stack_file() -> None:
    assert edited(judged(version())) == (
        "set traffic.routes.chat.rollout.step to 2: v2 gets 50 % of the requests\n"
        "--- a/stacks/Pulumi.prod.yaml\n"
        "+++ b/stacks/Pulumi.prod.yaml\n"
        "@@ -4,5 +4,5 @@\n"
        "       chat:\n"
        "         rollout:\n"
        "           to: v2\n"
        "-          step: 1  # since Monday\n"
        "+          step: 2  # since Monday\n"
        "         versions: {v1: {}, v2: {}}\n"
    )


def test_back_is_the_configuration_before_the_first_step() -> None:
    bad = version(failed=90)
    told = edited(judged(bad))
    assert told.startswith("set traffic.routes.chat.rollout.step to 0: no request reaches v2\n")
    assert "+          step: 0  # since Monday\n" in told
    assert "until you remove traffic.routes.chat.versions.v2.headers\n" in edited(
        judged(bad, rollout=replace(ROLLOUT, headers=True))
    )
    tried = replace(ROLLOUT, step=0, headers=True)
    assert edited(judged(bad, rollout=tried)) == "remove traffic.routes.chat.versions.v2.headers: no request reaches v2\n"


def test_other_edits_are_told_in_words() -> None:
    assert edited(judged(version(count=10))) == ""
    short = replace(ROLLOUT, steps=(10,))
    assert (
        edited(judged(version(), rollout=short))
        == "add a last step of 100 to traffic.routes.chat.rollout.steps and set step to 2\n"
    )
    assert edited(judged(version(), stable(count=0), replace(ROLLOUT, step=3))) == (
        "v2 has all requests: remove traffic.routes.chat.rollout and v1 from traffic.routes.chat.versions, "
        "and after that models.v1\n"
    )


@pytest.mark.parametrize(
    "rollout",
    [
        "\n          to: v2\n          step: 1",
        "\n          to: v2",
        " {to: v2, step: 0, steps: [10, 100]}",
        " {to: v2}",
        ' {"step":  7, to: v2}',
    ],
)
def test_a_value_is_changed_or_added_however_it_is_written(rollout: str) -> None:
    content = ROUTE.replace("\n          to: v2\n          step: 1  # since Monday", rollout)
    path = ("config", "llm-platform:traffic", "routes", "chat", "rollout")
    before, after = (yaml.safe_load(text) for text in (content, with_value(content, path, "step", 2)))
    there = before["config"]["llm-platform:traffic"]["routes"]["chat"]["rollout"]
    there["step"] = 2
    assert after == before
