"""What a rehearsed stack in AWS survives: every call that makes something refused, or the provider killed at it.

`python -m tests.faults.every_creation` kills the provider at each creation in turn, which takes a quarter of an hour.
"""

from collections.abc import Iterator

import pytest

from sandbox.aws.faults import Fault
from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

MOST_RUNS = 40
"""Far more than the longest chain of resources that wait for each other; a stack that needs more does not converge."""

LATE = 60
"""A creation in the middle of the stack."""


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedProject]:
    project = RehearsedProject.make(ROOT, tmp_path_factory.mktemp("faults"), "dev")
    project.edit(lambda config: config.pop("llm-platform:monitoring"))  # nothing of it is in AWS
    yield project
    project.run("reset")


def bring_up(project: RehearsedProject, fault: Fault) -> int:
    """Runs `up` with that fault in each until one succeeds; returns how many it took."""
    project.succeed("start")
    account = project.account()
    account.break_down(fault)
    for run in range(1, MOST_RUNS + 1):
        code, _ = project.run("up", "--continue-on-error")
        if code == 0:
            account.break_down(None)
            return run
        if not fault.each:
            account.break_down(None)
    raise AssertionError(f"not up after {MOST_RUNS} runs")


def check_nothing_is_there_twice(project: RehearsedProject) -> None:
    """What the account holds is what the state knows, and `down` leaves nothing."""
    assert project.changes() == {}
    assert "no object, process or port is left" in project.succeed("down")


def test_every_creation_refused_once(project: RehearsedProject) -> None:
    runs = bring_up(project, Fault(each=True, how="refuse"))
    assert runs > 1
    check_nothing_is_there_twice(project)


@pytest.mark.parametrize("at", [1, LATE])
def test_the_provider_killed_right_after_a_creation(at: int, project: RehearsedProject) -> None:
    assert bring_up(project, Fault(at=at, how="die-after")) == 2
    check_nothing_is_there_twice(project)
