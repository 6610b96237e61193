"""What all benchmarks share: runs of whole processes, their medians and spread, and lines of a table."""

import json
import math
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def text(self, digits: int = 2) -> str:
        """Median, and in brackets the least and the most."""
        return f"{self.median:.{digits}f} ({min(self.values):.{digits}f} to {max(self.values):.{digits}f})"


def ratios(these: Sequence[float], those: Sequence[float]) -> Spread:
    """How much more `these` are than `those`, pair by pair: what a busy moment does to both of a pair cancels out."""
    return Spread([this / that for this, that in zip(these, those, strict=True)])


def exponent(sizes: Sequence[float], measured: Sequence[float]) -> float:
    """The b of measured = a * size^b, by least squares over logarithms: 1 is linear, 2 quadratic. Raises ValueError for less
    than two sizes."""
    logarithms = [math.log(size) for size in sizes], [math.log(value) for value in measured]
    try:
        return statistics.linear_regression(*logarithms).slope
    except statistics.StatisticsError as error:
        raise ValueError(str(error)) from None


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def machine() -> str:
    """What was measured on, with the versions that matter; one sentence."""
    gib = psutil.virtual_memory().total / 2**30
    load, _, _ = os.getloadavg()
    parts = [f"Python {platform.python_version()}"]
    parts += [f"{name} {version(package)}" for name, package in (("Pulumi's SDK", "pulumi"), ("pydantic", "pydantic"))]
    return (
        f"Measured on {os.cpu_count()} cores with {gib:.0f} GiB of memory, a load of {load:.1f} at the end, {', '.join(parts)}."
    )


def plain_environment() -> dict[str, str]:
    """That of this process, but compiled modules are kept, as everywhere but where somebody forbade it."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(ROOT)}


def child(*arguments: str, cwd: Path = ROOT) -> Mapping[str, Any]:
    """What `python -m <arguments>` prints as JSON, run as a process of its own. Raises RuntimeError with what it said when it
    fails."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        env=plain_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"python -m {' '.join(arguments)}: {(done.stderr.strip() or done.stdout.strip())[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
