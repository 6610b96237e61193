"""An OpenSSH server: the machine's own, else that of its distribution's archive, unpacked into the user's cache."""

import getpass
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from sandbox.errors import SandboxError
from sandbox.toolchain import storage
from sandbox.toolchain.progress import task

_PATH = "/usr/sbin:/usr/local/sbin:/sbin:/usr/bin:/bin"
_PACKAGE = "openssh-server"
_REMEDY = "install the package openssh-server and run again"
_SECONDS = 120.0


@dataclass(frozen=True)
class OpenSsh:
    """Where sshd is, and what its own package has beside it."""

    sshd: Path
    unpacked: Path | None
    """The root under which it and libraries were unpacked; None for an installed one."""

    @property
    def helpers(self) -> tuple[Path, ...]:
        """Programs sshd runs by their absolute path since OpenSSH 9.8; none before."""
        root = self.unpacked or Path("/")
        folder = root / "usr/lib/openssh"
        return tuple(path for name in ("sshd-session", "sshd-auth") if (path := folder / name).exists())


def ensure_sshd(console: Console | None = None) -> OpenSsh:
    """sshd, found or fetched (half a megabyte, once per user). SandboxError, with what to install, where it cannot be had."""
    if installed := shutil.which("sshd", path=_PATH):
        return OpenSsh(Path(installed), None)
    name = f"{platform.freedesktop_os_release().get('VERSION_CODENAME', 'unknown')}-{platform.machine()}"
    console = console or Console(stderr=True)
    root = storage.home(_PACKAGE, name) / "root"
    with storage.locked(_PACKAGE, name, console):
        if not _sshd(root).exists():
            if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
                raise SandboxError(f"there is no sshd on this machine, and rehearsed hosts need one; {_REMEDY}")
            with storage.staging(_PACKAGE, name) as stage, task(console, "fetching the OpenSSH server of this distribution"):
                _fetch(stage)
                (stage / "root").rename(root)
    return OpenSsh(_sshd(root), root)


def libraries(program: Path, unpacked: Path | None) -> dict[str, Path]:
    """The shared libraries a program needs, by the path at which it looks for them; SandboxError for one that is nowhere."""
    answer = _run(["ldd", str(program)], allowed=1)  # 1: a static program
    found: dict[str, Path] = {}
    for line in answer.splitlines():
        if missing := re.match(r"\s*(\S+) => not found", line):
            library = _unpacked_library(unpacked, missing[1])
            if library is None:
                raise SandboxError(f"{program} needs {missing[1]}, which this machine does not have; {_REMEDY}")
            found[f"/usr/lib/{missing[1]}"] = library
            found |= libraries(library, unpacked)
        elif known := re.search(r"(/\S+) \(0x", line):
            found[known[1]] = Path(known[1])
    return found


def _sshd(root: Path) -> Path:
    return root / "usr/sbin/sshd"


def _fetch(stage: Path) -> None:
    """Unpacks the package into `stage`/root, with those libraries it depends on that are not installed."""
    root = stage / "root"
    lists: list[str] = []
    try:
        _unpack(_PACKAGE, stage, root, lists)
    except SandboxError:
        # A machine that has never asked for its packages knows none; asking into a folder of our own takes no root.
        folder = {"State::Lists": stage / "lists", "Cache": stage / "cache"}
        lists = [word for key, path in folder.items() for word in ("-o", f"Dir::{key}={path}")]
        lists += ["-o", f"APT::Sandbox::User={getpass.getuser()}"]
        for path in folder.values():
            (path / "partial").mkdir(parents=True)
        _run(["apt-get", *lists, "update"])
        _unpack(_PACKAGE, stage, root, lists)
    options = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    listed = _run(["apt-cache", *lists, "depends", "--recurse", *options, _PACKAGE])
    wanted = {line for line in listed.splitlines() if re.fullmatch(r"lib[a-z0-9.+-]+", line)}
    status = ["dpkg-query", "--show", "--showformat=${binary:Package} ${db:Status-Status}\n"]
    installed = {line.split()[0].partition(":")[0] for line in _run(status).splitlines() if line.endswith(" installed")}
    for package in sorted(wanted - installed):
        _unpack(package, stage, root, lists)


def _unpack(package: str, stage: Path, root: Path, lists: Sequence[str]) -> None:
    _run(["apt-get", *lists, "download", package], stage)
    for archive in stage.glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(archive), str(root)])
        archive.unlink()


def _unpacked_library(unpacked: Path | None, name: str) -> Path | None:
    return next((path for folder in ("usr/lib", "lib") for path in (unpacked / folder).rglob(name)), None) if unpacked else None


def _run(command: list[str], folder: Path | None = None, allowed: int = 0) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"the OpenSSH server cannot be fetched: `{' '.join(command)}` fails ({error}); {_REMEDY}") from error
    if done.returncode not in (0, allowed):
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise SandboxError(f'the OpenSSH server cannot be fetched: `{" ".join(command)}` says "{said}"; {_REMEDY}')
    return done.stdout
