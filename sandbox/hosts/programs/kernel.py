"""Kernel settings, modules and swap: procps, kmod, util-linux."""

from sandbox.hosts.calls import Call, Program, Refusal
from sandbox.hosts.faults import Fault
from sandbox.hosts.host import installed_driver
from sandbox.hosts.programs.options import parse

_SYS = "/proc/sys"


def sysctl(call: Call) -> int:
    """sysctl(8): -n, -w, -p, --system, -q, -e."""
    options = parse("sysctl", call.arguments, {"-n", "-w", "-p", "--load", "--system", "-q", "-e", "-a"}, {})
    flags = options.flags
    if {"-p", "--load", "--system"} & flags:
        files = options.rest or ["/etc/sysctl.conf"]
        if "--system" in flags:
            files = call.host.tree.glob("/etc/sysctl.d/*.conf")
        return max([_load(call, file, quiet="-q" in flags) for file in files], default=0)
    code = 0
    for word in options.rest:
        key, equals, value = word.partition("=")
        if equals:
            code = max(code, _set(call, key, value, quiet="-q" in flags))
        else:
            found = call.host.tree.read_or(_path(key)).strip()
            if not call.host.tree.exists(_path(key)):
                call.err(f"sysctl: cannot stat {_path(key)}: No such file or directory")
                code = 1
            else:
                call.out(found if "-n" in flags else f"{key} = {found}")
    return code


def _load(call: Call, file: str, *, quiet: bool) -> int:
    try:
        lines = call.host.tree.read(call.absolute(file)).splitlines()
    except OSError:
        raise Refusal(f'sysctl: cannot open "{file}": No such file or directory') from None
    settings = [line.partition("=") for line in lines if line.strip() and not line.lstrip().startswith(("#", ";"))]
    return max([_set(call, key.strip(), value.strip(), quiet=quiet) for key, _, value in settings], default=0)


def _set(call: Call, key: str, value: str, *, quiet: bool) -> int:
    path = _path(key)
    if not call.host.tree.exists(path):
        call.err(f"sysctl: cannot stat {path}: No such file or directory")
        return 1
    if call.user != 0:
        call.err(f"sysctl: permission denied on key '{key}'")
        return 1
    call.host.tree.write(path, f"{value}\n")
    if not quiet:
        call.out(f"{key} = {value}")
    return 0


def _path(key: str) -> str:
    """Where a key is; dots and slashes both separate."""
    return f"{_SYS}/{key.replace('.', '/') if '/' not in key else key}"


def uname(call: Call) -> int:
    """uname(1)."""
    tree = call.host.tree
    parts = {
        "s": "Linux",
        "n": tree.read("/etc/hostname").strip(),
        "r": tree.read("/proc/sys/kernel/osrelease").strip(),
        "v": "#1 SMP",
        "m": "x86_64",
        "o": "GNU/Linux",
    }
    wanted = "".join(word.lstrip("-") for word in call.arguments) or "s"
    call.out(" ".join(value for key, value in parts.items() if key in wanted or "a" in wanted))
    return 0


def modprobe(call: Call) -> int:
    """modprobe(8): loads one or more modules, or (-r) removes them."""
    options = parse("modprobe", call.arguments, {"-a", "-r", "-q", "-v", "--all"})
    host = call.host
    with host.lock:
        for name in [word.replace("-", "_") for word in options.rest]:
            if "-r" in options.flags:
                _remove(call, name)
            elif name.startswith("nvidia"):
                load_driver(call)
            else:
                host.state.modules = sorted({*host.state.modules, name})
        host.refresh()
        host.save()
    return 0


def load_driver(call: Call) -> None:
    """The NVIDIA module; Refusal where it is not installed, or something else has the GPUs."""
    host = call.host
    version = installed_driver(host.state.packages)
    if version is None:
        raise Refusal(f"modprobe: FATAL: Module nvidia not found in directory /lib/modules/{kernel_release(call)}")
    if host.troubles.holds(Fault.NOUVEAU) or "nouveau" in host.state.modules or not host.state.spec.has_nvidia:
        raise Refusal("modprobe: ERROR: could not insert 'nvidia': No such device")
    host.state.driver_loaded = version


def kernel_release(call: Call) -> str:
    """That of `uname -r`."""
    return call.host.tree.read("/proc/sys/kernel/osrelease").strip()


def rmmod(call: Call) -> int:
    """rmmod(8)."""
    for name in [word for word in call.arguments if not word.startswith("-")]:
        _remove(call, name)
    call.host.refresh()
    call.host.save()
    return 0


def _remove(call: Call, name: str) -> None:
    host = call.host
    if name == "nouveau" and host.troubles.holds(Fault.NOUVEAU):
        raise Refusal("rmmod: ERROR: Module nouveau is in use")
    host.state.modules = [module for module in host.state.modules if module != name]
    if name == "nvidia":
        host.state.driver_loaded = None


def lsmod(call: Call) -> int:
    """lsmod(8)."""
    call.out("Module                  Size  Used by")
    for line in call.host.tree.read("/proc/modules").splitlines():
        name, size, used, *_ = line.split()
        call.out(f"{name:<24}{size:>5}  {used}")
    return 0


def modinfo(call: Call) -> int:
    """modinfo(8), for the driver alone."""
    version = installed_driver(call.host.state.packages)
    if "nvidia" not in call.arguments or version is None:
        raise Refusal(f"modinfo: ERROR: Module {call.arguments[-1] if call.arguments else ''} not found.")
    call.out(version if "-F" in call.arguments or "--field" in call.arguments else f"version:        {version}")
    return 0


def swapoff(call: Call) -> int:
    """swapoff(8): all of it, for there is one swap file at most."""
    with call.host.lock:
        call.host.state.swap_on = False
        call.host.troubles.clear([Fault.SWAP])
        call.host.refresh()
        call.host.save()
    return 0


def swapon(call: Call) -> int:
    """swapon(8): -a, or what is on."""
    host = call.host
    if "-a" in call.arguments or "--all" in call.arguments:
        host.state.swap_on = "swap" in host.tree.read_or("/etc/fstab")
        host.refresh()
        host.save()
        return 0
    lines = host.tree.read("/proc/swaps").splitlines()[1:]
    for line in lines:
        call.out(f"{line.split()[0]} file 8G 0B -2")
    return 0


PROGRAMS: dict[str, Program] = {
    "lsmod": lsmod,
    "modinfo": modinfo,
    "modprobe": modprobe,
    "rmmod": rmmod,
    "swapoff": swapoff,
    "swapon": swapon,
    "sysctl": sysctl,
    "uname": uname,
}
