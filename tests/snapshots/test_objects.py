"""The Kubernetes objects of every committed stack, as reviewed: a change of one is a change of this snapshot."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from tests.recorder import Registration
from tests.stacks.program import STACKS, build, objects


@pytest.mark.parametrize("stack", STACKS)
def test_the_objects_of_a_stack(
    stack: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    recording = build(stack, root, tmp_path, monkeypatch)
    for resource in recording.resources:
        _shorten(resource)
    assert objects(recording) == snapshot(name=stack)


def _shorten(resource: Registration) -> None:
    """Dashboards are left out and of rules only the names are in: both have snapshots of their own, of one stack."""
    kind, metadata = resource.inputs.get("kind"), resource.inputs.get("metadata", {})
    if "grafana_dashboard" in metadata.get("labels", {}):
        resource.inputs["data"] = "tests/unit/test_dashboards.py"
    elif kind == "PrometheusRule":
        resource.inputs["spec"] = _names(resource.inputs["spec"]["groups"])
    elif kind == "ConfigMap" and metadata.get("name", "").startswith("prometheus-rules-"):
        resource.inputs["data"] = {file: _names(yaml.safe_load(text)["groups"]) for file, text in resource.inputs["data"].items()}


def _names(groups: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    return {group["name"]: [rule.get("alert") or rule["record"] for rule in group["rules"]] for group in groups}
