"""What accelerator support refuses, and drivers that are too old."""

from typing import Any

import pytest

from components.accelerators import Owner, Support, Vendor, check_owners, driver_faults
from components.accelerators.rules import check_support
from components.serving.engine_images import engine_for
from components.versions import VLLM
from tests.unit.test_accelerators import MIG, MPS, TURNS, pool

ATOM = pool("atom", accelerator={"resource": "rebellions.ai/ATOM", "per_node": 8})
SNX3 = pool("x330", accelerator={"resource": "sapeon.com/snx3", "per_node": 8})
CUSTOM = pool("npu", accelerator={"resource": "npu.example.com/chip", "per_node": 4})
OTHER = pool("other", accelerator={"resource": "npu.example.com/b", "per_node": 1})


def support(**settings: Any) -> Support:
    return Support(**({"vendor": Vendor.NVIDIA, "owner": Owner.DEVICE_PLUGIN, "pools": [pool()]} | settings))


def own(vendor: Vendor, of: Any, **settings: Any) -> Support:
    return support(vendor=vendor, pools=[of], **({"image": "registry.example.com/plugin:v1.0"} | settings))


@pytest.mark.parametrize(
    "fine",
    [
        support(),
        support(owner=Owner.OPERATOR),
        support(owner=Owner.OPERATOR, pools=[pool("a", MIG), pool("b", TURNS)]),
        support(pools=[pool("a", MIG), pool("b", MPS)]),
        support(owner=Owner.NONE, pools=[pool(ships_device_plugin=True)]),
        support(pools=[pool(fabric_interfaces=4)]),
        support(pools=[pool()], mofed=True),
        support(vendor=Vendor.REBELLIONS, pools=[ATOM]),
        own(Vendor.SAPEON, SNX3, own_settings=["privileged"]),
        own(Vendor.CUSTOM, CUSTOM),
    ],
    ids=str,
)
def test_what_can_be(fine: Support) -> None:
    check_support(fine)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (support(pools=[pool(ships_device_plugin=True)]), "bring their device plugin.*leave the pool out"),
        (support(vendor=Vendor.AMD), "offers nvidia.com/gpu.*use vendor: nvidia"),
        (own(Vendor.CUSTOM, pool()), "offers nvidia.com/gpu.*use vendor: nvidia"),
        (support(pools=[pool(accelerator=None)]), "pool h100 has no accelerators"),
        (own(Vendor.SAPEON, SNX3, image=None), "no device plugin for Sapeon is published.*registry.example.com"),
        (own(Vendor.CUSTOM, CUSTOM, image=None), "plugin.image is missing.*with its tag"),
        (own(Vendor.SAPEON, SNX3, image="x330_k8s_device_plugin"), "plugin.image: .* has no tag"),
        (own(Vendor.REBELLIONS, ATOM, image="rebellions/k8s-device-plugin:latest"), "plugin.image: .* moves"),
        (own(Vendor.REBELLIONS, ATOM, own_settings=["privileged"]), "plugin.privileged: .* as its vendor published it"),
        (own(Vendor.REBELLIONS, ATOM, owner=Owner.OPERATOR), "operator is not known for Rebellions; use devicePlugin or none"),
        (support(vendor=Vendor.TPU), "devicePlugin is not known for Google TPU; use none"),
        (support(owner=Owner.OPERATOR, image="nvcr.io/nvidia/k8s-device-plugin:v0.20.0"), "plugin.image: the operator brings"),
        (own(Vendor.SAPEON, SNX3, chart_version="1.0.0"), "plugin.chart_version: .* without a chart; use plugin.image"),
        (support(owner=Owner.NONE, image="nvcr.io/nvidia/k8s-device-plugin:v0.20.0"), "owner none installs no plugin"),
        (support(owner=Owner.OPERATOR, pools=[pool("a", MIG), pool("b", MPS)]), "one MIG strategy.*timeSlicing in place of mps"),
        (support(pools=[pool(fabric_interfaces=4)], mofed=True), "mofed: .* pool h100 .* EFA"),
        (support(pools=[pool("a", runtime_class_name="nvidia"), pool("b")]), r"pools a and b need different .*\(nvidia, none\)"),
        (
            support(vendor=Vendor.CUSTOM, pools=[CUSTOM, OTHER], image="registry.example.com/plugin:v1.0"),
            "npu.example.com/chip and npu.example.com/b",
        ),
    ],
)
def test_what_cannot_be(asked: Support, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        check_support(asked)
    assert "\n" not in str(refusal.value)


def test_one_owner_of_the_devices_of_a_vendor() -> None:
    operator = support(owner=Owner.OPERATOR, pools=[pool("a")])
    with pytest.raises(ValueError, match=r"NVIDIA have two owners, operator and devicePlugin.*owner: operator"):
        check_owners([operator, support(pools=[pool("b")])])
    check_owners([operator, support(owner=Owner.NONE, pools=[pool("b")]), support(vendor=Vendor.REBELLIONS, pools=[ATOM])])


def test_one_plugin_for_each_custom_resource() -> None:
    check_owners([own(Vendor.CUSTOM, CUSTOM), own(Vendor.CUSTOM, OTHER)])
    with pytest.raises(ValueError, match=r"pool npu: two plugins would offer its npu.example.com/chip"):
        check_owners([own(Vendor.CUSTOM, CUSTOM), own(Vendor.CUSTOM, CUSTOM, image="registry.example.com/second:v1")])


# --- drivers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["580.82.07", "595.91.07", "R580"])
def test_a_driver_that_is_new_enough(version: str) -> None:
    assert driver_faults(pool(), version, engine_for("nvidia.com/gpu", image=None, version=VLLM)) == ()


def test_a_driver_that_is_too_old_for_the_engine_s_cuda() -> None:
    (fault,) = driver_faults(pool(), "570.172.08", engine_for("nvidia.com/gpu", image=None, version=VLLM))
    assert fault.startswith("pool h100: the image's CUDA 13 needs driver R580 or later and the nodes have R570")
    assert driver_faults(pool(), "570.172.08", None) == ()


def test_a_driver_that_is_too_old_for_the_accelerator() -> None:
    blackwell = pool("b200", accelerator={"product": "B200", "per_node": 8})
    assert driver_faults(blackwell, "560.35.03", None) == (
        "pool b200: B200 needs driver R570 or later and its nodes have 560.35.03; install a newer driver",
    )


def test_drivers_of_other_vendors_are_numbered_in_their_own_way() -> None:
    atom = pool("atom", accelerator={"product": "RBLN-CA25", "resource": "rebellions.ai/ATOM", "per_node": 4})
    assert driver_faults(atom, "1.3.73", None) == ()
    (fault,) = driver_faults(atom, "1.2.92", None)
    assert "RBLN-CA25 needs driver v1.3.73 or later" in fault


def test_what_is_no_version_is_told() -> None:
    (fault,) = driver_faults(pool(), "unknown", None)
    assert "'unknown' is not a version of a driver" in fault


def test_of_a_card_nobody_knows_only_the_image_says_something() -> None:
    assert driver_faults(CUSTOM, "1.0", None) == ()
    unnamed = pool(accelerator={"resource": "nvidia.com/gpu", "per_node": 1})
    (fault,) = driver_faults(unnamed, "550.54.15", engine_for("nvidia.com/gpu", image=None, version=VLLM))
    assert "CUDA 13 needs driver R580" in fault
