"""The workflows: what actionlint says of them, and what must hold that it does not know."""

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from components.inputs import InputError
from report.__main__ import app
from report.preview.affected import affected
from sandbox.toolchain import ensure
from sandbox.toolchain.tools import catalogue
from tests.conftest import ROOT

FOLDER = ROOT / ".github"
WORKFLOWS = {file.stem: file for file in sorted((FOLDER / "workflows").glob("*.yml"))}
ACTIONS = sorted((FOLDER / "actions").glob("*/action.yml"))
_WRITES = {"contents", "issues", "pull-requests"}


def _read(file: Path) -> dict[str, Any]:
    content: dict[Any, Any] = yaml.safe_load(file.read_text())
    content["on"] = content.pop(True, None)  # YAML 1.1 reads `on` as true
    return content


def _jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, file in WORKFLOWS.items():
        for job, content in _read(file)["jobs"].items():
            yield name, job, content


def _steps() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, job, content in _jobs():
        yield from ((f"{name}.{job}", step) for step in content.get("steps", []))
    for file in ACTIONS:
        yield from ((file.parent.name, step) for step in _read(file)["runs"]["steps"])


@pytest.mark.rehearsal
def test_actionlint_finds_nothing() -> None:
    program = ensure(["actionlint"])["actionlint"]
    # GitHub has `queue` (docs.github.com: control the concurrency of workflows and jobs); actionlint 1.7.12 does not know it yet.
    options = ["-shellcheck=", "-pyflakes=", "-ignore", 'unexpected key "queue" for "concurrency"']
    done = subprocess.run(
        [str(program), *options, *map(str, WORKFLOWS.values())], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_action_is_pinned_by_its_commit_and_says_its_version() -> None:
    lines = [line.strip() for file in (*WORKFLOWS.values(), *ACTIONS) for line in file.read_text().splitlines()]
    uses = [line.partition("uses: ")[2] for line in lines if re.match(r"(- )?uses: ", line)]
    others = [line for line in uses if not line.startswith("./.github/")]
    assert len(others) > 10
    assert [line for line in others if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []
    assert len({line.partition(" ")[0] for line in others}) == len({line.partition("@")[0] for line in others})


def test_nothing_is_permitted_that_is_not_named() -> None:
    for name, file in WORKFLOWS.items():
        top = _read(file)["permissions"]
        assert top == {} or (name == "ci" and top == {"contents": "read"}), name
    for name, job, content in _jobs():
        assert name == "ci" or "permissions" in content, f"{name}.{job}"
        assert name == "ci" or "timeout-minutes" in content or "uses" in content, f"{name}.{job}"


def test_code_of_a_pull_request_never_sees_a_token_that_writes() -> None:
    for name, job, content in _jobs():
        permitted = {key for key, value in (content.get("permissions") or {}).items() if value == "write"} & _WRITES
        ran = [step.get("uses", "") for step in content.get("steps", [])]
        if permitted:
            assert not any(use.startswith(("actions/checkout@", "./")) for use in ran), f"{name}.{job}"
        for step in content.get("steps", []):
            if str(step.get("uses", "")).startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, f"{name}.{job}"
    assert not any("pull_request_target" in (_read(file)["on"] or {}) for file in WORKFLOWS.values())
    assert not any("workflow_run" in (_read(file)["on"] or {}) for file in WORKFLOWS.values())


def test_a_fork_gets_no_credentials_and_is_told_so() -> None:
    jobs = _read(WORKFLOWS["preview"])["jobs"]
    own = "github.event.pull_request.head.repo.full_name == github.repository"
    assert own in jobs["stacks"]["if"]
    assert own.replace("==", "!=") in jobs["none"]["if"]
    assert "No preview" in jobs["none"]["steps"][0]["run"]
    # All others come after the job that a fork does not have, and `!cancelled()` asks for its success.
    assert jobs["preview"]["needs"] == "stacks"
    assert "needs.stacks.result == 'success'" in jobs["comment"]["if"]
    assert "always()" not in WORKFLOWS["preview"].read_text()
    others = {name: _read(file)["on"] for name, file in WORKFLOWS.items() if name not in ("preview", "ci")}
    assert not any("pull_request" in (on or {}) for on in others.values())
    assert "id-token" not in WORKFLOWS["ci"].read_text()


def test_no_text_of_a_stranger_becomes_a_command() -> None:
    found = [where for where, step in _steps() if "${{" in str(step.get("run", ""))]
    assert found == []
    texts = ("title", "body", "head.ref", "head_ref", "label", "message", "ref_name }}-")
    for file in WORKFLOWS.values():
        used = re.findall(r"\$\{\{(.*?)\}\}", file.read_text())
        assert [each for each in used if any(text in each for text in texts)] == [], file.name


def test_previews_give_way_and_deployments_do_not() -> None:
    assert _read(WORKFLOWS["preview"])["concurrency"]["cancel-in-progress"] is True
    assert _read(WORKFLOWS["deploy"])["concurrency"] == {"group": "deploy", "queue": "max", "cancel-in-progress": False}
    for name in ("drift", "release"):
        assert _read(WORKFLOWS[name])["concurrency"]["cancel-in-progress"] is False
    assert _read(WORKFLOWS["deploy"])["jobs"]["deploy"]["strategy"]["max-parallel"] == 1
    one = _read(WORKFLOWS["deploy-stack"])["jobs"]
    assert one["apply"]["needs"] == "plan"
    # The reviewers of the stack's own environment stand between the plan and its application.
    assert one["apply"]["environment"] == "${{ inputs.stack }}"
    assert "--plan " in one["apply"]["steps"][-1]["run"]
    assert "--save-plan " in next(step["run"] for step in one["plan"]["steps"] if step.get("id") == "plan")


def test_no_secret_is_stored() -> None:
    for file in (*WORKFLOWS.values(), *ACTIONS):
        assert "secrets." not in file.read_text(), file.name
        assert "aws-access-key-id" not in file.read_text(), file.name


def test_the_engine_is_the_one_that_is_rehearsed() -> None:
    (version,) = [step["with"]["pulumi-version"] for _, step in _steps() if "pulumi-version" in step.get("with", {})]
    assert version == catalogue().tools["pulumi"].version


def test_every_command_of_the_project_that_is_run_exists() -> None:
    scripts = [str(step["run"]) for _, step in _steps() if "run" in step]
    lines = [line.strip() for script in scripts for line in script.replace("\\\n", " ").splitlines()]
    reports = [found[1] for line in lines if (found := re.search(r"-m report (.*?)( > | >> |\)|$)", line))]
    assert len(reports) == 4
    for line in reports:
        words = ["prod" if "$" in word or "[@]" in word else word for word in shlex.split(line)]
        words = ["origin/main" if before == "--since" else word for before, word in zip(["", *words], words, strict=False)]
        group = get_command(app)
        name, *rest = words
        command = group.commands[name]  # type: ignore[attr-defined]
        command.make_context(name, list(rest))  # click.UsageError where it would not run
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {line.removeprefix("make ") for line in lines if line.startswith("make ")} <= set(targets)
    for line in lines:
        if found := re.search(r"python -c '(.*)'", line):
            ast.parse(found[1])
    assert (ROOT / "policy_pack" / "PulumiPolicy.yaml").exists()


STACKS = ["staging", "prod"]


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        (["stacks/Pulumi.prod.yaml"], ["prod"]),
        (["stacks/Pulumi.prod.yaml", "docs/scaling.md", "stacks/Pulumi.staging.yaml"], STACKS),
        (["stacks/Pulumi.local.yaml", "README.md", "tests/unit/test_names.py", "report/sbom.py"], []),
        (["components/serving/README.md"], []),
        (["components/names.py"], STACKS),
        (["stacks/models/mine.json"], STACKS),
        (["requirements.txt"], STACKS),
        (["policy_pack/rules/stacks.py"], STACKS),
        (["something/new"], STACKS),
        ([], []),
    ],
)
def test_a_change_is_previewed_where_it_may_be_seen(changed: list[str], found: list[str]) -> None:
    assert affected(changed, STACKS) == found


def test_a_commit_that_is_not_here_is_said_so() -> None:
    from report.preview.command import affected as command

    with pytest.raises(InputError, match=r"--since 0000: .*; use a commit that is here, e\.g\. origin/main"):
        command(["prod"], since="0000")
    with pytest.raises(InputError, match=r"stacks/Pulumi\.nowhere\.yaml"):
        command(["nowhere"], since="HEAD")
