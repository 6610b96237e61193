"""What a cluster of k3s is made of, what it refuses to be made of, and in which order its hosts are touched."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pulumi
import pytest
import yaml
from pulumi.runtime import rpc

from components.cluster.k3s import K3sCluster
from components.cluster.k3s.config import Component, Registry, admission, registries_file, server_config
from components.cluster.k3s.config import Snapshots as EtcdSnapshots
from components.cluster.k3s.doctor import Verdict, examine
from components.cluster.k3s.hosts import FOUNDER, Host, Ssh
from components.cluster.k3s.nodes import nodes
from components.cluster.k3s.observe import Observation, observe, read
from components.cluster.k3s.settings import K3sSettings
from components.cluster.kubeconfig import check_kubeconfig
from components.inputs import InputError, validate
from tests.recorder import Recording, Registration, record
from tests.ssh_server import SshServer, public, ssh_server
from tests.unit.k3s_examples import L4, MIG, cluster, host, servers

COMMAND = "command:remote:Command"
SERVER_TOKEN, AGENT_TOKEN = "K10authority::server:first", "K10authority::node:second"
"""What the recorder's hosts print as tokens."""


def made(**changed: Any) -> Recording:
    def program() -> None:
        K3sCluster("cluster", cluster(**changed))

    return record(program)


def by_name(recording: Recording) -> dict[str, Registration]:
    return {found.name.removeprefix("cluster-"): found for found in recording.of(COMMAND)}


def before(recording: Recording, name: str) -> set[str]:
    """Everything that is there before the resource of that name, however indirectly."""
    found, names = by_name(recording), {entry.urn: key for key, entry in by_name(recording).items()}
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        for urn in found[waiting.pop()].dependencies:
            if urn in names and names[urn] not in seen:
                seen.add(names[urn])
                waiting.append(names[urn])
    return seen


def secret(value: Any) -> Any:
    """What the program sent as a secret; a KeyError for anything that it sent openly."""
    assert value[rpc._special_sig_key] == rpc._special_secret_sig
    return value["value"]


def sees(**k3s: str | None) -> dict[str, Any]:
    """A rack whose hosts were seen to run these releases."""
    version = {name.replace("_", "-"): release for name, release in k3s.items()}
    pools = [
        {**pool, "hosts": {name: {**entry, "k3s": version.get(name)} for name, entry in pool["hosts"].items()}}
        for pool in (MIG, L4)
    ]
    return {
        "servers": {name: {**entry, "k3s": version.get(name)} for name, entry in servers().items()},
        "node_pools": pools,
    }


ALL = dict.fromkeys(("rack_1", "rack_2", "rack_3", "gpu_1", "gpu_2", "gpu_3"), "v1.36.3+k3s1")


