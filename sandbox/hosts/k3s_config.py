"""What k3s reads when it starts, and what it says when that is wrong.

Its options are in k3s_options.yaml; how its files are put together is in docs.k3s.io, Configuration File.
"""

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from components.types import Taint, TaintEffect
from sandbox.hosts.host import Host

DIRECTORY = "/etc/rancher/k3s"
DATA = "/var/lib/rancher/k3s"
BINARY = "/usr/local/bin/k3s"

_DISABLE = {"coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes"}
# kubelet, --protect-kernel-defaults (kubernetes/kubernetes pkg/kubelet/cm, setupKernelTunables).
_KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
_FILES_OF_APISERVER = ("admission-control-config-file", "audit-policy-file")


class StartError(Exception):
    """k3s ends, and this is the last line of its log."""


@dataclass(frozen=True)
class Settings:
    """The configuration of one start."""

    server: bool
    raw: dict[str, Any]
    token: str | None
    agent_token: str | None

    @property
    def joins(self) -> str | None:
        """Address of the server it is told to join."""
        url = self.raw.get("server")
        found = re.fullmatch(r"https://([^/:]+)(:6443)?/?", str(url)) if url else None
        if url and not found:
            raise StartError(f"invalid server url, failed to parse: {url}")
        return found[1] if found else None

    def items(self, name: str) -> list[str]:
        """An option that may be given more than once."""
        value = self.raw.get(name, [])
        return [str(item) for item in value] if isinstance(value, list) else [part for part in str(value).split(",") if part]

    def node_name(self, host: Host) -> str:
        """The node's name; that of the host by default."""
        return str(self.raw.get("node-name") or host.tree.read("/etc/hostname").strip()).lower()

    def labels(self) -> dict[str, str]:
        """Labels the node registers with."""
        return {key: value for key, _, value in (item.partition("=") for item in self.items("node-label"))}

    def taints(self) -> tuple[Taint, ...]:
        """Taints the node registers with. StartError for one that is none."""
        found = []
        for item in self.items("node-taint"):
            parts = re.fullmatch(r"([^=:]+)(?:=([^:]*))?:(NoSchedule|PreferNoSchedule|NoExecute)", item)
            if not parts:
                raise StartError(f"invalid taint spec: {item}")
            found.append(Taint(key=parts[1], value=parts[2] or "", effect=TaintEffect(parts[3])))
        return tuple(found)


def installed_version(host: Host) -> str | None:
    """The release of the binary on a host; None where there is none that runs."""
    try:
        path = host.tree.resolve(BINARY)
        text = path.read_text(encoding="utf-8") if path.stat().st_mode & 0o100 else ""
    except OSError:
        return None
    found = re.search(r"^# k3s (v\S+) amd64$", text, re.MULTILINE)
    return found[1] if found else None


def read(host: Host, *, server: bool) -> Settings:
    """Reads and checks what k3s would. StartError with what it would log."""
    raw = _merged(host) | _environment(host, server=server)
    known = {*_options()["agent"], *(_options()["server"] if server else ())}
    for name in raw:
        if name not in known:
            raise StartError(f"flag provided but not defined: -{name}")
    for item in Settings(server, raw, None, None).items("disable"):
        if item not in _DISABLE:
            raise StartError(f"invalid disable item: {item}")
    settings = Settings(server, raw, _secret(host, raw, "token"), _secret(host, raw, "agent-token") if server else None)
    _check_kernel(host, settings)
    for argument in settings.items("kube-apiserver-arg"):
        name, _, path = argument.partition("=")
        if name in _FILES_OF_APISERVER and not host.tree.exists(path):
            raise StartError(f"apiserver exited: failed to read {name} {path}: open {path}: no such file or directory")
    registries = host.tree.read_or(str(raw.get("private-registry", f"{DIRECTORY}/registries.yaml")))
    if registries and not isinstance(_yaml(registries, "registries.yaml"), dict):
        raise StartError("failed to parse registries.yaml: not a mapping")
    settings.taints()
    return settings


@cache
def _options() -> dict[str, list[str]]:
    found: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name("k3s_options.yaml").read_text(encoding="utf-8"))
    return found


def _merged(host: Host) -> dict[str, Any]:
    """config.yaml, and config.yaml.d in alphabetical order: the last value counts, and a key with `+` adds to it."""
    merged: dict[str, Any] = {}
    for path in (f"{DIRECTORY}/config.yaml", *host.tree.glob(f"{DIRECTORY}/config.yaml.d/*.yaml")):
        content = _yaml(host.tree.read_or(path), path) or {}
        if not isinstance(content, dict):
            raise StartError(f"failed to parse {path}: not a mapping")
        for key, value in content.items():
            name = str(key).removesuffix("+")
            if str(key).endswith("+") and name in merged:
                merged[name] = [*_list(merged[name]), *_list(value)]
            else:
                merged[name] = value
    return merged


def _environment(host: Host, *, server: bool) -> dict[str, Any]:
    """Variables the installer wrote beside the unit."""
    unit = "k3s" if server else "k3s-agent"
    names = {"K3S_TOKEN": "token", "K3S_URL": "server", "K3S_TOKEN_FILE": "token-file", "K3S_NODE_NAME": "node-name"}
    found = {}
    for line in host.tree.read_or(f"/etc/systemd/system/{unit}.service.env").splitlines():
        key, _, value = line.partition("=")
        if key in names:
            found[names[key]] = "".join(shlex.split(value))
    return found


def _secret(host: Host, raw: dict[str, Any], name: str) -> str | None:
    """A token, or the first line of the file that holds it."""
    if value := raw.get(name):
        return str(value)
    if path := raw.get(f"{name}-file"):
        text = host.tree.read_or(str(path))
        if not text.strip():
            raise StartError(f"failed to read {name} from {path}: no such file or it is empty")
        return text.splitlines()[0].strip()
    return None


def _check_kernel(host: Host, settings: Settings) -> None:
    if settings.raw.get("protect-kernel-defaults") is not True:
        return
    wrong = []
    for key, wanted in _KERNEL.items():
        actual = host.tree.read_or(f"/proc/sys/{key}").strip()
        if actual != wanted:
            wrong.append(f"invalid kernel flag: {key}, expected value: {wanted}, actual value: {actual}")
    if wrong:
        raise StartError(f'"Failed to start ContainerManager" err="[{", ".join(wrong)}]"')


def _yaml(text: str, path: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise StartError(f"failed to parse {path}: {str(error).splitlines()[0]}") from error


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]
