"""The bill of materials of a stack that is there, from what the real engine says of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

NOON = "2026-11-21T12:00:00Z"


def _report(*arguments: str, preview: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "report", "sbom", "local", "--timestamp", NOON, *arguments]
    return subprocess.run(command, cwd=ROOT, input=preview, capture_output=True, text=True, check=False)


def _preview(project: RehearsedProject, *flags: str) -> str:
    command = [sys.executable, "-m", "tests.rehearsal.preview_json", project.stack, *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=project.root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_engine_and_the_program_alone_tell_the_same(tmp_path: Path) -> None:
    offline = _report()
    assert offline.returncode == 0, offline.stderr
    project = RehearsedProject.make(ROOT, tmp_path)
    try:
        new = _report("--preview", "-", preview=_preview(project))
        assert (new.stdout, new.stderr) == (offline.stdout, "")
        project.succeed("up")
        there = _report("--preview", "-", preview=_preview(project, "--show-sames"))
        assert (there.stdout, there.stderr) == (offline.stdout, "")
        refused = _report("--preview", "-", preview=_preview(project))
        assert refused.returncode == 2
        assert "resources that stay as they are; make it with --show-sames" in refused.stderr
    finally:
        project.run("reset")
