"""A vLLM server for one model: the unit that a model entry of a stack becomes."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.base import PlatformComponent, labels, selector
from components.inputs import validate
from components.names import DNS_LABEL_MAX, fit
from components.security.account import service_account
from components.serving.arguments import PORT, vllm_arguments
from components.serving.config import ModelServerArgs, ServerConfig
from components.serving.environment import environment
from components.serving.lifecycle import disruption_budget
from components.serving.manifests import Around, annotations, deployment, pod, replicas_service, service
from components.versions import VLLM_IMAGE


class ModelServer(PlatformComponent):
    """Serves one model through the OpenAI API, inside the cluster."""

    url: pulumi.Output[str]
    """Base address of the API inside the cluster."""
    arguments: pulumi.Output[list[str]]
    """The engine's command line."""

    def __init__(self, name: str, args: ModelServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._config = config = validate(ServerConfig, args, f"ModelServer {name}")
        self._labels = labels("vllm", config.model_name, "model-server", config.engine_version)
        arguments = vllm_arguments(config)
        # Autonamed and immutable: a changed environment is a new object, which the pods roll to.
        settings = kubernetes.core.v1.ConfigMap(
            self.child_name("environment"),
            metadata=self._metadata(),
            data=environment(config),
            immutable=True,
            opts=self.child(),
        )
        around = Around(
            image=VLLM_IMAGE,
            config_map=settings.metadata["name"],
            service_account=config.service_account_name or service_account(self, config.namespace_name, self._labels),
        )
        template = pod(config, around, arguments, self._labels)
        server = kubernetes.apps.v1.Deployment(
            self.child_name("server"),
            metadata=self._metadata(annotations=annotations(config)),
            spec=deployment(config, template),
            opts=self.child(timeout=config.deadline() + 60),
        )
        self._disruption_budget()
        endpoint = self._service(server)
        self.url = pulumi.Output.format(
            "http://{0}.{1}.svc:{2}/v1", endpoint.metadata["name"], endpoint.metadata["namespace"], PORT
        )
        self.arguments = pulumi.Output.all(*arguments)
        self.finish()

    def _metadata(self, **more: Any) -> dict[str, Any]:
        return {"namespace": self._config.namespace_name, "labels": self._labels, **more}

    def _match(self) -> Mapping[str, str]:
        """What tells the pods that answer from all others."""
        return selector(self._labels)

    def _disruption_budget(self) -> None:
        kubernetes.policy.v1.PodDisruptionBudget(
            self.child_name("disruption"),
            metadata=self._metadata(),
            spec=disruption_budget(selector(self._labels)),
            opts=self.child(),
        )

    def _service(self, server: pulumi.Resource) -> kubernetes.core.v1.Service:
        """The Service of all replicas; beside it one that names each."""
        name = self._config.model_name
        # A Service counts as made when somebody answers for it, and that takes as long as the server's start.
        kubernetes.core.v1.Service(
            self.child_name("replicas"),
            metadata=self._metadata(name=replicas_name(name)),
            spec=replicas_service(self._match()),
            opts=self.child(depends_on=[server]),
        )
        return kubernetes.core.v1.Service(
            self.child_name("service"),
            # The name is a contract: clients reach the model by it.
            metadata=self._metadata(name=name),
            spec=service(self._match()),
            opts=self.child(depends_on=[server]),
        )


def replicas_name(model_name: str) -> str:
    """Name of the Service that resolves to every replica of a model."""
    return fit(model_name, "replicas", limit=DNS_LABEL_MAX)
