"""How long the commands of a rehearsal take, each as a whole process in a fresh copy of the project, tools in the cache."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.ground import project_copy
from bench.measure import Spread, plain_environment, table

STEPS = (
    ("control plane and nodes, or the account, ready", "start"),
    ("`up` of the stack", "up"),
    ("`up` again, no change", "up"),
    ("`preview`, no change", "preview"),
    ("`refresh`", "refresh"),
    ("`down`", "down"),
)


def rehearsal(stack: str, runs: int) -> str:
    """Every step in order, as often as asked."""
    seconds: list[list[float]] = [[] for _ in STEPS]
    cpu: list[list[float]] = [[] for _ in STEPS]
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            project = project_copy(Path(directory))
            for number, (_, command) in enumerate(STEPS):
                wall, used = _time(project, command, stack)
                seconds[number].append(wall)
                cpu[number].append(used)
    rows = [[label, Spread(s).text(1), Spread(c).text(1)] for (label, _), s, c in zip(STEPS, seconds, cpu, strict=True)]
    return table([f"`{stack}`, {runs} runs", "wall s", "CPU s, without the servers"], rows)


def _time(project: Path, command: str, stack: str) -> tuple[float, float]:
    before, started = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "sandbox", command, stack],
        cwd=project,
        env=plain_environment(),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, used
