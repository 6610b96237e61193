"""What watches every stack: rules that promtool takes and that read what somebody says, settings that Prometheus takes."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from components.monitoring.metrics import known_metrics
from components.monitoring.signals import known
from tests.conftest import ROOT
from tests.promql import metric_names, promtool
from tests.recorder import Recording
from tests.stacks.program import STACKS, build

WATCHED = [stack for stack in STACKS if stack != "migration"]


def _groups(recording: Recording) -> Iterator[dict[str, Any]]:
    """All groups of rules, from ConfigMaps and from PrometheusRules."""
    for resource in recording.resources:
        kind, name = resource.inputs.get("kind"), resource.inputs.get("metadata", {}).get("name", "")
        if kind == "PrometheusRule":
            yield from resource.inputs["spec"]["groups"]
        elif kind == "ConfigMap" and name.startswith("prometheus-rules-"):
            for text in resource.inputs["data"].values():
                yield from yaml.safe_load(text)["groups"]


def _dashboards(recording: Recording) -> Iterator[dict[str, Any]]:
    for resource in recording.resources:
        if "grafana_dashboard" in resource.inputs.get("metadata", {}).get("labels", {}):
            for text in resource.inputs["data"].values():
                yield json.loads(text)


def _rules(recording: Recording, directory: Path) -> list[dict[str, Any]]:
    """All rules, which promtool took."""
    groups = [*_groups(recording)]
    file = directory / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": groups}))
    promtool("check", "rules", "--lint=all", "--lint-fatal", file)
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("stack", WATCHED)
def test_rules_are_right_and_read_what_somebody_says(stack: str, recordings: Mapping[str, Recording], tmp_path: Path) -> None:
    rules = _rules(recordings[stack], tmp_path)
    config = settings.from_file(ROOT / settings.stack_file(stack), stack)
    engines = {name for model in config.models.values() for name in known(model.engine.version)}
    said = known_metrics() | engines | {rule["record"] for rule in rules if "record" in rule}
    assert {name for rule in rules for name in metric_names(rule["expr"])} <= said
    assert {rule["alert"] for rule in rules if "alert" in rule} >= {
        "Watchdog",
        "ModelTimeToFirstTokenBurn",
        "ModelRestartLoop",
    } - {name for name, change in (config.monitoring.alerts if config.monitoring else {}).items() if change.enabled is False}


def test_versions_of_a_route_are_compared(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def watched(config: dict[str, Any]) -> None:
        config["llm-platform:monitoring"] = {"kind": "standalone"}

    rules = _rules(build("migration", root, tmp_path, monkeypatch, edit=watched), tmp_path)
    tracks = {
        (rule["labels"]["route"], rule["labels"]["model_name"]): rule["labels"]["track"]
        for rule in rules
        if rule.get("record") == "llm:version:info"
    }
    assert tracks == {("chat", "qwen-tgi"): "stable", ("chat", "qwen-vllm"): "canary"}
    assert "CanaryWorseThanStable" in {rule.get("alert") for rule in rules}


def test_a_stack_without_monitoring_has_no_rules(recordings: Mapping[str, Recording]) -> None:
    assert [*_groups(recordings["migration"])] == []


@pytest.mark.parametrize("stack", WATCHED)
def test_a_stack_has_its_dashboards(stack: str, recordings: Mapping[str, Recording]) -> None:
    found = {board["uid"]: board for board in _dashboards(recordings[stack])}
    assert set(found) == {"llm-fleet", "llm-model", "llm-accelerator", "llm-cost", "llm-capacity"}


@pytest.mark.parametrize("stack", ["local", "dev"])
def test_prometheus_takes_its_settings(stack: str, recordings: Mapping[str, Recording], tmp_path: Path) -> None:
    (config,) = (
        resource.inputs["data"]["prometheus.yml"]
        for resource in recordings[stack].resources
        if resource.inputs.get("metadata", {}).get("name") == "prometheus-config"
    )
    (tmp_path / "prometheus.yml").write_text(config)
    promtool("check", "config", "--syntax-only", tmp_path / "prometheus.yml")
    jobs = [each["job_name"] for each in yaml.safe_load(config)["scrape_configs"]]
    assert {"models", "dcgm-exporter", "kube-state-metrics", "node-exporter", "kubelet", "cadvisor", "prometheus"} <= set(jobs)
