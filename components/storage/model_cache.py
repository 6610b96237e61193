"""A model cache behind a claim: on the disk of one node, on a block volume, or on a file system or bucket that many nodes share.

On a node's disk it is a hostPath PersistentVolume behind a claim, because pods at Pod Security *restricted* may not mount a
hostPath themselves. It serves pools of one node: on a second one the model would be missing.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, model_validator

from ..base import PlatformComponent, labels
from ..inputs import InputText, Model, validate
from ..names import fit
from ..types import HostPath, NodePool, NodePoolArgs
from ..versions import VLLM_IMAGE
from .manifests import (
    ON_MANY_NODES,
    ON_ONE_NODE,
    READ_BY_MANY,
    REPLACED,
    claim_spec,
    csi_source,
    host_path_source,
    nfs_source,
    prepare_directory_job,
    prepare_root_job,
    volume_spec,
)

_PREPARE_TIMEOUT = 1800
"""Seconds; the Job pulls the engine's image onto a node that may never have had it."""


class CsiVolumeArgs(TypedDict):
    """A file system or bucket that a CSI driver of the cluster mounts."""

    driver: str
    """Name of the driver, e.g. `efs.csi.aws.com`."""
    handle: pulumi.Input[str]
    """What the driver calls the volume, e.g. `fs-0123::fsap-0123` for an access point of EFS."""
    attributes: NotRequired[dict[str, pulumi.Input[str]]]
    """What the driver must know beside, e.g. `dnsname` and `mountname` for FSx for Lustre."""
    mount_options: NotRequired[list[str]]
    """Options of the mount, e.g. `flock`."""
    read_only: NotRequired[bool]
    """Whether nobody can write to it by this volume; false by default."""
    prepare_namespace_name: NotRequired[pulumi.Input[str]]
    """Namespace that allows pods of root: a Job there gives the root of the file system to the engine's user."""


class NodeDiskArgs(TypedDict):
    """A directory on the disk of a node."""

    host_path: str
    """The directory; made when missing, kept when the cache is deleted."""
    node_agents_namespace_name: pulumi.Input[str]
    """Namespace that allows privileged pods; the Job that makes the directory runs there."""
    pool: NodePoolArgs
    """The pool whose node holds the cache; it must have one node."""


class BlockArgs(TypedDict):
    """A volume that one node at a time has."""

    storage_class_name: pulumi.Input[str]
    """The class that provisions it, e.g. that of `BlockStorageClass` or `local-path`."""


class NfsArgs(TypedDict):
    """A directory that an NFS server exports."""

    server: str
    """Name or address of the server."""
    path: str
    """The directory; user 2000 must be able to write to it."""
    mount_options: NotRequired[list[str]]
    """Options of the mount, e.g. `nfsvers=4.1`."""


class ModelCacheArgs(TypedDict):
    """Inputs of `ModelCache`: one of `volume`, `node_disk`, `block` and `nfs`."""

    namespace_name: pulumi.Input[str]
    """Namespace of the claim and of the pods that use it."""
    size_gib: int
    """Size in GiB; nominal but for `block`."""
    volume: NotRequired[CsiVolumeArgs]
    """A file system or bucket many nodes share."""
    node_disk: NotRequired[NodeDiskArgs]
    """A directory on the disk of one node."""
    block: NotRequired[BlockArgs]
    """A volume of one node at a time."""
    nfs: NotRequired[NfsArgs]
    """A directory of an NFS server."""
    retain: NotRequired[bool]
    """Whether the claim is left behind when the program forgets it; false by default. Data on anything but a block volume is
    always left."""


class _CsiVolume(Model):
    driver: str = Field(min_length=1, examples=["efs.csi.aws.com"])
    handle: InputText
    attributes: Mapping[str, InputText] = Field(default_factory=dict)
    mount_options: tuple[str, ...] = ()
    read_only: bool = False
    prepare_namespace_name: InputText | None = None

    @model_validator(mode="after")
    def _can_be_prepared(self) -> "_CsiVolume":
        if self.read_only and self.prepare_namespace_name is not None:
            raise ValueError("prepare_namespace_name: nothing can be prepared through a volume with read_only; leave one out")
        return self


class _NodeDisk(Model):
    host_path: HostPath
    node_agents_namespace_name: InputText
    pool: NodePool

    @model_validator(mode="after")
    def _one_node(self) -> "_NodeDisk":
        check_one_node(self.pool)
        return self


class _Block(Model):
    storage_class_name: InputText


class _Nfs(Model):
    server: str = Field(min_length=1, examples=["nas.example.org"])
    path: str = Field(pattern=r"^/", examples=["/models"])
    mount_options: tuple[str, ...] = ()


