"""What cannot be: devices with two owners, plugins nobody published, drivers that are too old. Pure; one sentence each."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from planner.catalog import Accelerator, UnknownAcceleratorError, accelerator
from planner.compatibility import driver_fault

from ..serving.engine_images import EngineImage, check_image
from ..types import NodePool, SharingKind
from .placing import runtime_class
from .profiles import Owner, Vendor, profile, profile_of
from .sharing import kinds

_OWN_MANIFEST = (Vendor.SAPEON, Vendor.CUSTOM)
"""Vendors whose plugin the user brings, and so knows what it needs."""


@dataclass(frozen=True, kw_only=True)
class Support:
    """What one `AcceleratorSupport` is asked for, as far as it can be wrong."""

    vendor: Vendor
    owner: Owner
    pools: Sequence[NodePool]
    image: str | None = None
    chart_version: str | None = None
    own_settings: Collection[str] = field(default_factory=tuple)
    """Settings of the plugin's manifest that are given."""
    mofed: bool = False


def check_support(asked: Support) -> None:
    """ValueError with the first fault of what is asked for."""
    for fault in _faults(asked):
        raise ValueError(fault)


def check_owners(supports: Sequence[Support]) -> None:
    """ValueError when two supports of one cluster own the same devices."""
    owned: dict[tuple[str, str], Support] = {}
    seen: dict[Vendor, Support] = {}
    for support in supports:
        if support.owner is Owner.NONE:
            continue
        other = seen.setdefault(support.vendor, support)
        if other is not support and support.vendor is not Vendor.CUSTOM:
            raise ValueError(
                f"the devices of {profile(support.vendor).title} have two owners, {other.owner} and {support.owner}, "
                f"and each would offer them; keep one, e.g. owner: {other.owner}"
            )
        for pool in support.pools:
            key = (pool.name, pool.accelerator.resource if pool.accelerator else "")
            if owned.setdefault(key, support) is not support:
                raise ValueError(f"pool {pool.name}: two plugins would offer its {key[1]}; leave it to one of them")


def driver_faults(pool: NodePool, driver_version: str, engine: EngineImage | None) -> tuple[str, ...]:
    """Why the nodes' driver (e.g. 580.82.07) is too old for their accelerators or the engine's image; empty when it is not."""
    version = _numbers(driver_version)
    if not version:
        return (f"pool {pool.name}: {driver_version!r} is not a version of a driver; use e.g. 580.82.07",)
    found = []
    if (card := _card(pool)) and card.driver is not None and version < _numbers(card.driver):
        found.append(
            f"pool {pool.name}: {card.name} needs driver {card.driver} or later and its nodes have {driver_version}; "
            "install a newer driver"
        )
    if engine is not None and engine.cuda_major is not None and (fault := driver_fault(engine.cuda_major, version[0])):
        found.append(f"pool {pool.name}: {fault}")
    return tuple(found)


def _card(pool: NodePool) -> Accelerator | None:
    """What the catalogue has about the accelerators of a pool."""
    if pool.accelerator is None or pool.accelerator.product is None:
        return None
    try:
        return accelerator(pool.accelerator.product)
    except UnknownAcceleratorError:
        return None


def _faults(asked: Support) -> Iterator[str]:
    yield from _wrong_owner(asked)
    yield from _wrong_pools(asked)
    yield from _wrong_plugin(asked)
    yield from _wrong_sharing(asked)


def _wrong_owner(asked: Support) -> Iterator[str]:
    known = profile(asked.vendor)
    if asked.owner not in known.owners:
        others = " or ".join(known.owners)
        yield f"owner: {asked.owner} is not known for {known.title}; use {others}"


def _wrong_pools(asked: Support) -> Iterator[str]:
    known = profile(asked.vendor)
    resources: dict[str, str] = {}
    for pool in asked.pools:
        if pool.accelerator is None:
            yield f"pools: pool {pool.name} has no accelerators; leave it out"
            continue
        resource = pool.accelerator.resource
        resources.setdefault(resource, pool.name)
        maker = profile_of(resource)
        if maker.vendor is not asked.vendor:
            yield (
                f"pools: pool {pool.name} offers {resource}, which are accelerators of {maker.title} and not of {known.title}; "
                f"use vendor: {maker.vendor}"
            )
        if pool.ships_device_plugin and asked.owner is not Owner.NONE:
            yield (
                f"pools: the nodes of pool {pool.name} bring their device plugin, and a second one would offer {resource} again; "
                "leave the pool out, or use owner: none"
            )
    if asked.vendor is Vendor.CUSTOM and len(resources) > 1:
        yield f"pools: one plugin offers one custom resource, and these have {' and '.join(resources)}; give each its own support"
    if asked.owner is not Owner.NONE:
        try:
            runtime_class(asked.pools)
        except ValueError as error:
            yield f"pools: {error}"


def _wrong_plugin(asked: Support) -> Iterator[str]:
    known = profile(asked.vendor)
    if asked.owner is Owner.NONE:
        if asked.image or asked.chart_version or asked.own_settings:
            yield "plugin: owner none installs no plugin; remove it, or use owner: devicePlugin"
        return
    if asked.image is not None:
        try:
            check_image(asked.image)
        except ValueError as error:
            yield f"plugin.image: {error}"
        if asked.owner is Owner.OPERATOR:
            yield "plugin.image: the operator brings the plugin that it was tested with; remove it"
    elif known.plugin is not None and known.plugin.image is None:
        reason = (
            "no device plugin for Sapeon is published" if asked.vendor is Vendor.SAPEON else "a custom plugin is not known here"
        )
        yield f"plugin.image is missing: {reason}; name yours with its tag, e.g. registry.example.com/npu-device-plugin:v1.0"
    if asked.chart_version is not None and known.plugin is not None:
        yield f"plugin.chart_version: the plugin of {known.title} comes without a chart; use plugin.image"
    if asked.own_settings and asked.vendor not in _OWN_MANIFEST:
        yield (
            f"plugin.{min(asked.own_settings)}: the plugin of {known.title} runs as its vendor published it; "
            "remove it, or use vendor: custom with a resource of your own"
        )


def _wrong_sharing(asked: Support) -> Iterator[str]:
    if asked.owner is Owner.NONE:
        return
    shared = kinds(asked.pools)
    if asked.owner is Owner.OPERATOR and {SharingKind.MIG, SharingKind.MPS} <= shared:
        yield (
            "pools: the operator has one MIG strategy for all nodes, and MPS does not work with instances; "
            "use owner: devicePlugin, or timeSlicing in place of mps"
        )
    fabric = [pool.name for pool in asked.pools if pool.fabric_interfaces]
    if asked.mofed and fabric:
        yield (
            f"mofed: the plugin would hand the network devices of pool {fabric[0]} to every pod with a GPU, and EFA's own plugin "
            "offers them; remove it"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))
