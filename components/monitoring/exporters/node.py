"""What has metrics of nodes, by node exporter's own chart."""

from typing import Any, TypedDict

import pulumi

from ...base import PlatformComponent
from ...charts import release
from ...inputs import InputText, Model, validate
from ...pods import restricted_container
from ...versions import NODE_EXPORTER_CHART

NAME = "node-exporter"
"""Name of the release; one per cluster."""
PODS = {"app.kubernetes.io/name": "prometheus-node-exporter", "app.kubernetes.io/instance": NAME}
"""Labels of its pods (chart prometheus-node-exporter, templates/_helpers.tpl)."""
_REPOSITORY = "https://prometheus-community.github.io/helm-charts"
_MEMORY = "64Mi"
_OF_THE_POD = ("arp", "netdev", "netstat", "sockstat", "softnet", "udp_queues")
"""Collectors of the network, which see that of the pod and not of the node (prometheus/node_exporter, README)."""


class NodeExporterArgs(TypedDict):
    """Inputs of `NodeExporter`."""

    namespace_name: pulumi.Input[str]
    """Namespace of what runs on the nodes; it has to admit *privileged* pods."""


class _Config(Model):
    namespace_name: InputText


class NodeExporter(PlatformComponent):
    """Node exporter on every Linux node, whatever its taints. It stays out of the nodes' network, where no policy guards it."""

    chart_version: pulumi.Output[str]
    """Version of the chart, known once it runs."""

    def __init__(self, name: str, args: NodeExporterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"NodeExporter {name}")
        made = release(
            self,
            config.namespace_name,
            NAME,
            chart="prometheus-node-exporter",
            version=NODE_EXPORTER_CHART,
            repository=_REPOSITORY,
            values=node_exporter_values(),
        )
        self.chart_version = made.version
        self.finish()


def node_exporter_values() -> dict[str, Any]:
    """Values of the chart prometheus-node-exporter: it reads the node's directories and nothing else of it."""
    return {
        "hostNetwork": False,
        "hostPID": False,
        "service": {"enabled": False},
        "tolerations": [{"operator": "Exists"}],
        "priorityClassName": "system-node-critical",
        "extraArgs": [f"--no-collector.{name}" for name in _OF_THE_POD],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "runAsGroup": 65534,
            "fsGroup": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containerSecurityContext": restricted_container(),
        "resources": {"requests": {"cpu": "20m", "memory": _MEMORY}, "limits": {"memory": _MEMORY}},
    }
