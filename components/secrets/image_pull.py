"""What pods of a namespace pull images with, when they have no service account of their own."""

from typing import TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field

from ..base import PlatformComponent, labels
from ..inputs import InputText, Model, validate
from ..ordering import known_after


class ImagePullArgs(TypedDict):
    """Inputs of `ImagePull`."""

    namespace_name: pulumi.Input[str]
    """The namespace."""
    secret_names: list[pulumi.Input[str]]
    """Its secrets of type `registry`."""


class _Config(Model):
    namespace_name: InputText
    secret_names: tuple[InputText, ...] = Field(min_length=1, examples=["[registry]"])


class ImagePull(PlatformComponent):
    """The pull secrets of a namespace's default service account. Pods get those of the day they are made, so other ones roll
    none."""

    namespace_name: pulumi.Output[str]
    """The namespace, known once its pods can pull."""

    def __init__(self, name: str, args: ImagePullArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"ImagePull {name}")
        account = kubernetes.core.v1.ServiceAccountPatch(
            self.child_name("account"),
            metadata={
                "namespace": config.namespace_name,
                "name": "default",
                # Those that `Namespace` gives it: two values for one label would take turns.
                "labels": pulumi.Output.from_input(config.namespace_name).apply(
                    lambda namespace: labels("namespace", namespace, "tenancy")
                ),
                "annotations": {"pulumi.com/patchForce": "true"},
            },
            image_pull_secrets=[{"name": secret} for secret in config.secret_names],
            opts=self.child(),
        )
        self.namespace_name = known_after(config.namespace_name, account.metadata["namespace"])
        self.finish()
