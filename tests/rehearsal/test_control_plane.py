"""One control plane is started for the module, tried as its users use it, and then broken in every way it must survive."""

import base64
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from sandbox.control_plane import ControlPlane, NodeGroup, Status
from sandbox.control_plane.api import Api
from sandbox.control_plane.components import BINARIES
from sandbox.control_plane.pki import Pki
from sandbox.errors import SandboxError
from sandbox.project import Rehearsal
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

PROJECT = Path(__file__).parents[2]
SERVING = "/api/v1/namespaces/serving"
PLUGIN_IMAGE = "nvcr.io/nvidia/k8s-device-plugin:v0.17.1"
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
SECURE_CONTAINER = {
    "image": "registry.example/app:1",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


def node_groups(declared: list[dict[str, object]]) -> tuple[NodeGroup, ...]:
    return Rehearsal.read({"sandbox:nodes": declared}, "test").nodes


NODES = node_groups(
    [
        {"name": "gpu", "instanceType": "g6.xlarge", "taints": [GPU_TAINT], "zone": "us-east-1a"},
        {"name": "bottlerocket", "instanceType": "g6.xlarge", "taints": [GPU_TAINT], "devicePlugin": "builtin"},
        {"name": "system", "count": 2, "cpu": 4, "memory": "16Gi", "labels": {"pool": "system"}},
    ]
)


@pytest.fixture(scope="module")
def sandbox_root(tmp_path_factory: pytest.TempPathFactory, binaries: Mapping[str, Path]) -> Iterator[Path]:
    """A `.sandbox` directory; every instance in it is deleted at the end, by its recorded pids."""
    root = tmp_path_factory.mktemp("rehearsal") / ".sandbox"
    yield root
    for record in root.glob("*/instance.json"):
        ControlPlane(record.parent.name, root).reset()


@pytest.fixture(scope="module")
def plane(sandbox_root: Path, binaries: Mapping[str, Path]) -> ControlPlane:
    """The control plane most tests share."""
    plane = ControlPlane("main", sandbox_root)
    plane.start(binaries, NODES)
    return plane


@pytest.fixture
def running(plane: ControlPlane, binaries: Mapping[str, Path]) -> Status:
    """It, running with the declared nodes whatever the test before has done to it."""
    return plane.start(binaries, NODES)


@pytest.fixture
def api(plane: ControlPlane, running: Status) -> Iterator[Api]:
    """The administrator's connection, and a namespace `serving` at the level restricted."""
    with connection(plane, running, "admin") as api:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        api.apply(SERVING, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "serving", "labels": labels}})
        eventually(lambda: api.is_there(f"{SERVING}/serviceaccounts/default"))
        yield api


def connection(plane: ControlPlane, status: Status, user: str) -> Api:
    assert status.server
    return Api(status.server, Pki(plane.kubeconfig.parent / "pki"), user)


def pids(status: Status) -> dict[str, int | None]:
    return {process.name: process.pid for process in status.processes}


def is_alive(pid: int | None) -> bool:
    """Not so for a zombie: whether pid 1 reaps it is not our affair."""
    return pid is not None and psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def apply(api: Api, collection: str, api_version: str, kind: str, name: str, **body: Any) -> str:
    path = f"{collection}/{name}"
    metadata = {"name": name} | body.pop("metadata", {})
    api.apply(path, {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body})
    return path


