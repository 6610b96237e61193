"""The charts for monitoring, logs and scaling on a control plane: they come up, are judged by Pod Security, and leave nothing."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.logging.collector import fluent_bit_values
from components.logging.store import loki_values
from components.monitoring.exporters.dcgm import dcgm_values
from components.monitoring.exporters.kube_state import kube_state_values
from components.monitoring.exporters.node import node_exporter_values
from components.scaling.controllers import keda_values
from components.scaling.metrics_server import metrics_server_values
from components.types import NodePool
from sandbox.charts import workloads
from sandbox.control_plane import ControlPlane, NodeGroup
from tests.rehearsal.kubernetes_support import Api, Program, Run, StackUnderTest, options
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
GROUPS = [
    NodeGroup(name="system", cpu=16, memory="64Gi", labels={"pool": "system"}),
    NodeGroup.model_validate({"name": "gpu", "cpu": 16, "memory": "64Gi", "labels": {"pool": "gpu"}, "taints": [TAINT]}),
]
LEVELS = {"monitoring": "baseline", "node-agents": "privileged", "controllers": "baseline"}
DISK = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}}
SYSTEM = {"pool": "system"}
POOL = NodePool.model_validate(
    {
        "name": "gpu",
        "labels": {"pool": "gpu"},
        "taints": [TAINT],
        "max_nodes": 1,
        "accelerator": {"resource": "nvidia.com/gpu", "per_node": 1, "product": "H100-80GB"},
    }
)
STACK_VALUES = {
    "nodeExporter": {"enabled": False},
    "kubeStateMetrics": {"enabled": False},
    "prometheus": {
        "prometheusSpec": {
            "nodeSelector": SYSTEM,
            "storageSpec": {"volumeClaimTemplate": DISK},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"},
        }
    },
}
RELEASES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "kube-prometheus-stack": ("monitoring", STACK_VALUES),
    "kube-state-metrics": ("monitoring", kube_state_values(["pool"], SYSTEM, 3)),
    "loki": ("monitoring", loki_values(30, 20, system_labels=SYSTEM)),
    "prometheus-node-exporter": ("node-agents", node_exporter_values()),
    "dcgm-exporter": ("node-agents", dcgm_values([POOL], "dcgm-counters", profiling=True)),
    "fluent-bit": ("node-agents", fluent_bit_values("log-collector")),
    "keda": ("controllers", keda_values(SYSTEM)),
    "metrics-server": ("kube-system", metrics_server_values(SYSTEM)),
}


def program(plane: ControlPlane, releases: Mapping[str, tuple[str, dict[str, Any]]], timeout: int = 60) -> Program:
    def run() -> None:
        provider = k8s.Provider("cluster", kubeconfig=plane.kubeconfig.read_text(), cluster_identifier="test")
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        disks = k8s.storage.v1.StorageClass(
            "disks",
            metadata={"name": "disks", "annotations": default},
            provisioner="ebs.csi.aws.com",
            volume_binding_mode="WaitForFirstConsumer",
            opts=options(provider),
        )
        made = {
            name: k8s.core.v1.Namespace(
                name,
                metadata={"name": name, "labels": {"pod-security.kubernetes.io/enforce": level}},
                opts=options(provider, depends_on=[disks]),
            )
            for name, level in LEVELS.items()
        }
        limits = pulumi.CustomTimeouts(create=f"{timeout}s", update=f"{timeout}s", delete="60s")
        for chart, (namespace, values) in releases.items():
            [version] = workloads.known(chart)
            k8s.helm.v3.Release(
                chart,
                chart=chart,
                version=version,
                name=chart,
                namespace=made[namespace].metadata["name"] if namespace in made else namespace,
                values=values,
                timeout=timeout,
                opts=options(provider, custom_timeouts=limits),
            )

    return run


def done(run: Run) -> Run:
    assert run.succeeded, run.errors
    return run


def running(api: Api) -> dict[str, set[str]]:
    """The nodes on which pods are ready, by what the pods are called."""
    found: dict[str, set[str]] = {}
    for pod in api.call("GET", "/api/v1/pods")["items"]:
        labels = pod["metadata"]["labels"]
        if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", [])):
            found.setdefault(labels.get("app.kubernetes.io/name", ""), set()).add(pod["spec"]["nodeName"])
    return found


def test_all_charts_come_up_and_leave_nothing(stack: StackUnderTest, api: Api, control_plane: ControlPlane) -> None:
    whole = program(control_plane, RELEASES)
    done(stack.up(whole))
    eventually(
        lambda: (
            running(api)
            == {
                "kube-prometheus-stack-prometheus-operator": {"system-0"},
                "prometheus": {"system-0"},
                "alertmanager": {"system-0"},
                "grafana": {"system-0"},
                "kube-state-metrics": {"system-0"},
                "loki": {"system-0"},
                "prometheus-node-exporter": {"system-0", "gpu-0"},
                "dcgm-exporter": {"gpu-0"},
                "fluent-bit": {"system-0", "gpu-0"},
                "keda-operator": {"system-0"},
                "keda-operator-metrics-apiserver": {"system-0"},
                "metrics-server": {"system-0"},
            }
        )
    )
    claims = {
        claim["metadata"]["name"]: claim["status"]["phase"]
        for claim in api.call("GET", "/api/v1/persistentvolumeclaims")["items"]
    }
    prometheus = "prometheus-kube-prometheus-stack-prometheus"
    assert claims == {f"{prometheus}-db-{prometheus}-0": "Bound", "storage-loki-0": "Bound"}
    groups = {group["name"] for group in api.call("GET", "/apis")["groups"]}
    assert groups >= {"monitoring.coreos.com", "keda.sh", "external.metrics.k8s.io"}
    again = done(stack.up(whole))
    assert {name: what for name, what in again.operations.items() if what != ["same"]} == {}

    done(stack.destroy())
    assert api.call("GET", "/apis/apps/v1/statefulsets")["items"] == []
    eventually(lambda: api.call("GET", "/api/v1/persistentvolumeclaims")["items"] == [])
    eventually(lambda: api.call("GET", "/api/v1/persistentvolumes")["items"] == [])
    assert "external.metrics.k8s.io" not in {group["name"] for group in api.call("GET", "/apis")["groups"]}


def test_pod_security_judges_what_charts_make(stack: StackUnderTest, control_plane: ControlPlane) -> None:
    misplaced: dict[str, tuple[str, dict[str, Any]]] = {"prometheus-node-exporter": ("monitoring", {})}
    failed = stack.up(program(control_plane, misplaced, timeout=4))
    assert not failed.succeeded
    assert 'violates PodSecurity "baseline' in "\n".join(failed.errors)
    assert "hostPath volumes" in "\n".join(failed.errors)
