"""What makes the nodes of a stack offer their accelerators, and shows that they do."""

from typing import cast

import pulumi

from components.accelerators import AcceleratorSupport, EfaDevicePlugin, SmokeTest, SmokeTestArgs
from foundation.foundation import Foundation
from foundation.secrets import MadeSecrets
from settings.accelerators import SmokeTests
from settings.sections import Settings


def equip(config: Settings, below: Foundation, secrets: MadeSecrets) -> dict[str, list[pulumi.Resource]]:
    """Device plugins for the pools that bring none, and smoke tests where they are wanted.

    Returns by pool what its servers wait for.
    """
    pools, agents = below.cluster.node_pools, secrets.namespaces[config.namespaces.node_agents]
    models = secrets.namespaces[config.namespaces.models]
    on_cluster = pulumi.ResourceOptions(provider=below.provider)
    awaited: dict[str, list[pulumi.Resource]] = {pool.name: [] for pool in pools}
    for name, support in config.accelerators.supports(pools).items():
        made = AcceleratorSupport(
            name,
            {
                "namespace_name": agents,
                "vendor": support.vendor,
                "owner": support.owner,
                "pools": [pool.args() for pool in support.pools],
                "plugin": {"image": support.image} if support.image else {},
                "image_pull_secrets": secrets.image_pull(config.namespaces.node_agents),
                "host": below.host_software,
                "system_labels": dict(below.system_labels),
            },
            opts=on_cluster,
        )
        for pool in support.pools:
            awaited[pool.name].append(made)
    if fabric := [pool for pool in pools if pool.fabric_interfaces]:
        plugin = EfaDevicePlugin("efa", {"namespace_name": agents, "pools": [pool.args() for pool in fabric]}, opts=on_cluster)
        for pool in fabric:
            awaited[pool.name].append(plugin)
    for pool in pools:
        if smoke := config.accelerators.smoke(pool):
            tested = SmokeTest(
                pool.name,
                cast(SmokeTestArgs, {"namespace_name": models, "pool": pool.args(), **smoke.args()}),
                opts=pulumi.ResourceOptions(provider=below.provider, depends_on=list(awaited[pool.name])),
            )
            if config.accelerators.smoke_test is SmokeTests.GATE:
                awaited[pool.name].append(tested)
    return awaited
