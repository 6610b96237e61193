"""The Job that checks a server from inside the cluster, after each of its changes."""

from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field

from ...base import PlatformComponent, labels
from ...inputs import InputText, Model, validate
from ...pods import NO_DEVICES, on_pool, resources, restricted_container, restricted_pod
from ...security.account import service_account
from ...types import DnsLabel, NodePool, NodePoolArgs, SecretKey, SecretKeyArgs
from . import check
from .expectation import Expectation

COMPONENT = "model-verification"
"""The label `app.kubernetes.io/name` of the Job and its pods; policies that guard servers let these in."""
_CONTAINER = "check"
_FILES = "/verification"
_KEY_DIRECTORY = "/run/secrets/api-key"
_ATTEMPTS_SECONDS = 900
"""The checks' own deadline, and one slow attempt beyond it."""
_IMAGE_PULL_SECONDS = 1800


class ModelVerificationArgs(TypedDict):
    """Inputs of `ModelVerification`."""

    model_name: str
    """Name of the model that is checked."""
    namespace_name: pulumi.Input[str]
    """Namespace of the server; *restricted* suffices."""
    expectation: pulumi.Input[str]
    """What must be true, as `Expectation.to_json` writes it; known once the server answers, so that nobody asks earlier."""
    pool: NodePoolArgs
    """The pool of the server."""
    api_key_secret: NotRequired[SecretKeyArgs | None]
    """The key clients must send; none for a server that asks for none."""
    image_pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets of the namespace that the pods of its own service account pull images with; none by default."""


class _Config(Model):
    model_name: DnsLabel = Field(examples=["qwen2-5-7b"])
    namespace_name: InputText
    expectation: InputText
    pool: NodePool
    api_key_secret: SecretKey | None = None
    image_pull_secrets: tuple[InputText, ...] = ()


class ModelVerification(PlatformComponent):
    """Fails the deployment when the server does not answer as it was asked for."""

    job_name: pulumi.Output[str]
    """Name of the Job, whose log has one line for every check."""

    def __init__(self, name: str, args: ModelVerificationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"ModelVerification {name}")
        common = verification_labels(config.model_name)
        planned = pulumi.Output.from_input(config.expectation).apply(Expectation.from_json)
        metadata = {"namespace": config.namespace_name, "labels": common}
        # Autonamed and immutable: other content is another object, and so another Job.
        files = kubernetes.core.v1.ConfigMap(
            self.child_name("verification"),
            metadata=metadata,
            data={"check.py": Path(check.__file__).read_text(), "expectation.json": config.expectation},
            immutable=True,
            opts=self.child(),
        )
        account = service_account(self, config.namespace_name, common, pull_secrets=config.image_pull_secrets)
        job = kubernetes.batch.v1.Job(
            self.child_name("verification"),
            metadata=metadata,
            spec=verification_job(
                config.pool,
                # It has the Python that the check needs, and the node has it already.
                image=planned.apply(lambda expected: expected.image),
                server=planned.apply(lambda expected: dict(expected.selector)),
                files=files.metadata["name"],
                account=account,
                secret=config.api_key_secret,
                pod_labels=common,
            ),
            opts=self.child(timeout=_IMAGE_PULL_SECONDS + _ATTEMPTS_SECONDS),
        )
        self.job_name = job.metadata["name"]
        self.finish()


def verification_labels(model_name: str) -> dict[str, str]:
    """Labels of the Job of one model."""
    return labels(COMPONENT, model_name, "verification")


def verification_job(
    pool: NodePool,
    *,
    image: pulumi.Input[str],
    server: pulumi.Input[dict[str, str]],
    files: pulumi.Input[str],
    account: pulumi.Input[str],
    secret: SecretKey | None,
    pod_labels: dict[str, str],
) -> dict[str, Any]:
    """Spec of the Job. It runs beside a pod with the labels `server` and takes no accelerator."""
    placed = on_pool(pool)
    # Where the server is, the image is too; and no autoscaler makes another node with accelerators for it.
    beside = {"labelSelector": {"matchLabels": server}, "topologyKey": "kubernetes.io/hostname"}
    placed["affinity"]["podAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": [beside]}
    volumes: list[dict[str, Any]] = [{"name": "files", "configMap": {"name": files}}]
    mounts: list[dict[str, Any]] = [{"name": "files", "mountPath": _FILES, "readOnly": True}]
    command = ["python3", f"{_FILES}/check.py", f"{_FILES}/expectation.json"]
    if secret:
        items = [{"key": secret.key, "path": secret.key}]
        volumes.append({"name": "api-key", "secret": {"secretName": secret.name, "items": items, "defaultMode": 0o440}})
        mounts.append({"name": "api-key", "mountPath": _KEY_DIRECTORY, "readOnly": True})
        command.append(f"{_KEY_DIRECTORY}/{secret.key}")
    return {
        "backoffLimit": 1,
        "activeDeadlineSeconds": _IMAGE_PULL_SECONDS + _ATTEMPTS_SECONDS,
        "podFailurePolicy": {
            "rules": [
                # The script has tried again and again before it says so.
                {"action": "FailJob", "onExitCodes": {"containerName": _CONTAINER, "operator": "In", "values": [1]}},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {
            "metadata": {"labels": pod_labels},
            "spec": {
                "restartPolicy": "Never",
                "serviceAccountName": account,
                **placed,
                "securityContext": restricted_pod(),
                "containers": [
                    {
                        "name": _CONTAINER,
                        "image": image,
                        "command": command,
                        "env": [NO_DEVICES],
                        # What is wrong stands in the pod's status too, where Pulumi and kubectl describe show it.
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "securityContext": restricted_container(),
                        "resources": resources("50m", 128, 64),
                        "volumeMounts": mounts,
                    }
                ],
                "volumes": volumes,
            },
        },
    }
