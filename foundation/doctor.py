"""What is wrong with the hosts of a stack, and how to mend it. Changes nothing.

`python -m foundation.doctor STACK [HOST ...]`
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import settings
from components.cluster.k3s.doctor import Report, Verdict, examine
from components.cluster.k3s.settings import K3sSettings
from components.inputs import InputError
from foundation.k3s import oldest_driver, private_key

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAULT: "red"}


@app.command()
def doctor(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="A stack whose cluster is of kind k3s, e.g. onprem.")],
    hosts: Annotated[list[str] | None, typer.Argument(metavar="[HOST ...]", help="Some of its hosts; all when left out.")] = None,
) -> None:
    """Look at the hosts of a stack over SSH and say what is wrong with them, and how to mend it. Changes nothing.

    Ends with 1 where k3s cannot be installed on a host.

    Example:

      python -m foundation.doctor onprem rack-1
    """
    file = settings.stack_file(stack)
    try:
        reports = asyncio.run(_reports(settings.from_file(Path(file), file), file, hosts or []))
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    Console().print(_table(reports))
    if unfit := [report.host for report in reports if not report.healthy]:
        typer.echo(f"error: k3s cannot be installed on {', '.join(unfit)}; mend what is marked fault", err=True)
        sys.exit(1)


async def _reports(config: settings.Settings, file: str, only: list[str]) -> list[Report]:
    cluster = config.on_hosts()
    if cluster is None:
        raise InputError(
            f"{file}: cluster.kind: {config.cluster.kind} has no hosts to look at; use a stack of kind k3s, e.g. onprem"
        )
    if strangers := sorted(set(only) - cluster.hosts().keys()):
        raise InputError(f"{file}: {strangers[0]} is not a host of this stack; its hosts are {', '.join(cluster.hosts())}")
    args = cluster.args()
    args["driver"]["minimum"] = max(cluster.driver.minimum, oldest_driver(config))
    return await examine(K3sSettings.model_validate(args), private_key(cluster, file), only)


def _table(reports: list[Report]) -> Table:
    """Faults and warnings of every host; one line for a host that has none."""
    table = Table("host", "", "check", "found", "remedy")
    for report in reports:
        told = [finding for finding in report.findings if finding.verdict is not Verdict.OK]
        if not told:
            table.add_row(report.host, "[green]ok[/green]", f"{len(report.findings)} checks", "", "")
        for finding in told:
            colour = _COLOURS[finding.verdict]
            table.add_row(report.host, f"[{colour}]{finding.verdict}[/{colour}]", finding.check, finding.sentence, finding.remedy)
    return table


def main(run: Callable[[], object] = app) -> None:
    """Run the command line."""
    run()


if __name__ == "__main__":
    main()
