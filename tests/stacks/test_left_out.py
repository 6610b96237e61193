"""What monitoring leaves out of a stack, a preview says."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.stacks.program import build, objects


def test_what_nobody_can_measure_is_left_out_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def changed(config: dict[str, Any]) -> None:
        image = "registry.example.org/vllm-ray@sha256:" + "0" * 64
        on_ray = {"multiNode": "rayService", "engine": {"image": image, "rayVersion": "2.52.1"}}
        config["llm-platform:models"]["deepseek-r1"] |= on_ray
        config["llm-platform:monitoring"]["alerts"] = {"LogsNotDelivered": {"severity": "critical"}}

    monkeypatch.setattr("pulumi.log.warn", lambda text, *_args, **_more: said.append(text))
    rules = [each for each in objects(build("models", ROOT, tmp_path, monkeypatch, edit=changed)).split("---") if "llm:" in each]
    assert any("model_name: qwen3-32b" in each for each in rules)
    assert not any("model_name: deepseek-r1" in each for each in rules), "else its replicas would be missing for ever"
    assert [text for text in said if text.startswith("models.deepseek-r1.multiNode: Ray Serve has no metrics of vLLM's names")]
    assert [text for text in said if text.startswith("monitoring.alerts.LogsNotDelivered: changes nothing")]


@pytest.mark.parametrize("watched", [True, False])
def test_logs_that_no_pod_may_read_are_kept_aloud(watched: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def changed(config: dict[str, Any]) -> None:
        config["llm-platform:logs"] = {}
        for model in config["llm-platform:models"].values():
            model.pop("scaling", None)
        if not watched:
            config.pop("llm-platform:monitoring", None)

    monkeypatch.setattr("pulumi.log.warn", lambda text, *_args, **_more: said.append(text))
    build("local", ROOT, tmp_path, monkeypatch, edit=changed)
    assert any(text.startswith("logs.store: loki answers the stack's own Grafana alone") for text in said) is not watched
