"""The Job that puts one pinned revision of a model into a cache."""

from typing import TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field

from components.base import PlatformComponent, labels
from components.inputs import InputText, Model, validate
from components.security.account import service_account
from components.storage.manifests import download_job, model_directory
from components.types import NodePool, NodePoolArgs, Repository, Revision
from components.versions import VLLM_IMAGE

_DOWNLOAD_MIB_PER_SECOND = 20
_IMAGE_PULL_SECONDS = 1800


class ModelDownloadArgs(TypedDict):
    """Inputs of `ModelDownload`."""

    namespace_name: pulumi.Input[str]
    """Namespace of the Job; *restricted* suffices."""
    claim_name: pulumi.Input[str]
    """Claim of the model cache."""
    source: str
    """Repository on Hugging Face, e.g. `Qwen/Qwen2.5-7B-Instruct-AWQ`."""
    revision: str
    """Commit of the repository, 40 hexadecimal digits: a branch may change under a running model."""
    weights_gib: float
    """Size of the weights in GiB; decides how long the download may take."""
    pool: NodePoolArgs
    """The pool whose node holds the cache."""


class _Config(Model):
    namespace_name: InputText
    claim_name: InputText
    source: Repository
    revision: Revision
    weights_gib: float = Field(gt=0, examples=[5.2])
    pool: NodePool


class ModelDownload(PlatformComponent):
    """Fetches a model once; a change of the revision runs it anew, next to what is there."""

    model_path: pulumi.Output[str]
    """Directory of the model as pods see it, known once the model is there."""

    def __init__(self, name: str, args: ModelDownloadArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"ModelDownload {name}")
        common = labels("model-download", name, "storage")
        account = service_account(self, config.namespace_name, common)
        job = kubernetes.batch.v1.Job(
            self.child_name("job"),
            metadata={"namespace": config.namespace_name, "labels": common},
            spec=download_job(
                source=config.source,
                revision=config.revision,
                image=VLLM_IMAGE,
                claim_name=config.claim_name,
                service_account=account,
                pool=config.pool,
                pod_labels=common,
            ),
            opts=self.child(timeout=download_seconds(config.weights_gib)),
        )
        self.model_path = job.id.apply(lambda _: model_directory(config.source, config.revision))
        self.finish()


def download_seconds(weights_gib: float) -> int:
    """Seconds a download may take: the image pull, and the weights at 20 MiB/s (a slow office line)."""
    return _IMAGE_PULL_SECONDS + round(weights_gib * 1024 / _DOWNLOAD_MIB_PER_SECOND)
