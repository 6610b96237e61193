"""A model that moves from TGI to vLLM on a real API server: both stand beside each other, and nobody is without an answer."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.security import Namespace, PodSecurityLevel
from components.serving import ModelServer
from components.serving.config import ModelServerArgs
from components.serving.tgi import TgiServer, TgiServerArgs
from components.types import NodePoolArgs, TaintEffect
from sandbox.control_plane import ControlPlane, NodeGroup
from tests.rehearsal.kubernetes_support import Api, Program, Run, StackUnderTest

pytestmark = pytest.mark.rehearsal

GROUPS = [NodeGroup(name="gpu", count=1, instance_type="p5.48xlarge", device_plugin="builtin")]
"""One node of eight GPUs."""
SPACE = "/api/v1/namespaces/models"
POOL: NodePoolArgs = {
    "name": "gpu",
    "accelerator": {"resource": "nvidia.com/gpu", "per_node": 8},
    "max_nodes": 1,
    "labels": {"node.kubernetes.io/instance-type": "p5.48xlarge"},
    "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": TaintEffect.NO_SCHEDULE}],
}


def program(plane: ControlPlane, *engines: str, **more: Any) -> Program:
    """The engines of one model in a restricted namespace, with a volume for its files."""
    kubeconfig = plane.kubeconfig.read_text()

    def declare() -> None:
        provider = k8s.Provider("cluster", kubeconfig=kubeconfig, cluster_identifier="test")
        here = pulumi.ResourceOptions(provider=provider)
        space = Namespace(
            "models", {"namespace_name": "models", "level": PodSecurityLevel.RESTRICTED, "kubernetes_version": "1.36"}, here
        )
        claim = _cache(space.namespace_name, here)
        if "tgi" in engines:
            tgi: TgiServerArgs = {
                "model_name": "llama-tgi",
                "model_path": "/models/llama",
                "weights_gib": 15.0,
                "namespace_name": space.namespace_name,
                "claim_name": claim,
                "pool": POOL,
                "max_total_tokens": 8192,
            }
            tgi |= more  # type: ignore[typeddict-item]
            pulumi.export("tgi", TgiServer("llama-tgi", tgi, here).url)
        if "vllm" in engines:
            vllm: ModelServerArgs = {
                "model_name": "llama",
                "model_path": "/models/llama",
                "weights_gib": 15.0,
                "namespace_name": space.namespace_name,
                "claim_name": claim,
                "pool": POOL,
                "max_model_len": 8192,
            }
            pulumi.export("vllm", ModelServer("llama", vllm, here).url)

    return declare


def _cache(namespace: pulumi.Output[str], here: pulumi.ResourceOptions) -> pulumi.Output[str]:
    volume = k8s.core.v1.PersistentVolume(
        "cache",
        metadata={"name": "cache"},
        spec={
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "models",
            "hostPath": {"path": "/var/lib/models"},
        },
        opts=here,
    )
    claim = k8s.core.v1.PersistentVolumeClaim(
        "cache",
        metadata={"name": "cache", "namespace": namespace},
        spec={
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "models",
            "volumeName": volume.metadata["name"],
            "resources": {"requests": {"storage": "20Gi"}},
        },
        opts=pulumi.ResourceOptions(provider=here.provider),
    )
    name: pulumi.Output[str] = claim.metadata["name"]
    return name


def _answer(api: Api, service: str) -> set[str]:
    """Pods that answer behind a Service."""
    path = "/apis/discovery.k8s.io/v1/namespaces/models/endpointslices"
    slices = api.call("GET", path, labelSelector=f"kubernetes.io/service-name={service}")["items"]
    endpoints = (endpoint for each in slices for endpoint in each.get("endpoints") or ())
    return {endpoint["targetRef"]["name"] for endpoint in endpoints if endpoint["conditions"]["ready"]}


def _up(stack: StackUnderTest, program: Program) -> Run:
    run = stack.up(program)
    assert run.succeeded, run.errors
    return run


def _touched(run: Run) -> set[str]:
    """Resources that an update did not leave as they were, by their logical names."""
    return {name for name, done in run.operations.items() if set(done) != {"same"}}


def test_a_model_moves_from_tgi_to_vllm(stack: StackUnderTest, control_plane: ControlPlane, api: Api) -> None:
    first = _up(stack, program(control_plane, "tgi"))
    [before] = _answer(api, "llama-tgi")
    assert sum("archived in March 2026" in warning for warning in first.warnings) == 1
    again = _up(stack, program(control_plane, "tgi"))
    assert _touched(again) == set(), again.changed

    both = _up(stack, program(control_plane, "tgi", "vllm"))
    assert _touched(both) >= {"llama-server", "llama-service"}
    assert not [name for name in _touched(both) if "tgi" in name], both.changed
    assert _answer(api, "llama-tgi") == {before}, "a second engine touched the first"
    assert len(_answer(api, "llama")) == 1

    _up(stack, program(control_plane, "vllm"))
    assert len(_answer(api, "llama")) == 1
    assert api.find(f"{SPACE}/services/llama-tgi") is None
    left = [pod for pod in api.call("GET", f"{SPACE}/pods")["items"] if "deletionTimestamp" not in pod["metadata"]]
    assert [pod["metadata"]["labels"]["app.kubernetes.io/name"] for pod in left] == ["vllm"]


def test_other_arguments_roll_its_pods_alone(stack: StackUnderTest, control_plane: ControlPlane, api: Api) -> None:
    _up(stack, program(control_plane, "tgi", spare_accelerators=7))
    [before] = _answer(api, "llama-tgi")
    rolled = _up(stack, program(control_plane, "tgi", spare_accelerators=7, max_total_tokens=4096))
    [after] = _answer(api, "llama-tgi")
    assert after != before
    assert _touched(rolled) == {"llama-tgi-server"}, rolled.changed


def test_an_engine_is_not_exchanged_under_the_name_of_another(
    stack: StackUnderTest, control_plane: ControlPlane, api: Api
) -> None:
    _up(stack, program(control_plane, "tgi", model_name="llama"))
    before = _answer(api, "llama")
    run = stack.up(program(control_plane, "vllm"))
    assert not run.succeeded
    assert any("cannot create Service models/llama: it exists already" in error for error in run.errors), run.errors
    assert _answer(api, "llama") == before, "the old engine stopped to answer"
