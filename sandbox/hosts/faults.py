"""What can go wrong on a host, on demand."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Fault(StrEnum):
    """One way in which a host is broken until it is mended, or until it has happened often enough."""

    SSH_REFUSED = "its SSH server does not run"
    UNREACHABLE = "it does not answer at all"
    WRONG_HOST_KEY = "it has another host key than it should"
    SUDO_MISSING = "there is no sudo"
    SUDO_PASSWORD = "sudo asks for a password"  # noqa: S105 - no password
    DISK_FULL = "its disk is full"
    OLD_KERNEL = "it runs a kernel of 2016"
    NO_CGROUP_MEMORY = "its kernel has no memory controller"
    DRIVER_TOO_OLD = "its NVIDIA driver is of the branch 535"
    NOUVEAU = "the nouveau driver holds its GPUs"
    CLOCK = "its clock follows no time server"
    SWAP = "swap is in use"
    PORT_TAKEN = "another program listens on port 6443"
    DOWNLOAD = "downloads break off"
    CHECKSUM = "downloads arrive damaged"
    PACKAGES = "the package archive does not answer"
    K3S_CRASHES = "k3s ends soon after its start"
    CONNECTION_LOST = "the SSH connection breaks while a script runs"
    POWER_LOST = "it restarts while a script runs"


PASSING = frozenset({Fault.CONNECTION_LOST, Fault.POWER_LOST})
"""Those that happen at one moment, by default at the next call of a stand-in, and once."""


class Trouble(BaseModel):
    """A fault as it is set: from the `at`-th call of a stand-in (of `program`), `times` times or until it is mended."""

    model_config = ConfigDict(extra="forbid")

    fault: Fault
    times: int | None = Field(None, ge=1)
    at: int = Field(1, ge=1)
    program: str | None = None
