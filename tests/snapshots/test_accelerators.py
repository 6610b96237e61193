"""What each vendor's accelerators get, as reviewed: the objects that offer them, their test, and the pod of a model on them."""

from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from components.accelerators import AcceleratorSupport, Owner, SmokeTest, Vendor, profile, sharing_labels
from components.serving import ModelServer
from components.types import NodePool
from tests.contracts.examples import KUBECONFIG
from tests.recorder import Recording, record
from tests.stacks.program import objects, whole

RELEASE = "kubernetes:helm.sh/v3:Release"
IMAGE = "registry.example.com/vllm:v1.0"
"""Of those whose engine nobody published."""
CARDS: dict[Vendor, dict[str, Any]] = {
    Vendor.NVIDIA: {"product": "H100-80GB", "resource": "nvidia.com/gpu"},
    Vendor.AMD: {"product": "MI300X", "resource": "amd.com/gpu", "device_groups": [44, 110]},
    Vendor.GAUDI: {"product": "Gaudi3", "resource": "habana.ai/gaudi"},
    Vendor.NEURON: {"product": "Trainium2", "resource": "aws.amazon.com/neuron"},
    Vendor.TPU: {"product": "TPU-v6e", "resource": "google.com/tpu"},
    Vendor.REBELLIONS: {"product": "RBLN-CA25", "resource": "rebellions.ai/ATOM"},
    Vendor.SAPEON: {"product": "X330-Prime", "resource": "sapeon.com/snx3"},
    Vendor.XPU: {"memory_gib": 24.0, "resource": "gpu.intel.com/xe"},
    Vendor.CUSTOM: {"memory_gib": 64.0, "resource": "npu.example.com/chip"},
}
SHARED = {
    "mig": {"kind": "mig", "profile": "3g.40gb"},
    "time-slicing": {"kind": "timeSlicing", "replicas": 4},
    "mps": {"kind": "mps", "replicas": 2},
}


def pool_of(vendor: Vendor, **accelerator: Any) -> NodePool:
    card = CARDS[vendor] | {"per_node": 8} | accelerator
    return NodePool.model_validate(
        {
            "name": vendor.value,
            "accelerator": card,
            "max_nodes": 2,
            "labels": {"llm-platform/pool": vendor.value},
            "taints": [{"key": card["resource"], "value": "present", "effect": "NoSchedule"}],
            "ships_device_plugin": profile(vendor).plugin is None and vendor is not Vendor.NVIDIA,
            # As on k3s, which makes the class.
            "runtime_class_name": "nvidia" if vendor is Vendor.NVIDIA else None,
        }
    )


def recorded(pool: NodePool, vendor: Vendor, **support: Any) -> Recording:
    known = profile(vendor)
    own_plugin = {"plugin": {"image": "registry.example.com/npu-device-plugin:v1.0"}}
    required = own_plugin if known.plugin is not None and known.plugin.image is None else {}
    image = {} if vendor in (Vendor.NVIDIA, Vendor.AMD, Vendor.XPU) else {"image": IMAGE}

    def program() -> None:
        opts = pulumi.ResourceOptions(providers=[kubernetes.Provider("cluster", kubeconfig=KUBECONFIG)])
        args: dict[str, Any] = {"namespace_name": "accelerators", "vendor": vendor, "pools": [pool.args()]}
        AcceleratorSupport("support", args | required | support, opts)  # type: ignore[arg-type]
        command = {} if known.smoke.command else {"command": ["npu-smi"]}
        SmokeTest("test", {"namespace_name": "models", "pool": pool.args()} | image | command, opts)  # type: ignore[arg-type]
        model: dict[str, Any] = {
            "model_name": "qwen",
            "model_path": "/models/qwen",
            "weights_gib": 5.2,
            "namespace_name": "models",
            "claim_name": "cache",
            "pool": pool.args(),
            "max_model_len": 8192,
        }
        ModelServer("server", model | image, opts)  # type: ignore[arg-type]

    return record(program)


def reviewed(recording: Recording) -> str:
    """Values of releases, and objects but those of a server that are the same for all."""
    releases = {each.inputs["name"]: whole(each.inputs["values"]) for each in recording.of(RELEASE)}
    recording.resources = [
        each
        for each in recording.resources
        if each.type.rpartition(":")[2] not in ("Service", "NetworkPolicy", "PodDisruptionBudget")
    ]
    return yaml.safe_dump({"releases": releases}, width=130) + "---\n" + objects(recording)


@pytest.mark.parametrize("vendor", Vendor)
def test_what_a_vendor_s_accelerators_get(vendor: Vendor, snapshot: SnapshotAssertion) -> None:
    assert reviewed(recorded(pool_of(vendor), vendor)) == snapshot(name=vendor.value)


@pytest.mark.parametrize("sharing", SHARED)
@pytest.mark.parametrize("owner", [Owner.DEVICE_PLUGIN, Owner.OPERATOR])
def test_what_shared_gpus_get(sharing: str, owner: Owner, snapshot: SnapshotAssertion) -> None:
    pool = pool_of(Vendor.NVIDIA, sharing=SHARED[sharing])
    (release,) = recorded(pool, Vendor.NVIDIA, owner=owner).of(RELEASE)
    found = {"labels of nodes": sharing_labels(pool), "values": whole(release.inputs["values"])}
    assert yaml.safe_dump(found, width=130) == snapshot(name=f"{sharing} by {owner}")
