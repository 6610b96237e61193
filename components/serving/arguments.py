"""The engine's command line. Pure: settings and engine version in, arguments out; a flag the version lacks is refused."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pulumi
import yaml

from components.serving.config import ServerConfig

PORT = 8000
"""The engine's default port, for the API and for /health and /metrics alike."""


def vllm_arguments(config: ServerConfig, version: str, drain_seconds: int) -> list[pulumi.Input[str]]:
    """Arguments of `vllm serve`, which is the image's entry point."""
    flags: dict[str, str | None] = {
        "--served-model-name": config.model_name,
        "--port": str(PORT),
        "--tensor-parallel-size": str(config.accelerators),
        "--max-model-len": str(config.max_model_len),
        "--gpu-memory-utilization": str(config.gpu_memory_utilization),
        # Pickled weights run code when loaded; `auto` would fall back to them.
        "--load-format": "safetensors",
        # Without it SIGTERM aborts the requests in flight.
        "--shutdown-timeout": str(drain_seconds),
        # The servers of this platform answer text; this removes the whole media surface.
        "--language-model-only": None,
        "--disable-access-log-for-endpoints": "/health,/metrics",
    }
    if config.max_num_seqs is not None:
        flags["--max-num-seqs"] = str(config.max_num_seqs)
    if config.max_num_batched_tokens is not None:
        flags["--max-num-batched-tokens"] = str(config.max_num_batched_tokens)
    if config.kv_cache_dtype != "auto":
        flags["--kv-cache-dtype"] = config.kv_cache_dtype
    if config.enable_expert_parallel:
        flags["--enable-expert-parallel"] = None
    check_flags(flags, version)
    words = [word for flag, value in flags.items() for word in ((flag,) if value is None else (flag, value))]
    return [config.model_path, *words]


def check_flags(flags: Iterable[str], version: str) -> None:
    """Raise ValueError for a flag that this version's parser does not know: the container would end at once, again and again."""
    unknown = sorted(set(flags) - known_flags(version))
    if unknown:
        raise ValueError(f"vLLM {version} does not know {', '.join(unknown)}; its flags are listed in {_table(version).name}")


@cache
def known_flags(version: str) -> frozenset[str]:
    """Every spelling of every flag of that engine version."""
    return frozenset(flag for aliases in yaml.safe_load(_table(version).read_text())["flags"] for flag in aliases)


def _table(version: str) -> Path:
    return Path(__file__).parent / "engines" / f"vllm-{version}.yaml"
