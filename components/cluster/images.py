"""Machine images of nodes: which EKS has for which instances, and how a release is pinned. Pure."""

import re
from enum import StrEnum
from typing import NotRequired, TypedDict

from pydantic import Field, model_validator

from planner.catalog import InstanceType, instance_types
from planner.catalog import accelerator as catalogue_accelerator

from ..inputs import Matching, Model
from ..versions import BOTTLEROCKET


class ImageFamily(StrEnum):
    """Operating system of a machine image."""

    BOTTLEROCKET = "bottlerocket"
    """Made for containers; its NVIDIA variants bring the device plugin."""
    AL2023 = "al2023"
    """Amazon Linux 2023, for which a device plugin has to run in the cluster."""


_RELEASES = {
    "bottlerocket": Matching(pattern=r"\d+\.\d+\.\d+", what="a release of Bottlerocket", example="1.66.0"),
    "al2023": Matching(pattern=r"1\.\d+\.\d+-20\d{6}", what="a release of the EKS images of AL2023", example="1.36.1-20260714"),
}

OLDEST_BOTTLEROCKET = "1.53.0"
"""The first whose variants all have NVIDIA driver R580 (bottlerocket.dev, GPU drivers), which the engine's image needs."""

_NEEDS_NEWER_DRIVER = ("g7.",)
"""RTX PRO 4500 needs driver 595, the images have 580 (awslabs/amazon-eks-ami doc/usage/g7-ami.md)."""

_VARIANTS = {
    ("bottlerocket", None): {"x86_64": "BOTTLEROCKET_x86_64", "arm64": "BOTTLEROCKET_ARM_64"},
    ("bottlerocket", "nvidia"): {"x86_64": "BOTTLEROCKET_x86_64_NVIDIA", "arm64": "BOTTLEROCKET_ARM_64_NVIDIA"},
    ("al2023", None): {"x86_64": "AL2023_x86_64_STANDARD", "arm64": "AL2023_ARM_64_STANDARD"},
    ("al2023", "nvidia"): {"x86_64": "AL2023_x86_64_NVIDIA", "arm64": "AL2023_ARM_64_NVIDIA"},
    ("al2023", "aws"): {"x86_64": "AL2023_x86_64_NEURON"},
}
"""By family and vendor of the accelerators (None without), then by architecture: the `amiType` of EKS (EKS API, Nodegroup)."""


class ImageArgs(TypedDict):
    """The machine image of nodes; it changes only with these values."""

    family: NotRequired[ImageFamily]
    """Operating system: `bottlerocket` (the default) or `al2023`."""
    release: NotRequired[str]
    """Its release: `1.66.0` for Bottlerocket, `1.36.1-20260714` for AL2023; that of this platform for Bottlerocket by default."""


class Image(Model):
    """Validated `ImageArgs`."""

    family: ImageFamily = Field(ImageFamily.BOTTLEROCKET, description="Operating system.", examples=["bottlerocket"])
    release: str | None = Field(
        None,
        description="Release, so that nodes never change by themselves; Bottlerocket's by this platform when left out.",
        examples=["1.66.0"],
    )

    @model_validator(mode="after")
    def _pinned(self) -> "Image":
        form = _RELEASES[self.family]
        if self.release is not None:
            form.check(self.release)
            if self.family is ImageFamily.BOTTLEROCKET and _number(self.release) < _number(OLDEST_BOTTLEROCKET):
                raise ValueError(
                    f"release: {self.release} is older than {OLDEST_BOTTLEROCKET}, the first whose NVIDIA driver the engine's "
                    f"image runs on; use e.g. {BOTTLEROCKET}"
                )
        elif self.family is ImageFamily.AL2023:
            raise ValueError(f"release is missing, and without one nodes change by themselves; use e.g. release: {form.example}")
        return self

    @property
    def pinned(self) -> str:
        """The release."""
        return self.release or BOTTLEROCKET

    def args(self) -> ImageArgs:
        """The same image as a component takes it."""
        return {"family": self.family, "release": self.pinned}


def architecture(name: str) -> str:
    """`x86_64` or `arm64`, of any instance type.

    Types without accelerators are not in the planner's catalogue; there a `g` among the letters after the generation stands for
    Graviton (EC2 user guide, "Amazon EC2 instance type naming conventions").
    """
    if found := instance_types().get(name):
        return found.arch
    family = re.fullmatch(r"[a-z]+\d+([a-z-]*)\..+", name)
    if not family:
        raise ValueError(f"{name!r} is not an instance type of EC2; use e.g. m7g.large")
    return "arm64" if "g" in family[1] or name.startswith("a1.") else "x86_64"


def vendor(name: str) -> str | None:
    """Who makes the accelerators of an instance type; None without."""
    found = instance_types().get(name)
    return catalogue_accelerator(found.accelerator).vendor if found else None


def ami_type(family: ImageFamily, types: tuple[str, ...]) -> str:
    """The `amiType` of EKS. Raises ValueError, with what would work, where EKS has no image for these instances."""
    architectures, vendors = {architecture(name) for name in types}, {vendor(name) for name in types}
    if len(architectures) > 1 or len(vendors) > 1:
        raise ValueError(f"instanceTypes: {', '.join(types)} do not run one image; use types of one architecture and one vendor")
    for name in types:
        if name.startswith(_NEEDS_NEWER_DRIVER):
            raise ValueError(
                f"instanceTypes: {name} needs NVIDIA driver 595, and the images of EKS have 580; use e.g. g6e.12xlarge"
            )
    (arch,), (made_by,) = architectures, vendors
    image = _VARIANTS.get((family, made_by), {}).get(arch)
    if image:
        return image
    others = sorted(name for (name, who), by_arch in _VARIANTS.items() if who == made_by and arch in by_arch)
    works = f"use image.family: {others[0]}" if others else "use instances with NVIDIA or AWS accelerators"
    raise ValueError(f"instanceTypes: EKS has no {family} image for {types[0]} ({made_by or 'no accelerators'}, {arch}); {works}")


def brings_device_plugin(image: str) -> bool:
    """Whether nodes of an `amiType` offer their accelerators by themselves, as Bottlerocket's NVIDIA variants do."""
    return image.startswith("BOTTLEROCKET") and "NVIDIA" in image


def release_parameter(image: str, kubernetes_version: str, release: str) -> str:
    """The public SSM parameter with the full name of a Bottlerocket release, e.g. `1.66.0-5d9ac849`, as EKS wants it.

    With the release in its path, and not `latest`, it never tells another one.
    """
    variant = f"aws-k8s-{kubernetes_version}{'-nvidia' if 'NVIDIA' in image else ''}"
    return f"/aws/service/bottlerocket/{variant}/{'arm64' if 'ARM_64' in image else 'x86_64'}/{release}/image_version"


def check_release(image: Image, kubernetes_version: str) -> None:
    """Raise ValueError for an AL2023 release of another Kubernetes version."""
    if image.family is ImageFamily.AL2023 and not image.pinned.startswith(f"{kubernetes_version}."):
        raise ValueError(
            f"image.release: {image.pinned} is not a release for Kubernetes {kubernetes_version}; use one that begins with "
            f"{kubernetes_version}, as `aws ssm get-parameter` tells it for /aws/service/eks/optimized-ami/{kubernetes_version}/…"
        )


def _number(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))


def has_local_disks(types: tuple[InstanceType, ...]) -> bool:
    """Whether all of them have NVMe disks of their own."""
    return all(found.nvme_gb for found in types)