class _Config(Model):
    namespace_name: InputText
    size_gib: int = Field(ge=1, examples=[10])
    volume: _CsiVolume | None = None
    node_disk: _NodeDisk | None = None
    block: _Block | None = None
    nfs: _Nfs | None = None
    retain: bool = False

    @model_validator(mode="after")
    def _one_place(self) -> "_Config":
        if sum(place is not None for place in (self.volume, self.node_disk, self.block, self.nfs)) != 1:
            raise ValueError("a model lies in one place; give one of volume, node_disk, block and nfs")
        return self


class ModelCache(PlatformComponent):
    """A directory of models behind a claim."""

    claim_name: pulumi.Output[str]
    """Name of the PersistentVolumeClaim to mount."""

    def __init__(self, name: str, args: ModelCacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._config = config = validate(_Config, args, f"ModelCache {name}")
        self._labels = labels("model-cache", name, "storage")
        if config.block:
            # Neither claim nor volume is there before the first pod: the class waits for it.
            spec = claim_spec(ON_ONE_NODE, config.size_gib, config.block.storage_class_name)
            self.claim_name = self._claim("claim", config.namespace_name, spec)
        else:
            self.claim_name = self._static("", config.namespace_name, self._prepared())
        self.finish()

    def _prepared(self) -> list[pulumi.Resource]:
        """The Job that gives the engine's user a directory, where somebody has to."""
        config = self._config
        if disk := config.node_disk:
            spec = prepare_directory_job(disk.host_path, VLLM_IMAGE, disk.pool, self._labels)
            return [self._job(disk.node_agents_namespace_name, spec)]
        if config.volume and config.volume.prepare_namespace_name is not None:
            namespace = config.volume.prepare_namespace_name
            claim = self._static("prepare", namespace, [])
            return [self._job(namespace, prepare_root_job(claim, VLLM_IMAGE, self._labels))]
        return []

    def _job(self, namespace_name: pulumi.Input[str], spec: Mapping[str, Any]) -> "kubernetes.batch.v1.Job":
        return kubernetes.batch.v1.Job(
            self.child_name("prepare"),
            metadata={"namespace": namespace_name, "labels": self._labels},
            spec=spec,
            opts=self.child(timeout=_PREPARE_TIMEOUT),
        )

    def _static(self, role: str, namespace_name: pulumi.Input[str], made_before: list[pulumi.Resource]) -> pulumi.Output[str]:
        """A volume over what is there already, and its claim's name."""
        access, source, options = self._source()
        size, storage_class = self._config.size_gib, fit("llm-platform", self._name, role)
        volume = kubernetes.core.v1.PersistentVolume(
            self.child_name("volume", role),
            metadata={"labels": self._labels},
            spec=volume_spec(access, size, storage_class, options) | source,
            opts=self.child(depends_on=made_before, replace_on_changes=REPLACED),
        )
        return self._claim(fit("claim", role), namespace_name, claim_spec(access, size, storage_class, volume.metadata["name"]))

    def _claim(self, role: str, namespace_name: pulumi.Input[str], spec: Mapping[str, Any]) -> pulumi.Output[str]:
        claim = kubernetes.core.v1.PersistentVolumeClaim(
            self.child_name(role),
            metadata={"namespace": namespace_name, "labels": self._labels},
            spec=spec,
            opts=self.child(retain=self._config.retain or None),
        )
        name: pulumi.Output[str] = claim.metadata["name"]
        return name

    def _source(self) -> tuple[str, dict[str, Any], tuple[str, ...]]:
        """Access mode, source and mount options of the volume."""
        match self._config:
            case _Config(node_disk=_NodeDisk() as disk):
                return ON_ONE_NODE, host_path_source(disk.host_path, disk.pool), ()
            case _Config(nfs=_Nfs() as nfs):
                return ON_MANY_NODES, nfs_source(nfs.server, nfs.path), nfs.mount_options
            case _Config(volume=_CsiVolume() as volume):
                access = READ_BY_MANY if volume.read_only else ON_MANY_NODES
                return access, csi_source(volume.driver, volume.handle, volume.attributes), volume.mount_options
            case _:
                raise TypeError("a block volume has no source")


def check_one_node(pool: NodePool) -> None:
    """Raise ValueError for a pool that can grow beyond the one node whose disk holds the cache."""
    if pool.max_nodes > 1:
        raise ValueError(
            f"a cache on a node's disk is on one node only, but pool {pool.name} grows to {pool.max_nodes}; "
            f"use a pool with maxNodes: 1"
        )


def check_one_reader(pool: NodePool, replicas: int, nodes: int = 1) -> None:
    """Raise ValueError when `replicas` of `nodes` nodes each could need one block volume on several nodes of the pool."""
    if pool.max_nodes > 1 and replicas * nodes > 1:
        wanted = f"{replicas} replicas" if nodes == 1 else f"a replica of {nodes} nodes"
        raise ValueError(
            f"a block volume is attached to one node at a time, but {wanted} can need it on several of the {pool.max_nodes} "
            f"nodes of pool {pool.name}; use replicas: 1 on one node, or a cache that many nodes share, e.g. kind: efs or nfs"
        )
