"""EC2's vCPU quotas against what pools need at their largest. Pure; the codes are in quotas.yaml with their source."""

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from planner.catalog import instance_types
from planner.catalog.files import load_yaml

Market = Literal["onDemand", "spot"]

_SIZES = {"nano": 2, "micro": 2, "small": 2, "medium": 1, "large": 2, "xlarge": 4}
"""vCPUs by size of types without accelerators; `Nxlarge` has N times those of xlarge (EC2 instance type specifications)."""


@dataclass(frozen=True)
class Quota:
    """One quota of EC2 on running vCPUs."""

    code: str
    name: str


@dataclass(frozen=True)
class Demand:
    """What a pool needs at its largest."""

    key: str
    """Its key in the stack file."""
    instance_types: tuple[str, ...]
    max_nodes: int
    markets: tuple[Market, ...]
    """Where its instances may come from; a reservation counts as on-demand."""

    @property
    def vcpus(self) -> int:
        """vCPUs if all nodes are of the largest type."""
        return self.max_nodes * max(map(vcpus, self.instance_types))


@cache
def _table() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = load_yaml(Path(__file__).with_suffix(".yaml"))
    return found


def vcpus(instance_type: str) -> int:
    """vCPUs of an instance type. Raises ValueError for a size nobody knows."""
    if found := instance_types().get(instance_type):
        return found.vcpus
    size = instance_type.partition(".")[2]
    many = re.fullmatch(r"(\d+)xlarge", size)
    if not many and size not in _SIZES:
        raise ValueError(f"{instance_type!r} is not an instance type this platform knows the size of; use e.g. m7g.large")
    if size == "medium" and instance_type.startswith("t"):
        return 2  # burstable ones alone have two
    return int(many[1]) * _SIZES["xlarge"] if many else _SIZES[size]


def quota(instance_type: str, market: Market) -> Quota:
    """The quota that counts instances of a type. Raises ValueError for a family without one here."""
    parts = re.match(r"([a-z]+)(\d*)", instance_type)
    family, generation = (parts[1], int(parts[2] or 0)) if parts else ("", 0)
    for row in _table():
        if family in row["families"] and generation in row.get("generations", [generation]):
            return Quota(**row[market])
    raise ValueError(f"{instance_type!r} is of no family that has a quota here; use e.g. g6.xlarge")


def demands(pools: Iterable[Demand]) -> dict[Quota, list[Demand]]:
    """By quota the pools it counts. One that may come from two markets is counted in both: either may have to do.

    What is of a family or a size that is not known here is left out: it may well be had.
    """
    found: dict[Quota, list[Demand]] = {}
    for pool in pools:
        for market in pool.markets:
            with contextlib.suppress(ValueError):
                limit, _ = quota(pool.instance_types[0], market), pool.vcpus
                found.setdefault(limit, []).append(pool)
    return found


def shortages(needed: Mapping[Quota, list[Demand]], values: Mapping[str, float], region: str) -> list[str]:
    """A sentence for each quota (value by code) that is less than its pools need."""
    sentences = []
    for limit, pools in needed.items():
        wanted, value = sum(pool.vcpus for pool in pools), values.get(limit.code)
        if value is not None and value < wanted:
            sentences.append(
                f"{', '.join(pool.key for pool in pools)}: {wanted} vCPUs are needed at the largest, but the account's quota "
                f"{limit.code} ({limit.name}) in {region} is {value:g}; ask for more: aws service-quotas "
                f"request-service-quota-increase --service-code ec2 --quota-code {limit.code} --desired-value {wanted}"
            )
    return sentences


def not_offered(pool: Demand, zones: Iterable[str], offers: Mapping[str, frozenset[str]]) -> str | None:
    """A sentence when none of the pool's types can be had in one of its zones; `offers` has the zones of each type."""
    for zone in zones:
        if any(zone in offers.get(name, ()) for name in pool.instance_types):
            continue
        elsewhere = sorted({other for name in pool.instance_types for other in offers.get(name, ())})
        works = f"use zones: [{', '.join(elsewhere)}]" if elsewhere else "use another region, or another type"
        return f"{pool.key}: {' and '.join(pool.instance_types)} cannot be had in {zone}; {works}"
    return None
