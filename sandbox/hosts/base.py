"""The tree every host starts from: the few real programs scripts need, with their libraries, and sshd."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import filelock
import yaml

from sandbox.control_plane.files import private_directory
from sandbox.errors import SandboxError
from sandbox.hosts.openssh import OpenSsh, libraries

STAND_INS = "/usr/lib/stand-ins"
"""Where a tree keeps what its stand-ins are made of."""

_DIRECTORIES = ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/lib/x86_64-linux-gnu", "usr/local/bin", "usr/local/sbin")
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


def base_tree(home: Path, openssh: OpenSsh) -> Path:
    """The tree under `home`, made once for each set of programs. SandboxError names what the machine lacks."""
    programs = _found() | {"/usr/sbin/sshd": openssh.sshd}
    programs |= {f"/usr/lib/openssh/{helper.name}": helper for helper in openssh.helpers}
    tree = private_directory(home) / f"base-{_fingerprint(programs.values())}"
    with filelock.FileLock(home / "base.lock", mode=0o600):
        if not tree.exists():
            draft = tree.with_suffix(".new")
            shutil.rmtree(draft, ignore_errors=True)
            _make(draft, programs, openssh)
            draft.rename(tree)
    return tree


def clone(base: Path, tree: Path) -> None:
    """A host's own copy, of hard links: nothing in it is ever changed in place."""
    tree.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", "--link", str(base), str(tree)], check=True)


def _found() -> dict[str, Path]:
    found: dict[str, Path] = {}
    wanted = yaml.safe_load((Path(__file__).parent / "programs.yaml").read_text(encoding="utf-8"))
    for name in (*wanted["needed"], *wanted["taken_if_there"]):
        if path := shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin"):
            found[f"/usr/bin/{name}"] = Path(path)
        elif name in wanted["needed"]:
            raise SandboxError(f"rehearsed hosts need the program {name}, which this machine does not have; install it")
    awk = next((path for name in ("mawk", "gawk", "awk") if (path := shutil.which(name))), None)
    if awk is None:
        raise SandboxError("rehearsed hosts need the program awk, which this machine does not have; install mawk")
    return found | {"/usr/bin/awk": Path(awk), "/usr/bin/sh": found["/usr/bin/dash"]}


def _fingerprint(programs: Iterable[Path]) -> str:
    stamps = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in sorted(programs)]
    own = [(Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("base.py", "openssh.py")]
    return hashlib.sha256("\n".join([*stamps, *own]).encode()).hexdigest()[:12]


def _make(tree: Path, programs: dict[str, Path], openssh: OpenSsh) -> None:
    for directory in _DIRECTORIES:
        (tree / directory).mkdir(parents=True, mode=0o755, exist_ok=True)
    for name, target in _LINKS.items():
        (tree / name).symlink_to(target)
    wanted: dict[str, Path] = {}
    for source in {path.resolve() for path in programs.values()}:
        if source.read_bytes()[:4] == b"\x7fELF":
            wanted |= libraries(source, openssh.unpacked)
    for place, source in (wanted | programs).items():
        file = tree / place.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        shutil.copyfile(source, file)  # what links point to
        file.chmod(0o755)
    # sudo's stand-in becomes root with it; nobody outside reaches it, for the directories above are their owner's alone.
    become = tree / STAND_INS.lstrip("/") / "become"
    become.parent.mkdir()
    shutil.copyfile(tree / "usr/bin/setpriv", become)
    become.chmod(0o4755)
