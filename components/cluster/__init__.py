"""Clusters: made here or existing, all behind `ClusterContract`."""

from components.cluster.contract import ClusterContract, WorkloadIdentity
from components.cluster.eks_cluster import EksCluster, EksClusterArgs
from components.cluster.existing import ExistingCluster, ExistingClusterArgs
from components.cluster.flow_log import flow_log_group
from components.cluster.gpu_node_group import GpuNodeGroup, GpuNodeGroupArgs
from components.cluster.karpenter import Karpenter, KarpenterArgs
from components.cluster.kubeconfig import kubeconfig_path, read_context
from components.cluster.network import NatGateways, Network, NetworkArgs
from components.cluster.system_node_group import SystemNodeGroup, SystemNodeGroupArgs

__all__ = [
    "ClusterContract",
    "EksCluster",
    "EksClusterArgs",
    "ExistingCluster",
    "ExistingClusterArgs",
    "GpuNodeGroup",
    "GpuNodeGroupArgs",
    "Karpenter",
    "KarpenterArgs",
    "NatGateways",
    "Network",
    "NetworkArgs",
    "SystemNodeGroup",
    "SystemNodeGroupArgs",
    "WorkloadIdentity",
    "flow_log_group",
    "kubeconfig_path",
    "read_context",
]
