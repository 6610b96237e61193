"""Which machine image goes with which instances, and how its release is pinned."""

import pytest

from components.cluster.images import (
    OLDEST_BOTTLEROCKET,
    Image,
    ImageFamily,
    ami_type,
    architecture,
    brings_device_plugin,
    check_release,
    has_local_disks,
    release_parameter,
)
from components.inputs import InputError, validate
from components.versions import BOTTLEROCKET
from planner.catalog import accelerator, instance_type, instance_types

BOTTLEROCKET_FAMILY, AL2023 = ImageFamily.BOTTLEROCKET, ImageFamily.AL2023


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # EC2 user guide, "Amazon EC2 instance type naming conventions": g stands for Graviton, but only after the generation.
        ("m7g.large", "arm64"),
        ("c8gd.metal-24xl", "arm64"),
        ("t4g.medium", "arm64"),
        ("x2gd.xlarge", "arm64"),
        ("im4gn.large", "arm64"),
        ("is4gen.large", "arm64"),
        ("a1.large", "arm64"),
        ("g5g.xlarge", "arm64"),
        ("g6.xlarge", "x86_64"),
        ("m7i-flex.large", "x86_64"),
        ("m7a.large", "x86_64"),
        ("x2iedn.xlarge", "x86_64"),
        ("p6-b200.48xlarge", "x86_64"),
    ],
)
def test_architecture(name: str, expected: str) -> None:
    assert architecture(name) == expected


def test_the_rule_of_names_agrees_with_the_catalogue() -> None:
    # Names with a digit after a dash, such as p6-b200, are outside the rule, and in the catalogue.
    for name, found in instance_types().items():
        family = name.partition(".")[0]
        if "-" not in family:
            assert architecture(f"{family}.unheard") == found.arch, name


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'large' is not an instance type of EC2; use e\.g\. m7g\.large"):
        architecture("large")


@pytest.mark.parametrize(
    ("family", "types", "expected"),
    [
        (BOTTLEROCKET_FAMILY, ("m7g.large", "m6g.large"), "BOTTLEROCKET_ARM_64"),
        (BOTTLEROCKET_FAMILY, ("m7i.large",), "BOTTLEROCKET_x86_64"),
        (BOTTLEROCKET_FAMILY, ("g6.xlarge", "g6.2xlarge"), "BOTTLEROCKET_x86_64_NVIDIA"),
        (BOTTLEROCKET_FAMILY, ("g5g.xlarge",), "BOTTLEROCKET_ARM_64_NVIDIA"),
        (AL2023, ("m7g.large",), "AL2023_ARM_64_STANDARD"),
        (AL2023, ("m7i.large",), "AL2023_x86_64_STANDARD"),
        (AL2023, ("p5.48xlarge",), "AL2023_x86_64_NVIDIA"),
        (AL2023, ("g5g.xlarge",), "AL2023_ARM_64_NVIDIA"),
        (AL2023, ("trn2.48xlarge",), "AL2023_x86_64_NEURON"),
        (AL2023, ("inf2.xlarge",), "AL2023_x86_64_NEURON"),
    ],
)
def test_ami_type(family: ImageFamily, types: tuple[str, ...], expected: str) -> None:
    assert ami_type(family, types) == expected


