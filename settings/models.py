"""The models of a stack and what they may cost."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.inputs import Model
from components.monitoring.signals import Engine
from components.serving.groups import (
    AdapterName,
    DrainConfig,
    MultiNode,
    Parser,
    StructuredOutputs,
    Task,
    VariableName,
    check_adapters,
    check_limits,
)
from components.serving.limits import Limits
from components.serving.media import Media
from components.serving.observed import check_logged
from components.serving.tgi.image import TGI
from components.types import Checksum, DnsLabel, Repository, Revision, SecretKeyName
from components.versions import VLLM, VLLM_IMAGE
from settings.cache import CacheSettings
from settings.network_policies import PeerSettings
from settings.scaling import ScalingSettings
from settings.slo import SloSettings
from settings.tgi import TgiSettings


class ParallelismSettings(Model):
    """How the accelerators of one replica share the work; their product is how many there are."""

    tensor: int | None = Field(
        None, ge=1, description="Accelerators that share each layer, on one node; the fewest that fit.", examples=[2]
    )
    pipeline: int = Field(1, ge=1, description="Stages of layers, on one node or one to a node.", examples=[2])
    data: int = Field(1, ge=1, description="Copies of the layers that share one queue.", examples=[2])
    expert: bool = Field(False, description="Divide experts as a whole among the accelerators.")


class CheckpointSettings(Model):
    """A further repository that is downloaded beside the model."""

    source: Repository = Field(description="Repository on Hugging Face.")
    revision: Revision = Field(description="Commit of that repository, 40 hexadecimal digits.")
    checksum: Checksum | None = Field(
        None,
        description="SHA-256 of the list of its files, which the download's log tells: nothing else is served then, whatever "
        "the hub or a mirror says.",
    )


class DraftSettings(CheckpointSettings):
    """The model that proposes tokens."""

    config_file: str | None = Field(
        None, min_length=1, description="Its config.json, from the root of the project, where the catalogue does not have it."
    )


class SpeculativeSettings(Model):
    """Speculative decoding: something cheap proposes tokens, the model checks them all at once."""

    method: Literal["ngram", "suffix", "mtp", "eagle", "eagle3", "draft_model"] = Field(
        description="What proposes tokens.", examples=["ngram"]
    )
    tokens: int = Field(3, ge=1, le=32, description="Tokens proposed at a time.", examples=[3])
    draft: DraftSettings | None = Field(None, description="The model that proposes, for eagle, eagle3 and draft_model.")

    @model_validator(mode="after")
    def _draft_where_one_proposes(self) -> "SpeculativeSettings":
        if self.method in ("eagle", "eagle3", "draft_model") and self.draft is None:
            raise ValueError(f"draft is missing; method {self.method} needs the model that proposes, or use method: ngram")
        if self.method in ("ngram", "suffix", "mtp") and self.draft is not None:
            raise ValueError(f"draft: method {self.method} has no model of its own; remove it, or use method: draft_model")
        return self


class AdapterSettings(CheckpointSettings):
    """A LoRA adapter."""

    rank: int = Field(ge=1, description="Its rank (r of its adapter_config.json).", examples=[16])


class LoraSettings(Model):
    """LoRA adapters, the same on every replica and after every restart."""

    adapters: Mapping[AdapterName, AdapterSettings] = Field(min_length=1, description="By the name clients ask for.")
    max_rank: int = Field(
        16, description="Largest rank the engine has room for: 1, 8, 16, 32, 64, 128, 256, 320 or 512.", examples=[16]
    )
    max_loras: int | None = Field(None, ge=1, description="Adapters in one batch; all when left out.", examples=[3])

    @property
    def slots(self) -> int:
        """Adapters in one batch."""
        return self.max_loras or len(self.adapters)

    @model_validator(mode="after")
    def _fit(self) -> "LoraSettings":
        check_adapters({name: adapter.rank for name, adapter in self.adapters.items()}, self.max_rank, self.slots)
        return self


class SecretKeySettings(Model):
    """One value of a Secret that is there already."""

    name: DnsLabel = Field(description="Name of the Secret, in the namespace of the models.", examples=["hugging-face"])
    key: SecretKeyName = Field("token", description="Key of the value in it.", examples=["token"])


class EngineSettings(Model):
    """The engine, its image and version."""

    kind: Engine = Field(
        Engine.VLLM, description="vllm, or tgi for a model that has not moved from Text Generation Inference yet."
    )
    version: str = Field(
        VLLM,
        pattern=r"^\d+\.\d+\.\d+$",
        description=f"Version of the engine in the image; of tgi {TGI} when left out.",
        examples=[VLLM],
    )
    tgi: TgiSettings | None = Field(None, description="What only kind tgi can be told.", examples=["{maxInputTokens: 4096}"])
    image: str | None = Field(
        None,
        min_length=1,
        description="Image with a tag or digest, where the official one is not wanted.",
        examples=[VLLM_IMAGE],
    )
    ray_version: str | None = Field(
        None, min_length=1, description="Version of Ray in the image, for multiNode: rayService.", examples=["2.52.1"]
    )
    accepted_advisories: tuple[str, ...] = Field(
        (), description="Advisories of an older engine that somebody decided to live with.", examples=["[CVE-2026-48746]"]
    )

    @model_validator(mode="before")
    @classmethod
    def _version_of_its_kind(cls, given: object) -> object:
        if isinstance(given, dict) and given.get("kind") == Engine.TGI:
            return {"version": TGI, **given}
        return given

    @model_validator(mode="after")
    def _one_kind(self) -> "EngineSettings":
        if self.tgi is not None and not self.by_tgi:
            raise ValueError("tgi: the engine is vLLM; remove it, or use kind: tgi")
        if self.by_tgi and (self.ray_version or self.accepted_advisories):
            raise ValueError("kind: tgi has neither rayVersion nor acceptedAdvisories; remove them")
        return self

    @property
    def by_tgi(self) -> bool:
        """Whether Text Generation Inference serves the model."""
        return self.kind is Engine.TGI


class ModelSettings(Model):
    """One model and its server."""

    source: Repository = Field(description="Repository on Hugging Face.")
    revision: Revision = Field(description="Commit of that repository, 40 hexadecimal digits.")
    checksum: Checksum | None = Field(
        None,
        description="SHA-256 of the list of its files, which the download's log tells: nothing else is served then, whatever "
        "the hub or a mirror says.",
    )
    config_file: str | None = Field(
        None,
        min_length=1,
        description="Its config.json, from the root of the project, where the planner's catalogue does not have the model.",
        examples=["stacks/models/my-model.json"],
    )
    node_pool: DnsLabel = Field(description="Pool the servers run on.", examples=["l4"])
    namespace: DnsLabel | None = Field(
        None, description="Namespace of a tenant; namespaces.models when left out.", examples=["search"]
    )
    task: Task = Field(Task.GENERATE, description="What the model is for.", examples=["embed"])
    aliases: tuple[AdapterName, ...] = Field((), description="Further names clients may ask for.", examples=["[gpt-4o-mini]"])
    parallelism: ParallelismSettings = Field(
        default_factory=ParallelismSettings, description="How the accelerators of one replica share the work."
    )
    multi_node: MultiNode = Field(
        MultiNode.LEADER_WORKER_SET, description="Who keeps a replica together that spans several nodes."
    )
    replicas: int = Field(1, ge=1, description="Servers of this model, where nothing scales it.", examples=[1])
    scaling: ScalingSettings | None = Field(
        None, description="An autoscaler: servers follow the load.", examples=["{maxReplicas: 4}"]
    )
    profile: Literal["balanced", "throughput", "latency", "long-context"] = Field(
        "balanced", description="Tuning profile; it settles what is left out below.", examples=["balanced"]
    )
    max_model_len: int = Field(
        ge=1, le=2**27, description="Longest context in tokens, prompt and answer together.", examples=[8192]
    )
    max_num_seqs: int | None = Field(None, ge=1, le=2**20, description="Requests in one batch; by profile.", examples=[128])
    max_num_batched_tokens: int | None = Field(
        None, ge=1, le=2**24, description="Tokens of one batch; by profile.", examples=[8192]
    )
    gpu_memory_utilization: float | None = Field(
        None, gt=0, lt=1, description="Share of the accelerator's memory the engine may use; by profile.", examples=[0.92]
    )
    kv_cache_dtype: Literal["auto", "bfloat16", "float16", "fp8"] = Field(
        "auto", description="Number format of the KV cache; auto follows the checkpoint.", examples=["fp8"]
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="Number format of computation; auto follows the checkpoint.", examples=["float16"]
    )
    quantization: Literal["fp8", "experts_int8"] | None = Field(
        None, description="How the engine quantizes a checkpoint that is not quantized while it loads.", examples=["fp8"]
    )
    prefix_caching: bool | None = Field(None, description="Prompts that begin alike share their cache; the engine's choice.")
    chunked_prefill: bool | None = Field(None, description="Long prompts are computed in parts; the engine's choice.")
    enforce_eager: bool = Field(False, description="Neither compile nor capture graphs: starts sooner, answers slower.")
    kv_offloading_gib: float = Field(
        0, ge=0, le=8192, description="Host memory of one replica for KV cache the accelerators have no room for.", examples=[32]
    )
    speculative: SpeculativeSettings | None = Field(None, description="Speculative decoding.")
    lora: LoraSettings | None = Field(None, description="LoRA adapters, the same on every replica.")
    tool_call_parser: Parser | None = Field(None, description="Parser of tool calls; without one no tools.", examples=["hermes"])
    reasoning_parser: Parser | None = Field(None, description="Parser of the model's reasoning.", examples=["qwen3"])
    cache: CacheSettings = Field(default_factory=CacheSettings, description="Where the model lies.")
    structured_outputs: StructuredOutputs = Field(
        StructuredOutputs.XGRAMMAR, description="What keeps answers to a grammar or schema: xgrammar or guidance."
    )
    limits: Limits = Field(default_factory=Limits, description="What one request, and all that wait, may ask for.")
    media: Media | None = Field(
        None, description="Images, videos and sounds clients may send; text alone when left out.", examples=["{images: 4}"]
    )
    token_secret: SecretKeySettings | None = Field(
        None, description="Secret with the Hugging Face token that a gated model needs; only the download reads it."
    )
    clients: tuple[PeerSettings, ...] = Field(
        (), description="Pods that ask it without the gateway, beside networkPolicies.clients."
    )
    api_key_secret: SecretKeySettings | None = Field(
        None, description="Secret with the key clients must send; without one whoever reaches the port is answered."
    )
    engine: EngineSettings = Field(default_factory=EngineSettings, description="The engine's image and version.")
    drain: DrainConfig = Field(default_factory=DrainConfig, description="How a server stops, in seconds.")
    priority_class_name: DnsLabel | None = Field(None, description="Priority class of the pods.", examples=["serving"])
    host_users: bool | None = Field(None, description="False gives each pod a user namespace of its own.")
    extra_arguments: tuple[str, ...] = Field(
        (), description="Further arguments of the engine, screened.", examples=["[--enable-prompt-tokens-details]"]
    )
    environment: Mapping[VariableName, str] = Field(
        default_factory=dict, description="Further environment of the engine, screened; nothing secret."
    )
    slo: SloSettings = Field(default_factory=SloSettings, description="What it owes those who ask it; alerts watch it.")
    log_prompts: bool = Field(False, description="Whether its log has what people ask: everybody who reads logs reads it then.")
    log_answers: bool = Field(False, description="Whether its log has what it answers too.")
    verify: bool = Field(True, description="Whether a rollout ends with a check that the model answers.")

    @model_validator(mode="after")
    def _limits_limit(self) -> "ModelSettings":
        check_limits(self.task, self.limits, self.max_model_len)
        check_logged(self.log_prompts, self.log_answers)
        return self

    @model_validator(mode="after")
    def _replicas_have_one_owner(self) -> "ModelSettings":
        if self.scaling and "replicas" in self.model_fields_set:
            raise ValueError("replicas: scaling says how many servers there are, and two owners would fight; remove replicas")
        return self

    @property
    def least_replicas(self) -> int:
        """Servers there are always."""
        return self.scaling.min_replicas if self.scaling else self.replicas

    @property
    def most_replicas(self) -> int:
        """Servers that pool, quota and budget must have room for."""
        return self.scaling.max_replicas if self.scaling else self.replicas

    def kept_by(self, nodes: int) -> MultiNode | None:
        """Who keeps a replica together that spans `nodes`; None where it is one pod."""
        return self.multi_node if nodes > 1 else None

    def sources(self) -> tuple[str, ...]:
        """Every repository that is fetched: the model's, its adapters', its draft's."""
        adapters = (adapter.source for adapter in self.lora.adapters.values()) if self.lora else ()
        draft = (self.speculative.draft.source,) if self.speculative and self.speculative.draft else ()
        return (self.source, *adapters, *draft)


class BudgetSettings(Model):
    """What the stack may cost."""

    usd_per_month: float = Field(gt=0, description="Instances of all models in 730 hours.", examples=[2000])


class PriceSettings(Model):
    """Prices that go before the planner's catalogue."""

    region: str = Field("us-east-1", min_length=1, description="AWS region whose on-demand prices count.")
    usd_per_hour: Mapping[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="By instance type: spot, negotiated, or of another region.",
        examples=["{g6.xlarge: 0.5}"],
    )
