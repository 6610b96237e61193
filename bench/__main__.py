"""`make bench`: time the commands of a rehearsal, each as a whole process, and print the table of bench/README.md."""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent

STEPS = (
    ("control plane and nodes ready", ("start", "local")),
    ("`up` of the stack", ("up", "local")),
    ("`up` again, no change", ("up", "local")),
    ("`preview`, no change", ("preview", "local")),
    ("`refresh`", ("refresh", "local")),
    ("`down`", ("down", "local")),
)


def main() -> None:
    """Run every step in order, as often as asked, in a fresh copy of the project each time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often (default 3)")
    runs = parser.parse_args().runs
    seconds: list[list[float]] = [[] for _ in STEPS]
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            project = Path(directory)
            for name in ("Pulumi.yaml", "__main__.py"):
                shutil.copy(ROOT / name, project / name)
            shutil.copytree(ROOT / "stacks", project / "stacks")
            for taken, (_, arguments) in zip(seconds, STEPS, strict=True):
                taken.append(_time(project, arguments))
    print(f"| step ({runs} runs) | min s | median s | max s |\n|---|---|---|---|")
    for (label, _), taken in zip(STEPS, seconds, strict=True):
        print(f"| {label} | {min(taken):.1f} | {statistics.median(taken):.1f} | {max(taken):.1f} |")


def _time(project: Path, arguments: tuple[str, ...]) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
