"""`python -m report mirror`."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import settings
from components.image_lock import lock
from components.inputs import InputError
from report.mirror.filling import Directory, Outcome
from report.mirror.needs import ARCHITECTURES, Needs, needs
from report.recording import ROOT, recorded
from settings.sections import Settings

_err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def mirror(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="Name of a stack in stacks/, e.g. onprem.")],
    fetch: Annotated[
        Path | None,
        typer.Option("--fetch", metavar="DIRECTORY", help="Fetch all of it into a directory; what is there already stays."),
    ] = None,
    push: Annotated[
        Path | None,
        typer.Option(
            "--push", metavar="DIRECTORY", help="Put images and charts of a directory into the stack's mirror.registry."
        ),
    ] = None,
    architecture: Annotated[
        list[str] | None, typer.Option("--architecture", metavar="ARCH", help="Of hosts and tools: amd64 (the default) or arm64.")
    ] = None,
) -> None:
    """List what a stack needs from the internet, as YAML: images, charts, models, files, packages of Python.

    With --fetch it is brought into a directory, verified by the checksums that are known; what broke off goes on from there when
    it is run again. With --push images and charts of that directory go into the registry that the stack file names as its
    mirror; a web server gives out the rest of it. Ends with 1 where something is missing.

    Examples:

      python -m report mirror onprem > onprem.mirror.yaml

      python -m report mirror onprem --fetch /srv/mirror

      python -m report mirror onprem --push /srv/mirror
    """
    if fetch and push:
        raise InputError("--fetch and --push are steps on two sides of the gap; run one after the other")
    found, config = _needs(stack, architecture or [*ARCHITECTURES[:1]])
    if fetch:
        _finish(Directory(fetch).fetch(found, ROOT / "requirements.txt"), f"in {fetch}")
    elif push:
        if config.mirror is None:
            file = settings.stack_file(stack)
            raise InputError(f"{file}: mirror is missing, so there is no registry to push to; add e.g. mirror: {{registry: …}}")
        if not push.is_dir():
            raise InputError(f"--push {push}: is no directory; use the one that --fetch filled")
        to = config.mirror.redirection()
        _finish(Directory(push).push(found, to.registry, to.charts), f"in {to.registry}")
    else:
        print(found.text(stack), end="")  # noqa: T201


def _needs(stack: str, architectures: list[str]) -> tuple[Needs, Settings]:
    if unknown := sorted({*architectures} - {*ARCHITECTURES}):
        raise InputError(f"--architecture {unknown[0]}: is none that hosts have here; use {' or '.join(ARCHITECTURES)}")
    file = settings.stack_file(stack)
    config = settings.from_file(ROOT / file, file)
    plan = settings.plan(config, file, ROOT)
    try:
        found = needs(config, plan, recorded(stack, without=["mirror"]), lock(), root=ROOT, architectures=architectures)
    except ValueError as error:
        raise InputError(str(error)) from None
    return found, config


def _finish(outcomes: Iterable[Outcome], where: str) -> None:
    """Tell each, and end with 1 where something is missing."""
    there = new = 0
    missing = []
    for each in outcomes:
        if each.fault:
            missing.append(each)
            _err.print(f"missing {each.kind} {each.name}: {each.fault}")
            continue
        there, new = there + 1, new + each.new
        _err.print(f"{'got' if each.new else 'has'} {each.kind} {each.name}")
    _err.print(f"{there} {where}, {new} of them new; {len(missing)} missing")
    if missing:
        sys.exit(1)
