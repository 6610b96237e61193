"""Files out of Go modules, kept in the user's cache: what a project publishes through the module proxy and nowhere else in reach.

`go mod download` fetches the module and holds it to Go's checksum database; here it is held to a sum kept in this repository too.
"""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from sandbox.errors import SandboxError
from sandbox.toolchain import storage
from sandbox.toolchain.golang import ensure_go
from sandbox.toolchain.tools import UnavailableError

_GO = "1.21.0"  # the first Go that leaves a module's own wish for a newer one alone (GOTOOLCHAIN)
_DOWNLOAD_S = 300.0


class ModuleFiles(BaseModel):
    """Some files of one version of a module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: str
    version: str
    h1: Annotated[str, Field(pattern=r"^h1:[A-Za-z0-9+/]{43}=$")]
    files: str
    """Glob below the module's root."""


def ensure_files(name: str, wanted: ModuleFiles, console: Console) -> list[Path]:
    """The files, in the cache under `name`, fetched if need be.

    UnavailableError where neither cache nor proxy has them; SandboxError if the module is another one than recorded, or the cache
    cannot be written.
    """
    # The whole entry tells the place: one that is put right is fetched anew.
    digest = hashlib.sha256(wanted.model_dump_json().encode()).hexdigest()[:8]
    version = f"{wanted.version}-{digest}"
    kept = storage.home(name, version) / "files"
    if not kept.is_dir():
        with storage.locked(name, version, console):
            if not kept.is_dir():
                with storage.staging(name, version) as stage, storage.explained(stage):
                    _copy(wanted, _download(wanted, stage, console), stage / "files").replace(kept)
    return sorted(kept.iterdir())


def _download(wanted: ModuleFiles, stage: Path, console: Console) -> Path:
    """The module's directory in Go's own cache."""
    try:
        go = ensure_go(_GO, console)
    except SandboxError as error:
        raise UnavailableError(str(error)) from error
    ours = {"GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off", "GO111MODULE": "on"}
    environment = {key: value for key, value in os.environ.items() if key != "GOROOT"} | ours
    command = [str(go), "mod", "download", "-json", f"{wanted.module}@{wanted.version}"]
    try:
        done = subprocess.run(
            command, cwd=stage, env=environment, capture_output=True, text=True, timeout=_DOWNLOAD_S, check=False
        )
        told = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{wanted.module} did not arrive within {_DOWNLOAD_S:.0f} s") from error
    except ValueError as error:
        raise UnavailableError(f"go says {' '.join(done.stderr.split())}") from error
    reason = " ".join(told.get("Error", "").split())
    if "SECURITY ERROR" in reason or (not reason and told["Sum"] != wanted.h1):
        raise SandboxError(
            f"the module proxy serves another {wanted.module} {wanted.version} than was published (it should be {wanted.h1}), "
            "so it is not used; use another proxy (GOPROXY)"
        )
    if reason:
        raise UnavailableError(f"go says {reason}")
    return Path(told["Dir"])


def _copy(wanted: ModuleFiles, module: Path, target: Path) -> Path:
    target.mkdir()
    for found in module.glob(wanted.files):
        shutil.copyfile(found, target / found.name)
    if not any(target.iterdir()):
        raise SandboxError(f"{wanted.module} {wanted.version} has no file {wanted.files}; correct the entry that asks for it")
    return target
