"""Where the hosts of a lab are: in network namespaces behind a bridge of their own, else on loopback addresses.

Addresses are of 198.18.0.0/15, which no network routes (RFC 2544, benchmarks): one /24 for each lab that runs on the machine, the
machine itself at .1. Who has which is written down in /run, which ends with the machine as bridges and namespaces do.
"""

import ctypes
import fcntl
import ipaddress
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from sandbox.control_plane.ports import choose, is_free
from sandbox.errors import SandboxError

FIRST_HOST = 11
_LABS: Final = Path("/run/llm-platform-labs")
_NETWORK = ipaddress.ip_network("198.18.0.0/15")
_COUNT = 250
_CLONE_NEWNET = 0x40000000
_SECONDS = 20.0


@dataclass(frozen=True)
class Network:
    """One lab's part of the address range."""

    number: int
    namespaces: bool
    """Whether every host has a network of its own; else all share the machine's loopback."""
    ssh_port: int

    @property
    def bridge(self) -> str:
        """The bridge that joins its hosts."""
        return _bridge(self.number)

    def address(self, index: int) -> str:
        """That of the host with this index, counted from 0."""
        return self._address(FIRST_HOST + index)

    def _address(self, last: int) -> str:
        if self.namespaces:
            return str(_NETWORK[self.number * 256 + last])
        return f"127.77.{self.number}.{last}"

    def make(self) -> None:
        """The bridge, anew."""
        if self.namespaces:
            _remove_link(self.bridge)
            _ip(
                f"link add {self.bridge} type bridge",
                f"addr add {self._address(1)}/24 dev {self.bridge}",
                f"link set {self.bridge} up",
            )

    def connect(self, index: int, pid: int) -> None:
        """Gives the namespace of a process its interface. It goes with the namespace, but not at once."""
        outside = f"{self.bridge}-{index}"
        _remove_link(outside)
        _ip(
            # The same hardware address every time: who knew it before would send to the old one for half a minute.
            f"link add {outside} type veth peer name eth0 address 02:12:00:00:{self.number:02x}:{index:02x} netns {pid}",
            f"link set {outside} master {self.bridge}",
            f"link set {outside} up",
        )
        _ip(
            "link set lo up",
            f"addr add {self.address(index)}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {self._address(1)}",
            inside=pid,
        )

    def cut(self, index: int, *, off: bool) -> None:
        """Takes a host off the network, or puts it back."""
        if self.namespaces:
            _ip(f"link set {self.bridge}-{index} {'down' if off else 'up'}")


def listen(address: str, port: int, pid: int | None) -> socket.socket:
    """A listening socket in the network namespace of a process, or (None) in this one. OSError where the port is taken."""
    outcome: list[socket.socket | OSError] = []

    def work() -> None:
        try:
            if pid is not None:
                _enter_network(pid)
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(128)
            outcome.append(listener)
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=work)  # a namespace is entered by one thread, for good: so by one that ends
    thread.start()
    thread.join()
    result = outcome[0]
    if isinstance(result, OSError):
        raise result
    return result


def claim(home: Path, before: Network | None) -> Network:
    """A part of the range for this process: the one it had before if that is free. What dead labs left behind is removed.

    SandboxError without root, or when every part is taken.
    """
    if os.geteuid() != 0:
        raise SandboxError(
            "rehearsed hosts need root, because every one is an SSH server with users of its own; run the command with sudo, or "
            "in a container"
        )
    namespaces = _namespaces_work()
    with _claims() as claims:
        for number in (*([before.number] if before else []), *range(_COUNT)):
            if number not in claims:
                own = psutil.Process()
                claim = {"pid": own.pid, "started": own.create_time(), "home": str(home)}
                (_LABS / str(number)).write_text(json.dumps(claim), encoding="utf-8")
                return Network(number, namespaces, _ssh_port(namespaces, before))
    raise SandboxError(
        f"all {_COUNT} networks for rehearsed hosts are in use on this machine; stop some rehearsals and run again"
    )


def release(network: Network) -> None:
    """Gives the part back."""
    with _claims():
        if network.namespaces:
            _remove_link(network.bridge)
        (_LABS / str(network.number)).unlink(missing_ok=True)


def _ssh_port(namespaces: bool, before: Network | None) -> int:
    """Loopback is shared with whatever server listens on all its addresses."""
    if namespaces:
        return 22
    return before.ssh_port if before and is_free(before.ssh_port) else choose(["ssh"])["ssh"]


@contextmanager
def _claims() -> Iterator[set[int]]:
    """The numbers in use, while nobody else claims any."""
    _LABS.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (_LABS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        taken = set()
        for path in _LABS.iterdir():
            if path.name.isdecimal():
                if _is_alive(path):
                    taken.add(int(path.name))
                else:
                    _remove_link(_bridge(int(path.name)))
                    path.unlink()
        yield taken


def _is_alive(claim: Path) -> bool:
    with suppress(ValueError, KeyError, psutil.NoSuchProcess):
        owner = json.loads(claim.read_text(encoding="utf-8"))
        return bool(abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) < 2.0)
    return False


def _namespaces_work() -> bool:
    """Tried, for whether it is allowed depends on more than who asks."""
    if not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        return False
    # A veth inside a fresh namespace needs the kernel modules, and leaves nothing outside.
    script = "ip link add name one type veth peer name two && ip link add name three type bridge"
    command = ["unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "sh", "-c", script]
    return subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False).returncode == 0


def _bridge(number: int) -> str:
    return f"llmlab{number}"


def _remove_link(name: str) -> None:
    command = ["ip", "link", "delete", name]
    with suppress(FileNotFoundError):
        subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)


def _ip(*commands: str, inside: int | None = None) -> None:
    enter = ["nsenter", f"--net=/proc/{inside}/ns/net"] if inside else []
    done = subprocess.run(
        [*enter, "ip", "-batch", "-"], input="\n".join(commands), capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise SandboxError(f"the network of the rehearsed hosts cannot be made: {done.stderr.strip().splitlines()[0]}")


def _enter_network(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        if libc.setns(namespace, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot enter the network of the host")
    finally:
        os.close(namespace)
