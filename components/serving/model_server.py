"""A vLLM server for one model."""

import pulumi
import pulumi_kubernetes as kubernetes

from components.base import PlatformComponent, labels
from components.inputs import validate
from components.security.account import service_account
from components.serving.arguments import PORT, vllm_arguments
from components.serving.config import ModelServerArgs, ServerConfig
from components.serving.lifecycle import DRAIN
from components.serving.manifests import deployment, environment, service
from components.versions import VLLM, VLLM_IMAGE


class ModelServer(PlatformComponent):
    """Serves one model through the OpenAI API, inside the cluster."""

    url: pulumi.Output[str]
    """Base address of the API inside the cluster."""
    arguments: pulumi.Output[list[str]]
    """The engine's command line."""

    def __init__(self, name: str, args: ModelServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(ServerConfig, args, f"ModelServer {name}")
        common = labels("vllm", config.model_name, "model-server", VLLM)
        arguments = vllm_arguments(config, VLLM, DRAIN.shutdown_timeout)
        account = service_account(self, config.namespace_name, common)
        # Autonamed and immutable: a changed environment is a new object, which the pods roll to.
        settings = kubernetes.core.v1.ConfigMap(
            self.child_name("environment"),
            metadata={"namespace": config.namespace_name, "labels": common},
            data=environment(config),
            immutable=True,
            opts=self.child(),
        )
        server = kubernetes.apps.v1.Deployment(
            self.child_name("server"),
            metadata={"namespace": config.namespace_name, "labels": common},
            spec=deployment(
                config,
                image=VLLM_IMAGE,
                arguments=arguments,
                config_map=settings.metadata["name"],
                service_account=account,
                common=common,
            ),
            opts=self.child(timeout=config.deadline() + 60),
        )
        endpoint = kubernetes.core.v1.Service(
            self.child_name("service"),
            # The name is a contract: clients reach the model by it.
            metadata={"name": config.model_name, "namespace": config.namespace_name, "labels": common},
            spec=service(common),
            # A Service counts as made when somebody answers for it, and that takes as long as the server's start.
            opts=self.child(depends_on=[server]),
        )
        self.url = pulumi.Output.format(
            "http://{0}.{1}.svc:{2}/v1", endpoint.metadata["name"], endpoint.metadata["namespace"], PORT
        )
        self.arguments = pulumi.Output.all(*arguments)
        self.finish()
