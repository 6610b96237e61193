"""A cluster that is there already."""

import pulumi

from components.cluster import ExistingCluster, kubeconfig_path, read_context
from foundation.foundation import Foundation, provider_of
from settings.clusters import ExistingClusterSettings

CACHE_PATH = "/var/lib/llm-platform/models"


def find(cluster: ExistingClusterSettings, file: str) -> Foundation:
    """The cluster the stack file names; `file` is its name in messages."""
    found = ExistingCluster(
        "cluster",
        {
            "cluster_name": cluster.name,
            "kubeconfig": pulumi.Output.secret(read_context(kubeconfig_path(), cluster.context, f"{file}: cluster.context")),
            "kubernetes_version": cluster.kubernetes_version,
            "brings": sorted(cluster.brings),
            "node_pools": [cluster.pool(name).args() for name in cluster.node_pools],
        },
    ).contract
    provider = provider_of(found)
    return Foundation(found, provider, cache_paths=dict.fromkeys(cluster.node_pools, CACHE_PATH))