@pytest.mark.parametrize(
    ("family", "types", "fault"),
    [
        (BOTTLEROCKET_FAMILY, ("m7g.large", "m7i.large"), "do not run one image; use types of one architecture"),
        (BOTTLEROCKET_FAMILY, ("g6.xlarge", "m7i.large"), "do not run one image"),
        (BOTTLEROCKET_FAMILY, ("inf2.xlarge",), r"no bottlerocket image for inf2.xlarge .*; use image.family: al2023$"),
        (BOTTLEROCKET_FAMILY, ("g7.2xlarge",), "needs NVIDIA driver 595, and the images of EKS have 580; use e.g. g6e"),
        (AL2023, ("g7.2xlarge",), "needs NVIDIA driver 595"),
        (AL2023, ("dl1.24xlarge",), "use instances with NVIDIA or AWS accelerators"),
    ],
)
def test_no_image(family: ImageFamily, types: tuple[str, ...], fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as refused:
        ami_type(family, types)
    assert "\n" not in str(refused.value)


def test_the_server_edition_of_the_same_generation_has_an_image() -> None:
    assert ami_type(BOTTLEROCKET_FAMILY, ("g7e.2xlarge",)) == "BOTTLEROCKET_x86_64_NVIDIA"


@pytest.mark.parametrize("family", ImageFamily)
def test_every_nvidia_type_has_an_image_or_a_reason(family: ImageFamily) -> None:
    for name, found in instance_types().items():
        if accelerator(found.accelerator).vendor == "nvidia" and not name.startswith("g7."):
            assert "NVIDIA" in ami_type(family, (name,)), name


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("BOTTLEROCKET_x86_64_NVIDIA", True),
        ("BOTTLEROCKET_ARM_64_NVIDIA", True),
        ("BOTTLEROCKET_x86_64", False),
        ("AL2023_x86_64_NVIDIA", False),
        ("AL2023_x86_64_NEURON", False),
    ],
)
def test_who_brings_the_device_plugin(image: str, expected: bool) -> None:
    assert brings_device_plugin(image) is expected


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("BOTTLEROCKET_x86_64_NVIDIA", "/aws/service/bottlerocket/aws-k8s-1.36-nvidia/x86_64/1.66.0/image_version"),
        ("BOTTLEROCKET_ARM_64", "/aws/service/bottlerocket/aws-k8s-1.36/arm64/1.66.0/image_version"),
    ],
)
def test_the_parameter_of_a_release(image: str, expected: str) -> None:
    assert release_parameter(image, "1.36", "1.66.0") == expected


def test_bottlerocket_is_pinned_by_this_platform_where_no_release_is_named() -> None:
    assert Image().pinned == BOTTLEROCKET
    assert Image().args() == {"family": BOTTLEROCKET_FAMILY, "release": BOTTLEROCKET}
    assert Image(release="1.65.0").pinned == "1.65.0"
    assert Image(release=OLDEST_BOTTLEROCKET).pinned == OLDEST_BOTTLEROCKET


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        (
            {"family": "al2023"},
            "without one nodes change by themselves; use e.g. release: 1.36.1-20260714",
        ),
        ({"release": "latest"}, "'latest' is not a release of Bottlerocket; use e.g. 1.66.0"),
        ({"release": "v1.66.0"}, "'v1.66.0' is not a release of Bottlerocket"),
        (
            {"release": "1.9.2"},
            "1.9.2 is older than 1.53.0, the first whose NVIDIA driver the engine's image runs on; use e.g. 1",
        ),
        ({"family": "al2023", "release": "1.66.0"}, "'1.66.0' is not a release of the EKS images of AL2023"),
        ({"family": "al2"}, "family: 'al2' is not known; use 'bottlerocket' or 'al2023'"),
    ],
)
def test_a_release_that_pins_nothing_is_refused(image: dict[str, str], fault: str) -> None:
    with pytest.raises(InputError) as refused:
        validate(Image, image, "here")
    assert fault in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_release_of_al2023_belongs_to_one_version_of_kubernetes() -> None:
    image = Image(family=AL2023, release="1.36.1-20260714")
    check_release(image, "1.36")
    with pytest.raises(ValueError, match=r"1.36.1-20260714 is not a release for Kubernetes 1.37"):
        check_release(image, "1.37")
    check_release(Image(), "1.37")


def test_local_disks_count_only_where_every_type_has_them() -> None:
    assert has_local_disks((instance_type("g6.xlarge"), instance_type("g5.xlarge")))
    assert not has_local_disks((instance_type("g6.xlarge"), instance_type("g5g.xlarge")))
