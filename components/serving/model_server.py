"""A vLLM server for one model: the unit that a model entry of a stack becomes."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from ..base import PACKAGE, PART_OF, PlatformComponent, labels, selector
from ..inputs import validate
from ..names import DNS_LABEL_MAX, fit
from ..ordering import known_after
from ..security.account import service_account
from ..storage.cache_check import cache_check_container
from .arguments import PORT, vllm_arguments
from .config import ModelServerArgs, ServerConfig
from .environment import environment
from .lifecycle import disruption_budget
from .manifests import Around, annotations, deployment, engine_of, pod, replicas_service, service
from .multi_node import WORKER_INDEX_LABEL, leader_of, leader_worker_set
from .ray_service import AWAIT_READY, GUARDED_BY, SERVING, ray_service
from .verification.planned import planned

AWAIT_AVAILABLE = {"pulumi.com/waitFor": "condition=Available"}
"""Tells Pulumi when a custom resource counts as made (pulumi-kubernetes, "Resource readiness": it knows built-in kinds only)."""

OWN_ALL = {"pulumi.com/patchForce": "true"}
"""What the program says is so, whoever said otherwise: the number of replicas, too, once no autoscaler sets it any more."""

_LONGEST_SET = 50
"""The controller appends group and pod to it in a label of the pods (kubernetes-sigs/lws, pkg/webhooks)."""
_LONGEST_RAY_SERVICE = 47
"""KubeRay appends the cluster's suffix and the group (ray-project/kuberay, ray-operator/controllers/ray/utils/validation.go)."""


class ModelServer(PlatformComponent):
    """Serves one model through the OpenAI API, inside the cluster."""

    url: pulumi.Output[str]
    """Base address of the API inside the cluster."""
    arguments: pulumi.Output[list[str]]
    """The engine's command line."""
    server_name: pulumi.Output[str]
    """Name of its own object (Deployment, LeaderWorkerSet or RayService), which an autoscaler scales."""
    expectation: pulumi.Output[str]
    """What must be true of the server, for `ModelVerification`; known once it answers."""

    def __init__(self, name: str, args: ModelServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._config = config = validate(ServerConfig, args, f"ModelServer {name}")
        self._labels = labels("vllm", config.model_name, "model-server", config.engine_version)
        if config.log_prompts:
            pulumi.log.warn(
                f"{config.model_name} writes what people ask{' and what it answers' if config.log_answers else ''} into its log, "
                "which whoever reads logs reads; leave logPrompts out once the reason for it is gone",
                resource=self,
            )
        template = pod(config, self._around(), vllm_arguments(config), self._labels)
        server = self._server(template)
        self._disruption_budget()
        endpoint, each = self._services(server)
        leader = template if config.by_ray else leader_of(config, template)
        self.url = pulumi.Output.format(
            "http://{0}.{1}.svc:{2}/v1", endpoint.metadata["name"], endpoint.metadata["namespace"], PORT
        )
        self.server_name = server.metadata["name"]
        self.arguments = pulumi.Output.all(*engine_of(leader)["args"])
        # Known only once somebody answers, so that what asks for it runs after that.
        self.expectation = known_after(planned(config, leader, replicas_name(config.model_name)), endpoint.id, each.id)
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
        checks = [cache_check_container(config.engine().image, config.cache_directories)] if config.cache_directories else []
        return Around(config_map=settings.metadata["name"], service_account=account, init_containers=checks)

    def _server(self, template: dict[str, Any]) -> Any:
        """What runs the replicas."""
        config = self._config
        # Left out alone, the number would be given back to the API server, which makes it 1 until the autoscaler looks again.
        ignored = ["spec.replicas"] if config.scaled else None
        options = self.child(timeout=config.deadline() + 60, ignore_changes=ignored)
        if config.nodes == 1:
            made = kubernetes.apps.v1.Deployment(
                self.child_name("server"),
                metadata=self._metadata(annotations=annotations(config) | OWN_ALL),
                spec=deployment(config, template),
                opts=options,
            )
        elif config.by_ray:
            made = self._ray(template, options)
        else:
            made = kubernetes.apiextensions.CustomResource(
                self.child_name("server", limit=_LONGEST_SET),
                api_version="leaderworkerset.x-k8s.io/v1",
                kind="LeaderWorkerSet",
                metadata=self._metadata(annotations=annotations(config) | OWN_ALL | AWAIT_AVAILABLE),
                spec=leader_worker_set(config, template),
                opts=options,
            )
        return made

    def _ray(self, template: dict[str, Any], options: pulumi.ResourceOptions) -> pulumi.Resource:
        """A RayService. It names the policy that guards it, so none is made before its policy is there."""
        config = self._config
        assert config.ray_version is not None and config.network_policy_name is not None  # noqa: S101, PT018
        made: pulumi.Resource = kubernetes.apiextensions.CustomResource(
            self.child_name("server", limit=_LONGEST_RAY_SERVICE),
            api_version="ray.io/v1",
            kind="RayService",
            metadata=self._metadata(annotations=annotations(config) | AWAIT_READY | {GUARDED_BY: config.network_policy_name}),
            spec=ray_service(
                template,
                image=config.image,
                ray_version=config.ray_version,
                nodes=config.nodes,
                replicas=config.replicas,
                engine_version=config.engine_version,
            ),
            opts=options,
        )
        return made

    def _metadata(self, **more: Any) -> dict[str, Any]:
        return {"namespace": self._config.namespace_name, "labels": self._labels, **more}

    @property
    def pods(self) -> Mapping[str, str]:
        """Labels that tell the pods that answer from all others, for what chooses pods itself.

        With the platform's own label: some network plugins (EKS' VPC CNI) open a Service to whom a policy names pods by labels
        only if the Service's selector has all of them (aws/amazon-network-policy-controller-k8s, pkg/resolvers/endpoints.go).
        """
        pods = selector(self._labels) | {PART_OF: PACKAGE}
        if self._config.by_ray:
            return pods | SERVING
        return pods | ({WORKER_INDEX_LABEL: "0"} if self._config.nodes > 1 else {})

    def _disruption_budget(self) -> None:
        config = self._config
        kubernetes.policy.v1.PodDisruptionBudget(
            self.child_name("disruption"),
            metadata=self._metadata(),
            spec=disruption_budget(selector(self._labels), config.replicas * config.nodes, by_ray=config.by_ray),
            opts=self.child(),
        )

    def _services(self, server: pulumi.Resource) -> tuple[kubernetes.core.v1.Service, kubernetes.core.v1.Service]:
        """The Service of all replicas, and the one that names each."""
        name = self._config.model_name
        # A Service counts as made when somebody answers for it, and that takes as long as the server's start.
        endpoint = kubernetes.core.v1.Service(
            self.child_name("service"),
            # The name is a contract: clients reach the model by it.
            metadata=self._metadata(name=name),
            spec=service(self.pods),
            opts=self.child(depends_on=[server]),
        )
        each = kubernetes.core.v1.Service(
            self.child_name("replicas"),
            metadata=self._metadata(name=replicas_name(name)),
            spec=replicas_service(self.pods),
            opts=self.child(depends_on=[server]),
        )
        return endpoint, each


def replicas_name(model_name: str) -> str:
    """Name of the Service that resolves to every replica of a model."""
    return fit(model_name, "replicas", limit=DNS_LABEL_MAX)
