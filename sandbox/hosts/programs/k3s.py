"""k3s and its installer (k3s-io/k3s install.sh; docs.k3s.io, CLI Tools)."""

import os
import re
import subprocess
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from sandbox.hosts import k3s_config
from sandbox.hosts.base import STAND_INS
from sandbox.hosts.calls import Call, Program, Refusal
from sandbox.hosts.cluster import AGENT, PORT, SERVER, Cluster
from sandbox.hosts.faults import Fault
from sandbox.hosts.hardware import OS_FACTS
from sandbox.hosts.host import Host
from sandbox.hosts.k3s_config import BINARY, DATA, DIRECTORY
from sandbox.hosts.outfit import install_stand_in
from sandbox.hosts.programs import internet
from sandbox.hosts.programs.options import parse
from sandbox.hosts.programs.packages import TOOLKIT
from sandbox.hosts.programs.systemd import Systemd
from sandbox.toolchain import HOSTS, ensure

_BIN = "/usr/local/bin"
_UNITS = "/etc/systemd/system"
_LINKS = ("kubectl", "crictl", "ctr")
_KUBECTL_S = 900.0
_NOT_REACHED = f"The connection to the server 127.0.0.1:{PORT} was refused - did you specify the right host or port?"


class K3s:
    """The programs of k3s on every host."""

    def __init__(self, cluster: Cluster, systemd: Systemd) -> None:
        """For the hosts of one cluster."""
        self._cluster, self._systemd = cluster, systemd

    def programs(self) -> dict[str, Program]:
        """By the names they are called under."""
        return {
            "install.sh": self.install,
            "k3s": self.k3s,
            "kubectl": lambda call: self._kubectl(call, call.arguments),
            "k3s-killall.sh": self.kill_all,
            "k3s-uninstall.sh": self.uninstall,
            "k3s-agent-uninstall.sh": self.uninstall,
        }

    # --- the installer ---

    def install(self, call: Call) -> int:
        """install.sh: the binary unless told otherwise, links, scripts to stop and remove it, the unit."""
        if call.user != 0:
            raise Refusal("[ERROR]  Can not create the files of k3s; run the installer as root")
        host, variables = call.host, call.environment
        command = f"{variables.get('INSTALL_K3S_EXEC', '')} {' '.join(call.arguments)}".split()
        role = command.pop(0) if command and not command[0].startswith("-") else "agent" if variables.get("K3S_URL") else "server"
        if role not in ("server", "agent"):
            raise Refusal(f"[ERROR]  the rehearsal installs no k3s {role}")
        if variables.get("INSTALL_K3S_SKIP_DOWNLOAD") not in ("true", "binary"):
            self._download(host, variables)
        if k3s_config.installed_version(host) is None:
            raise Refusal(f"[ERROR]  Executable k3s binary not found at {BINARY}")
        with host.lock:
            self._write(host, role, command, variables)
        name = SERVER if role == "server" else AGENT
        if variables.get("INSTALL_K3S_SKIP_ENABLE") != "true":
            call.out(f"[INFO]  systemd: Enabling {name.removesuffix('.service')} unit")
            host.tree.link(f"{_UNITS}/multi-user.target.wants/{name}", f"{_UNITS}/{name}")
        if "true" not in (variables.get("INSTALL_K3S_SKIP_START"), variables.get("INSTALL_K3S_SKIP_ENABLE")):
            call.out(f"[INFO]  systemd: Starting {name.removesuffix('.service')}")
            self._systemd.stop(host, name)
            if self._systemd.start(host, name) is not None:
                raise Refusal(f"Job for {name} failed because the control process exited with error code.")
        host.save()
        return 0

    def _download(self, host: Host, variables: dict[str, str]) -> None:
        version = variables.get("INSTALL_K3S_VERSION", "v1.36.3+k3s1")
        if not host.state.spec.internet or host.troubles.strike(Fault.DOWNLOAD):
            raise Refusal("[ERROR]  Download failed")
        content = internet.release_file(version, "k3s")
        if content is None or host.troubles.strike(Fault.CHECKSUM):
            raise Refusal("[ERROR]  Download sha256 does not match")
        host.tree.write(BINARY, content, 0o755)

    def _write(self, host: Host, role: str, command: Sequence[str], variables: dict[str, str]) -> None:
        tree = host.tree
        for name in _LINKS:
            if not tree.exists(f"{_BIN}/{name}"):
                tree.link(f"{_BIN}/{name}", "k3s")
        install_stand_in(tree, f"{_BIN}/k3s-killall.sh")
        install_stand_in(tree, f"{_BIN}/{'k3s' if role == 'server' else 'k3s-agent'}-uninstall.sh")
        unit = SERVER if role == "server" else AGENT
        lines = [f"{key}='{value}'\n" for key, value in sorted(variables.items()) if key.startswith("K3S_")]
        tree.write(f"{_UNITS}/{unit}.env", "".join(lines), 0o600)
        kind = "notify" if role == "server" else "exec"
        tree.write(
            f"{_UNITS}/{unit}",
            "[Unit]\nDescription=Lightweight Kubernetes\nDocumentation=https://k3s.io\nWants=network-online.target\n"
            "After=network-online.target\n\n[Install]\nWantedBy=multi-user.target\n\n"
            f"[Service]\nType={kind}\nEnvironmentFile=-{_UNITS}/{unit}.env\nKillMode=process\nDelegate=yes\nTimeoutStartSec=0\n"
            f"Restart=always\nRestartSec=5s\nExecStart={' '.join([BINARY, role, *command])}\n",
        )

    def kill_all(self, call: Call) -> int:
        """k3s-killall.sh: the service, its pods and what it mounted; all data stays."""
        for unit in (SERVER, AGENT):
            if call.host.tree.exists(f"{_UNITS}/{unit}"):
                self._systemd.stop(call.host, unit)
        call.host.tree.remove("/run/k3s")
        call.host.save()
        return 0

    def uninstall(self, call: Call) -> int:
        """k3s-uninstall.sh: what the installer made, and the data; /etc/rancher/node stays, as in reality."""
        self.kill_all(call)
        host, unit = call.host, SERVER if call.program == "k3s-uninstall.sh" else AGENT
        with host.lock:
            removed = [f"{_UNITS}/multi-user.target.wants/{unit}", f"{_UNITS}/{unit}", f"{_UNITS}/{unit}.env", call.path]
            if not any(host.tree.exists(f"{_UNITS}/{other}") for other in (SERVER, AGENT) if other != unit):
                removed += [f"{_BIN}/{name}" for name in (*_LINKS, "k3s", "k3s-killall.sh")]
                removed += [DIRECTORY, "/run/flannel", DATA, "/var/lib/kubelet"]
            for path in removed:
                host.tree.remove(path)
            host.save()
        self._cluster.forget_lost()
        return 0

    # --- the program ---

    def k3s(self, call: Call) -> int:
        """k3s with one of its commands."""
        command, *rest = call.arguments or [""]
        match command:
            case "--version" | "-v":
                call.out(f"k3s version {self._version(call)} (rehearsed)\ngo version go1.26.6")
            case "kubectl":
                return self._kubectl(call, rest)
            case "etcd-snapshot":
                self._snapshot(call, rest)
            case "secrets-encrypt":
                self._encryption(call, rest)
            case "server" | "agent":
                raise Refusal(f"k3s {command}: the rehearsal runs it as a service only; use systemctl")
            case _:
                raise Refusal(f"k3s: the rehearsal knows no command {command!r}")
        return 0

    def _version(self, call: Call) -> str:
        text = call.host.tree.read_or(call.absolute(call.path))
        found = re.search(r"^# k3s (v\S+)", text, re.MULTILINE)
        return found[1] if found else "unknown"

    def _kubectl(self, call: Call, arguments: Sequence[str]) -> int:
        """The real kubectl as administrator, run outside: only files of the host are opened for it."""
        host = call.host
        kubeconfig = host.tree.resolve(call.environment.get("KUBECONFIG", f"{DIRECTORY}/k3s.yaml"))
        if not kubeconfig.exists():
            raise Refusal("The connection to the server localhost:8080 was refused - did you specify the right host or port?")
        if call.user != 0 and not kubeconfig.stat().st_mode & 0o004:
            raise Refusal(
                f'error: error loading config file "{DIRECTORY}/k3s.yaml": open {DIRECTORY}/k3s.yaml: permission denied'
            )
        if not self._cluster.answers(host.address):
            raise Refusal(_NOT_REACHED)
        words, given = self._safe(call, list(arguments))
        done = subprocess.run(
            [_kubectl_program(), *words],
            env={"KUBECONFIG": str(self._cluster.plane.kubeconfig), "HOME": "/nonexistent", "PATH": os.environ["PATH"]},
            input=given,
            capture_output=True,
            timeout=_KUBECTL_S,
            check=False,
        )
        call.send("out", done.stdout)
        call.send("err", done.stderr)
        if "delete" in words:
            self._cluster.after_deletion()
        return done.returncode

    def _safe(self, call: Call, words: list[str]) -> tuple[list[str], bytes]:
        """Paths of the host become those of its tree; what would lead elsewhere is refused."""
        given = b""
        for position, word in enumerate(words):
            if word.startswith(("--kubeconfig", "--server", "--cache-dir", "--token", "-s=")):
                raise Refusal(f"kubectl: the rehearsal knows no option {word.partition('=')[0]}")
            if word in ("-f", "--filename") and position + 1 < len(words):
                if words[position + 1] == "-":
                    given = call.input()
                else:
                    words[position + 1] = str(call.host.tree.resolve(call.absolute(words[position + 1])))
        return words, given

    def _snapshot(self, call: Call, words: Sequence[str]) -> None:
        options = parse("k3s etcd-snapshot", words, set(), {"--name", "--etcd-snapshot-dir", "--dir"})
        folder = options.values.get("--etcd-snapshot-dir") or options.values.get("--dir") or f"{DATA}/server/db/snapshots"
        host = call.host
        if not self._cluster.answers(host.address) or not host.tree.exists(f"{DATA}/server/db/etcd"):
            raise Refusal("Error: failed to get etcd status: etcd datastore is not started")
        match options.rest:
            case ["save"] | []:
                node = k3s_config.read(host, server=True).node_name(host)
                file = f"{options.values.get('--name', 'on-demand')}-{node}-{int(time.time())}"
                if host.troubles.holds(Fault.DISK_FULL):
                    raise Refusal("Error: see server log for details: no space left on device")
                host.tree.mkdir(folder, 0o700)
                host.tree.write(f"{folder}/{file}", "rehearsed snapshot\n", 0o600)
                call.out(f"Snapshot {file} saved.")
            case ["ls"] | ["list"]:
                for path in host.tree.glob(f"{folder}/*"):
                    call.out(f"{path.rpartition('/')[2]} file://{path}")
            case other:
                raise Refusal(f"k3s: the rehearsal knows no etcd-snapshot {' '.join(other)}")

    def _encryption(self, call: Call, words: Sequence[str]) -> None:
        if list(words) != ["status"]:
            raise Refusal(f"k3s: the rehearsal knows no secrets-encrypt {' '.join(words)}")
        if not self._cluster.answers(call.host.address):
            raise Refusal("Error: see server log for details")
        settings = k3s_config.read(call.host, server=True)
        if settings.raw.get("secrets-encryption") is True:
            call.out("Encryption Status: Enabled\nCurrent Rotation Stage: start\nServer Encryption Hashes: All hashes match")
        else:
            call.out("Encryption Status: Disabled, no configuration file found")


@cache
def _kubectl_program() -> Path:
    return ensure(HOSTS)["kubectl"]


def furnish(host: Host) -> None:
    """The part of the installer every host has here, and the mirror the stack file says it has."""
    install_stand_in(host.tree, f"{STAND_INS}/install.sh")
    mirror = host.state.spec.mirror
    if mirror is None:
        return
    names = ("k3s", "sha256sum-amd64.txt", "k3s-airgap-images-amd64.tar.zst")
    for name in names:
        host.tree.write(f"{mirror.directory}/{mirror.k3s}/{name}", internet.release_file(mirror.k3s, name) or b"")
    host.tree.write(f"{mirror.directory}/{mirror.k3s}/install.sh", internet.installer())
    apt = OS_FACTS[host.state.spec.os].packages == "apt"
    for package in TOOLKIT:
        file = f"{package}_{mirror.toolkit}-1_amd64.deb" if apt else f"{package}-{mirror.toolkit}-1.x86_64.rpm"
        host.tree.write(f"{mirror.directory}/packages/{file}", "rehearsed package\n")
