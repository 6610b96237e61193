"""Hosts of one's own made into a cluster with k3s, over SSH."""

from .k3s_cluster import K3sCluster
from .settings import K3sClusterArgs

__all__ = ["K3sCluster", "K3sClusterArgs"]
