"""Inputs of `TgiServer`, and what follows from them."""

from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict

import pulumi
from pydantic import Field, ValidationInfo, field_validator, model_validator

from planner.host import cpus, host_memory_mib, shared_memory_mib
from planner.tgi.launcher import flags, lacking
from planner.timeouts import granted_seconds

from ...inputs import InputText, Model
from ...types import DnsLabel, NodePool, NodePoolArgs, SecretKey, SecretKeyArgs
from ..config import NODE_AND_IMAGE_SECONDS, check_model_name, check_priority_class
from ..groups import DrainArgs, DrainConfig, VariableName
from ..lifecycle import check_stop
from ..placement import check_one_replica, nodes_of_replica
from .arguments import check_environment, check_extra
from .image import TGI, engine_image

CacheNumber = Literal["fp8_e4m3fn", "fp8_e5m2"]
"""What keys and values are kept as, where it is not what TGI computes with (launcher/src/main.rs, KVCacheDtype)."""
STOP_FLAG = "--graceful-termination-timeout"
FIXED_STOP_SECONDS = 90
"""For requests in flight, in releases that cannot be told (launcher/src/main.rs, terminate)."""


class TgiServerArgs(TypedDict):
    """Inputs of `TgiServer`."""

    model_name: str
    """Name of the Service. TGI answers whatever model a request names."""
    model_path: pulumi.Input[str]
    """Directory of the model as the pod sees it."""
    weights_gib: float
    """Size of the weights in GiB; decides memory and how long a start may take."""
    namespace_name: pulumi.Input[str]
    """Namespace of the server; *restricted* suffices."""
    pool: NodePoolArgs
    """The pool the server runs on."""
    claim_name: pulumi.Input[str]
    """Claim of the model cache; mounted read-only."""
    max_total_tokens: int
    """Longest prompt and answer together, in tokens."""
    max_input_tokens: NotRequired[int | None]
    """Longest prompt; one token less than `max_total_tokens` when left out."""
    max_batch_prefill_tokens: NotRequired[int | None]
    """Tokens of prompts computed at once; TGI's choice when left out."""
    max_batch_total_tokens: NotRequired[int | None]
    """Tokens of all running requests together; what fits when left out."""
    max_batch_size: NotRequired[int | None]
    """Requests in one batch; as many as fit when left out."""
    max_concurrent_requests: NotRequired[int | None]
    """Requests that run or wait before others are refused; 128 when left out."""
    shards: NotRequired[int]
    """Accelerators that share each layer, on one node; 1 by default."""
    quantize: NotRequired[str | None]
    """How TGI quantizes a checkpoint, or what it is quantized with; the checkpoint's own method when left out."""
    dtype: NotRequired[str | None]
    """Number format of computation, `float16` or `bfloat16`; TGI's choice when left out."""
    kv_cache_dtype: NotRequired[str | None]
    """Number format of the KV cache, `fp8_e4m3fn` or `fp8_e5m2`; that of computation when left out."""
    speculate: NotRequired[int | None]
    """Tokens that are proposed at a time; none by default."""
    cuda_memory_fraction: NotRequired[float]
    """Share of an accelerator's memory TGI may use; all of it by default."""
    service_account_name: NotRequired[pulumi.Input[str] | None]
    """Service account with the identity that reads the bucket; one without any identity is made when left out."""
    cache_directories: NotRequired[list[pulumi.Input[str]]]
    """Directories of the cache, as the pod sees them, whose downloads must be complete before the engine starts."""
    image: NotRequired[str | None]
    """Image with its tag or digest; TGI's own by default."""
    engine_version: NotRequired[str]
    """Release of TGI in the image; decides which arguments there are."""
    image_pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets of the namespace that its pods pull images with; none by default."""
    predicted_start_seconds: NotRequired[float | None]
    """How long the container is predicted to take to its first answer, noted on the server."""
    startup_seconds: NotRequired[int | None]
    """From the container's start until the engine must answer; by the size of the weights when left out."""
    deadline_seconds: NotRequired[int | None]
    """Until a rollout counts as failed; when left out, half an hour for node and image, then the start."""
    replicas: NotRequired[int]
    """Replicas; one by default. Left out where an autoscaler says how many there are."""
    max_replicas: NotRequired[int | None]
    """The most replicas an autoscaler may ask for: then it alone says how many there are."""
    spare_accelerators: NotRequired[int]
    """Accelerators of the pool that nothing else uses: with enough of them a rollout starts the new replica first."""
    api_key_secret: NotRequired[SecretKeyArgs | None]
    """The key clients must send; without one anybody who reaches the port is answered."""
    drain: NotRequired[DrainArgs]
    """How the server stops; before TGI 3.2.2 `shutdown_timeout` is 90 s."""
    json_logs: NotRequired[bool]
    """Whether TGI writes its log as JSON, for those who collect it; text by default."""
    priority_class_name: NotRequired[pulumi.Input[str] | None]
    """Priority class of its pods; the cluster's default when left out."""
    host_users: NotRequired[bool | None]
    """False gives the pod a user namespace of its own; as the cluster does it when left out."""
    extra_arguments: NotRequired[list[str]]
    """Further arguments of TGI's launcher; what has an argument above, or opens a door, is refused here."""
    environment: NotRequired[dict[str, str]]
    """Further environment, screened; nothing secret."""


