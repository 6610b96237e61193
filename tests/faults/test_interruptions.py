"""What a rehearsal survives: an engine or a command killed at any point, and everything two people can do at once.

The tests of this file follow each other.
"""

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

KINDS = {
    "/apis/apps/v1/namespaces/models/deployments": 1,
    "/apis/batch/v1/namespaces/models/jobs": 2,
    "/apis/batch/v1/namespaces/node-agents/jobs": 2,
    "/api/v1/namespaces/models/services": 2,
    "/api/v1/namespaces/models/persistentvolumeclaims": 2,
    "/api/v1/persistentvolumes": 4,
}
"""How many objects of each kind the stack has; a duplicate is a resource that was lost and made again."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedProject]:
    project = RehearsedProject.make(ROOT, tmp_path_factory.mktemp("faults"))
    yield project
    project.run("reset")


def _wait_for(text: str, process: subprocess.Popen[str]) -> str:
    """Read what the process prints until `text` is in a line of it."""
    assert process.stdout
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came:\n{seen}")


def _engine_of(process: subprocess.Popen[str]) -> psutil.Process:
    (engine,) = [child for child in psutil.Process(process.pid).children(recursive=True) if child.name() == "pulumi"]
    return engine


def _counts(project: RehearsedProject) -> dict[str, int]:
    with project.api() as api:
        return {path: len(api.items(path)) for path in KINDS}


def _account_names(project: RehearsedProject) -> list[str]:
    with project.api() as api:
        accounts = api.items("/api/v1/namespaces/models/serviceaccounts")
    return [account["metadata"]["name"] for account in accounts if account["metadata"]["name"] != "default"]


def _say_that_nodes_bring_the_plugin(they_do: bool, config: dict[str, Any]) -> None:
    config["llm-platform:cluster"]["nodePools"]["l4"]["shipsDevicePlugin"] = they_do


def test_an_interrupt_ends_the_wait(project: RehearsedProject) -> None:
    """The stack file says that nodes bring the device plugin and they do not, so none offers the accelerator."""
    project.edit(lambda config: _say_that_nodes_bring_the_plugin(True, config))
    process = project.start("up")
    _wait_for("Insufficient nvidia.com/gpu", process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "Traceback" not in output


def _without_accelerator(config: dict[str, Any]) -> None:
    _say_that_nodes_bring_the_plugin(True, config)
    config["sandbox:awaitSeconds"] = 8


def test_a_missing_accelerator_is_named(project: RehearsedProject) -> None:
    good = project.stack_file.read_text()
    project.edit(_without_accelerator)
    code, output = project.run("up")
    assert code == 1
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert any("Insufficient nvidia.com/gpu" in error for error in errors), errors
    project.stack_file.write_text(good)


def test_the_next_up_resumes_and_a_second_command_is_told_who_works_on_the_stack(project: RehearsedProject) -> None:
    project.edit(lambda config: _say_that_nodes_bring_the_plugin(False, config))
    first = project.start("up")
    _wait_for("creating", first)
    code, output = project.run("up")
    assert code == 1
    assert output == (
        f"error: another rehearsal works on the stack local (process {first.pid}); "
        f"wait until it ends, or end it with `kill {first.pid}`\n"
    )
    output, _ = first.communicate(timeout=600)
    assert first.returncode == 0, output
    assert _counts(project) == KINDS


def test_nothing_listens_any_more_after_reset(project: RehearsedProject) -> None:
    status = Counter(connection.status for process in project.processes() for connection in process.net_connections())
    assert status["LISTEN"] >= 2
    project.succeed("reset")
    assert project.processes() == []


def test_engines_and_a_command_killed_during_up_leave_a_stack_that_the_next_up_completes(project: RehearsedProject) -> None:
    """Each `up` goes on where the one before was killed; what one of them lost or made twice would be there in the end."""
    for moment in ("Namespace models-namespace", "Job qwen2-5-7b-prepare", "Deployment qwen2-5-7b-server"):
        process = project.start("up")
        _wait_for(f"{moment} creating", process)
        _engine_of(process).kill()
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 1
        assert "Traceback" not in output
        assert re.search(r"^error: .+$", output, re.MULTILINE)

    process = project.start("up")
    _wait_for("Job qwen2-5-7b-verification creating", process)
    engine = _engine_of(process)
    process.kill()
    process.communicate()
    psutil.wait_procs([engine], timeout=120)

    project.succeed("up")
    assert _counts(project) == KINDS
    assert len(_account_names(project)) == 3
    assert "107 unchanged" in project.succeed("up")
