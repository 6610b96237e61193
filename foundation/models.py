"""Where each model of a stack lies, and how it gets there."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.pods import ENGINE_UID
from components.serving.groups import LoadArgs
from components.storage import (
    AdapterRepositoryArgs,
    CsiVolumeArgs,
    ModelBucketAccess,
    ModelBucketAccessArgs,
    ModelCache,
    ModelCacheArgs,
    ModelDownload,
    ModelDownloadArgs,
    keeps_compiled,
    load_settings,
)
from components.storage.compile_cache import SIZE_GIB
from components.storage.download_job import vocabularies_of
from components.storage.layout import MODEL_ROOT, VOCABULARIES
from components.types import SecretKeyArgs
from components.versions import VLLM_IMAGE
from foundation.foundation import Bucket, Foundation
from planner.cold_start import storage_backend
from planner.stack import ModelPlan
from settings.cache import CacheKind
from settings.mirror import MirrorSettings
from settings.models import ModelSettings

MOUNTPOINT_DRIVER = "s3.csi.aws.com"

_ON_NODES = (CacheKind.HOST_PATH, CacheKind.BLOCK)
"""Caches that a download has to write on a node of the servers' pool; it reaches the others from any node."""
IN_BUCKET = (CacheKind.S3_MOUNT, CacheKind.S3_STREAM)


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """What a server needs to know of its model's files; paths are known once the files are there."""

    model_path: pulumi.Output[str]
    adapters: Mapping[str, pulumi.Output[str]]
    """By name the directory of each adapter."""
    draft_path: pulumi.Output[str] | None
    """Directory of the model that proposes tokens."""
    claim_name: pulumi.Output[str] | None
    """None where the engine streams from the bucket."""
    service_account_name: pulumi.Output[str] | None
    """The account that may read the bucket; None where no identity is needed."""
    region: str | None
    """AWS region of the bucket it is streamed from."""
    load: LoadArgs
    """How the engine reads them."""
    vocabulary_directory: str | None
    """Where the engine finds vocabularies; None where it needs none, or nothing is mounted."""
    compile_claim_name: pulumi.Output[str] | None
    """Claim where what the engine compiles outlives its pods; None where it goes with them."""

    @property
    def directories(self) -> list[pulumi.Input[str]]:
        """Directories that must be whole before an engine starts; none where nothing is mounted."""
        if self.claim_name is None:
            return []
        return [self.model_path, *self.adapters.values(), *([self.draft_path] if self.draft_path else [])]


@dataclass(frozen=True, kw_only=True)
class Storing:
    """What a model is stored with: its settings and plan, what is below, and where its pods and those of node agents go."""

    name: str
    model: ModelSettings
    planned: ModelPlan
    below: Foundation
    namespace_name: pulumi.Output[str]
    node_agents_namespace_name: pulumi.Output[str]
    image: str
    """The engine's."""
    token_secret: SecretKeyArgs | None
    """The token of gated repositories."""
    pull_secrets: Sequence[pulumi.Input[str]]
    """What images are pulled with."""
    mirror: MirrorSettings | None
    """What stands in for the internet."""

    @property
    def kind(self) -> CacheKind:
        """Where it lies."""
        return self.model.cache.kind

    @property
    def prefix(self) -> str:
        """Where it lies in the bucket."""
        return f"models/{self.name}"


def store(storing: Storing) -> ModelFiles:
    """Cache, identities and download of one model."""
    model, planned = storing.model, storing.planned
    streams = storing.kind is CacheKind.S3_STREAM
    reader, writer = _accounts(storing)
    claim = None if streams else _cache(storing, storing.name, max(1, math.ceil(planned.stored_gib)), storing.below.retain)
    download = _download(storing, claim, writer)
    tensor = planned.placement.options.tensor_parallel_size
    return ModelFiles(
        model_path=download.model_path,
        adapters=download.adapters,
        draft_path=download.draft,
        claim_name=claim,
        service_account_name=reader,
        region=_bucket(storing).region if streams else None,
        load=load_settings(model.cache.backend, planned.weights_gib, tensor),
        vocabulary_directory=_vocabularies(storing),
        compile_claim_name=_compiled(storing),
    )


