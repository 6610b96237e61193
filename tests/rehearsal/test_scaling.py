"""Who says how many servers there are: real objects, a real API server and its own autoscaler; KEDA simulated."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pulumi
import pulumi_kubernetes as k8s
import pytest
import yaml

from components.scaling import Autoscaler, KedaController, ScaledKind, ScalerKind
from components.scaling.autoscaler import AutoscalerArgs
from components.scaling.groups import Targets
from components.scaling.queries import triggers
from components.serving import LeaderWorkerSetController, ModelServer
from components.serving.config import ModelServerArgs
from components.types import NodePoolArgs, TaintEffect
from components.versions import VLLM
from sandbox.control_plane import ControlPlane, NodeGroup
from sandbox.toolchain import ensure
from tests.rehearsal.kubernetes_support import Api, Program, StackUnderTest
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

GROUPS = [
    NodeGroup(name="cpu", cpu=16, memory="64Gi"),
    NodeGroup(name="gpu", count=4, instance_type="p5.48xlarge", device_plugin="builtin"),
]
"""Four nodes of eight GPUs, and one for the controllers."""
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SETS = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/default/leaderworkersets"
PODS = "/api/v1/namespaces/default/pods"
POOL: NodePoolArgs = {
    "name": "gpu",
    "accelerator": {"resource": "nvidia.com/gpu", "per_node": 8},
    "max_nodes": 4,
    "labels": {"node.kubernetes.io/instance-type": "p5.48xlarge"},
    "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": TaintEffect.NO_SCHEDULE}],
}
SERVER: ModelServerArgs = {
    "model_name": "qwen",
    "model_path": "s3://models/qwen",
    "weights_gib": 5.2,
    "namespace_name": "default",
    "pool": POOL,
    "max_model_len": 8192,
    "load": {"format": "runai_streamer"},
}


def program(
    plane: ControlPlane, autoscaler: dict[str, Any] | None = None, controllers: Sequence[Any] = (), **server: Any
) -> Program:
    """A server, what scales it, and what these need."""
    kubeconfig = plane.kubeconfig.read_text()

    def declare() -> None:
        provider = k8s.Provider("cluster", kubeconfig=kubeconfig, cluster_identifier="test")
        here = pulumi.ResourceOptions(providers=[provider])
        before = [each(each.__name__.lower(), {"namespace_name": "default"}, here) for each in controllers]
        after = pulumi.ResourceOptions(providers=[provider], depends_on=before)
        made = ModelServer("qwen", cast(ModelServerArgs, SERVER | server), after)
        if autoscaler is not None:
            args = {"model_name": "qwen", "namespace_name": "default", "server_name": made.server_name, "start_seconds": 60}
            Autoscaler("qwen", cast(AutoscalerArgs, args | autoscaler), after)

    return declare


def one(api: Api, path: str = DEPLOYMENTS) -> dict[str, Any]:
    (found,) = (item for item in api.call("GET", path)["items"] if item["metadata"]["name"].startswith("qwen"))
    return dict(found)


def scale(api: Api, replicas: int, path: str = DEPLOYMENTS) -> None:
    """As an autoscaler does it: by the subresource, under a name of its own."""
    name = one(api, path)["metadata"]["name"]
    api.call("PATCH", f"{path}/{name}/scale", {"spec": {"replicas": replicas}}, fieldManager="kube-controller-manager")


def pods(api: Api) -> dict[str, str]:
    """Names and identities of the server's pods that stay."""
    found = api.call("GET", PODS, labelSelector="app.kubernetes.io/instance=qwen")["items"]
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in found if "deletionTimestamp" not in pod["metadata"]}


def autoscalers(api: Api) -> list[dict[str, Any]]:
    """The HorizontalPodAutoscalers of the model."""
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    return list(api.call("GET", path, labelSelector="app.kubernetes.io/name=autoscaler,app.kubernetes.io/instance=qwen")["items"])


