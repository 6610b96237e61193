"""An application that calls a model: its replicas, how it is reached, and what keeps it up."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from ..base import PACKAGE, PART_OF, PlatformComponent, labels, selector
from ..inputs import validate
from ..security.account import service_account
from ..serving.lifecycle import disruption_budget
from ..serving.model_server import OWN_ALL
from .config import AppConfig, LlmAppArgs
from .manifests import Around, annotations, autoscaler, deployment, environment, pod, service, service_annotations

APP = "llm-app"
"""The label `app.kubernetes.io/name` of every app's objects; the instance is the app's own name."""


class LlmApp(PlatformComponent):
    """Runs a program of somebody's own that calls a model, here or elsewhere."""

    url: pulumi.Output[str]
    """Its address inside the cluster."""
    address: pulumi.Output[str]
    """Host name or IP address of its load balancer; empty without one."""
    deployment_name: pulumi.Output[str]
    """Name of its Deployment."""

    def __init__(self, name: str, args: LlmAppArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._config = config = validate(AppConfig, args, f"LlmApp {name}")
        self._labels = labels(APP, config.app_name, "app")
        made = self._deployment(pod(config, self._around(), self._labels))
        self._disruption_budget()
        self._autoscaler(made)
        answers = self._service(made)
        self.url = pulumi.Output.format(
            "http://{0}.{1}.svc:{2}", answers.metadata["name"], answers.metadata["namespace"], config.service_port
        )
        self.address = answers.status.apply(_address)
        self.deployment_name = made.metadata["name"]
        self.finish()

    def _around(self) -> Around:
        config = self._config
        # Autonamed and immutable: a changed environment is a new object, which the pods roll to.
        settings = kubernetes.core.v1.ConfigMap(
            self.child_name("environment"),
            metadata=self._metadata(),
            data=environment(config),
            immutable=True,
            opts=self.child(),
        )
        account = service_account(self, config.namespace_name, self._labels, pull_secrets=config.image_pull_secrets)
        return Around(config_map=settings.metadata["name"], service_account=account)

    def _deployment(self, template: Mapping[str, Any]) -> "kubernetes.apps.v1.Deployment":
        config = self._config
        # Every replica of a rollout may take all of its start, one after the other.
        patience = config.deadline_seconds + config.startup_seconds * config.most_replicas
        return kubernetes.apps.v1.Deployment(
            self.child_name("app"),
            metadata=self._metadata(annotations=OWN_ALL | annotations(config)),
            spec=deployment(config, template),
            # Left out alone, the number would be given back to the API server, which makes it 1 until the autoscaler looks again.
            opts=self.child(timeout=patience + 60, ignore_changes=["spec.replicas"] if config.scaling else None),
        )

    def _disruption_budget(self) -> None:
        kubernetes.policy.v1.PodDisruptionBudget(
            self.child_name("disruption"),
            metadata=self._metadata(),
            spec=disruption_budget(selector(self._labels), self._config.fixed_replicas),
            opts=self.child(),
        )

    def _autoscaler(self, made: "kubernetes.apps.v1.Deployment") -> None:
        if self._config.scaling:
            kubernetes.autoscaling.v2.HorizontalPodAutoscaler(
                self.child_name("autoscaler"),
                metadata=self._metadata(),
                spec=autoscaler(self._config, made.metadata["name"]),
                opts=self.child(),
            )

    def _service(self, made: "kubernetes.apps.v1.Deployment") -> "kubernetes.core.v1.Service":
        config = self._config
        return kubernetes.core.v1.Service(
            self.child_name("service"),
            # The name is a contract: clients reach the app by it.
            metadata=self._metadata(name=config.app_name, annotations=service_annotations(config) or None),
            # With the platform's own label, as policies name its pods: see `ModelServer`.
            spec=service(config, selector(self._labels) | {PART_OF: PACKAGE}),
            opts=self.child(depends_on=[made]),
        )

    def _metadata(self, **more: Any) -> dict[str, Any]:
        return {"namespace": self._config.namespace_name, "labels": self._labels, **more}


def _address(status: Any) -> str:
    """Where a load balancer answers, of the status of its Service."""
    given = status and status.load_balancer and status.load_balancer.ingress
    return str(given[0].hostname or given[0].ip) if given else ""
