"""The simulated hardware a stack file declares under `sandbox:hosts`, by host name."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from components.inputs import Matching, Model
from planner.catalog import UnknownAcceleratorError, accelerator
from sandbox.control_plane.node_groups import Quantity

BASTION = "bastion"
"""Name of the host that leads to the others, where one is asked for."""


class Os(StrEnum):
    """An operating system, by ID and VERSION_ID of its /etc/os-release."""

    UBUNTU_22_04 = "ubuntu-22.04"
    UBUNTU_24_04 = "ubuntu-24.04"
    DEBIAN_12 = "debian-12"
    DEBIAN_13 = "debian-13"
    RHEL_9 = "rhel-9"
    RHEL_10 = "rhel-10"
    ROCKY_9 = "rocky-9"
    SLES_15 = "sles-15.6"
    ALPINE_3_22 = "alpine-3.22"


def _product(value: str) -> str:
    try:
        return accelerator(value).name
    except UnknownAcceleratorError as error:
        raise ValueError(str(error)) from error


def _absolute(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/"):
        raise ValueError(f"{value!r} is no absolute path; use e.g. /srv/k3s")
    return value


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
DriverVersion = Annotated[
    str, Matching(pattern=r"\d{3}\.\d{1,3}(\.\d{1,2})?", what="an NVIDIA driver version", example="580.95.05")
]
ToolkitVersion = Annotated[str, Matching(pattern=r"\d+\.\d+\.\d+", what="a version of the container toolkit", example="1.20.0")]
KernelVersion = Annotated[
    str, Matching(pattern=r"\d+\.\d+(\.\d+)?([-+.].*)?", what="a kernel release", example="6.8.0-87-generic")
]
K3sVersion = Annotated[str, Matching(pattern=r"v\d+\.\d+\.\d+\+k3s\d+", what="a k3s version", example="v1.36.3+k3s1")]


class Accelerators(Model):
    """The accelerators on the PCI bus of one host, all alike."""

    product: Annotated[str, AfterValidator(_product)] = Field(examples=["H100-80GB"])
    """Name in the planner's catalogue."""
    count: int = Field(1, ge=1, le=16, strict=True, examples=[8])
    """Devices of the host."""


class Mirror(Model):
    """What an air-gapped installation finds on the host."""

    directory: AbsolutePath = Field("/srv/k3s", examples=["/srv/k3s"])
    """Where it lies."""
    k3s: K3sVersion = Field(examples=["v1.36.3+k3s1"])
    """Release whose files are in it."""
    toolkit: ToolkitVersion = Field("1.20.0", examples=["1.20.0"])
    """Version of the NVIDIA container toolkit whose packages are in it."""


class HostSpec(Model):
    """One host as it is found; by default a healthy Ubuntu 24.04 without accelerators."""

    os: Os = Field(Os.UBUNTU_24_04, examples=["ubuntu-24.04"])
    """Operating system."""
    kernel: KernelVersion | None = Field(None, examples=["6.8.0-87-generic"])
    """Kernel release; that of the operating system by default."""
    cpus: int = Field(32, ge=1, le=1024, strict=True, examples=[32])
    """Processors."""
    memory: Quantity = Field("256Gi", examples=["256Gi"])
    """Memory."""
    disk: Quantity = Field("1Ti", examples=["1Ti"])
    """Size of the root file system, of which nearly all is free."""
    accelerator: Accelerators | None = None
    """Accelerators on the PCI bus."""
    driver: DriverVersion | None = Field("580.95.05", examples=["580.95.05"])
    """NVIDIA driver, where there are NVIDIA accelerators; null for none installed."""
    toolkit: ToolkitVersion | None = Field(None, examples=["1.20.0"])
    """NVIDIA container toolkit installed already."""
    swap: bool = Field(False, examples=[False])
    """Whether a swap file is in use and in /etc/fstab."""
    nouveau: bool = Field(False, examples=[False])
    """Whether the nouveau driver holds the GPUs."""
    clock_synchronised: bool = Field(True, examples=[True])
    """Whether the clock follows a time server."""
    internet: bool = Field(True, examples=[True])
    """Whether the host reaches anything beyond the other hosts."""
    mirror: Mirror | None = None
    """Directory with everything an air-gapped installation needs."""

    @model_validator(mode="after")
    def _can_be(self) -> "HostSpec":
        if self.nouveau and self.accelerator is None:
            raise ValueError("nouveau: there is no GPU it could hold; add accelerator: {product: L4} or remove nouveau")
        return self

    @property
    def has_nvidia(self) -> bool:
        """Whether there are NVIDIA accelerators."""
        return self.accelerator is not None and accelerator(self.accelerator.product).vendor == "nvidia"
