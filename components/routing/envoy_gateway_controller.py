"""What makes proxies of gateways and routes, by its project's own Helm chart: Envoy Gateway."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pydantic import Field

from ..base import PlatformComponent
from ..charts import placed, release
from ..inputs import InputText, validate
from ..versions import ENVOY_GATEWAY
from .controllers import TrafficControllerArgs, TrafficControllerConfig

CONTROLLER_NAME = "gateway.envoyproxy.io/gatewayclass-controller"
"""Name of the controller in a GatewayClass."""
PODS = {"control-plane": "envoy-gateway", "app.kubernetes.io/instance": "envoy-gateway"}
"""Labels of the controller's pods (chart gateway-helm, templates/envoy-gateway-deployment.yaml)."""
CERTIFICATES = {"app": "certgen"}
"""Labels of the Job that makes the certificates between controller and proxies, before each release (templates/certgen.yaml)."""
_CHART = "oci://docker.io/envoyproxy/gateway-helm"


class EnvoyGatewayControllerArgs(TrafficControllerArgs):
    """Inputs of `EnvoyGatewayController`; its proxies run in the same namespace."""

    watched_namespace_names: list[pulumi.Input[str]]
    """Namespaces of routes, and of the models they lead to; in others it has no rights."""


class _Config(TrafficControllerConfig):
    watched_namespace_names: tuple[InputText, ...] = Field(min_length=1, examples=["[models]"])


class EnvoyGatewayController(PlatformComponent):
    """Makes proxies of Gateways, HTTPRoutes and its own policies, in the namespace it runs in itself.

    With the first release Helm installs the definitions of Gateway API and of Envoy Gateway where they are missing, and leaves
    them alone from then on: an upgrade of the chart needs those of its version applied, and a deletion leaves them.
    """

    chart_version: pulumi.Output[str]
    """Version of the chart, known once the controller runs: gateways and routes wait for it."""

    def __init__(self, name: str, args: EnvoyGatewayControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"EnvoyGatewayController {name}")
        made = release(
            self,
            config.namespace_name,
            "envoy-gateway",
            chart=_CHART,
            version=ENVOY_GATEWAY,
            values=envoy_gateway_values(config.system_labels, [config.namespace_name, *config.watched_namespace_names]),
        )
        self.chart_version = made.version
        self.finish()


def envoy_gateway_values(system_labels: Mapping[str, str], watched: Sequence[pulumi.Input[str]]) -> dict[str, Any]:
    """Values of the chart gateway-helm; the containers' security contexts are the chart's, which are restricted.

    Where it watches the namespaces named, it has Roles there and no right to read Secrets elsewhere. There is no webhook that
    tells proxies their zone: it would have a say when any pod of the namespace is placed.
    """
    pods = placed(system_labels, PODS)
    small = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}}
    return {
        "deployment": {
            "replicas": 2,
            "pod": pods,
            # What the chart allows, asked for: it holds every Secret, Service and EndpointSlice of the namespaces it watches.
            "envoyGateway": {"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}},
        },
        "podDisruptionBudget": {"minAvailable": 1},
        "topologyInjector": {"enabled": False},
        "certgen": {"job": {"nodeSelector": pods["nodeSelector"], "resources": small}},
        "config": {
            "envoyGateway": {
                "gateway": {"controllerName": CONTROLLER_NAME},
                "provider": {
                    "type": "Kubernetes",
                    "kubernetes": {"watch": {"type": "Namespaces", "namespaces": list(watched)}},
                },
            }
        },
    }
