"""`python -m sandbox`: rehearse the stacks of the project in this directory."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from components.inputs import InputError
from sandbox.engine import Engine, erase, exclusive
from sandbox.errors import SandboxError
from sandbox.ground import ground
from sandbox.project import Project, Stack
from sandbox.summary import show, summary
from sandbox.toolchain import doctor as examine
from sandbox.toolchain import doctor_table, ensure
from sandbox.verify import screen
from sandbox.verify import verify as verification

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

StackName = Annotated[
    str, typer.Argument(metavar="STACK", help="A stack of this project: the name of a file stacks/Pulumi.STACK.yaml, e.g. local.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command()
def up(
    stack: StackName,
    continue_on_error: Annotated[bool, typer.Option("--continue-on-error", help="Make what a failure does not touch.")] = False,
) -> None:
    """Bring a stack up, on its own control plane or in its own AWS account.

    The real Pulumi engine runs the program of this project. Run again it changes what the program or the stack file changed.

    Example:

      python -m sandbox up local
    """
    with Engine.open(_stack(stack)) as engine:
        engine.up(_print, continue_on_error=continue_on_error)
        show(summary(stack, engine.export().get("resources") or [], engine.outputs()))


@app.command()
def verify(stack: StackName, as_json: AsJson = False) -> None:
    """Check what is up: the objects against the plan, and how stand-ins with the pods' command lines answer.

    Ends with 1 and a sentence for each fault.

    Example:

      python -m sandbox verify local
    """
    with Engine.open(_stack(stack)) as engine:
        outcomes = verification(stack, engine.ground, engine.outputs())
    if as_json:
        typer.echo(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    else:
        show(screen(outcomes))
    if faults := [fault for outcome in outcomes for fault in outcome.faults]:
        raise SandboxError("\n".join(faults))


@app.command()
def preview(
    stack: StackName,
    as_json: AsJson = False,
    event_log: Annotated[
        Path | None, typer.Option("--event-log", metavar="FILE", help="Write all that the engine tells, for `report preview`.")
    ] = None,
) -> None:
    """Show what `up` would do. Nothing is changed, and nothing needs to be up.

    Examples:

      python -m sandbox preview prod --json > preview.json

      python -m sandbox preview prod --event-log prod.events && python -m report preview prod prod.events
    """
    # The engine runs in the project's directory, which may be above this one.
    log = event_log.absolute() if event_log else None
    with Engine.open(_stack(stack)) as engine:
        steps = engine.preview(_ignore if as_json else _print, log)
    if as_json:
        typer.echo(json.dumps(steps, indent=2))


@app.command()
def refresh(stack: StackName) -> None:
    """Read what is really there into the state, as after changes by hand.

    Example:

      python -m sandbox refresh local
    """
    with Engine.open(_stack(stack)) as engine:
        engine.refresh(_print)


@app.command()
def down(stack: StackName) -> None:
    """Delete every object of a stack, then end what it stood on and forget it.

    Example:

      python -m sandbox down local
    """
    declared = _stack(stack)
    if declared.project.workspace(stack).exists():
        with Engine.open(declared) as engine:
            engine.down(_print)
            engine.forget()
    else:
        ground(declared).reset()
    typer.echo(f"The stack {stack} is down: no object, process or port is left.")


@app.command()
def start(stack: StackName) -> None:
    """Start a stack's control plane and nodes, or its AWS account, without the stack.

    Example:

      python -m sandbox start local
    """
    declared = _stack(stack)
    with exclusive(declared):
        ground(declared).start(ensure())
    status(stack)


@app.command()
def stop(stack: StackName) -> None:
    """Stop a stack's control plane; its data stays, and `start` or `up` goes on with it.

    Example:

      python -m sandbox stop local
    """
    ground(_stack(stack)).stop()


@app.command()
def status(stack: StackName, as_json: AsJson = False) -> None:
    """Say what of a stack's rehearsal runs, and where it answers.

    Example:

      python -m sandbox status local --json
    """
    found, screen = ground(_stack(stack)).status()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        show(screen)


@app.command()
def logs(
    stack: StackName,
    component: Annotated[str | None, typer.Argument(help="etcd, kube-apiserver, …; all when left out.")] = None,
    lines: Annotated[int, typer.Option(min=1, help="Last lines of each.")] = 50,
) -> None:
    """Show what the processes of a rehearsal wrote.

    Example:

      python -m sandbox logs local kube-apiserver --lines 20
    """
    typer.echo(ground(_stack(stack)).logs(component, lines))


@app.command()
def kubeconfig(stack: StackName) -> None:
    """Print the path of the administrator's kubeconfig (of several clusters: all of them), for KUBECONFIG.

    Example:

      export KUBECONFIG=$(.venv/bin/python -m sandbox kubeconfig local)
    """
    files = ground(_stack(stack)).kubeconfigs()
    if not files:
        raise SandboxError(f"the stack {stack} has no cluster yet; bring it up with `python -m sandbox up {stack}`")
    typer.echo(os.pathsep.join(map(str, files)))


@app.command()
def reset(stack: StackName) -> None:
    """End everything of a stack's rehearsal and forget it, deleting nothing one by one: for one that cannot go `down`.

    Example:

      python -m sandbox reset local
    """
    declared = _stack(stack)
    with exclusive(declared):
        erase(declared, ground(declared))


@app.command()
def graph(
    stack: StackName,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Where the picture goes; STACK.svg by default.")] = None,
    as_dot: Annotated[bool, typer.Option("--dot", help="Print the graph in the language of Graphviz instead.")] = False,
) -> None:
    """Draw a stack as SVG: its components by concern, what they are for, and which wait for which.

    The program runs here as for a stack that is not deployed yet, and asks no cloud, cluster or host.

    Example:

      python -m sandbox graph prod --to prod.svg
    """
    from report.recording import ROOT, recorded  # noqa: PLC0415 - the program and Graphviz are needed for pictures only
    from sandbox.graph import graph as boxes  # noqa: PLC0415
    from sandbox.graph import to_dot, to_svg  # noqa: PLC0415

    if (root := _stack(stack).project.root) != ROOT:
        raise SandboxError(f"{root}: only stacks of llm-platform itself can be drawn; run this in {ROOT}")
    dot = to_dot(boxes(stack, recorded(stack)))
    if as_dot:
        typer.echo(dot, nl=False)
        return
    file = to or Path(f"{stack}.svg")
    file.write_text(to_svg(dot), "utf-8")
    typer.echo(f"The stack {stack} is drawn in {file}.")


@app.command()
def tools() -> None:
    """Find every tool, and make those that are missing. Takes minutes, once per user.

    Example:

      python -m sandbox tools
    """
    for name, path in ensure().items():
        typer.echo(f"{name}: {path}")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say which tools are there, where, and what to do about the others.

    Example:

      python -m sandbox doctor
    """
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in examine()], indent=2, default=str))
    else:
        show(doctor_table())


def _stack(name: str) -> Stack:
    return Project.find(Path.cwd()).stack(name)


def _ignore(_text: str) -> None:
    """The engine's own output, where nobody reads it."""


def _print(text: str) -> None:
    try:
        print(text, flush=True)  # noqa: T201 - the engine's own output
    except BrokenPipeError:
        # Whoever read this has read enough; the run goes on.
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115


def main(run: Callable[[], object] = app) -> None:
    """Run a command; an expected failure is a sentence on standard error and exit code 1."""
    try:
        run()
    except (SandboxError, InputError) as error:
        _fail(str(error))
    except OSError as error:
        place = f" at {error.filename}" if error.filename else ""
        _fail(f"{error.strerror or error}{place}; nothing of the stack was lost: mend that and run the same command again")


def _fail(sentences: str) -> NoReturn:
    typer.echo("\n".join(f"error: {line}" for line in sentences.splitlines()), err=True)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
