"""A namespace comes into Istio's mesh and leaves it on a real API server, which takes the objects and changes nothing twice."""

from functools import partial
from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.ordering import known_after
from components.routing.istio_controller import IstioController
from components.routing.istio_mesh import NAMESPACE_LABELS
from components.routing.mesh import Mesh
from components.security.namespace import Namespace, PodSecurityLevel
from sandbox.control_plane import ControlPlane, NodeGroup
from sandbox.providers.kubernetes.client import ApiError
from tests.rehearsal.kubernetes_support import Api, StackUnderTest, options

pytestmark = pytest.mark.rehearsal

GROUPS = [NodeGroup(name="system", count=1, cpu=8, memory="16Gi")]
OBJECTS = "/apis/security.istio.io/v1/namespaces/models"


def program(plane: ControlPlane, *, mesh: bool) -> None:
    provider = k8s.Provider("cluster", kubeconfig=plane.kubeconfig.read_text(), cluster_identifier="test")
    here = options(provider)
    names = {
        name: Namespace(
            name,
            {"namespace_name": name, "level": PodSecurityLevel.RESTRICTED, "kubernetes_version": "1.36"},
            opts=here,
        ).namespace_name
        for name in ("controllers", "models", "apps")
    }
    control = IstioController(
        "istio", {"namespace_name": names["controllers"], "ztunnel_namespace_name": "istio-system"}, opts=here
    )
    if mesh:
        for name in ("models", "apps"):
            joined: pulumi.Output[str] = known_after(names[name], control.chart_version)
            Mesh(name, {"namespace_name": joined, "has_servers": name == "models"}, opts=here)


def test_a_namespace_comes_into_the_mesh_and_leaves_it(control_plane: ControlPlane, tmp_path: Path, pulumi_bin: Path) -> None:
    api, stack = (
        Api(control_plane.kubeconfig),
        StackUnderTest(tmp_path, pulumi_bin, environment={"LLM_PLATFORM_AWAIT_SECONDS": "60"}),
    )
    without, within = (partial(program, control_plane, mesh=mesh) for mesh in (False, True))
    try:
        assert (first := stack.up(without)).succeeded, first.errors
        before = {name: _labels(api, name) for name in ("models", "apps")}
        assert (joined := stack.up(within)).succeeded, joined.errors
        assert {name: _labels(api, name) for name in before} == {name: before[name] | NAMESPACE_LABELS for name in before}
        [peers] = api.call("GET", f"{OBJECTS}/peerauthentications")["items"]
        [ports] = api.call("GET", f"{OBJECTS}/authorizationpolicies")["items"]
        assert (peers["spec"]["mtls"], ports["spec"]["action"]) == ({"mode": "STRICT"}, "ALLOW")
        peers["spec"]["mtls"]["mode"] = "ALWAYS"
        with pytest.raises(ApiError, match="ALWAYS"):
            api.call("PUT", f"{OBJECTS}/peerauthentications/{peers['metadata']['name']}", peers)
        assert (again := stack.up(within)).succeeded, again.errors
        assert {operation for each in again.operations.values() for operation in each} == {"same"}
        assert (left := stack.up(without)).succeeded, left.errors
        assert {name: _labels(api, name) for name in before} == before
        assert api.call("GET", f"{OBJECTS}/peerauthentications")["items"] == []
    finally:
        stack.destroy()


def _labels(api: Api, namespace: str) -> dict[str, str]:
    found: dict[str, str] = api.call("GET", f"/api/v1/namespaces/{namespace}")["metadata"]["labels"]
    return found
