"""The stack `onprem` as it lives: a rack becomes a cluster with models, loses hosts, changes, breaks, is mended and goes.

The tests follow each other on one lab; each leaves a stack that is up.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.serving.verification.objects import is_ready
from sandbox.hosts import Fault, Lab
from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(os.geteuid() != 0, reason="hosts are rehearsed as root: SSH servers with users of their own in a chroot"),
]

CLUSTER = "llm-platform:cluster"
NEWER = "v1.36.4+k3s1"


@pytest.fixture(scope="module", name="project")
def project_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedProject]:
    """The stack, not up yet."""
    project = RehearsedProject.make(ROOT, tmp_path_factory.mktemp("onprem"), "onprem")
    try:
        yield project
    finally:
        project.run("reset")


@pytest.fixture(scope="module", name="lab")
def lab_fixture(project: RehearsedProject) -> Lab:
    """Its hosts."""
    return Lab("onprem", project.root / ".sandbox" / "labs")


def _nodes(project: RehearsedProject) -> dict[str, dict[str, Any]]:
    with project.api() as api:
        return {node["metadata"]["name"]: node for node in api.items("/api/v1/nodes")}


def _steps(project: RehearsedProject) -> set[str]:
    """The commands a preview would run again, without the name of the cluster."""
    return {name.removeprefix("Command cluster-") for name in project.changes() if name.startswith("Command ")}


def _pool(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    return lambda config: change(config[CLUSTER]["nodePools"][name])


@pytest.mark.parametrize(
    ("host", "fault", "said"),
    [
        ("gpu-1", Fault.SSH_REFUSED, r"gpu-1 .*refuses connections on port 22; start its SSH server"),
        pytest.param(
            "gpu-1",
            Fault.WRONG_HOST_KEY,
            r"gpu-1 .*shows another host key than the stack has for it.*ssh-keyscan",
            marks=pytest.mark.long,
        ),
        pytest.param("rack-2", Fault.SUDO_MISSING, r"rack-2: there is no sudo; install it", marks=pytest.mark.long),
        pytest.param("gpu-2", Fault.DISK_FULL, r"gpu-2: .*GiB .*free", marks=pytest.mark.long),
        pytest.param(
            "rack-1",
            Fault.OLD_KERNEL,
            r"rack-1: its kernel is 4\.4\.0-210-generic .* needs 5\.8; upgrade",
            marks=pytest.mark.long,
        ),
        ("gpu-2", Fault.DRIVER_TOO_OLD, r"gpu-2: .*driver.* 535.*580"),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, Fault) else None,
)
def test_a_host_that_cannot_be_used_is_told_before_any_is_changed(
    host: str, fault: Fault, said: str, project: RehearsedProject, lab: Lab
) -> None:
    project.run("preview")  # the lab runs from now on
    lab.break_(host, fault)
    try:
        code, output = project.run("up")
    finally:
        lab.mend(host)
    assert code == 1
    assert re.search(said, output), output
    assert "Traceback" not in output
    assert lab.leaks() == []


def test_an_up_that_breaks_in_the_middle_goes_on(project: RehearsedProject, lab: Lab) -> None:
    """Downloads on the second server fail, and after that the first server's k3s dies while the others join."""
    lab.break_("rack-2", Fault.DOWNLOAD)
    code, output = project.run("up")
    lab.mend("rack-2")
    assert code == 1
    assert re.search(r"rack-2: .*download", output), output
    lab.break_("rack-1", Fault.POWER_LOST, program="k3s", at=2)
    project.run("up")
    lab.mend("rack-1")
    project.succeed("up")
    assert sorted(_nodes(project)) == ["gpu-1", "gpu-2", "rack-1", "rack-2", "rack-3"]


def test_the_second_up_changes_nothing(project: RehearsedProject) -> None:
    assert project.changes() == {}


