"""`python -m report`: what a stack consists of, its dashboards, its canaries, and the digests of its images."""

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import settings
from components.image_lock import LOCK, lock
from components.inputs import InputError
from report import canary as canaries
from report import images as registries
from report.dashboards import dashboards as shown
from report.drift.command import drift
from report.interrupted.command import interrupted
from report.leaks.command import leaks
from report.mirror.command import mirror
from report.preview.command import affected, preview
from report.recording import ROOT, previewed, recorded
from report.sbom import bill, moment

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
_out = Console(markup=False, highlight=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


app.command()(drift)
app.command()(interrupted)
app.command()(leaks)
app.command()(preview)
app.command()(affected)


@app.command()
def sbom(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="Name of a stack in stacks/, e.g. prod.")],
    preview: Annotated[
        str | None,
        typer.Option("--preview", metavar="FILE", help="Output of `pulumi preview --json --show-sames`; - for standard input."),
    ] = None,
    timestamp: Annotated[
        str | None,
        typer.Option(
            "--timestamp",
            metavar="TIME",
            envvar="SOURCE_DATE_EPOCH",
            help="Time in the bill, e.g. 2026-11-21T12:00:00Z or seconds since 1970; now by default.",
        ),
    ] = None,
) -> None:
    """Print the bill of materials of a stack: CycloneDX 1.6, as JSON.

    In it: container images, also those that charts start; Helm charts; models, adapters and drafts by commit; Python packages
    with their hashes; Pulumi's engine and plugins; machine images; Kubernetes.

    Without --preview the program runs here as for a stack that is not deployed yet, and asks no cloud, cluster or host. With it
    the bill is that of the preview: what a deployed stack has and gets.

    Examples:

      python -m report sbom prod > prod.cdx.json

      pulumi preview --stack prod --json --show-sames | python -m report sbom prod --preview -
    """
    file = settings.stack_file(stack)
    config = settings.from_file(ROOT / file, file)
    if preview is None:
        resources = recorded(stack)
    else:
        text = sys.stdin.read() if preview == "-" else _text(preview)
        resources = previewed(text, "standard input" if preview == "-" else preview)
    try:
        when = moment(timestamp) if timestamp else datetime.now(UTC).replace(microsecond=0)
    except ValueError:
        raise InputError(f"--timestamp: {timestamp!r} is not a time; use e.g. 2026-11-21T12:00:00Z") from None
    try:
        print(bill(stack, config, resources, lock(), root=ROOT, timestamp=when), end="")  # noqa: T201
    except ValueError as error:
        raise InputError(str(error)) from None


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--preview {path}: cannot be read ({error})") from None


app.command()(mirror)


@app.command()
def images(
    write: Annotated[bool, typer.Option("--write", help="Write what was found into the lock.")] = False,
) -> None:
    """Ask the registries for the digests of all images, and show how components/images.lock.yaml differs.

    Ends with 1 where a tag means another image than the lock says: somebody moved it. Images whose registry does not answer, or
    wants a login, are named and stay as they are.

    Example:

      python -m report images --write
    """
    before = LOCK.read_text("utf-8")
    found = registries.resolve(lock().images)
    after = registries.updated(before, found.digests, f"{datetime.now(UTC):%Y-%m-%d}")
    for sentence in (*found.faults, *found.moved):
        _err.print(f"warning: {sentence}")
    print(registries.difference(before, after), end="")  # noqa: T201
    if write:
        LOCK.write_text(after, "utf-8")
    if found.moved:
        sys.exit(1)


@app.command()
def dashboards(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="Name of a stack in stacks/, e.g. prod.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIRECTORY", help="Where the files go; it is made when it is not there.")],
) -> None:
    """Write the dashboards of a stack as files, for a Grafana that is not the platform's own.

    Each is what Grafana's import takes; it asks for no data source but by the choice on top of it.

    Example:

      python -m report dashboards prod --to dashboards/
    """
    files = shown(recorded(stack))
    if not files:
        raise InputError(f"{settings.stack_file(stack)}: monitoring is not set, so there is none; use e.g. {{kind: standalone}}")
    try:
        to.mkdir(parents=True, exist_ok=True)
        for name, text in sorted(files.items()):
            (to / name).write_text(text, "utf-8")
    except OSError as error:
        raise InputError(f"--to {to}: cannot be written ({error.strerror}); use a directory of yours") from None
    _err.print(f"{', '.join(sorted(files))} written to {to}")


