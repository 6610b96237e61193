"""Inputs of `ModelServer`, and what follows from them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, NotRequired, TypedDict, cast

import pulumi
from pydantic import Field, field_validator, model_validator

from components.inputs import InputText, Matching, Model
from components.serving.lifecycle import check_stop
from components.serving.placement import check_one_replica, nodes_of_replica
from components.types import DnsLabel, NodePool, NodePoolArgs, SecretKey, SecretKeyArgs
from components.versions import VLLM
from planner.compatibility import check_lora
from planner.drain import Drain
from planner.host import cpus, host_memory_mib, shared_memory_mib
from planner.options import Options
from planner.timeouts import engine_ready_seconds, granted_seconds

NODE_AND_IMAGE_SECONDS = 1800
"""For a fresh node and an image of more than 10 GB on it, where nobody predicted how long they take."""

Parser = Annotated[str, Matching(pattern=r"[a-z0-9_]+", what="the name of a parser of vLLM", example="hermes")]
AdapterName = Annotated[
    str, Matching(pattern=r"[A-Za-z0-9][A-Za-z0-9._-]*", what="a name clients can ask for", example="support-german")
]


class Task(StrEnum):
    """What a model is for."""

    GENERATE = "generate"
    EMBED = "embed"


class MultiNode(StrEnum):
    """Who keeps the pods of one replica together that spans several nodes."""

    LEADER_WORKER_SET = "leaderWorkerSet"
    RAY_SERVICE = "rayService"


class ParallelismArgs(TypedDict):
    """How the accelerators of one replica share the work; their product is how many there are."""

    tensor: NotRequired[int]
    """Accelerators that share each layer, on one node; 1 by default."""
    pipeline: NotRequired[int]
    """Stages of layers, on one node or one to a node; 1 by default."""
    data: NotRequired[int]
    """Copies of the layers that share one queue; 1 by default."""
    expert: NotRequired[bool]
    """Divide experts as a whole among the accelerators, as some FP8 checkpoints need; false by default."""


class Parallelism(Model):
    """Validated `ParallelismArgs`."""

    tensor: int = Field(1, ge=1, examples=[1])
    pipeline: int = Field(1, ge=1, examples=[1])
    data: int = Field(1, ge=1, examples=[1])
    expert: bool = False

    @property
    def accelerators(self) -> int:
        """Accelerators of one replica."""
        return self.tensor * self.pipeline * self.data


class LoadArgs(TypedDict):
    """How the engine reads the weights, as suits the place they lie in."""

    format: NotRequired[str]
    """vLLM's `--load-format`: `safetensors` (the default), `runai_streamer` or `fastsafetensors`."""
    strategy: NotRequired[str | None]
    """vLLM's `--safetensors-load-strategy`: `lazy` (the engine's default), `eager` or `prefetch`."""
    concurrency: NotRequired[int | None]
    """Reads at once, for `runai_streamer`; its own default when left out."""
    distributed: NotRequired[bool | None]
    """Whether each rank reads a part for all, for `runai_streamer`."""


class Load(Model):
    """Validated `LoadArgs`. Formats that run code when loaded are not among them."""

    format: str = Field("safetensors", pattern="^(safetensors|runai_streamer|fastsafetensors)$", examples=["safetensors"])
    strategy: str | None = Field(None, pattern="^(lazy|eager|prefetch)$", examples=["eager"])
    concurrency: int | None = Field(None, ge=1, le=1024, examples=[16])
    distributed: bool | None = None

    @model_validator(mode="after")
    def _streamer_only(self) -> "Load":
        if self.format != "runai_streamer" and (self.concurrency is not None or self.distributed is not None):
            raise ValueError(f"concurrency and distributed are of runai_streamer; leave them out with format: {self.format}")
        return self

    def extra_config(self) -> dict[str, int | bool]:
        """vLLM's `--model-loader-extra-config`."""
        found = {"concurrency": self.concurrency, "distributed": self.distributed}
        return {name: value for name, value in found.items() if value is not None}


class SpeculativeArgs(TypedDict):
    """Speculative decoding: something cheap proposes tokens, the model checks them all at once."""

    method: str
    """`ngram`, `suffix`, `mtp`, `eagle`, `eagle3` or `draft_model`."""
    tokens: int
    """Tokens proposed at a time."""
    model_path: NotRequired[pulumi.Input[str] | None]
    """Directory of the draft model, for methods that have one."""


class Speculative(Model):
    """Validated `SpeculativeArgs`."""

    method: str = Field(pattern="^(ngram|suffix|mtp|eagle|eagle3|draft_model)$", examples=["ngram"])
    tokens: int = Field(ge=1, le=32, examples=[3])
    model_path: InputText | None = None

    @model_validator(mode="after")
    def _model_where_one_proposes(self) -> "Speculative":
        has_model = self.method in ("eagle", "eagle3", "draft_model")
        if has_model != (self.model_path is not None):
            need = "needs model_path, the directory of the model that proposes" if has_model else "has no model; leave it out"
            raise ValueError(f"method {self.method} {need}")
        return self


class AdapterArgs(TypedDict):
    """A LoRA adapter, asked for by its name as a model."""

    path: pulumi.Input[str]
    """Its directory as the pod sees it."""
    rank: int
    """Its rank (`r` of its adapter_config.json)."""


class Adapter(Model):
    """Validated `AdapterArgs`."""

    path: InputText
    rank: int = Field(ge=1, examples=[16])


