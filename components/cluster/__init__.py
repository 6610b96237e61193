"""Clusters: made here or existing, all behind `ClusterContract`."""

from .contract import ClusterContract, WorkloadIdentity
from .eks_cluster import EksCluster, EksClusterArgs
from .existing import ExistingCluster, ExistingClusterArgs
from .flow_log import flow_log_group
from .gpu_node_group import GpuNodeGroup, GpuNodeGroupArgs
from .karpenter import Karpenter, KarpenterArgs
from .kubeconfig import kubeconfig_path, read_context
from .network import NatGateways, Network, NetworkArgs
from .system_node_group import SystemNodeGroup, SystemNodeGroupArgs

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
