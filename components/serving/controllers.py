"""The controllers that keep the pods of one replica together when it spans nodes, each by its project's own Helm chart."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field

from ..base import PlatformComponent
from ..charts import placed, release
from ..inputs import InputText, Model, validate
from ..versions import KUBERAY, LWS

KUBERAY_OPERATOR = {"app.kubernetes.io/name": "kuberay-operator"}
"""Labels of the operator's pods, which Ray's policies let in (chart kuberay-operator, templates/_helpers.tpl)."""
_LWS_CHART = "oci://registry.k8s.io/lws/charts/lws"
_KUBERAY_REPOSITORY = "https://ray-project.github.io/kuberay-helm/"


class ControllerArgs(TypedDict):
    """Inputs of `LeaderWorkerSetController` and of `KubeRayOperator`."""

    namespace_name: pulumi.Input[str]
    """Namespace the controller runs in; it has one of its own."""
    system_labels: NotRequired[dict[str, str]]
    """Labels of the nodes it runs on; any Linux node by default."""


class _Config(Model):
    namespace_name: InputText
    system_labels: Mapping[str, str] = Field(default_factory=dict)


class LeaderWorkerSetController(PlatformComponent):
    """Makes groups of pods from LeaderWorkerSets.

    Helm installs the definitions with the first release and leaves them alone from then on: an upgrade of the chart needs
    those of its version applied, and a deletion leaves the sets there are without a controller.
    """

    chart_version: pulumi.Output[str]
    """Version of the chart, known once the controller runs: what makes LeaderWorkerSets waits for it."""

    def __init__(self, name: str, args: ControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"LeaderWorkerSetController {name}")
        values = lws_values(config.system_labels)
        made = release(self, config.namespace_name, "lws", chart=_LWS_CHART, version=LWS, values=values)
        self.chart_version = made.version
        self.finish()


class KubeRayOperator(PlatformComponent):
    """Makes Ray clusters from RayServices.

    Its definitions are Helm's to install once and nobody's to remove, as with `LeaderWorkerSetController`.
    """

    chart_version: pulumi.Output[str]
    """Version of the chart, known once the operator runs: what makes RayServices waits for it."""

    def __init__(self, name: str, args: ControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"KubeRayOperator {name}")
        values = kuberay_values(config.system_labels)
        made = release(
            self,
            config.namespace_name,
            "kuberay-operator",
            chart="kuberay-operator",
            version=KUBERAY,
            values=values,
            repository=_KUBERAY_REPOSITORY,
        )
        self.chart_version = made.version
        self.finish()


def lws_values(system_labels: Mapping[str, str]) -> dict[str, Any]:
    """Values of the chart lws. Its webhook must answer for a pod of a group to be made, so there are two, on different nodes."""
    return {
        "replicaCount": 2,
        **placed(system_labels, {"app.kubernetes.io/name": "lws"}),
        # What the chart asks for, with a limit: memory never bursts.
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        "podSecurityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def kuberay_values(system_labels: Mapping[str, str]) -> dict[str, Any]:
    """Values of the chart kuberay-operator; the container's security context is the chart's, which is restricted."""
    return {
        "replicas": 2,
        **placed(system_labels, KUBERAY_OPERATOR),
        # As much memory as the chart allows for 500 Ray pods.
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "podSecurityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
