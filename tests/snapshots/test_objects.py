"""The Kubernetes objects of every committed stack, as reviewed: a change of one is a change of this snapshot."""

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.stacks.program import STACKS, build, objects


@pytest.mark.parametrize("stack", STACKS)
def test_the_objects_of_a_stack(
    stack: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    assert objects(build(stack, root, tmp_path, monkeypatch)) == snapshot(name=stack)
