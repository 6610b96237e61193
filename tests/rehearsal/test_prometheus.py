"""The real Prometheus and Alertmanager, with the configuration and the rules that the platform makes, on a small stack.

Its pods and nodes are objects of a real API server, and what they say is simulated.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from components.monitoring.alerts import AlertChange, alerts
from components.monitoring.dashboards import dashboards
from report.canary import Decision, Prometheus, Rollout, decide, measure, read_rules
from sandbox.control_plane import ControlPlane
from settings.alerts import AlertsSettings
from tests.simulators.cluster import NODES, WELL, Scene, jobs
from tests.simulators.engine import REJECTING
from tests.simulators.live import Watched, watched
from tests.simulators.stack import CHAT, FACTS
from tests.unit.test_runbooks import PAGES, queries

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(sys.platform == "darwin", reason="each pod has an address of loopback's, which has one there"),
]

ALWAYS = {"Watchdog", "PromptsLogged"}
SOON: Mapping[str, AlertChange] = TypeAdapter(AlertsSettings).validate_python({name: {"for": "1s"} for name in alerts()})
"""What a stack file would say so that nobody has to wait."""
LOADED = replace(REJECTING, adapters=WELL.adapters, preemptions_per_second=20.0)  # a rate over five minutes, within seconds
TROUBLE = Scene(
    stable=(LOADED, LOADED),
    canary=replace(LOADED, errors=0.5),
    xids=1,
    celsius=95.0,
    card_failed=True,
    cards_offered=0,
    cache_used=0.96,
    disk_used=0.93,
    synced=False,
    scales=False,
    renewal=-86_400.0,
)
FIRES = {
    *("ModelKvCacheSaturated", "ModelPreempting", "ModelRejecting", "ScalerAtMaximum"),
    *("ModelTimeToFirstTokenBurn", "ModelAvailabilityBurn", "CanaryWorseThanStable"),
    *("AcceleratorXid", "AcceleratorTooHot", "AcceleratorUnhealthy", "AcceleratorsMissing"),
    *("ModelCacheFilling", "NodeDiskFilling", "SecretNotSynced", "ScalerBroken", "CertificateExpiring"),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, binaries: Mapping[str, Path]) -> Iterator[Watched]:
    plane = ControlPlane("watched", tmp_path_factory.mktemp("plane"))
    try:
        plane.start(binaries, ())
        with watched(plane, tmp_path_factory.mktemp("watched"), SOON) as running:
            yield running
    finally:
        plane.reset()


@pytest.fixture
def troubled(stack: Watched) -> Watched:
    """The same in trouble, whatever the test before has done to it."""
    stack.stage.scene = TROUBLE
    stack.write_rules(SOON)
    eventually(stack.firing, ALWAYS | FIRES)
    return stack


def eventually(what: Callable[[], Any], wanted: Any, seconds: float = 120) -> None:
    """Until `what` gives what is wanted."""
    deadline, found = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            if (found := what()) == wanted:
                return
        except (httpx.HTTPError, ValueError, AssertionError) as error:
            found = error
        time.sleep(0.3)
    assert found == wanted


def test_everything_is_found_and_read(stack: Watched) -> None:
    eventually(lambda: {each["labels"]["job"] for each in stack.targets() if each["health"] == "up"}, jobs())
    eventually(lambda: [each["lastError"] for each in stack.targets() if each["health"] != "up"], [])
    found = stack.targets()
    assert sorted(each["labels"]["node"] for each in found if each["labels"]["job"] == "kubelet") == sorted(NODES)
    models = {each["labels"]["pod"]: each["labels"] for each in found if each["labels"]["job"] == "models"}
    assert {pod: (each["namespace"], each["node"], each["model_name"]) for pod, each in models.items()} == {
        "chat-0": ("models", "gpu-1", "chat"),
        "chat-1": ("models", "gpu-2", "chat"),
        "chat-2": ("models", "gpu-3", "chat"),
        "chat-next-0": ("models", "gpu-4", "chat-next"),
        "embed-0": ("research", "spot-1", "embed"),
    }


def test_nothing_fires_while_all_is_well(stack: Watched) -> None:
    eventually(lambda: len(stack.ask("sum(llm:generation_tokens:rate5m) > 0")), 1)
    eventually(stack.firing, ALWAYS)


def test_trouble_fires_the_right_alerts_and_no_others(troubled: Watched) -> None:
    time.sleep(3)
    assert troubled.firing() == ALWAYS | FIRES


def test_every_query_of_every_dashboard_returns_data(troubled: Watched) -> None:
    silent = []
    # Steps of queries within queries are at full five minutes; the one that is next still sees what was read last.
    now = time.time()
    at = now - now % 300 + (300 if now % 300 > 10 else 0)
    for uid, text in dashboards(FACTS).items():
        board = json.loads(text)
        chosen = {
            each["name"]: ".*" if each["includeAll"] else _CHOSEN.get(each["name"], "") for each in board["templating"]["list"]
        }
        asked = [_filled(query, chosen) for query in _expressions(board["panels"])]
        assert len(asked) > 10, uid
        silent += [f"{uid}: {query}" for query in asked if not troubled.ask(query, at if ":5m]" in query else None)]
    assert not silent, "\n".join(silent)


def test_every_query_of_every_runbook_can_be_asked(troubled: Watched) -> None:
    for page in PAGES:
        for query in queries(page):
            troubled.ask(query.replace("$MODEL", "chat").replace("$NAMESPACE", "models").replace("$POOL", "h100"))


def test_people_are_told_once_for_each_alert_of_a_model(troubled: Watched) -> None:
    def said() -> set[str]:
        return {message["groupLabels"]["alertname"] for message in troubled.told.messages if message["status"] == "firing"}

    eventually(lambda: (FIRES | {"Watchdog"}) - said(), set())
    of = {"alertname": "ModelRejecting", "model_name": "chat", "namespace": "models"}
    (first, *_) = [group for group in troubled.told.groups("ModelRejecting") if group["groupLabels"] == of]
    assert first["commonAnnotations"]["runbook_url"] == "https://example.org/runbooks/ModelRejecting.md"
    assert first["commonLabels"]["stack"] == FACTS.stack
    # Info is for nobody by default.
    assert "PromptsLogged" not in said()


_BURNS = 'ALERTS{alertname="ModelTimeToFirstTokenBurn", alertstate="firing", model_name="chat"}'


def test_what_burns_fast_mutes_what_burns_slowly_for_the_same_model_alone(troubled: Watched) -> None:
    (fast,) = [each["metric"] for each in troubled.ask(_BURNS)]
    assert (fast["model_name"], fast["severity"], fast["burn"]) == ("chat", "critical", "fast")
    # Slow ones take a quarter of an hour to fire, so they are brought here.
    slow = {key: fast[key] for key in ("alertname", "model_name", "namespace")} | {"severity": "warning", "burn": "slow"}
    troubled.raise_alerts([slow, slow | {"model_name": "other"}])

    def told() -> set[tuple[str, str]]:
        groups = troubled.told.groups("ModelTimeToFirstTokenBurn")
        return {(each["labels"]["model_name"], each["labels"]["burn"]) for group in groups for each in group["alerts"]}

    eventually(told, {("chat", "fast"), ("chat-next", "fast"), ("other", "slow")})
    time.sleep(4)  # a group is told what is new in it after three seconds
    assert told() == {("chat", "fast"), ("chat-next", "fast"), ("other", "slow")}


def test_a_canary_that_fails_is_rolled_back_and_the_alert_says_the_same(troubled: Watched) -> None:
    (alert,) = [each["metric"] for each in troubled.ask('ALERTS{alertname="CanaryWorseThanStable", alertstate="firing"}')]
    said = {key: alert[key] for key in ("model_name", "namespace", "route", "track", "fault")}
    assert said == {"model_name": "chat-next", "namespace": "models", "route": "chat", "track": "canary", "fault": "errors"}
    rules = read_rules().model_copy(update={"least_minutes": 0.0, "least_requests": 20})
    rollout = Rollout(
        route="chat",
        namespace="models",
        canary="chat-next",
        stable=("chat",),
        steps=(25, 100),
        step=1,
        headers=False,
        slo=CHAT.slo,
        generates=True,
    )
    with Prometheus(troubled.url) as prometheus:

        def least() -> float:
            return min(each.ended for each in measure(prometheus, rollout, rules, 60).values())

        eventually(lambda: least() >= rules.least_requests, True)
        verdict = decide(rollout, measure(prometheus, rollout, rules, 60), rules)
    assert verdict.decision is Decision.ROLL_BACK
    reasons = "\n".join(finding.text for finding in verdict.reasons)
    assert "CanaryWorseThanStable (critical) fires" in reasons
    assert re.search(r"requests failed, and .+ to chat: at least [\d.]+ points more", reasons)


def test_a_changed_threshold_is_one_file_and_no_restart(troubled: Watched) -> None:
    started = troubled.ask('process_start_time_seconds{job="prometheus"}')[0]["value"][1]
    cooler = SOON["AcceleratorTooHot"].model_copy(update={"threshold": 99.0})
    assert troubled.write_rules({**SOON, "AcceleratorTooHot": cooler}) == {"alerts-accelerators.yaml"}
    eventually(troubled.firing, ALWAYS | FIRES - {"AcceleratorTooHot"})
    assert troubled.ask('process_start_time_seconds{job="prometheus"}')[0]["value"][1] == started
    assert troubled.process.poll() is None


def test_rules_that_cannot_be_read_change_nothing_and_are_told(troubled: Watched) -> None:
    (troubled.folder / "rules" / "broken.yaml").write_text("groups: [{name: broken, rules: [{record: a, expr: 'sum('}]}]")
    eventually(troubled.firing, ALWAYS | FIRES | {"MonitoringBroken"})
    (troubled.folder / "rules" / "broken.yaml").unlink()
    # It reads again what differs from what it holds, so the same as before would leave it saying that it failed.
    hotter = SOON["AcceleratorTooHot"].model_copy(update={"threshold": 94.0})
    assert troubled.write_rules({**SOON, "AcceleratorTooHot": hotter})
    eventually(troubled.firing, ALWAYS | FIRES)


def test_a_page_that_cannot_be_read_is_told(troubled: Watched) -> None:
    pages = troubled.stage.pages["karpenter-0"]
    path, page = pages.popitem()
    eventually(troubled.firing, ALWAYS | FIRES | {"TargetMissing"})
    (missing,) = troubled.ask('ALERTS{alertname="TargetMissing", alertstate="firing"}')
    assert (missing["metric"]["job"], missing["metric"]["fault"]) == ("karpenter", "down")
    pages[path] = page
    eventually(troubled.firing, ALWAYS | FIRES)


def test_what_is_over_is_over(troubled: Watched) -> None:
    troubled.stage.scene = Scene()
    lasting = {"ModelPreempting", "ModelRejecting", "ModelTimeToFirstTokenBurn", "ModelAvailabilityBurn", "CanaryWorseThanStable"}
    passing = FIRES - lasting  # those over five minutes and more
    eventually(lambda: troubled.firing() & passing, set())


_CHOSEN = {"namespace": "models", "model": "chat"}


def _expressions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("expr"), str):
            yield node["expr"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _expressions(each)


def _filled(query: str, chosen: Mapping[str, str]) -> str:
    """With the variables of its dashboard as Grafana puts them in."""
    query = re.sub(r"\$__(range|interval|rate_interval)\b", "5m", query)
    return re.sub(r"\$\{?(\w+)(:\w+)?\}?", lambda found: chosen[found.group(1)], query)
