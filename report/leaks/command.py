"""`python -m report leaks`."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import settings
from components.inputs import InputError
from report.leaks.aws import left
from report.recording import ROOT


def leaks(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="Name of a stack in stacks/ whose cluster is in AWS, e.g. prod.")],
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="Leave out what this state knows (`pulumi stack export --file`)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what AWS still has of a stack: kept on purpose, going by itself, or leaked.

    For a stack that was destroyed, or, with --state, for what one that is there does not know of. Asks the account of your
    credentials by the tags of the stack and of its cluster, and changes nothing. Ends with 1 where something was leaked.

    Example:

      python -m report leaks prod
    """
    import boto3  # noqa: PLC0415 - only who asks AWS waits for its import
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    file = settings.stack_file(stack)
    on_eks = settings.from_file(ROOT / file, file).on_eks()
    if on_eks is None:
        raise InputError(f"{file}: cluster.kind: the stack makes nothing in AWS, so none is left there; use one of kind eks")
    wanted = on_eks.aws.account_id
    try:
        session = boto3.Session(region_name=on_eks.aws.region)
        account = session.client("sts").get_caller_identity()["Account"]
        if account != wanted:
            raise InputError(f"{file}: aws.accountId: your credentials are of account {account}; use those of {wanted}")
        found = left(session, on_eks.cluster.name, _known(state) if state else ())
    except (BotoCoreError, ClientError) as error:
        raise InputError(f"AWS: {error}") from None
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2))  # noqa: T201
    elif not found:
        print(f"{stack}: nothing is left")  # noqa: T201
    else:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("what", "ARN", "", "why", "what to do"):
            table.add_column(column, overflow="fold")  # half an ARN is none
        for each in found:
            table.add_row(*map(Text, (each.kind, each.arn, "leaked" if each.leaked else "kept", each.why, each.remedy)))
        Console().print(table)
    if any(each.leaked for each in found):
        sys.exit(1)


def _known(state: Path) -> set[str]:
    try:
        resources = json.loads(state.read_text("utf-8"))["deployment"].get("resources") or []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"--state {state}: this is no state; give what `pulumi stack export --file {state}` writes") from None
    return {text for resource in resources for text in _arns(resource.get("outputs"))}


def _arns(outputs: Any) -> Iterator[str]:
    """Those of the resource itself, and of what is made with it."""
    for key, value in (outputs or {}).items():
        if key.lower().endswith("arn") and isinstance(value, str):
            yield value
