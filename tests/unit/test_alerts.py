"""Every alert with what must make it fire and what must not, as Prometheus' own tool sees it."""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

from components.inputs import InputError, Model, validate
from components.monitoring.alerts import AlertChange, alert_groups, alerts, left_out
from components.monitoring.exporters.recording import accelerator_groups
from components.monitoring.facts import PoolFacts, RouteFacts, StackFacts, Track
from components.monitoring.metrics import exporters, known_metrics
from components.monitoring.recording import recording_groups
from components.monitoring.rules import RuleGroup, recorded, rule_files
from components.monitoring.signals import Engine, known
from settings.alerts import AlertsSettings
from settings.slo import PROFILES, SloSettings
from tests.promql import metric_names, promtool, write_rules
from tests.simulators import stack

CHAT = replace(stack.CHAT, pool="l40s", max_replicas=4, startup_budget_seconds=900)
_ALONE = replace(CHAT, min_replicas=1, max_replicas=1, adapters=(), cache_claim=None)
STACK = StackFacts(
    stack="example",
    models=(
        CHAT,
        replace(_ALONE, name="next"),
        replace(_ALONE, name="old", engine_version="0.9.1"),
        replace(_ALONE, name="embed", namespace="research", tenant="research", generates=False),
    ),
    pools=(
        PoolFacts(
            name="l40s",
            vendor="nvidia",
            resource="nvidia.com/gpu",
            per_node=1,
            max_nodes=4,
            labels=(("llm-platform/pool", "l40s"),),
            usd_per_node_hour=1.86,
            spot=True,
        ),
    ),
    routes=(
        RouteFacts(name="talk", namespace="models", versions={"chat": Track.STABLE, "next": Track.CANARY, "old": Track.STABLE}),
        RouteFacts(name="spare", namespace="models", versions={"old": Track.STABLE, "next": Track.CANARY}),
        RouteFacts(name="embed", namespace="research", versions={"embed": Track.STABLE}),
    ),
    prompts_logged=True,
)
"""Two versions of the engine side by side, whose names differ, routes that share models, and a team's model for embeddings."""
JOBS = frozenset({"models", "prometheus", "alertmanager", "kubelet", "kube-state-metrics", "node-exporter", "dcgm-exporter"})
JOBS |= {"karpenter", "keda", "external-secrets", "cert-manager", "fluent-bit"}
RUNBOOKS = "https://example.com/runbooks"


class Scenario(Model):
    """What happens, and what is told of it."""

    alert: str
    when: str
    at: str
    series: Mapping[str, str]
    fires: tuple[Mapping[str, str], ...]
    """Labels of the alerts; none when it must be quiet."""
    jobs: tuple[str, ...] = ()
    prompts_logged: bool = True
    changes: Mapping[str, AlertChange] = Field(default_factory=dict)
    every: str = "1m"


def _scenarios() -> list[Scenario]:
    found = []
    for file in sorted((Path(__file__).parent / "alert_scenarios").glob("*.yaml")):
        # As text: YAML reads 0x30 as a number.
        text = yaml.load(file.read_text(), yaml.BaseLoader)  # noqa: S506
        for entry in text["scenarios"]:
            series = {_named(name, text["names"]): values for name, values in entry["series"].items()}
            found.append(Scenario.model_validate({**entry, "series": series, "every": text["every"]}))
    return found


def _named(series: str, names: Mapping[str, str]) -> str:
    for name, labels in names.items():
        series = series.replace(f"<{name}>", labels)
    return series


SCENARIOS = _scenarios()


def all_groups(
    facts: StackFacts = STACK, jobs: Collection[str] = (), changes: Mapping[str, AlertChange] | None = None
) -> list[RuleGroup]:
    """Every rule of a stack."""
    made = alert_groups(facts, changes or {}, f"{RUNBOOKS}/", jobs or JOBS)
    return [*recording_groups(facts), *accelerator_groups(facts), *made]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: f"{each.alert}: {each.when}")
