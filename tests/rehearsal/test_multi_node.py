"""Replicas that span nodes: real releases of both charts, their controllers simulated, scheduled by the real scheduler."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.pods import restricted_container, restricted_pod
from components.serving.controllers import KubeRayOperator, LeaderWorkerSetController
from components.serving.leader_worker_set import together
from components.serving.ray_service import AWAIT_READY, ray_service
from sandbox.control_plane import ControlPlane, NodeGroup
from sandbox.control_plane.contents import objects_in
from sandbox.errors import SandboxError
from tests.rehearsal.kubernetes_support import Api, Program, StackUnderTest
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

GROUPS = [
    NodeGroup(name="cpu", cpu=16, memory="64Gi"),
    NodeGroup(name="gpu-a", count=2, instance_type="p5.48xlarge", zone="a", device_plugin="builtin"),
    NodeGroup(name="gpu-b", count=2, instance_type="p5.48xlarge", zone="b", device_plugin="builtin"),
]
"""Two nodes of eight GPUs in each of two zones, and one for the controllers."""
ZONE = "topology.kubernetes.io/zone"
LWS = "leaderworkerset.sigs.k8s.io"
PODS = "/api/v1/namespaces/default/pods"
SETS = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/default/leaderworkersets"
STATEFUL_SETS = "/apis/apps/v1/namespaces/default/statefulsets"
POLICIES = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies"
RECORDS = "/api/v1/namespaces/default/secrets"
AVAILABLE = {"pulumi.com/waitFor": "condition=Available"}


@pytest.fixture(name="stack")
def stack_fixture(tmp_path: Path, pulumi_bin: Path) -> StackUnderTest:
    return StackUnderTest(tmp_path, pulumi_bin)


@pytest.fixture(name="nothing_left")
def nothing_left_fixture(control_plane: ControlPlane) -> Iterator[None]:
    """What the test makes goes with it; the definitions stay, as Helm leaves them, and are the next test's."""
    before = _objects(control_plane)
    yield
    eventually(lambda: _objects(control_plane) == before)


def template(image: str, gpus: int = 8) -> dict[str, Any]:
    engine = {
        "name": "engine",
        "image": image,
        "args": ["/models/r1", "--served-model-name", "r1", "--tensor-parallel-size", "8", "--pipeline-parallel-size", "2"],
        "env": [{"name": "ADDRESS", "value": "tcp://$(LWS_LEADER_ADDRESS):29501"}],
        "ports": [{"name": "http", "containerPort": 8000}],
        "resources": {"requests": {"cpu": "4"}, "limits": {"nvidia.com/gpu": str(gpus)}},
        "securityContext": restricted_container(),
    }
    pod = {"containers": [engine], "securityContext": restricted_pod(), "terminationGracePeriodSeconds": 2}
    return {"metadata": {"labels": {"app.kubernetes.io/name": "r1"}}, "spec": pod}


def group(image: str, replicas: int = 1, size: int = 2, **rollout: int) -> dict[str, Any]:
    return {
        "replicas": replicas,
        "rolloutStrategy": {
            "type": "RollingUpdate",
            "rollingUpdateConfiguration": {"maxSurge": 0, "maxUnavailable": 1, **rollout},
        },
        "leaderWorkerTemplate": {"size": size, "workerTemplate": together(template(image), ZONE)},
    }


def program(
    plane: ControlPlane,
    controller: Any,
    kind: str,
    spec: Callable[[], dict[str, Any]],
    wait: dict[str, str],
    limit_s: int = 60,
) -> Program:
    """A stack of a chart's component and one object for its controller."""
    kubeconfig = plane.kubeconfig.read_text()

    def declare() -> None:
        provider = k8s.Provider("cluster", kubeconfig=kubeconfig, cluster_identifier="test")
        options = pulumi.ResourceOptions(providers=[provider])
        limits = pulumi.CustomTimeouts(create=f"{limit_s}s", update=f"{limit_s}s")
        installed = controller("controller", {"namespace_name": "default"}, options)
        k8s.apiextensions.CustomResource(
            "replicas",
            api_version="ray.io/v1" if kind == "RayService" else "leaderworkerset.x-k8s.io/v1",
            kind=kind,
            metadata={"name": "r1", "namespace": "default", "annotations": wait},
            spec=spec(),
            opts=pulumi.ResourceOptions(provider=provider, depends_on=[installed], custom_timeouts=limits),
        )

    return declare


