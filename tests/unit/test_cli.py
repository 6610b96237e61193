"""The entry point: it knows every tool, loads the one that is asked for, and says what that one says."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

from cli import AREAS
from tests.commands import problem, shown

COMMANDS = [
    pytest.param(command, id=f"{area} {name}")
    for area, found in AREAS.items()
    for entered in [get_command(import_module(found.module).app)]
    for name, command in (getattr(entered, "commands", None) or {"": entered}).items()
]


def _run(root: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "200"} | variables
    command = [sys.executable, str(root / "cli.py"), *words]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_help_names_every_area_and_loads_none(root: Path) -> None:
    run = _run(root, "--help", PYTHONPROFILEIMPORTTIME="1")
    assert run.returncode == 0
    assert all(f"{name} " in run.stdout and area.help in run.stdout for name, area in AREAS.items())
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"pulumi", "pulumi_aws", "yaml", "pydantic", *AREAS}


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("sandbox status nowhere", 1, "error: stacks/Pulumi.nowhere.yaml does not exist; the stacks of this project are: "),
        ("planner fit --model Qwen/Qwen3-8B", 2, "error: "),
        ("doctor local", 1, "error: stacks/Pulumi.local.yaml: cluster.kind: existing has no hosts to look at; "),
    ],
)
def test_failures_are_the_sentences_and_codes_of_the_tool_itself(root: Path, words: str, code: int, sentence: str) -> None:
    run = _run(root, *words.split())
    (said,) = run.stderr.splitlines()
    assert (run.returncode, said[: len(sentence)]) == (code, sentence)


@pytest.mark.parametrize(("typed", "offered"), [("llm-platform s", {"sandbox"}), ("llm-platform planner ex", {"explain"})])
def test_shells_complete_areas_and_their_commands(root: Path, typed: str, offered: set[str]) -> None:
    words = typed.split()
    run = _run(root, _LLM_PLATFORM_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(words) - 1))
    assert set(run.stdout.split()) == offered


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_is_for_and_shows_one_that_runs(command: object, root: Path) -> None:
    text = str(getattr(command, "help", ""))
    purpose, _, examples = text.partition("Example")
    assert len(purpose.split()) >= 5
    lines = list(shown(f"```sh\n{examples}\n```"))
    assert lines
    assert [(line, problem(line, root)) for line in lines if problem(line, root)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_is_for(command: object) -> None:
    options = [each for each in getattr(command, "params", []) if each.param_type_name == "option"]
    assert [each.name for each in options if not each.help] == []


def test_the_launcher_starts_it_from_anywhere(root: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").symlink_to(root / "llm-platform")
    run = subprocess.run([tmp_path / "bin", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Usage: llm-platform" in run.stdout
