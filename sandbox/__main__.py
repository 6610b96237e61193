"""`python -m sandbox`: rehearse the stacks of the project in this directory."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from components.inputs import InputError
from sandbox.control_plane import ControlPlane
from sandbox.engine import Engine, erase, exclusive
from sandbox.errors import SandboxError
from sandbox.project import Project
from sandbox.summary import show, status_screen, summary
from sandbox.toolchain import doctor as examine
from sandbox.toolchain import doctor_table, ensure

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

StackName = Annotated[str, typer.Argument(metavar="STACK", help="A stack of this project, e.g. local.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command()
def up(stack: StackName) -> None:
    """Bring a stack up on its own control plane."""
    with Engine.open(_project().stack(stack)) as engine:
        engine.up(_print)
        show(summary(stack, engine.export().get("resources") or [], engine.outputs()))


@app.command()
def preview(stack: StackName) -> None:
    """Show what `up` would do."""
    with Engine.open(_project().stack(stack)) as engine:
        engine.preview(_print)


@app.command()
def refresh(stack: StackName) -> None:
    """Read what is really there into the state."""
    with Engine.open(_project().stack(stack)) as engine:
        engine.refresh(_print)


@app.command()
def down(stack: StackName) -> None:
    """Delete every object of a stack, then stop its control plane and forget it."""
    project = _project()
    if project.workspace(stack).exists():
        with Engine.open(project.stack(stack)) as engine:
            engine.down(_print)
            engine.forget()
    else:
        ControlPlane(stack, project.clusters).reset()
    typer.echo(f"The stack {stack} is down: no object, process or port is left.")


@app.command()
def start(stack: StackName) -> None:
    """Start a stack's control plane and nodes, without the stack."""
    project = _project()
    declared = project.stack(stack)
    with exclusive(declared):
        _control_plane(project, stack).start(ensure(), declared.rehearsal.nodes)
    status(stack)


@app.command()
def stop(stack: StackName) -> None:
    """Stop a stack's control plane; its data stays."""
    _control_plane(_project(), stack).stop()


@app.command()
def status(stack: StackName, as_json: AsJson = False) -> None:
    """Say what runs."""
    found = _control_plane(_project(), stack).status()
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        show(status_screen(found))


@app.command()
def logs(
    stack: StackName,
    component: Annotated[str | None, typer.Argument(help="etcd, kube-apiserver, …; all when left out.")] = None,
    lines: Annotated[int, typer.Option(min=1, help="Last lines of each.")] = 50,
) -> None:
    """Show what the control plane's processes wrote."""
    typer.echo(_control_plane(_project(), stack).logs(component, lines=lines))


@app.command()
def kubeconfig(stack: StackName) -> None:
    """Print the path of the kubeconfig, for KUBECONFIG."""
    typer.echo(_control_plane(_project(), stack).kubeconfig)


@app.command()
def reset(stack: StackName) -> None:
    """Stop a stack's control plane and forget everything about the stack, deleting nothing one by one."""
    project = _project()
    declared = project.stack(stack)
    with exclusive(declared):
        erase(declared, _control_plane(project, stack))


@app.command()
def tools() -> None:
    """Find every tool, and make those that are missing."""
    for name, path in ensure().items():
        typer.echo(f"{name}: {path}")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say which tools are there, where, and what to do about the others."""
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in examine()], indent=2, default=str))
    else:
        show(doctor_table())


def _project() -> Project:
    return Project.find(Path.cwd())


def _control_plane(project: Project, stack: str) -> ControlPlane:
    return ControlPlane(stack, project.clusters)


def _print(text: str) -> None:
    try:
        print(text, flush=True)  # noqa: T201 - the engine's own output
    except BrokenPipeError:
        # Whoever read this has read enough; the run goes on.
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115


def main() -> None:
    """Run a command; an expected failure is a sentence on standard error and exit code 1."""
    try:
        app()
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
