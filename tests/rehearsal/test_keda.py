"""The stand-in of KEDA: a ScaledObject becomes an autoscaler by which the real controller-manager scales."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pulumi
import pulumi_kubernetes as k8s
import pytest

from sandbox.control_plane import ControlPlane, NodeGroup
from sandbox.controllers.keda_objects import FORCED, METRICS, PAUSED, PAUSED_REPLICAS
from tests.rehearsal.kubernetes_support import Api, Program, Run, StackUnderTest, deployment_spec, options
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

GROUPS = [NodeGroup(name="system", cpu=16, memory="64Gi")]
AUTOSCALERS = "/apis/autoscaling/v2/namespaces/models/horizontalpodautoscalers"
LEADER_WORKER_SETS = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/models/leaderworkersets"
API_SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io"
AT_ONCE = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 1}]}
WAITING = {
    "type": "prometheus",
    "name": "waiting",
    "metadata": {"serverAddress": "http://prometheus.monitoring.svc:9090", "query": "sum(waiting)", "threshold": "4"},
}


def spec(name: str, **more: Any) -> dict[str, Any]:
    return {
        "scaleTargetRef": {"name": name},
        "minReplicaCount": 1,
        "maxReplicaCount": 5,
        "advanced": {"horizontalPodAutoscalerConfig": {"name": name, "behavior": {"scaleDown": AT_ONCE, "scaleUp": AT_ONCE}}},
        "triggers": [WAITING],
        **more,
    }


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, pulumi_bin: Path, control_plane: ControlPlane) -> Iterator[StackUnderTest]:
    """KEDA stays from test to test, and goes with the last one."""
    made = StackUnderTest(tmp_path_factory.mktemp("stack"), pulumi_bin)
    yield made
    done(made.destroy())
    left = Api(control_plane.kubeconfig)
    assert left.find("/api/v1/namespaces/models") is None
    assert left.find(API_SERVICE) is None
    made.assert_no_error_escaped()


@pytest.fixture
def program(control_plane: ControlPlane) -> Callable[..., Program]:
    def with_scaler(name: str, wanted: dict[str, Any], *charts: str) -> Program:
        def run() -> None:
            provider = k8s.Provider("cluster", kubeconfig=control_plane.kubeconfig.read_text(), cluster_identifier="test")
            limits = pulumi.CustomTimeouts(create="60s", update="60s", delete="60s")
            rooms = {
                room: k8s.core.v1.Namespace(room, metadata={"name": room}, opts=options(provider))
                for room in ("controllers", "models")
            }
            releases = [
                k8s.helm.v3.Release(
                    chart,
                    chart=chart,
                    version={"keda": "2.20.2", "lws": "0.10.0"}[chart],
                    name=chart,
                    namespace=rooms["controllers"].metadata["name"],
                    opts=options(provider, custom_timeouts=limits),
                )
                for chart in ("keda", *charts)
            ]
            server = k8s.apps.v1.Deployment(
                f"{name}-server",
                metadata={"name": name, "namespace": rooms["models"].metadata["name"]},
                spec=deployment_spec(name),
                opts=options(provider, ignore_changes=["spec.replicas"]),
            )
            k8s.apiextensions.CustomResource(
                f"{name}-scaler",
                api_version="keda.sh/v1alpha1",
                kind="ScaledObject",
                metadata={"name": name, "namespace": "models"},
                spec=wanted,
                opts=options(provider, depends_on=[*releases, server], custom_timeouts=limits),
            )

        return run

    return with_scaler


def done(run: Run) -> Run:
    assert run.succeeded, run.errors
    return run


class Scaled:
    """A ScaledObject and the Deployment of its name, as the test sees them."""

    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self._path = f"/apis/keda.sh/v1alpha1/namespaces/models/scaledobjects/{name}"
        self._server = f"/apis/apps/v1/namespaces/models/deployments/{name}"

    def load(self, value: float | str | None) -> None:
        """What the trigger reads from now on."""
        self.annotate({METRICS: None if value is None else json.dumps({"waiting": value})})

    def annotate(self, annotations: Mapping[str, str | None]) -> None:
        self._api.call("PATCH", self._path, {"metadata": {"annotations": dict(annotations)}})

    @property
    def replicas(self) -> int:
        return int(self._api.call("GET", self._server)["spec"]["replicas"])

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self._api.call("GET", self._path).get("status", {})
        return found

    @property
    def conditions(self) -> dict[str, str]:
        return {each["type"]: each["status"] for each in self.status.get("conditions", [])}


def test_load_becomes_replicas(stack: StackUnderTest, api: Api, program: Callable[..., Program]) -> None:
    whole = program("qwen", spec("qwen"))
    done(stack.up(whole))
    qwen = Scaled(api, "qwen")
    eventually(lambda: qwen.conditions.get("HPAActive") == "True")
    assert qwen.conditions == {"Ready": "True", "Active": "False", "Fallback": "False", "Paused": "False", "HPAActive": "True"}
    found = api.call("GET", f"{AUTOSCALERS}/qwen")
    [owner] = found["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("ScaledObject", "qwen", True)
    assert (found["spec"]["minReplicas"], found["spec"]["maxReplicas"]) == (1, 5)
    served = api.call("GET", API_SERVICE)["spec"]["service"]
    with pytest.raises(httpx.TransportError):  # the API server alone has the certificate it takes to ask
        httpx.get(f"https://127.0.0.1:{served['port']}/apis/external.metrics.k8s.io/v1beta1", verify=False)  # noqa: S501

    qwen.load(11)
    eventually(lambda: qwen.replicas == 3 and qwen.conditions["Active"] == "True")
    qwen.load(100)
    eventually(lambda: qwen.replicas == 5)
    # What the autoscaler did is nobody's change.
    again = done(stack.up(whole))
    assert {name: what for name, what in again.operations.items() if what != ["same"]} == {}
    assert qwen.replicas == 5
    qwen.load(None)
    eventually(lambda: qwen.replicas == 1)

    plain = {key: value for key, value in spec("qwen", maxReplicaCount=2).items() if key != "advanced"}
    done(stack.up(program("qwen", plain)))
    eventually(lambda: api.find(f"{AUTOSCALERS}/qwen") is None)
    renamed = api.call("GET", f"{AUTOSCALERS}/keda-hpa-qwen")["spec"]
    assert renamed["maxReplicas"] == 2
    assert "behavior" not in renamed


def test_a_trigger_that_fails_ends_in_the_fallback(stack: StackUnderTest, api: Api, program: Callable[..., Program]) -> None:
    done(stack.up(program("falling", spec("falling", fallback={"failureThreshold": 2, "replicas": 3}))))
    falling = Scaled(api, "falling")
    falling.load("error")
    eventually(lambda: falling.replicas == 3 and falling.conditions["Fallback"] == "True")
    assert falling.status["health"]["s0-prometheus"]["status"] == "Failing"
    falling.load(4)
    eventually(lambda: falling.replicas == 1 and falling.conditions["Fallback"] == "False")
    done(stack.up(program("falling", spec("falling"))))
    falling.load("error")
    eventually(lambda: (falling.conditions["Ready"], falling.conditions["HPAActive"]) == ("False", "False"))
    assert falling.replicas == 1


def test_zero_pause_and_what_is_wrong(stack: StackUnderTest, api: Api, program: Callable[..., Program]) -> None:
    done(stack.up(program("idle", spec("idle", minReplicaCount=0, cooldownPeriod=1))))
    idle = Scaled(api, "idle")
    eventually(lambda: idle.replicas == 0)
    idle.load(1)
    eventually(lambda: idle.replicas == 1)
    idle.load(None)
    eventually(lambda: idle.replicas == 0)
    idle.annotate({FORCED: "true"})
    eventually(lambda: idle.replicas == 1)
    idle.annotate({FORCED: None, PAUSED_REPLICAS: "4"})
    eventually(lambda: idle.replicas == 4 and api.find(f"{AUTOSCALERS}/idle") is None)
    eventually(lambda: idle.conditions["Paused"] == "True")
    idle.annotate({PAUSED_REPLICAS: None, PAUSED: "false"})
    eventually(lambda: idle.replicas == 0 and idle.conditions["Paused"] == "False")
    assert api.find(f"{AUTOSCALERS}/idle")

    done(stack.up(program("idle", spec("idle", scaleTargetRef={"name": "ide"}))))
    eventually(lambda: idle.conditions["Ready"] == "False")
    said = {each["type"]: each.get("message") for each in idle.status["conditions"]}
    assert said["Ready"] == 'ScaledObject doesn\'t have correct scaleTargetRef specification: deployments.apps "ide" not found'


def test_replicas_that_span_nodes_are_scaled_too(stack: StackUnderTest, api: Api, program: Callable[..., Program]) -> None:
    """The controller-manager scales what it finds by discovery, which it repeats every 30 s."""
    target = {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "name": "wide"}
    done(stack.up(program("wide", spec("wide", scaleTargetRef=target), "lws")))
    wide = Scaled(api, "wide")
    group = {"leaderWorkerTemplate": {"size": 2, "workerTemplate": deployment_spec("wide")["template"]}}
    named = {"apiVersion": target["apiVersion"], "kind": target["kind"], "metadata": {"name": "wide", "namespace": "models"}}
    api.call("POST", LEADER_WORKER_SETS, {**named, "spec": group})
    eventually(lambda: wide.conditions.get("Ready") == "True")
    wide.load(7)

    def running() -> int:
        pods = api.call("GET", "/api/v1/namespaces/models/pods", labelSelector="leaderworkerset.sigs.k8s.io/name=wide")["items"]
        return sum(pod["status"]["phase"] == "Running" for pod in pods)

    eventually(lambda: running() == 4)
    assert api.call("GET", f"{LEADER_WORKER_SETS}/wide")["spec"]["replicas"] == 2
