"""The Job that puts pinned revisions of a model and its adapters into a cache."""

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, field_validator, model_validator

from ..base import PlatformComponent, labels
from ..inputs import InputText, Model, validate
from ..mirroring import redirected
from ..security.account import service_account
from ..types import Checksum, NodePool, NodePoolArgs, Repository, Revision, SecretKey, SecretKeyArgs, WebAddress
from ..versions import VLLM_IMAGE
from .download_job import Around, download_job, job_name, program, vocabularies_of, wishes
from .layout import MODEL_ROOT, below, repository_directory

_DOWNLOAD_MIB_PER_SECOND = 20
_IMAGE_PULL_SECONDS = 1800


class RepositoryArgs(TypedDict):
    """A repository on Hugging Face at one commit."""

    source: str
    """Owner and name."""
    revision: str
    """Commit of 40 hexadecimal digits."""
    checksum: NotRequired[str | None]
    """SHA-256 of the list of its files, which the log of a download tells: with it nothing else is taken, whoever serves it."""


class AdapterRepositoryArgs(RepositoryArgs):
    """A LoRA adapter."""

    rank: int
    """Rank its adapter_config.json must have."""
    bases: NotRequired[list[str]]
    """Further models it may have been trained for, where that is not this model or one its name begins with."""


class ModelDownloadArgs(TypedDict):
    """Inputs of `ModelDownload`: what to fetch, and either `claim_name` or `bucket_location`."""

    namespace_name: pulumi.Input[str]
    """Namespace of the Job; *restricted* suffices."""
    source: str
    """Repository on Hugging Face, e.g. `Qwen/Qwen2.5-7B-Instruct-AWQ`."""
    revision: str
    """Commit of the repository, 40 hexadecimal digits: a branch may change under a running model."""
    checksum: NotRequired[str | None]
    """SHA-256 of the list of its files, which the log of a download tells: with it nothing else is taken, whoever serves it."""
    weights_gib: float
    """Size of all weights in GiB; decides how long the download may take."""
    claim_name: NotRequired[pulumi.Input[str]]
    """Claim of the model cache."""
    bucket_location: NotRequired[pulumi.Input[str]]
    """Place in a bucket to copy to, e.g. `s3://models/qwen`; the service account must be able to write there."""
    seen_at: NotRequired[pulumi.Input[str]]
    """Where servers see that place, when they mount it; the place itself by default."""
    mirror: NotRequired[pulumi.Input[str]]
    """Where this component's program brought the repositories before: a place in a bucket, or a directory behind a web server
    (`https://…`); Hugging Face by default."""
    hub: NotRequired[str]
    """Address of a hub that stands in for Hugging Face."""
    vocabularies: NotRequired[str]
    """Address of a directory with the vocabularies that some engines need; where their makers publish them by default."""
    authorities: NotRequired[str]
    """Authorities of the certificates of those, as PEM; the public ones by default."""
    adapters: NotRequired[dict[str, AdapterRepositoryArgs]]
    """LoRA adapters by name, each in a directory of its own."""
    draft: NotRequired[RepositoryArgs]
    """The model that proposes tokens, in a directory of its own."""
    token_secret: NotRequired[SecretKeyArgs]
    """Secret with a token of Hugging Face, in that namespace; for gated repositories."""
    exclude: NotRequired[list[str]]
    """Patterns of files to leave out beside those that are never fetched, e.g. `consolidated*`."""
    pool: NotRequired[NodePoolArgs]
    """The pool it has to run on, for a disk or volume that is there only; any node by default."""
    beside: NotRequired[dict[str, str]]
    """Labels of pods on whose node it should run, for a volume that one node at a time has."""
    service_account_name: NotRequired[pulumi.Input[str]]
    """Service account with an identity for the buckets; one of its own without any by default."""
    image_pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets of the namespace that the pods of its own service account pull images with; none by default."""
    region: NotRequired[str]
    """AWS region of the buckets."""
    model_type: NotRequired[str]
    """`model_type` of the model's config.json: engines of some types need vocabularies beside the model."""
    image: NotRequired[str]
    """Image with python3 and huggingface_hub; the engine's by default."""


class _Repository(Model):
    source: Repository
    revision: Revision
    checksum: Checksum | None = None


class _Adapter(_Repository):
    rank: int = Field(ge=1, examples=[16])
    bases: tuple[Repository, ...] = ()


