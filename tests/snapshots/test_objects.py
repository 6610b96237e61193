"""The Kubernetes objects of every committed stack, as reviewed: a change of one is a change of this snapshot."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from tests.stacks.program import STACKS, build


@pytest.mark.parametrize("stack", STACKS)
def test_the_objects_of_a_stack(
    stack: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    resources = sorted(build(stack, root, tmp_path, monkeypatch).resources, key=lambda resource: resource.urn)
    objects = [_whole(resource.inputs) for resource in resources if resource.on_kubernetes]
    assert yaml.safe_dump_all(objects, width=130) == snapshot(name=stack)


def _whole(value: Any) -> Any:
    """Whole numbers as such: the protocol knows only floating-point ones."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
