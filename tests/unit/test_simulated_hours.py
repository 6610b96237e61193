"""Hours of a small stack, played to the rules as they are: what should fire does after its time, and nothing else does."""

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from components.monitoring.alerts import alert_groups, alerts
from components.monitoring.exporters.recording import accelerator_groups
from components.monitoring.recording import recording_groups
from components.serving.verification import expected_metrics
from sandbox.toolchain import ensure
from tests.promql import metric_names, write_rules
from tests.simulators.cluster import WELL, Scene, Script, jobs
from tests.simulators.engine import BURST, FAILING, REJECTING, SLOW, STALLED, STEADY, Engine, Load
from tests.simulators.series import STEP_MINUTES, series
from tests.simulators.stack import FACTS, VERSION

ALWAYS = {"Watchdog", "PromptsLogged"}
BEGINS = 40
"""Minutes until something happens; until then all is well."""
EPOCH = 1_800_000_000
"""Seconds since 1970 at the start."""
FIRING = 'count by (alertname) (ALERTS{alertstate="firing"})'


@dataclass(frozen=True)
class Story:
    """What happens, and what fires for it at the end."""

    scene: Callable[[float], Scene]
    """By the seconds since it began."""
    fires: frozenset[str] = frozenset()
    minutes: int = 70


def always(scene: Scene, *fires: str, minutes: int = 70) -> Story:
    return Story(lambda _: scene, frozenset(fires), minutes)


def busy(each: Load, *, wanted: int = 3) -> Scene:
    """The same load on every replica of the chat model and of its next version."""
    load = replace(each, adapters=WELL.adapters)
    return Scene(stable=(load, load), canary=load, wanted=wanted)


FAILING_AROUND = Scene(cache_used=0.95, disk_used=0.92, renewal=-6 * 3600.0, synced=False, scales=False)
STORIES = {
    "all is well": always(Scene(), minutes=150),
    "a burst of five minutes": Story(lambda since: busy(replace(BURST, first_token_seconds=2.0)) if since < 300 else Scene()),
    "more load than there is room for": always(
        busy(REJECTING),
        *("ModelKvCacheSaturated", "ModelPreempting", "ModelRejecting", "ScalerAtMaximum"),
        *("ModelTimeToFirstTokenBurn", "ModelAvailabilityBurn"),
    ),
    "requests fail": always(busy(FAILING), "ModelAvailabilityBurn"),
    "answers crawl": always(busy(SLOW), "ModelTimeToFirstTokenBurn", "ModelInterTokenLatencyBurn"),
    "requests stand in a line": always(busy(replace(STEADY, queue_seconds=60.0)), "ModelQueueOld"),
    "one replica hangs": always(Scene(stable=(STALLED, WELL)), "ModelRequestsStalled"),
    "the next version is worse": always(
        Scene(canary=replace(WELL, slow=0.2)),
        *("CanaryWorseThanStable", "ModelTimeToFirstTokenBurn", "ModelInterTokenLatencyBurn"),
    ),
    "the next version fails requests": always(
        Scene(canary=replace(WELL, errors=0.05)), "CanaryWorseThanStable", "ModelAvailabilityBurn"
    ),
    "one replica lacks an adapter": always(
        Scene(stable=(replace(WELL, adapters=("poems",)), WELL)), "LoraAdapterMissing", minutes=170
    ),
    "a card breaks": Story(
        lambda since: Scene(xids=2, broken_memory=since / 60, celsius=93.0, card_failed=True, cards_offered=0),
        frozenset(
            {"AcceleratorXid", "AcceleratorMemoryErrors", "AcceleratorTooHot", "AcceleratorUnhealthy", "AcceleratorsMissing"}
        ),
    ),
    "cards are paid for and idle": always(Scene(utilization=0.0), "AcceleratorIdle", minutes=150),
    "a start takes too long": always(Scene(newcomer=BEGINS * 60.0, wanted=4), "ModelColdStartOverBudget", "ModelReplicasMissing"),
    "a pool is full": always(
        Scene(newcomer=BEGINS * 60.0, homeless=True, h100_nodes=5, wanted=4),
        *("NodePoolAtLimit", "ModelColdStartOverBudget", "ModelReplicasMissing"),
    ),
    "what is beside the models fails": Story(
        lambda since: replace(
            FAILING_AROUND, restarts=since // 300, interruptions=since // 240, trigger_errors=since, logs_lost=since
        ),
        frozenset({"ModelRestartLoop", "SpotInterruption", "LogsNotDelivered", "ScalerBroken"})
        | {"ModelCacheFilling", "NodeDiskFilling", "CertificateExpiring", "SecretNotSynced"},
    ),
}


@dataclass(frozen=True)
class Rules:
    """All rules of the stack, with no change of any threshold."""

    files: Sequence[str]
    read: frozenset[str]
    """The names of the series that they read."""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    alerting = alert_groups(FACTS, {}, "https://example.org/runbooks", jobs())
    groups = [*recording_groups(FACTS), *accelerator_groups(FACTS), *alerting]
    files = write_rules(groups, tmp_path_factory.mktemp("rules"))
    read = frozenset(name for group in groups for rule in group.rules for name in metric_names(rule["expr"]))
    return Rules([str(file) for file in files], read)


def firing(rules: Rules, folder: Path, script: Script, minutes: Sequence[int]) -> list[set[str]]:
    """The alerts that fire at each of the minutes."""
    expected = [{"labels": "{}", "value": -1}]  # so that promtool says what there is
    questions = [{"expr": FIRING, "eval_time": f"{minute}m", "exp_samples": expected} for minute in minutes]
    told = {
        "interval": f"{STEP_MINUTES}m",
        "start_timestamp": EPOCH,
        "input_series": series(script, minutes=max(minutes), epoch=EPOCH, names=rules.read),
        "promql_expr_test": questions,
    }
    file = folder / "test.json"
    file.write_text(json.dumps({"rule_files": rules.files, "evaluation_interval": f"{STEP_MINUTES}m", "tests": [told]}))
    done = subprocess.run([ensure(["promtool"])["promtool"], "test", "rules", file], capture_output=True, text=True, check=False)
    answers = re.findall(r"got: (.+)", done.stdout + done.stderr)
    assert len(answers) == len(minutes), done.stdout + done.stderr
    return [set(re.findall(r'alertname="(\w+)"', answer)) for answer in answers]


@pytest.mark.parametrize("name", STORIES)
def test_what_should_fire_does_and_nothing_else(name: str, rules: Rules, tmp_path: Path) -> None:
    story = STORIES[name]

    def script(now: float) -> Scene:
        since = now - BEGINS * 60
        return Scene() if since < 0 else story.scene(since)

    before, after = firing(rules, tmp_path, script, (BEGINS - STEP_MINUTES, BEGINS + story.minutes))
    assert before == ALWAYS
    assert after == ALWAYS | story.fires


def test_every_alert_about_something_else_than_monitoring_is_played() -> None:
    played = {alert for story in STORIES.values() for alert in story.fires}
    assert set(alerts()) - played == {*ALWAYS, "TargetMissing", "MonitoringBroken"}


def test_a_simulated_engine_says_all_that_its_version_does() -> None:
    engine = Engine("chat", version=VERSION, lora=True)
    engine.advance(60.0)
    said = {sample.name for metric in engine.collect() for sample in metric.samples}
    assert said >= set(expected_metrics(VERSION, lora=True, speculative=False))
