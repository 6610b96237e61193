"""Where a model lies, and whether the stack has that place."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from components.inputs import Matching, Model
from components.storage.layout import PREFIX_PATTERN
from components.storage.model_cache import check_one_node, check_one_reader
from components.types import DnsLabel, HostPath, NodePool
from settings.aws import StorageSettings

Prefix = Annotated[
    str, Matching(pattern=PREFIX_PATTERN, what="a prefix in a bucket (words and slashes)", example="models/qwen2-5-7b")
]
Host = Annotated[
    str,
    Matching(pattern=r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?", what="a host name or address", example="nas.example.org"),
]


class CacheKind(StrEnum):
    """The places a model can lie in."""

    HOST_PATH = "hostPath"
    BLOCK = "block"
    EFS = "efs"
    NFS = "nfs"
    LUSTRE = "lustre"
    S3_MOUNT = "s3Mount"
    S3_STREAM = "s3Stream"


_BACKENDS = {
    CacheKind.HOST_PATH: "hostPath-nvme",
    CacheKind.BLOCK: "block-gp3",
    CacheKind.EFS: "efs",
    CacheKind.NFS: "nfs",
    CacheKind.LUSTRE: "fsx-lustre",
    CacheKind.S3_MOUNT: "s3-mountpoint",
    CacheKind.S3_STREAM: "s3-streamer",
}
"""Their names in the planner's catalogue."""

_OF_KIND = {
    "path": CacheKind.HOST_PATH,
    "storage_class": CacheKind.BLOCK,
    "server": CacheKind.NFS,
    "export": CacheKind.NFS,
    "mount_options": CacheKind.NFS,
}
"""The kind each setting belongs to."""

_SECTIONS = {
    CacheKind.BLOCK: "block",
    CacheKind.EFS: "efs",
    CacheKind.LUSTRE: "lustre",
    CacheKind.S3_MOUNT: "bucket",
    CacheKind.S3_STREAM: "bucket",
}
"""What has to be in the section storage of the stack file."""


class CacheSettings(Model):
    """Where a model lies."""

    kind: CacheKind = Field(
        CacheKind.HOST_PATH,
        description="A directory on the disk of the pool's one node, a block volume, a file system or bucket of the section "
        "storage, or an NFS server.",
        examples=["efs"],
    )
    path: HostPath | None = Field(
        None, description="For hostPath: parent directory on the node; each model gets one below it. By machine image."
    )
    storage_class: DnsLabel | None = Field(
        None,
        description="For block: a storage class the cluster has; that of storage.block when left out.",
        examples=["local-path"],
    )
    server: Host | None = Field(None, description="For nfs: the server.")
    export: str | None = Field(
        None, pattern=r"^/[^\s]*$", description="For nfs: the directory it exports, writable for user 2000.", examples=["/models"]
    )
    mount_options: tuple[str, ...] = Field(
        ("nfsvers=4.1", "hard"), description="For nfs: options of the mount.", examples=["[nfsvers=4.1, hard, nconnect=8]"]
    )
    mirror: Prefix | None = Field(
        None,
        description="Fetch from below this prefix of storage.bucket, where a cache of kind s3Mount or s3Stream laid out the same "
        "repositories (as models/NAME), and not from Hugging Face.",
    )

    @property
    def backend(self) -> str:
        """Its name in the planner's catalogue."""
        return _BACKENDS[self.kind]

    @property
    def exclusive(self) -> bool:
        """Whether only one node can have it at a time, so that no second server can start beside the first."""
        return self.kind is CacheKind.BLOCK

    @model_validator(mode="after")
    def _settings_of_its_kind(self) -> "CacheSettings":
        for name, kind in _OF_KIND.items():
            if name in self.model_fields_set and self.kind is not kind:
                key = type(self).model_fields[name].alias
                raise ValueError(f"{key} is of kind {kind}; remove it, or use kind: {kind}")
        if self.kind is CacheKind.NFS and not (self.server and self.export):
            raise ValueError("kind nfs needs server and export, e.g. server: nas.example.org and export: /models")
        if self.mirror and self.kind in (CacheKind.S3_MOUNT, CacheKind.S3_STREAM):
            raise ValueError(f"mirror: kind {self.kind} is a bucket already; remove mirror, or use e.g. kind: efs")
        return self


def check_cache(cache: CacheSettings, storage: StorageSettings | None, pool: NodePool, replicas: int, nodes: int = 1) -> None:
    """Raise ValueError when the stack has no such place, or it cannot be where the servers are.

    `replicas` servers of `nodes` nodes each run on `pool`; `storage` is None where the cluster is not on EKS.
    """
    section = _SECTIONS.get(cache.kind)
    missing = section is not None and getattr(storage, section, None) is None
    if missing and not (cache.kind is CacheKind.BLOCK and cache.storage_class):
        named = ", or name a storageClass of the cluster, e.g. local-path" if cache.kind is CacheKind.BLOCK else ""
        raise ValueError(
            f"kind {cache.kind} needs storage.{section}, which a cluster of kind eks can have; add storage.{section}: {{}} "
            f"there{named}, or use another kind, e.g. nfs"
        )
    if cache.mirror and (storage is None or storage.bucket is None):
        raise ValueError("mirror is a place in storage.bucket; add storage.bucket: {} to this stack file, or remove mirror")
    if cache.kind is CacheKind.HOST_PATH:
        check_one_node(pool)
    if cache.exclusive:
        check_one_reader(pool, replicas, nodes)


def provisioned_mb_per_s(cache: CacheSettings, storage: StorageSettings | None) -> float | None:
    """MB/s (10^6 bytes) that one reader gets where settings buy throughput; None where the planner's figure holds."""
    if cache.kind is CacheKind.BLOCK and storage and storage.block and not cache.storage_class:
        return storage.block.throughput_mib_per_second * 2**20 // 10**6
    if cache.kind is CacheKind.LUSTRE and storage and storage.lustre:
        return storage.lustre.capacity_gib / 1024 * storage.lustre.throughput_mb_per_tib
    return None
