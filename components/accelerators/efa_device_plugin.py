"""The plugin that offers EFA interfaces to pods, by AWS's own chart."""

from collections.abc import Sequence
from typing import Any, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field

from ..base import PlatformComponent
from ..inputs import InputText, Model, validate
from ..types import NodePool, NodePoolArgs
from ..versions import EFA_DEVICE_PLUGIN
from .placing import tolerations

_CHART = "aws-efa-k8s-device-plugin"
_REPOSITORY = "https://aws.github.io/eks-charts"
_INSTALL_TIMEOUT = 600


class EfaDevicePluginArgs(TypedDict):
    """Inputs of `EfaDevicePlugin`."""

    namespace_name: pulumi.Input[str]
    """Namespace of what runs on nodes as root: the plugin is privileged (Pod Security *privileged*)."""
    pools: list[NodePoolArgs]
    """The pools with EFA interfaces."""


class _Config(Model):
    namespace_name: InputText
    pools: tuple[NodePool, ...] = Field(min_length=1)


class EfaDevicePlugin(PlatformComponent):
    """Offers the EFA interfaces of nodes as `vpc.amazonaws.com/efa`. One per cluster."""

    chart_version: pulumi.Output[str]
    """Version of the chart, known once it is installed."""

    def __init__(self, name: str, args: EfaDevicePluginArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"EfaDevicePlugin {name}")
        release = kubernetes.helm.v3.Release(
            self.child_name("plugin"),
            name=_CHART,
            chart=_CHART,
            version=EFA_DEVICE_PLUGIN,
            repository_opts=kubernetes.helm.v3.RepositoryOptsArgs(repo=_REPOSITORY),
            namespace=config.namespace_name,
            atomic=True,
            timeout=_INSTALL_TIMEOUT,
            values=efa_values(config.pools),
            opts=self.child(timeout=_INSTALL_TIMEOUT),
        )
        self.chart_version = release.version
        self.finish()


def efa_values(pools: Sequence[NodePool]) -> dict[str, Any]:
    """Values of the chart. It knows by itself which instance types have EFA, and tolerates no taint unless told."""
    return {
        "tolerations": tolerations(pools),
        "resources": {"requests": {"cpu": "10m", "memory": "20Mi"}, "limits": {"memory": "64Mi"}},
    }
