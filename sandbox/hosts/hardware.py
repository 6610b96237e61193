"""What the kernel of a host says about it, as files made from the declared hardware: a tree has no /proc and /sys of its own.

Forms of the files: proc(5); Documentation/admin-guide/cgroup-v2.rst and Documentation/ABI/testing/sysfs-bus-pci of the kernel.
PCI vendors: the PCI ID database (pci-ids.ucw.cz). Classes: 0x0302 (3D controller), 0x1200 (processing accelerator).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from components.quantities import quantity
from planner.catalog import accelerator
from sandbox.hosts.spec import HostSpec, Os


@dataclass(frozen=True)
class OsFacts:
    """What differs from one operating system to another."""

    name: str
    id_like: str
    codename: str
    kernel: str
    packages: str
    """Its package manager: apt, dnf, zypper or apk."""


OS_FACTS = {
    Os.UBUNTU_22_04: OsFacts("Ubuntu", "debian", "jammy", "5.15.0-160-generic", "apt"),
    Os.UBUNTU_24_04: OsFacts("Ubuntu", "debian", "noble", "6.8.0-87-generic", "apt"),
    Os.DEBIAN_12: OsFacts("Debian GNU/Linux", "", "bookworm", "6.1.0-40-amd64", "apt"),
    Os.DEBIAN_13: OsFacts("Debian GNU/Linux", "", "trixie", "6.12.48+deb13-amd64", "apt"),
    Os.RHEL_9: OsFacts("Red Hat Enterprise Linux", "fedora", "", "5.14.0-570.el9.x86_64", "dnf"),
    Os.RHEL_10: OsFacts("Red Hat Enterprise Linux", "centos fedora", "", "6.12.0-55.el10.x86_64", "dnf"),
    Os.ROCKY_9: OsFacts("Rocky Linux", "rhel centos fedora", "", "5.14.0-570.el9.x86_64", "dnf"),
    Os.SLES_15: OsFacts("SLES", "suse", "", "6.4.0-150600.21-default", "zypper"),
    Os.ALPINE_3_22: OsFacts("Alpine Linux", "", "", "6.12.45-0-lts", "apk"),
}

_PCI = {
    "nvidia": ("0x10de", "0x030200"),
    "amd": ("0x1002", "0x120000"),
    "intel": ("0x1da3", "0x120000"),  # Habana Labs
    "aws": ("0x1d0f", "0x120000"),
    "google": ("0x1ae0", "0x120000"),
    "rebellions": ("0x1eff", "0x120000"),
}
_BASE_MODULES = ("ext4", "overlay", "bridge", "virtio_net")

# What a fresh Ubuntu or Debian has; Documentation/admin-guide/sysctl of the kernel has the meanings.
_SYSCTL = {
    "vm/overcommit_memory": "0",
    "vm/panic_on_oom": "0",
    "vm/max_map_count": "65530",
    "kernel/panic": "0",
    "kernel/panic_on_oops": "0",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
    "net/ipv4/ip_forward": "0",
    "net/ipv6/conf/all/forwarding": "0",
    "net/core/somaxconn": "4096",
    "fs/inotify/max_user_instances": "128",
    "fs/inotify/max_user_watches": "65536",
    "fs/file-max": "9223372036854775807",
}


def kernel_of(spec: HostSpec) -> str:
    """The kernel release a host runs."""
    return spec.kernel or OS_FACTS[spec.os].kernel


def os_release(spec: HostSpec) -> str:
    """/etc/os-release."""
    facts = OS_FACTS[spec.os]
    id_, _, version = spec.os.partition("-")
    lines = {"PRETTY_NAME": f"{facts.name} {version}", "NAME": facts.name, "VERSION_ID": version, "ID": id_}
    lines |= {"ID_LIKE": facts.id_like, "VERSION_CODENAME": facts.codename}
    return "".join(f'{key}="{value}"\n' for key, value in lines.items() if value)


def fixed_files(spec: HostSpec, name: str) -> dict[str, str]:
    """Files of /proc and /sys that no program changes, by path."""
    kernel = kernel_of(spec)
    kib = int(quantity(spec.memory) // 1024)
    processor = "processor\t: {}\nmodel name\t: rehearsed processor\n\n"
    files = {
        "/proc/version": f"Linux version {kernel} (rehearsed) #1 SMP\n",
        "/proc/sys/kernel/osrelease": f"{kernel}\n",
        "/proc/sys/kernel/ostype": "Linux\n",
        "/proc/sys/kernel/hostname": f"{name}\n",
        "/proc/cmdline": f"BOOT_IMAGE=/boot/vmlinuz-{kernel} root=/dev/vda1 ro\n",
        "/proc/meminfo": f"MemTotal:       {kib} kB\nMemFree:        {kib * 9 // 10} kB\nMemAvailable:   {kib * 9 // 10} kB\n",
        "/proc/cpuinfo": "".join(map(processor.format, range(spec.cpus))),
        "/proc/filesystems": "nodev\tsysfs\nnodev\tproc\nnodev\tcgroup2\nnodev\ttmpfs\nnodev\toverlay\n\text4\n",
        "/proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"
        + "".join(f"{controller}\t0\t100\t1\n" for controller in ("cpuset", "cpu", "memory", "pids", "hugetlb")),
        "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc\n",
        "/sys/fs/cgroup/cgroup.subtree_control": "cpuset cpu io memory pids\n",
        "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    }
    return files | _pci(spec)


def sysctl_files() -> dict[str, str]:
    """/proc/sys as the kernel has it after a boot, before any file of /etc/sysctl.d."""
    return {f"/proc/sys/{key}": f"{value}\n" for key, value in _SYSCTL.items()}


def modules_file(modules: Iterable[str]) -> str:
    """/proc/modules."""
    return "".join(f"{module} 16384 0 - Live 0x0000000000000000\n" for module in sorted({*_BASE_MODULES, *modules}))


def swaps_file(spec: HostSpec, *, on: bool) -> str:
    """/proc/swaps."""
    head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    return head + ("/swap.img                               file\t\t8388604\t\t0\t\t-2\n" if on and spec.swap else "")


def driver_version_file(version: str) -> str:
    """/proc/driver/nvidia/version, there while the driver is loaded."""
    return (
        f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (dvs-builder@rehearsed)\n"
        "GCC version:  gcc version 13.3.0\n"
    )


def disk_bytes(spec: HostSpec) -> Decimal:
    """Size of the root file system."""
    return quantity(spec.disk)


def pci_addresses(spec: HostSpec) -> list[str]:
    """Where on the bus the accelerators are."""
    return [f"0000:{0x18 + 8 * number:02x}:00.0" for number in range(spec.accelerator.count if spec.accelerator else 0)]


def _pci(spec: HostSpec) -> dict[str, str]:
    """The accelerators, beside one network adapter every host has. A vendor with no number in the database is left out."""
    found = [("0000:01:00.0", ("0x8086", "0x020000"))]
    if spec.accelerator and (identity := _PCI.get(accelerator(spec.accelerator.product).vendor)):
        found += [(address, identity) for address in pci_addresses(spec)]
    return {
        f"/sys/bus/pci/devices/{address}/{key}": f"{value}\n"
        for address, (vendor, class_) in found
        for key, value in (("vendor", vendor), ("class", class_))
    }
