"""One rehearsed host: its tree, its power, and what its operating system remembers."""

import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sandbox.control_plane.files import private_directory, write_private
from sandbox.hosts.base import STAND_INS, clone
from sandbox.hosts.faults import Fault
from sandbox.hosts.hardware import driver_version_file, fixed_files, modules_file, swaps_file, sysctl_files
from sandbox.hosts.keys import key_pair
from sandbox.hosts.network import Network, listen
from sandbox.hosts.outfit import furnish
from sandbox.hosts.power import Power
from sandbox.hosts.spec import HostSpec
from sandbox.hosts.tree import Tree
from sandbox.hosts.troubles import Troubles

_OLD_KERNEL = "4.4.0-210-generic"
_OLD_DRIVER = "535.274.02"
_PCI = "/sys/bus/pci/devices"
_JOURNAL_BYTES = 256 * 1024


class Gpu(BaseModel):
    """One NVIDIA GPU as its driver has it."""

    mig: bool = False
    mig_pending: bool = False
    instances: list[str] = []
    """Profiles of its GPU instances, in order of their placement."""
    computing: bool = False
    """Whether each of them has its compute instance."""


class State(BaseModel):
    """What a host remembers beside its files."""

    model_config = ConfigDict(extra="forbid")

    spec: HostSpec
    index: int
    boot: str = ""
    """Another one after every start."""
    packages: dict[str, str] = {}
    """Installed packages that are modelled: name to version."""
    active: list[str] = []
    """Units that run."""
    failed: list[str] = []
    modules: list[str] = []
    """Kernel modules loaded beside those every host has."""
    driver_loaded: str | None = None
    """Version of the NVIDIA kernel module that is loaded."""
    swap_on: bool = False
    gpus: list[Gpu] = []
    as_found: dict[str, str] = {}
    """The tree and everything else a script may change, as it first was."""