def test_scaling_is_switched_on_and_off_under_a_running_model(
    control_plane: ControlPlane, api: Api, stack: StackUnderTest
) -> None:
    fixed, scaled = program(control_plane, replicas=2), program(control_plane, max_replicas=4)
    assert stack.up(fixed).succeeded
    before = pods(api)
    assert len(before) == 2

    switched = stack.up(scaled)
    assert switched.succeeded, switched.errors
    assert switched.operations["qwen-server"] == ["update"], "the annotation tells the most"
    assert one(api)["spec"]["replicas"] == 2, "given back, the number would have become 1"
    assert pods(api) == before

    scale(api, 3)
    eventually(lambda: len(pods(api)) == 3 and one(api)["status"].get("readyReplicas") == 3)
    again = stack.up(scaled)
    assert set(again.operations["qwen-server"]) == {"same"}, again.changed
    assert stack.preview(scaled, refresh=True, expect_no_changes=True).succeeded
    assert stack.refresh(scaled).outcomes["qwen-server"] == "same"
    assert one(api)["spec"]["replicas"] == 3
    changed = stack.up(program(control_plane, max_replicas=3))
    assert changed.operations["qwen-server"] == ["update"]
    assert one(api)["spec"]["replicas"] == 3, "another change leaves the autoscaler's number alone"
    assert set(before.items()) <= set(pods(api).items())

    off = stack.up(fixed)
    assert off.succeeded, off.errors
    assert one(api)["spec"]["replicas"] == 2
    scale(api, 1)
    assert stack.refresh(fixed).outcomes["qwen-server"] == "update", "without an autoscaler another number is drift"
    assert stack.up(fixed).succeeded
    assert one(api)["spec"]["replicas"] == 2


def test_an_autoscaler_of_kubernetes_owns_the_number_until_it_goes(
    control_plane: ControlPlane, api: Api, stack: StackUnderTest
) -> None:
    args = {"kind": ScalerKind.HPA, "targets": {"cpu": 0.7}, "min_replicas": 2, "max_replicas": 3}
    scaled = program(control_plane, args, max_replicas=3)
    made = stack.up(scaled)
    assert made.succeeded, made.errors
    eventually(lambda: one(api)["spec"]["replicas"] == 2)
    again = stack.up(scaled)
    assert {operation for each in again.operations.values() for operation in each} == {"same"}, again.changed
    # It goes last, and would scale another number once more (docs/scaling.md).
    gone = stack.up(program(control_plane, replicas=2))
    assert gone.succeeded, gone.errors
    assert gone.operations["qwen-autoscaler"] == ["delete"]
    assert one(api)["spec"]["replicas"] == 2
    fewer = stack.up(program(control_plane, replicas=1))
    assert fewer.succeeded, fewer.errors
    assert one(api)["spec"]["replicas"] == 1


def test_keda_scales_by_what_prometheus_says_and_holds_when_it_says_nothing(
    control_plane: ControlPlane, api: Api, stack: StackUnderTest
) -> None:
    scaled_objects = "/apis/keda.sh/v1alpha1/namespaces/default/scaledobjects"
    args = {
        "targets": {"waiting": 4, "running": 100},
        "max_replicas": 3,
        "scale_down_seconds": 0,
        "prometheus_url": "http://prometheus.monitoring.svc:9090",
    }
    scaled = program(control_plane, args, [KedaController], max_replicas=3)

    def say(**values: Any) -> None:
        told = {"metadata": {"annotations": {"llm-platform.rehearsal/metrics": json.dumps(values)}}}
        api.call("PATCH", f"{scaled_objects}/qwen", told)

    made = stack.up(scaled)
    assert made.succeeded, made.errors
    found = api.call("GET", f"{scaled_objects}/qwen")
    assert {"type": "Ready", "status": "True"}.items() <= next(
        each for each in found["status"]["conditions"] if each["type"] == "Ready"
    ).items()
    assert found["status"]["hpaName"] == "keda-hpa-qwen"
    before = pods(api)
    assert len(before) == 1
    say(**{"s0-prometheus": 7, "s1-prometheus": 20})
    eventually(lambda: one(api)["spec"]["replicas"] == 2)
    again = stack.up(scaled)
    assert set(again.operations["qwen-server"]) == {"same"}, again.changed
    assert set(again.operations["qwen-autoscaler"]) == {"same"}, again.changed
    assert stack.refresh(scaled).outcomes["qwen-server"] == "same"
    assert before.items() <= pods(api).items()
    say(**{"s0-prometheus": "error", "s1-prometheus": "error"})
    eventually(lambda: one(api)["spec"]["replicas"] == 2)
    say(**{"s0-prometheus": 0, "s1-prometheus": 20})
    eventually(lambda: one(api)["spec"]["replicas"] == 1)
    gone = stack.destroy()
    assert gone.succeeded, gone.errors


