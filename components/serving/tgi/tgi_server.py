"""A server with Text Generation Inference for one model: for teams that have it, until the model has moved to vLLM."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from ...base import PACKAGE, PART_OF, PlatformComponent, labels, selector
from ...inputs import validate
from ...security.account import service_account
from ...storage.cache_check import cache_check_container
from ..arguments import PORT
from ..lifecycle import disruption_budget
from ..manifests import Around, deployment, engine_of, replicas_service, service
from ..model_server import OWN_ALL, replicas_name
from .arguments import tgi_arguments
from .config import ServerConfig, TgiServerArgs
from .manifests import environment, server_annotations, tgi_pod

APP = "tgi"
"""Label `app.kubernetes.io/name` of its pods."""


class TgiServer(PlatformComponent):
    """Serves one model through TGI's OpenAI API, inside the cluster: a version of a route like any other."""

    url: pulumi.Output[str]
    """Base address of the API inside the cluster."""
    arguments: pulumi.Output[list[str]]
    """The engine's command line."""
    server_name: pulumi.Output[str]
    """Name of its Deployment, which an autoscaler scales."""

    def __init__(self, name: str, args: TgiServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._config = config = validate(ServerConfig, args, f"TgiServer {name}")
        self._labels = labels(APP, config.model_name, "model-server", config.engine_version)
        pulumi.log.warn(
            f"{config.model_name} is served by Text Generation Inference, whose project was archived in March 2026, so nobody "
            "mends it any more; docs/migrating-from-tgi.md moves it to vLLM without an interruption",
            resource=self,
        )
        template = tgi_pod(config, self._around(), tgi_arguments(config), self._labels)
        server = kubernetes.apps.v1.Deployment(
            self.child_name("server"),
            metadata=self._metadata(annotations=server_annotations(config) | OWN_ALL),
            spec=deployment(config, template),
            # Left out alone, the number would be given back to the API server, which makes it 1 until the autoscaler looks again.
            opts=self.child(timeout=config.deadline() + 60, ignore_changes=["spec.replicas"] if config.scaled else None),
        )
        kubernetes.policy.v1.PodDisruptionBudget(
            self.child_name("disruption"),
            metadata=self._metadata(),
            spec=disruption_budget(selector(self._labels), config.replicas),
            opts=self.child(),
        )
        endpoint = self._service("service", config.model_name, service(self.pods), server)
        self._service("replicas", replicas_name(config.model_name), replicas_service(self.pods), server)
        self.url = pulumi.Output.format(
            "http://{0}.{1}.svc:{2}/v1", endpoint.metadata["name"], endpoint.metadata["namespace"], PORT
        )
        self.server_name = server.metadata["name"]
        self.arguments = pulumi.Output.all(*engine_of(template)["args"])
        self.finish()

    def _around(self) -> Around:
        """What the pods use beside themselves."""
        config = self._config
        # Autonamed and immutable: a changed environment is a new object, which the pods roll to.
        settings = kubernetes.core.v1.ConfigMap(
            self.child_name("environment"),
            metadata=self._metadata(),
            data=environment(config),
            immutable=True,
            opts=self.child(),
        )
        account = config.service_account_name or service_account(
            self, config.namespace_name, self._labels, pull_secrets=config.image_pull_secrets
        )
        checks = [cache_check_container(config.engine_image(), config.cache_directories)] if config.cache_directories else []
        return Around(config_map=settings.metadata["name"], service_account=account, init_containers=checks)

    def _service(self, role: str, name: str, spec: Mapping[str, Any], server: pulumi.Resource) -> kubernetes.core.v1.Service:
        """A Service; it counts as made when somebody answers for it, which takes as long as the server's start."""
        return kubernetes.core.v1.Service(
            self.child_name(role),
            # The name is a contract: routes lead to it.
            metadata=self._metadata(name=name),
            spec=spec,
            opts=self.child(depends_on=[server]),
        )

    def _metadata(self, **more: Any) -> dict[str, Any]:
        return {"namespace": self._config.namespace_name, "labels": self._labels, **more}

    @property
    def pods(self) -> Mapping[str, str]:
        """Labels that tell its pods from all others, the platform's own among them, as those of `ModelServer`."""
        return selector(self._labels) | {PART_OF: PACKAGE}
