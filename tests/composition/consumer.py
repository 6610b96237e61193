"""A project of another team, run by the real engine in an environment of its own, as far as the project's language can be had."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.plugins import EMULATED
from tests.conftest import ROOT

_SECONDS = 400
"""Only a failure takes so long."""

Step = tuple[str, Mapping[str, str]]
"""A verb of the Automation API, and what is configured before it."""


@dataclass(frozen=True)
class Outcome:
    """What came of a step."""

    succeeded: bool
    operations: dict[str, int]
    """How many resources were created, updated …; those that stayed as they were are left out."""
    errors: list[str]
    outputs: dict[str, Any]


@dataclass(frozen=True)
class Consumer:
    """A project with what runs it."""

    command: list[str]
    """Takes the work directory as its last argument, steps on its standard input; prints what came of them."""
    directory: Path
    """For the engine's state and the stack's configuration."""
    pulumi: Path
    environment: Mapping[str, str]

    def run(self, *steps: Step) -> list[Outcome]:
        """The steps one after another, in one process."""
        state, work = self.directory / "state", self.directory / "work"
        for folder in (state, work):
            folder.mkdir(exist_ok=True)
        path = [str(ROOT / "plugin/bin"), str(EMULATED), str(self.pulumi.parent), os.environ["PATH"]]
        done = subprocess.run(
            [*self.command, str(work)],
            input=json.dumps(steps),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env={
                **os.environ,
                "PULUMI_BACKEND_URL": state.as_uri(),
                "PULUMI_CONFIG_PASSPHRASE": "test",
                "PULUMI_ERROR_OUTPUT_STRING": "1",
                "PULUMI_SKIP_UPDATE_CHECK": "true",
                "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
                "LLM_PLATFORM_PYTHON": sys.executable,
                "PATH": os.pathsep.join(path),
                **self.environment,
            },
        )
        assert done.returncode == 0, done.stderr
        return [Outcome(**told) for told in json.loads(done.stdout.splitlines()[-1])]
