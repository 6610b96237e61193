"""A stack with a pool of every vendor: plugins come up, nodes offer their devices, and a model of each runs where it belongs."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from components.serving.invariants import ENGINE
from components.serving.verification.objects import is_ready
from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

MODEL = {"source": "Qwen/Qwen2.5-0.5B-Instruct", "revision": "7" * 40, "maxModelLen": 4096}
NFS = {"kind": "nfs", "server": "nfs.example.internal", "export": "/exports/models"}
OWN_IMAGE = "registry.example.com/vllm-{}:v0.33.0"

POOLS: dict[str, dict[str, Any]] = {
    "nvidia": {"accelerator": {"product": "L4", "perNode": 2}},
    "shared": {"accelerator": {"product": "L40S", "perNode": 1, "sharing": {"kind": "timeSlicing", "replicas": 4}}},
    "amd": {"accelerator": {"product": "MI300X", "resource": "amd.com/gpu", "perNode": 8, "deviceGroups": [109]}},
    "gaudi": {"accelerator": {"product": "Gaudi3", "resource": "habana.ai/gaudi", "perNode": 8}},
    "neuron": {"accelerator": {"product": "Trainium2", "resource": "aws.amazon.com/neuron", "perNode": 16}},
    # GKE's nodes bring the plugin.
    "tpu": {"accelerator": {"product": "TPU-v6e", "resource": "google.com/tpu", "perNode": 4}, "shipsDevicePlugin": True},
    "rebellions": {"accelerator": {"product": "RBLN-CA22", "resource": "rebellions.ai/ATOM", "perNode": 8}},
    "sapeon": {"accelerator": {"product": "X330-Prime", "resource": "sapeon.com/snx3", "perNode": 4}},
    "custom": {"accelerator": {"memoryGib": 48.0, "resource": "example.com/npu", "perNode": 2}},
}
SMOKE = {"image": "registry.example.com/npu-tools:v1.0", "command": ["npu-smi"]}

WITHOUT_IMAGE = ("gaudi", "neuron", "tpu", "rebellions", "sapeon", "custom")
"""Vendors for whom vLLM publishes no image."""


def _pool(name: str) -> dict[str, Any]:
    pool = POOLS[name]
    resource = pool["accelerator"].get("resource", "nvidia.com/gpu")
    labels = {"llm-platform/pool": name}
    if name == "shared":
        labels["nvidia.com/device-plugin.config"] = "time-slicing-4"
    return {
        "maxNodes": 1,
        "shipsDevicePlugin": False,
        "labels": labels,
        "taints": [{"key": resource, "value": "present", "effect": "NoSchedule"}],
        **pool,
    }


def _node(name: str) -> dict[str, Any]:
    pool = _pool(name)
    card = pool["accelerator"]
    return {
        "name": name,
        "cpu": "64",
        "memory": "512Gi",
        "accelerator": {"resource": card.get("resource", "nvidia.com/gpu"), "count": card["perNode"]},
        "labels": pool["labels"],
        "taints": pool["taints"],
        "devicePlugin": "builtin" if pool["shipsDevicePlugin"] else "required",
    }


def _edit(config: dict[str, Any]) -> None:
    config["llm-platform:cluster"]["nodePools"] = {name: _pool(name) for name in POOLS}
    config["llm-platform:accelerators"] = {
        "smokeTest": "gate",
        "vendors": {
            "sapeon": {"plugin": {"image": "registry.example.com/aix-device-plugin:v1.2.0"}, "smokeTest": SMOKE},
            "custom": {"plugin": {"image": "registry.example.com/npu-device-plugin:v0.9.0"}, "smokeTest": SMOKE},
            **{name: {"smokeTest": {"image": OWN_IMAGE.format(name)}} for name in ("gaudi", "neuron", "tpu", "rebellions")},
        },
    }
    config["llm-platform:models"] = {
        f"on-{name}": {
            **MODEL,
            "nodePool": name,
            "cache": NFS,
            **({"dtype": "float16"} if name == "rebellions" else {}),
            **({"engine": {"image": OWN_IMAGE.format(name)}} if name in WITHOUT_IMAGE else {}),
        }
        for name in POOLS
    }
    config["sandbox:nodes"] = [{"name": "system", "cpu": "8", "memory": "16Gi"}, *map(_node, POOLS)]


@pytest.fixture(scope="module", name="project")
def project_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsedProject]:
    """The stack, up."""
    project = RehearsedProject.make(ROOT, tmp_path_factory.mktemp("vendors"))
    project.edit(_edit)
    try:
        project.succeed("up")
        yield project
    finally:
        project.run("reset")


@pytest.fixture(scope="module", name="objects")
def objects_fixture(project: RehearsedProject) -> Mapping[str, list[dict[str, Any]]]:
    """What is there, by kind."""
    paths = {
        "pods": "/api/v1/pods",
        "nodes": "/api/v1/nodes",
        "jobs": "/apis/batch/v1/jobs",
        "configs": "/api/v1/namespaces/models/configmaps",
    }
    with project.api() as api:
        return {kind: api.items(path) for kind, path in paths.items()}


@pytest.mark.parametrize("vendor", POOLS)
def test_a_model_runs_on_its_vendors_node(
    vendor: str, objects: Mapping[str, list[dict[str, Any]]], snapshot: SnapshotAssertion
) -> None:
    (pod,) = (
        pod
        for pod in objects["pods"]
        if pod["metadata"]["labels"].get("app.kubernetes.io/instance") == f"on-{vendor}"
        and pod["metadata"]["labels"].get("app.kubernetes.io/component") == "model-server"
    )
    assert pod["spec"]["nodeName"] == f"{vendor}-0"
    assert is_ready(pod)
    (engine,) = (container for container in pod["spec"]["containers"] if container["name"] == ENGINE)
    name = engine["envFrom"][0]["configMapRef"]["name"]
    (config,) = (found for found in objects["configs"] if found["metadata"]["name"] == name)
    seen = {
        "image": engine["image"],
        "command": engine.get("command"),
        "limits": {key: value for key, value in engine["resources"]["limits"].items() if "/" in key},
        "tolerations": [each for each in pod["spec"]["tolerations"] if not each["key"].startswith("node.kubernetes.io/")],
        "affinity": pod["spec"]["affinity"]["nodeAffinity"],
        "runtimeClassName": pod["spec"].get("runtimeClassName"),
        "securityContext": pod["spec"]["securityContext"],
        "environment": config["data"],
    }
    assert yaml.safe_dump(seen, width=130) == snapshot


@pytest.mark.parametrize("vendor", POOLS)
def test_every_pool_has_passed_its_smoke_test(vendor: str, objects: Mapping[str, list[dict[str, Any]]]) -> None:
    (job,) = (
        job
        for job in objects["jobs"]
        if job["metadata"]["labels"].get("app.kubernetes.io/name") == "smoke-test"
        and job["metadata"]["labels"].get("app.kubernetes.io/instance") == vendor
    )
    assert job["status"].get("succeeded") == 1


def test_a_shared_card_offers_its_turns(objects: Mapping[str, list[dict[str, Any]]]) -> None:
    (node,) = (node for node in objects["nodes"] if node["metadata"]["name"] == "shared-0")
    offered = {key: value for key, value in node["status"]["allocatable"].items() if key.startswith("nvidia.com/")}
    assert offered == {"nvidia.com/gpu.shared": "4"}


def test_nothing_is_left_to_change(project: RehearsedProject) -> None:
    assert project.changes() == {}