def test_alerts_fire_and_stay_quiet(scenario: Scenario, tmp_path: Path) -> None:
    facts = replace(STACK, prompts_logged=scenario.prompts_logged)
    groups = _of_alert(scenario.alert, all_groups(facts, scenario.jobs, scenario.changes))
    test = {
        "rule_files": [str(file) for file in write_rules(groups, tmp_path)],
        "evaluation_interval": scenario.every,
        # Else by chance: in truth what is recorded is an interval old at the most, here that may be ten minutes.
        "group_eval_order": [group.name for group in groups if group.rules],
        "tests": [
            {
                "interval": scenario.every,
                "input_series": [{"series": name, "values": values} for name, values in scenario.series.items()],
                "alert_rule_test": [
                    {
                        "eval_time": scenario.at,
                        "alertname": scenario.alert,
                        "exp_alerts": [{"exp_labels": dict(labels)} for labels in scenario.fires],
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", tmp_path / "test.yaml")


def _of_alert(name: str, groups: Collection[RuleGroup]) -> list[RuleGroup]:
    """The rules of one alert without their texts, and all that they read, directly or not."""
    rules = [rule for group in groups for rule in group.rules]
    wanted: set[str] = set()
    more = {series for rule in rules if rule.get("alert") == name for series in metric_names(rule["expr"])}
    while more - wanted:
        wanted |= more
        more = {series for rule in rules if rule.get("record") in wanted for series in metric_names(rule["expr"])}
    return [
        replace(
            group,
            rules=[
                {key: value for key, value in rule.items() if key != "annotations"}
                for rule in group.rules
                if rule.get("alert") == name or rule.get("record") in wanted
            ],
        )
        for group in groups
    ]


def test_every_alert_has_both() -> None:
    fired = {scenario.alert for scenario in SCENARIOS if scenario.fires}
    quiet = {scenario.alert for scenario in SCENARIOS if not scenario.fires}
    assert fired == quiet == set(alerts())


def test_every_rule_of_every_alert_fires_once() -> None:
    told = {(scenario.alert, labels.get("fault") or labels.get("burn")) for scenario in SCENARIOS for labels in scenario.fires}
    rules = [rule for group in all_groups() for rule in group.rules if "alert" in rule]
    assert told == {(rule["alert"], rule["labels"].get("fault") or rule["labels"].get("burn")) for rule in rules}


def test_texts_name_only_labels_that_their_alerts_have() -> None:
    for group in all_groups():
        for rule in (rule for rule in group.rules if "alert" in rule):
            part = {key: rule["labels"][key] for key in ("fault", "burn") if key in rule["labels"]}
            fires = [labels for each in SCENARIOS if each.alert == rule["alert"] for labels in each.fires]
            labels = next(labels for labels in fires if part.items() <= labels.items())
            text = " ".join(rule["annotations"].values())
            assert set(re.findall(r"\$labels\.(\w+)", text)) <= set(labels), rule["alert"]
            assert not re.search("THRESHOLD|FAULT|JOBS|CLAIMS|ABSENT|START|SCALERS|SCALED", f"{rule}"), rule["alert"]
            assert rule["annotations"]["runbook_url"] == f"{RUNBOOKS}/{rule['alert']}.md"


_LEGACY = replace(_ALONE, name="next", engine=Engine.TGI, engine_version="3.3.7")
_STACKS = {
    "all": (STACK, JOBS),
    "without models": (replace(STACK, models=()), JOBS),
    "embeddings only": (replace(STACK, models=[model for model in STACK.models if not model.generates]), JOBS),
    "bare": (replace(STACK, models=STACK.models[:1], pools=()), frozenset({"models", "prometheus"})),
    "without prices": (
        replace(
            STACK,
            models=[replace(model, usd_per_replica_hour=None) for model in STACK.models],
            pools=[replace(pool, usd_per_node_hour=None) for pool in STACK.pools],
        ),
        JOBS,
    ),
    "a legacy engine beside another": (replace(STACK, models=(CHAT, _LEGACY)), JOBS),
    "a legacy engine alone": (replace(STACK, models=(_LEGACY,)), JOBS),
    "objectives that differ": (
        replace(STACK, models=(CHAT, replace(CHAT, name="fast", slo=replace(CHAT.slo, time_to_first_token_s=0.5)))),
        JOBS,
    ),
}


@pytest.mark.parametrize("name", _STACKS)
def test_promtool_finds_nothing_wrong_with_the_rules_of_a_stack(name: str, tmp_path: Path) -> None:
    facts, jobs = _STACKS[name]
    files = write_rules(all_groups(facts, sorted(jobs)), tmp_path)
    promtool("check", "rules", "--lint=all", "--lint-fatal", *files)


@pytest.mark.parametrize("name", _STACKS)
def test_every_metric_of_every_rule_is_known(name: str) -> None:
    facts, jobs = _STACKS[name]
    groups = all_groups(facts, sorted(jobs))
    engines = {series for model in facts.models for series in known(model.engine_version, model.engine)}
    # What a stack cannot have, a rule of it may still ask for: it finds nothing there.
    of_all = recorded(all_groups())
    for group in groups:
        for rule in group.rules:
            assert metric_names(rule["expr"]) <= known_metrics() | of_all | engines, rule
            if "alert" in rule:
                assert not any(series.startswith(("vllm:", "tgi_")) for series in metric_names(rule["expr"])), rule


def test_tables_of_exporters_have_what_rules_read_and_no_more_than_they_say() -> None:
    read = {series for group in all_groups() for rule in group.rules for series in metric_names(rule["expr"])}
    for name in ("karpenter", "keda", "external-secrets", "cert-manager", "prometheus", "alertmanager", "kubelet"):
        assert set(exporters()[name].metrics) & read, name
        assert exporters()[name].source


def test_a_changed_threshold_changes_one_family() -> None:
    before, after = (rule_files(all_groups(changes=changes)) for changes in ({}, {"ModelQueueOld": AlertChange(threshold=60)}))
    assert [family for family in before if before[family] != after[family]] == ["alerts-models"]
    (changed,) = [
        (old, new)
        for olds, news in zip(before["alerts-models"], after["alerts-models"], strict=True)
        for old, new in zip(olds["rules"], news["rules"], strict=True)
        if old != new
    ]
    assert (changed[0]["expr"], changed[1]["expr"]) == tuple(f"llm:queue_time_seconds:p95_5m > {seconds}" for seconds in (30, 60))


def test_changes_reach_the_rule() -> None:
    change = AlertChange.model_validate({"threshold": 28.8, "for": "5m", "severity": "warning"})
    made = {
        rule["labels"]["burn"]: rule
        for group in all_groups(changes={"ModelAvailabilityBurn": change})
        for rule in group.rules
        if rule.get("alert") == "ModelAvailabilityBurn"
    }
    assert (made["fast"]["for"], made["fast"]["labels"]["severity"]) == ("5m", "warning")
    assert "error_ratio1h > on (namespace, model_name) group_left () (28.8 *" in made["fast"]["expr"]
    assert "error_ratio3d > on (namespace, model_name) group_left () (2 *" in made["slow"]["expr"]


def test_alerts_without_a_source_are_left_out_with_a_reason() -> None:
    made = {rule["alert"] for group in all_groups(*_STACKS["bare"]) for rule in group.rules if "alert" in rule}
    missing = left_out(*_STACKS["bare"])
    assert made == set(alerts()) - set(missing)
    assert missing["SpotInterruption"] == "no pool of the stack has spot nodes"
    assert missing["NodeDiskFilling"] == "node-exporter is not scraped"
    assert missing["ScalerBroken"] == "kube-state-metrics is not scraped"
    assert left_out(STACK, sorted(JOBS)) == {}
    missing = left_out(*_STACKS["a legacy engine alone"])
    unmeasured = {"ModelTimeToFirstTokenBurn", "ModelInterTokenLatencyBurn", "ModelKvCacheSaturated", "ModelPreempting"}
    assert missing.keys() >= unmeasured
    assert missing["ModelPreempting"] == "no engine of the stack says so"
    rebellions = replace(STACK.pools[0], vendor="rebellions", resource="rebellions.ai/ATOM")
    missing = left_out(replace(STACK, pools=[rebellions]), [*JOBS - {"dcgm-exporter"}, "rebellions-exporter"])
    assert missing == dict.fromkeys(
        ("AcceleratorXid", "AcceleratorMemoryErrors"), "no exporter of the stack's accelerators says so"
    )


class _Settings(Model):
    alerts: AlertsSettings = Field(default_factory=dict)
    slo: SloSettings = Field(default_factory=SloSettings)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"alerts": {"ModelQueueOd": {}}}, "alerts: ModelQueueOd is no alert of this platform; did you mean ModelQueueOld"),
        (
            {"alerts": {"ModelKvCacheSaturated": {"threshold": 95}}},
            "alerts: ModelKvCacheSaturated.threshold: 95 is not 0.5 to 1 (share of the KV cache, on average over the replicas); "
            "use e.g. 0.95",
        ),
        ({"alerts": {"Watchdog": {"threshold": 1}}}, "alerts: Watchdog.threshold: Watchdog compares nothing; remove it"),
        (
            {"alerts": {"ModelQueueOld": {"for": "10 minutes"}}},
            "alerts.ModelQueueOld.for: '10 minutes' is not a duration of Prometheus; use e.g. 10m",
        ),
        ({"alerts": {"ModelQueueOld": {"severity": "page"}}}, "'page' is not known; use 'critical', 'warning' or 'info'"),
        (
            {"slo": {"timeToFirstTokenSeconds": 2}},
            "slo: timeToFirstTokenSeconds: 2 is no edge of the engine's buckets (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, "
            "0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560); use e.g. 2.5",
        ),
        ({"slo": {"availability": 1}}, "slo.availability: 1 is not allowed; use 0.9999 or less"),
    ],
)
def test_settings_that_cannot_be_are_refused(data: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        validate(_Settings, data, "stack.yaml")
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_objectives_come_from_the_profile_where_none_is_set() -> None:
    for profile, slo in PROFILES.items():
        # The defaults are edges too.
        same = SloSettings(
            time_to_first_token_seconds=slo.time_to_first_token_s, inter_token_latency_seconds=slo.inter_token_latency_s
        )
        assert SloSettings().slo(profile) == same.slo(profile) == slo
    set_ = SloSettings(time_to_first_token_seconds=5, objective=0.95).slo("latency")
    assert (set_.time_to_first_token_s, set_.inter_token_latency_s, set_.objective, set_.availability) == (5, 0.05, 0.95, 0.999)
