"""One accelerator for several servers: what a part of it has.

Sources: NVIDIA MIG User Guide (instances have memory, cache and processors of their own, and reach no other over NVLink or PCIe),
NVIDIA/k8s-device-plugin README (time-slicing: turns in time, no isolation of memory).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

from planner.catalog.files import load_yaml
from planner.catalog.hardware import Accelerator
from planner.options import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class MigProfile:
    """One kind of MIG instance of one card."""

    name: str
    """As `nvidia-smi mig -lgip` lists it, e.g. 3g.40gb."""
    count: int
    """Instances of this kind on one card, when it is cut into these alone."""
    memory_gib: float | None
    """Memory of one; None where no source states it."""
    processors: float
    """Its share of the card's processors."""


def mig_profiles(card: str) -> Mapping[str, MigProfile]:
    """The profiles of a card of the catalogue by name; empty for one that cannot be cut."""
    return _profiles().get(card, {})


def mig_profile(card: str, profile: str) -> MigProfile:
    """One profile of a card. Raises ValueError, with those it has, for any other."""
    known = mig_profiles(card)
    if not known:
        raise ValueError(f"{card} has no MIG; use a card that has, e.g. H100-80GB, or kind: timeSlicing")
    if profile not in known:
        raise ValueError(f"{profile!r} is not a MIG profile of {card}; use {', '.join(known)}")
    return known[profile]


def instance_of(card: Device, profile: MigProfile, memory_gib: float | None) -> Device:
    """A MIG instance as the engine sees it; `memory_gib` goes before what the catalogue knows.

    Raises ValueError where neither is there.
    """
    memory = memory_gib or profile.memory_gib
    if memory is None:
        raise ValueError(
            f"how much memory a {profile.name} instance of {card.name} has is not known here; add memoryGib: with what "
            "`nvidia-smi mig -lgip` prints"
        )
    return _part(card, f"{card.name} {profile.name}", memory, profile.processors, memory / card.memory_gib)


def turn_of(card: Device, replicas: int) -> Device:
    """What one of `replicas` servers may count on that take turns on a card: its part of the memory and of the time."""
    share = 1 / replicas
    return _part(card, f"{card.name} / {replicas}", card.memory_gib * share, share, share)


def _part(card: Device, name: str, memory_gib: float, processors: float, bandwidth: float) -> Device:
    return replace(
        card,
        name=name,
        memory_gib=memory_gib,
        multiprocessors=max(1, int(card.multiprocessors * processors)),
        nvlink=False,
        accelerator=card.accelerator and _scaled(card.accelerator, memory_gib, processors, bandwidth),
    )


def _scaled(card: Accelerator, memory_gib: float, processors: float, bandwidth: float) -> Accelerator:
    return replace(
        card,
        memory_gib=memory_gib,
        multiprocessors=card.multiprocessors and max(1, int(card.multiprocessors * processors)),
        memory_bandwidth_gb_per_s=card.memory_bandwidth_gb_per_s and card.memory_bandwidth_gb_per_s * bandwidth,
        bf16_tflops=card.bf16_tflops and card.bf16_tflops * processors,
        fp8_tflops=card.fp8_tflops and card.fp8_tflops * processors,
        interconnect="pcie",
        interconnect_gb_per_s=None,
    )


@cache
def _profiles() -> Mapping[str, Mapping[str, MigProfile]]:
    found: dict[str, Mapping[str, MigProfile]] = {}
    for group in load_yaml(Path(__file__).parent / "catalog" / "mig.yaml"):
        profiles = {
            name: MigProfile(
                name=name,
                count=entry["count"],
                memory_gib=entry.get("memory_gib"),
                processors=int(name[0]) / group["compute_slices"],
            )
            for name, entry in group["instances"].items()
        }
        found |= dict.fromkeys(group["cards"], MappingProxyType(profiles))
    return MappingProxyType(found)
