"""The hardware catalogue: typed, frozen views of the YAML files beside this module."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict


class UnknownInstanceTypeError(LookupError):
    """The catalogue has no such instance type; the message names the nearest ones."""


class Gpu(BaseModel):
    """The GPUs of one kind in an instance; `memory_mib` (MiB) is the memory of one of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manufacturer: str
    name: str
    count: int
    memory_mib: int


class InstanceType(BaseModel):
    """What one EC2 instance type has; sources and units stand at the head of instances.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    vcpus: int
    memory_mib: int
    arch: Literal["x86_64", "arm64"]
    gpus: tuple[Gpu, ...]
    nvme_gb: int = 0
    efa: bool
    efa_max_interfaces: int = 0
    network: str
    usd_per_hour_us_east_1: float | None = None


@cache
def instance_types() -> Mapping[str, InstanceType]:
    """Every instance type of the catalogue by name, in the order of the file; read once."""
    raw = yaml.safe_load((Path(__file__).parent / "instances.yaml").read_text(encoding="utf-8"))
    return MappingProxyType({name: InstanceType(name=name, **fields) for name, fields in raw.items()})


def instance_type(name: str) -> InstanceType:
    """The instance type `name`.

    Raises UnknownInstanceTypeError when the catalogue has none of that name.
    """
    known = instance_types()
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=3)
    raise UnknownInstanceTypeError(
        f"{name} is not in the instance catalogue" + (f"; the nearest are {', '.join(near)}" if near else "")
    )
