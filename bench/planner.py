"""How long the capacity planner takes, beside its figures."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.capacity import Workload, offers, search
from planner.catalog.hardware import accelerator, accelerators
from planner.catalog.models import model as catalog_model
from planner.memory import fit
from planner.model import Model, load
from planner.options import Device, Options, device

ROOT = Path(__file__).parent.parent
IMPORTED = "planner.stack, planner.request, planner.capacity"
MODELS = ("deepseek-ai/DeepSeek-R1", "zai-org/GLM-5.2", "meta-llama/Llama-3.1-8B-Instruct")


@dataclass(frozen=True)
class Row:
    """One measurement: what was timed, its figure if it has one, and how long each run took, in milliseconds."""

    label: str
    figure: float | None
    taken: list[float]

    def line(self) -> str:
        """The row as Markdown, marked where its median misses the figure."""
        median = statistics.median(self.taken)
        figure = "" if self.figure is None else f"{self.figure:g}"
        missed = " (missed)" if self.figure is not None and median > self.figure else ""
        return f"| {self.label} | {figure} | {min(self.taken):.2f} | {median:.2f}{missed} | {max(self.taken):.2f} |"


def measured(runs: int) -> str:
    """The table of every step, each as often as asked."""
    rows = [_import(runs)]
    card = device(accelerator("NVIDIA H200"))
    for name in MODELS:
        config = catalog_model(name).config
        rows.append(Row(f"`load` of {name}", None, _repeated(runs, _loading(config))))
        planned = load(config, name=name)
        for options in (Options(), Options(tensor_parallel_size=8), Options(tensor_parallel_size=4, pipeline_parallel_size=4)):
            label = f"`fit` of {name}, {options.tensor_parallel_size}x{options.pipeline_parallel_size}"
            rows.append(Row(label, 1.0, _repeated(50 * runs, _fitting(planned, card, options))))
        rows.append(Row(f"search for {name}, all instance types", 50.0, _repeated(runs, _searching(planned))))
    head = f"| planner ({runs} runs) | figure ms | min ms | median ms | max ms |\n|---|---|---|---|---|"
    return "\n".join([head, *(row.line() for row in rows)])


def _import(runs: int) -> Row:
    """What importing the planner adds to starting an interpreter."""
    bare, whole = ([_process(statement) for _ in range(runs)] for statement in ("pass", f"import {IMPORTED}"))
    start = statistics.median(bare)
    return Row("import of the planner, beyond the interpreter's start", 150.0, [taken - start for taken in whole])


def _process(statement: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], cwd=ROOT, check=True)
    return (time.perf_counter() - started) * 1000


def _loading(config: Mapping[str, Any]) -> Callable[[], object]:
    return lambda: load(config)


def _fitting(planned: Model, card: Device, options: Options) -> Callable[[], object]:
    return lambda: fit(planned, card, options)


def _searching(planned: Model) -> Callable[[], object]:
    catalogue = offers(tuple(accelerators()))
    workload = Workload(concurrency=32)
    return lambda: search(planned, workload, catalogue)


def _repeated(count: int, step: Callable[[], object]) -> list[float]:
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        step()
        taken.append((time.perf_counter() - started) * 1000)
    return taken
