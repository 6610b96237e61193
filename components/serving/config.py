"""Inputs of `ModelServer`, and what follows from them."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field, field_validator, model_validator

from planner.host import cpus, host_memory_mib, shared_memory_mib
from planner.timeouts import engine_ready_seconds, granted_seconds

from ..inputs import InputText, Model
from ..storage.compile_cache import CompileCache, compile_cache
from ..types import DnsLabel, NodePool, NodePoolArgs, SecretKey, SecretKeyArgs
from ..versions import VLLM
from .engine_images import EngineImage, engine_on
from .extras import check_arguments, check_environment, check_parsers, check_version
from .groups import (
    GENERATING,
    AdapterName,
    DrainArgs,
    DrainConfig,
    Load,
    LoadArgs,
    Lora,
    LoraArgs,
    MultiNode,
    Parallelism,
    ParallelismArgs,
    Parser,
    Speculative,
    SpeculativeArgs,
    StructuredOutputs,
    Task,
    VariableName,
    check_limits,
    check_names,
    check_task,
)
from .lifecycle import check_stop
from .limits import Limits, LimitsArgs
from .media import Media, MediaArgs
from .observed import Traces, TracesArgs, check_logged
from .placement import check_one_replica, nodes_of_replica

NODE_AND_IMAGE_SECONDS = 1800
"""For a fresh node and an image of more than 10 GB on it, where nobody predicted how long they take."""


class ModelServerArgs(TypedDict):
    """Inputs of `ModelServer`."""

    model_name: str
    """Name clients ask for, and of the Service."""
    aliases: NotRequired[list[str]]
    """Further names clients may ask for."""
    model_path: pulumi.Input[str]
    """Directory of the model as the pod sees it, or its address in a bucket (`s3://…`)."""
    weights_gib: float
    """Size of the weights in GiB; decides memory and how long a start may take."""
    namespace_name: pulumi.Input[str]
    """Namespace of the server; *restricted* suffices."""
    pool: NodePoolArgs
    """The pool the server runs on."""
    max_model_len: int
    """Longest context in tokens, prompt and answer together."""
    task: NotRequired[Task]
    """What the model is for; `generate` by default."""
    claim_name: NotRequired[pulumi.Input[str] | None]
    """Claim of the model cache; mounted read-only. None for a model that is streamed from a bucket."""
    cache_directories: NotRequired[list[pulumi.Input[str]]]
    """Directories of the cache, as the pod sees them, whose downloads must be complete before the engine starts."""
    vocabulary_directory: NotRequired[str | None]
    """Where vocabularies lie that the engine would else fetch from the internet."""
    compile_claim_name: NotRequired[pulumi.Input[str] | None]
    """Claim of this model alone where what the engine compiles outlives its pods; it goes with them when left out."""
    load: NotRequired[LoadArgs]
    """How the weights are read."""
    region: NotRequired[str | None]
    """AWS region of the bucket it streams from; pods do not reach the instance's metadata."""
    service_account_name: NotRequired[pulumi.Input[str] | None]
    """Service account with the identity that reads the bucket; one without any identity is made when left out."""
    image_pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets of the namespace that the pods of its own service account pull images with; none by default."""
    image: NotRequired[str | None]
    """Image of the engine; the official one for the pool's accelerators by default."""
    engine_version: NotRequired[str]
    """Version of vLLM in the image; decides which flags there are."""
    accepted_advisories: NotRequired[list[str]]
    """Security advisories of an older engine that somebody decided to live with, by id."""
    predicted_start_seconds: NotRequired[float | None]
    """How long the container is predicted to take to its first answer, noted on the server."""
    startup_seconds: NotRequired[int | None]
    """From the container's start until the engine must answer; by the size of the weights when left out."""
    deadline_seconds: NotRequired[int | None]
    """Until a rollout counts as failed; when left out, half an hour for node and image, then the start."""
    parallelism: NotRequired[ParallelismArgs]
    """How the accelerators of a replica share the work; one accelerator by default."""
    multi_node: NotRequired[MultiNode]
    """Who keeps a replica of several nodes together; `leaderWorkerSet` by default."""
    ray_version: NotRequired[str | None]
    """Version of Ray in the image, for `rayService`."""
    network_policy_name: NotRequired[pulumi.Input[str] | None]
    """Name of the policy that keeps all but the operator from Ray's own ports, where whoever comes runs code; for `rayService`.
    `NetworkPolicySet` has it under the key that `components.security.network.flows.server_key` tells."""
    replicas: NotRequired[int]
    """Replicas; one by default. Left out where an autoscaler says how many there are."""
    max_replicas: NotRequired[int | None]
    """The most replicas an autoscaler may ask for: then it alone says how many there are."""
    spare_accelerators: NotRequired[int]
    """Accelerators of the pool that nothing else uses: with enough of them a rollout starts the new replica first."""
    dtype: NotRequired[str]
    """Number format of computation; `auto` follows the checkpoint."""
    quantization: NotRequired[str | None]
    """How the engine quantizes a checkpoint that is not quantized, e.g. `fp8`; the checkpoint's own method when left out."""
    kv_cache_dtype: NotRequired[str]
    """Number format of the KV cache; `auto` follows the checkpoint."""
    max_num_seqs: NotRequired[int | None]
    """Requests in one batch; the engine's default for the accelerator when left out."""
    max_num_batched_tokens: NotRequired[int | None]
    """Tokens of one batch; the engine's default for the accelerator when left out."""
    gpu_memory_utilization: NotRequired[float]
    """Share of an accelerator's memory the engine may use; 0.92 by default, as in vLLM 0.33."""
    enable_prefix_caching: NotRequired[bool | None]
    """Whether prompts that begin alike share their cache; the engine's choice for the model when left out."""
    enable_chunked_prefill: NotRequired[bool | None]
    """Whether long prompts are computed in parts between other requests; the engine's choice when left out."""
    enforce_eager: NotRequired[bool]
    """Neither compile nor capture graphs: starts sooner, answers slower; false by default."""
    kv_offloading_gib: NotRequired[float]
    """Host memory in GiB of one replica that keeps KV cache which the accelerators have no room for; 0 by default."""
    speculative: NotRequired[SpeculativeArgs | None]
    """Speculative decoding; none by default."""
    lora: NotRequired[LoraArgs | None]
    """LoRA adapters; none by default."""
    tool_call_parser: NotRequired[str | None]
    """Parser of the model's tool calls, e.g. `hermes`; without one the server offers no tools."""
    reasoning_parser: NotRequired[str | None]
    """Parser of the model's reasoning, e.g. `qwen3`."""
    limits: NotRequired[LimitsArgs]
    """What one request, and all waiting requests together, may ask for."""
    media: NotRequired[MediaArgs | None]
    """Images, videos and sounds that clients may send; text alone when left out, with no code for media loaded."""
    structured_outputs: NotRequired[StructuredOutputs]
    """What keeps answers to a grammar or schema; `xgrammar` by default."""
    api_key_secret: NotRequired[SecretKeyArgs | None]
    """The key clients must send; without one anybody who reaches the port is answered."""
    drain: NotRequired[DrainArgs]
    """How the server stops."""
    json_logs: NotRequired[bool]
    """Whether the engine writes its log as JSON, for those who collect it; text by default."""
    log_prompts: NotRequired[bool]
    """Whether it writes what people ask into its log: then its pods are labelled, and a preview warns; false by default."""
    log_answers: NotRequired[bool]
    """Whether it writes its answers too; false by default."""
    traces: NotRequired[TracesArgs | None]
    """Where spans of requests go; nowhere by default."""
    priority_class_name: NotRequired[pulumi.Input[str] | None]
    """Priority class of its pods; the cluster's default when left out."""
    host_users: NotRequired[bool | None]
    """False gives the pod a user namespace of its own; as the cluster does it when left out."""
    extra_arguments: NotRequired[list[str]]
    """Further arguments of the engine, screened; what has a setting above is refused here."""
    environment: NotRequired[dict[str, str]]
    """Further environment of the engine, screened; nothing secret."""


