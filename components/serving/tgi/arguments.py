"""The command line of TGI's launcher, and what users may add to it. Pure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pulumi

from planner.tgi.launcher import flags, from_words, lacking

from ...secretive import looks_secret
from ..arguments import PORT
from ..variables import why_not

if TYPE_CHECKING:
    from .config import ServerConfig

OWNED = {
    "--model-id": "model_path",
    "--revision": "model_path",
    "--huggingface-hub-cache": "claim_name",
    "--weights-cache-override": "claim_name",
    "--sharded": "shards",
    "--num-shard": "shards",
    "--quantize": "quantize",
    "--dtype": "dtype",
    "--kv-cache-dtype": "kv_cache_dtype",
    "--speculate": "speculate",
    "--max-total-tokens": "max_total_tokens",
    "--max-input-tokens": "max_input_tokens",
    "--max-input-length": "max_input_tokens",
    "--max-batch-prefill-tokens": "max_batch_prefill_tokens",
    "--max-batch-total-tokens": "max_batch_total_tokens",
    "--max-batch-size": "max_batch_size",
    "--max-concurrent-requests": "max_concurrent_requests",
    "--cuda-memory-fraction": "cuda_memory_fraction",
    "--hostname": "the Service of the model",
    "--port": "the Service of the model",
    "--api-key": "api_key_secret",
    "--graceful-termination-timeout": "drain",
    "--json-output": "json_logs",
}
"""What an argument of the component decides."""

REFUSED = {
    "--trust-remote-code": "code from the model's repository would run in the engine; take a model that TGI knows, or vLLM",
    "--ngrok": "a tunnel leads past the gateway and its keys; use a Route",
    "--ngrok-authtoken": "a tunnel leads past the gateway and its keys; use a Route",
    "--ngrok-edge": "a tunnel leads past the gateway and its keys; use a Route",
    "--usage-stats": "servers report nothing; leave it out",
    "--env": "it prints what the container has; leave it out",
}
"""What no server of this platform is started with, and why."""

TUNING = frozenset({"ATTENTION", "PREFIX_CACHING", "USE_PREFIX_CACHING", "TGI_WIGGLE_ROOM", "PREFILL_CHUNKING"})
"""TGI's variables without an argument that only tune (server/text_generation_server/models/globals.py)."""


def tgi_arguments(config: "ServerConfig") -> list[pulumi.Input[str]]:
    """Arguments of `text-generation-launcher`."""
    given: dict[str, object] = {
        # Kubernetes gives every container a HOSTNAME, which the launcher would take for an address.
        "--hostname": "0.0.0.0",  # noqa: S104 - the pod's own addresses; policies say who reaches them
        "--port": PORT,
        "--num-shard": config.shards,
        "--max-total-tokens": config.max_total_tokens,
        "--max-input-tokens": config.max_input_tokens or config.max_total_tokens - 1,
        "--max-batch-prefill-tokens": config.max_batch_prefill_tokens,
        "--max-batch-total-tokens": config.max_batch_total_tokens,
        "--max-batch-size": config.max_batch_size,
        "--max-concurrent-requests": config.max_concurrent_requests,
        "--quantize": config.quantize,
        "--dtype": config.dtype,
        "--kv-cache-dtype": config.kv_cache_dtype,
        "--speculate": config.speculate,
        "--cuda-memory-fraction": config.cuda_memory_fraction if config.cuda_memory_fraction < 1 else None,
        "--usage-stats": "off",
    }
    stop = {"--graceful-termination-timeout": config.drain.shutdown_timeout}
    if not lacking(list(stop), config.engine_version):
        given |= stop
    words = [word for flag, value in given.items() if value is not None for word in (flag, str(value))]
    check_flags([flag for flag, value in given.items() if value is not None], config.engine_version)
    return ["--model-id", config.model_path, *words, *(["--json-output"] if config.json_logs else []), *config.extra_arguments]


def check_flags(names: Sequence[str], version: str) -> None:
    """Raise ValueError for a flag the release does not know: the container would end at once, again and again."""
    if unknown := lacking(names, version):
        since = ", ".join(f"{name} came with {flags()[name].since}" if name in flags() else f"{name} is none" for name in unknown)
        raise ValueError(
            f"TGI {version} does not know {', '.join(unknown)} ({since}); its flags are in planner/tgi/launcher.yaml"
        )


def check_extra(extra: Sequence[str], version: str) -> None:
    """Raise ValueError for an argument that the component decides, the release lacks, or nobody should want."""
    for name, value in from_words(extra, {}).items():
        if name in OWNED:
            raise ValueError(f"extra_arguments: {name} is decided by {OWNED[name]}; use that")
        if name in REFUSED:
            raise ValueError(f"extra_arguments: {name} is refused: {REFUSED[name]}")
        if not isinstance(value, str) or looks_secret(value):
            raise ValueError(f"extra_arguments: the value of {name} is a secret or leads to a variable; write a plain value")
        check_flags([name], version)


def check_environment(extra: Mapping[str, str]) -> None:
    """Raise ValueError for a variable that stands for an argument, holds a secret, or is not known to be harmless."""
    arguments = {variable: flag.flag for flag in flags().values() for variable in flag.variables}
    for name, value in extra.items():
        if name in arguments:
            raise ValueError(f"environment: {name} stands for {arguments[name]}; give it as an argument")
        if name not in TUNING and (problem := why_not(name)):
            raise ValueError(f"environment: {name} {problem}")
        if looks_secret(value):
            raise ValueError(f"environment: the value of {name} looks like a secret; put it into a Secret")
