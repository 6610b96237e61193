"""What users may add to an engine beyond its settings: nothing that a setting decides, and nothing that opens a door."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

from .engine_tables import engine_table
from .screening import check_engine_version, screen_arguments, screen_environment, shown_variable
from .variables import why_not

FLAGS = MappingProxyType(
    {
        "--model": "source",
        "--revision": "revision",
        "--code-revision": "revision",
        "--tokenizer": "source",
        "--hf-config-path": "source",
        "--tokenizer-revision": "revision",
        "--download-dir": "cache",
        "--served-model-name": "aliases",
        "--port": "the Service of the model",
        "--host": "the Service of the model",
        "--uds": "the Service of the model",
        "--ssl-keyfile": "TLS at the gateway",
        "--ssl-certfile": "TLS at the gateway",
        "--shutdown-timeout": "drain.shutdownTimeout",
        "--runner": "task",
        "--tensor-parallel-size": "parallelism.tensor",
        "--pipeline-parallel-size": "parallelism.pipeline",
        "--data-parallel-size": "parallelism.data",
        "--data-parallel-size-local": "parallelism.data",
        "--data-parallel-address": "parallelism.data",
        "--data-parallel-rpc-port": "parallelism.data",
        "--data-parallel-start-rank": "parallelism.data",
        "--data-parallel-rank": "parallelism.data",
        "--data-parallel-backend": "parallelism.data",
        "--data-parallel-hybrid-lb": "parallelism.data",
        "--data-parallel-external-lb": "parallelism.data",
        "--enable-expert-parallel": "parallelism.expert",
        "--nnodes": "parallelism",
        "--node-rank": "parallelism",
        "--master-addr": "parallelism",
        "--master-port": "parallelism",
        "--headless": "parallelism",
        "--distributed-executor-backend": "multiNode",
        "--max-model-len": "maxModelLen",
        "--max-num-seqs": "maxNumSeqs",
        "--max-num-batched-tokens": "maxNumBatchedTokens",
        "--gpu-memory-utilization": "gpuMemoryUtilization",
        "--dtype": "dtype",
        "--quantization": "quantization",
        "--kv-cache-dtype": "kvCacheDtype",
        "--kv-offloading-size": "kvOffloadingGib",
        "--kv-offloading-backend": "kvOffloadingGib",
        "--enable-prefix-caching": "prefixCaching",
        "--enable-chunked-prefill": "chunkedPrefill",
        "--max-num-queued-reqs": "limits.waiting",
        "--override-generation-config": "limits.outputTokens",
        "--enforce-eager": "enforceEager",
        "--speculative-config": "speculative",
        "--spec-method": "speculative",
        "--spec-model": "speculative",
        "--spec-tokens": "speculative",
        "--enable-lora": "lora",
        "--lora-modules": "lora.adapters",
        "--default-mm-loras": "lora.adapters",
        "--max-loras": "lora.maxLoras",
        "--max-lora-rank": "lora.maxRank",
        "--enable-auto-tool-choice": "toolCallParser",
        "--tool-call-parser": "toolCallParser",
        "--reasoning-parser": "reasoningParser",
        # The engine takes the last it is given as a whole: any key of it would bring back the backend `auto`.
        "--structured-outputs-config": "structuredOutputs",
        "--language-model-only": "media",
        "--limit-mm-per-prompt": "media",
        "--allowed-media-domains": "media.domains",
        "--max-log-len": "logPrompts",
        "--otlp-traces-endpoint": "traces.endpoint",
        "--load-format": "cache",
        "--safetensors-load-strategy": "cache",
        "--model-loader-extra-config": "cache",
    }
)
"""Flags that settings decide, and the setting of a model to use instead."""

VARIABLES = MappingProxyType(
    {
        "HF_HUB_OFFLINE": "leave it out: servers stay offline",
        "TRANSFORMERS_OFFLINE": "leave it out: servers stay offline",
        "VLLM_CACHE_ROOT": "leave it out: it lies on a volume",
        "VLLM_ENGINE_READY_TIMEOUT_S": "leave it out: it follows from the plan",
        "VLLM_HOST_IP": "leave it out: it is the pod's address",
        "VLLM_MAX_N_SEQUENCES": "use limits.answers",
        "VLLM_MAX_COMPLETION_PROMPTS": "use limits.prompts",
        "VLLM_MAX_MEDIA_DOWNLOAD_SIZE_MB": "use media.megabytes",
        "VLLM_MAX_MEDIA_REQUEST_DOWNLOAD_SIZE_MB": "use media.megabytes",
        "VLLM_MAX_IMAGE_PIXELS": "use media.megapixels",
        "VLLM_MAX_AUDIO_DECODE_DURATION_S": "use media.audioSeconds",
        "VLLM_NO_USAGE_STATS": "leave it out: servers report nothing",
        "VLLM_DO_NOT_TRACK": "leave it out: servers report nothing",
        "DO_NOT_TRACK": "leave it out: servers report nothing",
        "TIKTOKEN_ENCODINGS_BASE": "leave it out: it follows from the model",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "use traces.protocol",
        "OTEL_SERVICE_NAME": "leave it out: it is the model's name",
        "OTEL_TRACES_SAMPLER": "use traces.sampled",
        "OTEL_TRACES_SAMPLER_ARG": "use traces.sampled",
        "HOME": "leave it out: it is a volume",
    }
)
"""Variables this platform sets for good, and what to do instead."""


def check_arguments(extra: Sequence[str], version: str) -> None:
    """Raise ValueError for an argument that a setting decides, the version lacks, or nobody should want."""
    screen_arguments(extra, version=version, owned=FLAGS)


def check_version(version: str, accepted: Collection[str]) -> None:
    """Raise ValueError for an engine with advisories that nobody accepted."""
    if problem := check_engine_version(version, accepted):
        raise ValueError(problem)
    engine_table(version)  # nothing else could be checked of a version nobody recorded


def check_parsers(tools: str | None, reasoning: str | None, version: str) -> None:
    """Raise ValueError for a parser the version lacks: the container would end at once, again and again."""
    for key, kind, name in (("toolCallParser", "tools", tools), ("reasoningParser", "reasoning", reasoning)):
        if name is not None and name not in (known := engine_table(version, "parsers")[kind]):
            near = get_close_matches(name, known, n=3, cutoff=0.4) or known[:3]
            raise ValueError(f"{key}: vLLM {version} has no parser {name}; use e.g. {', '.join(near)}")


def check_environment(extra: Mapping[str, str], version: str) -> None:
    """Raise ValueError for a variable that this platform decides, the version lacks, or nobody knows to be harmless."""
    screen_environment(extra, VARIABLES, version=version)
    for name in extra:
        if problem := why_not(name):
            raise ValueError(f"{shown_variable(name)} {problem}")
