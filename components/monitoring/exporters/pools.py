"""Which pools have accelerators of one vendor. Pure."""

from collections.abc import Sequence

from ...accelerators.placing import runtime_class
from ...accelerators.profiles import Vendor, profile, profile_of
from ...types import NodePool


def check_pools(vendor: Vendor, pools: Sequence[NodePool]) -> None:
    """ValueError with the first fault of `pools` as the nodes that one exporter of `vendor` runs on."""
    for pool in pools:
        found = profile_of(pool.accelerator.resource).vendor if pool.accelerator else None
        if found is not vendor:
            what = f"accelerators of {profile(found).title}" if found else "no accelerators"
            raise ValueError(
                f"pool {pool.name} has {what}, and this exporter is for those of {profile(vendor).title}; leave it out"
            )
    runtime_class(pools)