def _accounts(storing: Storing) -> tuple[pulumi.Output[str] | None, pulumi.Output[str] | None]:
    """The service accounts of server and download; None for one that needs no identity."""
    if storing.kind in IN_BUCKET:
        own = _access(storing, storing.name, storing.prefix, writes=True)
        return own.reader_name, own.writer_name
    if mirror := storing.model.cache.mirror:
        return None, _access(storing, f"{storing.name}-mirror", mirror, writes=False).reader_name
    return None, None


def _access(storing: Storing, name: str, prefix: str, *, writes: bool) -> ModelBucketAccess:
    bucket = _bucket(storing)
    wanted: ModelBucketAccessArgs = {
        "namespace_name": storing.namespace_name,
        "bucket_arn": bucket.arn,
        "kms_key_arn": bucket.kms_key_arn,
        "prefix": prefix,
        "writes": writes,
        "image_pull_secrets": list(storing.pull_secrets),
    }
    if bucket.oidc_provider:
        wanted["oidc_provider"] = bucket.oidc_provider
    else:
        wanted["cluster_name"] = bucket.cluster_name
    return ModelBucketAccess(
        name,
        wanted,
        opts=pulumi.ResourceOptions(providers={"aws": bucket.provider, "kubernetes": storing.below.provider}),
    )


def _bucket(storing: Storing) -> Bucket:
    if storing.below.bucket is None:
        raise ValueError(f"models.{storing.name}.cache: there is no bucket; add storage.bucket: {{}} to the stack file")
    return storing.below.bucket


def _cache(storing: Storing, name: str, size_gib: int, retain: bool) -> pulumi.Output[str]:
    """A claim of that name in the place the settings name."""
    place: ModelCacheArgs = {"namespace_name": storing.namespace_name, "size_gib": size_gib, "retain": retain}
    cache, below = storing.model.cache, storing.below
    match storing.kind:
        case CacheKind.HOST_PATH:
            pool = storing.model.node_pool
            place["node_disk"] = {
                "host_path": f"{cache.path or below.cache_paths[pool]}/{name}",
                "node_agents_namespace_name": storing.node_agents_namespace_name,
                "pool": below.cluster.pool(pool).args(),
            }
        case CacheKind.BLOCK:
            storage_class: pulumi.Input[str] | None = cache.storage_class or below.storage_class
            if storage_class is None:
                raise ValueError(f"models.{name}.cache.storageClass is missing; use a class of the cluster, e.g. local-path")
            place["block"] = {"storage_class_name": storage_class}
        case CacheKind.NFS:
            place["nfs"] = {
                "server": str(cache.server),
                "path": str(cache.export),
                "mount_options": list(cache.mount_options),
            }
        case CacheKind.EFS:
            place["volume"] = below.volumes[name]
        case CacheKind.LUSTRE:
            prepared: CsiVolumeArgs = {**below.volumes[name], "prepare_namespace_name": storing.node_agents_namespace_name}
            place["volume"] = prepared
        case CacheKind.S3_MOUNT:
            place["volume"] = _mounted(storing)
        case CacheKind.S3_STREAM:
            raise ValueError("what is streamed has no claim")
    return ModelCache(name, place, opts=pulumi.ResourceOptions(provider=below.provider)).claim_name


