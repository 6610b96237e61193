"""`python -m report interrupted`."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from components.inputs import InputError
from report.interrupted.operations import still_open


def interrupted(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `pulumi stack export --file FILE` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what an interrupted update has left open, and what to do about each part.

    Ends with 1 where something may be there that no state knows. docs/operations/interrupted-update.md has the way from here.

    Example:

      pulumi stack export --file state.json && python -m report interrupted state.json
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give what `pulumi stack export --file` wrote") from None
    found = still_open(text, str(file))
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2))  # noqa: T201
    else:
        print(f"{len(found)} {'operation is' if len(found) == 1 else 'operations are'} open")  # noqa: T201
        for each in found:
            print(f"{each.doing} {each.resource}: {each.remedy}")  # noqa: T201
    if any(each.look_for for each in found):
        sys.exit(1)
