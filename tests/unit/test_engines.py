"""Which image serves which accelerators."""

import pytest

from components.serving.engine_images import check_image, engine_for
from components.versions import VLLM, VLLM_IMAGE
from planner.compatibility import driver_fault

DIGEST = "sha256:" + "0a1b" * 16


def test_the_official_image_is_the_one_versions_names() -> None:
    engine = engine_for("nvidia.com/gpu", image=None, version=VLLM)
    assert engine.image == VLLM_IMAGE
    assert (engine.command, engine.user, engine.group, engine.home) == (None, 2000, 0, "/home/vllm")
    assert engine.architectures == ("amd64", "arm64")
    # NVIDIA, CUDA compatibility: CUDA 13 runs from driver branch 580 on.
    assert engine.cuda_major is not None
    assert driver_fault(engine.cuda_major, 570) is not None
    assert driver_fault(engine.cuda_major, 580) is None


@pytest.mark.parametrize(
    ("resource", "image"),
    [
        ("nvidia.com/mig-1g.10gb", "docker.io/vllm/vllm-openai:v0.33.0"),
        ("nvidia.com/gpu.shared", "docker.io/vllm/vllm-openai:v0.33.0"),
        ("amd.com/gpu", "docker.io/vllm/vllm-openai-rocm:v0.33.0"),
        ("gpu.intel.com/xe", "docker.io/vllm/vllm-openai-xpu:v0.33.0"),
        ("gpu.intel.com/i915", "docker.io/vllm/vllm-openai-xpu:v0.33.0"),
        ("cpu", "docker.io/vllm/vllm-openai-cpu:v0.33.0"),
    ],
)
def test_every_published_engine_has_its_image(resource: str, image: str) -> None:
    engine = engine_for(resource, image=None, version="0.33.0")
    assert engine.image == image
    check_image(engine.image, version="0.33.0")


def test_only_the_cuda_image_has_a_user_who_is_not_root() -> None:
    assert engine_for("amd.com/gpu", image=None, version="0.33.0").user is None
    assert engine_for("cpu", image=None, version="0.33.0").user is None


def test_the_variant_for_efa() -> None:
    assert engine_for("nvidia.com/gpu", image=None, version="0.33.0", efa=True).image == "docker.io/vllm/vllm-openai:v0.33.0-efa"
    with pytest.raises(ValueError, match="publishes no image with EFA for ROCm"):
        engine_for("amd.com/gpu", image=None, version="0.33.0", efa=True)


@pytest.mark.parametrize(
    ("resource", "project"),
    [
        ("habana.ai/gaudi", "vllm-project/vllm-gaudi"),
        ("aws.amazon.com/neuron", "vllm-project/vllm-neuron"),
        ("google.com/tpu", "vllm-project/tpu-inference"),
        ("rebellions.ai/ATOM", "rebellions-sw/vllm-rbln"),
    ],
)
def test_an_engine_nobody_publishes_needs_an_image(resource: str, project: str) -> None:
    with pytest.raises(ValueError, match=f"No release image .* is published; build one as {project} describes"):
        engine_for(resource, image=None, version="0.33.0")
    engine = engine_for(resource, image="registry.example.com/engines/own:1.2", version="0.33.0")
    # Its entry point is not known, so what to start is said.
    assert (engine.image, engine.command, engine.user) == ("registry.example.com/engines/own:1.2", ("vllm", "serve"), None)


def test_an_unknown_resource_takes_an_image_of_the_users() -> None:
    with pytest.raises(ValueError, match=r"No engine for sapeon.com/x220 is known; build an image of vLLM with a plugin for it"):
        engine_for("sapeon.com/x220", image=None, version="0.33.0")
    engine = engine_for("sapeon.com/x220", image="registry.example/vllm-x220:v0.33.0", version="0.33.0")
    assert (engine.image, engine.command, engine.needs_plugin) == ("registry.example/vllm-x220:v0.33.0", ("vllm", "serve"), True)


@pytest.mark.parametrize(
    "image",
    [
        VLLM_IMAGE,
        f"vllm/vllm-openai@{DIGEST}",
        f"vllm/vllm-openai:latest@{DIGEST}",
        "registry.example.com:5000/mirror/vllm/vllm-openai:v0.33.0-x86_64",
        "vllm/vllm-openai:nightly-b25037543e9394b818fdfca67ab2a00ecc7dd641",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/vllm:0.33.0",
    ],
)
def test_images_that_stay_the_same(image: str) -> None:
    check_image(image, version="0.33.0")


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("vllm/vllm-openai", "has no tag, which means latest"),
        ("registry.example.com:5000/vllm/vllm-openai", "has no tag, which means latest"),
        ("vllm/vllm-openai:latest", "moves"),
        ("vllm/vllm-openai:latest-x86_64", "moves"),
        ("vllm/vllm-openai-rocm:latest-rocm72", "moves"),
        ("vllm/vllm-openai:nightly", "moves"),
        ("vllm/vllm-openai-rocm:base-nightly", "moves"),
        ("vllm/vllm-openai@sha256:0a1b", "not a name with a tag or digest"),
        ("https://vllm/vllm-openai:v0.33.0", "not a name with a tag or digest"),
        ("VLLM/vllm-openai:v0.33.0", "not a name with a tag or digest"),
        ("vllm/vllm-openai:", "not a name with a tag or digest"),
        (
            "mirror.example.com/vllm/vllm-openai:v0.32.0",
            r"is vLLM 0\.32\.0, and the engine's version is 0\.33\.0; set the version",
        ),
    ],
)
def test_images_that_may_change_or_are_another_engine(image: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        engine_for("nvidia.com/gpu", image=image, version="0.33.0")
    assert "set the version to 0.32.0" in str(caught.value) or f"use e.g. {VLLM_IMAGE}" in str(caught.value)
