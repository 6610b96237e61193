"""Exporters on a control plane: where their pods land, what Pod Security says of them, and that they go again."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.accelerators import Vendor, profile
from components.monitoring.exporters import (
    AcceleratorExporter,
    DcgmExporter,
    KubeStateMetrics,
    NodeExporter,
    exporter_targets,
    kube_state_target,
)
from components.types import NodePool
from sandbox.control_plane import ControlPlane, NodeGroup
from sandbox.providers.kubernetes.client import ApiError
from tests.rehearsal.kubernetes_support import Api, Run, StackUnderTest
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

LEVELS = {"node-agents": "privileged", "monitoring": "restricted", "baseline": "baseline"}
NATIVE = (Vendor.AMD, Vendor.GAUDI, Vendor.NEURON, Vendor.REBELLIONS)
KEY = "llm-platform/pool"


def _pool(vendor: Vendor) -> NodePool:
    resource = profile(vendor).resources[0]
    taints = [
        {"key": resource, "value": "present", "effect": "NoSchedule"},
        {"key": "team", "value": "ml", "effect": "NoExecute"},
    ]
    card = {"resource": resource, "per_node": 2}
    asked = {"name": vendor.value, "labels": {KEY: vendor.value}, "taints": taints, "max_nodes": 2, "accelerator": card}
    return NodePool.model_validate(asked)


POOLS = {vendor: [_pool(vendor)] for vendor in (Vendor.NVIDIA, *NATIVE)}


def _group(vendor: Vendor) -> NodeGroup:
    (pool,) = POOLS[vendor]
    taints = [taint.model_dump(mode="json") for taint in pool.taints]
    return NodeGroup.model_validate(
        {"name": vendor.value, "count": 2, "cpu": 32, "memory": "128Gi", "labels": {KEY: vendor.value}, "taints": taints}
    )


GROUPS = [*map(_group, POOLS), NodeGroup(name="system", cpu=8, memory="32Gi", labels={"role": "system"})]
NODES = {f"{group.name}-{index}" for group in GROUPS for index in range(group.count)}


def pods(api: Api, namespace: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    found: list[dict[str, Any]] = api.call("GET", f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)["items"]
    return found


def ready(pod: Mapping[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))


def done(run: Run) -> Run:
    assert run.succeeded, run.errors
    return run


def refused(api: Api, pod: Mapping[str, Any], namespace: str) -> bool:
    """Whether a namespace of this level would refuse the same pod."""
    fresh = {"metadata": {"name": "same", "labels": pod["metadata"]["labels"]}, "spec": dict(pod["spec"])}
    for key in ("serviceAccountName", "serviceAccount", "nodeName"):
        fresh["spec"].pop(key, None)
    try:
        api.call("POST", f"/api/v1/namespaces/{namespace}/pods", body=fresh, dryRun="All")
    except ApiError as error:
        if error.code != 403:
            raise
        return True
    return False


def test_exporters_land_where_they_belong_are_found_there_and_leave_nothing(
    stack: StackUnderTest, api: Api, control_plane: ControlPlane
) -> None:
    def program() -> None:
        provider = k8s.Provider("cluster", kubeconfig=control_plane.kubeconfig.read_text(), cluster_identifier="test")
        there = pulumi.ResourceOptions(provider=provider)
        names = {
            name: k8s.core.v1.Namespace(
                name, metadata={"name": name, "labels": {"pod-security.kubernetes.io/enforce": level}}, opts=there
            ).metadata["name"]
            for name, level in LEVELS.items()
        }
        agents: pulumi.Output[str] = names["node-agents"]
        DcgmExporter("dcgm", {"namespace_name": agents, "pools": [pool.args() for pool in POOLS[Vendor.NVIDIA]]}, there)
        for vendor in NATIVE:
            pools = [pool.args() for pool in POOLS[vendor]]
            AcceleratorExporter(vendor.value, {"namespace_name": agents, "vendor": vendor, "pools": pools}, there)
        NodeExporter("nodes", {"namespace_name": agents}, there)
        KubeStateMetrics(
            "state", {"namespace_name": names["monitoring"], "pool_labels": [KEY], "system_labels": {"role": "system"}}, there
        )

    done(stack.up(program))
    targets = [*exporter_targets(POOLS, "node-agents", nodes=len(NODES)), kube_state_target("monitoring", nodes=len(NODES))]
    expected = {target.name: {f"{vendor.value}-0", f"{vendor.value}-1"} for target, vendor in zip(targets, POOLS, strict=False)}
    expected |= {"node-exporter": NODES, "kube-state-metrics": {"system-0"}}
    for target in targets:

        def found() -> list[dict[str, Any]]:
            return pods(api, target.namespaces[0], target.pods)  # noqa: B023 - asked at once

        eventually(lambda: {pod["spec"]["nodeName"] for pod in found() if ready(pod)} == expected[target.name], 60)  # noqa: B023
        (pod, *_) = found()
        ports = [port["containerPort"] for container in pod["spec"]["containers"] for port in container.get("ports", [])]
        assert target.port in ports, target.name
        assert "hostNetwork" not in pod["spec"], target.name
        # What reads the node needs the level of its namespace, and the one that does not would be anywhere.
        assert refused(api, pod, "baseline") is (target.namespaces == ["node-agents"]), target.name

    again = done(stack.up(program))
    assert {step for steps in again.operations.values() for step in steps} == {"same"}

    done(stack.destroy())
    assert api.find("/api/v1/namespaces/node-agents") is None
    assert not [
        role["metadata"]["name"]
        for role in api.call("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles")["items"]
        if role["metadata"]["name"].startswith("amd")
    ]
