"""A model cache: on the disk of one node, or on a file system that many nodes share.

On a node's disk it is a hostPath PersistentVolume behind a claim, because pods at Pod Security *restricted* may not mount a
hostPath themselves. It serves pools of one node: on a second one the model would be missing.
"""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, model_validator

from components.base import PlatformComponent, labels
from components.inputs import InputText, Model, validate
from components.names import fit
from components.storage.manifests import (
    ON_MANY_NODES,
    ON_ONE_NODE,
    claim_spec,
    csi_source,
    host_path_source,
    prepare_job,
    volume_spec,
)
from components.types import HostPath, NodePool, NodePoolArgs
from components.versions import VLLM_IMAGE

_PREPARE_TIMEOUT = 1800
"""Seconds; the Job pulls the engine's image onto a node that may never have had it."""


class CsiVolumeArgs(TypedDict):
    """A file system that a CSI driver of the cluster mounts."""

    driver: str
    """Name of the driver, e.g. `efs.csi.aws.com`."""
    handle: pulumi.Input[str]
    """What the driver calls the volume, e.g. `fs-0123::fsap-0123` for an access point of EFS."""
    attributes: NotRequired[dict[str, pulumi.Input[str]]]
    """What the driver must know beside, e.g. `dnsname` and `mountname` for FSx for Lustre."""


class NodeDiskArgs(TypedDict):
    """A directory on the disk of a node."""

    host_path: str
    """The directory; made when missing, kept when the cache is deleted."""
    node_agents_namespace_name: pulumi.Input[str]
    """Namespace that allows privileged pods; the Job that makes the directory runs there."""
    pool: NodePoolArgs
    """The pool whose node holds the cache; it must have one node."""


class ModelCacheArgs(TypedDict):
    """Inputs of `ModelCache`: either `volume` or `node_disk`."""

    namespace_name: pulumi.Input[str]
    """Namespace of the claim and of the pods that use it."""
    size_gib: int
    """Nominal size in GiB."""
    volume: NotRequired[CsiVolumeArgs]
    """A file system many nodes share."""
    node_disk: NotRequired[NodeDiskArgs]
    """A directory on the disk of one node."""


class _CsiVolume(Model):
    driver: str = Field(min_length=1, examples=["efs.csi.aws.com"])
    handle: InputText
    attributes: Mapping[str, InputText] = Field(default_factory=dict)


class _NodeDisk(Model):
    host_path: HostPath
    node_agents_namespace_name: InputText
    pool: NodePool

    @model_validator(mode="after")
    def _one_node(self) -> "_NodeDisk":
        check_one_node(self.pool)
        return self


class _Config(Model):
    namespace_name: InputText
    size_gib: int = Field(ge=1, examples=[10])
    volume: _CsiVolume | None = None
    node_disk: _NodeDisk | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "_Config":
        if (self.volume is None) == (self.node_disk is None):
            raise ValueError("a model lies in one place; give either volume or node_disk")
        return self


class ModelCache(PlatformComponent):
    """A directory of models behind a claim."""

    claim_name: pulumi.Output[str]
    """Name of the PersistentVolumeClaim to mount."""

    def __init__(self, name: str, args: ModelCacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"ModelCache {name}")
        common = labels("model-cache", name, "storage")
        storage_class = fit("llm-platform", name)
        made_before: list[pulumi.Resource] = []
        if config.node_disk:
            disk = config.node_disk
            prepare = kubernetes.batch.v1.Job(
                self.child_name("prepare"),
                metadata={"namespace": disk.node_agents_namespace_name, "labels": common},
                spec=prepare_job(disk.host_path, VLLM_IMAGE, disk.pool, common),
                opts=self.child(timeout=_PREPARE_TIMEOUT),
            )
            access, source = ON_ONE_NODE, host_path_source(disk.host_path, disk.pool)
            made_before.append(prepare)
        if config.volume:
            access = ON_MANY_NODES
            source = csi_source(config.volume.driver, config.volume.handle, config.volume.attributes)
        volume = kubernetes.core.v1.PersistentVolume(
            self.child_name("volume"),
            metadata={"labels": common},
            spec=volume_spec(access, config.size_gib, storage_class) | source,
            # A claim cannot grow on a volume nobody provisions: a new size is a new volume over the same directory.
            opts=self.child(depends_on=made_before, replace_on_changes=["spec.capacity"]),
        )
        claim = kubernetes.core.v1.PersistentVolumeClaim(
            self.child_name("claim"),
            metadata={"namespace": config.namespace_name, "labels": common},
            spec=claim_spec(volume.metadata["name"], access, config.size_gib, storage_class),
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