@pytest.mark.long
def test_the_kind_of_an_autoscaler_changes_under_a_running_model(
    control_plane: ControlPlane, api: Api, stack: StackUnderTest
) -> None:
    by_keda = {"targets": {"waiting": 4}, "prometheus_url": "http://prometheus.monitoring.svc:9090"}
    by_cpu = {"kind": ScalerKind.HPA, "targets": {"cpu": 0.7}}
    servers: dict[str, str] = {}
    for kind, name, owners in (
        (by_keda, "keda-hpa-qwen", ["ScaledObject"]),
        (by_cpu, "qwen", []),
        (by_keda, "keda-hpa-qwen", ["ScaledObject"]),
    ):
        scaled = program(control_plane, {"min_replicas": 2, "max_replicas": 3, **kind}, [KedaController], max_replicas=3)
        switched = stack.up(scaled)
        assert switched.succeeded, switched.errors
        # By its labels, as the runbooks look for it; of KEDA's the garbage collector takes the one whose ScaledObject went.
        eventually(lambda name=name: [each["metadata"]["name"] for each in autoscalers(api)] == [name], 60)  # type: ignore[misc]
        (found,) = autoscalers(api)
        assert [owner["kind"] for owner in found["metadata"].get("ownerReferences", [])] == owners
        eventually(lambda: one(api)["spec"]["replicas"] == 2 and len(pods(api)) == 2)
        assert servers.items() <= pods(api).items(), "no server goes for it"
        servers = pods(api)
        again = stack.up(scaled)
        assert {operation for each in again.operations.values() for operation in each} == {"same"}, again.changed


def test_groups_over_nodes_are_scaled_as_one(control_plane: ControlPlane, api: Api, stack: StackUnderTest) -> None:
    two_nodes = {"parallelism": {"tensor": 8, "pipeline": 2}}
    fixed = program(control_plane, None, [LeaderWorkerSetController], **two_nodes)
    args = {"kind": ScalerKind.HPA, "targets": {"cpu": 0.7}, "max_replicas": 2, "scales": ScaledKind.LEADER_WORKER_SET}
    scaled = program(control_plane, args, [LeaderWorkerSetController], max_replicas=2, **two_nodes)
    assert stack.up(fixed).succeeded
    before = pods(api)
    switched = stack.up(scaled)
    assert switched.succeeded, switched.errors
    assert pods(api) == before
    scale(api, 2, SETS)
    eventually(lambda: len(pods(api)) == 4)
    again = stack.up(scaled)
    assert set(again.operations["qwen-server"]) == {"same"}, again.changed
    assert one(api, SETS)["spec"]["replicas"] == 2
    assert before.items() <= pods(api).items()


def test_what_keda_asks_is_answered_as_it_is_meant(tmp_path: Path) -> None:
    of = '{namespace="models",model_name="qwen",pod="%s"%s}'
    here = ["a", "b"]
    targets = Targets(waiting=4, running=100, kv_usage=0.8, time_to_first_token=2)
    asked = {found.name: found.query for found in triggers(targets, "qwen", "models", VLLM)}

    def series(name: str, values: str, more: str = "") -> list[dict[str, str]]:
        return [{"series": name + of % (pod, more), "values": values} for pod in here]

    gauges = [
        *series("vllm:num_requests_waiting", "3x20"),
        *series("vllm:num_requests_running", "40 80 40 80x17"),
        *series("vllm:kv_cache_usage_perc", "0.5x20", ',engine="0"'),
        *series("vllm:kv_cache_usage_perc", "0.7x20", ',engine="1"'),
    ]
    buckets = [
        *series("vllm:time_to_first_token_seconds_bucket", "0+9x20", ',le="1.0"'),
        *series("vllm:time_to_first_token_seconds_bucket", "0+10x20", ',le="2.0"'),
        *series("vllm:time_to_first_token_seconds_bucket", "0+10x20", ',le="+Inf"'),
    ]
    quiet = [{**each, "values": "10x20"} for each in buckets]
    elsewhere = [{**each, "series": each["series"].replace("qwen", "other")} for each in gauges]
    expected: list[tuple[list[dict[str, str]], dict[str, float | None]]] = [
        (gauges + buckets, {"waiting": 6, "running": 140, "kv-usage": 1.2, "time-to-first-token": 1.5}),
        (gauges + quiet, {"time-to-first-token": 0}),
        (elsewhere + quiet, dict.fromkeys(asked)),
    ]
    tests = [
        {
            "interval": "30s",
            "input_series": given,
            "promql_expr_test": [
                {
                    "expr": asked[name],
                    "eval_time": "2m",
                    "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
                }
                for name, value in answers.items()
            ],
        }
        for given, answers in expected
    ]
    file = tmp_path / "scalers.yaml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "30s", "tests": tests}))
    done = subprocess.run(
        [ensure(("promtool",))["promtool"], "test", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
