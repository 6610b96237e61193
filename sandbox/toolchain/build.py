"""Building a tool from its pinned Go modules.

go.sum in the tool's lock folder holds the sum of every module, and `-mod=readonly` makes any other content an error. What was
compiled stays in Go's own build cache, so a build that was interrupted goes on where it stopped.
"""

import os
import re
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sandbox.errors import SandboxError
from sandbox.toolchain import storage
from sandbox.toolchain.golang import ensure_go, required_go
from sandbox.toolchain.progress import Task, task
from sandbox.toolchain.tools import Tool, platform_id

INTERRUPT_SECONDS = 10.0


def build(tool: Tool, binaries: Sequence[str], stage: Path, console: Console) -> None:
    """Builds `binaries` of `tool` into `stage/bin` in one run of go; SandboxError, with go's last words, if that fails.

    OSError if `stage` or the log cannot be written.
    """
    go = ensure_go(required_go(tool.lock / "go.mod"), console)
    log = storage.root().parent / "logs" / f"build-{tool.name}-{tool.version}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    title = f"building {', '.join(binaries)} v{tool.version} from Go modules (about {tool.go.minutes} min on 2 cores, once)"
    with task(console, title) as current:
        log.unlink(missing_ok=True)
        folder = _completed(go, tool, stage, log, current) if tool.go.missing else tool.lock
        code, last = _run(_command(go, tool, binaries, stage), folder, _environment(stage), log, current)
    if code:
        raise SandboxError(_failure(tool, last, log))


def _completed(go: Path, tool: Tool, stage: Path, log: Path, current: Task) -> Path:
    """A copy of the lock folder with all modules in it, for files of the module cache cannot be added to."""
    folder = stage / tool.name
    shutil.copytree(tool.lock, folder)
    # -e: it would end at the files that are missing. What else is wrong ends the build after it.
    _run([str(go), "mod", "vendor", "-e"], folder, _environment(stage), log, current)
    for name in tool.go.missing:
        file = folder / "vendor" / tool.go.module / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def _command(go: Path, tool: Tool, binaries: Sequence[str], stage: Path) -> list[str]:
    target = stage / "bin"
    target.mkdir()
    # go names a single program after its package, which may end in /v3; several it puts into a directory under their own names.
    output = str(target / binaries[0]) if len(binaries) == 1 else f"{target}{os.sep}"
    packages = [tool.go.packages[binary] for binary in binaries]
    # Debug information is left out at the end (-s -w); not making it in the first place saves a tenth of the time.
    modules = "vendor" if tool.go.missing else "readonly"
    flags = ["-v", "-trimpath", f"-mod={modules}", "-gcflags=all=-dwarf=false", f"-ldflags=-s -w {tool.fill(tool.go.ldflags)}"]
    return [str(go), "build", *flags, f"-tags={tool.go.tags}", "-o", output, *packages]


def _environment(stage: Path) -> dict[str, str]:
    """The user's environment (proxy, module cache, certificates) without what would make another program of the same sources."""
    system, arch = platform_id().split("-")
    ours = {
        "CGO_ENABLED": "0",  # static programs, and no C compiler needed
        "GOFLAGS": "-mod=readonly",
        "GOOS": system,
        "GOARCH": arch,
        "GOTOOLCHAIN": "local",
        "GOTMPDIR": str(stage),  # /tmp is often small, and this is cleared even after a kill
        "GOWORK": "off",
        "GO111MODULE": "on",
    }
    return {key: value for key, value in os.environ.items() if key != "GOROOT"} | ours


def _run(command: list[str], folder: Path, environment: dict[str, str], log: Path, current: Task) -> tuple[int, list[str]]:
    """go's exit code and last lines; everything it says goes to `log`. An interrupt (or any error here) stops it first."""
    last: deque[str] = deque(maxlen=3)
    compiled = 0
    with (
        log.open("a") as file,
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                file.write(line)
                if line.strip():
                    last.append(line.strip())
                if re.fullmatch(r"[\w.\-/]+", line.strip()):
                    compiled += 1
                current.report(f"{compiled} packages so far, at {line.strip()}" if compiled else line.strip())
            return process.wait(), list(last)
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(INTERRUPT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def _failure(tool: Tool, last: list[str], log: Path) -> str:
    said = log.read_text(errors="replace")
    if "no space left on device" in said:
        return storage.disk_full(f"{tool.name} {tool.version}")
    if re.search(r"dial tcp|no such host|i/o timeout|connection refused|module lookup disabled", said):
        advice = "let go reach a module proxy (GOPROXY), or put the binaries into a mirror (LLM_PLATFORM_MIRROR)"
    elif mismatch := [line for line in said.splitlines() if "checksum mismatch" in line]:
        last = mismatch  # go ends with a page of explanation
        advice = "the module proxy serves something else than what was published: use another one (GOPROXY)"
    else:
        advice = "put it right and run again: what was compiled stays"
    words = " | ".join(last)
    return f'{tool.name} {tool.version} could not be built from Go modules: go says "{words}" (all of it: {log}); {advice}'
