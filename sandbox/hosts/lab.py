"""A lab: rehearsed hosts, started, looked at, broken, stopped and deleted as one thing."""

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from sandbox.control_plane import ControlPlane, processes
from sandbox.control_plane.files import private_directory, write_private
from sandbox.daemon import Daemon, DiedError
from sandbox.errors import SandboxError
from sandbox.hosts.faults import Fault, Trouble
from sandbox.hosts.keys import key_pair
from sandbox.hosts.openssh import ensure_sshd
from sandbox.hosts.outfit import LOGIN_USER
from sandbox.hosts.spec import BASTION, HostSpec
from sandbox.plain_http import request
from sandbox.toolchain import HOSTS, REHEARSAL, ensure

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_HOST_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_START_WAIT_S = 180.0
_ANSWER_S = 120.0


@dataclass(frozen=True)
class Address:
    """How a host is reached."""

    address: str
    port: int
    host_key: str
    """As in a known_hosts file, without the name: ssh-ed25519 AAAA…"""


@dataclass(frozen=True)
class HostStatus:
    """A host as it is now."""

    name: str
    address: Address
    on: bool
    k3s: str | None
    """server, agent, or None where k3s is not installed."""
    active: bool
    """Whether that runs."""
    version: str | None
    """Release of k3s that is installed."""
    faults: tuple[str, ...]


@dataclass(frozen=True)
class LabStatus:
    """A lab as it is now."""

    name: str
    running: bool
    pid: int | None
    namespaces: bool
    """Whether every host has a network of its own; else they share the machine's loopback."""
    hosts: tuple[HostStatus, ...]


@dataclass(frozen=True)
class CallRecord:
    """One run of a stand-in."""

    host: str
    program: str
    arguments: tuple[str, ...]
    user: int
    exit_code: int


