"""The engine's image on every node of a pool, before a server needs it there.

A node that joins pulls it at once, beside its device plugin, instead of when the first server is scheduled; a rollout to another
engine begins with it on all nodes. What a pull itself costs is the business of the nodes (`components.cluster.user_data`).
"""

from typing import Any, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field

from ..base import PlatformComponent, labels, selector
from ..image_lock import locked
from ..inputs import InputText, Model, validate
from ..pods import on_pool, resources, restricted_container, restricted_pod
from ..types import NodePool, NodePoolArgs

PAUSE_IMAGE = locked("registry.k8s.io/pause:3.10.2")
"""What RKE2 1.36.3 and 1.37.0 hold their pods with (NixOS/nixpkgs, versions of rke2, pauseVersion)."""

_TIMEOUT = 3600
"""Seconds; every node of the pool may be pulling more than 10 GB."""


class ImagePrepullArgs(TypedDict):
    """Inputs of `ImagePrepull`."""

    namespace_name: pulumi.Input[str]
    """Namespace of the pods; *restricted* suffices."""
    images: list[str]
    """The images, each with a tag or digest."""
    pool: NodePoolArgs
    """The pool whose nodes get them."""


class _Config(Model):
    namespace_name: InputText
    images: tuple[str, ...] = Field(min_length=1, examples=["[docker.io/vllm/vllm-openai:v0.33.0]"])
    pool: NodePool


class ImagePrepull(PlatformComponent):
    """A pod on every node of a pool that has the images pulled and then does nothing."""

    pool_name: pulumi.Output[str]
    """Name of the pool, known when all its nodes have the images."""

    def __init__(self, name: str, args: ImagePrepullArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"ImagePrepull {name}")
        common = labels("image-prepull", config.pool.name, "serving")
        pods = kubernetes.apps.v1.DaemonSet(
            self.child_name("pods"),
            metadata={"namespace": config.namespace_name, "labels": common},
            spec=prepull_spec(config.images, config.pool, common),
            opts=self.child(timeout=_TIMEOUT),
        )
        self.pool_name = pods.id.apply(lambda _: config.pool.name)
        self.finish()


def prepull_spec(images: tuple[str, ...], pool: NodePool, pod_labels: dict[str, str]) -> dict[str, Any]:
    """Spec of the DaemonSet: an init container of each image ends at once, and what stays is a pause."""
    pulled = [
        {
            "name": f"pull-{number}",
            "image": image,
            # There in every image with a shell, the engine's among them; its own entry point would begin to serve.
            "command": ["/bin/sh", "-c", "exit 0"],
            "securityContext": restricted_container(),
            "resources": resources("10m", 32, 16),
        }
        for number, image in enumerate(images)
    ]
    return {
        "selector": {"matchLabels": selector(pod_labels)},
        # All at once: a node that pulls takes nothing from the others.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
        "template": {
            "metadata": {"labels": pod_labels},
            "spec": {
                **on_pool(pool),
                "terminationGracePeriodSeconds": 1,
                "securityContext": restricted_pod(),
                "initContainers": pulled,
                "containers": [
                    {
                        "name": "pause",
                        "image": PAUSE_IMAGE,
                        "securityContext": restricted_container(),
                        "resources": resources("10m", 16, 16),
                    }
                ],
            },
        },
    }
