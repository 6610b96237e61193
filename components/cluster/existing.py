"""A cluster somebody else made, known by its kubeconfig."""

from typing import NotRequired, TypedDict

import pulumi
from pydantic import Field

from ..base import PlatformComponent
from ..inputs import InputText, Model, validate, validated
from ..types import DnsLabel, KubernetesVersion, NodePool, NodePoolArgs
from .contract import Brought, ClusterContract
from .kubeconfig import check_kubeconfig, cluster_identity


class ExistingClusterArgs(TypedDict):
    """Inputs of `ExistingCluster`."""

    cluster_name: str
    """Name of the cluster; part of its identifier."""
    kubeconfig: pulumi.Input[str]
    """Content of a kubeconfig whose current context is the cluster; treated as secret."""
    kubernetes_version: str
    """Minor version of the cluster, e.g. `1.36`."""
    node_pools: NotRequired[list[NodePoolArgs]]
    """The pools workloads may name."""
    storage_classes: NotRequired[list[str]]
    """Names of the storage classes on offer."""
    brings: NotRequired[list[Brought]]
    """What is installed there already, so that no stack installs it a second time; nothing by default."""


class _Config(Model):
    cluster_name: DnsLabel = Field(examples=["local"])
    kubeconfig: InputText
    kubernetes_version: KubernetesVersion
    node_pools: tuple[NodePool, ...] = ()
    storage_classes: tuple[str, ...] = ()
    brings: frozenset[Brought] = frozenset()


class ExistingCluster(PlatformComponent):
    """An existing cluster behind the same contract as one this platform makes. Creates nothing."""

    kubeconfig: pulumi.Output[str]
    """Content of the kubeconfig; secret."""
    identifier: pulumi.Output[str]
    """Stable while the cluster lives; changes with its certificate authority."""

    def __init__(self, name: str, args: ExistingClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"ExistingCluster {name}")
        self.kubeconfig = pulumi.Output.secret(validated(config.kubeconfig, check_kubeconfig))
        # The identity is a hash of public facts, so it may be shown although the kubeconfig may not.
        identity = pulumi.Output.unsecret(self.kubeconfig.apply(cluster_identity))
        self.identifier = pulumi.Output.concat(config.cluster_name, "-", identity)
        self._contract = ClusterContract(
            kubeconfig=self.kubeconfig,
            identifier=self.identifier,
            kubernetes_version=config.kubernetes_version,
            node_pools=config.node_pools,
            storage_classes=config.storage_classes,
            has_prometheus_operator=Brought.PROMETHEUS_OPERATOR in config.brings,
            has_keda=Brought.KEDA in config.brings,
            has_metrics_server=Brought.METRICS_SERVER in config.brings,
            has_gateway_api=Brought.GATEWAY_API in config.brings,
        )
        self.finish()

    @property
    def contract(self) -> ClusterContract:
        """What the rest of the platform uses of this cluster."""
        return self._contract