class Lab:
    """One lab with everything it owns under `home`/`name`. Commands on one lab wait for each other."""

    login_user = LOGIN_USER
    """Who may log in, and become root with sudo."""

    def __init__(self, name: str, home: Path) -> None:
        """Touches nothing yet; `home` holds one directory per lab. Raises SandboxError for a name that cannot be a path."""
        if not _NAME.fullmatch(name):
            raise SandboxError(f"{name!r} is no name for a lab; use up to 40 lower-case letters, digits and dashes, e.g. onprem")
        self.name = name
        self._directory = home.resolve() / name
        self._daemon = Daemon(
            package="hosts",
            record=self._directory / "lab.json",
            kind="the rehearsed hosts",
            name=f"the rehearsed hosts of {name}",
            start_wait_s=_START_WAIT_S,
        )

    @property
    def key_file(self) -> Path:
        """The private key of the login user, there once it was started."""
        return self._directory / "login_key"

    @property
    def log(self) -> Path:
        """What its process writes."""
        return self._daemon.log

    def start(self, specs: Mapping[str, HostSpec], cluster: ControlPlane, *, bastion: bool = False) -> dict[str, Address]:
        """Makes these hosts run and answer, and says where they are; other hosts of the lab stay as they are.

        `cluster` is the control plane k3s starts on them. The bastion is the host of that name. Raises SandboxError with the
        reason when one does not start.
        """
        for name in specs:
            if not _HOST_NAME.fullmatch(name) or name == BASTION:
                raise SandboxError(
                    f"{name!r} is no name for a rehearsed host; use up to 63 lower-case letters, digits and dashes"
                )
        with self._daemon.exclusive():
            if self._daemon.running() is None:
                # Here they can say what they do; the lab's own process finds them made.
                ensure((*REHEARSAL, *HOSTS))
                ensure_sshd()
                self._spawn(cluster)
            hosts = {name: spec.model_dump(mode="json", by_alias=True) for name, spec in specs.items()}
            self._request("PUT", "hosts", {"hosts": hosts, "bastion": bastion})
            found = {host.name: host.address for host in self.status().hosts}
        return {name: found[name] for name in (*specs, *([BASTION] if bastion else []))}

    def stop(self) -> None:
        """Switches every host off; their files stay. Does nothing when nothing runs."""
        self._daemon.stop()

    def reset(self) -> None:
        """Switches every host off and deletes them; the control plane is its owner's."""
        self._daemon.reset()

    def status(self) -> LabStatus:
        """How it is now; waits for no other command."""
        running = self._daemon.running()
        if running is None:
            return LabStatus(self.name, False, None, False, ())
        answer = self._request("GET", "hosts")
        return LabStatus(self.name, True, running.pid, answer["namespaces"], tuple(map(_host_status, answer["hosts"])))

    def logs(self, host: str | None = None, lines: int = 50) -> str:
        """The last lines of the lab, or of a host's SSH server."""
        log = self.log if host is None else self._directory / "hosts" / host / "sshd.log"
        return "\n".join(processes.tail(log, lines))

    def calls(self) -> list[CallRecord]:
        """Every run of a stand-in so far, in the order of their ends; what they read is not in it."""
        return [CallRecord(**{**call, "arguments": tuple(call["arguments"])}) for call in self._request("GET", "calls")]

    def break_(self, host: str, fault: Fault, *, times: int | None = None, at: int = 1, program: str | None = None) -> None:
        """From now on something is wrong with a host.

        `times`: downloads, packages and breaks happen that often, the rest is so until it is mended. `at`: it begins with that
        call of a stand-in (of `program`), counted from now.
        """
        trouble = Trouble(fault=fault, times=times, at=at, program=program)
        self._request("POST", f"hosts/{quote(host)}/faults", trouble.model_dump(mode="json"))

    def mend(self, host: str, *faults: Fault) -> None:
        """These faults of a host are over; by default all."""
        self._request("DELETE", f"hosts/{quote(host)}/faults", [fault.value for fault in faults])

    def wipe(self, host: str) -> None:
        """Installs the operating system of a host anew; address and host key stay. Returns when it answers again."""
        self._request("POST", f"hosts/{quote(host)}/wipe")

    def reboot(self, host: str) -> None:
        """Restarts a host. Returns when it answers again; its services may still be starting."""
        self._request("POST", f"hosts/{quote(host)}/reboot")

    def leaks(self) -> list[str]:
        """What is otherwise on the hosts than when they were first started: files, packages, services, kernel settings, GPUs."""
        found: list[str] = self._request("GET", "leaks")
        return found

    def tree(self, host: str) -> Path:
        """A host's root directory on this machine."""
        return self._directory / "hosts" / host / "root"

    def _spawn(self, cluster: ControlPlane) -> None:
        private_directory(self._directory)
        write_private(self.key_file.with_suffix(".pub"), f"{key_pair(self.key_file)}\n")
        write_private(self._directory / "key", secrets.token_hex(16))
        cache = {name: os.environ[name] for name in ("XDG_CACHE_HOME",) if name in os.environ}
        try:
            self._daemon.start(self._directory, f"--cluster={cluster.directory}", environment=cache, answers=self._answers)
        except DiedError as error:
            sentence = error.reason.partition("SandboxError: ")[2]
            if sentence:
                raise SandboxError(sentence) from error
            raise

    def _answers(self) -> bool:
        try:
            self._request("GET", "hosts")
        except SandboxError:
            return False
        return True

    def _request(self, method: str, route: str, body: Any = None) -> Any:
        running = self._daemon.running()
        if running is None:
            raise SandboxError(
                f"the rehearsed hosts of {self.name} do not run; `python -m sandbox start {self.name}` starts them"
            )
        url = f"{running.endpoint}/{route}"
        key = (self._directory / "key").read_text(encoding="utf-8")
        try:
            response = request(method, url, json=body, headers={"Authorization": key}, timeout=_ANSWER_S)
        except httpx.HTTPError as error:
            raise SandboxError(f"the rehearsed hosts of {self.name} do not answer ({error}); their log is {self.log}") from error
        if not response.is_success:
            raise SandboxError(str(response.json()["message"]))
        return response.json()


def _host_status(host: dict[str, Any]) -> HostStatus:
    return HostStatus(
        name=host["name"],
        address=Address(host["address"], host["port"], host["host_key"]),
        on=host["on"],
        k3s=host["k3s"],
        active=host["active"],
        version=host["version"],
        faults=tuple(host["faults"]),
    )