@pytest.mark.usefixtures("nothing_left")
def test_a_group_comes_up_restarts_rolls_and_goes_as_one(control_plane: ControlPlane, api: Api, stack: StackUnderTest) -> None:
    def declared(image: str) -> Program:
        return program(control_plane, LeaderWorkerSetController, "LeaderWorkerSet", lambda: group(image), AVAILABLE)

    made = stack.up(declared("engine:1"))
    assert made.succeeded, made.errors
    pods = _pods(api)
    assert list(pods) == ["r1-0", "r1-0-1"]
    assert all(_is_ready(pod) for pod in pods.values()), "the wait ended before the group was there"
    assert len({pod["spec"]["nodeName"] for pod in pods.values()}) == 2
    zones = {_node(api, pod)["metadata"]["labels"][ZONE] for pod in pods.values()}
    assert len(zones) == 1, "the scheduler spreads a group over zones where nothing keeps it together"
    environments = [{each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]} for pod in pods.values()]
    assert [found["LWS_WORKER_INDEX"] for found in environments] == ["0", "1"]
    assert {(found["LWS_LEADER_ADDRESS"], found["LWS_GROUP_SIZE"]) for found in environments} == {("r1-0.r1.default", "2")}
    assert list(environments[1])[-1] == "ADDRESS", "a variable may only use those in front of it"
    assert {pod["metadata"]["labels"][f"{LWS}/group-index"] for pod in pods.values()} == {"0"}
    service = api.call("GET", "/api/v1/namespaces/default/services/r1")
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert set(stack.up(declared("engine:1")).operations["replicas"]) == {"same"}

    api.call("DELETE", f"{PODS}/r1-0-1")
    eventually(lambda: _is_new(api, pods))
    pods = _pods(api)

    rolled = stack.up(declared("engine:2"))
    assert rolled.succeeded, rolled.errors
    assert rolled.operations["replicas"] == ["update"]
    assert _is_new(api, pods)
    assert {pod["spec"]["containers"][0]["image"] for pod in _pods(api).values()} == {"engine:2"}
    status = api.call("GET", f"{SETS}/r1")["status"]
    assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (1, 1, 1)
    assert _conditions(status) == {"Available": "True", "Progressing": "False", "UpdateInProgress": "False"}

    gone = stack.destroy()
    assert gone.succeeded, gone.errors
    eventually(lambda: not api.call("GET", POLICIES)["items"])


@pytest.mark.usefixtures("nothing_left")
def test_a_group_that_finds_no_room_says_so(control_plane: ControlPlane, stack: StackUnderTest) -> None:
    failed = stack.up(
        program(
            control_plane, LeaderWorkerSetController, "LeaderWorkerSet", lambda: group("engine:1", size=3), AVAILABLE, limit_s=6
        )
    )
    assert not failed.succeeded
    assert any("pod r1-0-" in error and "didn't match pod affinity rules" in error for error in failed.errors), failed.errors
    assert stack.destroy().succeeded


@pytest.mark.usefixtures("nothing_left", "lws_definitions")
def test_groups_are_replaced_one_at_a_time_and_scaled(api: Api) -> None:
    """Behind the provider's back: what the controller does between two groups."""
    _install(api, "lws-0.10.0")
    _declare(api, group("engine:1", replicas=2, size=1))
    eventually(lambda: sorted(_pods(api)) == ["r1-0", "r1-1"] and _available(api))
    before = _pods(api)

    _declare(api, group("engine:2", replicas=2, size=1))
    eventually(lambda: api.call("GET", f"{SETS}/r1")["status"].get("updatedReplicas") == 1)
    ready = [name for name, pod in _pods(api).items() if _is_ready(pod)]
    assert "r1-0" in ready
    assert _pods(api)["r1-0"]["metadata"]["uid"] == before["r1-0"]["metadata"]["uid"], (
        "the last group is the first to be replaced"
    )
    eventually(lambda: _available(api) and _is_new(api, before))

    _declare(api, group("engine:2", replicas=3, size=1))
    eventually(lambda: sorted(_pods(api)) == ["r1-0", "r1-1", "r1-2"] and _available(api))
    _declare(api, group("engine:3", replicas=3, size=1, maxSurge=1, maxUnavailable=0))
    eventually(lambda: "r1-3" in _pods(api))
    eventually(lambda: sorted(_pods(api)) == ["r1-0", "r1-1", "r1-2"] and _available(api))
    assert {pod["spec"]["containers"][0]["image"] for pod in _pods(api).values()} == {"engine:3"}
    api.call("DELETE", f"{SETS}/r1")
    eventually(lambda: not _pods(api))
    _uninstall(api, "lws-0.10.0")