def pod_template(name: str, annotations: Mapping[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", **SECURE_CONTAINER}]
    return {
        "metadata": {"labels": {"app": name}, "annotations": dict(annotations or {})},
        "spec": {"automountServiceAccountToken": False, "containers": containers, **spec},
    }


def deployment(api: Api, name: str, annotations: Mapping[str, str] | None = None, **spec: Any) -> str:
    template = pod_template(name, annotations, **spec)
    body = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    return apply(api, "/apis/apps/v1/namespaces/serving/deployments", "apps/v1", "Deployment", name, spec=body)


def pods(api: Api, app: str) -> list[dict[str, Any]]:
    return api.items(f"{SERVING}/pods", selector=f"app={app}")


def the_pod(api: Api, app: str, is_so: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    return eventually(lambda: next((pod for pod in pods(api, app) if is_so(pod)), {}))


def condition(thing: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return next((entry for entry in thing["status"].get("conditions", []) if entry["type"] == kind), {})


def waiting_reason(pod: Mapping[str, Any]) -> str:
    states = [status["state"] for status in pod["status"].get("containerStatuses", [])]
    return next((state["waiting"]["reason"] for state in states if "waiting" in state), "")


def capacity(plane: ControlPlane, node: str) -> Mapping[str, str]:
    return next(found.capacity for found in plane.status().nodes if found.name == node)


# What it is


def test_status_tells_everything_as_json_and_a_second_start_changes_nothing(
    plane: ControlPlane, running: Status, binaries: Mapping[str, Path]
) -> None:
    again = plane.start(binaries, NODES)
    assert again.state == "running"
    assert pids(again) == pids(running)
    assert None not in pids(again).values()
    assert [node.name for node in again.nodes if node.ready] == ["bottlerocket-0", "gpu-0", "system-0", "system-1"]
    assert json.loads(json.dumps(asdict(again)))["name"] == "main"
    assert "Starting Kubernetes Scheduler" in plane.logs("kube-scheduler")
    assert "==> kwok <==" in plane.logs(lines=1)
    with pytest.raises(SandboxError, match="no component kubelet; use one of etcd, kube-apiserver"):
        plane.logs("kubelet")


def test_only_loopback_is_listened_on_and_only_certificates_let_in(plane: ControlPlane, running: Status) -> None:
    sockets = [
        connection.laddr
        for pid in pids(running).values()
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(sockets) == 3
    assert {address.ip for address in sockets} == {"127.0.0.1"}

    authority = plane.kubeconfig.parent / "pki" / "ca.crt"
    nobody = ssl.create_default_context(cafile=str(authority))
    for path in ("/healthz", "/readyz", "/version", "/api/v1/nodes"):
        assert httpx.get(f"{running.server}{path}", verify=nobody, trust_env=False).status_code == 401
    etcd_port = next(process.port for process in running.processes if process.name == "etcd")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"https://127.0.0.1:{etcd_port}/version", verify=nobody, trust_env=False)


def test_everything_on_disk_is_for_the_owner_only(plane: ControlPlane, running: Status) -> None:
    directory = plane.kubeconfig.parent
    modes = {path: path.stat().st_mode & 0o777 for path in [directory, *directory.rglob("*")]}
    assert {path: oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}


def test_the_kubeconfig_stands_alone_and_is_named_after_the_instance(plane: ControlPlane, running: Status) -> None:
    content = json.loads(plane.kubeconfig.read_text())
    assert content["current-context"] == "llm-platform-main" == plane.context
    assert content["clusters"][0]["cluster"].keys() == {"server", "certificate-authority-data"}
    authority = base64.b64decode(content["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    assert ssl.create_default_context(cadata=authority).get_ca_certs()
    assert content["users"][0]["user"].keys() == {"client-certificate-data", "client-key-data"}


@pytest.mark.parametrize("user", ["kwok", "device-manager"])
def test_helpers_may_do_their_work_and_nothing_else(plane: ControlPlane, running: Status, api: Api, user: str) -> None:
    with connection(plane, running, user) as helper:
        assert helper.items("/api/v1/nodes")
        own = ["/api/v1/configmaps"] if user == "device-manager" else []  # with configurations of device plugins
        for path in {"/api/v1/secrets", "/api/v1/configmaps", "/apis/rbac.authorization.k8s.io/v1/clusterroles"}.difference(own):
            with pytest.raises(SandboxError, match="forbidden"):
                helper.items(path)
        with pytest.raises(SandboxError, match="forbidden"):
            deployment(helper, "intruder")
        with pytest.raises(SandboxError, match="forbidden"):
            helper.delete("/api/v1/nodes/system-0")


def test_secrets_are_encrypted_in_etcd_and_their_bodies_are_in_no_log(plane: ControlPlane, api: Api) -> None:
    body = {"token": "canary-value-in-a-secret"}
    apply(api, f"{SERVING}/secrets", "v1", "Secret", "audited", stringData=body)
    apply(api, f"{SERVING}/configmaps", "v1", "ConfigMap", "audited", data={"flags": "canary-value-in-a-configmap"})
    eventually(lambda: "configmaps/audited" in plane.logs("audit", 200))
    directory = plane.kubeconfig.parent
    assert "secrets/audited" in plane.logs("audit", 200)
    assert all(b"canary" not in log.read_bytes() for log in directory.glob("logs/*"))
    stored = b"".join(path.read_bytes() for path in directory.glob("etcd/member/*/*"))
    assert b"canary-value-in-a-configmap" in stored
    assert b"canary-value-in-a-secret" not in stored
    assert base64.b64encode(b"canary-value-in-a-secret") not in stored


# What runs on it


def test_a_restricted_namespace_refuses_a_hostpath_pod(api: Api) -> None:
    volumes = [{"name": "models", "hostPath": {"path": "/models"}}]
    template = pod_template("host-path", volumes=volumes)
    with pytest.raises(SandboxError, match='violates PodSecurity "restricted:latest": restricted volume types'):
        apply(api, f"{SERVING}/pods", "v1", "Pod", "host-path", **template)


def test_deployments_become_ready_jobs_complete_and_hostpath_claims_bind(api: Api) -> None:
    volume = {
        "capacity": {"storage": "10Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/models"},
        "storageClassName": "node-local",
    }
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "10Gi"}},
        "storageClassName": "node-local",
    }
    apply(api, "/api/v1/persistentvolumes", "v1", "PersistentVolume", "models", spec=volume)
    apply(api, f"{SERVING}/persistentvolumeclaims", "v1", "PersistentVolumeClaim", "models", spec=claim)
    mounted = [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]
    prepare = [{"name": "prepare", **SECURE_CONTAINER}, {"name": "proxy", "restartPolicy": "Always", **SECURE_CONTAINER}]
    deployment(api, "server", volumes=mounted, initContainers=prepare)
    job = pod_template("download", restartPolicy="OnFailure")
    apply(api, "/apis/batch/v1/namespaces/serving/jobs", "batch/v1", "Job", "download", spec={"template": job})

    pod = the_pod(api, "server", lambda pod: condition(pod, "Ready").get("status") == "True")
    assert pod["status"]["podIP"].startswith("10.")
    assert pod["status"]["hostIP"].startswith("10.64.")
    assert [status["name"] for status in pod["status"]["initContainerStatuses"] if "running" in status["state"]] == ["proxy"]
    eventually(lambda: api.items("/apis/apps/v1/namespaces/serving/deployments")[0]["status"].get("availableReplicas") == 1)
    eventually(lambda: condition(api.items("/apis/batch/v1/namespaces/serving/jobs")[0], "Complete").get("status") == "True")
    assert api.items(f"{SERVING}/persistentvolumeclaims")[0]["status"]["phase"] == "Bound"

    api.delete("/apis/apps/v1/namespaces/serving/deployments/server")
    eventually(lambda: not pods(api, "server"))


def test_an_accelerator_is_there_while_its_device_plugin_is_ready(plane: ControlPlane, api: Api) -> None:
    assert "nvidia.com/gpu" not in capacity(plane, "gpu-0")
    assert capacity(plane, "bottlerocket-0")["nvidia.com/gpu"] == "1"

    container = {"name": "main", **SECURE_CONTAINER, "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    on_gpu_node: dict[str, Any] = {"tolerations": [GPU_TOLERATION], "nodeSelector": {"kubernetes.io/hostname": "gpu-0"}}
    deployment(api, "model", containers=[container], **on_gpu_node)
    pod = the_pod(api, "model", lambda pod: condition(pod, "PodScheduled").get("status") == "False")
    assert "Insufficient nvidia.com/gpu" in condition(pod, "PodScheduled")["message"]

    apply(api, "/api/v1/namespaces", "v1", "Namespace", "node-agents")
    eventually(lambda: api.is_there("/api/v1/namespaces/node-agents/serviceaccounts/default"))
    agents = "/apis/apps/v1/namespaces/node-agents/daemonsets"

    def agent(name: str, command: str) -> str:
        privileged = {"name": "main", "image": PLUGIN_IMAGE, "command": [command], "securityContext": {"privileged": True}}
        template = pod_template(name, containers=[privileged], tolerations=[GPU_TOLERATION])
        selector = {"matchLabels": {"app": name}}
        return apply(api, agents, "apps/v1", "DaemonSet", name, spec={"selector": selector, "template": template})

    agent("discovery", "gpu-feature-discovery")
    eventually(lambda: api.items(agents)[0]["status"].get("numberReady", 0) >= 3)
    assert "nvidia.com/gpu" not in capacity(plane, "gpu-0"), "feature discovery comes in the same image, but offers nothing"

    plugin = agent("plugin", "nvidia-device-plugin")
    the_pod(api, "model", lambda pod: condition(pod, "Ready").get("status") == "True")
    assert capacity(plane, "gpu-0")["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in capacity(plane, "system-0")

    api.delete(plugin)
    eventually(lambda: capacity(plane, "gpu-0")["nvidia.com/gpu"] == "0")
    assert capacity(plane, "bottlerocket-0")["nvidia.com/gpu"] == "1"
    api.delete("/api/v1/namespaces/node-agents")


def test_trouble_can_be_rehearsed(api: Api) -> None:
    for outcome in ("crash", "image-pull-error", "never-ready"):
        deployment(api, outcome, {"sandbox.llm-platform/outcome": outcome})
    failing = pod_template("failing", {"sandbox.llm-platform/outcome": "crash"}, restartPolicy="Never")
    jobs = "/apis/batch/v1/namespaces/serving/jobs"
    apply(api, jobs, "batch/v1", "Job", "failing", spec={"backoffLimit": 0, "template": failing})

    crashed = the_pod(api, "crash", lambda pod: waiting_reason(pod) == "CrashLoopBackOff")
    status = crashed["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert "back-off" in status["state"]["waiting"]["message"]
    the_pod(api, "crash", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] > 1)
    pulling = the_pod(api, "image-pull-error", lambda pod: waiting_reason(pod) == "ImagePullBackOff")
    assert "registry.example/app:1" in pulling["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    never = the_pod(api, "never-ready", lambda pod: pod["status"]["phase"] == "Running")
    assert condition(never, "Ready")["reason"] == "ContainersNotReady"
    eventually(lambda: condition(api.items(jobs, selector="")[-1], "Failed").get("status") == "True")
    reasons = {event["reason"] for event in api.items(f"{SERVING}/events")}
    assert {"BackOff", "Failed", "Unhealthy"} <= reasons


def test_a_pod_that_ignores_sigterm_takes_its_whole_grace_period(api: Api) -> None:
    annotations = {"sandbox.llm-platform/outcome": "never-stops", "sandbox.llm-platform/ready-after": "0s"}
    template = pod_template("stubborn", annotations, terminationGracePeriodSeconds=4)
    stubborn = apply(api, f"{SERVING}/pods", "v1", "Pod", "stubborn", **template)
    the_pod(api, "stubborn", lambda pod: condition(pod, "Ready").get("status") == "True")
    deleted = time.monotonic()
    api.delete(stubborn)
    eventually(lambda: not api.is_there(stubborn))
    assert 2.5 < time.monotonic() - deleted < 10


def test_nodes_follow_their_declaration(plane: ControlPlane, running: Status, binaries: Mapping[str, Path]) -> None:
    changed = node_groups(
        [
            {"name": "gpu", "count": 2, "instanceType": "g6.12xlarge", "devicePlugin": "builtin"},
            {"name": "system", "cpu": 8, "memory": "16Gi", "labels": {"tier": "new"}},
        ]
    )
    status = plane.start(binaries, changed)
    assert [node.name for node in status.nodes] == ["gpu-0", "gpu-1", "system-0"]
    assert [node.capacity.get("nvidia.com/gpu") for node in status.nodes] == ["4", "4", None]
    assert status.nodes[2].capacity["cpu"] == "8"
    with connection(plane, status, "admin") as api:
        gpu, _, system = api.items("/api/v1/nodes")
    assert "taints" not in gpu["spec"]
    assert gpu["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "g6.12xlarge"
    assert "topology.kubernetes.io/zone" not in gpu["metadata"]["labels"]
    assert system["metadata"]["labels"]["tier"] == "new"
    assert "pool" not in system["metadata"]["labels"]
    assert pids(status) == pids(running)


# What it survives


def test_a_killed_process_shows_and_start_repairs_it(plane: ControlPlane, api: Api, binaries: Mapping[str, Path]) -> None:
    apply(api, f"{SERVING}/configmaps", "v1", "ConfigMap", "kept", data={"key": "value"})
    before = pids(plane.status())
    for name in ("etcd", "kwok"):
        psutil.Process(before[name]).kill()
    eventually(lambda: [process.name for process in plane.status().processes if not process.running] == ["etcd", "kwok"])
    assert plane.status().state == "degraded"

    repaired = plane.start(binaries, NODES)
    assert repaired.state == "running"
    assert {name for name, pid in pids(repaired).items() if pid != before[name]} == {"etcd", "kwok"}
    eventually(lambda: all(node.ready for node in plane.status().nodes))
    assert api.is_there(f"{SERVING}/configmaps/kept")


def test_a_taken_port_is_replaced_in_the_kubeconfig_too(
    plane: ControlPlane, running: Status, binaries: Mapping[str, Path]
) -> None:
    assert running.server
    port = int(running.server.rpartition(":")[2])
    plane.stop()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        moved = plane.start(binaries, NODES)
    assert moved.state == "running"
    assert moved.server != running.server
    assert json.loads(plane.kubeconfig.read_text())["clusters"][0]["cluster"]["server"] == moved.server


def test_instances_run_side_by_side_and_outlive_the_shell_and_two_starts_at_once(
    plane: ControlPlane, running: Status, binaries: Mapping[str, Path]
) -> None:
    program = (
        "import json, sys; from pathlib import Path; from sandbox.control_plane import ControlPlane, NodeGroup\n"
        "binaries = {name: Path(path) for name, path in json.loads(sys.argv[2]).items()}\n"
        "ControlPlane('other', Path(sys.argv[1])).start(binaries, [NodeGroup(name='only', cpu='2', memory='4Gi')])\n"
    )
    paths = json.dumps({name: str(binaries[name]) for name in BINARIES})
    root = plane.kubeconfig.parents[1]
    starts = [subprocess.Popen([sys.executable, "-c", program, str(root), paths], cwd=PROJECT) for _ in range(2)]
    assert [start.wait(timeout=600) for start in starts] == [0, 0]

    other = ControlPlane("other", root)
    status = other.status()
    assert status.state == "running"
    assert [node.name for node in status.nodes] == ["only-0"]
    assert plane.status().state == "running"
    assert {process.pid for process in status.processes}.isdisjoint(pids(running).values())
    assert {process.port for process in status.processes if process.port}.isdisjoint(
        process.port for process in running.processes if process.port
    )

    ports = [process.port for process in status.processes if process.port]
    # Held by their start time: a number may soon be another process's.
    held = [psutil.Process(process.pid) for process in status.processes]
    other.stop()
    assert other.status().state == "stopped"
    assert not any(process.is_running() and is_alive(process.pid) for process in held)
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
    assert plane.status().state == "running"
    other.reset()
    assert not other.kubeconfig.parent.exists()
    assert other.status().state == "stopped"


def test_a_full_disk_is_said_in_one_sentence_and_nothing_is_left_running(tmp_path: Path, binaries: Mapping[str, Path]) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        plane = ControlPlane("full", small / ".sandbox")
        with pytest.raises(SandboxError, match="no space left on device"):
            plane.start(binaries, [NodeGroup(name="only", cpu="2", memory="4Gi")])
        assert plane.status().state == "stopped"
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def test_a_missing_binary_is_named(sandbox_root: Path, binaries: Mapping[str, Path]) -> None:
    some = {name: path for name, path in binaries.items() if name != "kwok"}
    with pytest.raises(SandboxError, match="needs kwok, not found"):
        ControlPlane("missing", sandbox_root).start(some, NODES)
