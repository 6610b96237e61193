"""What a host says about itself: coreutils, util-linux, iproute2, systemd."""

from sandbox.hosts.calls import Call, Program, Refusal
from sandbox.hosts.faults import Fault
from sandbox.hosts.hardware import disk_bytes
from sandbox.hosts.programs.options import parse

_USED = 10 * 2**30
"""Bytes an operating system takes of the disk."""
_K3S_PORTS = {"k3s.service": (6443, 6444, 10250, 2379, 2380), "k3s-agent.service": (6444, 10250)}


def df(call: Call) -> int:
    """df(1) of the one file system there is; -P, -k, -B, -h, -T are the same to it but for the unit."""
    options = parse("df", call.arguments, {"-P", "-k", "-h", "-T", "-m", "-l"}, {"-B", "--output", "--block-size"})
    for path in options.rest:
        if not call.host.tree.exists(call.absolute(path)):
            raise Refusal(f"df: {path}: No such file or directory")
    unit = 2**20 if "-m" in options.flags else 2**30 if options.values.get("-B") in ("G", "1G") else 1024
    total = int(disk_bytes(call.host.state.spec))
    used = total if call.host.troubles.holds(Fault.DISK_FULL) else min(total, _USED)
    sizes = [total // unit, used // unit, (total - used) // unit]
    if wanted := options.values.get("--output"):
        known = dict(zip(("size", "used", "avail"), sizes, strict=True))
        call.out("Avail")
        call.out(" ".join(str(known[name]) for name in wanted.split(",") if name in known))
        return 0
    call.out("Filesystem     1024-blocks      Used Available Capacity Mounted on")
    call.out(f"/dev/vda1 {sizes[0]} {sizes[1]} {sizes[2]} {100 * used // total}% /")
    return 0


def stat(call: Call) -> int:
    """stat(1) -f: the type of a file system."""
    form = next((word for word in call.arguments if "%" in word), "")
    path = call.arguments[-1]
    kind = "cgroup2fs" if path.startswith("/sys/fs/cgroup") else "sysfs" if path.startswith("/sys") else "ext2/ext3"
    call.out(form.replace("%T", kind) or kind)
    return 0


def ss(call: Call) -> int:
    """ss(8): sockets that listen."""
    flags = {"-H", "-l", "-t", "-n", "-u", "-p", "-a", "-4", "--no-header", "--listening", "--tcp", "--numeric"}
    options = parse("ss", call.arguments, flags)
    header = not ({"-H", "--no-header"} & options.flags)
    both = "-u" in options.flags or not ({"-t", "--tcp"} & options.flags)
    host = call.host
    ports = [22, *(port for unit in host.state.active for port in _K3S_PORTS.get(unit, ()))]
    if host.troubles.holds(Fault.PORT_TAKEN):
        ports.append(6443)
    if header:
        call.out(("Netid " if both else "") + "State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process")
    for port in sorted(set(ports)):
        call.out(("tcp   " if both else "") + f"LISTEN 0      4096         0.0.0.0:{port}      0.0.0.0:*")
    if both and any(unit in _K3S_PORTS for unit in host.state.active):
        call.out("udp   UNCONN 0      0            0.0.0.0:8472      0.0.0.0:*")
    return 0


def timedatectl(call: Call) -> int:
    """timedatectl(1): show, set-ntp, and the page it prints otherwise."""
    host = call.host
    synchronised = host.state.spec.clock_synchronised and not host.troubles.holds(Fault.CLOCK)
    said = "yes" if synchronised else "no"
    if "show" in call.arguments:
        options = parse("timedatectl", call.arguments, {"--value"}, {"-p", "--property"})
        properties = {"NTPSynchronized": said, "NTP": "yes", "Timezone": "Etc/UTC", "CanNTP": "yes"}
        wanted = options.values.get("-p") or options.values.get("--property")
        for name in wanted.split(",") if wanted else properties:
            call.out(properties[name] if "--value" in options.flags else f"{name}={properties[name]}")
    elif not call.arguments or call.arguments[0] == "status":
        call.out(f"System clock synchronized: {said}\n              NTP service: active")
    elif call.arguments[0] != "set-ntp":
        raise Refusal(f"Unknown command verb {call.arguments[0]}.")
    return 0


def nproc(call: Call) -> int:
    """nproc(1)."""
    call.out(str(call.host.state.spec.cpus))
    return 0


def hostname(call: Call) -> int:
    """hostname(1): the name, or (-I) the address."""
    if call.arguments == ["-I"]:
        call.out(call.host.address)
    elif set(call.arguments) <= {"-s", "-f"}:
        call.out(call.host.tree.read("/etc/hostname").strip())
    else:
        raise Refusal(f"hostname: the rehearsal knows no option {' '.join(call.arguments)}")
    return 0


def hostnamectl(call: Call) -> int:
    """hostnamectl(1): the name, or another one."""
    words = [word for word in call.arguments if not word.startswith("-")]
    if words and words[0] in ("set-hostname", "hostname") and len(words) > 1:
        call.host.tree.write("/etc/hostname", f"{words[1]}\n")
    else:
        call.out(call.host.tree.read("/etc/hostname").strip())
    return 0


def ip(call: Call) -> int:
    """ip(8): what is on the one interface; links of a cluster network that are deleted are not there."""
    words = [word for word in call.arguments if not word.startswith("-")]
    match words:
        case ["addr" | "a" | "address", *_]:
            call.out(f"2: eth0    inet {call.host.address}/24 brd + scope global eth0")
        case ["route" | "r", "get", target, *_]:
            call.out(f"{target} dev eth0 src {call.host.address} uid 0")
        case ["route" | "r", *_]:
            call.out(f"default via {call.host.address.rpartition('.')[0]}.1 dev eth0")
        case ["link", "delete" | "del", name]:
            raise Refusal(f'Cannot find device "{name}"')
        case ["link", *_]:
            call.out("2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 state UP")
        case ["netns", *_]:
            pass
        case _:
            raise Refusal(f'Object "{words[0] if words else ""}" is unknown, try "ip help".')
    return 0


def mounts(call: Call) -> int:
    """mount, umount, findmnt and mountpoint: nothing beyond the system's own is mounted."""
    words = [word for word in call.arguments if not word.startswith("-")]
    if call.program == "mountpoint":
        return 0 if words[-1] in ("/", "/sys/fs/cgroup") else 1
    if call.program == "umount":
        raise Refusal(f"umount: {words[-1] if words else ''}: not mounted.", 32)
    if call.program == "mount" and words:
        raise Refusal("mount: the rehearsal mounts nothing", 32)
    call.out(call.host.tree.read("/proc/mounts").rstrip())
    return 0


def lspci(call: Call) -> int:
    """lspci(8): address, class and vendor as numbers."""
    for path in call.host.tree.glob("/sys/bus/pci/devices/*"):
        vendor, class_ = (call.host.tree.read(f"{path}/{name}").strip()[2:] for name in ("vendor", "class"))
        call.out(f"{path.rpartition('/')[2]} {class_[:4]}: {vendor}:0000")
    return 0


def getenforce(call: Call) -> int:
    """getenforce(8)."""
    call.out("Permissive")
    return 0


PROGRAMS: dict[str, Program] = {
    "df": df,
    "findmnt": mounts,
    "getenforce": getenforce,
    "hostname": hostname,
    "hostnamectl": hostnamectl,
    "ip": ip,
    "lspci": lspci,
    "mount": mounts,
    "mountpoint": mounts,
    "nproc": nproc,
    "ss": ss,
    "stat": stat,
    "timedatectl": timedatectl,
    "umount": mounts,
}
