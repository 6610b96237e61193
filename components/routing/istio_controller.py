"""The control plane of Istio, by its project's own Helm charts."""

from collections.abc import Mapping
from typing import Any, NotRequired

import pulumi
import pulumi_kubernetes as kubernetes

from ..base import PlatformComponent
from ..charts import placed, release
from ..inputs import InputText, validate
from ..ordering import known_after
from ..versions import ISTIO
from .controllers import TrafficControllerArgs, TrafficControllerConfig

PODS = {"app": "istiod", "istio": "pilot"}
"""Labels of its pods (chart istiod, templates/deployment.yaml)."""
REPOSITORY = "https://istio-release.storage.googleapis.com/charts"


class IstioControllerArgs(TrafficControllerArgs):
    """Inputs of `IstioController`."""

    ztunnel_namespace_name: NotRequired[pulumi.Input[str] | None]
    """Namespace of the ztunnels of an ambient mesh, which the cluster has; no mesh by default (docs/mesh.md)."""


class _Config(TrafficControllerConfig):
    ztunnel_namespace_name: InputText | None = None


class IstioController(PlatformComponent):
    """Tells proxies what Gateways, VirtualServices and DestinationRules say, and puts proxies into pods that ask for one.

    A cluster has one. Its definitions stay when it goes, and with them every such object.
    """

    chart_version: pulumi.Output[str]
    """Version of the charts, known once it runs: gateways and Istio's own objects wait for it."""

    def __init__(self, name: str, args: IstioControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"IstioController {name}")
        definitions = kubernetes.helm.v3.Release(
            self.child_name("definitions"),
            name="istio-base",
            chart="base",
            version=ISTIO,
            repository_opts=kubernetes.helm.v3.RepositoryOptsArgs(repo=REPOSITORY),
            namespace=config.namespace_name,
            atomic=True,
            values=base_values(config.namespace_name),
            opts=self.child(),
        )
        made = release(
            self,
            known_after(config.namespace_name, definitions.version),
            "istiod",
            chart="istiod",
            version=ISTIO,
            values=istiod_values(config.system_labels, config.namespace_name, config.ztunnel_namespace_name),
            repository=REPOSITORY,
        )
        self.chart_version = made.version
        self.finish()


def base_values(namespace_name: pulumi.Input[str]) -> dict[str, Any]:
    """Values of the chart base: the definitions, and none of the roles for other clusters."""
    return {"global": {"istioNamespace": namespace_name, "enableReaderRBAC": False}}


def istiod_values(
    system_labels: Mapping[str, str], namespace_name: pulumi.Input[str], ztunnels: pulumi.Input[str] | None = None
) -> dict[str, Any]:
    """Values of the chart istiod; the container's security context is the chart's, which is restricted with `seccompProfile`.

    With the namespace of `ztunnels` it is that of an ambient mesh too (istio/istio manifests/helm-profiles/ambient.yaml). It
    leaves Gateway API alone: else it would make a GatewayClass of its own and take over Gateways that name it. Its own Gateways
    take proxies of their own namespace alone: by labels they would take those of others (istio/api, gateway.proto, `selector`).
    """
    seccomp = {"type": "RuntimeDefault"}
    ambient = {} if ztunnels is None else {"PILOT_ENABLE_AMBIENT": "true"}
    return {
        **({} if ztunnels is None else {"trustedZtunnelNamespace": ztunnels}),
        **placed(system_labels, PODS),
        "autoscaleEnabled": False,
        "replicaCount": 2,
        # The chart asks for half a CPU and 2 GiB, for meshes of thousands of pods.
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
        "seccompProfile": seccomp,
        "env": {"PILOT_ENABLE_GATEWAY_API": "false", "PILOT_SCOPE_GATEWAY_TO_NAMESPACE": "true", **ambient},
        "global": {
            "istioNamespace": namespace_name,
            "defaultPodDisruptionBudget": {"enabled": True},
            "proxy": {"seccompProfile": seccomp},
        },
    }
