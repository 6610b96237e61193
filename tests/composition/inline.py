"""Runs a project's program by the Automation API: `python inline.py PROJECT WORK_DIRECTORY <STEPS`, and tells what came of it.

A script of its own, so that it runs in the environment of a consumer, without this repository on its path. STEPS are JSON, a list
of [verb, {key: value to configure}]; the answer is JSON, one object a step: succeeded, operations (how often by name, what stayed
as it was left out), errors, outputs.
"""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pulumi import automation


def main(project: Path, work: Path, steps: list[tuple[str, dict[str, str]]]) -> list[dict[str, Any]]:
    """What came of each step."""
    manifest = yaml.safe_load((project / "Pulumi.yaml").read_text())
    stack = automation.create_or_select_stack(
        stack_name="dev",
        project_name=manifest["name"],
        program=_program(project, manifest),
        opts=automation.LocalWorkspaceOptions(
            work_dir=str(work), project_settings=automation.ProjectSettings(name=manifest["name"], runtime="python")
        ),
    )
    told = []
    for verb, config in steps:
        for key, value in config.items():
            stack.set_config(key, automation.ConfigValue(value, secret=key in ("kubeconfig", "key")))
        told.append(_step(stack, verb))
    return told


def _step(stack: automation.Stack, verb: str) -> dict[str, Any]:
    operations: dict[str, int] = {}
    errors: list[str] = []

    def hear(event: automation.EngineEvent) -> None:
        if event.summary_event:
            operations.update(
                {automation.OpType(op).value: number for op, number in event.summary_event.resource_changes.items()}
            )
        if (said := event.diagnostic_event) and said.severity == "error":
            errors.append(said.message.strip())

    try:
        getattr(stack, verb)(on_event=hear)
        succeeded = True
    except automation.CommandError:
        succeeded = False
    operations.pop("same", None)
    outputs = {name: output.value for name, output in stack.outputs().items() if not output.secret}
    return {"succeeded": succeeded, "operations": operations, "errors": errors, "outputs": outputs}


def _program(project: Path, manifest: dict[str, Any]) -> Callable[[], None]:
    if manifest["runtime"] == "yaml":
        from tests.composition.yaml_program import program  # the repository, which consumers do not have

        return program(manifest)
    return lambda: _run(project / "__main__.py")


def _run(file: Path) -> None:
    runpy.run_path(str(file), run_name="__main__")


if __name__ == "__main__":
    _, project_directory, work_directory = sys.argv
    print(json.dumps(main(Path(project_directory), Path(work_directory), json.load(sys.stdin))))  # noqa: T201
