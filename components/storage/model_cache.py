"""A model cache on the disk of one node.

A hostPath PersistentVolume behind a claim, because pods at Pod Security *restricted* may not mount a hostPath themselves. It
serves pools of one node: on a second one the model would be missing.
"""

from typing import TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, model_validator

from components.base import PlatformComponent, labels
from components.inputs import InputText, Model, validate
from components.names import fit
from components.storage.manifests import host_path_claim, host_path_volume, prepare_job
from components.types import HostPath, NodePool, NodePoolArgs
from components.versions import VLLM_IMAGE

_PREPARE_TIMEOUT = 1800
"""Seconds; the Job pulls the engine's image onto a node that may never have had it."""


class ModelCacheArgs(TypedDict):
    """Inputs of `ModelCache`."""

    namespace_name: pulumi.Input[str]
    """Namespace of the claim and of the pods that use it."""
    node_agents_namespace_name: pulumi.Input[str]
    """Namespace that allows privileged pods; the Job that makes the directory runs there."""
    host_path: str
    """Directory on the node; made when missing, kept when the cache is deleted."""
    size_gib: int
    """Nominal size in GiB."""
    pool: NodePoolArgs
    """The pool whose node holds the cache; it must have one node."""


class _Config(Model):
    namespace_name: InputText
    node_agents_namespace_name: InputText
    host_path: HostPath
    size_gib: int = Field(ge=1, examples=[10])
    pool: NodePool

    @model_validator(mode="after")
    def _one_node(self) -> "_Config":
        check_one_node(self.pool)
        return self


class ModelCache(PlatformComponent):
    """A directory of models on one node, behind a claim."""

    claim_name: pulumi.Output[str]
    """Name of the PersistentVolumeClaim to mount."""

    def __init__(self, name: str, args: ModelCacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"ModelCache {name}")
        common = labels("model-cache", name, "storage")
        storage_class = fit("llm-platform", name)
        prepare = kubernetes.batch.v1.Job(
            self.child_name("prepare"),
            metadata={"namespace": config.node_agents_namespace_name, "labels": common},
            spec=prepare_job(config.host_path, VLLM_IMAGE, config.pool, common),
            opts=self.child(timeout=_PREPARE_TIMEOUT),
        )
        volume = kubernetes.core.v1.PersistentVolume(
            self.child_name("volume"),
            metadata={"labels": common},
            spec=host_path_volume(config.host_path, config.size_gib, storage_class, config.pool),
            # A claim cannot grow on a volume nobody provisions: a new size is a new volume over the same directory.
            opts=self.child(depends_on=[prepare], replace_on_changes=["spec.capacity"]),
        )
        claim = kubernetes.core.v1.PersistentVolumeClaim(
            self.child_name("claim"),
            metadata={"namespace": config.namespace_name, "labels": common},
            spec=host_path_claim(volume.metadata["name"], config.size_gib, storage_class),
            opts=self.child(),
        )
        self.claim_name = claim.metadata["name"]
        self.finish()


def check_one_node(pool: NodePool) -> None:
    """Raise ValueError for a pool that can grow beyond the one node whose disk holds the cache."""
    if pool.max_nodes > 1:
        raise ValueError(
            f"a cache on a node's disk is on one node only, but pool {pool.name} grows to {pool.max_nodes}; "
            f"use a pool with maxNodes: 1"
        )
