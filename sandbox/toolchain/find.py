"""Where a tool already is: on PATH if its version will do, else in the user's cache."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from sandbox.toolchain import storage
from sandbox.toolchain.tools import Tool, UnavailableError, tool_of

Made = Literal["download", "mirror", "built"]
MADE: tuple[Made, ...] = get_args(Made)
Origin = Literal["PATH", "cache"] | Made
ANSWER_SECONDS = 30.0
"""Patience for a large program's first start from a busy disk; a build of minutes hangs on the answer."""


@dataclass(frozen=True)
class Found:
    """One binary, ready to run."""

    tool: str
    version: str
    path: Path
    origin: Origin
    """On PATH, or in the cache: then how it came there, and `cache` if that is not recorded."""


@dataclass(frozen=True)
class Search:
    """The outcome of looking: what was found, and what was seen but not taken, with the reason."""

    found: Found | None
    passed_over: str | None


def find(name: str) -> Found | None:
    """The binary on PATH or in the cache, or None; makes nothing. SandboxError for an unknown name."""
    return search(name).found


def search(name: str) -> Search:
    """Like `find`, with the reason when the one on PATH does not suit."""
    tool = tool_of(name)
    passed_over = None
    if on_path := shutil.which(name):
        try:
            version = suitable_version(tool, Path(on_path))
            return Search(Found(name, version, Path(on_path), "PATH"), None)
        except UnavailableError as reason:
            passed_over = f"{on_path} is passed over: {reason}"
    cached = storage.home(tool.name, tool.version) / "bin" / name
    if storage.is_executable(cached):
        return Search(Found(name, tool.version, cached, _origin(cached)), passed_over)
    return Search(None, passed_over)


def _origin(cached: Path) -> Origin:
    try:
        recorded = storage.origin_file(cached).read_text()
    except OSError:
        return "cache"
    return next((origin for origin in MADE if origin == recorded), "cache")


def suitable_version(tool: Tool, path: Path) -> str:
    """The version `path` says it has; UnavailableError, with the reason, if it does not answer or will not do."""
    version = reported_version(path, tool.version_args)
    have, want = numbers(version), numbers(tool.version)
    if tool.accept == "same-minor" and have[:2] != want[:2]:
        raise UnavailableError(f"it is version {version}, and only {want[0]}.{want[1]}.x will do")
    if tool.accept == "at-least" and (have[0] != want[0] or have < want):
        raise UnavailableError(f"it is version {version}, and only {want[0]}.x from {tool.version} on will do")
    return version


def reported_version(path: Path, args: tuple[str, ...]) -> str:
    """The first version number in what `path` prints when asked; UnavailableError if there is none within `ANSWER_SECONDS`."""
    asked = f"`{' '.join([path.name, *args])}`"
    # Pulumi would ask the internet for a newer release first, which takes seconds where there is none.
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        answer = subprocess.run(
            [path, *args], capture_output=True, text=True, errors="replace", timeout=ANSWER_SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{asked} gives no answer within {ANSWER_SECONDS:.0f} s") from None
    except OSError as error:
        raise UnavailableError(f"{asked} cannot be run ({error.strerror})") from error
    number = re.search(r"\d+\.\d+(\.\d+)?", answer.stdout + answer.stderr)
    if answer.returncode or not number:
        raise UnavailableError(f"{asked} fails (exit code {answer.returncode}) or names no version")
    return number.group()


def numbers(version: str) -> tuple[int, int, int]:
    """`1.26` or `1.26.3` as numbers that compare."""
    major, minor, patch = (int(part) for part in f"{version}.0".split(".")[:3])
    return major, minor, patch
