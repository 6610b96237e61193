"""One entry point over the tools of this project; `./llm-platform` starts it.

Each area is a Typer application of its own, which `python -m <area>` runs as well. It is imported when it is asked for, so that
`--help` and completion wait for nothing they do not need.
"""

import sys
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


@dataclass(frozen=True)
class Area:
    """A module with `app`, a Typer application, and `main`, which runs it and turns its failures into sentences."""

    module: str
    help: str


AREAS = {
    "sandbox": Area("sandbox.__main__", "Rehearse stacks on this machine: up, preview, verify, graph, down."),
    "planner": Area("planner.__main__", "Does a model fit, where would it run, at what price, and why."),
    "report": Area("report.__main__", "What stacks consist of, and what changes of them mean."),
    "doctor": Area("foundation.doctor", "What is wrong with the hosts of a stack, and how to mend it."),
}


class _Areas(TyperGroup):
    """Knows the names of all areas, and loads the one that is entered."""

    def list_commands(self, _ctx: Any) -> list[str]:
        return list(AREAS)

    def get_command(self, _ctx: Any, name: str) -> TyperCommand | None:
        return TyperCommand(name, help=AREAS[name].help) if name in AREAS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        return name, get_command(import_module(AREAS[str(name)].module).app), rest


app = typer.Typer(cls=_Areas, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def root() -> None:
    """Provision LLM inference platforms, and rehearse them before.

    Every command says more with --help. Names of stacks are those of the files stacks/Pulumi.STACK.yaml.

    Examples:

      llm-platform sandbox up local

      llm-platform planner plan --model Qwen/Qwen3-32B --concurrency 16

      llm-platform report sbom prod > prod.cdx.json

      llm-platform --install-completion
    """


def main() -> None:
    """Run a command as its area does: what is expected to fail is a sentence on standard error and the area's exit code."""
    run = partial(app, prog_name="llm-platform")
    entered = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if entered in AREAS:
        import_module(AREAS[entered].module).main(run)
    else:
        run()


if __name__ == "__main__":
    main()
