"""What every kind of cluster yields, and all that the rest of the platform may use of one."""

from dataclasses import dataclass, field
from enum import StrEnum

import pulumi

from ..types import NodePool

PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""Private addresses (RFC 1918, RFC 6598, RFC 4193)."""


class WorkloadIdentity(StrEnum):
    """How a service account gets a cloud identity."""

    NONE = "none"
    POD_IDENTITY = "podIdentity"
    IRSA = "irsa"


class Brought(StrEnum):
    """What a cluster may have that a stack would install else."""

    PROMETHEUS_OPERATOR = "prometheusOperator"
    KEDA = "keda"
    METRICS_SERVER = "metricsServer"
    CERT_MANAGER = "certManager"
    GATEWAY_API = "gatewayApi"
    ISTIO_AMBIENT = "istioAmbient"
    """Istio's ztunnel and istio-cni on every node; no stack installs them."""


@dataclass(frozen=True)
class ApiAddress:
    """Where pods reach the API server."""

    cidr: str
    """Its address, or those one of which it has."""
    port: int = 443


@dataclass(frozen=True)
class ApiServer:
    """Where the API server is, for policies that close everything else.

    Some network plugins judge a connection to the Service `kubernetes` by the Service's address, others by that of the server it
    becomes: policies name both.
    """

    answers_at: tuple[ApiAddress, ...]
    """Where it answers pods."""
    calls_from: tuple[str, ...]
    """The ranges its calls of webhooks come from."""

    @classmethod
    def anywhere_private(cls) -> "ApiServer":
        """Of a cluster of which nothing is known: on any private address, on the ports of API servers."""
        return cls(tuple(ApiAddress(cidr, port) for cidr in PRIVATE for port in (443, 6443)), PRIVATE)


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
    api_server: ApiServer = field(default_factory=ApiServer.anywhere_private)
    """Where pods reach the API server, and where it calls from."""
    has_prometheus_operator: bool = False
    """Whether ServiceMonitor, PodMonitor and PrometheusRule are understood."""
    has_gateway_api: bool = False
    """Whether Gateway and HTTPRoute are understood."""
    has_keda: bool = False
    """Whether ScaledObject is understood."""
    has_metrics_server: bool = False
    """Whether autoscalers are told what CPU pods use."""

    def pool(self, name: str) -> NodePool:
        """The pool of that name; KeyError with the known ones when there is none."""
        for pool in self.node_pools:
            if pool.name == name:
                return pool
        raise KeyError(f"there is no node pool {name!r}; known: {', '.join(pool.name for pool in self.node_pools) or 'none'}")
