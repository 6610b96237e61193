"""`python -m report`: what a stack consists of, which dashboards it has, and which digests its images have."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import settings
from components.image_lock import LOCK, lock
from components.inputs import InputError
from report import images as registries
from report.dashboards import dashboards as shown
from report.recording import ROOT, previewed, recorded
from report.sbom import bill, moment

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


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


@app.command()
def images(
    write: Annotated[bool, typer.Option("--write", help="Write what was found into the lock.")] = False,
) -> None:
    """Ask the registries for the digests of all images, and show how components/images.lock.yaml differs.

    Ends with 1 where a tag means another image than the lock says: somebody moved it. Images whose registry does not answer, or
    wants a login, are named and stay as they are.
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


def main() -> None:
    """Run the command line; what cannot be answered is told in one sentence."""
    try:
        app()
    except InputError as error:
        for sentence in str(error).splitlines():
            _err.print(f"error: {sentence}")
        sys.exit(2)


if __name__ == "__main__":
    main()
