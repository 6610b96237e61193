"""Whether pods on the nodes of a pool reach its accelerators: the vendor's own tool, in a pod that asks for one."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field

from ..base import PlatformComponent, labels
from ..inputs import InputError, InputText, Model, validate
from ..pods import device_groups, on_pool, resources, restricted_container, restricted_pod, scratch
from ..serving.engine_images import PinnedImage, check_image, engine_for
from ..types import NodePool, NodePoolArgs
from ..versions import VLLM
from .profiles import profile_of

_CONTAINER = "smoke-test"
_SCRATCH = {"tmp": "/tmp"}  # noqa: S108 - a path inside the container
_DISK_MIB = 64
_GRACE = 60
"""Seconds the cluster has to tell that the test's time is over."""


class SmokeTestArgs(TypedDict):
    """Inputs of `SmokeTest`."""

    namespace_name: pulumi.Input[str]
    """Namespace of the pod; *restricted* suffices."""
    pool: NodePoolArgs
    """The pool to test; where it has no nodes now, one has to come for the test."""
    image: NotRequired[str]
    """Image with the command, with its tag or digest; by default the vendor's where one is known, else the engine's."""
    command: NotRequired[list[str]]
    """What has to succeed; by default the vendor's tool, e.g. `[nvidia-smi]`."""
    timeout_seconds: NotRequired[int]
    """How long it may take, with the node that may have to come and the image it pulls; 1800 by default."""


class _Config(Model):
    namespace_name: InputText
    pool: NodePool
    image: PinnedImage | None = Field(None, min_length=1, examples=["registry.example.com/npu-tools:v1.0"])
    command: tuple[str, ...] | None = Field(None, min_length=1, examples=["[nvidia-smi]"])
    timeout_seconds: int = Field(1800, ge=60, le=21600, examples=[1800])


class SmokeTest(PlatformComponent):
    """A Job on one node of a pool, awaited. It runs once, when the pool is made: later its accelerators belong to models."""

    pool_name: pulumi.Output[str]
    """Name of the pool, known once a pod has used one of its accelerators."""

    def __init__(self, name: str, args: SmokeTestArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"SmokeTest {name}")
        common = labels("smoke-test", name, "accelerators")
        try:
            spec = smoke_spec(config.pool, common, image=config.image, command=config.command, deadline=config.timeout_seconds)
        except ValueError as error:
            raise InputError(f"SmokeTest {name}: {error}") from error
        job = kubernetes.batch.v1.Job(
            self.child_name("job"),
            metadata={"namespace": config.namespace_name, "labels": common},
            spec=spec,
            # Another one would wait for an accelerator that models do not give back.
            opts=self.child(timeout=config.timeout_seconds + _GRACE, ignore_changes=["spec"]),
        )
        self.pool_name = job.id.apply(lambda _: config.pool.name)
        self.finish()


def smoke_spec(
    pool: NodePool,
    pod_labels: Mapping[str, str],
    *,
    image: str | None = None,
    command: tuple[str, ...] | None = None,
    deadline: int,
) -> dict[str, Any]:
    """Spec of the Job that uses one accelerator of `pool`. ValueError where it takes an image or a command to know.

    There is no time to live: a Job that vanished would be run again.
    """
    if pool.accelerator is None:
        raise ValueError(f"pool {pool.name} has no accelerators to test; use a pool that has some")
    card = pool.accelerator
    known = profile_of(card.resource)
    smoke = known.smoke
    volumes, mounts = scratch(_SCRATCH)
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        **on_pool(pool),
        "securityContext": restricted_pod() | device_groups(pool),
        "containers": [
            {
                "name": _CONTAINER,
                "image": image or smoke.image or _engine_image(card.resource),
                "command": list(command or smoke.command or _no_tool(known.title)),
                # Tools keep notes, and nowhere else may they.
                "env": [{"name": "HOME", "value": _SCRATCH["tmp"]}],
                "securityContext": restricted_container(),
                "resources": resources("100m", smoke.memory_mib, _DISK_MIB, {card.offered: 1}),
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    if pool.runtime_class_name:
        pod["runtimeClassName"] = pool.runtime_class_name
    return {
        # A device that has just appeared may not answer at once.
        "backoffLimit": 2,
        "activeDeadlineSeconds": deadline,
        # A node that is drained or reclaimed says nothing of its accelerators.
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        "template": {"metadata": {"labels": dict(pod_labels)}, "spec": pod},
    }


def check_smoke(pool: NodePool, image: str | None, command: tuple[str, ...] | None) -> None:
    """ValueError where a test of `pool` takes an image or a command to know; or for an image that moves."""
    if image is not None:
        try:
            check_image(image)
        except ValueError as error:
            raise ValueError(f"image: {error}") from None
    smoke_spec(pool, {}, image=image, command=command, deadline=1)


def _engine_image(resource: str) -> str:
    try:
        return engine_for(resource, image=None, version=VLLM).image
    except ValueError:
        raise ValueError(
            f"image is missing: no image with a tool for {resource} is published; name one with its tag, e.g. that of the engine"
        ) from None


def _no_tool(title: str) -> tuple[str, ...]:
    raise ValueError(f"command is missing: no tool for {title} is known; give one that fails without a device")