class LoraArgs(TypedDict):
    """LoRA adapters, the same on every replica and after every restart."""

    adapters: dict[str, AdapterArgs]
    """By the name clients ask for."""
    max_rank: NotRequired[int]
    """The largest rank the engine has room for: 1, 8, 16, 32, 64, 128, 256, 320 or 512; 16 by default."""
    max_loras: NotRequired[int]
    """Adapters in one batch; all of them by default."""


class Lora(Model):
    """Validated `LoraArgs`."""

    adapters: Mapping[AdapterName, Adapter] = Field(min_length=1)
    max_rank: int = Field(16, ge=1, examples=[16])
    max_loras: int | None = Field(None, ge=1, examples=[3])

    @property
    def slots(self) -> int:
        """Adapters in one batch."""
        return self.max_loras or len(self.adapters)

    @model_validator(mode="after")
    def _fit(self) -> "Lora":
        check_adapters({name: adapter.rank for name, adapter in self.adapters.items()}, self.max_rank, self.slots)
        return self


class DrainArgs(TypedDict):
    """How a server stops, in seconds."""

    pre_stop: NotRequired[int]
    """Until endpoints and gateways have dropped the pod; 10 by default."""
    shutdown_timeout: NotRequired[int]
    """For requests in flight after that; 60 by default."""
    teardown: NotRequired[int]
    """For the engine to free the accelerators; 20 by default."""


class DrainConfig(Model):
    """Validated `DrainArgs`."""

    pre_stop: int = Field(Drain().pre_stop, ge=5, le=600, examples=[10])
    shutdown_timeout: int = Field(Drain().shutdown_timeout, ge=1, le=3600, examples=[60])
    teardown: int = Field(Drain().teardown, ge=5, le=600, examples=[20])

    def args(self) -> DrainArgs:
        """The same as a component takes it."""
        return cast(DrainArgs, self.model_dump())

    def drain(self) -> Drain:
        """The same as the planner has it."""
        return Drain(pre_stop=self.pre_stop, shutdown_timeout=self.shutdown_timeout, teardown=self.teardown)


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
    load: NotRequired[LoadArgs]
    """How the weights are read."""
    service_account_name: NotRequired[pulumi.Input[str] | None]
    """Service account with the identity that reads the bucket; one without any identity is made when left out."""
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
    replicas: NotRequired[int]
    """Replicas; one by default."""
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
    api_key_secret: NotRequired[SecretKeyArgs | None]
    """The key clients must send; without one anybody who reaches the port is answered."""
    drain: NotRequired[DrainArgs]
    """How the server stops."""
    priority_class_name: NotRequired[str | None]
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
    load: Load = Field(default_factory=Load)
    service_account_name: InputText | None = None
    image: str | None = Field(None, min_length=1)
    engine_version: str = Field(VLLM, pattern=r"^\d+\.\d+\.\d+$", examples=[VLLM])
    accepted_advisories: tuple[str, ...] = ()
    predicted_start_seconds: float | None = Field(None, ge=0, examples=[118])
    startup_seconds: int | None = Field(None, ge=1, examples=[360])
    deadline_seconds: int | None = Field(None, ge=1, examples=[2160])
    parallelism: Parallelism = Field(default_factory=Parallelism)
    multi_node: MultiNode = MultiNode.LEADER_WORKER_SET
    replicas: int = Field(1, ge=1, examples=[1])
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
    api_key_secret: SecretKey | None = None
    drain: DrainConfig = Field(default_factory=DrainConfig)
    priority_class_name: str | None = Field(None, min_length=1)
    host_users: bool | None = None
    extra_arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = Field(default_factory=dict)

    @field_validator("model_name")
    @classmethod
    def _no_service_environment_clash(cls, name: str) -> str:
        check_model_name(name)
        return name

    @model_validator(mode="after")
    def _can_run(self) -> "ServerConfig":
        check_one_replica(self.parallelism.tensor, self.parallelism.accelerators, self.pool)
        check_stop(self.drain.drain(), self.pool)
        if taken := sorted(set(self.adapters()) & set(self.served_names())):
            raise ValueError(f"lora.adapters.{taken[0]}: the model itself answers to that name; name the adapter otherwise")
        if self.claim_name is None and self.load.format != "runai_streamer":
            raise ValueError("claim_name is missing; without a cache only load.format: runai_streamer reads a model")
        if self.task is Task.EMBED:
            for name in ("speculative", "lora", "tool_call_parser", "reasoning_parser"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: an embedding model generates nothing; leave it out, or use task: generate")
        return self

    @property
    def nodes(self) -> int:
        """Nodes of one replica."""
        return nodes_of_replica(self.parallelism.accelerators, self.pool)

    @property
    def accelerators_per_node(self) -> int:
        """Accelerators of one pod."""
        return self.parallelism.accelerators // self.nodes

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


def check_adapters(ranks: Mapping[str, int], max_rank: int, slots: int) -> None:
    """Raise ValueError for an adapter, by its name, that the engine would have no room for."""
    for name, rank in ranks.items():
        if problem := check_lora(rank, min(len(ranks), slots), Options(max_loras=slots, max_lora_rank=max_rank)):
            raise ValueError(f"adapters.{name}.rank: {problem}")


def check_model_name(name: str) -> None:
    """Raise ValueError for a name whose Service would set VLLM_* variables in other pods and stop their engines."""
    if name == "vllm":
        raise ValueError("a Service named 'vllm' sets VLLM_PORT in other pods and stops their engines; use e.g. qwen2-5-7b")