def sentence(**changed: Any) -> str:
    with pytest.raises(InputError) as refused:
        validate(K3sSettings, cluster(**changed), "onprem")
    return str(refused.value)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"servers": servers(2)}, "2 servers cannot keep a majority of etcd when one fails; use 1, 3 or 5"),
        ({"version": "1.36.3"}, "version: '1.36.3' is not a release of k3s; use e.g. v1.36.3+k3s1"),
        ({"version": "v1.29.1+k3s1"}, "v1.29.1+k3s1 is not of Kubernetes 1.34 to 1.37"),
        ({"node_pools": [MIG, {**L4, "hosts": {"gpu-1": host(99)}}]}, "the host gpu-1 is named twice"),
        ({"node_pools": [{**L4, "hosts": {"gpu-9": host(11)}}]}, "the hosts rack-1 and gpu-9 have the address 192.0.2.11"),
        ({"node_pools": [{**L4, "hosts": {"GPU_9": host(99)}}]}, "'GPU_9' is not a Kubernetes name"),
        ({"node_pools": [L4, L4 | {"hosts": {"x": host(98)}}]}, "nodePools: l4 is there twice"),
        ({"servers": {"rack-1": host(11, host_key="ssh-rsa AAAAB3NzaC1yc2E")}}, "ssh-keyscan -t ed25519"),
        ({"servers": {"rack-1": {"address": "192.0.2.11"}}}, "servers.rack-1.hostKey is missing"),
        ({"servers": {"rack-1": host(11, address="192.0.2.999")}}, "'192.0.2.999' is neither an IP address nor a host name"),
        ({"ssh": {"user": "ops"}}, "give either a private key or agent: true"),
        ({"ssh": {"user": "ops", "private_key": "K", "agent": True}}, "give either a private key or agent: true"),
        ({"toolkit": "1.17.4"}, "1.17.4 lets containers out of their isolation (CVE-2025-23266); use 1.20.0"),
        ({"driver": {"install": True, "branch": "570"}}, '570 is older than what the engine needs; use "580"'),
        ({"mirror": "/srv/k3s", "driver": {"install": True}}, "driver.install needs the internet"),
        ({"node_pools": [{**L4, "accelerator": {**MIG["accelerator"], "product": "L4"}}]}, "L4 has no MIG"),
        ({"registries": {"docker.io": {"username": "u"}}}, "username and password belong together"),
        (sees(**dict.fromkeys(ALL, "v1.34.1+k3s1")), "no minor version may be left out; use one of 1.35 first"),
        (sees(**{**ALL, "rack_2": "v1.34.1+k3s1"}), "rack-2 runs v1.34.1+k3s1, too old for what the other servers run; run "
                                                    "k3s-uninstall.sh on rack-2, then it joins them anew"),
        (sees(**{**ALL, "rack_2": "v1.37.1+k3s1"}), "rack-2 runs v1.37.1+k3s1, and etcd does not go back"),
        (sees(**{**ALL, "gpu_1": "v1.37.1+k3s1"}), "gpu-1 runs v1.37.1+k3s1, and no agent may be newer than the servers; use "
                                                   "v1.37.1+k3s1 or newer, or run k3s-agent-uninstall.sh on gpu-1"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_in_one_sentence(changed: dict[str, Any], told: str) -> None:
    text = sentence(**changed)
    assert told in text
    assert "\n" not in text


def test_an_agent_that_was_off_may_leave_releases_out() -> None:
    assert validate(K3sSettings, cluster(**sees(**{**ALL, "gpu_1": "v1.34.1+k3s1"})), "onprem").version == "v1.36.3+k3s1"


def founded(rack_1: str | None = "v1.36.3+k3s1") -> dict[str, Any]:
    """A rack that began with its first server, which still is the one it was, or was wiped since (None)."""
    seen = sees(**{**ALL, "rack_1": rack_1})
    seen["servers"]["rack-1"]["generation"] = f"{FOUNDER}abc" if rack_1 else "another"
    return seen


def test_a_wiped_first_server_begins_no_second_cluster() -> None:
    wiped = {**servers(), "rack-2": host(12, reachable=False, k3s=None)}
    assert "a second cluster could begin; make rack-2 reachable" in sentence(servers=wiped)
    for seen, first in ((sees(), "yes"), (founded(), "yes"), (founded(None), "no")):
        found = by_name(made(**seen))
        assert f"FIRST='{first}'" in found["rack-1-node"].inputs["stdin"]
        assert "FIRST='no'" in found["rack-2-node"].inputs["stdin"]


def test_nothing_is_changed_before_every_host_passed() -> None:
    recording = made()
    looks = {f"{node.name}-preflight" for node in nodes(K3sSettings.model_validate(cluster()))}
    assert len(looks) == 6
    for name in by_name(recording):
        if not name.endswith("-preflight"):
            assert looks <= before(recording, name), name


def test_servers_join_one_after_the_other_and_new_agents_at_once() -> None:
    recording = made()
    assert "rack-1-settle" in before(recording, "rack-2-drain")
    assert "rack-2-settle" in before(recording, "rack-3-drain")
    for agent in ("gpu-1", "gpu-2", "gpu-3"):
        found = before(recording, f"{agent}-drain")
        assert "rack-3-settle" in found
        assert not {f"{other}-node" for other in ("gpu-1", "gpu-2", "gpu-3")} & found
    everything = before(recording, "kubeconfig")
    assert {f"gpu-{number}-settle" for number in (1, 2, 3)} <= everything


def test_nodes_that_work_are_changed_one_at_a_time_and_servers_first() -> None:
    recording = made(**sees(**{**ALL, "gpu_2": None}))
    assert "gpu-1-settle" in before(recording, "gpu-3-drain")
    assert "gpu-1-settle" not in before(recording, "gpu-2-drain")
    assert "rack-3-settle" in before(recording, "gpu-1-drain")


def test_a_host_leaves_in_the_order_drain_uninstall_restore() -> None:
    recording = made()
    found = by_name(recording)
    phases = {name.rpartition("-")[2] for name, entry in found.items() if "delete" in entry.inputs}
    assert phases == {"drain", "prepare"}
    # Pulumi deletes what depends first. Both are there before k3s is tried.
    assert "gpu-1-prepare" in before(recording, "gpu-1-drain")
    assert "gpu-1-drain" in before(recording, "gpu-1-node")
    assert secret(found["gpu-1-drain"].inputs["connection"])["host"] == "192.0.2.11"
    assert secret(found["gpu-1-prepare"].inputs["connection"])["host"] == "192.0.2.21"


def test_a_wiped_first_server_joins_the_others_and_changes_nothing_of_theirs() -> None:
    recording = made(**founded(None))
    old, new = by_name(made(**founded())), by_name(recording)
    changed = {name for name in old if _changed(old[name], new[name])}
    assert changed == {f"rack-1-{phase}" for phase in ("preflight", "prepare", "secrets", "drain", "node", "settle")}
    assert secret(new["rack-1-drain"].inputs["connection"])["host"] == "192.0.2.12"
    assert SERVER_TOKEN in secret(new["rack-1-secrets"].inputs["stdin"])
    assert "tokens" in before(recording, "rack-1-secrets")
    assert "tokens" not in before(made(**founded()), "rack-1-node")


def _changed(old: Registration, new: Registration) -> bool:
    return any(old.inputs.get(key) != new.inputs.get(key) for key in {*old.inputs, *new.inputs} - new.ignored)


def test_of_a_host_that_cannot_be_reached_nothing_is_planned() -> None:
    pools = [{**L4, "hosts": {"gpu-2": host(22, reachable=False), "gpu-3": host(23)}}]
    found = by_name(made(node_pools=pools))
    for name, entry in found.items():
        kept = {"create", "stdin", "connection", "delete"} <= entry.ignored
        assert kept is name.startswith("gpu-2-"), name


def test_another_generation_runs_everything_of_its_host_again_and_nothing_else() -> None:
    old = by_name(made())
    new = by_name(made(node_pools=[{**MIG, "hosts": {"gpu-1": host(21, generation="other")}}, L4]))
    changed = {name for name in old if old[name].inputs != new[name].inputs}
    assert changed == {f"gpu-1-{phase}" for phase in ("preflight", "prepare", "secrets", "drain", "node", "settle")}


def test_secrets_go_only_where_they_must_and_out_of_sight() -> None:
    recording = made(registries={"docker.io": {"endpoint": "https://mirror.example", "username": "u", "password": "hunter2"}})
    for name, entry in by_name(recording).items():
        shown = {key: value for key, value in entry.inputs.items() if key not in ("connection", "stdin")}
        assert not any(secret in str(shown) for secret in (SERVER_TOKEN, AGENT_TOKEN, "PRIVATE-KEY", "hunter2")), name
        carries = [secret for secret in (SERVER_TOKEN, AGENT_TOKEN, "hunter2") if secret in str(entry.inputs["stdin"])]
        assert bool(carries) is name.endswith("-secrets"), name
        assert secret(entry.inputs["connection"])["privateKey"] == "PRIVATE-KEY"
        private = name.endswith("-secrets") or name in ("tokens", "kubeconfig")
        assert entry.inputs["logging"] == ("none" if private else "stdoutAndStderr")
        assert "environment" not in entry.inputs
        assert secret(entry.inputs["connection"])["hostKey"].startswith("ssh-ed25519 ")
    agent = secret(by_name(recording)["gpu-1-secrets"].inputs["stdin"])
    assert AGENT_TOKEN in agent
    assert SERVER_TOKEN not in agent


def test_the_contract_is_that_of_a_cluster() -> None:
    seen: dict[str, Any] = {}

    def program() -> None:
        made = K3sCluster("cluster", cluster(endpoint="api.rack.example"))
        seen["contract"] = made.contract
        pulumi.Output.all(made.kubeconfig, made.identifier).apply(lambda both: seen.update(both=both))

    record(program)
    contract = seen["contract"]
    kubeconfig, identifier = seen["both"]
    check_kubeconfig(kubeconfig)
    content = yaml.safe_load(kubeconfig)
    assert content["current-context"] == "rack"
    assert content["clusters"][0]["cluster"]["server"] == "https://api.rack.example:6443"
    assert identifier.startswith("rack-")
    assert contract.kubernetes_version == "1.36"
    assert contract.storage_classes == ("local-path",)
    pool = contract.pool("h100")
    assert (pool.max_nodes, pool.runtime_class_name, pool.labels) == (1, "nvidia", {"llm-platform/pool": "h100"})
    assert pool.taints[0].key == "nvidia.com/gpu"


def test_a_server_is_hardened_and_its_certificate_names_every_way_to_it() -> None:
    made = K3sSettings.model_validate(cluster(endpoint="api.rack.example", components=["traefik"]))
    config = yaml.safe_load(nodes(made)[1].config)
    assert config["tls-san"] == ["api.rack.example", "192.0.2.11", "192.0.2.12", "192.0.2.13"]
    assert config["disable"] == ["servicelb"]
    assert config["write-kubeconfig-mode"] == "0600"
    assert config["protect-kernel-defaults"] is config["secrets-encryption"] is True
    assert "enable-admission-plugins=NodeRestriction,EventRateLimit" in config["kube-apiserver-arg"]
    assert "token" not in config
    plain = server_config("a", ["b"], components=list(Component), snapshots=EtcdSnapshots(), hardened=False)
    assert not {"disable", "kube-apiserver-arg", "protect-kernel-defaults"} & plain.keys()
    plugins = {plugin["name"]: plugin["configuration"] for plugin in yaml.safe_load(admission())["plugins"]}
    assert plugins["PodSecurity"]["defaults"]["enforce"] == "restricted"
    assert plugins["EventRateLimit"]["limits"]


def test_labels_and_taints_restart_nothing() -> None:
    def digests(**changed: Any) -> dict[str, str]:
        return {node.name: node.digest for node in nodes(K3sSettings.model_validate(cluster(**changed)))}

    labelled = [MIG, {**L4, "labels": {"zone": "a"}, "taints": [{"key": "k", "effect": "NoSchedule"}]}]
    assert digests(node_pools=labelled) == digests()
    assert all(new != digests()[name] for name, new in digests(version="v1.36.4+k3s1").items())


def test_a_password_belongs_to_the_endpoint_that_asks_for_it() -> None:
    registries = {"docker.io": Registry(endpoint="https://mirror.example:5000", username="u", password="p")}
    assert yaml.safe_load(registries_file(registries, {"docker.io": "p"})) == {
        "mirrors": {"docker.io": {"endpoint": ["https://mirror.example:5000"]}},
        "configs": {"mirror.example:5000": {"auth": {"username": "u", "password": "p"}}},
    }
    assert registries_file({}, {}) == ""


@pytest.mark.parametrize(
    ("output", "seen"),
    [
        ("ab12\n\nk3s version v1.36.3+k3s1 (abc)\ngo version go1.25\n", Observation("ab12", "v1.36.3+k3s1")),
        ("\n", Observation(None, None)),
        ("ab12\n\n", Observation(None, None)),
        ("\nk3s version v1.36.3+k3s1 (abc)\n", Observation(None, "v1.36.3+k3s1")),
    ],
)
def test_a_host_without_k3s_or_without_its_mark_is_made_anew(output: str, seen: Observation) -> None:
    assert read(output) == seen


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    with ssh_server(tmp_path) as running:
        yield running


def look(found: Host, key: str, user: str = "ops") -> Observation:
    ssh = Ssh(user=user, private_key=key)
    return asyncio.run(observe({"gpu-1": found}, ssh, key))["gpu-1"]


def test_a_host_is_looked_at_over_ssh(server: SshServer) -> None:
    found = Host(address="127.0.0.1", port=server.port, host_key=server.host_key)
    assert look(found, server.private_key) == Observation(None, None)


def test_why_a_host_cannot_be_talked_to_is_one_sentence_with_a_remedy(server: SshServer) -> None:
    right = Host(address="127.0.0.1", port=server.port, host_key=server.host_key)
    other = public(asyncssh.generate_private_key("ssh-ed25519"))
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    wrong = look(right.model_copy(update={"host_key": other}), server.private_key)
    assert (wrong.reachable, wrong.refused) == (False, True)
    assert "gpu-1 at 127.0.0.1 shows another host key" in str(wrong.reason)
    assert f"ssh-keyscan -p {server.port} 127.0.0.1" in str(wrong.reason)
    denied = look(right, stranger)
    assert denied.refused
    assert "does not let the user ops in with this key" in str(denied.reason)
    refused = look(right.model_copy(update={"port": 1}), server.private_key)
    assert (refused.reachable, refused.refused) == (False, False)
    assert "refuses connections on port 1; start its SSH server" in str(refused.reason)
    unknown = look(right.model_copy(update={"address": "no-such-host.invalid"}), server.private_key)
    assert "gpu-1 at no-such-host.invalid cannot be reached" in str(unknown.reason)
    for seen in (wrong, denied, refused, unknown):
        assert "\n" not in str(seen.reason)


def test_a_bastion_is_gone_through_and_its_key_is_checked(server: SshServer) -> None:
    found = Host(address="127.0.0.1", port=server.port, host_key=server.host_key)
    bastion = {"address": "127.0.0.1", "port": server.port, "host_key": server.host_key}
    ssh = Ssh.model_validate({"user": "ops", "private_key": server.private_key, "bastion": bastion})
    assert asyncio.run(observe({"gpu-1": found}, ssh, server.private_key))["gpu-1"].reachable
    assert server.forwarded == [server.port]
    other = public(asyncssh.generate_private_key("ssh-ed25519"))
    ssh = Ssh.model_validate({"user": "ops", "private_key": server.private_key, "bastion": {**bastion, "host_key": other}})
    seen = asyncio.run(observe({"gpu-1": found}, ssh, server.private_key))["gpu-1"]
    assert "gpu-1: the bastion at 127.0.0.1 shows another host key" in str(seen.reason)


def test_the_doctor_reports_what_the_preflight_finds_and_why_it_found_nothing(server: SshServer) -> None:
    one = {"rack-1": {"address": "127.0.0.1", "port": server.port, "host_key": server.host_key}}
    ssh = {"user": "root", "private_key": server.private_key, "sudo": False}
    server.user = "root"
    made = K3sSettings.model_validate(cluster(servers=one, node_pools=[], ssh=ssh))
    (report,) = asyncio.run(examine(made, server.private_key))
    assert {"system", "kernel", "clock"} <= {finding.check for finding in report.findings}
    broken = K3sSettings.model_validate(cluster(servers={"rack-1": {**one["rack-1"], "port": 1}}, node_pools=[], ssh=ssh))
    (report,) = asyncio.run(examine(broken, server.private_key))
    (finding,) = report.findings
    assert not report.healthy
    assert (finding.verdict, finding.check) == (Verdict.FAULT, "ssh")
    assert finding.remedy.startswith("start its SSH server")
