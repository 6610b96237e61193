"""Models that Text Generation Inference still serves."""

from typing import TYPE_CHECKING, Final

from pydantic import Field
from pydantic.alias_generators import to_camel

from components.inputs import Model
from components.scaling import ScalerKind
from components.serving.groups import Task
from components.serving.placement import nodes_of_replica
from components.serving.tgi.arguments import OWNED, check_environment, check_extra
from components.serving.tgi.config import CacheNumber
from components.serving.tgi.image import engine_image
from components.types import NodePool
from planner.tgi.launcher import flags, from_words
from settings.cache import CacheKind
from settings.checking import inside

if TYPE_CHECKING:
    from settings.models import ModelSettings

_KNOWN: Final = frozenset(
    {
        *("source", "revision", "checksum", "config_file", "node_pool", "namespace", "task", "aliases", "parallelism"),
        *("replicas", "scaling", "profile", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "dtype"),
        *("gpu_memory_utilization", "cache", "token_secret", "clients", "api_key_secret", "engine", "drain", "slo"),
        *("priority_class_name", "host_users", "extra_arguments", "environment", "verify"),
    }
)
"""Settings of a model that mean the same to TGI, or are not the engine's."""

_SETTINGS: Final = {
    "model_path": "source and revision",
    "claim_name": "cache",
    "shards": "parallelism.tensor",
    "quantize": "engine.tgi.quantize",
    "kv_cache_dtype": "engine.tgi.kvCacheDtype",
    "dtype": "dtype",
    "speculate": "engine.tgi.speculate",
    "max_total_tokens": "maxModelLen",
    "max_input_tokens": "engine.tgi.maxInputTokens",
    "max_batch_prefill_tokens": "maxNumBatchedTokens",
    "max_batch_total_tokens": "engine.tgi.maxBatchTotalTokens",
    "max_batch_size": "maxNumSeqs",
    "max_concurrent_requests": "engine.tgi.maxConcurrentRequests",
    "cuda_memory_fraction": "gpuMemoryUtilization",
    "api_key_secret": "apiKeySecret",
    "drain": "drain",
    "json_logs": "logs",
}
"""What decides an input of the component."""


class TgiSettings(Model):
    """What only TGI can be told, by the names of its launcher."""

    max_input_tokens: int | None = Field(
        None, ge=1, description="Longest prompt; one token less than maxModelLen when left out.", examples=[4096]
    )
    max_batch_total_tokens: int | None = Field(
        None, ge=1, description="Tokens of all running requests together; what fits when left out.", examples=[60000]
    )
    max_concurrent_requests: int | None = Field(
        None, ge=1, description="Requests that run or wait before others are refused; 128 when left out.", examples=[128]
    )
    quantize: str | None = Field(None, min_length=1, description="How a checkpoint is, or becomes, quantized.", examples=["awq"])
    kv_cache_dtype: CacheNumber | None = Field(
        None, description="How it keeps keys and values of the cache; as it computes when left out.", examples=["fp8_e4m3fn"]
    )
    speculate: int | None = Field(None, ge=1, le=32, description="Tokens that are proposed at a time.", examples=[3])


def check_tgi(model: "ModelSettings", pool: NodePool) -> None:
    """Raise ValueError, a sentence that begins with its setting, for what TGI cannot be told or cannot do."""
    for field in sorted(model.model_fields_set - _KNOWN):
        raise ValueError(f"{to_camel(field)}: TGI has nothing like it; remove it, or use engine.kind: vllm")
    if model.task is not Task.GENERATE:
        raise ValueError(f"task: {model.task} is nothing that TGI does; use engine.kind: vllm")
    for field in ("pipeline", "data", "expert"):
        if field in model.parallelism.model_fields_set:
            raise ValueError(f"parallelism.{field}: TGI divides a model by tensor alone; remove it")
    if nodes_of_replica(model.parallelism.tensor or 1, pool) > 1:
        raise ValueError(f"parallelism.tensor: TGI runs on one node, and those of pool {pool.name} have fewer accelerators")
    if model.cache.kind is CacheKind.S3_STREAM:
        raise ValueError("cache.kind: TGI reads from a directory, and what is streamed has none; use e.g. s3Mount")
    if model.scaling and model.scaling.kind is ScalerKind.KEDA:
        raise ValueError("scaling.kind: keda asks for what vLLM measures, and TGI has other metrics; use kind: hpa, or replicas")
    if model.dtype == "float32":
        raise ValueError("dtype: TGI computes in float16 or bfloat16; use one of them, or leave it out")
    own, engine = model.engine.tgi or TgiSettings(), model.engine
    if own.quantize is not None and model.dtype != "auto":
        raise ValueError("dtype: TGI takes either dtype or quantize; remove one of the two")
    if own.max_input_tokens is not None and own.max_input_tokens >= model.max_model_len:
        raise ValueError(
            f"engine.tgi.maxInputTokens: {own.max_input_tokens} of {model.max_model_len} tokens leave none for an answer; "
            f"use {model.max_model_len // 2}"
        )
    try:
        engine_image(engine.image, engine.version, pool)
    except ValueError as error:
        raise ValueError(f"engine.{str(error).replace('engine_version', 'version')}") from None
    if own.quantize is not None:
        inside("engine.tgi", flags()["--quantize"].check, own.quantize, "quantize")
    _check_added(model)


def _check_added(model: "ModelSettings") -> None:
    """What is added to the command line and the environment, in the words of stack files."""

    def arguments() -> None:
        for name in from_words(model.extra_arguments, {}):
            if setting := _SETTINGS.get(OWNED.get(name, "")):
                raise ValueError(f"{name} is decided by {setting}; use that")
        check_extra(model.extra_arguments, model.engine.version)

    for key, check in (("extra_arguments", arguments), ("environment", lambda: check_environment(model.environment))):
        try:
            check()
        except ValueError as error:
            raise ValueError(f"{to_camel(key)}: {str(error).removeprefix(f'{key}: ')}") from None
