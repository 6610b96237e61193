"""What every kind of cluster yields, and all that the rest of the platform may use of one."""

from dataclasses import dataclass
from enum import StrEnum

import pulumi

from components.types import NodePool


class WorkloadIdentity(StrEnum):
    """How a service account gets a cloud identity."""

    NONE = "none"
    POD_IDENTITY = "podIdentity"
    IRSA = "irsa"


@dataclass(frozen=True)
class ClusterContract:
    """A cluster, whoever made it."""

    kubeconfig: pulumi.Output[str]
    """Content of a kubeconfig whose current context is this cluster; secret."""
    identifier: pulumi.Input[str]
    """Stable while the cluster lives, another one when it is replaced; decides whether Kubernetes objects are replaced."""
    kubernetes_version: str
    """Minor version, e.g. `1.36`."""
    node_pools: tuple[NodePool, ...]
    """The pools workloads may name."""
    storage_classes: tuple[str, ...] = ()
    """Names of the storage classes on offer."""
    workload_identity: WorkloadIdentity = WorkloadIdentity.NONE
    """How a service account gets a cloud identity."""
    has_prometheus_operator: bool = False
    """Whether ServiceMonitor, PodMonitor and PrometheusRule are understood."""
    has_gateway_api: bool = False
    """Whether Gateway and HTTPRoute are understood."""
    has_keda: bool = False
    """Whether ScaledObject is understood."""

    def pool(self, name: str) -> NodePool:
        """The pool of that name; KeyError with the known ones when there is none."""
        for pool in self.node_pools:
            if pool.name == name:
                return pool
        raise KeyError(f"there is no node pool {name!r}; known: {', '.join(pool.name for pool in self.node_pools) or 'none'}")