@pytest.mark.usefixtures("nothing_left", "lws_definitions")
def test_without_the_chart_nothing_comes_and_nothing_restarts(api: Api) -> None:
    _declare(api, group("engine:1"))
    time.sleep(2)
    assert api.call("GET", STATEFUL_SETS)["items"] == []
    assert "status" not in api.call("GET", f"{SETS}/r1")

    _install(api, "lws-0.10.0")
    eventually(lambda: _available(api))
    _uninstall(api, "lws-0.10.0")
    eventually(lambda: not api.call("GET", POLICIES)["items"])
    before = _pods(api)
    api.call("DELETE", f"{PODS}/r1-0-1")
    eventually(lambda: (now := _pods(api).get("r1-0-1")) and now["metadata"]["uid"] != before["r1-0-1"]["metadata"]["uid"])
    time.sleep(2)
    assert _pods(api)["r1-0"]["metadata"]["uid"] == before["r1-0"]["metadata"]["uid"]
    api.call("DELETE", f"{SETS}/r1")
    eventually(lambda: not _pods(api))


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.long
def test_a_ray_service_answers_moves_to_a_new_cluster_and_goes(
    control_plane: ControlPlane, api: Api, stack: StackUnderTest
) -> None:
    def declared(image: str) -> Program:
        def spec() -> dict[str, Any]:
            made = ray_service(template(image), image=image, ray_version="2.55.0", nodes=2)
            return made | {"rayClusterDeletionDelaySeconds": 0}

        return program(control_plane, KubeRayOperator, "RayService", spec, AWAIT_READY)

    made = stack.up(declared("ray:1"))
    assert made.succeeded, made.errors
    pods = _pods(api)
    kinds = {pod["metadata"]["labels"]["ray.io/node-type"]: pod for pod in pods.values()}
    assert sorted(kinds) == ["head", "worker"]
    assert len({pod["spec"]["nodeName"] for pod in pods.values()}) == 2
    for pod in pods.values():
        environment = {each["name"]: each for each in pod["spec"]["containers"][0]["env"]}
        assert environment["RAY_AUTH_MODE"]["value"] == "token"
        secret = environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
        assert api.find(f"{RECORDS}/{secret['name']}"), "the token is there"
    [serve] = [each for each in _named(api, "services") if each["metadata"]["name"] == "r1-serve-svc"]
    assert [port["port"] for port in serve["spec"]["ports"]] == [8000]
    assert set(stack.up(declared("ray:1")).operations["replicas"]) == {"same"}

    moved = stack.up(declared("ray:2"))
    assert moved.succeeded, moved.errors
    cluster = api.call("GET", "/apis/ray.io/v1/namespaces/default/rayservices/r1")["status"]["activeServiceStatus"]
    serving = _named(api, "services", "r1-serve-svc")["spec"]["selector"]["ray.io/cluster"]
    assert serving == cluster["rayClusterName"] != kinds["head"]["metadata"]["labels"]["ray.io/cluster"]
    eventually(lambda: {pod["spec"]["containers"][0]["image"] for pod in _pods(api).values()} == {"ray:2"})

    gone = stack.destroy()
    assert gone.succeeded, gone.errors


@pytest.fixture(name="lws_definitions")
def lws_definitions_fixture(control_plane: ControlPlane, tmp_path: Path, pulumi_bin: Path) -> None:
    """The definitions of the chart, which outlive its release."""
    stack = StackUnderTest(tmp_path / "definitions", pulumi_bin)
    kubeconfig = control_plane.kubeconfig.read_text()

    def declare() -> None:
        provider = k8s.Provider("cluster", kubeconfig=kubeconfig, cluster_identifier="test")
        LeaderWorkerSetController("controller", {"namespace_name": "default"}, pulumi.ResourceOptions(providers=[provider]))

    assert stack.up(declare).succeeded
    assert stack.destroy().succeeded


def _install(api: Api, chart: str) -> None:
    """Records a release, as the emulated provider does."""
    release = "llm-platform.rehearsal/helm-release"
    metadata = {"name": f"helm-release-{chart}", "labels": {release: "true"}, "annotations": {f"{release}-chart": chart}}
    api.call("POST", RECORDS, {"metadata": metadata})


def _uninstall(api: Api, chart: str) -> None:
    api.call("DELETE", f"{RECORDS}/helm-release-{chart}")


def _declare(api: Api, spec: dict[str, Any]) -> None:
    body = {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": {"name": "r1"}, "spec": spec}
    if api.find(f"{SETS}/r1"):
        api.call("PATCH", f"{SETS}/r1", {"spec": spec})
    else:
        api.call("POST", SETS, body, fieldValidation="Strict")


def _pods(api: Api) -> dict[str, dict[str, Any]]:
    return {pod["metadata"]["name"]: pod for pod in api.call("GET", PODS)["items"]}


def _named(api: Api, collection: str, name: str = "") -> Any:
    found = api.call("GET", f"/api/v1/namespaces/default/{collection}{f'/{name}' if name else ''}")
    return found if name else found["items"]


def _node(api: Api, pod: dict[str, Any]) -> dict[str, Any]:
    return api.call("GET", f"/api/v1/nodes/{pod['spec']['nodeName']}")


def _is_ready(obj: dict[str, Any]) -> bool:
    return _conditions(obj.get("status") or {}).get("Ready") == "True"


def _conditions(status: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in status.get("conditions") or []}


def _available(api: Api) -> bool:
    live = api.call("GET", f"{SETS}/r1")
    status = live.get("status") or {}
    return status.get("observedGeneration") == live["metadata"]["generation"] and _conditions(status).get("Available") == "True"


def _is_new(api: Api, before: dict[str, dict[str, Any]]) -> bool:
    """Whether every pod of a name is another than before, and ready."""
    now = _pods(api)
    return now.keys() == before.keys() and all(
        _is_ready(pod) and pod["metadata"]["uid"] != before[name]["metadata"]["uid"] for name, pod in now.items()
    )


def _objects(plane: ControlPlane) -> set[str] | None:
    """Everything somebody put into the cluster; None while the server makes up its mind about definitions that have changed."""
    with plane.connect() as connection:
        try:
            return set(objects_in(connection))
        except SandboxError:
            return None
