"""What is said of operations that nobody knows the end of."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.inputs import InputError
from report.__main__ import app
from report.interrupted import still_open


def state(*operations: tuple[str, str, dict[str, Any]]) -> str:
    pending = [
        {"type": doing, "resource": {"type": type_, "urn": f"urn:pulumi:prod::llm-platform::{type_}::thing", "inputs": inputs}}
        for doing, type_, inputs in operations
    ]
    return json.dumps({"version": 3, "deployment": {"pending_operations": pending, "resources": []}})


def test_what_was_being_made_is_looked_for_by_the_name_it_would_have() -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "check-1a2b", "namespace": "models"}}
    role = {"namePrefix": None, "roleName": "node-1a2b"}
    first, second = still_open(
        state(("creating", "kubernetes:batch/v1:Job", job), ("creating", "aws:iam/role:Role", role)), "state.json"
    )
    assert first.look_for == "Job models/check-1a2b"
    assert "`kubectl -n models delete --ignore-not-found job check-1a2b`" in first.remedy
    assert second.look_for == "node-1a2b"
    assert "`pulumi import aws:iam/role:Role thing ID`" in second.remedy


def test_what_was_there_before_is_read_again() -> None:
    (update,) = still_open(state(("updating", "aws:iam/role:Role", {})), "state.json")
    assert (update.look_for, "pulumi refresh" in update.remedy) == ("", True)


def test_another_file_is_told_in_one_sentence() -> None:
    with pytest.raises(InputError, match=r"^state\.json: this is no state; .*\.$|^state\.json: this is no state"):
        still_open("[]", "state.json")


@pytest.mark.parametrize(("operations", "code"), [((), 0), ((("creating", "aws:iam/role:Role", {}),), 1)])
def test_the_command_ends_with_1_where_something_may_be_there(operations: Any, code: int, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text(state(*operations))
    assert CliRunner().invoke(app, ["interrupted", str(file)]).exit_code == code
