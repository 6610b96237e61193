"""Groups of a server's settings that belong together: parallelism, loading, speculation, adapters, the stop."""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Annotated, NotRequired, TypedDict, cast

import pulumi
from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from planner.compatibility import check_lora
from planner.drain import Drain
from planner.options import Options

from ..inputs import InputText, Matching, Model
from .limits import Limits

Parser = Annotated[str, Matching(pattern=r"[a-z0-9_]+", what="the name of a parser of vLLM", example="hermes")]
AdapterName = Annotated[
    str, Matching(pattern=r"[A-Za-z0-9][A-Za-z0-9._-]*", what="a name clients can ask for", example="support-german")
]


VariableName = Annotated[
    str, Matching(pattern=r"[A-Za-z_][A-Za-z0-9_]*", what="the name of a variable", example="VLLM_LOGGING_LEVEL")
]


class Task(StrEnum):
    """What a model is for."""

    GENERATE = "generate"
    EMBED = "embed"


class MultiNode(StrEnum):
    """Who keeps the pods of one replica together that spans several nodes."""

    LEADER_WORKER_SET = "leaderWorkerSet"
    RAY_SERVICE = "rayService"


class StructuredOutputs(StrEnum):
    """What keeps answers to a grammar or schema. Others can be stopped by a request's expression, and `auto` may choose them."""

    XGRAMMAR = "xgrammar"
    GUIDANCE = "guidance"


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

    pre_stop: int = Field(
        Drain().pre_stop, ge=5, le=600, description="Seconds until endpoints and gateways have dropped the pod.", examples=[10]
    )
    shutdown_timeout: int = Field(
        Drain().shutdown_timeout, ge=1, le=3600, description="Seconds for requests in flight after that.", examples=[60]
    )
    teardown: int = Field(
        Drain().teardown, ge=5, le=600, description="Seconds for the engine to free the accelerators.", examples=[20]
    )

    def args(self) -> DrainArgs:
        """The same as a component takes it."""
        return cast(DrainArgs, self.model_dump())

    def drain(self) -> Drain:
        """The same as the planner has it."""
        return Drain(pre_stop=self.pre_stop, shutdown_timeout=self.shutdown_timeout, teardown=self.teardown)


GENERATING = ("speculative", "lora", "media", "tool_call_parser", "reasoning_parser")
"""Settings that only a model which generates has."""


def check_task(task: Task, given: Collection[str]) -> None:
    """Raise ValueError when settings in `given` do not suit the task."""
    if task is Task.EMBED and given:
        name = to_camel(min(given))
        raise ValueError(f"{name}: an embedding model generates nothing; leave it out, or use task: generate")


def check_limits(task: Task, limits: Limits, max_model_len: int) -> None:
    """Raise ValueError for a limit that limits nothing."""
    longest = limits.output_tokens
    if longest is None:
        return
    if task is Task.EMBED:
        raise ValueError("limits.outputTokens: an embedding model generates nothing; leave it out, or use task: generate")
    if longest > max_model_len:
        raise ValueError(
            f"limits.outputTokens: {longest} tokens are more than the {max_model_len} of maxModelLen; leave it out, or use "
            f"{max_model_len // 2}"
        )


def check_names(served: Collection[str], adapters: Collection[str]) -> None:
    """Raise ValueError for a name that two answer to."""
    if taken := sorted(set(adapters) & set(served)):
        raise ValueError(f"lora.adapters.{taken[0]}: the model itself answers to that name; name the adapter otherwise")


def check_adapters(ranks: Mapping[str, int], max_rank: int, slots: int) -> None:
    """Raise ValueError for an adapter, by its name, that the engine would have no room for."""
    if problem := check_lora(1, 0, Options(max_lora_rank=max_rank)):
        raise ValueError(f"maxRank: {problem}")
    for name, rank in ranks.items():
        if problem := check_lora(rank, min(len(ranks), slots), Options(max_loras=slots, max_lora_rank=max_rank)):
            raise ValueError(f"adapters.{name}.rank: {problem}")
