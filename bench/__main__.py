"""`python -m bench`: measure, and print the tables of bench/README.md. Nothing here is a test.

Without a command all of it is measured, which takes about half an hour; `python -m bench overhead prod --runs 3` measures one
thing.
"""

from typing import Annotated

import typer

from bench import planner as planning
from bench.imports import imports as imported
from bench.measure import machine
from bench.overhead import overhead as compared
from bench.rehearsal import rehearsal as rehearsed
from bench.scaling import scaling as grown

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

Stack = Annotated[str, typer.Argument(metavar="STACK", help="A stack of this project, e.g. prod.")]
Runs = Annotated[int, typer.Option("--runs", min=1, help="How often.")]


@app.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """Measure, and print the tables of bench/README.md."""
    if context.invoked_subcommand is None:
        for stack in ("local", "prod"):
            overhead(stack)
        scaling()
        imports()
        for stack in ("local", "prod"):
            rehearsal(stack)
        planner()


@app.command()
def overhead(stack: Stack = "prod", runs: Runs = 5) -> None:
    """Compare a preview with that of a flat program that asks for the same resources, in pairs."""
    _show(compared(stack, runs))


@app.command()
def scaling() -> None:
    """Preview stacks of 1 to 200 models and of 1 to 50 node pools."""
    _show(grown())


@app.command()
def imports(runs: Runs = 5) -> None:
    """Import parts of the program in fresh interpreters."""
    _show(imported(runs))


@app.command()
def rehearsal(stack: Stack = "local", runs: Runs = 3) -> None:
    """Time the commands of a rehearsal."""
    _show(rehearsed(stack, runs))


@app.command()
def planner(runs: Runs = 20) -> None:
    """Time the capacity planner."""
    _show(planning.measured(runs))


def _show(table: str) -> None:
    typer.echo(f"{table}\n\n{machine()}\n")


if __name__ == "__main__":
    app()
