"""`python -m bench.once WORKSPACE STACK PROGRAM [RECORDING]`: one preview by a process of its own, measured.

A program is measured as a language host runs it: in a fresh interpreter that has loaded nothing but Pulumi's SDK. What the
program asks the engine for is written to RECORDING, where one is named. Prints JSON.
"""

import json
import os
import resource
import runpy
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from pulumi import automation
from pulumi.runtime.settings import SETTINGS


class _Recorder:
    """The engine's monitor, and a note of every resource it is asked for, each after whatever it needs."""

    def __init__(self, monitor: Any) -> None:
        self._monitor = monitor
        self.noted: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._monitor, name)

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        response = self._monitor.RegisterResource(request)
        noted = MessageToDict(request)
        for of_no_account in ("sourcePosition", "stackTrace"):
            noted.pop(of_no_account, None)
        self.noted.append(noted | {"urn": response.urn})
        return response


def main(workspace: str, stack: str, program: str, recording: str = "") -> None:
    """Preview the stack of a workspace with the program of a directory."""
    main_file = Path(program) / "__main__.py"
    sys.path.insert(0, program)
    os.chdir(program)
    noted: list[dict[str, Any]] = []

    def run() -> None:
        if recording:
            recorder = _Recorder(SETTINGS.monitor)
            SETTINGS.monitor = recorder
            recorder.noted = noted
        runpy.run_path(str(main_file), run_name="__main__")

    steps: Counter[str] = Counter()

    def listen(event: automation.EngineEvent) -> None:
        if event.resource_pre_event:
            steps[event.resource_pre_event.metadata.op.value] += 1

    options = automation.LocalWorkspaceOptions(work_dir=workspace)
    selected = automation.select_stack(stack_name=stack, project_name="llm-platform", program=run, opts=options)
    before, before_others, started = _cpu(resource.RUSAGE_SELF), _cpu(resource.RUSAGE_CHILDREN), time.perf_counter()
    selected.preview(on_event=listen, suppress_outputs=True)
    found = {
        "seconds": time.perf_counter() - started,
        "program": _cpu(resource.RUSAGE_SELF) - before,
        "others": _cpu(resource.RUSAGE_CHILDREN) - before_others,
        "mib": _peak_mib(),
        "steps": dict(steps),
    }
    if recording:
        Path(recording).write_text(json.dumps(noted))
    sys.stdout.write(json.dumps(found))


def _cpu(whose: int) -> float:
    """Seconds of processor time, in the program and in the system."""
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def _peak_mib() -> float:
    """The most memory this process had; `ru_maxrss` would tell that of the process it was forked from, where that had more."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main(*sys.argv[1:])