class ServerConfig(Model):
    """Validated `TgiServerArgs`."""

    model_name: DnsLabel = Field(examples=["llama3-8b"])
    model_path: InputText
    weights_gib: float = Field(gt=0, examples=[15.0])
    namespace_name: InputText
    pool: NodePool
    claim_name: InputText
    max_total_tokens: int = Field(ge=2, examples=[8192])
    max_input_tokens: int | None = Field(None, ge=1, examples=[4096])
    max_batch_prefill_tokens: int | None = Field(None, ge=1, examples=[16384])
    max_batch_total_tokens: int | None = Field(None, ge=1, examples=[60000])
    max_batch_size: int | None = Field(None, ge=1, examples=[64])
    max_concurrent_requests: int | None = Field(None, ge=1, examples=[128])
    shards: int = Field(1, ge=1, examples=[1])
    quantize: str | None = Field(None, min_length=1, examples=["awq"])
    dtype: Literal["float16", "bfloat16"] | None = None
    kv_cache_dtype: CacheNumber | None = None
    speculate: int | None = Field(None, ge=1, le=32, examples=[3])
    cuda_memory_fraction: float = Field(1.0, gt=0, le=1, examples=[0.9])
    service_account_name: InputText | None = None
    cache_directories: tuple[InputText, ...] = ()
    engine_version: str = Field(TGI, pattern=r"^\d+\.\d+\.\d+$", examples=[TGI])
    image: str | None = Field(None, min_length=1)
    image_pull_secrets: tuple[InputText, ...] = ()
    predicted_start_seconds: float | None = Field(None, ge=0, examples=[118])
    startup_seconds: int | None = Field(None, ge=1, examples=[360])
    deadline_seconds: int | None = Field(None, ge=1, examples=[2160])
    replicas: int = Field(1, ge=1, examples=[1])
    max_replicas: int | None = Field(None, ge=1, examples=[4])
    spare_accelerators: int = Field(0, ge=0)
    api_key_secret: SecretKey | None = None
    drain: DrainConfig = Field(default_factory=DrainConfig, validate_default=True)
    json_logs: bool = False
    priority_class_name: InputText | None = None
    host_users: bool | None = None
    extra_arguments: tuple[str, ...] = ()
    environment: Mapping[VariableName, str] = Field(default_factory=dict)

    @field_validator("model_name")
    @classmethod
    def _can_be_a_service(cls, name: str) -> str:
        check_model_name(name)
        return name

    @field_validator("priority_class_name")
    @classmethod
    def _gives_way_to_the_nodes(cls, name: object) -> object:
        if isinstance(name, str):
            check_priority_class(name)
        return name

    @field_validator("drain")
    @classmethod
    def _as_long_as_tgi_waits(cls, drain: DrainConfig, info: ValidationInfo) -> DrainConfig:
        version = info.data.get("engine_version")
        if version is None or not lacking([STOP_FLAG], version):
            return drain
        if "shutdown_timeout" in drain.model_fields_set and drain.shutdown_timeout != FIXED_STOP_SECONDS:
            raise ValueError(
                f"shutdown_timeout: TGI {version} always gives requests in flight {FIXED_STOP_SECONDS} s, "
                "only 3.2.2 and later can be told otherwise; leave it out"
            )
        return drain.model_copy(update={"shutdown_timeout": FIXED_STOP_SECONDS})

    @model_validator(mode="after")
    def _can_run(self) -> "ServerConfig":
        check_one_replica(self.shards, 1, 1, self.pool)
        if nodes_of_replica(self.shards, self.pool) > 1:
            raise ValueError(
                f"shards: TGI runs on one node, and those of pool {self.pool.name} have fewer accelerators; use vLLM"
            )
        check_stop(self.drain.drain(), self.pool)
        self.engine_image()
        check_extra(self.extra_arguments, self.engine_version)
        check_environment(self.environment)
        if self.max_input_tokens is not None and self.max_input_tokens >= self.max_total_tokens:
            raise ValueError(
                f"max_input_tokens: {self.max_input_tokens} of the {self.max_total_tokens} tokens of max_total_tokens leave none "
                f"for an answer; use {self.max_total_tokens // 2}"
            )
        if self.max_batch_total_tokens is not None and self.max_batch_total_tokens < self.max_total_tokens:
            raise ValueError(
                f"max_batch_total_tokens: {self.max_batch_total_tokens} holds no request of {self.max_total_tokens} tokens; use "
                f"{self.max_total_tokens} or more"
            )
        if self.quantize is not None:
            flags()["--quantize"].check(self.quantize, "quantize")
        if self.dtype is not None and self.quantize is not None:
            raise ValueError("dtype: TGI takes either dtype or quantize; remove one of the two")
        if self.quantize == "exl2" and self.shards > 1:
            raise ValueError("shards: TGI does not divide exl2 checkpoints; use shards: 1")
        if self.max_replicas is not None and "replicas" in self.model_fields_set:
            raise ValueError("replicas: max_replicas leaves their number to an autoscaler; remove one of the two")
        return self

    @property
    def scaled(self) -> bool:
        """Whether an autoscaler says how many replicas there are."""
        return self.max_replicas is not None

    @property
    def most_replicas(self) -> int:
        """Replicas there may be."""
        return self.max_replicas or self.replicas

    @property
    def accelerators(self) -> int:
        """Accelerators of one replica."""
        return self.shards

    def engine_image(self) -> str:
        """The engine's image for the pool's accelerators."""
        return engine_image(self.image, self.engine_version, self.pool)

    def startup(self) -> int:
        """Seconds from the container's start until the engine must answer."""
        return self.startup_seconds or granted_seconds(self.weights_gib)

    def deadline(self) -> int:
        """Seconds until a rollout counts as failed."""
        return self.deadline_seconds or NODE_AND_IMAGE_SECONDS + self.startup()

    def shared_memory_mib(self) -> int:
        """MiB of /dev/shm of one pod."""
        return shared_memory_mib(self.shards)

    def memory_mib(self) -> int:
        """MiB of host memory of one pod, shared memory included."""
        return host_memory_mib(self.weights_gib, self.shards, self.shared_memory_mib())

    def cpus(self) -> int:
        """CPUs of one pod: the launcher with its router, the router's tokenizers, and a process for each accelerator."""
        return cpus(self.shards)
