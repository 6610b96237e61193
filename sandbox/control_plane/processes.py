"""Detached processes, known by pid and start time, and ended by nothing else."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from sandbox.control_plane.record import ProcessRecord
from sandbox.errors import SandboxError

_START_TIME_FIELD = 19
"""Of /proc/PID/stat, counted from 0 behind the command's name: proc(5), starttime."""
_START_TIME_TOLERANCE_S = 2.0  # some systems tell it in whole seconds, computed anew each time

_KILL_WAIT_S = 30.0
_TAIL_BYTES = 256 * 1024
_LOG_BYTES = 64 * 1024  # less free space than this, and a silent death needs no other reason

# Only these reach the processes: they outlive the command that starts them, and a shell's environment holds secrets.
_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR")

_REMEDIES = {
    "address already in use": "run the command again, other ports will be chosen",
    "no space left on device": "free some space and run the command again",
    "permission denied": "make the directory writable for this user",
    "too many open files": "raise the limit with `ulimit -n`",
}

_KLOG_HEADER = re.compile(r"^[IWEF]\d{4} [\d:.]+ +\d+ [^ ]+\] ")

# A child of this very process stays a zombie until it is waited for; Popen does that when asked.
_children: dict[int, "subprocess.Popen[bytes]"] = {}


def spawn(argv: Sequence[str], log: Path, extra_environment: Mapping[str, str]) -> ProcessRecord:
    """Starts `argv` in a session of its own, so that it survives the shell, with its output in `log`.

    The log of the last run is kept beside it as `*.previous.log`: what is in `log` is about this process.

    Raises SandboxError when the program is not there or may not be run.
    """
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    if log.exists():
        log.replace(log.with_suffix(".previous.log"))
    log.touch(mode=0o600)
    try:
        with log.open("wb") as output:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment | dict(extra_environment),
                start_new_session=True,
                umask=0o077,
            )
    except (FileNotFoundError, PermissionError) as error:
        raise SandboxError(
            f"cannot run {argv[0]}: {error.strerror}; `python -m sandbox doctor` says where the tools come from"
        ) from error
    _children[child.pid] = child
    try:
        started = _start_time(psutil.Process(child.pid))
    except psutil.NoSuchProcess:
        started = -1.0  # it is gone already, and matches no process from here on
    return ProcessRecord(pid=child.pid, started=started, argv=tuple(argv))


def is_running(process: ProcessRecord) -> bool:
    """Whether that very process runs: not another one that has its pid now, and not a zombie."""
    return _find(process) is not None


def stop(processes: Iterable[ProcessRecord], grace_s: float) -> None:
    """Ends the processes together: SIGTERM, and SIGKILL for what is left after `grace_s` seconds; returns when gone."""
    left = list(processes)
    for end, patience_s in ((psutil.Process.terminate, grace_s), (psutil.Process.kill, _KILL_WAIT_S)):
        found = [process for process in map(_find, left) if process is not None]
        for process in found:
            with suppress(psutil.NoSuchProcess):
                end(process)
        # Not psutil.wait_procs: it waits for ever for a zombie whose parent never reaps it, as pid 1 of many containers.
        deadline = time.monotonic() + patience_s
        while (left := [process for process in left if is_running(process)]) and time.monotonic() < deadline:
            time.sleep(0.02)


def why_it_died(log: Path) -> str:
    """The reason and, where there is one, the remedy, from the last lines of a log; never empty."""
    lines = [_message(line) for line in tail(log, 40)]
    if not lines and shutil.disk_usage(log.parent).free < _LOG_BYTES:
        return f"no space left on device (not even for its log); {_REMEDIES['no space left on device']}"
    for line in reversed(lines):
        for reason, remedy in _REMEDIES.items():
            if reason in line.lower():
                return f"{reason} ({line[-300:]}); {remedy}"
    telling = [line for line in lines if re.search(r"error|fatal|panic|fail|invalid|unable", line, re.IGNORECASE)]
    return (telling or lines or ["it wrote nothing"])[-1][-300:]


def tail(log: Path, lines: int) -> list[str]:
    """The last `lines` lines of a log without the empty ones; none if there is no log."""
    if not log.exists():
        return []
    with log.open("rb") as content:
        content.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = content.read().decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()][-lines:]


def _find(process: ProcessRecord) -> psutil.Process | None:
    child = _children.get(process.pid)
    if child is not None and child.poll() is not None:
        del _children[process.pid]
        child = None
    try:
        found = psutil.Process(process.pid)
        same = (
            abs(_start_time(found) - process.started) < _START_TIME_TOLERANCE_S
            # After a reboot, pid and start time could meet by chance; right after its start a child has no command line yet.
            and tuple(found.cmdline()) in ((process.argv, ()) if child else (process.argv,))
            and found.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return found if same else None


def _start_time(process: psutil.Process) -> float:
    """Seconds since boot on Linux, where the wall-clock time of psutil moves with the clock it is computed from."""
    if not psutil.LINUX:
        return process.create_time()
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise psutil.NoSuchProcess(process.pid) from error
    return int(fields[_START_TIME_FIELD]) / os.sysconf("SC_CLK_TCK")


def _message(line: str) -> str:
    """A log line without its header: etcd writes JSON, the Kubernetes programs write klog."""
    try:
        entry = json.loads(line)
        return f"{entry['msg']}: {entry['error']}" if "error" in entry else str(entry["msg"])
    except (ValueError, KeyError, TypeError):
        return _KLOG_HEADER.sub("", line).strip()
