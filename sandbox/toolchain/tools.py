"""The catalogue: tools.yaml as frozen types. Nothing here runs a program or touches the network."""

import platform
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from sandbox.errors import SandboxError

FOLDER = Path(__file__).parent
Purpose = Literal["rehearsal", "hosts", "judges"]
"""Every rehearsal, that of hosts, or the tests."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class UnavailableError(Exception):
    """A source cannot give a tool; the text says why, and the next source is tried."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Download(_Entry):
    """A vendor's release: one archive for the whole tool, or (with `{binary}` in the address) one file per binary."""

    url: str
    checksums: str
    platforms: tuple[str, ...]
    arch: dict[str, str] = {}
    members: str | None = None
    """Glob over the archive's members that go beside each other into `bin/`; without it the download is the binary itself."""


class NoDownload(_Entry):
    """The vendor's release cannot be verified, and so is never used."""

    unused_because: str


class GoModule(_Entry):
    """A tool as a pinned Go module; the lock file of everything below it is `go/<tool>/go.sum`."""

    module: str
    version: str
    h1: Annotated[str, Field(pattern=r"^h1:[A-Za-z0-9+/]{43}=$")]
    packages: dict[str, str]
    """Binary -> Go package."""
    ldflags: str = ""
    tags: str = ""
    """Build constraints, with commas between them."""
    missing: tuple[str, ...] = ()
    """Files that its programs embed and the module does not hold, below the module; they are built with empty ones."""
    minutes: int
    """Rough duration of a build on 2 cores with an empty Go build cache."""


class Toolchain(_Entry):
    """The Go distribution as a Python package."""

    version: str
    package: str
    executable: str
    """Path of `go` below the directory the package is installed into."""
    sha256: tuple[Sha256, ...]


class Tool(_Entry):
    """One entry of tools.yaml: a version of one or more binaries."""

    name: str
    version: str
    needed_by: Purpose
    accept: Literal["at-least", "same-minor"]
    """Which version on PATH will do: at least ours within the same major version, or any patch of the same minor version."""
    version_args: tuple[str, ...]
    download: Download | NoDownload
    go: GoModule

    @property
    def binaries(self) -> tuple[str, ...]:
        """The names of the executables, as they must lie in `bin/`."""
        return tuple(self.go.packages)

    @property
    def lock(self) -> Path:
        """The folder with go.mod and go.sum."""
        return FOLDER / "go" / self.name

    def fill(self, template: str, binary: str = "") -> str:
        """`template` with {version}, {major}, {minor}, {os}, {arch} (in the vendor's spelling) and {binary} put in."""
        system, arch = platform_id().split("-")
        major, minor, _ = self.version.split(".")
        if isinstance(self.download, Download):
            arch = self.download.arch.get(arch, arch)
        return template.format(version=self.version, major=major, minor=minor, os=system, arch=arch, binary=binary)


class Catalogue(_Entry):
    """tools.yaml."""

    toolchain: Toolchain
    tools: dict[str, Tool]


@cache
def catalogue() -> Catalogue:
    """tools.yaml, read once."""
    return load(FOLDER / "tools.yaml")


def load(file: Path) -> Catalogue:
    """A file of the form of tools.yaml; pydantic.ValidationError if it is not."""
    raw = yaml.safe_load(file.read_text())
    entries = {name: {"name": name, **entry} for name, entry in raw["tools"].items()}
    return Catalogue.model_validate({**raw, "tools": entries})


def names(needed_by: Purpose | None = None) -> tuple[str, ...]:
    """Every binary in tools.yaml, or those one purpose needs."""
    tools = catalogue().tools.values()
    return tuple(binary for tool in tools if needed_by in (None, tool.needed_by) for binary in tool.binaries)


def tool_of(binary: str) -> Tool:
    """The entry that makes `binary`; SandboxError for a name tools.yaml does not know."""
    for tool in catalogue().tools.values():
        if binary in tool.binaries:
            return tool
    raise SandboxError(
        f"{binary!r} is not a tool of sandbox/toolchain/tools.yaml, which knows {', '.join(names())}; use one of those"
    )


@cache
def platform_id() -> str:
    """This machine as Go spells it, for instance `linux-amd64`; SandboxError where the tools do not run at all."""
    system = platform.system().lower()
    arch = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower())
    if system not in ("linux", "darwin") or arch is None:
        raise SandboxError(
            f"the rehearsal platform does not run on {platform.system()} {platform.machine()}, because its tools are made for "
            "Linux and macOS on amd64 and arm64; use one of these (on Windows: WSL)"
        )
    return f"{system}-{arch}"
