"""The files of a host as its operating system was installed: accounts, SSH server, units, and the stand-ins under their names."""

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from sandbox.hosts.base import STAND_INS
from sandbox.hosts.hardware import OS_FACTS, fixed_files, os_release, sysctl_files
from sandbox.hosts.spec import HostSpec
from sandbox.hosts.tree import Tree

LOGIN_USER = "ops"
LOGIN_ID = 1000

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DATA = Path(__file__).parent
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_DIRECTORIES = (
    *("/proc", "/sys", "/run/sshd", "/var/log/journal", "/var/lib", "/var/cache", "/opt", "/srv", "/mnt", "/boot", "/usr/share"),
    *("/etc/systemd/system/multi-user.target.wants", "/usr/lib/systemd/system", "/etc/sysctl.d", "/etc/modprobe.d"),
    *("/etc/modules-load.d", "/etc/default", "/usr/share/keyrings", "/sys/module", "/usr/libexec", "/etc/cdi"),
)
_DIRECTORIES_OF = {
    "apt": ("/etc/apt/sources.list.d", "/etc/apt/keyrings", "/var/lib/dpkg", "/var/cache/apt/archives"),
    "dnf": ("/etc/yum.repos.d", "/etc/pki/rpm-gpg", "/etc/sysconfig", "/var/lib/rpm"),
    "zypper": ("/etc/zypp/repos.d", "/etc/sysconfig", "/var/lib/rpm"),
    "apk": ("/etc/apk",),
}

_PROGRAMS = (
    *("curl", "df", "findmnt", "hostname", "ip", "lsmod", "lspci", "modinfo", "modprobe", "mount", "mountpoint", "nproc"),
    *("reboot", "rmmod", "ss", "swapoff", "swapon", "sysctl", "umount", "uname"),
)
_SYSTEMD = ("hostnamectl", "journalctl", "systemctl", "timedatectl")
_PROGRAMS_OF = {
    "apt": (*_SYSTEMD, "apt-get", "apt-mark", "dpkg", "dpkg-query"),
    "dnf": (*_SYSTEMD, "dnf", "getenforce", "rpm", "yum"),
    "zypper": (*_SYSTEMD, "rpm", "zypper"),
    "apk": (),
}

_SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PidFile none
LogLevel VERBOSE
AcceptEnv LANG LC_*
SetEnv PATH={path}
"""


def furnish(tree: Tree, spec: HostSpec, name: str, host_key: Path, login_key: str) -> None:
    """Makes a copy of the base tree a host's: `login_key` is the public key that lets the login user in."""
    facts = OS_FACTS[spec.os]
    for directory in (*_DIRECTORIES, *_DIRECTORIES_OF[facts.packages]):
        tree.mkdir(directory)
    for directory, mode in (("/tmp", 0o1777), ("/var/tmp", 0o1777), ("/root", 0o700), ("/dev", 0o755)):  # noqa: S108
        tree.mkdir(directory, mode)
    _accounts(tree, login_key)
    for path, content in _plain_files(spec, name).items():
        tree.write(path, content)
    tree.write("/etc/ssh/ssh_host_ed25519_key", host_key.read_bytes(), 0o600)
    _devices(tree)
    _stand_ins(tree, (*_PROGRAMS, *_PROGRAMS_OF[facts.packages]), _secure_path(facts.packages))


def install_stand_in(tree: Tree, path: str, remark: str = "") -> None:
    """Puts a program at `path` that asks the lab what to do; `remark` makes its content its own."""
    tree.write(path, f"#!/usr/bin/bash\n# {remark or path}\n. {STAND_INS}/client\n", 0o755)


def _accounts(tree: Tree, login_key: str) -> None:
    tree.write(
        "/etc/passwd",
        f"root:x:0:0:root:/root:/bin/bash\n{LOGIN_USER}:x:{LOGIN_ID}:{LOGIN_ID}::/home/{LOGIN_USER}:/bin/bash\n"
        "sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    )
    tree.write("/etc/group", f"root:x:0:\nsudo:x:27:{LOGIN_USER}\n{LOGIN_USER}:x:{LOGIN_ID}:\nnogroup:x:65534:\n")
    tree.write("/etc/shadow", f"root:*:20000:0:99999:7:::\n{LOGIN_USER}:*:20000:0:99999:7:::\n", 0o640)
    home = f"/home/{LOGIN_USER}"
    tree.mkdir(f"{home}/.ssh", 0o700)
    tree.write(f"{home}/.ssh/authorized_keys", login_key, 0o600)
    for path in (home, f"{home}/.ssh", f"{home}/.ssh/authorized_keys"):
        os.chown(tree.resolve(path), LOGIN_ID, LOGIN_ID)


def _plain_files(spec: HostSpec, name: str) -> dict[str, str]:
    files = {
        "/etc/os-release": os_release(spec),
        "/etc/hostname": f"{name}\n",
        "/etc/machine-id": f"{hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()}\n",
        "/etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {name}\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
        "/etc/resolv.conf": "nameserver 192.0.2.53\n",
        "/etc/fstab": "/dev/vda1 / ext4 defaults 0 1\n" + ("/swap.img none swap sw 0 0\n" if spec.swap else ""),
        "/etc/ssh/sshd_config": _SSHD.format(path=_PATH),
        "/proc/mounts": "/dev/vda1 / ext4 rw,relatime 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev 0 0\n",
    }
    return files | fixed_files(spec, name) | sysctl_files()


def _devices(tree: Tree) -> None:
    for name, (major, minor) in _DEVICES.items():
        path = tree.root / "dev" / name
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        path.chmod(0o666)
    # Where mounting is allowed there is a /proc with nothing but the host's own processes.
    tree.link("/proc/self", f"{STAND_INS}/proc/self")
    tree.link("/dev/fd", "/proc/self/fd")
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        tree.link(f"/dev/{name}", f"/proc/self/fd/{number}")


def _stand_ins(tree: Tree, programs: Iterable[str], secure_path: str) -> None:
    tree.mkdir(f"{STAND_INS}/proc")
    client = (_DATA / "client.bash").read_text(encoding="utf-8").replace("@HOME@", STAND_INS)
    tree.write(f"{STAND_INS}/client", client)
    for program in programs:
        install_stand_in(tree, f"/usr/bin/{program}")
    sudo = (_DATA / "sudo.bash").read_text(encoding="utf-8").replace("@HOME@", STAND_INS).replace("@PATH@", secure_path)
    tree.write("/usr/bin/sudo", sudo, 0o755)
    # Only what it says of file systems has to be made up.
    tree.resolve("/usr/bin/stat").rename(tree.root / STAND_INS.lstrip("/") / "stat")
    stat_ = f'#!/usr/bin/bash\n[[ " $* " == *" -f"* ]] || exec {STAND_INS}/stat "$@"\n. {STAND_INS}/client\n'
    tree.write("/usr/bin/stat", stat_, 0o755)


def _secure_path(packages: str) -> str:
    """That of /etc/sudoers: Red Hat's leaves /usr/local out."""
    return "/sbin:/bin:/usr/sbin:/usr/bin" if packages == "dnf" else _PATH
