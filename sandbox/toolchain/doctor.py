"""What this machine has, what it lacks, and what happens about it. Looks only: makes nothing and asks no network."""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Final, Literal

from rich.table import Table
from rich.text import Text

from sandbox import plugins
from sandbox.toolchain import golang, storage, tools
from sandbox.toolchain.find import Search, find, numbers, reported_version, search
from sandbox.toolchain.mirror import VARIABLE
from sandbox.toolchain.tools import Download, Tool, UnavailableError

State = Literal["ok", "missing", "emulated", "optional"]
STYLES: Final[dict[State, str]] = {"ok": "green", "missing": "yellow", "emulated": "cyan", "optional": "dim"}
PLUGINS: Final[dict[str, str]] = {name: f"pulumi-{name}" for name in ("aws", "command", "kubernetes")}
"""Official provider plugin -> the Python package whose version the engine asks it for."""


@dataclass(frozen=True)
class Row:
    """One thing the rehearsal platform needs or would use."""

    name: str
    state: State
    """ok: ready; missing: `note` says what to do or what will be done; emulated or optional: `note` says what is used instead."""
    version: str
    """The version found; empty if none was, or it does not tell."""
    wanted: str
    where: str
    """The path, for a tool with its origin (see find.Found) before it; empty if it was not found."""
    note: str


def doctor() -> list[Row]:
    """A row per program, in the order they matter; takes about a second. SandboxError only where the tools do not run at all."""
    return [_python(), _uv(), _go(), *map(_tool, tools.names()), _language_host(), *map(_plugin, PLUGINS)]


def doctor_table(rows: Sequence[Row] | None = None) -> Table:
    """`rows` (by default a new look) as a table for the terminal."""
    table = Table(box=None, pad_edge=False)
    for column in ("tool", "version", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("where, or what happens instead", overflow="fold")
    for row in doctor() if rows is None else rows:
        remarks = "\n".join(remark for remark in (row.where, row.note) if remark)
        table.add_row(row.name, row.version or row.wanted, Text(row.state, STYLES[row.state]), Text(remarks))
    return table


def _python() -> Row:
    return Row("python", "ok", ".".join(map(str, sys.version_info[:3])), "any", sys.executable, "")


def _uv() -> Row:
    if not (path := shutil.which("uv")):
        return Row("uv", "optional", "", "any", "", "pip is used")
    try:
        return Row("uv", "ok", reported_version(Path(path), ("--version",)), "any", f"PATH: {path}", "")
    except UnavailableError as reason:
        return Row("uv", "missing", "", "any", f"PATH: {path}", f"{reason}; repair it or take it off PATH")


def _go() -> Row:
    pinned = tools.catalogue().toolchain
    needed = max((golang.required_go(tool.lock / "go.mod") for tool in tools.catalogue().tools.values()), key=numbers)
    looked = golang.search(needed)
    advice = f"only builds need it: installed then from the Python package {pinned.package} {pinned.version}"
    return _row("go", f">= {needed}", looked, "optional", advice)


def _tool(name: str) -> Row:
    tool = tools.tool_of(name)
    wanted = f">= {tool.version}" if tool.accept == "at-least" else f"{tool.version.rpartition('.')[0]}.x"
    return _row(name, wanted, search(name), "missing", f"at first use {_sources(tool)}")


def _row(name: str, wanted: str, looked: Search, otherwise: State, advice: str) -> Row:
    passed_over = [looked.passed_over] if looked.passed_over else []
    if looked.found:
        origin = f"{looked.found.origin}: {looked.found.path}"
        return Row(name, "ok", looked.found.version, wanted, origin, "; ".join(passed_over))
    return Row(name, otherwise, "", wanted, "", "; ".join([*passed_over, advice]))


def _sources(tool: Tool) -> str:
    offered = isinstance(tool.download, Download) and tools.platform_id() in tool.download.platforms
    download = ["downloaded from the vendor"] if offered else []
    mirror = [f"copied from {os.environ[VARIABLE]}"] if os.environ.get(VARIABLE) else []
    return ", else ".join([*download, *mirror, f"built from Go modules (about {tool.go.minutes} min on 2 cores)"])


def _language_host() -> Row:
    name = "pulumi-language-python"
    engine = find("pulumi")
    # The engine looks beside itself first, then on PATH.
    beside = [engine.path.resolve().parent / name] if engine else []
    on_path = [Path(path) for path in [shutil.which(name)] if path]
    for path in (*beside, *on_path):
        if storage.is_executable(path):
            return Row(name, "ok", "", "any", str(path), "plain `pulumi up` works too")
    return Row(
        name,
        "emulated",
        "",
        "any",
        "",
        "part of an official Pulumi installation; the program runs inline through the Automation API instead",
    )


def _plugin(name: str) -> Row:
    program, wanted = f"pulumi-resource-{name}", installed_version(PLUGINS[name])
    path = plugins.official(name)
    # An emulation goes by the same name, and may be on PATH.
    if path is None or path.resolve().is_relative_to(plugins.EMULATED.resolve()):
        advice = f"emulated by sandbox/providers; for the official one: `pulumi plugin install resource {name} {wanted}`"
        return Row(program, "emulated", "", wanted, "", advice)
    if installed := re.fullmatch(rf"resource-{name}-v(.+)", path.parent.name):
        version = installed.group(1)
        advice = "" if version == wanted else f"the engine asks for {wanted}: `pulumi plugin install resource {name} {wanted}`"
        return Row(program, "ok" if version == wanted else "missing", version, wanted, str(path), advice)
    return Row(program, "ok", "", wanted, f"PATH: {path}", "a plugin on PATH does not tell its version")
