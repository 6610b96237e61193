"""What tells autoscalers the CPU that pods use, by its project's own Helm chart."""

from collections.abc import Mapping
from typing import Any, NotRequired

import pulumi
from pydantic import Field

from ..base import PlatformComponent
from ..charts import placed, release
from ..inputs import InputText, Model, validate
from ..versions import METRICS_SERVER
from .controllers import ScalingControllerArgs

METRICS_SERVER_PODS = {"app.kubernetes.io/name": "metrics-server", "app.kubernetes.io/instance": "metrics-server"}
"""Labels of the pods of metrics-server (chart metrics-server, templates/_helpers.tpl)."""
_REPOSITORY = "https://kubernetes-sigs.github.io/metrics-server/"


class MetricsServerArgs(ScalingControllerArgs):
    """Inputs of `MetricsServer`; it is at home in `kube-system`."""

    verify_kubelets: NotRequired[bool]
    """Whether kubelets have certificates of the cluster's authority; true by default, false where they sign their own."""


class _Config(Model):
    namespace_name: InputText
    system_labels: Mapping[str, str] = Field(default_factory=dict)
    verify_kubelets: bool = True


class MetricsServer(PlatformComponent):
    """Tells autoscalers what CPU pods use, where the cluster does not: EKS has an add-on for it, k3s its own."""

    chart_version: pulumi.Output[str]
    """Version of the chart, known once it runs."""

    def __init__(self, name: str, args: MetricsServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"MetricsServer {name}")
        made = release(
            self,
            config.namespace_name,
            "metrics-server",
            chart="metrics-server",
            version=METRICS_SERVER,
            values=metrics_server_values(config.system_labels, config.verify_kubelets),
            repository=_REPOSITORY,
        )
        self.chart_version = made.version
        self.finish()


def metrics_server_values(system_labels: Mapping[str, str], verify_kubelets: bool = True) -> dict[str, Any]:
    """Values of the chart metrics-server; the container's security context is the chart's, which is restricted."""
    return {
        **({} if verify_kubelets else {"args": ["--kubelet-insecure-tls"]}),
        **placed(system_labels, METRICS_SERVER_PODS),
        "replicas": 2,
        "podDisruptionBudget": {"enabled": True, "minAvailable": 1},
        "podSecurityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "resources": {"requests": {"cpu": "100m", "memory": "200Mi"}, "limits": {"memory": "200Mi"}},
    }
