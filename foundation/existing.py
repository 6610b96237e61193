"""A cluster that is there already."""

import pulumi
import pulumi_kubernetes as kubernetes

from components.cluster import ExistingCluster, kubeconfig_path, read_context
from foundation.foundation import Foundation
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
            "node_pools": [cluster.pool(name).args() for name in cluster.node_pools],
        },
    ).contract
    provider = kubernetes.Provider("kubernetes", kubeconfig=found.kubeconfig, cluster_identifier=found.identifier)
    return Foundation(found, provider, cache_paths=dict.fromkeys(cluster.node_pools, CACHE_PATH))
