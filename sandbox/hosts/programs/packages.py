"""Package managers: apt and dpkg, dnf and rpm, over the few packages a host of models needs.

Names: Ubuntu's archive ("NVIDIA drivers installation", documentation.ubuntu.com/server), NVIDIA Container Toolkit "Installing the
NVIDIA Container Toolkit", NVIDIA Driver Installation Guide (RHEL 9).
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from sandbox.hosts.calls import Call, Program, Refusal
from sandbox.hosts.faults import Fault
from sandbox.hosts.hardware import OS_FACTS, kernel_of
from sandbox.hosts.host import Host
from sandbox.hosts.outfit import install_stand_in
from sandbox.hosts.programs.options import parse
from sandbox.hosts.spec import Os

TOOLKIT = ("libnvidia-container1", "libnvidia-container-tools", "nvidia-container-toolkit-base", "nvidia-container-toolkit")
_TOOLKIT_VERSIONS = ("1.17.8", "1.18.0", "1.18.1", "1.19.0", "1.20.0", "1.20.1")
_DRIVERS = {"535": "535.274.02", "570": "570.195.03", "580": "580.95.05"}
"""The newest driver of each branch in the archive."""
_PROGRAMS = {
    "nvidia-container-toolkit-base": ("nvidia-ctk", "nvidia-container-runtime", "nvidia-cdi-hook"),
    "nvidia-container-toolkit": ("nvidia-container-runtime-hook",),
    "libnvidia-container-tools": ("nvidia-container-cli",),
    "nvidia-open": ("nvidia-smi",),
}
_ORDINARY = {
    *("ca-certificates", "chrony", "conntrack", "container-selinux", "curl", "gnupg", "k3s-selinux", "kernel-devel-matched"),
    *("kernel-headers", "kernel-modules-extra", "nfs-common", "nfs-utils", "open-iscsi"),
}
"""Packages that bring nothing a script here looks at."""


@dataclass(frozen=True)
class _Wanted:
    name: str
    version: str | None


def add(host: Host, name: str, version: str) -> None:
    """A package is installed now, with the programs it brings."""
    host.state.packages[name] = version
    for program in _programs(name):
        install_stand_in(host.tree, f"/usr/bin/{program}")


def take(host: Host, name: str) -> None:
    """A package is gone, with its programs."""
    if host.state.packages.pop(name, None) is not None:
        for program in _programs(name):
            host.tree.remove(f"/usr/bin/{program}")


def preinstall(host: Host) -> None:
    """What the stack file says is there already."""
    spec = host.state.spec
    apt = OS_FACTS[spec.os].packages == "apt"
    if spec.driver and spec.has_nvidia:
        branch = spec.driver.partition(".")[0]
        names = (f"nvidia-headless-{branch}-server-open", f"nvidia-utils-{branch}-server") if apt else ("nvidia-open",)
        for name in names:
            add(host, name, f"{spec.driver}-{'0ubuntu1' if apt else '1.el9'}")
    if spec.os is Os.RHEL_10:
        add(host, "kernel-modules-extra", "6.12.0-55.el10")
    if spec.toolkit:
        for name in TOOLKIT:
            add(host, name, f"{spec.toolkit}-1")


def _programs(name: str) -> tuple[str, ...]:
    return ("nvidia-smi",) if re.fullmatch(r"nvidia-utils-\d+-server", name) else _PROGRAMS.get(name, ())


def apt_get(call: Call) -> int:
    """apt-get(8): update, install, remove and purge."""
    flags = {
        "-y",
        "-q",
        "-qq",
        "--yes",
        "--no-install-recommends",
        "--allow-downgrades",
        "--allow-change-held-packages",
        "--purge",
    }
    options = parse("apt-get", call.arguments, flags, {"-o"})
    verb, *names = options.rest or [""]
    _need_root(call, "E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)", 100)
    match verb:
        case "update":
            _reach(call, "E: Failed to fetch http://archive.ubuntu.com/ubuntu  Could not connect", 100)
            _check_apt_sources(call)
        case "install":
            for name in names:
                wanted = _wanted_deb(name)
                if wanted.name not in call.host.state.packages or wanted.version is not None:
                    _install(call, wanted, "=", "E: Unable to locate package", 100)
        case "remove" | "purge" | "autoremove":
            _remove(call, names)
        case _:
            raise Refusal(f"E: Invalid operation {verb}", 100)
    return 0


def dnf(call: Call) -> int:
    """dnf(8): install, remove, module enable."""
    options = parse("dnf", call.arguments, {"-y", "-q", "--assumeyes", "--allowerasing"}, {})
    verb, *names = options.rest or [""]
    _need_root(call, "Error: This command has to be run with superuser privileges.", 1)
    match verb:
        case "install":
            _install_rpms(call, names, "Error: Unable to find a match:", 1)
        case "remove":
            _remove(call, names)
        case "module" | "makecache":
            _reach(call, "Error: Failed to download metadata for repo 'baseos'", 1)
        case _:
            raise Refusal(f"No such command: {verb}.", 1)
    return 0


def zypper(call: Call) -> int:
    """zypper(8): install, remove, refresh. Exit codes: 5 no permission, 7 locked or out of reach, 104 no such package."""
    options = parse("zypper", call.arguments, {"--non-interactive", "-n", "-y", "--gpg-auto-import-keys", "--oldpackage"}, {})
    verb, *names = options.rest or [""]
    _need_root(call, "Root privileges are required to run this command.", 5)
    match verb:
        case "install" | "in":
            _install_rpms(call, names, "No provider found:", 104)
        case "remove" | "rm":
            _remove(call, names)
        case "refresh" | "ref":
            _reach(call, "Could not refresh the repositories because of errors.", 4)
        case _:
            raise Refusal(f"Unknown command '{verb}'", 2)
    return 0


def _install_rpms(call: Call, names: list[str], unknown: str, code: int) -> None:
    for name in names:
        found = re.fullmatch(r"(.+?)-(\d[\w.]*)(-\d+)?(\.\w+\.rpm)?", PurePosixPath(name).name)
        wanted = _Wanted(found[1], found[2]) if found else _Wanted(name, None)
        if wanted.name not in call.host.state.packages or wanted.version is not None:
            _install(call, wanted, "-", unknown, code)


def dpkg_query(call: Call) -> int:
    """dpkg-query(1) -W: the version, or a format with the fields it knows."""
    options = parse(call.program, call.arguments, {"-W", "--show", "-s", "-l"}, {"-f", "--showformat"})
    form = options.values.get("-f") or options.values.get("--showformat") or "${Package}\t${Version}\n"
    for name in options.rest:
        version = call.host.state.packages.get(name)
        if version is None:
            raise Refusal(f"dpkg-query: no packages found matching {name}")
        fields = {
            "${db:Status-Status}": "installed",
            "${Status}": "install ok installed",
            "${Version}": version,
            "${Package}": name,
        }
        said = form.replace("\\n", "\n")
        for field, value in fields.items():
            said = said.replace(field, value)
        call.send("out", said.encode())
    return 0


def dpkg(call: Call) -> int:
    """dpkg(1): the architecture, or what dpkg-query says."""
    if call.arguments == ["--print-architecture"]:
        call.out("amd64")
        return 0
    return dpkg_query(call)


def apt_mark(call: Call) -> int:
    """apt-mark(8) hold and unhold, which change nothing that shows."""
    if call.arguments[:1] not in (["hold"], ["unhold"]):
        raise Refusal(f"E: the rehearsal knows no apt-mark {' '.join(call.arguments[:1])}", 100)
    return 0


def rpm(call: Call) -> int:
    """rpm(8) -q."""
    options = parse("rpm", call.arguments, {"-q", "--query", "--quiet"}, {})
    missing = [name for name in options.rest if name not in call.host.state.packages]
    for name in options.rest:
        if name in missing:
            call.out(f"package {name} is not installed")
        else:
            call.out(f"{name}-{call.host.state.packages[name]}.x86_64")
    return len(missing)


def _wanted_deb(name: str) -> _Wanted:
    """A name, a name with a version, or a file named after both."""
    if name.endswith(".deb"):
        package, version, _ = PurePosixPath(name).name.split("_")
        return _Wanted(package, version.removesuffix("-1"))
    package, _, version = name.partition("=")
    return _Wanted(package, version.removesuffix("-1") or None)


def _install(call: Call, wanted: _Wanted, separator: str, unknown: str, code: int) -> None:
    host = call.host
    from_file = any("/" in word and wanted.name in word for word in call.arguments)
    if not from_file:
        _reach(call, f"E: Failed to fetch the archive of {wanted.name}: Could not connect", code)
    if host.troubles.holds(Fault.DISK_FULL):
        raise Refusal("E: You don't have enough free space in /var/cache/apt/archives/.", code)
    version = _version(host, wanted, from_file=from_file)
    if version is None:
        raise Refusal(f"{unknown} {wanted.name}{separator + wanted.version if wanted.version else ''}", code)
    with host.lock:
        add(host, wanted.name, version)
        host.save()
    call.out(f"Setting up {wanted.name} ({version}) ...")


def _version(host: Host, wanted: _Wanted, *, from_file: bool) -> str | None:
    """Which version comes; None where the package or its repository is not known."""
    if wanted.name in TOOLKIT:
        version = wanted.version or _TOOLKIT_VERSIONS[-1]
        return (
            f"{version}-1"
            if version in _TOOLKIT_VERSIONS and (from_file or _has_repository(host, "nvidia.github.io/libnvidia-container"))
            else None
        )
    if found := re.fullmatch(r"nvidia-(headless|utils)-(\d+)-server(-open)?", wanted.name):
        return f"{_DRIVERS[found[2]]}-0ubuntu1" if found[2] in _DRIVERS else None
    if wanted.name == "nvidia-open":
        return f"{_DRIVERS['580']}-1.el9" if _has_repository(host, "developer.download.nvidia.com/compute/cuda") else None
    if wanted.name == f"linux-headers-{kernel_of(host.state.spec)}" or wanted.name in _ORDINARY:
        return wanted.version or "1.0"
    return None


def _has_repository(host: Host, address: str) -> bool:
    folders = ("/etc/apt/sources.list.d", "/etc/yum.repos.d", "/etc/zypp/repos.d")
    files = [file for folder in folders for file in host.tree.glob(f"{folder}/*")]
    return any(address in host.tree.read(file) for file in files)


def _check_apt_sources(call: Call) -> None:
    """A repository whose key is not there makes an update fail (apt-secure(8))."""
    tree = call.host.tree
    for file in tree.glob("/etc/apt/sources.list.d/*.list"):
        for key in re.findall(r"signed-by=([^\]\s]+)", tree.read(file)):
            if "BEGIN PGP" not in tree.read_or(key):
                raise Refusal(f"E: The repository in {file} is not signed: NO_PUBKEY ({key})", 100)


def _remove(call: Call, names: list[str]) -> None:
    with call.host.lock:
        for name in names:
            take(call.host, name)
        call.host.save()


def _reach(call: Call, said: str, code: int) -> None:
    if not call.host.state.spec.internet or call.host.troubles.strike(Fault.PACKAGES):
        raise Refusal(said, code)


def _need_root(call: Call, said: str, code: int) -> None:
    if call.user != 0:
        raise Refusal(said, code)


PROGRAMS: dict[str, Program] = {
    "apt-get": apt_get,
    "apt-mark": apt_mark,
    "dnf": dnf,
    "dpkg": dpkg,
    "dpkg-query": dpkg_query,
    "rpm": rpm,
    "yum": dnf,
    "zypper": zypper,
}
