"""Which accelerators a node offers, given the pods on it."""

import json
from typing import Any

import pytest
import yaml

from sandbox.control_plane.device_plugins import offered_by, wanted_capacity, wanted_metadata

NVIDIA = "nvcr.io/nvidia/k8s-device-plugin:v0.17.1@sha256:" + "0" * 64


def pod(
    image: str = NVIDIA, *, ready: bool = True, owner: str = "DaemonSet", command: str | None = None, offers: str = ""
) -> dict[str, Any]:
    container = {"image": image} | ({"command": [command]} if command else {})
    annotations = {"llm-platform/offers": offers} if offers else {}
    return {
        "metadata": {"ownerReferences": [{"kind": owner}], "annotations": annotations, "namespace": "agents"},
        "spec": {"containers": [container]},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def node(devices: dict[str, int], offered: dict[str, str]) -> dict[str, Any]:
    owned: dict[str, Any] = {"f:status": {"f:capacity": {f"f:{name}": {} for name in offered}}}
    return {
        "metadata": {
            "annotations": {"sandbox.llm-platform/devices": json.dumps(devices)},
            "managedFields": [{"manager": "device-manager", "subresource": "status", "fieldsV1": owned}] if offered else [],
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
        (
            pod("registry.example/own:v1", offers="sapeon.com/snx3,npu.example.com/chip"),
            {"sapeon.com/snx3", "npu.example.com/chip"},
        ),
        (pod("registry.example/own:v1", offers="sapeon.com/snx3", ready=False), set()),
        (pod("rocm/k8s-device-plugin:1.31.0.9", offers="nvidia.com/gpu"), {"amd.com/gpu"}),
        (pod(command="gpu-feature-discovery", offers="nvidia.com/gpu"), set()),
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


def with_configurations(found: dict[str, Any], default: str = "") -> dict[str, Any]:
    env = [{"name": "NODE_LABEL", "value": "nvidia.com/device-plugin.config"}, {"name": "DEFAULT_CONFIG", "value": default}]
    found["spec"]["containers"].append({"image": NVIDIA, "command": ["config-manager"], "env": env})
    found["spec"]["volumes"] = [{"name": "available-configs", "configMap": {"name": "configs"}}]
    return found


def strategy(found: dict[str, Any], value: str) -> dict[str, Any]:
    found["spec"]["containers"][0]["env"] = [{"name": "MIG_STRATEGY", "value": value}]
    return found


def gpus(
    *, config: str | None = None, mig: dict[str, int] | None = None, product: str = "NVIDIA-H100-80GB-HBM3"
) -> dict[str, Any]:
    made = node({"nvidia.com/gpu": 2}, {})
    made["metadata"]["annotations"] |= {
        "sandbox.llm-platform/accelerator": json.dumps({"resource": "nvidia.com/gpu", "count": 2, "product": product}),
        "sandbox.llm-platform/mig": json.dumps(mig or {}),
    }
    made["metadata"]["labels"] = {"nvidia.com/device-plugin.config": config} if config else {}
    return made


def shared(kind: str, name: str = "nvidia.com/gpu", **more: Any) -> str:
    return yaml.safe_dump({"version": "v1", "sharing": {kind: {"resources": [{"name": name, "replicas": 3}], **more}}})


CONFIGS = {
    "whole": "version: v1",
    "mixed": "version: v1\nflags: {migStrategy: mixed}",
    "turns": shared("timeSlicing", renameByDefault=True),
    "same-name": shared("timeSlicing"),
    "mps": shared("mps", renameByDefault=True),
    "no-such-resource": shared("timeSlicing", name="nvidia.com/mig-3g.40gb"),
    "broken": "sharing: [",
}
MPS = pod(command="mps-control-daemon")


@pytest.mark.parametrize(
    ("machine", "pods", "wanted"),
    [
        (gpus(config="turns"), [with_configurations(pod())], {"nvidia.com/gpu.shared": "6"}),
        (gpus(config="same-name"), [with_configurations(pod())], {"nvidia.com/gpu": "6"}),
        (gpus(), [with_configurations(pod(), default="turns")], {"nvidia.com/gpu.shared": "6"}),
        (gpus(config="whole"), [with_configurations(pod(), default="turns")], {"nvidia.com/gpu": "2"}),
        (gpus(config="no-such-resource"), [with_configurations(pod())], {"nvidia.com/gpu": "2"}),
        # Without a configuration the plugin does not start.
        (gpus(), [with_configurations(pod())], None),
        (gpus(config="misspelt"), [with_configurations(pod(), default="whole")], None),
        (gpus(config="broken"), [with_configurations(pod())], None),
        # MPS waits for its daemon.
        (gpus(config="mps"), [with_configurations(pod())], None),
        (gpus(config="mps"), [with_configurations(pod()), MPS], {"nvidia.com/gpu.shared": "6"}),
        # MIG: one H100 holds two instances of 3g.40gb, or seven of 1g.10gb.
        (gpus(config="mixed", mig={"3g.40gb": 4}), [with_configurations(pod())], {"nvidia.com/mig-3g.40gb": "4"}),
        (
            gpus(config="mixed", mig={"3g.40gb": 2}),
            [with_configurations(pod())],
            {"nvidia.com/mig-3g.40gb": "2", "nvidia.com/gpu": "1"},
        ),
        (gpus(config="mixed"), [with_configurations(pod())], {"nvidia.com/gpu": "2"}),
        (gpus(mig={"1g.10gb": 14}), [pod()], {"nvidia.com/gpu": "2"}),
        (gpus(mig={"1g.10gb": 14}), [strategy(pod(), "single")], {"nvidia.com/gpu": "14"}),
        (gpus(mig={"1g.10gb": 3}, product="Card-X"), [strategy(pod(), "mixed")], {"nvidia.com/mig-1g.10gb": "3"}),
        # A variable of the container goes before the configuration.
        (gpus(config="mixed", mig={"3g.40gb": 4}), [strategy(with_configurations(pod()), "none")], {"nvidia.com/gpu": "2"}),
    ],
)
def test_gpus_are_offered_as_the_configuration_of_the_node_has_it(
    machine: dict[str, Any], pods: list[dict[str, Any]], wanted: dict[str, str] | None
) -> None:
    assert wanted_capacity(machine, pods, {("agents", "configs"): CONFIGS}) == wanted


def test_a_resource_that_got_another_name_is_offered_no_more() -> None:
    machine = node({"nvidia.com/gpu": 2}, {"nvidia.com/gpu": "2"})
    machine["metadata"]["labels"] = {"nvidia.com/device-plugin.config": "turns"}
    wanted = wanted_capacity(machine, [with_configurations(pod())], {("agents", "configs"): CONFIGS})
    assert wanted == {"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "6"}


def told(machine: dict[str, Any], pods: list[dict[str, Any]], *, operator: bool = False) -> dict[str, str]:
    wanted = wanted_metadata(machine, pods, {("agents", "configs"): CONFIGS}, operator=operator)
    return {} if wanted is None else wanted["labels"]


def test_labels_come_from_what_runs_on_the_node() -> None:
    discovery, nfd = (
        pod(command="gpu-feature-discovery"),
        pod("registry.k8s.io/nfd/node-feature-discovery:v0", command="nfd-worker"),
    )
    assert told(gpus(), [pod()]) == {}
    assert told(gpus(), [nfd]) == {"feature.node.kubernetes.io/pci-10de.present": "true"}
    assert told(node({"amd.com/gpu": 1}, {}), [nfd, discovery]) == {}
    found = told(gpus(), [discovery])
    assert found["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"
    assert (found["nvidia.com/gpu.compute.major"], found["nvidia.com/mig.capable"]) == ("9", "true")
    in_turns = told(gpus(config="same-name"), [with_configurations(discovery)])
    assert in_turns["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3-SHARED"
    assert (in_turns["nvidia.com/gpu.replicas"], in_turns["nvidia.com/gpu.sharing-strategy"]) == ("3", "time-slicing")
    assert "nvidia.com/gpu.deploy.device-plugin" not in told(gpus(), [nfd], operator=False)
    assert told(gpus(), [nfd], operator=True)["nvidia.com/gpu.deploy.device-plugin"] == "true"


def test_labels_of_others_stay_as_they_are() -> None:
    machine = gpus()
    machine["metadata"]["labels"] = {"nvidia.com/gpu.product": "mine"}
    assert "nvidia.com/gpu.product" not in told(machine, [pod(command="gpu-feature-discovery")])


def test_the_mig_manager_cuts_what_the_card_can_be_cut_into() -> None:
    manager = pod("nvcr.io/nvidia/cloud-native/k8s-mig-manager:v0.15.0", command="nvidia-mig-manager")
    machine = gpus()
    del machine["metadata"]["annotations"]["sandbox.llm-platform/mig"]
    machine["metadata"]["labels"] = {"nvidia.com/mig.config": "all-1g.10gb"}
    wanted = wanted_metadata(machine, [manager], {}, operator=True)
    assert wanted is not None
    assert json.loads(wanted["annotations"]["sandbox.llm-platform/mig"]) == {"1g.10gb": 14}
    machine["metadata"]["labels"] = {"nvidia.com/mig.config": "all-1g.99gb"}
    wanted = wanted_metadata(machine, [manager], {}, operator=True)
    assert wanted == {"labels": {"nvidia.com/mig.config.state": "failed"}, "annotations": {}}