class Host:
    """One host. Its lock is held by whatever changes its state."""

    def __init__(
        self,
        name: str,
        home: Path,
        base: Path,
        network: Network,
        state: State,
        login_key: str,
        preinstall: Callable[["Host"], None],
    ) -> None:
        """As it was left, switched off; where it is new it is furnished, and `preinstall` brings the packages it comes with."""
        self._preinstall = preinstall
        self.name, self._home, self._base, self._login_key = name, private_directory(home), base, login_key
        self.network = network
        self.lock = threading.RLock()
        self.tree = Tree(home / "root")
        self.troubles = Troubles()
        self.key = key_pair(home / "host_key")
        self._other_key = key_pair(home / "other_key")
        self.state = self._load(state)
        self.power = Power(name, self.tree.root, network, self.state.index, home / "sshd.log")
        self._closers: dict[str, Callable[[], None]] = {}
        if not (home / "state.json").exists():
            self._install()

    @property
    def address(self) -> str:
        """Its IP address."""
        return self.network.address(self.state.index)

    def save(self) -> None:
        """Writes its memory down."""
        write_private(self._home / "state.json", self.state.model_dump_json(by_alias=True))

    def boot(self, serve: Callable[[Any], None], key: str, start_units: Callable[["Host"], None]) -> None:
        """Switches it on; `serve` gets the socket its stand-ins call, with `key`, and `start_units` starts what is enabled."""
        with self.lock:
            self.power.on()
            for directory in ("/run", "/tmp"):  # noqa: S108 - the host's own
                self.tree.empty(directory)
            self.tree.mkdir("/run/sshd")
            self.state.boot = str(uuid.uuid4())
            self.state.active, self.state.failed, self.state.modules = [], [], []
            self.state.driver_loaded = None
            self.state.swap_on = self.state.spec.swap and "swap" in self.tree.read_or("/etc/fstab")
            for gpu in self.state.gpus:
                gpu.mig, gpu.instances, gpu.computing = gpu.mig_pending, [], False
            for path, value in sysctl_files().items():
                self.tree.write(path, value)
            self._boot_settings()
            self.refresh()
            listener = listen("127.0.0.1" if self.network.namespaces else self.address, 0, self.power.pid)
            where = listener.getsockname()
            self.tree.write(f"{STAND_INS}/port", f"{where[0]}:{where[1]}\n")
            self.tree.write(f"{STAND_INS}/key", f"{key}\n")
            serve(listener)
            self.when_off("stand-ins", listener.close)
            self._settle_access()
            if not self.state.as_found:
                self.state.as_found = self.look()
            self.save()
        start_units(self)

    def shut_down(self) -> None:
        """Switches it off at once."""
        with self.lock:
            self.power.off()
            for what in list(self._closers):
                self.close(what)

    def when_off(self, what: str, end: Callable[[], None]) -> None:
        """`end` is called when the host loses its power, or by `close`."""
        self._closers[what] = end

    def close(self, what: str) -> None:
        """Ends one of these now; it may have ended."""
        if end := self._closers.pop(what, None):
            end()

    def wipe(self) -> None:
        """A fresh installation of its operating system under the same host key; it stays off."""
        with self.lock:
            self.shut_down()
            found = self.state.as_found
            self.state = State(spec=self.state.spec, index=self.state.index, as_found=found)
            self._install()

    def respecify(self, spec: HostSpec) -> None:
        """Other hardware, as the stack file declares it now; the operating system and what is installed stay."""
        with self.lock:
            if spec != self.state.spec:
                self.state = self.state.model_copy(update={"spec": spec})
                self.tree.remove(_PCI)
                files = fixed_files(spec, self.name)
                for path, content in files.items():
                    self.tree.write(path, content)
                self._install_gpus()
                self.settle()
                # Other hardware is no trace of a script.
                found, before = self.look(), self.state.as_found
                self.state.as_found = {key: text for key, text in before.items() if key not in files and not _is_hardware(key)}
                self.state.as_found |= {key: text for key, text in found.items() if key in files or _is_hardware(key)}
                self.save()

    def settle(self) -> None:
        """Makes its files and its SSH server as the faults of now have it."""
        with self.lock:
            self.refresh()
            if self.power.is_on:
                self._settle_access()

    def refresh(self) -> None:
        """Writes the files of /proc and /sys that follow from its memory and its faults."""
        with self.lock:
            spec, holds = self.state.spec, self.troubles.holds
            fixed = fixed_files(spec.model_copy(update={"kernel": _OLD_KERNEL}) if holds(Fault.OLD_KERNEL) else spec, self.name)
            for path in ("/proc/version", "/proc/sys/kernel/osrelease", "/proc/cmdline"):
                self.tree.write(path, fixed[path])
            controllers = fixed["/sys/fs/cgroup/cgroup.controllers"]
            if holds(Fault.NO_CGROUP_MEMORY):
                controllers = controllers.replace("memory ", "")
            self.tree.write("/sys/fs/cgroup/cgroup.controllers", controllers)
            nouveau = {"nouveau"} if holds(Fault.NOUVEAU) else set()
            modules = {*self.state.modules, *nouveau}
            if driver := self.driver:
                modules |= {"nvidia", "nvidia_uvm", "nvidia_modeset"}
                self.tree.write("/proc/driver/nvidia/version", driver_version_file(driver))
            else:
                self.tree.remove("/proc/driver")
            self.tree.write("/proc/modules", modules_file(modules))
            self.tree.empty("/sys/module")
            for module in modules:
                self.tree.mkdir(f"/sys/module/{module}")
            swap = self.state.swap_on or holds(Fault.SWAP)
            self.tree.write("/proc/swaps", swaps_file(spec.model_copy(update={"swap": True}), on=swap))

    @property
    def driver(self) -> str | None:
        """Version of the NVIDIA driver that has the GPUs."""
        if self.troubles.holds(Fault.NOUVEAU):
            return None
        if self.state.driver_loaded and self.troubles.holds(Fault.DRIVER_TOO_OLD):
            return _OLD_DRIVER
        return self.state.driver_loaded

    def journal(self, unit: str, *lines: str) -> None:
        """Writes lines into the log of a unit, each with the second it is of."""
        path = self._home / "journal" / f"{unit}.log"
        private_directory(path.parent)
        with path.open("a", encoding="utf-8") as log:
            log.writelines(f"{int(time.time())} {line}\n" for line in lines)

    def read_journal(self, unit: str) -> list[str]:
        """The log of a unit, its end."""
        path = self._home / "journal" / f"{unit}.log"
        if not path.exists():
            return []
        return path.read_bytes()[-_JOURNAL_BYTES:].decode(errors="replace").splitlines()

    def look(self) -> dict[str, str]:
        """Everything a script may have changed, in words that can be compared."""
        found = self.tree.contents()
        for what, values in (("package", self.state.packages), ("running", dict.fromkeys(self.state.active, "active"))):
            found |= {f"{what} {name}": value for name, value in values.items()}
        for number, gpu in enumerate(self.state.gpus):
            found[f"GPU {number}"] = f"MIG {'on' if gpu.mig_pending else 'off'}, instances: {' '.join(gpu.instances) or 'none'}"
        return found

    def leaks(self) -> list[str]:
        """What is otherwise than as it was found."""
        before, now = self.state.as_found, self.look()
        return [
            f"{self.name}: {path} " + ("is new" if path not in before else "is gone" if path not in now else "is changed")
            for path in sorted(before.keys() | now.keys())
            if before.get(path) != now.get(path)
        ]

    def _load(self, state: State) -> State:
        path = self._home / "state.json"
        if not path.exists():
            return state
        return State.model_validate_json(path.read_bytes())

    def _install(self) -> None:
        shutil.rmtree(self.tree.root, ignore_errors=True)
        clone(self._base, self.tree.root)
        furnish(self.tree, self.state.spec, self.name, self._home / "host_key", self._login_key)
        shutil.rmtree(self._home / "journal", ignore_errors=True)
        self._install_gpus()
        self._preinstall(self)
        self.save()

    def _install_gpus(self) -> None:
        accelerator = self.state.spec.accelerator
        count = accelerator.count if accelerator and self.state.spec.has_nvidia else 0
        self.state.gpus = [*self.state.gpus[:count], *(Gpu() for _ in range(count - len(self.state.gpus)))]

    def _boot_settings(self) -> None:
        """What udev and systemd do early: one driver takes the GPUs; /etc/modules-load.d and /etc/sysctl.d."""
        blocked = {
            words[1]
            for path in self.tree.glob("/etc/modprobe.d/*.conf")
            for words in map(str.split, self.tree.read(path).splitlines())
            if words[:1] == ["blacklist"]
        }
        if self.state.spec.nouveau and "nouveau" not in blocked:
            self.state.modules.append("nouveau")
        elif self.state.spec.has_nvidia:
            self.state.driver_loaded = installed_driver(self.state.packages)
        for path in self.tree.glob("/etc/modules-load.d/*.conf"):
            self.state.modules += [line for line in self.tree.read(path).split() if not line.startswith("#")]
        for path in self.tree.glob("/etc/sysctl.d/*.conf"):
            for line in self.tree.read(path).splitlines():
                key, equals, value = line.partition("=")
                if equals and not line.lstrip().startswith(("#", ";")):
                    self.tree.write(f"/proc/sys/{key.strip().replace('.', '/')}", f"{value.strip()}\n")

    def _settle_access(self) -> None:
        """Whether one can log in, and with which key it answers."""
        holds = self.troubles.holds
        wanted = (self._other_key if holds(Fault.WRONG_HOST_KEY) else self.key) is self.key
        key = (self._home / ("host_key" if wanted else "other_key")).read_bytes()
        if self.tree.resolve("/etc/ssh/ssh_host_ed25519_key").read_bytes() != key:
            self.tree.write("/etc/ssh/ssh_host_ed25519_key", key, 0o600)
            self.power.stop_sshd()
        # Hosts on loopback have no network of their own that could be cut.
        away = holds(Fault.SSH_REFUSED) or (holds(Fault.UNREACHABLE) and not self.network.namespaces)
        self.power.stop_sshd() if away else self.power.start_sshd()
        self.network.cut(self.state.index, off=holds(Fault.UNREACHABLE))
        sudo, hidden = self.tree.resolve("/usr/bin/sudo"), self.tree.resolve(f"{STAND_INS}/sudo")
        if holds(Fault.SUDO_MISSING) and sudo.exists():
            sudo.rename(hidden)
        elif not holds(Fault.SUDO_MISSING) and hidden.exists():
            hidden.rename(sudo)


def _is_hardware(key: str) -> bool:
    return key.startswith((_PCI, "GPU "))


def installed_driver(packages: Mapping[str, str]) -> str | None:
    """Version of the NVIDIA driver among installed packages."""
    drivers = [version for name, version in packages.items() if re.fullmatch(r"nvidia-(headless-\d+-server-open|open)", name)]
    return drivers[0].partition("-")[0] if drivers else None
