"""A process of the sandbox that outlives the command which starts it, and that later commands find again."""

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sandbox.control_plane import processes
from sandbox.control_plane.files import exclusive
from sandbox.control_plane.ports import LOOPBACK, choose
from sandbox.control_plane.record import Record
from sandbox.errors import SandboxError

_PROJECT = Path(__file__).parents[1]
_STOP_GRACE_S = 60.0  # what it has started itself ends first
_POLL_S = 0.05


@dataclass(frozen=True)
class Running:
    """A daemon that runs."""

    pid: int
    argv: tuple[str, ...]
    endpoint: str
    """The URL of its port on loopback, without a slash at the end."""


class DiedError(SandboxError):
    """A daemon ended before it answered."""

    def __init__(self, daemon: str, reason: str, log: Path) -> None:
        """`reason` is what its log says."""
        super().__init__(f"{daemon} stopped while starting: {reason} (log: {log})")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """One `python -m sandbox.PACKAGE serve` with everything it owns in one directory. Commands on it wait for each other."""

    package: str
    record: Path
    """The file in its directory that says where it is; its log lies beside that."""
    kind: str
    """What messages call it while it starts."""
    name: str
    """What they call it otherwise."""
    start_wait_s: float
    """How long it may take until it answers."""
    sweep: Callable[[], None] = lambda: None
    """Ends and deletes what it left behind, where it died without doing so; called when it was stopped."""

    @property
    def directory(self) -> Path:
        """Where everything of it is."""
        return self.record.parent

    @property
    def log(self) -> Path:
        """What it writes."""
        return self.record.with_suffix(".log")

    def running(self) -> Running | None:
        """How it is reached now, None when it does not run; waits for no other command."""
        record = Record.load(self.record)
        process = record.processes.get(self.package)
        if process is None or not processes.is_running(process):
            return None
        return Running(process.pid, process.argv, f"http://{LOOPBACK}:{record.ports[self.package]}")

    def start(self, home: Path, *options: str, environment: Mapping[str, str], answers: Callable[[], bool]) -> None:
        """Starts it with its files in `home` and these further options, and returns when it `answers`.

        For who holds it `exclusive`, while it does not run. Raises DiedError, or SandboxError when it does not answer in time.
        """
        record = Record(ports=dict(choose([self.package])))
        port = record.ports[self.package]
        argv = (sys.executable, "-m", f"sandbox.{self.package}", "serve", f"--home={home}", f"--port={port}", *options)
        started = processes.spawn(argv, self.log, {"PYTHONPATH": str(_PROJECT), **environment})
        record.processes[self.package] = started
        try:
            record.save(self.record)
        except OSError:
            processes.stop([started], _STOP_GRACE_S)  # nobody could find it again
            raise
        deadline = time.monotonic() + self.start_wait_s
        while not answers():
            if not processes.is_running(started):
                raise DiedError(self.kind, processes.why_it_died(self.log), self.log)
            if time.monotonic() > deadline:
                self._stop()
                raise SandboxError(f"waited {self.start_wait_s:.0f} s in vain for {self.kind} to answer; see {self.log}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Ends it; its files stay. Does nothing when nothing runs."""
        if self.directory.exists():
            with self.exclusive():
                self._stop()

    def reset(self) -> None:
        """Ends it and deletes its directory."""
        if self.directory.exists():
            with self.exclusive():
                self._stop()
                shutil.rmtree(self.directory)

    def exclusive(self) -> AbstractContextManager[None]:
        """One command at a time."""
        return exclusive(self.directory, self.name)

    def _stop(self) -> None:
        record = Record.load(self.record)
        processes.stop(record.processes.values(), _STOP_GRACE_S)
        record.processes.clear()
        record.save(self.record)
        self.sweep()
