"""Clusters: made here or existing, all behind `ClusterContract`."""

from components.cluster.contract import ClusterContract, WorkloadIdentity
from components.cluster.existing import ExistingCluster, ExistingClusterArgs
from components.cluster.kubeconfig import kubeconfig_path, read_context

__all__ = ["ClusterContract", "ExistingCluster", "ExistingClusterArgs", "WorkloadIdentity", "kubeconfig_path", "read_context"]
