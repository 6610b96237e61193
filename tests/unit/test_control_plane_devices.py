"""Which accelerators a node offers, given the pods on it."""

import json
from typing import Any

import pytest

from sandbox.control_plane.device_plugins import offered_by, wanted_capacity

NVIDIA = "nvcr.io/nvidia/k8s-device-plugin:v0.17.1@sha256:" + "0" * 64


def pod(image: str = NVIDIA, *, ready: bool = True, owner: str = "DaemonSet", command: str | None = None) -> dict[str, Any]:
    container = {"image": image} | ({"command": [command]} if command else {})
    return {
        "metadata": {"ownerReferences": [{"kind": owner}]},
        "spec": {"containers": [container]},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def node(devices: dict[str, int], offered: dict[str, str]) -> dict[str, Any]:
    owned: dict[str, Any] = {"f:status": {"f:capacity": {f"f:{name}": {} for name in offered}}}
    return {
        "metadata": {
            "annotations": {"sandbox.llm-platform/devices": json.dumps(devices)},
            "managedFields": [{"manager": "device-manager", "fieldsV1": owned}] if offered else [],
        },
        "status": {"capacity": {"cpu": "4", **offered}},
    }


@pytest.mark.parametrize(
    ("found", "resources"),
    [
        (pod(), {"nvidia.com/gpu"}),
        (
            pod("mirror.example:5000/vendors/nvidia/k8s-device-plugin:v1", command="/usr/bin/nvidia-device-plugin"),
            {"nvidia.com/gpu"},
        ),
        (pod("rocm/k8s-device-plugin:1.31.0.9"), {"amd.com/gpu"}),
        (pod("vault.habana.ai/docker-k8s-device-plugin/docker-k8s-device-plugin:1.23.0"), {"habana.ai/gaudi"}),
        (pod("rebellions/k8s-device-plugin:v0.3.0"), {"rebellions.ai/ATOM"}),
        (
            pod("public.ecr.aws/neuron/neuron-device-plugin:2.26.26.0"),
            {"aws.amazon.com/neuron", "aws.amazon.com/neuroncore"},
        ),
        (pod(command="gpu-feature-discovery"), set()),
        (pod("registry.example/my-nvidia/k8s-device-plugin:v1"), set()),
        (pod(ready=False), set()),
        (pod(owner="ReplicaSet"), set()),
    ],
)
def test_only_a_ready_daemonset_pod_with_a_known_plugin_offers(found: dict[str, Any], resources: set[str]) -> None:
    assert offered_by(found) == resources


def test_a_deleted_plugin_pod_offers_nothing_while_it_ends() -> None:
    ending = pod()
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert offered_by(ending) == frozenset()


@pytest.mark.parametrize(
    ("devices", "offered", "pods", "wanted"),
    [
        ({"nvidia.com/gpu": 4}, {}, [pod()], {"nvidia.com/gpu": "4"}),
        ({"nvidia.com/gpu": 4}, {"nvidia.com/gpu": "4"}, [pod()], None),
        ({"nvidia.com/gpu": 8}, {"nvidia.com/gpu": "4"}, [pod()], {"nvidia.com/gpu": "8"}),
        ({"nvidia.com/gpu": 4}, {}, [], None),
        ({"nvidia.com/gpu": 4}, {"nvidia.com/gpu": "4"}, [], {"nvidia.com/gpu": "0"}),
        ({"nvidia.com/gpu": 4}, {}, [pod("rocm/k8s-device-plugin:1")], None),
        ({}, {"nvidia.com/gpu": "4"}, [pod()], {}),
        ({}, {}, [pod()], None),
    ],
)
def test_capacity_follows_the_plugin_and_the_declaration(
    devices: dict[str, int], offered: dict[str, str], pods: list[dict[str, Any]], wanted: dict[str, str] | None
) -> None:
    assert wanted_capacity(node(devices, offered), pods) == wanted
