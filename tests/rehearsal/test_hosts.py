"""Rehearsed hosts as a script over SSH sees them, k3s on them as an administrator installs it, and every way they can break."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import httpx
import pytest
import yaml

from sandbox.control_plane import ControlPlane
from sandbox.control_plane.nodes import is_ready
from sandbox.errors import SandboxError
from sandbox.hosts import BASTION, Address, Fault, HostSpec, Lab
from tests.waiting import eventually

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(os.geteuid() != 0, reason="hosts are rehearsed as root: SSH servers with users of their own in a chroot"),
]

PROJECT = Path(__file__).parents[2]
GPUS = {"accelerator": {"product": "H100-80GB", "count": 2}}
SPECS = {
    "rack-1": HostSpec(),
    "rack-2": HostSpec(),
    "rack-3": HostSpec(),
    "gpu-1": HostSpec.model_validate(GPUS),
    "rocky": HostSpec.model_validate({"os": "rocky-9", "cpus": 4, "memory": "16Gi"}),
}
RELEASE = "v1.36.3+k3s1"
URL = f"https://github.com/k3s-io/k3s/releases/download/{RELEASE.replace('+', '%2B')}"
SUMS = f"curl -fsSL {URL}/sha256sum-amd64.txt | grep ' k3s$'"
INSTALL = f"""
set -eu
mkdir -p /etc/rancher/k3s
cat >/etc/rancher/k3s/config.yaml
cd /usr/local/bin
curl -fsSL -O {URL}/k3s
{SUMS} | sha256sum -c -
chmod 755 k3s
curl -fsSL -o /tmp/install.sh https://get.k3s.io
INSTALL_K3S_SKIP_DOWNLOAD=true INSTALL_K3S_EXEC=ROLE sh /tmp/install.sh
rm /tmp/install.sh
"""
REMOVE = "k3s-uninstall.sh || k3s-agent-uninstall.sh; rm -rf /etc/rancher /var/lib/rancher"


@dataclass(frozen=True)
class Answer:
    """What a command over SSH said, and its exit code; None where the connection broke."""

    code: int | None
    out: str
    err: str


@dataclass(frozen=True)
class Rack:
    """A lab that runs, the cluster its hosts may join, and a way onto them."""

    lab: Lab
    cluster: ControlPlane
    addresses: Mapping[str, Address]

    def run(self, host: str, script: str, *, root: bool = True, given: str = "") -> Answer:
        """Runs a script as a program would: over SSH, as the login user or through sudo. `given` is its input."""
        command = f"sudo -n sh -c {_quoted(script)}" if root else script
        return asyncio.run(_over_ssh(self.addresses[host], self.lab, command, given))

    def out(self, host: str, script: str, *, given: str = "") -> str:
        """What a script prints that has to succeed."""
        answer = self.run(host, script, given=given)
        assert answer.code == 0, f"{host}: {answer}"
        return answer.out.strip()

    def install(self, host: str, role: str, config: Mapping[str, object]) -> Answer:
        """Installs k3s by hand; the configuration comes as input, as secrets do."""
        return self.run(host, INSTALL.replace("ROLE", role), given=yaml.safe_dump(dict(config)))

    def ready(self) -> set[str]:
        """The nodes that are ready."""
        with self.cluster.connect() as api:
            return {node["metadata"]["name"] for node in api.items("/api/v1/nodes") if is_ready(node)}


async def _over_ssh(where: Address, lab: Lab, command: str, given: str) -> Answer:
    known = asyncssh.import_known_hosts(f"[{where.address}]:{where.port},{where.address} {where.host_key}\n")
    keys = [str(lab.key_file)]
    try:
        async with asyncssh.connect(
            where.address,
            where.port,
            username=lab.login_user,
            client_keys=keys,
            known_hosts=known,
            config=None,
            connect_timeout=5,
        ) as connection:
            done = await connection.run(command, input=given)
    except asyncssh.ConnectionLost as lost:
        return Answer(None, "", str(lost))
    return Answer(done.exit_status, str(done.stdout), str(done.stderr))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory, binaries: Mapping[str, Path]) -> Iterator[Rack]:
    home = tmp_path_factory.mktemp("labs")
    lab, cluster = Lab("rack", home), ControlPlane("rack", home / "clusters")
    try:
        yield Rack(lab, cluster, lab.start(SPECS, cluster, bastion=True))
    finally:
        lab.reset()
        cluster.reset()


@pytest.fixture
def sound(rack: Rack) -> Iterator[Rack]:
    """The rack, mended afterwards."""
    yield rack
    for host in SPECS:
        rack.lab.mend(host)


# --- hosts ------------------------------------------------------------------------------------------------------------------


def test_five_hosts_take_a_few_seconds(tmp_path: Path, rack: Rack) -> None:
    lab = Lab("second", rack.lab.key_file.parents[1])
    began = time.monotonic()
    try:
        addresses = lab.start(SPECS, ControlPlane("second", tmp_path))
        assert time.monotonic() - began < 20
        assert not {where.address for where in addresses.values()} & {where.address for where in rack.addresses.values()}
    finally:
        lab.reset()
    assert rack.out("rack-1", "id -un") == "root"


def test_hosts_are_what_the_stack_file_says(rack: Rack) -> None:
    facts = ". /etc/os-release; echo $ID-$VERSION_ID; hostname; uname -r; nproc; awk '/^MemTotal/ {print $2}' /proc/meminfo"
    assert rack.out("rack-1", facts).splitlines() == ["ubuntu-24.04", "rack-1", "6.8.0-87-generic", "32", str(256 * 2**20)]
    assert rack.out("rocky", facts).splitlines() == ["rocky-9", "rocky", "5.14.0-570.el9.x86_64", "4", str(16 * 2**20)]
    bus = "grep -l 0x10de /sys/bus/pci/devices/*/vendor | wc -l"
    assert [rack.out(host, bus) for host in ("rack-1", "gpu-1")] == ["0", "2"]
    assert rack.out("gpu-1", "sed -n 's/^NVRM.*  \\([0-9.]*\\)  Rel.*/\\1/p' /proc/driver/nvidia/version") == "580.95.05"
    assert rack.run("rocky", "command -v apt-get").code != 0
    rack.out("rocky", "command -v dnf && command -v rpm && command -v getenforce")
    # Red Hat's sudo does not look into /usr/local/bin, where k3s is.
    assert "/usr/local/bin" not in rack.out("rocky", "echo $PATH").split(":")


def test_scripts_come_through_input_and_are_not_eaten(rack: Rack) -> None:
    script = "uname -s\nsystemctl is-active ssh\nnproc\nsysctl -n kernel.panic\nsudo -n true\necho end\n"
    assert rack.out("rack-2", "sh -s", given=script).splitlines() == ["Linux", "active", "32", "0", "end"]
    assert rack.run("rack-2", "id -u; sudo -n id -u; sudo -u ops id -un", root=False).out.split() == ["1000", "0", "ops"]
    assert rack.run("rack-2", "readlink -f /bin/sh; sysctl -w kernel.panic=1", root=False).out.strip().endswith("sh")
    assert rack.out("rack-2", "sysctl -n kernel.panic") == "0"


def test_nothing_on_a_host_reaches_the_machine(rack: Rack, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    marker.touch()
    assert rack.run("rack-3", f"test -e {marker}").code == 1
    assert rack.run("rack-3", "date -s 2001-01-01").code != 0
    assert rack.run("rack-3", "mknod /dev/sda b 8 0").code != 0
    rack.out("rack-3", f"mkdir -p {tmp_path} && ln -s {tmp_path} /tmp/absolute && ln -s ../../../../../.. /tmp/above")
    rack.out("rack-3", "curl -fsSo /tmp/absolute/written https://get.k3s.io")
    rack.out("rack-3", f"curl -fsSo /tmp/above{tmp_path}/over https://get.k3s.io")
    assert rack.out("rack-3", f"ls {tmp_path}").split() == ["over", "written"]
    assert list(tmp_path.iterdir()) == [marker]
    if rack.lab.status().namespaces:
        assert rack.run("rack-3", "kill -9 -1").code is None  # all processes of the host, its SSH server too
    rack.lab.wipe("rack-3")
    assert rack.out("rack-3", "id -un") == "root"
    assert rack.out("rack-1", "ls /usr/bin | wc -l") > "100"


def test_an_unknown_option_is_refused_and_not_guessed(rack: Rack) -> None:
    for command in ("systemctl --frobnicate start ssh", "curl --digest https://get.k3s.io", "df --total", "k3s frobnicate"):
        if not command.startswith("k3s"):
            answer = rack.run("rack-1", command)
            assert (answer.code, "knows no option" in answer.err) == (2, True), answer


def test_the_bastion_leads_to_the_others(rack: Rack) -> None:
    async def through() -> str:
        login = {"username": rack.lab.login_user, "client_keys": [str(rack.lab.key_file)], "config": None, "known_hosts": None}
        bastion, target = rack.addresses[BASTION], rack.addresses["gpu-1"]
        async with (
            asyncssh.connect(bastion.address, bastion.port, **login) as outer,
            asyncssh.connect(target.address, target.port, tunnel=outer, **login) as inner,
        ):
            return str((await inner.run("hostname")).stdout).strip()

    assert asyncio.run(through()) == "gpu-1"


def test_packages_bring_programs_and_take_them_away(rack: Rack) -> None:
    source = "/etc/apt/sources.list.d/nvidia.list"
    assert rack.run("gpu-1", "apt-get install -y nvidia-container-toolkit=1.20.0-1").code == 100  # no repository yet
    line = "deb [signed-by=/etc/apt/keyrings/nvidia.asc] https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH) /"
    rack.out("gpu-1", f"cat >{source}", given=line)
    assert "NO_PUBKEY" in rack.run("gpu-1", "apt-get update").err
    rack.out(
        "gpu-1",
        "curl -fsSL -o /etc/apt/keyrings/nvidia.asc https://nvidia.github.io/libnvidia-container/gpgkey && apt-get update",
    )
    rack.out("gpu-1", "apt-get install -y nvidia-container-toolkit-base=1.20.0-1")
    assert "version 1.20.0" in rack.out("gpu-1", "nvidia-ctk --version")
    assert rack.out("gpu-1", "dpkg-query -W -f '${Version}' nvidia-container-toolkit-base") == "1.20.0-1"
    rack.out("gpu-1", f"apt-get purge -y nvidia-container-toolkit-base && rm {source} /etc/apt/keyrings/nvidia.asc")
    assert rack.run("gpu-1", "command -v nvidia-container-runtime").code != 0
    assert rack.lab.leaks() == []


# --- accelerators -----------------------------------------------------------------------------------------------------------


def test_gpus_are_cut_as_their_vendor_documents_it(rack: Rack) -> None:
    mode = "nvidia-smi -i 0 --query-gpu=mig.mode.current --format=csv,noheader"
    assert rack.out("gpu-1", mode) == "Disabled"
    assert rack.run("gpu-1", "nvidia-smi mig -i 0 -cgi 3g.40gb -C").code == 6  # MIG is off
    assert rack.run("gpu-1", "nvidia-smi -i 0 -mig 1", root=False).code == 4
    rack.out("gpu-1", "nvidia-smi -i 0 -mig 1 && nvidia-smi mig -i 0 -cgi 3g.40gb,3g.40gb -C")
    assert rack.out("gpu-1", "nvidia-smi -i 0 -L").count("MIG 3g.40gb") == 2
    assert rack.run("gpu-1", "nvidia-smi mig -i 0 -cgi 1g.10gb -C").code == 19  # it is full
    assert rack.run("gpu-1", "nvidia-smi mig -i 0 -dgi").code == 19  # its compute instances go first
    assert [leak for leak in rack.lab.leaks() if "GPU 0" in leak]
    rack.lab.reboot("gpu-1")
    assert rack.out("gpu-1", mode) == "Enabled"  # the mode stays, the instances do not
    assert "MIG" not in rack.out("gpu-1", "nvidia-smi -L")
    rack.out("gpu-1", "nvidia-smi -i 0 -mig 0")
    assert rack.lab.leaks() == []


# --- k3s --------------------------------------------------------------------------------------------------------------------

SERVER = {"token": "the-token-of-servers", "agent-token": "the-token-of-agents", "cluster-init": True, "node-name": "rack-1"}


@pytest.fixture(scope="module")
def cluster(rack: Rack) -> Iterator[Rack]:
    """One server and one agent with GPUs, as somebody would install them by hand; removed afterwards."""
    assert rack.install("rack-1", "server", SERVER).code == 0
    join = {"server": f"https://{rack.addresses['rack-1'].address}:6443"}
    labels = {"node-label": ["pool=h100"], "node-taint": ["nvidia.com/gpu=present:NoSchedule"]}
    assert rack.install("gpu-1", "agent", {**join, **labels, "token": SERVER["agent-token"]}).code == 0
    assert eventually(lambda: rack.ready() == {"rack-1", "gpu-1"})
    yield rack
    for host in ("gpu-1", "rack-2", "rack-1"):
        rack.run(host, REMOVE)
    assert rack.lab.leaks() == []


def test_a_joined_host_is_a_node(cluster: Rack) -> None:
    with cluster.cluster.connect() as api:
        node = api.get("/api/v1/nodes/gpu-1")
        assert {"nvidia", "nvidia-cdi"} <= {item["metadata"]["name"] for item in api.items("/apis/node.k8s.io/v1/runtimeclasses")}
    assert node["metadata"]["labels"]["pool"] == "h100"
    assert "nvidia.com/gpu" in [taint["key"] for taint in node["spec"]["taints"]]
    assert node["status"]["nodeInfo"]["kubeletVersion"] == RELEASE
    assert node["status"]["capacity"]["cpu"] == "32"
    assert "nvidia.com/gpu" in node["metadata"]["annotations"]["sandbox.llm-platform/devices"]
    assert "gpu-1" in cluster.out("rack-1", "k3s kubectl get nodes -o name")
    assert cluster.run("gpu-1", "k3s kubectl get nodes").code == 1  # an agent has no kubeconfig


def test_the_kubeconfig_works_at_the_address_of_the_server(cluster: Rack, tmp_path: Path) -> None:
    assert cluster.out("rack-1", "stat -c %a /etc/rancher/k3s/k3s.yaml") == "600"
    assert cluster.run("rack-1", "cat /etc/rancher/k3s/k3s.yaml", root=False).code == 1
    text = cluster.out("rack-1", "cat /etc/rancher/k3s/k3s.yaml")
    assert "https://127.0.0.1:6443" in text
    server = f"https://{cluster.addresses['rack-1'].address}:6443"
    pki = cluster.cluster.pki
    assert httpx.get(f"{server}/version", verify=pki.tls_context("admin"), trust_env=False).json()["gitVersion"] == "v1.36.3"
    cluster.out("rack-1", "systemctl stop k3s")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{server}/version", verify=pki.tls_context("admin"), trust_env=False)
    assert cluster.run("rack-1", "k3s kubectl get nodes").code == 1
    assert eventually(lambda: "rack-1" not in cluster.ready())
    cluster.out("rack-1", "systemctl start k3s")
    assert eventually(lambda: "rack-1" in cluster.ready())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokn": "x"}, "flag provided but not defined: -tokn"),
        ({"token": "wrong"}, "not authorized"),
        ({"token": f"K10{'0' * 64}::server:the-token-of-servers"}, "token CA hash does not match"),
        ({"server": "https://198.18.255.9:6443"}, "connection refused"),
        ({"server": None}, "would split the rack in two"),
        ({"protect-kernel-defaults": True}, "invalid kernel flag: vm/overcommit_memory"),
        ({"kube-apiserver-arg": ["audit-policy-file=/nowhere"]}, "no such file or directory"),
        ({"node-name": "gpu-1"}, "Node password rejected"),
    ],
)
def test_what_k3s_refuses_stands_in_its_journal(cluster: Rack, change: dict[str, object], said: str) -> None:
    right = {"token": SERVER["token"], "server": f"https://{cluster.addresses['rack-1'].address}:6443"}
    config = {key: value for key, value in {**right, **change}.items() if value is not None}
    answer = cluster.install("rack-2", "server", config)
    assert answer.code == 1
    assert said in cluster.out("rack-2", "journalctl -u k3s -n 1 --no-pager -o cat")
    assert cluster.run("rack-2", "systemctl is-active k3s").code == 3
    cluster.run("rack-2", REMOVE)


def test_a_server_joins_and_etcd_needs_most_of_them(cluster: Rack) -> None:
    join = {"token": SERVER["token"], "server": f"https://{cluster.addresses['rack-1'].address}:6443"}
    assert cluster.install("rack-2", "server", join).code == 0
    assert eventually(lambda: "rack-2" in cluster.ready())
    cluster.out("rack-2", "systemctl stop k3s")
    assert cluster.run("rack-1", "k3s kubectl get nodes").code == 1  # one of two is no majority
    cluster.out("rack-2", "systemctl start k3s")
    assert "rack-2" in cluster.out("rack-1", "k3s kubectl get nodes")
    assert cluster.out("rack-2", "k3s etcd-snapshot save --name before").startswith("Snapshot before-rack-2-")
    cluster.out("rack-1", "k3s kubectl delete node rack-2")  # etcd has one member again
    cluster.run("rack-2", REMOVE)
    assert cluster.out("rack-1", "k3s kubectl get nodes -o name").split() == ["node/gpu-1", "node/rack-1"]


def test_a_wiped_host_is_not_taken_for_the_one_it_was(cluster: Rack) -> None:
    address = cluster.addresses["rack-1"].address
    cluster.lab.wipe("gpu-1")
    assert cluster.addresses["gpu-1"].host_key == cluster.lab.start({"gpu-1": SPECS["gpu-1"]}, cluster.cluster)["gpu-1"].host_key
    assert cluster.run("gpu-1", "test -e /etc/rancher").code == 1
    config = {"server": f"https://{address}:6443", "token": SERVER["agent-token"]}
    assert cluster.install("gpu-1", "agent", config).code == 0
    assert cluster.out("gpu-1", "systemctl is-active k3s-agent") == "active"  # it tries for as long as it has to
    assert eventually(lambda: "Node password rejected" in cluster.out("gpu-1", "journalctl -u k3s-agent --no-pager -o cat"))
    assert eventually(lambda: "gpu-1" not in cluster.ready())
    cluster.out("rack-1", "k3s kubectl delete node gpu-1")
    assert eventually(lambda: "gpu-1" in cluster.ready())


def test_mig_instances_are_told_to_the_node(cluster: Rack) -> None:
    def told() -> str:
        with cluster.cluster.connect() as api:
            return str(api.get("/api/v1/nodes/gpu-1")["metadata"]["annotations"]["sandbox.llm-platform/mig"])

    assert told() == "{}"
    assert "In use by another client" in cluster.out("gpu-1", "nvidia-smi -i 0 -mig 1")
    cluster.out("gpu-1", "k3s-killall.sh; nvidia-smi -mig 1; nvidia-smi mig -cgi 3g.40gb,3g.40gb -C; systemctl start k3s-agent")
    assert told() == '{"3g.40gb": 4}'
    cluster.out("gpu-1", "k3s-killall.sh; nvidia-smi mig -dci; nvidia-smi mig -dgi; nvidia-smi -mig 0; systemctl start k3s-agent")
    assert told() == "{}"


def test_a_rebooted_server_is_one_again(cluster: Rack) -> None:
    cluster.lab.reboot("rack-1")
    assert eventually(lambda: cluster.run("rack-1", "k3s kubectl get --raw=/readyz").code == 0)
    assert [call for call in cluster.lab.calls() if call.program == "k3s" and call.exit_code == 0]


def test_a_server_that_dies_comes_back_when_it_can(cluster: Rack) -> None:
    cluster.lab.break_("rack-1", Fault.K3S_CRASHES)
    assert cluster.run("rack-1", "k3s kubectl get nodes").code == 1
    assert cluster.run("rack-1", "systemctl is-active k3s").code == 3
    cluster.lab.mend("rack-1")
    assert eventually(lambda: cluster.run("rack-1", "systemctl is-active k3s && k3s kubectl get nodes").code == 0)


def test_a_host_without_network_is_no_ready_node(cluster: Rack) -> None:
    cluster.lab.break_("gpu-1", Fault.UNREACHABLE)
    with pytest.raises((TimeoutError, OSError)):
        cluster.run("gpu-1", "true")
    assert eventually(lambda: cluster.ready() == {"rack-1"})
    cluster.lab.mend("gpu-1")
    assert eventually(lambda: cluster.ready() == {"rack-1", "gpu-1"})
    assert cluster.out("gpu-1", "systemctl is-active k3s-agent") == "active"


def test_secrets_stay_out_of_the_record(cluster: Rack) -> None:
    record = cluster.lab.key_file.parent / "calls.jsonl"
    assert {"curl", "systemctl", "install.sh", "sudo"} <= {call.program for call in cluster.lab.calls()}
    assert str(SERVER["token"]) not in record.read_text()
    assert str(SERVER["token"]) not in cluster.lab.logs(lines=1000)


# --- faults -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "command", "code", "said"),
    [
        (Fault.OLD_KERNEL, "uname -r", 0, "4.4.0"),
        (Fault.NO_CGROUP_MEMORY, "grep -c memory /sys/fs/cgroup/cgroup.controllers", 1, "0"),
        (Fault.DRIVER_TOO_OLD, "nvidia-smi --query-gpu=driver_version --format=csv,noheader", 0, "535."),
        (Fault.NOUVEAU, "grep nouveau /proc/modules; nvidia-smi", 9, "communicate with the NVIDIA driver"),
        (Fault.CLOCK, "timedatectl show -p NTPSynchronized --value", 0, "no"),
        (Fault.SWAP, "sed 1d /proc/swaps", 0, "/swap.img"),
        (Fault.PORT_TAKEN, "ss -Hltn", 0, ":6443"),
        (Fault.DISK_FULL, "df -Pk / | awk 'NR == 2 {print $4}'; curl -fsSo /tmp/x https://get.k3s.io", 23, "0"),
        (Fault.PACKAGES, "apt-get update", 100, "Failed to fetch"),
        (Fault.DOWNLOAD, "curl -fsSL https://get.k3s.io", 56, "Connection reset"),
        (
            Fault.CHECKSUM,
            f"cd /tmp; curl -fsSLO {URL}/k3s; curl -fsSL {URL}/sha256sum-amd64.txt | head -n1 | sha256sum -c",
            1,
            "FAILED",
        ),
    ],
)
def test_a_fault_shows_until_it_is_mended(sound: Rack, fault: Fault, command: str, code: int, said: str) -> None:
    before = sound.run("gpu-1", command)
    assert before.code != code or said not in before.out + before.err
    sound.lab.break_("gpu-1", fault)
    broken = sound.run("gpu-1", command)
    assert (broken.code, said in broken.out + broken.err) == (code, True), broken
    sound.lab.mend("gpu-1")
    after = sound.run("gpu-1", command)
    assert (after.code, after.out) == (before.code, before.out)
    sound.run("gpu-1", "rm -f /tmp/*")


def test_a_download_may_fail_a_number_of_times(sound: Rack) -> None:
    sound.lab.break_("rocky", Fault.DOWNLOAD, times=2)
    assert [sound.run("rocky", "curl -fsSL https://get.k3s.io >/dev/null").code for _ in range(3)] == [56, 56, 0]


def test_hosts_that_do_not_let_in(sound: Rack) -> None:
    sound.lab.break_("rocky", Fault.SSH_REFUSED)
    with pytest.raises(ConnectionRefusedError):
        sound.run("rocky", "true")
    sound.lab.mend("rocky")
    sound.lab.break_("rocky", Fault.WRONG_HOST_KEY)
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        sound.run("rocky", "true")
    sound.lab.mend("rocky")
    sound.lab.break_("rocky", Fault.SUDO_MISSING)
    assert sound.run("rocky", "true").code == 127
    sound.lab.mend("rocky")
    sound.lab.break_("rocky", Fault.SUDO_PASSWORD)
    assert "a password is required" in sound.run("rocky", "true").err
    sound.lab.mend("rocky")
    assert sound.run("rocky", "true").code == 0


def test_a_script_is_broken_in_the_middle(sound: Rack) -> None:
    script = "touch /var/before; nproc; sleep 0.5; nproc; touch /var/after"
    sound.lab.break_("rocky", Fault.CONNECTION_LOST, at=2, program="nproc")
    assert sound.run("rocky", script).code is None
    # A connection that is lost does not end what it began.
    assert eventually(lambda: sound.run("rocky", "test -e /var/after").code == 0)
    sound.out("rocky", "rm /var/before /var/after")
    sound.lab.break_("rocky", Fault.POWER_LOST, at=2, program="nproc")
    assert sound.run("rocky", script).code is None
    assert eventually(lambda: _is_up(sound, "rocky"))
    assert sound.run("rocky", "test -e /var/before").code == 0
    assert sound.run("rocky", "test -e /var/after").code == 1
    sound.out("rocky", f"{script}; rm /var/before /var/after")


# --- what is kept, and what is left -----------------------------------------------------------------------------------------


def test_a_lab_that_was_stopped_goes_on_and_one_that_is_deleted_leaves_nothing(tmp_path: Path, rack: Rack) -> None:
    lab, cluster = Lab("third", rack.lab.key_file.parents[1]), ControlPlane("third", tmp_path)
    first = lab.start({"a": HostSpec()}, cluster)
    third = Rack(lab, cluster, first)
    third.out("a", "echo kept >/etc/kept; sysctl -w kernel.panic=7")
    pid = lab.status().pid
    lab.stop()
    assert not lab.status().running
    assert lab.start({"a": HostSpec()}, cluster) == first
    assert lab.status().pid != pid
    assert third.out("a", "cat /etc/kept; sysctl -n kernel.panic").split() == ["kept", "0"]
    assert lab.leaks() == ["a: /etc/kept is new"]
    lab.stop()
    lab.start({"a": HostSpec.model_validate({**GPUS, "cpus": 8})}, cluster)
    assert third.out("a", "nproc; grep -c 0x10de /sys/bus/pci/devices/*/vendor | grep -c :1").split() == ["8", "2"]
    assert lab.leaks() == ["a: /etc/kept is new"]  # other hardware is none
    number = first["a"].address.split(".")[2]
    lab.reset()
    assert f"llmlab{number}:" not in _links()
    assert not (tmp_path / "third").exists()


def test_what_a_killed_lab_left_is_removed_by_the_next(tmp_path: Path) -> None:
    lab, cluster = Lab("killed", tmp_path), ControlPlane("killed", tmp_path / "clusters")
    lab.start({"a": HostSpec()}, cluster)
    status = lab.status()
    assert status.pid
    inside = subprocess.run(["pgrep", "-P", str(status.pid)], capture_output=True, text=True, check=True).stdout.split()
    os.kill(status.pid, 9)
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in inside))
    again = Lab("again", tmp_path)
    try:
        again.start({"a": HostSpec()}, cluster)
        assert _links().count("llmlab") - _links().count("llmlab" + "x") >= 0
        assert lab.start({"a": HostSpec()}, cluster)["a"].host_key == status.hosts[0].address.host_key
    finally:
        lab.reset()
        again.reset()


def test_without_namespaces_hosts_are_on_loopback(tmp_path: Path) -> None:
    program = f"""
