"""What each release has deployed outlives the program of today: no preview replaces or deletes what nobody has reviewed."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.releases.names import urns
from tests.releases.recorded import Recorded, recordings, releases, urns_file
from tests.releases.restored import restored

EXPECTED = yaml.safe_load((ROOT / "tests/releases/expected.yaml").read_text())
LOSES = {"replace", "create-replacement", "delete-replaced", "delete", "discard", "discard-replaced"}
"""Operations of the engine after which something that was there is another one, or none."""


def _unexpected(version: str, steps: list[dict[str, Any]]) -> dict[str, str]:
    """By URN the steps by which something is lost that no entry of expected.yaml allows."""
    allowed = [entry["urn"] for entry in EXPECTED if fnmatchcase(version, entry["from"])]
    lost = {step["urn"]: step["op"] for step in steps if step["op"] in LOSES}
    return {urn: op for urn, op in lost.items() if not any(fnmatchcase(urn, pattern) for pattern in allowed)}


def _select_otherwise(resources: list[dict[str, Any]]) -> str:
    """A workload as if the release had selected its pods by one label more, which nobody can take back. Returns its URN.

    One that depends on nothing: of values that are not known yet the API server cannot be asked.
    """
    found = next(resource for resource in resources if resource["type"] == "kubernetes:apps/v1:DaemonSet")
    for obj in (found["inputs"], found["outputs"], found["outputs"]["__inputs"]):
        obj["spec"]["selector"]["matchLabels"]["release"] = "before"
        obj["spec"]["template"]["metadata"]["labels"]["release"] = "before"
    return str(found["urn"])


@pytest.mark.rehearsal
@pytest.mark.parametrize("recorded", recordings(), ids=lambda recorded: f"{recorded.version}-{recorded.stack}")
def test_an_upgrade_replaces_and_deletes_only_what_was_reviewed(recorded: Recorded, tmp_path: Path) -> None:
    """A selector that was changed on purpose shows that a replacement would be seen."""
    printed: list[str] = []
    changed: list[str] = []
    with restored(recorded, ROOT, tmp_path, lambda resources: changed.append(_select_otherwise(resources))) as engine:
        steps = engine.preview(printed.append)
    assert set(_unexpected(recorded.version, steps)) == set(changed), "\n".join(printed)


@pytest.mark.parametrize("version", releases())
def test_every_name_of_a_release_is_there_still_or_has_an_alias(version: str) -> None:
    now = urns()
    known = {*now, *(former for formers in now.values() for former in formers)}
    recorded = urns_file(version).read_text().splitlines()
    assert [urn for urn in recorded if urn not in known] == []
