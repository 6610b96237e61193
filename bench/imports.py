"""What starting the program costs before it asks the engine for anything: the imports, and who takes most of them."""

import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench.measure import ROOT, Spread, plain_environment, table

PROGRAM = "apps, foundation, scale, serve, settings, traffic"
"""What `__main__.py` imports."""
_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def imports(runs: int) -> str:
    """Processor time of fresh interpreters that import parts of the program, then the packages that take most of it."""
    parts = {
        "nothing": "sys",
        "the planner": "planner.stack",
        "Pulumi's SDK": "pulumi",
        "settings": "settings",
        "the program": PROGRAM,
    }
    times: dict[str, list[float]] = {label: [] for label in parts}
    for _ in range(runs):
        for label, modules in parts.items():
            times[label].append(_cpu(modules))
    whole = table(["import of", "CPU s"], [[label, Spread(taken).text()] for label, taken in times.items()])
    packages = table(["package", "modules", "ms, by -X importtime"], _packages())
    return f"{whole}\n\n{packages}"


def _cpu(modules: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {modules}"], cwd=ROOT, env=plain_environment(), check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _packages(most: int = 10) -> list[list[object]]:
    """The packages with the longest imports of their own modules."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        with log.open("w") as said:
            command = [sys.executable, "-X", "importtime", "-c", f"import {PROGRAM}"]
            subprocess.run(command, cwd=ROOT, env=plain_environment(), stderr=said, check=True)
        lines = [found for line in log.read_text().splitlines() if (found := _LINE.match(line))]
    times: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    for line in lines:
        package = line[2].partition(".")[0]
        times[package] += int(line[1])
        modules[package] += 1
    return [[f"`{name}`", modules[name], round(taken / 1000)] for name, taken in times.most_common(most)]