def _mounted(storing: Storing) -> CsiVolumeArgs:
    """The model's prefix of the bucket, read with the identity of the pods that mount it (awslabs/mountpoint-s3-csi-driver
    docs/CONFIGURATION.md)."""
    bucket = _bucket(storing)
    return {
        "driver": MOUNTPOINT_DRIVER,
        "handle": pulumi.Output.concat(bucket.name, f"-{storing.name}"),
        "attributes": {"bucketName": bucket.name, "authenticationSource": "pod"},
        # The region, since pods do not reach the instance's metadata.
        "mount_options": [
            "read-only",
            "allow-other",
            f"uid={ENGINE_UID}",
            "gid=0",
            f"prefix {storing.prefix}/",
            f"region {bucket.region}",
        ],
        "read_only": True,
    }


def _download(storing: Storing, claim: pulumi.Output[str] | None, account: pulumi.Output[str] | None) -> ModelDownload:
    model, bucket = storing.model, storing.below.bucket
    wanted: ModelDownloadArgs = {
        "namespace_name": storing.namespace_name,
        "source": model.source,
        "revision": model.revision,
        "checksum": model.checksum,
        "weights_gib": storing.planned.stored_gib,
        "adapters": _adapters(model),
        "model_type": storing.planned.placement.model.architecture.name,
        "image_pull_secrets": list(storing.pull_secrets),
        # Where the engine's image lies on the node already it serves here too; elsewhere the official one runs on any node.
        "image": storing.image if storing.kind in _ON_NODES else VLLM_IMAGE,
    }
    if model.speculative and model.speculative.draft:
        draft = model.speculative.draft
        wanted["draft"] = {"source": draft.source, "revision": draft.revision, "checksum": draft.checksum}
    if storing.token_secret:
        wanted["token_secret"] = storing.token_secret
    if storing.kind in IN_BUCKET:
        wanted["bucket_location"] = pulumi.Output.concat("s3://", _bucket(storing).name, f"/{storing.prefix}")
        if storing.kind is CacheKind.S3_MOUNT:
            wanted["seen_at"] = MODEL_ROOT
    elif claim is not None:
        wanted["claim_name"] = claim
    if storing.kind in _ON_NODES:
        wanted["pool"] = storing.below.cluster.pool(model.node_pool).args()
    if storing.kind is CacheKind.BLOCK:
        # The volume is attached to the node of the server that runs.
        wanted["beside"] = {"app.kubernetes.io/instance": storing.name, "app.kubernetes.io/component": "model-server"}
    if storing.mirror:
        _redirect(wanted, storing.mirror)
    if bucket and model.cache.mirror:
        wanted["mirror"] = pulumi.Output.concat("s3://", bucket.name, f"/{model.cache.mirror}")
    if bucket and account is not None:
        wanted["service_account_name"], wanted["region"] = account, bucket.region
    return ModelDownload(storing.name, wanted, opts=pulumi.ResourceOptions(provider=storing.below.provider))


def _redirect(wanted: ModelDownloadArgs, mirror: MirrorSettings) -> None:
    """Have everything come from the site's mirror."""
    if mirror.models:
        wanted["mirror"] = mirror.models
    if mirror.hub:
        wanted["hub"] = mirror.hub
    if mirror.vocabularies:
        wanted["vocabularies"] = mirror.vocabularies
    if mirror.authority:
        wanted["authorities"] = mirror.authority


def _vocabularies(storing: Storing) -> str | None:
    model_type = storing.planned.placement.model.architecture.name
    return VOCABULARIES if vocabularies_of(model_type) else None


def _adapters(model: ModelSettings) -> dict[str, AdapterRepositoryArgs]:
    found = model.lora.adapters if model.lora else {}
    return {
        name: {
            "source": adapter.source,
            "revision": adapter.revision,
            "checksum": adapter.checksum,
            "rank": adapter.rank,
        }
        for name, adapter in found.items()
    }


def _compiled(storing: Storing) -> pulumi.Output[str] | None:
    model = storing.model
    backend = storage_backend(model.cache.backend)
    if not keeps_compiled(backend.local or backend.exclusive, model.replicas, storing.planned.placement.nodes):
        return None
    return _cache(storing, f"{storing.name}-compiled", SIZE_GIB, False)
