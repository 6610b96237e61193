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

_SECONDS = 900
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
    """Ends in the project's directory. Takes a work directory as one more argument and steps on its standard input; prints what
    came of them."""
    directory: Path
    """For the engine's state and the stack's configuration."""
    pulumi: Path
    environment: Mapping[str, str]
    by_plugin: bool = False
    """Whether the engine asks the plugin for its components, which has keys as the schema does."""

    def refusal(self, component: str, name: str, sentence: str) -> str:
        """How an error of a component begins with that sentence; `{key}` in it is the key maxModelLen as the language has it."""
        told = f"{component} {name}: {sentence.format(key='maxModelLen' if self.by_plugin else 'max_model_len')}"
        return f"llm-platform:index:{component} resource '{name}' has a problem: {told}" if self.by_plugin else told

    def run(self, *steps: Step) -> list[Outcome]:
        """The steps one after another, in one process."""
        state, work = self.directory / "state", self.directory / f"work-{Path(self.command[-1]).name}"
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
                "LLM_PLATFORM_AWAIT_SECONDS": "300",
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
