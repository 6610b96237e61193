"""All hosts of a lab with what they share, inside the lab's own process."""

import secrets
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sandbox.control_plane import ControlPlane
from sandbox.control_plane.files import write_private
from sandbox.errors import SandboxError
from sandbox.hosts.base import base_tree
from sandbox.hosts.calls import Call, Program, Switchboard
from sandbox.hosts.cluster import AGENT, SERVER, Cluster
from sandbox.hosts.faults import Fault, Trouble
from sandbox.hosts.host import Host, State
from sandbox.hosts.k3s_config import installed_version
from sandbox.hosts.network import Network, claim, release
from sandbox.hosts.openssh import ensure_sshd
from sandbox.hosts.programs import internet, k3s, kernel, nvidia, packages, system
from sandbox.hosts.programs.systemd import Service, Systemd
from sandbox.hosts.spec import BASTION, HostSpec

_MOST = 200


class _Memory(BaseModel):
    """What a lab remembers while it does not run."""

    model_config = ConfigDict(extra="forbid")

    network: Network | None = None
    hosts: list[str] = []
    """By their index, which decides the address."""


class Rack:
    """The hosts; every method may be called from any thread."""

    def __init__(self, home: Path, login_key: str, plane: ControlPlane) -> None:
        """Takes a network; the hosts of an earlier run are there, switched off. SandboxError where that cannot be."""
        self._home, self._login_key = home, login_key
        self._memory_file = home / "rack.json"
        memory = _read(self._memory_file)
        self.network = claim(home, memory.network)
        self.network.make()
        self._openssh = ensure_sshd()
        self._base = base_tree(home.parent, self._openssh)
        self.hosts: dict[str, Host] = {}
        self._order = memory.hosts
        self.cluster = Cluster(plane, self.hosts, home / "cluster.json")
        self._systemd = Systemd(
            {
                SERVER: Service(self.cluster.start_server, self.cluster.stop),
                AGENT: Service(self.cluster.start_agent, self.cluster.stop),
            }
        )
        self._programs: dict[str, Program] = {
            **kernel.PROGRAMS,
            **system.PROGRAMS,
            **packages.PROGRAMS,
            **nvidia.PROGRAMS,
            "nvidia-smi": nvidia.nvidia_smi(self.cluster.tell_devices),
            "curl": internet.curl(self.cluster.answers),
            "sudo": _sudo,
            "reboot": self._reboot,
            **self._systemd.programs(),
            **k3s.K3s(self.cluster, self._systemd).programs(),
        }
        self.switchboard = Switchboard(self._find, self._before, home / "calls.jsonl", secrets.token_hex(16))
        self._lock = threading.RLock()

    def start(self, specs: Mapping[str, HostSpec], bastion: bool) -> None:
        """Makes these hosts run, beside those there are already. SandboxError with the reason when one does not."""
        wanted = dict(specs) | ({BASTION: HostSpec()} if bastion else {})
        with self._lock:
            self._order += [name for name in wanted if name not in self._order]
            if len(self._order) > _MOST:
                raise SandboxError(f"{len(self._order)} hosts are too many to rehearse; use {_MOST} at most")
            write_private(self._memory_file, _Memory(network=self.network, hosts=self._order).model_dump_json())
            for name in self._order:
                if name not in self.hosts:
                    self.hosts[name] = self._host(name, wanted.get(name, HostSpec()))
                if name in wanted:
                    self.hosts[name].respecify(wanted[name])
            with ThreadPoolExecutor() as pool:
                list(pool.map(self._boot, [host for host in self.hosts.values() if not host.power.is_on]))

    def stop(self) -> None:
        """Switches everything off; trees and memories stay."""
        with self._lock:
            for host in self.hosts.values():
                host.shut_down()
            self.cluster.close()
            release(self.network)

    def trouble(self, host: Host, trouble: Trouble) -> None:
        """From now on something is wrong with a host."""
        host.troubles.add(trouble)
        self._settle(host)

    def mend(self, host: Host, faults: list[Fault] | None) -> None:
        """These faults are over; with None all."""
        host.troubles.clear(faults)
        self._settle(host)

    def reboot(self, host: Host) -> None:
        """A restart without warning."""
        self._shut_down(host)
        self._boot(host)

    def wipe(self, host: Host) -> None:
        """A fresh installation, with the same hardware, address and host key."""
        self._shut_down(host)
        host.wipe()
        self.cluster.forget_lost()
        self._boot(host)

    def describe(self, host: Host) -> dict[str, Any]:
        """A host as it is now."""
        role = self.cluster.role(host)
        unit = {"server": SERVER, "agent": AGENT}.get(role or "", "")
        return {
            "name": host.name,
            "address": host.address,
            "port": self.network.ssh_port,
            "host_key": host.key,
            "on": host.power.is_on,
            "k3s": role,
            "active": unit in host.state.active,
            "version": installed_version(host),
            "faults": sorted(fault.name for fault in host.troubles.all()),
        }

    def _host(self, name: str, spec: HostSpec) -> Host:
        state = State(spec=spec, index=self._order.index(name))
        return Host(name, self._home / "hosts" / name, self._base, self.network, state, self._login_key, _preinstall)

    def _boot(self, host: Host) -> None:
        try:
            host.boot(lambda listener: self.switchboard.serve(host, listener), self.switchboard.key, self._start_units)
        except (SandboxError, OSError):
            host.shut_down()  # half a host helps nobody
            raise

    def _start_units(self, host: Host) -> None:
        threading.Thread(target=self._systemd.start_enabled, args=(host,), daemon=True).start()

    def _shut_down(self, host: Host) -> None:
        host.shut_down()
        self.cluster.stop(host)

    def _settle(self, host: Host) -> None:
        """Makes a host be as the faults of now have it."""
        host.settle()
        self.cluster.cut_off(host, off=host.troubles.holds(Fault.UNREACHABLE))
        if host.troubles.holds(Fault.K3S_CRASHES):
            for unit in {SERVER, AGENT} & set(host.state.active):
                self._systemd.stop(host, unit)
                self._systemd.start(host, unit)  # it fails, and is tried again until it does not

    def _find(self, call: Call) -> Program | None:
        return self._programs.get(call.program)

    def _before(self, call: Call) -> None:
        """Faults that happen at a call."""
        host = call.host
        before = host.troubles.all()
        host.troubles.count(call.program)
        if host.troubles.strike(Fault.POWER_LOST):
            self.reboot(host)
        elif host.troubles.strike(Fault.CONNECTION_LOST):
            host.power.drop_connections()
        if host.troubles.all() != before:
            self._settle(host)

    def _reboot(self, call: Call) -> int:
        threading.Timer(0.2, self.reboot, [call.host]).start()
        return 0


def _preinstall(host: Host) -> None:
    packages.preinstall(host)
    k3s.furnish(host)


def _sudo(call: Call) -> int:
    """Whether sudo lets the user be root: always, unless it asks for a password nobody can type."""
    if call.host.troubles.holds(Fault.SUDO_PASSWORD) and call.user != 0:
        call.err("sudo: a password is required")
        return 1
    return 0


def _read(path: Path) -> _Memory:
    return _Memory.model_validate_json(path.read_bytes()) if path.exists() else _Memory()
