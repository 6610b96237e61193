"""Every committed stack builds, in previews and in updates, and registers what was reviewed."""

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.stacks.program import STACKS, build


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("preview", [True, False], ids=["preview", "update"])
def test_the_resources_of_a_stack(
    stack: str, preview: bool, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    """A vanished or renamed URN is a resource destroyed: it needs an alias, not a new snapshot."""
    urns = sorted(resource.urn for resource in build(stack, root, tmp_path, monkeypatch, preview=preview).resources)
    assert len(urns) == len(set(urns))
    assert "\n".join(urns) == snapshot(name=stack)


def test_the_kubeconfig_is_a_secret_wherever_it_goes(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = build("local", root, tmp_path, monkeypatch)
    provider = recording.one("pulumi:providers:kubernetes").inputs["kubeconfig"]
    assert provider["4dabf18193072939515e22adb298388d"] == "1b47061264138c4ac30d75fd1eb44270"
    cluster = dict(recording.outputs)[recording.one("llm-platform:index:ExistingCluster").urn]
    assert cluster["kubeconfig"]["4dabf18193072939515e22adb298388d"] == "1b47061264138c4ac30d75fd1eb44270"
    others = [resource.inputs for resource in recording.resources if resource.type != "pulumi:providers:kubernetes"]
    assert "clusters:" not in str(others)
