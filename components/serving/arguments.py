"""The engine's command line. Pure: settings and engine version in, arguments out; a flag the version lacks is refused."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import pulumi

from .config import ServerConfig
from .engine_tables import engine_table
from .groups import Lora, Speculative, Task
from .media import NOWHERE, Media
from .observed import LONGEST_LOGGED, TRACES_FLAG

PORT = 8000
"""The engine's default port, for the API and for /health and /metrics alike."""
MASTER_PORT = 29501
"""Where the pods of a replica that spans nodes find each other: vLLM's default."""

_QUEUE, _LOGGING = "--max-num-queued-reqs", "--logging-config"

Value = pulumi.Input[str] | list[pulumi.Input[str]] | bool
"""What follows a flag: one word, several, or none (true); a flag that is false is left out."""


def vllm_arguments(config: ServerConfig) -> list[pulumi.Input[str]]:
    """Arguments of `vllm serve`, which is the image's entry point."""
    flags = {flag: value for flag, value in _flags(config).items() if value is not False}
    check_flags(flags, config.engine_version)
    return [config.model_path, *_words(flags), *config.extra_arguments]


def _flags(config: ServerConfig) -> dict[str, Value]:
    common: dict[str, Value] = {
        "--served-model-name": list(config.served_names()),
        "--port": str(PORT),
        "--max-model-len": str(config.max_model_len),
        "--gpu-memory-utilization": str(config.gpu_memory_utilization),
        # Pickled weights run code when loaded; `auto` would fall back to them.
        "--load-format": config.load.format,
        # Without it SIGTERM aborts the requests in flight.
        "--shutdown-timeout": str(config.drain.shutdown_timeout),
        "--disable-access-log-for-endpoints": "/health,/metrics",
        "--enforce-eager": config.enforce_eager,
    }
    return (
        common
        | _parallel(config)
        | _queue(config)
        | _media(config.media)
        | _asked(config)
        | _loading(config)
        | _observed(config)
        | (_speculative(config.speculative) if config.speculative else {})
        | (_lora(config.lora) if config.lora else {})
        | _task(config)
    )


def _parallel(config: ServerConfig) -> dict[str, Value]:
    sizes = config.parallelism
    flags: dict[str, Value] = {"--tensor-parallel-size": str(sizes.tensor), "--enable-expert-parallel": sizes.expert}
    if sizes.pipeline > 1:
        flags["--pipeline-parallel-size"] = str(sizes.pipeline)
    if sizes.data > 1:
        flags["--data-parallel-size"] = str(sizes.data)
    if config.by_ray:
        flags["--distributed-executor-backend"] = "ray"
    return flags


def _queue(config: ServerConfig) -> dict[str, Value]:
    if _QUEUE not in known_flags(config.engine_version):
        return {}  # an older engine lets any number wait
    return {_QUEUE: str(config.limits.in_flight(config.max_num_seqs, config.parallelism.data))}


def _media(wanted: Media | None) -> dict[str, Value]:
    if wanted is None:
        # The whole code for media is not even loaded.
        return {"--language-model-only": True}
    return {"--allowed-media-domains": list(wanted.domains or (NOWHERE,)), "--limit-mm-per-prompt": _json(wanted.per_prompt())}


def _asked(config: ServerConfig) -> dict[str, Value]:
    """What is left to the engine where nobody decides it."""
    flags: dict[str, Value] = {}
    for flag, number in (
        ("--max-num-seqs", config.max_num_seqs),
        ("--max-num-batched-tokens", config.max_num_batched_tokens),
        ("--quantization", config.quantization),
    ):
        if number is not None:
            flags[flag] = str(number)
    for flag, text in (("--kv-cache-dtype", config.kv_cache_dtype), ("--dtype", config.dtype)):
        if text != "auto":
            flags[flag] = text
    for name, wanted in (("prefix-caching", config.enable_prefix_caching), ("chunked-prefill", config.enable_chunked_prefill)):
        if wanted is not None:
            flags[f"--{'enable' if wanted else 'disable'}-{name}"] = True
    if config.kv_offloading_gib:
        flags |= {"--kv-offloading-size": f"{config.kv_offloading_gib:g}", "--kv-offloading-backend": "native"}
    return flags


def _loading(config: ServerConfig) -> dict[str, Value]:
    flags: dict[str, Value] = {}
    if config.load.strategy and config.load.format == "safetensors":
        flags["--safetensors-load-strategy"] = config.load.strategy
    if extra := config.load.extra_config():
        flags["--model-loader-extra-config"] = _json(extra)
    return flags


def _observed(config: ServerConfig) -> dict[str, Value]:
    """What goes into logs and traces; of requests nothing unless asked."""
    flags: dict[str, Value] = {}
    if config.json_logs and _LOGGING in known_flags(config.engine_version):
        flags[_LOGGING] = _json({"formatter": "json"})
    if config.log_prompts:
        flags |= {"--enable-log-requests": True, "--max-log-len": str(LONGEST_LOGGED)}
    if config.log_answers:
        # Whole answers, and not each of their tokens once more.
        flags |= {"--enable-log-outputs": True, "--disable-log-deltas": True}
    if config.traces:
        flags[TRACES_FLAG] = config.traces.endpoint
    return flags


def _speculative(wanted: Speculative) -> dict[str, Value]:
    fields: dict[str, Any] = {"method": wanted.method, "num_speculative_tokens": wanted.tokens}
    if wanted.model_path is not None:
        path = pulumi.Output.from_input(wanted.model_path)
        return {"--speculative-config": path.apply(lambda model: _json(fields | {"model": model}))}
    return {"--speculative-config": _json(fields)}


def _lora(wanted: Lora) -> dict[str, Value]:
    return {
        "--enable-lora": True,
        "--max-loras": str(wanted.slots),
        "--max-lora-rank": str(wanted.max_rank),
        "--lora-modules": [pulumi.Output.concat(name, "=", adapter.path) for name, adapter in sorted(wanted.adapters.items())],
    }


def _task(config: ServerConfig) -> dict[str, Value]:
    if config.task is Task.EMBED:
        return {"--runner": "pooling"}
    flags: dict[str, Value] = {
        "--structured-outputs-config": _json({"backend": config.structured_outputs}),
    }
    if config.limits.output_tokens:
        flags["--override-generation-config"] = _json({"max_new_tokens": config.limits.output_tokens})
    if config.tool_call_parser:
        flags |= {"--enable-auto-tool-choice": True, "--tool-call-parser": config.tool_call_parser}
    if config.reasoning_parser:
        flags["--reasoning-parser"] = config.reasoning_parser
    return flags


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True, separators=(",", ":"))


def _words(flags: Mapping[str, Value]) -> list[pulumi.Input[str]]:
    words: list[pulumi.Input[str]] = []
    for flag, value in flags.items():
        words.append(flag)
        if isinstance(value, list):
            words += value
        elif not isinstance(value, bool):
            words.append(value)
    return words


def check_flags(flags: Iterable[str], version: str) -> None:
    """Raise ValueError for a flag that this version's parser does not know: the container would end at once, again and again."""
    unknown = sorted(set(flags) - known_flags(version))
    if unknown:
        raise ValueError(
            f"vLLM {version} does not know {', '.join(unknown)}; its flags are listed in engines/vllm-{version}.yaml"
        )


@cache
def known_flags(version: str) -> frozenset[str]:
    """Every spelling of every flag of that engine version. Raises ValueError for a version nobody recorded."""
    return frozenset(flag for aliases in engine_table(version)["flags"] for flag in aliases)
