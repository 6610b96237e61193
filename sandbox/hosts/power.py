"""A host that is switched on: its namespaces, its SSH server, and commands run inside."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from sandbox.errors import SandboxError
from sandbox.hosts.base import STAND_INS
from sandbox.hosts.network import Network

_SECONDS = 20.0
_POLL_S = 0.02
# What containers have too (moby/moby, default capabilities) without mknod and net_raw: root of a host is not root of the machine.
_CAPABILITIES = (
    *("audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "net_bind_service", "setfcap", "setgid", "setpcap"),
    *("setuid", "sys_chroot"),
)
# The tree may lie where devices and set-user-ID programs do not work, as /tmp often is; this mount is the host's own.
_INIT = f"""\
echo made; read -r _
mount --bind "$0" "$0" && mount -o remount,bind,suid,dev,exec "$0" || exit
mount -t proc -o subset=pid proc "$0{STAND_INS}/proc" 2>/dev/null
echo "$1" >/proc/sys/kernel/hostname
echo mounted
exec chroot "$0" /usr/bin/dash -c 'while :; do sleep 1000; done' </dev/null >/dev/null 2>&1
"""

# A process ends with the thread that began it, so one thread that stays begins them all.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class Power:
    """The processes of one host."""

    def __init__(self, name: str, tree: Path, network: Network, index: int, log: Path) -> None:
        """Switched off."""
        self._name, self._tree, self._network, self._index, self._log = name, tree, network, index, log
        self._outer: subprocess.Popen[bytes] | None = None
        self._sshd: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()
        self.pid: int | None = None
        """A process inside its namespaces; None while it is off, or where hosts have none."""
        self.is_on = False

    def on(self) -> None:
        """Namespaces and network; the SSH server is another step. SandboxError when the machine does not allow it."""
        with self._lock:
            if self._network.namespaces:
                self._unshare()
            self.is_on = True

    def off(self) -> None:
        """Ends every process of the host at once, as a power cut does."""
        with self._lock:
            self.is_on = False
            for process in self._everything():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            for popen in (self._sshd, self._outer):
                if popen is not None:
                    popen.kill()
                    popen.wait()
            self._sshd = self._outer = self.pid = None

    def start_sshd(self) -> None:
        """Does nothing where it runs. SandboxError, with what it says, when it ends at once."""
        with self._lock:
            if self._master() is not None:
                return
            address = self._network.address(self._index)
            options = ["-D", "-e", "-o", f"ListenAddress={address}:{self._network.ssh_port}"]
            command = self.inside(["/usr/sbin/sshd", *options])
            with self._log.open("ab") as log:
                self._sshd = _spawner.submit(_spawn, command, log.fileno()).result()
            self._wait_for_sshd(address)

    def stop_sshd(self) -> None:
        """No new connections; those there are go on."""
        with self._lock:
            if master := self._master():
                with suppress(psutil.NoSuchProcess):
                    master.terminate()
                    master.wait(_SECONDS)

    def drop_connections(self) -> None:
        """Breaks every SSH connection there is; what runs on the host goes on."""
        if master := self._master():
            for session in master.children():
                for process in (*session.children(), session):
                    with suppress(psutil.NoSuchProcess):
                        if "sshd" in process.name():
                            process.kill()

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """What a program inside says, as root."""
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        return subprocess.run(
            self.inside(command), env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def inside(self, command: Sequence[str]) -> list[str]:
        """A command line of this machine that runs one on the host."""
        enter: list[str] = []
        if self.pid is not None:
            enter = ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--ipc", "--uts"]
        bounds = ",".join(["-all", *(f"+{capability}" for capability in _CAPABILITIES)])
        return [*enter, "setpriv", f"--bounding-set={bounds}", "--inh-caps=-all", "chroot", str(self._tree), *command]

    def _unshare(self) -> None:
        flags = ["--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child=SIGKILL"]
        command = ["unshare", *flags, "sh", "-c", _INIT, str(self._tree), self._name]
        with self._log.open("ab") as log:
            outer: subprocess.Popen[bytes] = _spawner.submit(_spawn, command, log.fileno(), pipes=True).result()
        self._outer = outer
        self._expect(outer, b"made\n")
        self._network.connect(self._index, outer.pid)
        with _pipe(outer.stdin) as go:
            go.write(b"\n")
        self._expect(outer, b"mounted\n")
        _pipe(outer.stdout).close()
        self.pid = psutil.Process(outer.pid).children()[0].pid

    def _wait_for_sshd(self, address: str) -> None:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline and self._sshd is not None and self._sshd.poll() is None:
            with suppress(OSError), socket.create_connection((address, self._network.ssh_port), timeout=1.0):
                return
            time.sleep(_POLL_S)
        raise SandboxError(f"the SSH server of the rehearsed host {self._name} does not start; its log is {self._log}")

    def _expect(self, outer: "subprocess.Popen[bytes]", line: bytes) -> None:
        if _pipe(outer.stdout).readline() != line:
            outer.kill()
            raise SandboxError(f"the rehearsed host {self._name} cannot be switched on; its log is {self._log}")

    def _master(self) -> psutil.Process | None:
        """sshd itself, which nsenter is the parent of where there are namespaces."""
        if self._sshd is None or self._sshd.poll() is not None:
            return None
        with suppress(psutil.NoSuchProcess, IndexError):
            process = psutil.Process(self._sshd.pid)
            return process.children()[0] if self.pid is not None else process
        return None

    def _everything(self) -> list[psutil.Process]:
        """Where there is no process namespace: sshd with all below it, and what has moved away from it but lives in the tree."""
        if self.pid is not None:
            return []
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if Path(f"/proc/{process.pid}/root").readlink().is_relative_to(self._tree):
                    found.append(process)
        return found


def _pipe(end: IO[bytes] | None) -> IO[bytes]:
    if end is None:
        raise TypeError("the process was begun without pipes")
    return end


def _spawn(command: list[str], log: int, *, pipes: bool = False) -> "subprocess.Popen[bytes]":
    tied = shutil.which("setpriv") or "setpriv"
    return subprocess.Popen(
        [tied, "--pdeathsig=SIGKILL", *command],
        stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
        stdout=subprocess.PIPE if pipes else log,
        stderr=log,
        start_new_session=True,
    )