class ServerConfig(Model):
    """Validated `ModelServerArgs`."""

    model_name: DnsLabel = Field(examples=["qwen2-5-7b"])
    aliases: tuple[AdapterName, ...] = ()
    model_path: InputText
    weights_gib: float = Field(gt=0, examples=[5.2])
    namespace_name: InputText
    pool: NodePool
    max_model_len: int = Field(ge=1, examples=[8192])
    task: Task = Task.GENERATE
    claim_name: InputText | None = None
    cache_directories: tuple[InputText, ...] = ()
    vocabulary_directory: str | None = Field(None, min_length=1)
    compile_claim_name: InputText | None = None
    load: Load = Field(default_factory=Load)
    region: str | None = Field(None, min_length=1, examples=["us-east-1"])
    service_account_name: InputText | None = None
    image_pull_secrets: tuple[InputText, ...] = ()
    image: str | None = Field(None, min_length=1)
    engine_version: str = Field(VLLM, pattern=r"^\d+\.\d+\.\d+$", examples=[VLLM])
    accepted_advisories: tuple[str, ...] = ()
    predicted_start_seconds: float | None = Field(None, ge=0, examples=[118])
    startup_seconds: int | None = Field(None, ge=1, examples=[360])
    deadline_seconds: int | None = Field(None, ge=1, examples=[2160])
    parallelism: Parallelism = Field(default_factory=Parallelism)
    multi_node: MultiNode = MultiNode.LEADER_WORKER_SET
    ray_version: str | None = Field(None, min_length=1, examples=["2.52.1"])
    network_policy_name: InputText | None = None
    replicas: int = Field(1, ge=1, examples=[1])
    max_replicas: int | None = Field(None, ge=1, examples=[4])
    spare_accelerators: int = Field(0, ge=0)
    dtype: str = Field("auto", pattern="^(auto|bfloat16|float16|float32)$", examples=["auto"])
    quantization: str | None = Field(None, min_length=1, examples=["fp8"])
    kv_cache_dtype: str = Field("auto", min_length=1, examples=["auto"])
    max_num_seqs: int | None = Field(None, ge=1, examples=[256])
    max_num_batched_tokens: int | None = Field(None, ge=1, examples=[8192])
    gpu_memory_utilization: float = Field(0.92, gt=0, lt=1, examples=[0.92])
    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None
    enforce_eager: bool = False
    kv_offloading_gib: float = Field(0, ge=0, examples=[32])
    speculative: Speculative | None = None
    lora: Lora | None = None
    tool_call_parser: Parser | None = None
    reasoning_parser: Parser | None = None
    structured_outputs: StructuredOutputs = StructuredOutputs.XGRAMMAR
    limits: Limits = Field(default_factory=Limits)
    media: Media | None = None
    api_key_secret: SecretKey | None = None
    drain: DrainConfig = Field(default_factory=DrainConfig)
    json_logs: bool = False
    log_prompts: bool = False
    log_answers: bool = False
    traces: Traces | None = None
    priority_class_name: InputText | None = None
    host_users: bool | None = None
    extra_arguments: tuple[str, ...] = ()
    environment: Mapping[VariableName, str] = Field(default_factory=dict)

    @field_validator("model_name")
    @classmethod
    def _no_service_environment_clash(cls, name: str) -> str:
        check_model_name(name)
        return name

    @field_validator("priority_class_name")
    @classmethod
    def _gives_way_to_the_nodes(cls, name: object) -> object:
        if isinstance(name, str):
            check_priority_class(name)
        return name

    @model_validator(mode="after")
    def _can_run(self) -> "ServerConfig":
        check_one_replica(self.parallelism.tensor, self.parallelism.pipeline, self.parallelism.data, self.pool)
        check_stop(self.drain.drain(), self.pool)
        check_arguments(self.extra_arguments, self.engine_version)
        check_environment(self.environment, self.engine_version)
        check_version(self.engine_version, self.accepted_advisories)
        check_parsers(self.tool_call_parser, self.reasoning_parser, self.engine_version)
        check_logged(self.log_prompts, self.log_answers)
        self.engine()
        check_names(self.served_names(), self.adapters())
        if self.claim_name is None and self.load.format != "runai_streamer":
            raise ValueError("claim_name is missing; without a cache only load.format: runai_streamer reads a model")
        if self.claim_name is None and (self.cache_directories or self.lora):
            raise ValueError("claim_name is missing; adapters and what is checked before a start lie in a cache")
        if self.by_ray and (self.ray_version is None or self.network_policy_name is None):
            raise ValueError("multi_node: rayService needs ray_version and network_policy_name; give both")
        if self.max_replicas is not None and "replicas" in self.model_fields_set:
            raise ValueError("replicas: max_replicas leaves their number to an autoscaler; remove one of the two")
        if self.max_replicas is not None and self.by_ray:
            raise ValueError("max_replicas: a RayService has no number that an autoscaler could set; use replicas")
        check_task(self.task, [name for name in GENERATING if getattr(self, name) is not None])
        check_limits(self.task, self.limits, self.max_model_len)
        return self

    @property
    def nodes(self) -> int:
        """Nodes of one replica."""
        return nodes_of_replica(self.parallelism.accelerators, self.pool)

    @property
    def by_ray(self) -> bool:
        """Whether Ray keeps a replica together."""
        return self.nodes > 1 and self.multi_node is MultiNode.RAY_SERVICE

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
        return self.parallelism.accelerators

    @property
    def accelerators_per_node(self) -> int:
        """Accelerators of one pod."""
        return self.parallelism.accelerators // self.nodes

    def engine(self) -> EngineImage:
        """The engine's image for the pool's accelerators."""
        return engine_on(self.pool, self.image, self.engine_version, self.nodes)

    def compiled(self) -> CompileCache | None:
        """Where what the engine compiles outlives its pods."""
        if self.compile_claim_name is None:
            return None
        card = self.pool.accelerator
        return compile_cache(self.compile_claim_name, self.engine().image, (card and card.product) or self.pool.name)

    def startup(self) -> int:
        """Seconds from the container's start until the engine must answer."""
        return self.startup_seconds or granted_seconds(self.weights_gib)

    def engine_ready(self) -> int:
        """Seconds after which the engine gives itself up, never before the probe does."""
        return engine_ready_seconds(self.startup())

    def deadline(self) -> int:
        """Seconds until a rollout counts as failed."""
        return self.deadline_seconds or NODE_AND_IMAGE_SECONDS + self.startup()

    def shared_memory_mib(self) -> int:
        """MiB of /dev/shm of one pod."""
        return shared_memory_mib(self.accelerators_per_node)

    def memory_mib(self) -> int:
        """MiB of host memory of one pod, shared memory included."""
        return host_memory_mib(
            self.weights_gib / self.nodes,
            self.accelerators_per_node,
            self.shared_memory_mib(),
            self.load.strategy or "lazy",
            self.kv_offloading_gib / self.nodes,
        )

    def cpus(self) -> int:
        """CPUs of one pod."""
        return cpus(self.accelerators_per_node)

    def served_names(self) -> tuple[str, ...]:
        """Every name clients may ask for, adapters apart."""
        return (self.model_name, *self.aliases)

    def adapters(self) -> Mapping[str, Any]:
        """Adapters by name."""
        return self.lora.adapters if self.lora else {}


def check_priority_class(name: str) -> None:
    """Raise ValueError for a class of Kubernetes' own, whose names nobody else's may begin with (its "PriorityClass")."""
    if name.startswith("system-"):
        raise ValueError(
            f"{name} is for what nodes and clusters cannot be without, and a model would drive that away; leave it out for the "
            "class of this platform, or name one of your own, e.g. serving"
        )


def check_model_name(name: str) -> None:
    """Raise ValueError for a name no Service can have, or whose Service would stop the engines of other pods."""
    if not name[0].isalpha():
        raise ValueError(f"a Service's name begins with a letter, and {name!r} does not; use e.g. m-{name}")
    if name == "vllm":
        raise ValueError("a Service named 'vllm' sets VLLM_PORT in other pods and stops their engines; use e.g. qwen2-5-7b")
