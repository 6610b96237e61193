"""The user's cache directory: where finished tools lie, how they get there whole, and what is said when they cannot.

    <cache>/llm-platform/tools/<tool>/<version>/bin/<binary>
    <cache>/llm-platform/tools/<tool>/<version>/origin/<binary>     how it came there: download, mirror or built
    <cache>/llm-platform/logs/build-<tool>-<version>.log            what go said

`<cache>` is $XDG_CACHE_HOME, or what the operating system has in its place. A file appears in `bin/` by one rename after it was
verified, so a reader never sees half of it, whatever happens to the process that made it.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout
from rich.console import Console

from sandbox.errors import SandboxError
from sandbox.toolchain.progress import say

STAGING = ".making-"


def root() -> Path:
    """The directory all tools of this user lie in."""
    return platformdirs.user_cache_path("llm-platform") / "tools"


def home(name: str, version: str) -> Path:
    """The directory of one version of one tool."""
    return root() / name / version


def is_executable(path: Path) -> bool:
    """Whether `path` is a file this user may run; False too where it cannot even be looked at."""
    return os.access(path, os.X_OK) and path.is_file()


@contextmanager
def locked(name: str, version: str, console: Console) -> Iterator[None]:
    """Keeps every other run of this user from making the same tool; says so when it has to wait for one."""
    with explained(root()):
        home(name, version).parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home(name, version).with_name(f"{version}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(console, f"{name} {version}: another run is making it; waiting for that one to finish")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def staging(name: str, version: str) -> Iterator[Path]:
    """An empty directory on the cache's own file system (so that a rename is enough), gone afterwards whatever happens.

    To be used under `locked`: what a killed run left here is cleared first.
    """
    parent = home(name, version)
    with explained(parent):
        parent.mkdir(parents=True, exist_ok=True)
        # Asked now, because after minutes of building is late to find out; macOS has no such flag.
        if os.statvfs(parent).f_flag & getattr(os, "ST_NOEXEC", 0):
            raise SandboxError(
                f"{parent} lies on a file system that runs no programs (noexec); set XDG_CACHE_HOME to a directory of yours "
                "on another one"
            )
        for left_over in parent.glob(f"{STAGING}*"):
            shutil.rmtree(left_over, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=parent, ignore_cleanup_errors=True) as directory:
            yield Path(directory)


def place(staged: Iterable[Path], directory: Path, origin: str) -> None:
    """Moves finished files into `directory`, in the order given, each in one step, and records where they came from."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in staged:
        note = origin_file(directory / path.name)
        note.parent.mkdir(exist_ok=True)
        note.write_text(origin)
        path.replace(directory / path.name)


def origin_file(binary: Path) -> Path:
    """Where the origin of a binary in the cache is recorded."""
    return binary.parents[1] / "origin" / binary.name


@contextmanager
def explained(where: Path) -> Iterator[None]:
    """Turns the operating system's refusals at or below `where` into one sentence each."""
    try:
        yield
    except OSError as error:
        raise SandboxError(_sentence(error, Path(error.filename) if isinstance(error.filename, str) else where)) from error


def _sentence(error: OSError, path: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(str(path))
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{path} cannot be written ({error.strerror}), so no tool can be kept there; make it writable, or set "
            "XDG_CACHE_HOME to a directory of yours, and run again"
        )
    return (
        f"{path} cannot be used as a cache ({error.strerror or error}); set XDG_CACHE_HOME to a directory of yours and run again"
    )


def disk_full(where: str) -> str:
    """What is said when there is no space left for `where`."""
    return (
        f"the disk is full, so {where} could not be written; free some space (building every tool takes about 8 GB, most of it "
        "in Go's own caches) and run again: what is finished stays"
    )
