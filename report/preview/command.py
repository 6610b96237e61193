"""`python -m report preview` and `python -m report affected`: read what the engine wrote, print what a pull request needs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

import settings
from components.inputs import InputError
from report.preview.affected import affected as affected_by
from report.preview.comment import LIMIT, comment
from report.preview.events import read
from report.recording import ROOT

Stack = Annotated[str, typer.Argument(metavar="STACK", help="Name of a stack in stacks/, e.g. prod.")]


def preview(
    stack: Stack,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="The events of a preview; - for standard input.")] = "-",
    run: Annotated[
        str | None, typer.Option("--run", metavar="URL", help="Where the whole of it can be read, for a link at the end.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="BYTES", min=2000, help="What a comment may hold; GitHub's by default.")
    ] = LIMIT,
) -> None:
    """Print the report on a preview: one comment for a pull request, in Markdown.

    Says what a change costs, which accelerators it takes, what is replaced or deleted and what that means for models that answer
    and for what is stored, how the plan changes, and what rules object to. Shows no secret. Asks nobody and changes nothing.

    Examples:

      python -m sandbox preview local --event-log local.events && python -m report preview local local.events

      PULUMI_ENABLE_STREAMING_JSON_PREVIEW=true pulumi preview --stack prod --json | python -m report preview prod
    """
    settings.stack_file(stack)
    where = "standard input" if file == "-" else file
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: cannot be read ({error}); give the file with the events of a preview") from None
    print(comment(stack, read(text, where), run=run, limit=limit), end="")  # noqa: T201


def affected(
    stacks: Annotated[list[str], typer.Argument(metavar="STACK...", help="The stacks to choose from, e.g. staging prod.")],
    since: Annotated[str, typer.Option("--since", metavar="COMMIT", help="What the change is measured from, e.g. origin/main.")],
) -> None:
    """Print the stacks that a change of this repository may touch, as a JSON list: those a pull request has to preview.

    Example:

      python -m report affected staging prod --since origin/main
    """
    for stack in stacks:
        settings.read_stack_file(ROOT / settings.stack_file(stack), settings.stack_file(stack))
    command = ["git", "diff", "--name-only", "--no-renames", "-z", f"{since}...HEAD", "--"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"--since {since}: {done.stderr.strip()}; use a commit that is here, e.g. origin/main")
    print(json.dumps(affected_by(filter(None, done.stdout.split("\0")), stacks)))  # noqa: T201
