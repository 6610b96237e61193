"""The commands of docs/operations, run as they stand there.

There is no language host here, so a `pulumi` on PATH hands `up` and `preview` to the rehearsal, which runs the program inline;
all else is the engine's own command line.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.engine import _environment
from sandbox.ground import ground
from sandbox.project import Project
from sandbox.toolchain import ensure
from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

PULUMI = """\
#!{python}
import json, os, subprocess, sys
command, flags = sys.argv[1], sys.argv[2:]
if command not in ("up", "preview"):
    os.execv("{pulumi}", ["{pulumi}", *sys.argv[1:], "--non-interactive"])
def rehearse(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "sandbox", *arguments, "{stack}"], cwd="{root}", check=True, **options).stdout
if "--refresh" in flags:
    rehearse("refresh")
if command == "up":
    rehearse("up")
elif json.loads(rehearse("preview", "--json", capture_output=True)) and "--expect-no-changes" in flags:
    sys.exit("error: changes were proposed")
"""


@dataclass(frozen=True)
class Operator:
    """Somebody who follows the pages, at one rehearsed stack."""

    project: RehearsedProject
    tools: Path
    """A directory for this somebody's programs."""

    @property
    def directory(self) -> Path:
        """Where Pulumi's commands find the project."""
        return self.project.root / ".sandbox" / "workspaces" / self.project.stack

    def environment(self) -> Mapping[str, str]:
        stack = Project(self.project.root).stack(self.project.stack)
        pulumi = ensure(["pulumi"])["pulumi"]
        words = {"python": sys.executable, "pulumi": pulumi, "stack": stack.name, "root": self.project.root}
        self.tools.mkdir(exist_ok=True)
        for name, text in (("pulumi", PULUMI.format_map(words)), ("python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')):
            (self.tools / name).write_text(text)
            (self.tools / name).chmod(0o700)
        given = {**os.environ, **_environment(stack, pulumi, ground(stack)), "STACK": stack.name, "PYTHONPATH": str(ROOT)}
        return given | {"PATH": f"{self.tools}{os.pathsep}{given['PATH']}"}

    def follow(self, page: str, number: int = 0) -> str:
        """Runs one of the blocks `# replayed` of docs/operations/<page>.md; what it printed."""
        text = (ROOT / "docs" / "operations" / f"{page}.md").read_text()
        block = re.findall(r"```sh\n# replayed\n(.*?)```", text, re.DOTALL)[number]
        command = ["bash", "-euo", "pipefail", "-c", block]
        done = subprocess.run(
            command, cwd=self.directory, env=self.environment(), capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout
