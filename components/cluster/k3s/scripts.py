"""The scripts that make a host a node, with their values in front. Pure.

A script is sent as the standard input of `sh -s`, its command line says only which part of it runs: the provider quotes the
command in front of every error, and nobody finds a sentence behind a page of it.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

_DIRECTORY = Path(__file__).parent / "scripts"

_END = "END_OF_FILE"


def script(*names: str, values: Mapping[str, str], files: Mapping[str, str] | None = None) -> str:
    """The files `names` of the directory scripts, one after the other, with `values` as shell variables before them and `files`
    as functions that print them."""
    body = _text(names, values, files or {})
    chosen = " ".join(f"{part}) {part} ;;" for part in ("apply", "remove", "report") if f"\n{part}() {{" in body)
    # Standard input is this text: what runs must not read it.
    return f"{body}\ncase $1 in {chosen} esac </dev/null\nexit\n"


def file_script(name: str, values: Mapping[str, str]) -> str:
    """The same as a file that hosts keep; it runs its function `main`."""
    return f'#!/bin/sh\n{_text(("lib", name), values, {})}\nmain "$@"\n'


def unit(name: str) -> str:
    """A service of systemd."""
    return (_DIRECTORY / f"{name}.service").read_text()


def _text(names: Sequence[str], values: Mapping[str, str], files: Mapping[str, str]) -> str:
    assignments = "".join(f"{key}={_quoted(value)}\n" for key, value in values.items())
    functions = "".join(f"{name}() {{\n  cat <<'{_END}'\n{content}{_END}\n}}\n" for name, content in files.items())
    parts = "\n".join((_DIRECTORY / f"{name}.sh").read_text() for name in names)
    return f"set -eu\numask 077\n{assignments}{functions}\n{parts}"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def launcher(part: str, host: str, user: str, *, sudo: bool) -> str:
    """The command that runs a part (`apply`, `remove` or `report`) of the script on standard input as root."""
    if not sudo:
        return f"sh -s -- {part}"
    missing = f"{host}: there is no sudo; install it as root (e.g. apt-get install sudo), or log in as root with ssh.sudo: false"
    refusal = (
        f"{host}: {user} may not become root with sudo without a password; run visudo -f /etc/sudoers.d/{user} there and "
        f"write {user} ALL=(ALL) NOPASSWD: ALL, then run up again"
    )
    steps = (
        f"command -v sudo >/dev/null || {{ echo {shlex.quote(missing)} >&2; exit 1; }}; "
        f"sudo -n true 2>/dev/null || {{ echo {shlex.quote(refusal)} >&2; exit 1; }}; exec sudo -n sh -s -- {part}"
    )
    return f"sh -c {shlex.quote(steps)}"


def yes(value: bool) -> str:
    """A truth as the scripts read it."""
    return "yes" if value else "no"
