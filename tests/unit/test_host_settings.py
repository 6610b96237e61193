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
