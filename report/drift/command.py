"""`python -m report drift`: ask the engine, print what it saw."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from pulumi import automation
from rich.console import Console

import settings
from components.inputs import InputError
from report.drift.findings import findings, undeployed
from report.drift.reading import seen
from report.drift.rendering import as_json, as_markdown, as_table, headline
from report.recording import ROOT

_out = Console(markup=False, highlight=False)


def drift(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="Name of a stack in stacks/, e.g. prod.")],
    rehearsed: Annotated[bool, typer.Option("--rehearsed", help="Ask the rehearsal of the stack, not the real one.")] = False,
    events: Annotated[
        str | None,
        typer.Option(
            "--events",
            metavar="FILE",
            help="Ask nobody: read what `pulumi preview --refresh --event-log FILE` wrote; - for standard input.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what belongs to controllers the platform knows.")] = False,
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON, always with everything.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, e.g. for an issue.")] = False,
) -> None:
    """Say what of a stack is not as it was deployed, whose doing that is, and what to do about it.

    Changes nothing: it is a preview with a refresh, in which every resource is read again. Fields of controllers (the replicas
    of an autoscaler, tags of the cloud) are theirs and no drift; what somebody changed by hand is, and ends this with 1.

    Examples:

      python -m report drift prod

      python -m report drift local --rehearsed --all
    """
    if as_json_ and markdown:
        raise InputError("--json and --markdown: one output has one form; leave one of them out")
    what = seen(_read(events) if events else _asked(stack, rehearsed=rehearsed))
    found = findings(what)
    waiting = undeployed(what, found)
    shown = [finding for finding in found if everything or not finding.known]
    if as_json_:
        print(json.dumps(as_json(stack, found, waiting), indent=2))  # noqa: T201
    elif markdown:
        print(as_markdown(stack, found, waiting), end="")  # noqa: T201
    else:
        _out.print(headline(stack, found, waiting))
        if shown:
            _out.print(as_table(shown))
    if any(not finding.known for finding in found):
        sys.exit(1)


def _read(file: str) -> list[automation.EngineEvent]:
    """Events as the engine prints them, one a line."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        return [automation.EngineEvent.from_json(json.loads(line)) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"--events {file}: cannot be read ({error}); give what `pulumi preview --refresh --event-log FILE` writes"
        ) from None


def _asked(stack: str, *, rehearsed: bool) -> list[automation.EngineEvent]:
    """The events of a preview with a refresh."""
    from sandbox.errors import SandboxError  # noqa: PLC0415 - only who asks the engine waits for its imports

    try:
        return _rehearsed(stack) if rehearsed else _real(stack)
    except (SandboxError, OSError) as error:
        raise InputError(str(error)) from None


def _real(stack: str) -> list[automation.EngineEvent]:
    from sandbox.reports import sentences  # noqa: PLC0415

    settings.read_stack_file(ROOT / settings.stack_file(stack), settings.stack_file(stack))
    found: list[automation.EngineEvent] = []

    def listen(event: automation.EngineEvent) -> None:
        heard(event)
        found.append(event)

    with sentences() as heard:
        automation.select_stack(stack, work_dir=str(ROOT)).preview(refresh=True, on_event=listen)
    return found


def _rehearsed(stack: str) -> list[automation.EngineEvent]:
    from sandbox.engine import Engine  # noqa: PLC0415
    from sandbox.project import Project  # noqa: PLC0415

    declared = Project.find(Path.cwd()).stack(stack)
    if not declared.project.workspace(stack).exists():
        raise InputError(f"the stack {stack} is not rehearsed; bring it up with `python -m sandbox up {stack}`")
    with Engine.open(declared) as engine:
        return engine.refreshed()
