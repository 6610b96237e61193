"""From a name to a program that runs: look (find.py), else get it from the first source that has it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from sandbox.errors import SandboxError
from sandbox.toolchain import build, find, mirror, storage, tools
from sandbox.toolchain.download import Downloads
from sandbox.toolchain.find import Made
from sandbox.toolchain.progress import say, task
from sandbox.toolchain.tools import Tool, UnavailableError

ALL = tools.names()
"""Every binary in tools.yaml."""
REHEARSAL = tools.names("rehearsal")
"""Those a rehearsal runs."""
HOSTS = tools.names("hosts")
"""Those a rehearsal of hosts runs beside them."""
SOURCES: Final[dict[Made, str]] = {"download": "official download", "mirror": "mirror", "built": "build from Go modules"}


def ensure(names: Iterable[str] = ALL, *, console: Console | None = None) -> dict[str, Path]:
    """The path of each named binary, found or made, in the order PATH, cache, official download, mirror, Go modules.

    Says on `console` (standard error by default) why something on PATH or a source was passed over, and shows the progress of
    long work. Making all of them takes about 10 minutes on 2 cores, once per user. SandboxError if a name is unknown or a tool
    cannot be had; what is finished by then stays.
    """
    console = console or Console(stderr=True)
    wanted = list(names)
    paths: dict[str, Path] = {}
    for name in wanted:
        looked = find.search(name)
        if looked.found:
            paths[name] = looked.found.path
        if looked.passed_over:
            say(console, f"{name}: {looked.passed_over}")
    missing = [name for name in wanted if name not in paths]
    entries = {tool.name: tool for tool in map(tools.tool_of, missing)}
    maker = _Maker(Downloads(entries.values()), console)
    for tool in entries.values():
        paths |= maker.make(tool, [binary for binary in tool.binaries if binary in missing])
    return {name: paths[name] for name in wanted}


@dataclass(frozen=True)
class _Maker:
    """Gets tools into the cache; one per run, because the run's downloads share what they learn."""

    downloads: Downloads
    console: Console

    def make(self, tool: Tool, binaries: Sequence[str]) -> dict[str, Path]:
        folder = storage.home(tool.name, tool.version) / "bin"
        with storage.locked(tool.name, tool.version, self.console):
            # Another run may have finished them while this one waited for the lock.
            todo = [binary for binary in binaries if not storage.is_executable(folder / binary)]
            if todo:
                self._from_first_source(tool, todo, folder)
        return {binary: folder / binary for binary in binaries}

    def _from_first_source(self, tool: Tool, binaries: Sequence[str], folder: Path) -> None:
        reasons = []
        for origin, source in SOURCES.items():
            with storage.staging(tool.name, tool.version) as stage:
                try:
                    self._get(origin, tool, binaries, stage)
                    _check(tool, binaries, stage / "bin")
                except UnavailableError as reason:
                    reasons.append(f"{source}: {reason}")
                    say(self.console, f"{tool.name} {tool.version}: no {source}: {reason}")
                    continue
                # The named ones last: whoever sees them finds everything they bring along already there.
                storage.place(sorted((stage / "bin").iterdir(), key=lambda path: path.name in binaries), folder, origin)
                return
        why = "; ".join(reasons)
        raise SandboxError(
            f"{tool.name} {tool.version} cannot be had ({why}); put {' and '.join(binaries)} on PATH and run again"
        )

    def _get(self, origin: Made, tool: Tool, binaries: Sequence[str], stage: Path) -> None:
        if origin == "download":
            self.downloads.offer(tool)
            with task(self.console, f"downloading {tool.name} {tool.version}") as current:
                self.downloads.fetch(tool, binaries, stage, current)
        elif origin == "mirror":
            mirror.copy(tool, binaries, stage)
        else:
            build.build(tool, binaries, stage, self.console)


def _check(tool: Tool, binaries: Sequence[str], folder: Path) -> None:
    """Each binary is there and, asked for its version, gives the one that was wanted; UnavailableError otherwise."""
    for path in folder.iterdir():
        path.chmod(0o755)
    for binary in binaries:
        if not (folder / binary).is_file():
            raise UnavailableError(f"it holds no {binary}")
        version = find.reported_version(folder / binary, tool.version_args)
        if version != tool.version:
            raise UnavailableError(f"its {binary} is version {version}")
