"""Policies on a real API server: it takes all of them as they are, keeps them as they are, and a client is one change."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest

from components.accelerators.profiles import Owner, Vendor
from components.accelerators.rules import Support
from components.base import PACKAGE
from components.cluster.contract import ApiServer, WorkloadIdentity
from components.security import NetworkPolicySet
from components.security.network import NetworkPolicyArgs
from components.security.network.flows import ModelFlows, model_policies, server, tenant_policies
from components.security.network.platform_flows import ControllerFlows, StoreFlows, agent_policies, controller_policies
from components.security.network.reachability import Outside, Pod, reaches
from components.security.network.surroundings import Peer, Surroundings
from components.security.network.world import world
from components.serving.groups import MultiNode
from tests.rehearsal.kubernetes_support import Api, Program, StackUnderTest

pytestmark = pytest.mark.rehearsal

CLIENT = Peer("shop", {"app": "web"})
AROUND = Surroundings(
    api_server=ApiServer.anywhere_private(),
    gateway=Peer("edge", {"app": "gateway"}),
    scraper=Peer("monitoring", {}),
    mirrors=["10.0.8.0/24"],
    identity=WorkloadIdentity.POD_IDENTITY,
    aws=["10.40.0.0/16"],
    controllers="controllers",
)
MODELS = [
    ModelFlows(name="qwen"),
    ModelFlows(name="stream", streams=True, uses_bucket=True, from_internet=False),
    ModelFlows(name="seer", media=True, verified=False),
    ModelFlows(name="wide", multi_node=MultiNode.LEADER_WORKER_SET),
    ModelFlows(name="rays", multi_node=MultiNode.RAY_SERVICE),
]
POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"


def _namespaces(clients: list[Peer]) -> dict[str, dict[str, NetworkPolicyArgs]]:
    """By namespace the policies of everything the platform has."""
    # Only a deployment tells the addresses of S3.
    around = replace(AROUND, s3=pulumi.Output.from_input(["52.216.0.0/15", "2600:1fa0::/36"]))
    models = [replace(model, clients=clients) if model.name == "qwen" else model for model in MODELS]
    kept = ControllerFlows(
        leader_worker_set=True,
        ray_models=[server("rays", "models")],
        external_secrets=StoreFlows(),
        sealed_secrets=True,
    )
    supports = [
        Support(vendor=Vendor.NVIDIA, owner=Owner.OPERATOR, pools=()),
        Support(vendor=Vendor.NEURON, owner=Owner.DEVICE_PLUGIN, pools=()),
    ]
    return {
        "models": model_policies(models, around),
        "team": {**model_policies([ModelFlows(name="theirs")], around), **tenant_policies(["models", "team"])},
        "agents": agent_policies(supports, around),
        "controllers": controller_policies(kept, around),
    }


def _program(kubeconfig: Path, clients: list[Peer]) -> Program:
    def program() -> None:
        provider = kubernetes.Provider("cluster", kubeconfig=pulumi.Output.secret(kubeconfig.read_text()))
        on_cluster = pulumi.ResourceOptions(provider=provider)
        for name, policies in _namespaces(clients).items():
            made = kubernetes.core.v1.Namespace(name, metadata={"name": name}, opts=on_cluster)
            policies_of = NetworkPolicySet(
                name,
                {
                    "namespace_name": made.metadata["name"],
                    "policies": policies,
                    "dns": {"addresses": ["169.254.20.10"]},
                },
                opts=on_cluster,
            )
            kubernetes.core.v1.ConfigMap(f"after-{name}", metadata={"namespace": policies_of.namespace_name}, opts=on_cluster)

    return program


def _live(api: Api) -> list[dict[str, Any]]:
    return [{"kind": "NetworkPolicy", **policy} for policy in api.call("GET", POLICIES)["items"]]


def test_a_client_is_one_change_and_everything_else_stays(tmp_path: Path, api: Api, pulumi_bin: Path) -> None:
    stack = StackUnderTest(tmp_path, pulumi_bin)
    before, after = _program(api.kubeconfig, []), _program(api.kubeconfig, [CLIENT])
    made = stack.up(before)
    assert made.succeeded, made.errors
    assert not made.warnings
    policies = _live(api)
    # default-deny for each; two for each model, and a third where it is checked.
    assert len(policies) == 4 + (2 * 5 + 4) + (3 + 1) + 2 + 4
    again = stack.preview(before, expect_no_changes=True)
    assert again.succeeded, again.output
    changed = stack.up(after)
    assert {name for name, done in changed.operations.items() if set(done) != {"same"}} == {"models-server-qwen"}
    _the_live_policies_mean_what_was_meant(_live(api))
    assert stack.destroy().succeeded
    assert _live(api) == []


def _the_live_policies_mean_what_was_meant(policies: list[dict[str, Any]]) -> None:
    ours = {"app.kubernetes.io/part-of": PACKAGE, "app.kubernetes.io/name": "vllm"}
    qwen = Pod("qwen", "models", {**ours, "app.kubernetes.io/instance": "qwen"}, ("10.42.0.1",))
    rays = Pod("rays", "models", {**ours, "app.kubernetes.io/instance": "rays"}, ("10.42.0.2",))
    stream = Pod("stream", "models", {**ours, "app.kubernetes.io/instance": "stream"}, ("10.42.0.3",))
    web = Pod("web", "shop", CLIENT.labels, ("10.42.0.4",))
    spoof = Pod("spoof", "attack", CLIENT.labels, ("10.42.0.5",))
    operator = Pod("operator", "controllers", {"app.kubernetes.io/name": "kuberay-operator"}, ("10.42.0.6",))
    there = world(policies, [qwen, rays, stream, web, spoof, operator])
    assert reaches(there, web, qwen, 8000)
    assert not reaches(there, web, stream, 8000)
    assert not reaches(there, spoof, qwen, 8000)
    assert reaches(there, operator, rays, 8265)
    assert not reaches(there, operator, qwen, 8000)
    assert reaches(there, stream, Outside("S3", "52.216.1.1"), 443)
    assert reaches(there, stream, Outside("S3 v6", "2600:1fa0::1"), 443)
    assert not reaches(there, stream, Outside("internet", "8.8.8.8"), 443)
    assert not reaches(there, qwen, Outside("metadata", "169.254.169.254"), 80)
