"""What hands autoscalers their metrics, by its project's own Helm chart: KEDA."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field

from ..base import PlatformComponent
from ..charts import placed, release
from ..inputs import InputText, Model, validate
from ..versions import KEDA

OPERATOR = {"app": "keda-operator"}
"""Labels of KEDA's operator (chart keda, templates/manager)."""
METRICS_API_SERVER = {"app": "keda-operator-metrics-apiserver"}
"""Labels of what answers autoscalers for it (chart keda, templates/metrics-server)."""
METRICS_PORT, GRPC_PORT, ADAPTER_PORT = 8080, 9666, 6443
"""Where KEDA's pods have their metrics, where its operator answers its API server, and where that answers the cluster's."""
REQUESTED_CPU = "25m"
"""Of each pod of KEDA (our choice; the chart asks for 100m): it asks Prometheus a few questions a minute for each model, and four
such pods share small nodes with what else runs a cluster. They may use a whole CPU."""
_KEDA_REPOSITORY = "https://kedacore.github.io/charts"


class ScalingControllerArgs(TypedDict):
    """Inputs of `KedaController`."""

    namespace_name: pulumi.Input[str]
    """Namespace it runs in; for KEDA *restricted* suffices."""
    system_labels: NotRequired[dict[str, str]]
    """Labels of the nodes it runs on; any Linux node by default."""


class _Config(Model):
    namespace_name: InputText
    system_labels: Mapping[str, str] = Field(default_factory=dict)


class KedaController(PlatformComponent):
    """Hands autoscalers what Prometheus says. A cluster has one, as it has one API of external metrics.

    Its definitions go with it, and with them every ScaledObject there is.
    """

    chart_version: pulumi.Output[str]
    """Version of the chart, known once it runs: autoscalers wait for it."""

    def __init__(self, name: str, args: ScalingControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"KedaController {name}")
        made = release(
            self,
            config.namespace_name,
            "keda",
            chart="keda",
            version=KEDA,
            values=keda_values(config.system_labels),
            repository=_KEDA_REPOSITORY,
        )
        self.chart_version = made.version
        self.finish()


def keda_values(system_labels: Mapping[str, str]) -> dict[str, Any]:
    """Values of the chart keda; the containers' security contexts are the chart's, which are restricted.

    There are no admission webhooks: what they would refuse, the components refuse in a preview. Beside what the chart always
    scales the operator may scale LeaderWorkerSets, not whatever there is. It reads no Secret but its own certificate, and who may
    edit a namespace gets no right to make ScaledObjects, whose triggers ask whom they like.
    """
    limited = {"requests": {"cpu": REQUESTED_CPU, "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}
    operator, adapter = placed(system_labels, OPERATOR), placed(system_labels, METRICS_API_SERVER)
    return {
        "nodeSelector": operator["nodeSelector"],
        "operator": {"replicaCount": 2, "affinity": operator["affinity"]},
        "metricsServer": {"replicaCount": 2, "affinity": adapter["affinity"]},
        "webhooks": {"enabled": False},
        "podDisruptionBudget": {"operator": {"minAvailable": 1}, "metricServer": {"minAvailable": 1}},
        "rbac": {
            "aggregateToDefaultRoles": False,
            "scaledRefKinds": [{"apiGroup": "leaderworkerset.x-k8s.io", "kind": "leaderworkersets"}],
        },
        "permissions": {part: {"restrict": {"secret": True}} for part in ("operator", "metricServer")},
        "podSecurityContext": {
            part: {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}} for part in ("operator", "metricServer")
        },
        "resources": {"operator": limited, "metricServer": limited},
        "logging": {"operator": {"format": "json"}},
        "prometheus": {"operator": {"enabled": True}, "metricServer": {"enabled": True}},
    }
