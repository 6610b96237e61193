"""Stacks on hosts and sections of accelerators: the one sentence each mistake gets, on the stack of the rack."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

import settings
from components.inputs import InputError

WHERE = "stacks/Pulumi.onprem.yaml"
SERVERS = "cluster/servers"
POOLS = "cluster/nodePools"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIaUua9aTdZDO1lJvMSzTkq21bI2u/O62D+EFl3NlKYR"

MISTAKES: list[tuple[str, dict[str, object], str]] = [
    (
        "two servers",
        {f"{SERVERS}/rack-3": ...},
        "cluster: servers: 2 servers cannot keep a majority of etcd when one fails; use 1, 3 or 5",
    ),
    (
        "one address twice",
        {f"{SERVERS}/rack-2/address": "192.0.2.11"},
        "cluster: the hosts rack-1 and rack-2 have the address 192.0.2.11; give each its own",
    ),
    (
        "no host key",
        {f"{SERVERS}/rack-1/hostKey": ...},
        "cluster.servers.rack-1.hostKey is missing; add it, e.g. hostKey: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...",
    ),
    (
        "a release nobody made",
        {"cluster/version": "1.36"},
        "cluster.version: '1.36' is not a release of k3s; use e.g. v1.36.3+k3s1",
    ),
    (
        "a key and an agent",
        {"cluster/ssh/agent": True},
        "cluster.ssh: give either privateKeyFile or agent: true; use e.g. privateKeyFile: ~/.ssh/id_ed25519",
    ),
    (
        "a toolkit that lets containers out",
        {"cluster/toolkit": "1.17.7"},
        "cluster: toolkit: 1.17.7 lets containers out of their isolation (CVE-2025-23266); use 1.20.0",
    ),
    (
        "a user without a password file",
        {"cluster/registries": {"docker.io": {"username": "puller"}}},
        "cluster.registries.docker.io: username and passwordFile belong together; give both or neither",
    ),
    (
        "a host in two places",
        {f"{POOLS}/l40s/hosts/rack-1": {"address": "192.0.2.31", "hostKey": KEY}},
        "cluster: the host rack-1 is named twice; give each host one place, as a server or in one pool",
    ),
    (
        "accelerators nobody has a plugin for",
        {f"{POOLS}/l40s/accelerator": {"resource": "sapeon.com/snx3", "perNode": 4, "memoryGib": 16.0}},
        "accelerators.vendors.sapeon.plugin.image is missing: no device plugin for Sapeon is published; name yours with its tag, "
        "e.g. registry.example.com/npu-device-plugin:v1.0",
    ),
    (
        "a plugin for nobody",
        {"accelerators/vendors": {"amd": {"plugin": {"image": "registry.example.com/plugin:v1"}}}},
        "accelerators.vendors.amd: no pool has its accelerators; remove it, or add a pool to cluster.nodePools",
    ),
    (
        "an operator nobody has",
        {
            f"{POOLS}/l40s/accelerator": {"resource": "rebellions.ai/ATOM", "perNode": 4, "memoryGib": 16.0},
            "accelerators/vendors": {"rebellions": {"owner": "operator"}},
        },
        "accelerators.vendors.rebellions.owner: operator is not known for Rebellions; use devicePlugin or none",
    ),
    (
        "a user that is a command",
        {"cluster/ssh/user": "ops; reboot"},
        "cluster.ssh.user: 'ops; reboot' is not a user name (up to 32 letters, digits, dots, dashes and underscores); "
        "use e.g. ops",
    ),
    (
        "a bastion's user that is a command",
        {"cluster/ssh/bastion": {"address": "bastion.example", "hostKey": KEY, "user": "$(id)"}},
        "cluster.ssh.bastion.user: '$(id)' is not a user name (up to 32 letters, digits, dots, dashes and underscores); "
        "use e.g. ops",
    ),
    (
        "an address with a zone",
        {f"{SERVERS}/rack-1/address": "fe80::1%$(id)"},
        "cluster.servers.rack-1.address: 'fe80::1%$(id)' is neither an IP address nor a host name; use e.g. 10.20.0.11",
    ),
    (
        "a host key that lost its end",
        {f"{SERVERS}/rack-1/hostKey": KEY[:-4]},
        "cluster.servers.rack-1.hostKey: is damaged, so no host can have this key; copy it again, as "
        "`ssh-keyscan -t ed25519 ADDRESS` prints it after the address",
    ),
    (
        "a mirror that is a command",
        {"cluster/mirror": "$(reboot)/srv"},
        "cluster.mirror: '$(reboot)/srv' is not a directory from the root, without spaces, or an https address; "
        "use e.g. /srv/k3s",
    ),
    (
        "a mirror that anybody on the way can change",
        {"cluster/mirror": "http://mirror.example/k3s"},
        "cluster.mirror: 'http://mirror.example/k3s' is not a directory from the root, without spaces, or an https address; "
        "use e.g. /srv/k3s",
    ),
    (
        "snapshots outside of every directory",
        {"cluster/snapshots": {"directory": "my /data dir"}},
        "cluster.snapshots.directory: 'my /data dir' is not a path from the root, without spaces and hidden directories; "
        "use e.g. /srv/k3s",
    ),
    (
        "a schedule of seven fields",
        {"cluster/snapshots": {"schedule": "0 0 */6 * * * *"}},
        "cluster.snapshots.schedule: '0 0 */6 * * * *' is not a schedule of cron (minute, hour, day, month, weekday); "
        'use e.g. "0 */6 * * *"',
    ),
    (
        "a schedule for an hour no day has",
        {"cluster/snapshots": {"schedule": "0 24 * * *"}},
        "cluster.snapshots.schedule: '0 24 * * *' is not a schedule of cron (minute, hour, day, month, weekday); "
        'use e.g. "0 */6 * * *"',
    ),
    (
        "an endpoint among other words",
        {"cluster/registries": {"docker.io": {"endpoint": "mirror https://x y"}}},
        "cluster.registries.docker.io.endpoint: 'mirror https://x y' is not an address of a registry; "
        "use e.g. https://mirror.example",
    ),
    (
        "an authority that is nowhere",
        {"cluster/registries": {"docker.io": {"authority": "certs/ca.pem"}}},
        "cluster.registries.docker.io.authority: 'certs/ca.pem' is not a path from the root, without spaces and hidden "
        "directories; use e.g. /srv/k3s",
    ),
    (
        "a registry that is an address",
        {"cluster/registries": {"https://docker.io": {"authority": "/etc/ssl/m.pem"}}},
        "cluster.registries.https://docker.io: 'https://docker.io' is not the host of a registry; use e.g. docker.io",
    ),
    (
        "a registry of which nothing is said",
        {"cluster/registries": {"docker.io": {}}},
        "cluster.registries.docker.io: nothing is said of it; add e.g. endpoint: https://mirror.example",
    ),
    (
        "a user that never becomes root",
        {"cluster/ssh/sudo": False},
        "cluster: ssh: sudo: false is for root, and ops is another user; use sudo: true, or user: root",
    ),
    (
        "two servers behind one address",
        {f"{SERVERS}/rack-2/address": "192.0.2.11", f"{SERVERS}/rack-2/port": 2222},
        "cluster: servers: rack-1 and rack-2 have the address 192.0.2.11, where only one can be reached on port 6443; give each "
        "its own",
    ),
    (
        "a label with a space",
        {f"{POOLS}/l40s/labels": {"foo bar": "x"}},
        "cluster.nodePools.l40s.labels.foo bar: 'foo bar' is not a Kubernetes key (a name of up to 63 characters, or "
        "domain/name); use e.g. example.com/pool",
    ),
    (
        "a label's value with a space",
        {f"{POOLS}/l40s/labels": {"rack": "row 7"}},
        "cluster.nodePools.l40s.labels.rack: 'row 7' is not a label value (up to 63 letters, digits, dashes, dots and "
        "underscores); use e.g. gpu",
    ),
    (
        "a label that no kubelet may set",
        {f"{POOLS}/l40s/labels": {"node-role.kubernetes.io/worker": "true"}},
        "cluster.nodePools.l40s.labels.node-role.kubernetes.io/worker: no kubelet may set node-role.kubernetes.io/worker, whose "
        "domain is Kubernetes' own; use another, e.g. example.com/pool",
    ),
    (
        "a label that the kubelet sets",
        {f"{POOLS}/l40s/labels": {"kubernetes.io/hostname": "a"}},
        "cluster.nodePools.l40s.labels.kubernetes.io/hostname: every node gets its own kubernetes.io/hostname; remove it",
    ),
    (
        "a label that the pool sets",
        {f"{POOLS}/h100/labels": {"nvidia.com/mig.config": "all-1g.10gb"}},
        "cluster: nodePools.h100: labels: the pool's sharing gives every node its own nvidia.com/mig.config; remove it",
    ),
    (
        "a resource that no taint can be named after",
        {f"{POOLS}/l40s/accelerator": {"resource": "example.com/npu-", "perNode": 1, "memoryGib": 16.0}},
        "cluster.nodePools.l40s.accelerator.resource: 'example.com/npu-' is not an extended resource (domain/name); "
        "use e.g. nvidia.com/gpu",
    ),
    (
        "a taint with a space",
        {f"{POOLS}/l40s/taints": [{"key": "only here", "effect": "NoSchedule"}]},
        "cluster.nodePools.l40s.taints[0].key: 'only here' is not a Kubernetes key (a name of up to 63 characters, or "
        "domain/name); use e.g. example.com/pool",
    ),
    (
        "a taint's value that is a command",
        {f"{POOLS}/l40s/taints": [{"key": "a", "value": "$(id)", "effect": "NoSchedule"}]},
        "cluster.nodePools.l40s.taints[0].value: '$(id)' is not a label value (up to 63 letters, digits, dashes, dots and "
        "underscores); use e.g. gpu",
    ),
    (
        "one taint twice",
        {f"{POOLS}/l40s/taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "value": "b", "effect": "NoSchedule"}]},
        "cluster: nodePools.l40s: taints: a with NoSchedule is there twice; keep one",
    ),
    (
        "a driver older than the engine's CUDA",
        {"accelerators/vendors": {"nvidia": {"driver": "570.86.15"}}},
        "models.qwen3-32b.nodePool: pool l40s: the image's CUDA 13 needs driver R580 or later and the nodes have R570; install a "
        "newer driver, or set VLLM_ENABLE_CUDA_COMPATIBILITY=1 on data-centre GPUs",
    ),
    (
        "a section of another kind of cluster",
        {"storage": {"efs": {}}},
        "storage: only a cluster of kind eks uses it; remove it, or use cluster.kind: eks",
    ),
]


@pytest.fixture(scope="module")
def rack() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / WHERE).read_text())["config"]
    return content


def _read(config: dict[str, Any], changes: dict[str, object]) -> settings.Settings:
    changed = copy.deepcopy(config)
    for path, value in changes.items():
        section, *steps = path.split("/")
        if not steps:
            changed[f"llm-platform:{section}"] = value
            continue
        here = changed[f"llm-platform:{section}"]
        for step in steps[:-1]:
            here = here[step]
        if value is ...:
            del here[steps[-1]]
        else:
            here[steps[-1]] = value
    return settings.from_config(changed, WHERE)


@pytest.mark.parametrize(("changes", "sentence"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_gets_one_sentence(changes: dict[str, object], sentence: str, rack: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        _read(rack, changes)
    assert str(caught.value).splitlines()[0] == f"{WHERE}: {sentence}"
    assert len(str(caught.value).splitlines()) == 1


def test_what_hosts_may_be_told_is_taken_as_it_is(rack: dict[str, Any]) -> None:
    ecdsa = (
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBB"
        "Ea410r5y6ZkOimxuMLJECi3wouoWmqcvwMjE5fm+almEMjIqV/pksRyX8arpA9kVnSGiiuGSIX21Jn07nw0riM="
    )
    changes: dict[str, object] = {
        f"{SERVERS}/rack-1/hostKey": f"{ecdsa} root@rack-1",
        "cluster/ssh/user": "Ops.Team_1",
        "cluster/mirror": "https://mirror.example:8443/k3s/releases",
        "cluster/snapshots": {"schedule": "*/30 1,13 1-15 * 0", "directory": "/srv"},
        "cluster/registries": {"*": {"endpoint": "http://192.0.2.9:5000/v2/hub/"}, "ghcr.io": {"authority": "/etc/ssl/m.pem"}},
        f"{POOLS}/l40s/labels": {
            "topology.kubernetes.io/zone": "row-7",
            "feature.node.kubernetes.io/pci": "",
            "example.com/Room": "A_1.b",
        },
        f"{POOLS}/l40s/taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}],
    }
    assert _read(rack, changes).cluster is not None


def test_a_rack_is_planned_with_the_instances_of_its_cards(rack: dict[str, Any]) -> None:
    planned = settings.plan(_read(rack, {}), WHERE, Path(WHERE).parent.parent)
    hardware = planned.models["qwen2-5-7b"].summary()["hardware"]
    assert hardware == "2 replicas of 1 x H100-80GB 3g.40gb (39.5 GiB each) on pool h100"
    assert planned.free["h100"] == 8 * 2 - 2


def test_an_instance_that_is_too_small_is_refused(rack: dict[str, Any]) -> None:
    small = {"product": "A30", "perNode": 4, "sharing": {"kind": "mig", "profile": "1g.6gb"}}
    config = _read(rack, {f"{POOLS}/h100/accelerator": small})
    with pytest.raises(InputError, match=r"models\.qwen2-5-7b.*does not fit on 1 x A30 1g\.6gb with 5\.8 GiB"):
        settings.plan(config, WHERE, Path())


def test_no_model_is_planned_on_what_nobody_can_measure(rack: dict[str, Any]) -> None:
    config = _read(rack, {f"{POOLS}/h100/accelerator/sharing": {"kind": "mps", "replicas": 2}})
    with pytest.raises(InputError, match=r"cluster\.nodePools\.h100\.accelerator: sharing: what an engine sees .* under MPS"):
        settings.plan(config, WHERE, Path())