import asyncio
from pathlib import Path
from sandbox.control_plane import ControlPlane
from sandbox.hosts import HostSpec, Lab
lab = Lab("loop", Path({str(tmp_path)!r}))
try:
    where = lab.start({{"a": HostSpec(), "b": HostSpec()}}, ControlPlane("loop", Path({str(tmp_path / "clusters")!r})))
    from tests.rehearsal.test_hosts import Rack
    rack = Rack(lab, ControlPlane("loop", Path({str(tmp_path / "clusters")!r})), where)
    print(lab.status().namespaces, where["a"].address.startswith("127.77."), rack.out("b", "hostname; id -u; nproc"))
    lab.reboot("b")
    print(rack.out("b", "uname -s"))
finally:
    lab.reset()
"""
    bounds = "--bounding-set=-sys_admin,-net_admin"
    command = ["setpriv", bounds, sys.executable, "-c", program]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "True", "b", "0", "32", "Linux"]


def test_a_host_must_have_a_name(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no name for a rehearsed host"):
        Lab("names", tmp_path).start({BASTION: HostSpec()}, ControlPlane("names", tmp_path))


def _is_up(rack: Rack, host: str) -> bool:
    try:
        return rack.run(host, "true").code == 0
    except OSError:
        return False


def _links() -> str:
    return subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout
