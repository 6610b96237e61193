"""How nodes come to offer their accelerators."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from pydantic import Field

from components.accelerators.profiles import Owner, Vendor, covers, profile, profile_of
from components.accelerators.rules import Support, check_owners, check_support
from components.accelerators.smoke_test import check_smoke
from components.inputs import Model
from components.types import NodePool
from settings.checking import at, inside


class SmokeTests(StrEnum):
    """Whether the vendor's own tool is run on every pool."""

    OFF = "off"
    RUN = "run"
    """A Job for each pool, beside everything else."""
    GATE = "gate"
    """A Job for each pool, and servers wait for that of theirs."""


class PluginSettings(Model):
    """A device plugin."""

    image: str | None = Field(
        None,
        min_length=1,
        description="Its image; needed where nobody published one.",
        examples=["registry.example.com/npu-device-plugin:v1.0"],
    )


class SmokeTestSettings(Model):
    """What the smoke test of a vendor runs."""

    image: str | None = Field(
        None, min_length=1, description="Image with the vendor's tool.", examples=["registry.example.com/npu-tools:v1.0"]
    )
    command: tuple[str, ...] | None = Field(
        None, min_length=1, description="A command that fails without a device.", examples=["[nvidia-smi]"]
    )

    def args(self) -> dict[str, Any]:
        """What is given."""
        return self.model_dump(exclude_none=True)


class VendorSettings(Model):
    """The accelerators of one vendor."""

    owner: Owner | None = Field(
        None,
        description="Who offers them: devicePlugin, operator or none; what is usual for the vendor when left out.",
        examples=["operator"],
    )
    plugin: PluginSettings = Field(default_factory=PluginSettings, description="Its device plugin.")
    smoke_test: SmokeTestSettings = Field(default_factory=SmokeTestSettings, description="Its smoke test.")
    driver: str | None = Field(
        None,
        min_length=1,
        description="Version of the driver on the nodes, so that a preview finds one that is too old for an engine.",
        examples=["580.95.05"],
    )


class AcceleratorSettings(Model):
    """Device plugins and what checks them; for pools whose nodes do not bring theirs."""

    smoke_test: SmokeTests = Field(
        SmokeTests.OFF,
        description="Whether the vendor's tool runs once on every pool: off, run, or gate (servers wait for it).",
        examples=["gate"],
    )
    vendors: Mapping[Vendor, VendorSettings] = Field(
        default_factory=dict, description="What is different for a vendor.", examples=["{nvidia: {owner: operator}}"]
    )

    def owner(self, vendor: Vendor) -> Owner:
        """Who offers the accelerators of a vendor."""
        named = self.vendors.get(vendor)
        return named.owner if named and named.owner else profile(vendor).owners[0]

    def image(self, vendor: Vendor) -> str | None:
        """Image of a vendor's device plugin; None for the vendor's own."""
        named = self.vendors.get(vendor)
        return named.plugin.image if named else None

    def smoke(self, pool: NodePool) -> SmokeTestSettings | None:
        """What the smoke test of a pool runs; None where there is none."""
        if self.smoke_test is SmokeTests.OFF or pool.accelerator is None:
            return None
        named = self.vendors.get(profile_of(pool.accelerator.resource).vendor)
        return named.smoke_test if named else SmokeTestSettings()

    def driver(self, pool: NodePool) -> str | None:
        """Version of the driver on the nodes of a pool; None where nobody says."""
        vendor = profile_of(pool.accelerator.resource).vendor if pool.accelerator else None
        named = self.vendors.get(vendor) if vendor else None
        return named.driver if named else None

    def supports(self, pools: Iterable[NodePool]) -> dict[str, Support]:
        """What has to be installed for `pools`, by a name; nothing for those that bring their device plugin."""
        found: dict[str, Support] = {}
        for vendor, covered in covers(pool for pool in pools if not pool.ships_device_plugin).items():
            kinds = sorted({pool.accelerator.resource for pool in covered if pool.accelerator})
            # A custom plugin offers one resource; those of vendors offer all they have.
            apart = [[kind] for kind in kinds] if vendor is Vendor.CUSTOM else [kinds]
            for resources in apart:
                name = resources[0].rpartition("/")[2].lower().replace("_", "-") if vendor is Vendor.CUSTOM else vendor.value
                found[name] = Support(
                    vendor=vendor,
                    owner=self.owner(vendor),
                    pools=[pool for pool in covered if pool.accelerator and pool.accelerator.resource in resources],
                    image=self.image(vendor),
                )
        return found


def check_accelerators(settings: AcceleratorSettings, pools: Sequence[NodePool]) -> None:
    """Raise ValueError for accelerators that two would offer or nobody can test, and for vendors that no pool has."""
    supports = settings.supports(pools)
    for support in supports.values():
        inside(f"accelerators.vendors.{support.vendor}", check_support, support)
    at("accelerators.vendors", check_owners, list(supports.values()))
    vendors = {pool.name: profile_of(pool.accelerator.resource).vendor for pool in pools if pool.accelerator}
    for pool in pools:
        if smoke := settings.smoke(pool):
            inside(f"accelerators.vendors.{vendors[pool.name]}.smokeTest", check_smoke, pool, smoke.image, smoke.command)
    if unused := sorted(settings.vendors.keys() - vendors.values()):
        raise ValueError(
            f"accelerators.vendors.{unused[0]}: no pool has its accelerators; remove it, or add a pool to cluster.nodePools"
        )
