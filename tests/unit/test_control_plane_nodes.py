"""Declared nodes: what they become, and the sentence every mistake gets."""

import json
from typing import Any

import pytest

from components.inputs import InputError
from components.quantities import quantity
from sandbox.control_plane import NodeGroup
from sandbox.control_plane.nodes import manifests
from sandbox.project import Rehearsal

WHERE = "stacks/Pulumi.local.yaml"
GPU: dict[str, Any] = {"name": "gpu", "instanceType": "g6.xlarge"}
PLAIN: dict[str, Any] = {"name": "plain", "cpu": 4, "memory": "16Gi"}


def _read(raw: object) -> tuple[NodeGroup, ...]:
    return Rehearsal.read({"sandbox:nodes": raw}, WHERE).nodes


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ([GPU | {"count": 0}], "sandbox:nodes[0].count: 0 is not allowed; use 1 or more, e.g. count: 1"),
        ([GPU, PLAIN | {"count": "two"}], "sandbox:nodes[1].count: 'two' is not a whole number; use e.g. count: 1"),
        ([GPU | {"count": True}], "sandbox:nodes[0].count: true is not a whole number; use e.g. count: 1"),
        ([GPU | {"cuont": 2}], "sandbox:nodes[0].cuont is not a known setting; did you mean count?"),
        ([{"instanceType": "g6.xlarge"}], "sandbox:nodes[0].name is missing; add it, e.g. name: gpu"),
        ([GPU | {"devicePlugin": "none"}], "sandbox:nodes[0].devicePlugin: 'none' is not known; use 'required' or 'builtin'"),
        ([GPU | {"labels": {"gpu": True}}], 'sandbox:nodes[0].labels.gpu: true is not text; write gpu: "true"'),
        (
            [GPU | {"labels": {"kubernetes.io/arch": "arm64"}}],
            "sandbox:nodes[0].labels.kubernetes.io/arch: every node gets its own kubernetes.io/arch; remove it",
        ),
        (
            [GPU | {"taints": [{"key": "gpu", "effect": "Never"}]}],
            "sandbox:nodes[0].taints[0].effect: 'Never' is not known; use 'NoSchedule', 'PreferNoSchedule' or 'NoExecute'",
        ),
        (
            [PLAIN | {"accelerator": {"resource": "nvidia.com/gpu", "mig": {"40gb": 2}}}],
            "sandbox:nodes[0].accelerator.mig.40gb: '40gb' is no MIG profile; use a name as `nvidia-smi mig -lgip` lists it, "
            "e.g. 3g.40gb",
        ),
        (
            [PLAIN | {"accelerator": {"count": 1}}],
            "sandbox:nodes[0].accelerator.resource is missing; add it, e.g. resource: nvidia.com/gpu",
        ),
        (
            [PLAIN | {"memory": "lots"}],
            "sandbox:nodes[0].memory: 'lots' is no amount; use a number with or without a unit, e.g. 16, 500m or 64Gi",
        ),
        (
            [{"name": "gpu"}],
            "sandbox:nodes[0]: the size is missing; give instanceType: g6.xlarge, or cpu: 8 and memory: 32Gi",
        ),
        (
            [GPU | {"cpu": 4}],
            "sandbox:nodes[0]: instanceType gives cpu, memory and accelerator already; remove those, or remove instanceType",
        ),
        (
            [{"name": "gpu", "instanceType": "g6.xlrage"}],
            "sandbox:nodes[0]: g6.xlrage is not in the instance catalogue; the nearest are g6.xlarge, g6f.xlarge, g6e.xlarge; "
            "or give cpu, memory and accelerator in place of instanceType",
        ),
        (
            [{"name": "gpu", "instanceType": "g6f.xlarge"}],
            "sandbox:nodes[0]: g6f.xlarge has a fraction of a GPU, which is not simulated; use a whole one, e.g. g6.xlarge",
        ),
        (
            [GPU | {"name": "GPU nodes"}],
            "sandbox:nodes[0].name: 'GPU nodes' is no node name; "
            "use up to 50 lower-case letters, digits and dashes, e.g. name: gpu",
        ),
        ([GPU, GPU], "sandbox:nodes[1].name: 'gpu' is the name of another group already; use another one"),
        (
            {"gpu": GPU},
            "sandbox:nodes: a mapping is not a list (- item); use a list (- item)",
        ),
    ],
)
def test_a_bad_declaration_gets_one_sentence_with_key_reason_and_remedy(raw: object, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        _read(raw)
    assert str(refused.value) == f"{WHERE}: {sentence}"


def test_what_is_not_declared_has_a_default() -> None:
    assert Rehearsal.read({"llm-platform:models": {}}, WHERE) == Rehearsal()


def _status(**group: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    (parsed,) = _read([group])
    return manifests(parsed, 0, "10.64.0.10", "v1.36.3")


def test_an_instance_type_gives_size_labels_and_devices() -> None:
    node, status = _status(**GPU, zone="us-east-1a", labels={"pool": "gpu"}, taints=[{"key": "gpu", "effect": "NoSchedule"}])
    assert node["metadata"]["labels"] == {
        "pool": "gpu",
        "kubernetes.io/hostname": "gpu-0",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "g6.xlarge",
        "topology.kubernetes.io/zone": "us-east-1a",
        "sandbox.llm-platform/simulated": "true",
        "sandbox.llm-platform/node-group": "gpu",
    }
    assert node["spec"]["taints"] == [{"key": "gpu", "effect": "NoSchedule"}]
    assert json.loads(node["metadata"]["annotations"]["sandbox.llm-platform/devices"]) == {"nvidia.com/gpu": 1}
    described = json.loads(node["metadata"]["annotations"]["sandbox.llm-platform/accelerator"])
    assert described == {"resource": "nvidia.com/gpu", "count": 1, "product": "NVIDIA-L4", "memoryMib": 22558}
    # 4 vCPU less 60m + 10m + 2 x 5m; 16384 MiB less 7.5 %, and of that 255 + 11 * 110 + 100 MiB reserved.
    assert status["status"]["capacity"]["memory"] == f"{int(16384 * 1024 * 0.925)}Ki"
    assert status["status"]["allocatable"] == {
        "cpu": "3920m",
        "memory": f"{int(16384 * 1024 * 0.925) - 1565 * 1024}Ki",
        "ephemeral-storage": f"{89 * 1024 * 1024}Ki",
        "pods": "110",
    }
    assert _status(name="arm", instanceType="g5g.xlarge")[0]["metadata"]["labels"]["kubernetes.io/arch"] == "arm64"


def test_what_gpus_are_cut_into_is_told_of_the_whole_node() -> None:
    cut = {"resource": "nvidia.com/gpu", "count": 8, "product": "NVIDIA-H100-80GB-HBM3", "mig": {"3g.40gb": 2}}
    node, _ = _status(**PLAIN, accelerator=cut)
    assert json.loads(node["metadata"]["annotations"]["sandbox.llm-platform/mig"]) == {"3g.40gb": 16}
    whole, _ = _status(**PLAIN, accelerator=cut | {"mig": {}})
    assert "sandbox.llm-platform/mig" not in whole["metadata"]["annotations"]


def test_builtin_plugins_offer_devices_at_once_and_neuron_offers_cores_too() -> None:
    neuron = {"resource": "aws.amazon.com/neuron", "count": 6, "coresPerDevice": 2}
    node, status = _status(**PLAIN, accelerator=neuron, devicePlugin="builtin")
    offered = {"aws.amazon.com/neuron": "6", "aws.amazon.com/neuroncore": "12"}
    assert offered.items() <= status["status"]["capacity"].items()
    assert offered.items() <= status["status"]["allocatable"].items()
    assert "sandbox.llm-platform/devices" not in node["metadata"]["annotations"]


def test_quantities_are_exact() -> None:
    assert [quantity(text) for text in ("4", "500m", "1.5Gi", "2k")] == [4, quantity("0.5"), 1.5 * 2**30, 2000]
    with pytest.raises(ValueError, match="no quantity"):
        quantity("4 cores")


def test_a_neuron_instance_gives_devices_and_cores() -> None:
    node, _ = _status(name="neuron", instanceType="inf2.24xlarge")
    devices = json.loads(node["metadata"]["annotations"]["sandbox.llm-platform/devices"])
    assert devices == {"aws.amazon.com/neuron": 6, "aws.amazon.com/neuroncore": 12}


def test_groups_can_be_made_in_python() -> None:
    assert NodeGroup(name="gpu", instance_type="g6.xlarge") == _read([GPU])[0]