class _Config(_Repository):
    namespace_name: InputText
    weights_gib: float = Field(gt=0, examples=[5.2])
    claim_name: InputText | None = None
    bucket_location: InputText | None = None
    seen_at: InputText | None = None
    mirror: InputText | None = None
    hub: WebAddress | None = None
    vocabularies: WebAddress | None = None
    authorities: str | None = Field(None, min_length=1, examples=['"-----BEGIN CERTIFICATE-----…"'])
    adapters: Mapping[str, _Adapter] = Field(default_factory=dict)
    draft: _Repository | None = None
    token_secret: SecretKey | None = None
    exclude: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    pool: NodePool | None = None
    beside: Mapping[str, str] | None = None
    service_account_name: InputText | None = None
    image_pull_secrets: tuple[InputText, ...] = ()
    region: str | None = Field(None, min_length=1, examples=["us-east-1"])
    model_type: str = Field("", examples=["gpt_oss"])
    image: str = Field(VLLM_IMAGE, min_length=1)

    @field_validator("exclude")
    @classmethod
    def _something_is_left(cls, exclude: tuple[str, ...]) -> tuple[str, ...]:
        if taken := sorted({"*", "*.safetensors", "config.json", "*.json"} & set(exclude)):
            raise ValueError(f"{taken[0]} would leave no model; use a narrower pattern, e.g. consolidated*")
        return exclude

    @model_validator(mode="after")
    def _one_place(self) -> "_Config":
        if (self.claim_name is None) == (self.bucket_location is None):
            raise ValueError("a download has one target; give either claim_name or bucket_location")
        by_web = self.mirror is None or (isinstance(self.mirror, str) and not self.mirror.startswith("s3://"))
        if self.service_account_name is None and not (self.bucket_location is None and by_web):
            raise ValueError("service_account_name is missing; a bucket takes an identity, e.g. that of ModelBucketAccess")
        return self

    def found_vocabularies(self) -> list[dict[str, str]]:
        """Vocabularies, with where they come from."""
        place = self.vocabularies
        known = vocabularies_of(self.model_type)
        return [{**each, **({"url": f"{place}/{each['name']}"} if place else {})} for each in known]

    def repositories(self) -> list[dict[str, Any]]:
        """As the program reads them."""
        model = [_wish(self)]
        adapters = [
            _wish(adapter) | {"adapter": {"name": name, "rank": adapter.rank, "bases": [self.source, *adapter.bases]}}
            for name, adapter in sorted(self.adapters.items())
        ]
        return [*model, *adapters, *([_wish(self.draft)] if self.draft else [])]


class ModelDownload(PlatformComponent):
    """Fetches a model and its adapters once; a change runs it anew, next to what is there."""

    model_path: pulumi.Output[str]
    """Directory of the model as pods see it, or its place in the bucket; known once the model is there."""
    adapter_paths: pulumi.Output[dict[str, str]]
    """The same of each adapter, by name."""
    draft_path: pulumi.Output[str]
    """The same of the model that proposes tokens; empty without one."""

    def __init__(self, name: str, args: ModelDownloadArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"ModelDownload {name}")
        common = labels("model-download", name, "storage")
        target: pulumi.Input[str] = MODEL_ROOT if config.bucket_location is None else config.bucket_location
        self._seen_at: pulumi.Input[str] = target if config.seen_at is None else config.seen_at
        wanted = wishes(target, config.mirror, config.exclude, config.repositories(), config.found_vocabularies())
        data = program(wanted, config.authorities)
        # Autonamed and immutable: other wishes are another object, and so another Job.
        settings = kubernetes.core.v1.ConfigMap(
            self.child_name("program"),
            metadata={"namespace": config.namespace_name, "labels": common},
            data=data,
            immutable=True,
            opts=self.child(),
        )
        around = Around(
            image=config.image,
            config_map=settings.metadata["name"],
            service_account=config.service_account_name
            or service_account(self, config.namespace_name, common, pull_secrets=config.image_pull_secrets),
            claim_name=config.claim_name,
            token=config.token_secret,
            pool=config.pool,
            beside=config.beside,
            region=config.region,
            hub=config.hub,
            trusts=config.authorities is not None,
        )
        seconds = download_seconds(config.weights_gib)
        spec = redirected(download_job(around, seconds, common))
        job = kubernetes.batch.v1.Job(
            self.child_name("job"),
            metadata={"namespace": config.namespace_name, "name": job_name(name, spec, data), "labels": common},
            spec=spec,
            opts=self.child(timeout=seconds + 60),
        )
        self._there = job.id
        self._adapters = {key: self._path(adapter) for key, adapter in sorted(config.adapters.items())}
        self.model_path = self._path(config)
        self.adapter_paths = pulumi.Output.all(**self._adapters)
        self._draft = self._path(config.draft) if config.draft else None
        self.draft_path = pulumi.Output.from_input(self._draft or "")
        self.finish()

    @property
    def adapters(self) -> Mapping[str, pulumi.Output[str]]:
        """As `adapter_paths`, for programs."""
        return self._adapters

    @property
    def draft(self) -> pulumi.Output[str] | None:
        """As `draft_path`, for programs."""
        return self._draft

    def _path(self, repository: _Repository) -> pulumi.Output[str]:
        place = below(self._seen_at, repository_directory(repository.source, repository.revision))
        return pulumi.Output.all(place, self._there).apply(lambda found: str(found[0]))


def download_seconds(weights_gib: float) -> int:
    """Seconds a download may take: the image pull, and the weights at 20 MiB/s (a slow office line)."""
    return _IMAGE_PULL_SECONDS + round(weights_gib * 1024 / _DOWNLOAD_MIB_PER_SECOND)


def _wish(repository: _Repository) -> dict[str, Any]:
    checksum = {"checksum": repository.checksum} if repository.checksum else {}
    return {"source": repository.source, "revision": repository.revision, **checksum}
