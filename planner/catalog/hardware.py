"""Accelerators, EC2 instance types and their prices: typed, frozen views of the YAML files beside this module.

A file is read once, when something in it is first asked for.
"""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from planner.catalog.files import load_yaml

Vendor = Literal["nvidia", "amd", "intel", "aws", "google", "rebellions", "sapeon"]
Interconnect = Literal["nvlink", "pcie", "xgmi", "neuronlink", "ici", "roce"]


class UnknownAcceleratorError(LookupError):
    """The catalogue has no such accelerator; `fact` names the nearest ones, and the message the command line's way round."""

    def __init__(self, fact: str) -> None:
        super().__init__(f"{fact}, and --gpu-memory-gib works for any other card")
        self.fact = fact


class UnknownInstanceTypeError(LookupError):
    """The catalogue has no such instance type; the message names the nearest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One device: what one unit of the Kubernetes resource stands for."""

    name: str
    """Key in accelerators.yaml, e.g. H100-80GB."""
    vendor: Vendor
    product: str
    """What the driver or the vendor's tool calls it, e.g. NVIDIA H100 80GB HBM3."""
    aliases: tuple[str, ...] = ()
    """Other names it is found by."""
    memory_gib: float
    """Total memory in GiB as the engine sees it: less than the data sheet states."""
    compute_capability: tuple[int, int] | None = None
    """CUDA compute capability; None for other vendors."""
    architecture: str
    multiprocessors: int | None = None
    """Streaming multiprocessors (NVIDIA), compute units (AMD) or NeuronCores (AWS)."""
    memory_bandwidth_gb_per_s: float | None = None
    """GB/s of the device's own memory."""
    bf16_tflops: float | None = None
    """Dense TFLOPS in bfloat16, or in float16 where it has no bfloat16; None where no source states it."""
    fp8_tflops: float | None = None
    """Dense TFLOPS in 8-bit floating point."""
    formats: frozenset[str]
    """Number formats its matrix units compute in: float16, bfloat16, int8, fp8, mxfp4, nvfp4."""
    interconnect: Interconnect
    """How the devices of a node reach one another."""
    interconnect_gb_per_s: float | None = None
    """GB/s of one device over that link, both directions together."""
    driver: str | None = None
    """First driver branch (NVIDIA, e.g. R570) or stack release that supports it."""
    resource: str
    """Kubernetes extended resource, e.g. nvidia.com/gpu."""
    source: str
    """Where the values are from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """What one EC2 instance type has; units and sources stand at the head of instances.yaml."""

    name: str
    vcpus: int
    memory_mib: int
    """Memory in MiB as AWS advertises it."""
    arch: Literal["x86_64", "arm64"]
    accelerator: str
    """Key in accelerators.yaml."""
    accelerator_count: int
    """GPUs or Neuron chips; 0 where it has a fraction of a GPU."""
    nvme_gb: int = 0
    """GB of instance store in all."""
    efa_max_interfaces: int = 0
    network: str | None = None
    """Network performance in AWS's words, e.g. Up to 25 Gigabit; None where the source has no words for it."""
    network_gbps: float | None = None
    """Gbit/s the network sustains."""
    zones: tuple[str, ...] = ()
    """Zones that offer it, where a caller knows them; the catalogue states none, for they differ by account."""
    source: str
    """Where the values are from."""

    @property
    def efa(self) -> bool:
        """Whether it can have an Elastic Fabric Adapter."""
        return self.efa_max_interfaces > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What an instance costs, and who says so."""

    usd_per_hour: float
    source: str
    date: datetime.date
    """When the source recorded it."""


@cache
def accelerators() -> Mapping[str, Accelerator]:
    """Every accelerator of the catalogue by name, in the order of the file."""
    found = {}
    for group in _data("accelerators"):
        cards = group.pop("accelerators")
        for name, card in cards.items():
            fields = group | card
            fields["source"] = "; ".join(text["source"] for text in (card, group) if "source" in text)
            capability = fields.get("compute_capability")
            found[name] = Accelerator(
                **fields
                | {
                    "name": name,
                    "aliases": tuple(fields.get("aliases", ())),
                    "formats": frozenset(fields["formats"]),
                    "compute_capability": (capability[0], capability[1]) if capability else None,
                }
            )
    return MappingProxyType(found)


def accelerator(name: str) -> Accelerator:
    """The accelerator `name`: its key, what the driver calls it, or any usual spelling of either.

    Case, punctuation, vendor and brand names do not matter, and neither does a memory size or form factor that fits the card:
    `NVIDIA-H100-80GB-HBM3`, `h100` and `nvidia-h100-80gb` are the same. Raises UnknownAcceleratorError for any other.
    """
    names, known = _names(), accelerators()
    plain = _plain(name)
    for spelling in (plain, [word for word in plain if not _FORM.fullmatch(word)]):
        if (key := names.get("".join(spelling))) is not None:
            return known[key]
        # A size beside a name that is enough without it: RTX 4090 24GB. It must fit, or an A100 of another size would be found.
        sizes = [float(size[1]) for word in spelling if (size := _SIZE.fullmatch(word))]
        key = names.get("".join(word for word in spelling if not _SIZE.fullmatch(word)))
        if key is not None and len(sizes) == 1 and 0.85 <= known[key].memory_gib / sizes[0] <= 1:
            return known[key]
    asked = "".join(plain)
    alike = [spelled for spelled in names if spelled[:1] == asked[:1]] or list(names)
    near = dict.fromkeys(names[match] for match in get_close_matches(asked, alike, n=9, cutoff=0))
    raise UnknownAcceleratorError(f"{name!r} is not in the accelerator catalogue; the nearest are {', '.join(list(near)[:3])}")


@cache
def instance_types() -> Mapping[str, InstanceType]:
    """Every instance type of the catalogue by name, in the order of the file."""
    return MappingProxyType(
        {
            name: InstanceType(name=name, source=group["source"], **fields)
            for group in _data("instances")
            for name, fields in group["types"].items()
        }
    )


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


def on_demand_price(instance_type: str, region: str = "us-east-1") -> Price | None:
    """The on-demand price of an instance type in a region; None where no source is named, then it is a setting."""
    return _on_demand().get((region, instance_type))


@cache
def _on_demand() -> Mapping[tuple[str, str], Price]:
    return {
        (region, name): Price(usd_per_hour=usd, source=listed["source"], date=listed["date"])
        for region, listed in _data("prices")["on_demand"].items()
        for name, usd in listed["usd_per_hour"].items()
    }


# Words that tell nothing of which card it is.
_BRANDS = frozenset(
    [
        "nvidia",
        "tesla",
        "geforce",
        "tensor",
        "core",
        "gpu",
        "amd",
        "instinct",
        "intel",
        "habana",
        "aws",
        "google",
        "cloud",
        "sapeon",
    ]
)
# Form factors and kinds of memory: dropped only when the name is not known with them, since an H100 PCIe is not an H100 SXM.
_FORM = re.compile(r"sxm\d?|oam|hbm\d?e?|gddr\dx?|pcie|nvl\d+")
_SIZE = re.compile(r"(\d+)gb")


def _plain(name: str) -> list[str]:
    words = re.findall(r"[a-z0-9]+\+?", name.lower().replace("®", "").replace("™", ""))
    return [re.sub(r"^(\d+)(?:g|gib)$", r"\1gb", word) for word in words if word not in _BRANDS]


@cache
def _names() -> Mapping[str, str]:
    """Plain spelling of every key, product and alias, to the key."""
    return {"".join(_plain(text)): key for key, card in accelerators().items() for text in (key, card.product, *card.aliases)}


def _data(stem: str) -> Any:
    return load_yaml(Path(__file__).parent / f"{stem}.yaml")
