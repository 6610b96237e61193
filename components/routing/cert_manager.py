"""What makes and renews certificates, by its project's own Helm chart: cert-manager."""

from collections.abc import Mapping
from typing import Any

import pulumi

from ..base import PlatformComponent
from ..charts import placed, release
from ..inputs import validate
from ..security.network.surroundings import INSTANCE, NAME
from ..versions import CERT_MANAGER
from .controllers import TrafficControllerArgs, TrafficControllerConfig

CONTROLLER, WEBHOOK, INJECTOR, CHECK = (
    {NAME: name, INSTANCE: "cert-manager"} for name in ("cert-manager", "webhook", "cainjector", "startupapicheck")
)
"""Labels of its pods: what makes certificates, what judges its objects, what hands the webhook's certificate to the API server,
and the Job that waits for that (chart cert-manager, templates)."""
_REPOSITORY = "https://charts.jetstack.io"


class _Config(TrafficControllerConfig):
    """Nothing more."""


class CertManager(PlatformComponent):
    """Makes Secrets with certificates for Certificates, and renews them. A cluster has one.

    Its definitions stay when it goes, and with them every Certificate.
    """

    chart_version: pulumi.Output[str]
    """Version of the chart, known once its webhook answers: issuers and certificates wait for it."""

    def __init__(self, name: str, args: TrafficControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"CertManager {name}")
        made = release(
            self,
            config.namespace_name,
            "cert-manager",
            chart="cert-manager",
            version=CERT_MANAGER,
            values=cert_manager_values(config.system_labels, config.namespace_name),
            repository=_REPOSITORY,
        )
        self.chart_version = made.version
        self.finish()


def cert_manager_values(system_labels: Mapping[str, str], namespace_name: pulumi.Input[str]) -> dict[str, Any]:
    """Values of the chart cert-manager; the containers' security contexts are the chart's, which are restricted.

    Its leaders agree in its own namespace, not in kube-system. Who may edit a namespace gets no right to make Certificates:
    else any tenant could have the platform's authority sign whatever name it likes.
    """
    budget = {"enabled": True, "minAvailable": 1}
    return {
        "crds": {"enabled": True, "keep": True},
        "global": {"leaderElection": {"namespace": namespace_name}, "rbac": {"aggregateClusterRoles": False}},
        **placed(system_labels, CONTROLLER),
        "replicaCount": 2,
        "podDisruptionBudget": budget,
        "resources": _resources("25m", "256Mi"),
        "webhook": {
            **placed(system_labels, WEBHOOK),
            "replicaCount": 2,
            "podDisruptionBudget": budget,
            "resources": _resources("10m", "128Mi"),
        },
        # One: it works when the chart is installed and when the webhook's certificate is renewed.
        "cainjector": {**placed(system_labels, INJECTOR), "resources": _resources("10m", "256Mi")},
        "startupapicheck": {
            "nodeSelector": placed(system_labels, CHECK)["nodeSelector"],
            "resources": _resources("10m", "64Mi"),
        },
    }


def _resources(cpu: str, memory: str) -> dict[str, dict[str, str]]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}
