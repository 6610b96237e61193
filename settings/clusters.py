"""The cluster of a stack: one that is there already, or one on EKS."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from components.inputs import Model
from components.types import DnsLabel, KubernetesVersion, NodePool, NodePoolModel


class ExistingClusterSettings(Model):
    """A cluster that is there already, reached through a kubeconfig."""

    kind: Literal["existing"] = Field(description="How the cluster comes to be: existing.", examples=["existing"])
    name: DnsLabel = Field(description="Name of the cluster, part of its identifier.", examples=["local"])
    context: str = Field(
        min_length=1,
        description="Context of the kubeconfig (KUBECONFIG, else ~/.kube/config). A stack reaches this context or none.",
        examples=["llm-platform-local"],
    )
    kubernetes_version: KubernetesVersion = Field(description="Minor version of the cluster, in quotes.")
    node_pools: Mapping[DnsLabel, NodePoolModel] = Field(default_factory=dict, description="Pools workloads may name.")

    def pool(self, name: str) -> NodePool:
        """The pool of that name."""
        return NodePool(name=name, **self.node_pools[name].model_dump())
