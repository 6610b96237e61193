"""Nodes that bring no device plugin get one, and those that bring theirs do not."""

from pathlib import Path
from typing import Any

import pytest

from tests.recorder import Recording
from tests.stacks.program import build, whole

AL2023 = {"family": "al2023", "release": "1.36.1-20260714"}


def _releases(recording: Recording) -> dict[str, Any]:
    return {
        each.inputs["name"]: whole(each.inputs["values"])
        for each in recording.of("kubernetes:helm.sh/v3:Release")
        if each.inputs["name"] in ("nvidia-device-plugin", "aws-efa-k8s-device-plugin")
    }


def test_a_pool_of_al2023_gets_the_plugin_and_bottlerocket_does_not(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _releases(build("prod", root, tmp_path, monkeypatch)) == {}

    def edit(config: dict[str, Any]) -> None:
        config["llm-platform:cluster"]["nodePools"]["h100"]["image"] = AL2023

    (values,) = _releases(build("prod", root, tmp_path, monkeypatch, edit=edit)).values()
    terms = values["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchExpressions": [{"key": "llm-platform/pool", "operator": "In", "values": ["h100"]}]}]
    assert values["mofedEnabled"] is False


def test_a_pool_with_efa_gets_the_plugin_of_its_interfaces(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def edit(config: dict[str, Any]) -> None:
        pool = config["llm-platform:cluster"]["nodePools"]["h100"]
        pool.update(efa=True, zones=[config["llm-platform:network"]["zones"][0]])

    (values,) = _releases(build("prod", root, tmp_path, monkeypatch, edit=edit)).values()
    assert values["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"}]