_LASTS = re.compile(r"(\d+)([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_CODES = {canaries.Decision.PROMOTE: 0, canaries.Decision.WAIT: 3, canaries.Decision.ROLL_BACK: 4}


@app.command()
def canary(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="Name of a stack in stacks/, e.g. prod.")],
    route: Annotated[
        str | None, typer.Option("--route", metavar="ROUTE", help="One route; all with a rollout by default.")
    ] = None,
    prometheus: Annotated[
        str, typer.Option("--prometheus", metavar="URL", envvar="PROMETHEUS_URL", help="Where the stack's Prometheus answers.")
    ] = "http://localhost:9090",
    window: Annotated[str, typer.Option("--window", metavar="TIME", help="How far to look back, e.g. 45m or 2h.")] = "30m",
    rules: Annotated[
        Path | None,
        typer.Option(
            "--rules", metavar="FILE", help="Values in place of those in report/canary/rules.yaml, e.g. leastRequests: 50."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="End with 0 for promote, 3 for wait, 4 for roll back; the worst of several routes."),
    ] = False,
) -> None:
    """Say of each rollout of a stack whether to promote, to wait or to roll back, why, and with which edit of the stack file.

    Compares what Prometheus measured of the version that takes over with the others of its route: requests, errors, time to the
    first token, between tokens and of whole requests, queue and KV cache, and the objectives of the model.

    Examples:

      kubectl -n monitoring port-forward svc/prometheus 9090 &

      python -m report canary prod --route chat
    """
    file = settings.stack_file(stack)
    wanted = _chosen(canaries.rollouts(settings.from_file(ROOT / file, file)), route, file)
    judged_by, seconds = canaries.read_rules(rules), _lasting(window)
    if seconds < 60 * judged_by.least_minutes:
        raise InputError(f"--window {window}: is shorter than leastMinutes, {judged_by.least_minutes:g}; use e.g. 30m")
    content, answers = (ROOT / file).read_text("utf-8"), []
    with canaries.Prometheus(prometheus) as asked:
        for rollout in wanted:
            verdict = canaries.decide(rollout, canaries.measure(asked, rollout, judged_by, seconds), judged_by)
            answers.append((verdict, canaries.edit_for(verdict, file, content)))
    if as_json:
        print(json.dumps(canaries.as_json(stack, window, answers), indent=2))  # noqa: T201
    else:
        for verdict, edit in answers:
            for part in canaries.as_text(verdict, edit, judged_by, window):
                _out.print(part, soft_wrap=not isinstance(part, Table))
    if exit_code:
        sys.exit(max(_CODES[verdict.decision] for verdict, _ in answers))


def _chosen(found: list[canaries.Rollout], route: str | None, file: str) -> list[canaries.Rollout]:
    known = ", ".join(rollout.route for rollout in found)
    if not found:
        raise InputError(f"{file}: no route has a rollout, so nothing takes over; add e.g. rollout: {{to: qwen-v2}} to one")
    if route is not None and route not in known.split(", "):
        raise InputError(f"--route {route}: there is no such route with a rollout in {file}; use {known}")
    return [rollout for rollout in found if route in (None, rollout.route)]


def _lasting(window: str) -> int:
    """Seconds."""
    found = _LASTS.fullmatch(window)
    if found is None or not int(found[1]):
        raise InputError(f"--window {window}: is no time; use e.g. 45m or 2h")
    return int(found[1]) * _SECONDS[found[2]]


def main(run: Callable[[], object] = app) -> None:
    """Run the command line; what cannot be answered is told in one sentence."""
    try:
        run()
    except InputError as error:
        for sentence in str(error).splitlines():
            _err.print(f"error: {sentence}")
        sys.exit(2)


if __name__ == "__main__":
    main()