def test_nodes_are_what_the_stack_says(project: RehearsedProject) -> None:
    nodes = _nodes(project)
    assert {name: node["status"]["nodeInfo"]["kubeletVersion"] for name, node in nodes.items()} == dict.fromkeys(
        nodes, "v1.36.3+k3s1"
    )
    assert nodes["gpu-1"]["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert nodes["gpu-2"]["status"]["allocatable"]["nvidia.com/mig-3g.40gb"] == "16"
    assert "nvidia.com/gpu" not in nodes["gpu-2"]["status"]["allocatable"]
    for name, pool in (("gpu-1", "l40s"), ("gpu-2", "h100")):
        assert nodes[name]["metadata"]["labels"]["llm-platform/pool"] == pool
        assert [taint["key"] for taint in nodes[name]["spec"]["taints"]] == ["nvidia.com/gpu"]


def test_models_run_where_their_accelerators_are(project: RehearsedProject) -> None:
    with project.api() as api:
        pods = api.items("/api/v1/namespaces/models/pods", selector="app.kubernetes.io/component=model-server")
        classes = [found["metadata"]["name"] for found in api.items("/apis/node.k8s.io/v1/runtimeclasses")]
    assert "nvidia" in classes
    found = sorted((pod["metadata"]["labels"]["app.kubernetes.io/instance"], pod["spec"]["nodeName"]) for pod in pods)
    assert found == [("qwen2-5-7b", "gpu-2")] * 2 + [("qwen3-32b", "gpu-1")] * 2
    assert all(is_ready(pod) and pod["spec"]["runtimeClassName"] == "nvidia" for pod in pods)
    assert "ok" in project.succeed("verify")


def test_no_secret_is_where_others_read_it(project: RehearsedProject, lab: Lab) -> None:
    token = (lab.tree("rack-1") / "etc/rancher/k3s/token").read_text().strip()
    key = lab.key_file.read_text().splitlines()[2]
    kubeconfig = (lab.tree("rack-1") / "etc/rancher/k3s/k3s.yaml").read_text()
    client_key = yaml.safe_load(kubeconfig)["users"][0]["user"]["client-key-data"][:60]
    secrets = (token, key, client_key)
    state = (project.root / ".sandbox/state/.pulumi/stacks/llm-platform/onprem.json").read_text()
    told = [state, project.succeed("preview"), "\n".join(" ".join(call.arguments) for call in lab.calls())]
    told += [(project.root / f".sandbox/workspaces/{file}").read_text() for file in ("onprem/stacks/Pulumi.onprem.yaml",)]
    assert [secret[:6] for secret in secrets for text in told if secret in text] == []
    readable = [
        str(path)
        for host in ("rack-1", "rack-2", "gpu-1")
        for path in _files(lab.tree(host))
        if path.stat().st_mode & 0o044 and any(secret in path.read_text(errors="replace") for secret in secrets)
    ]
    assert readable == []


def _files(tree: Path) -> Iterator[Path]:
    for top in ("etc", "var/lib/rancher", "tmp", "var/log", "run"):
        yield from (path for path in (tree / top).rglob("*") if path.is_file() and not path.is_symlink())


@pytest.mark.long
def test_a_host_that_restarted_is_as_before(project: RehearsedProject, lab: Lab) -> None:
    lab.reboot("gpu-2")
    project.succeed("refresh")
    assert project.changes() == {}
    assert _nodes(project)["gpu-2"]["status"]["allocatable"]["nvidia.com/mig-3g.40gb"] == "16"


@pytest.mark.long
def test_a_host_that_cannot_be_reached_is_left_alone(project: RehearsedProject, lab: Lab) -> None:
    lab.break_("gpu-1", Fault.UNREACHABLE)
    try:
        assert _steps(project) == set()
        assert "whether gpu-1 is still as it was made is not known" in project.succeed("preview")
    finally:
        lab.mend("gpu-1")


@pytest.mark.long
@pytest.mark.parametrize("host", ["gpu-1", "rack-1"])
def test_a_host_that_was_wiped_is_made_a_node_again(host: str, project: RehearsedProject, lab: Lab) -> None:
    before = _nodes(project)[host]["metadata"]["uid"]
    lab.wipe(host)
    steps = _steps(project)
    assert {f"{host}-prepare", f"{host}-node", f"{host}-settle"} <= steps
    assert all(step.startswith(host) for step in steps)
    project.succeed("up")
    node = _nodes(project)[host]
    assert node["metadata"]["uid"] != before
    assert any(condition["type"] == "Ready" and condition["status"] == "True" for condition in node["status"]["conditions"])
    assert project.changes() == {}


@pytest.mark.long
def test_a_newer_release_goes_from_host_to_host(project: RehearsedProject) -> None:
    """At no time are two nodes away, and the servers go first."""
    project.edit(lambda config: config[CLUSTER].update(version=NEWER))
    with project.api() as api:
        begun = api.get("/api/v1/nodes")["metadata"]["resourceVersion"]
    changed = project.changes()
    assert {kind for name, kind in changed.items() if not name.startswith("Command ")} <= {"update"}
    project.succeed("up")
    events = project.events("/api/v1/nodes", begun)
    order: list[str] = []
    away: dict[str, bool] = {}
    for event in events:
        node = event["object"]
        name = node["metadata"]["name"]
        away[name] = bool(node["spec"].get("unschedulable"))
        assert sum(away.values()) <= 1
        if node["status"]["nodeInfo"]["kubeletVersion"] == NEWER and name not in order:
            order.append(name)
    assert sorted(order[:3]) == ["rack-1", "rack-2", "rack-3"]
    assert sorted(order) == ["gpu-1", "gpu-2", "rack-1", "rack-2", "rack-3"]
    assert project.changes() == {}


@pytest.mark.long
def test_there_is_no_way_back(project: RehearsedProject) -> None:
    project.edit(lambda config: config[CLUSTER].update(version="v1.36.3+k3s1"))
    code, output = project.run("preview")
    project.edit(lambda config: config[CLUSTER].update(version=NEWER))
    assert code == 1
    assert f"runs {NEWER}, and etcd does not go back; use {NEWER} or newer" in output


@pytest.mark.long
def test_a_host_that_leaves_the_stack_is_drained_and_left_as_it_was_found(project: RehearsedProject, lab: Lab) -> None:
    def leave(config: dict[str, Any]) -> None:
        del config[CLUSTER]["nodePools"]["l40s"]
        del config["llm-platform:models"]["qwen3-32b"]
        config["sandbox:hosts"].pop("gpu-1", None)

    project.edit(leave)
    project.succeed("up")
    assert "gpu-1" not in _nodes(project)
    assert not [leak for leak in lab.leaks() if leak.startswith("gpu-1")]
    drained = [call.arguments for call in lab.calls() if call.program == "k3s" and "drain" in call.arguments]
    assert any("gpu-1" in arguments for arguments in drained)
    assert project.changes() == {}


def test_down_leaves_the_hosts_as_they_were_found(project: RehearsedProject, lab: Lab) -> None:
    output = project.succeed("down")
    assert "The stack onprem is down: no object, process or port is left." in output
    assert project.processes() == []
    assert not lab.key_file.exists()


@pytest.mark.long
def test_a_rack_without_internet_behind_a_bastion(tmp_path: Path) -> None:
    """One server and one GPU host, which reach nothing but each other, and are reached through a third."""

    def edit(config: dict[str, Any]) -> None:
        cluster = config[CLUSTER]
        cluster["servers"] = {"rack-1": cluster["servers"]["rack-1"]}
        del cluster["nodePools"]["h100"]
        del config["llm-platform:models"]["qwen2-5-7b"]
        bastion = {"address": "192.0.2.1", "hostKey": cluster["servers"]["rack-1"]["hostKey"]}
        cluster.update(mirror="/srv/k3s", ssh={**cluster["ssh"], "bastion": bastion})
        alone = {"internet": False, "mirror": {"directory": "/srv/k3s", "k3s": "v1.36.3+k3s1"}}
        config["sandbox:hosts"] = {"rack-1": alone, "gpu-1": alone}

    project = RehearsedProject.make(ROOT, tmp_path, "onprem")
    project.edit(edit)
    lab = Lab("onprem", project.root / ".sandbox" / "labs")
    try:
        project.succeed("up")
        assert sorted(_nodes(project)) == ["gpu-1", "rack-1"]
        assert project.changes() == {}
        assert not [call for call in lab.calls() if call.program == "curl" and any("github" in word for word in call.arguments)]
        project.succeed("down")
    finally:
        project.run("reset")
