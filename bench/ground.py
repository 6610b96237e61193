"""Stacks to measure previews of: a copy of the project whose engine, cluster and account are made for the measurement alone."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.measure import ROOT, child
from sandbox.engine import Engine
from sandbox.project import Project


@dataclass(frozen=True)
class Measured:
    """One preview: seconds on the clock, seconds of processor time of the program and of all it called (engine and providers),
    the program's peak memory, and how many steps of each kind it showed."""

    seconds: float
    program: float
    others: float
    mib: float
    steps: Mapping[str, int]

    @property
    def cpu(self) -> float:
        return self.program + self.others


@dataclass(frozen=True)
class Previews:
    """A stack that can be previewed by different programs."""

    stack: str
    directory: Path
    workspace: Path

    def preview(self, program: Path, recording: Path | None = None) -> Measured:
        """One preview by the `__main__.py` of a directory."""
        noted = [str(recording)] if recording else []
        return Measured(**child("bench.once", str(self.workspace), self.stack, str(program), *noted, cwd=self.directory))


@contextlib.contextmanager
def previews(stack: str, config: Mapping[str, Any] | None = None) -> Iterator[Previews]:
    """A stack that is not there yet, on a ground of its own; that of the project's stack file, or with another `config`."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = project_copy(Path(name))
        if config is not None:
            (directory / "stacks" / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump({"config": config}, sort_keys=False))
        declared = Project(directory).stack(stack)
        with Engine.open(declared) as engine:
            try:
                yield Previews(stack, directory, declared.project.workspace(stack))
            finally:
                engine.forget()


def project_copy(directory: Path) -> Path:
    """What a rehearsal reads of the project, in a directory of its own; the code stays where it is."""
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy(ROOT / name, directory / name)
    shutil.copytree(ROOT / "stacks", directory / "stacks")
    return directory
