"""The controllers of traffic on a control plane: they come up where Pod Security is strict, and leave what Helm leaves."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.ordering import known_after
from components.routing.aws_load_balancer_controller import aws_load_balancer_values
from components.routing.cert_manager import CertManager
from components.routing.envoy_gateway_controller import CONTROLLER_NAME, EnvoyGatewayController
from components.routing.istio_controller import IstioController
from components.routing.istio_ingress import PODS, IstioIngress
from components.routing.private_ca import PrivateCa
from components.versions import AWS_LOAD_BALANCER_CONTROLLER
from sandbox.control_plane import ControlPlane, NodeGroup
from tests.rehearsal.kubernetes_support import Api, Program, Run, StackUnderTest, options
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

SYSTEM = {"pool": "system"}
GROUPS = [NodeGroup(name="system", cpu=16, memory="64Gi", labels=SYSTEM), NodeGroup(name="other", cpu=16, memory="64Gi")]
NAMES = (
    *("gateway-helm", "cert-manager", "webhook", "cainjector"),
    *("istiod", "istio-ingressgateway", "aws-load-balancer-controller"),
)
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def program(plane: ControlPlane) -> Program:
    def run() -> None:
        provider = k8s.Provider("cluster", kubeconfig=plane.kubeconfig.read_text(), cluster_identifier="test")
        here = options(provider)
        controllers, gateway = (
            k8s.core.v1.Namespace(
                name,
                metadata={"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
                opts=here,
            ).metadata["name"]
            for name in ("controllers", "gateway")
        )
        issuing = CertManager("certificates", {"namespace_name": controllers, "system_labels": SYSTEM}, opts=here)
        PrivateCa("authority", {"namespace_name": known_after(gateway, issuing.chart_version)}, opts=here)
        envoy = EnvoyGatewayController(
            "envoy",
            {"namespace_name": gateway, "watched_namespace_names": ["default"], "system_labels": SYSTEM},
            opts=here,
        )
        k8s.apiextensions.CustomResource(
            "class",
            api_version="gateway.networking.k8s.io/v1",
            kind="GatewayClass",
            metadata={"name": "llm"},
            spec={"controllerName": known_after(CONTROLLER_NAME, envoy.chart_version)},
            opts=here,
        )
        istio = IstioController("istio", {"namespace_name": controllers, "system_labels": SYSTEM}, opts=here)
        ingress = IstioIngress(
            "ingress",
            {"namespace_name": known_after(gateway, istio.chart_version), "system_labels": SYSTEM},
            opts=here,
        )
        k8s.apiextensions.CustomResource(
            "gateway-of-istio",
            api_version="networking.istio.io/v1",
            kind="Gateway",
            metadata={"name": "llm", "namespace": known_after(gateway, ingress.chart_version)},
            spec={"selector": PODS, "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]},
            opts=here,
        )
        k8s.helm.v3.Release(
            "balancers",
            name="aws-load-balancer-controller",
            chart="aws-load-balancer-controller",
            version=AWS_LOAD_BALANCER_CONTROLLER,
            namespace=controllers,
            values=aws_load_balancer_values(SYSTEM, "prod", "eu-central-1", "vpc-1"),
            opts=options(provider, custom_timeouts=pulumi.CustomTimeouts(create="60s", update="60s", delete="60s")),
        )

    return run


def done(run: Run) -> Run:
    assert run.succeeded, run.errors
    return run


def running(api: Api) -> dict[str, set[str]]:
    """The nodes on which pods are ready, by what the pods are called."""
    found: dict[str, set[str]] = {}
    for pod in api.call("GET", "/api/v1/pods")["items"]:
        if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", [])):
            found.setdefault(pod["metadata"]["labels"]["app.kubernetes.io/name"], set()).add(pod["spec"]["nodeName"])
    return found


def groups(api: Api) -> set[str]:
    return {each["spec"]["group"] for each in api.call("GET", CRDS)["items"]}


def test_all_controllers_come_up_and_leave_what_helm_leaves(stack: StackUnderTest, api: Api, control_plane: ControlPlane) -> None:
    whole = program(control_plane)
    done(stack.up(whole))
    eventually(lambda: running(api) == {name: {"system-0"} for name in NAMES})
    assert _named(api, "/apis/gateway.networking.k8s.io/v1/gatewayclasses") == ["llm"]
    assert _named(api, "/apis/networking.istio.io/v1/namespaces/gateway/gateways") == ["llm"]
    assert len(_named(api, "/apis/cert-manager.io/v1/namespaces/gateway/issuers")) == 2
    again = done(stack.up(whole))
    assert {name: what for name, what in again.operations.items() if what != ["same"]} == {}

    before = groups(api)
    assert before >= {"gateway.networking.k8s.io", "gateway.envoyproxy.io", "cert-manager.io", "networking.istio.io"}
    done(stack.destroy())
    assert api.call("GET", "/apis/apps/v1/deployments")["items"] == []
    assert groups(api) == before, "with definitions everybody's objects would go"


def _named(api: Api, path: str) -> list[Any]:
    return [each["metadata"]["name"] for each in api.call("GET", path)["items"]]
