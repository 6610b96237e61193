"""The engine's environment. Pure."""

from ..pods import ENGINE_HOME
from .config import ServerConfig

INTERFACE = "eth0"
"""The network interface of a pod, by the convention of every CNI in use here."""


def environment(config: ServerConfig) -> dict[str, str]:
    """What the engine must know: it writes to volumes only, reads models from the cache only, reports nothing, caps requests."""
    return {
        "HOME": ENGINE_HOME,
        # For images whose user 2000 has no entry in their list of users (kserve/kserve#5666).
        "USER": "vllm",
        "LOGNAME": "vllm",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CACHE_ROOT": f"{ENGINE_HOME}/.cache/vllm",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(config.engine_ready()),
        **config.limits.environment(),
        # A redirect leads past the domains that media may come from (CVE-2026-24779).
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        **(config.media.environment() if config.media else {}),
        # Empty: load no plugin that happens to be installed.
        **({} if config.engine().needs_plugin else {"VLLM_PLUGINS": ""}),
        **(compiled.environment if (compiled := config.compiled()) else {}),
        # vLLM's parser for gpt-oss (openai/harmony) looks here before it asks the internet.
        **({"TIKTOKEN_ENCODINGS_BASE": config.vocabulary_directory} if config.vocabulary_directory else {}),
        # An engine that logs requests leaves their text to this level, which is DEBUG otherwise.
        **({"VLLM_REQUEST_BODY_LOG_LEVEL": "INFO"} if config.log_prompts else {}),
        **(config.traces.environment(config.model_name) if config.traces else {}),
        **_in_region(config.region),
        **_between_nodes(config),
        **config.environment,
    }


def _in_region(region: str | None) -> dict[str, str]:
    """What a client of S3 would else ask the instance's metadata for, which pods do not reach."""
    return {"AWS_REGION": region, "AWS_DEFAULT_REGION": region, "AWS_EC2_METADATA_DISABLED": "true"} if region else {}


def _between_nodes(config: ServerConfig) -> dict[str, str]:
    """What the pods of one replica need to talk, where there are several.

    Without a named interface NCCL and Gloo take the first they find, which may be one of the node's (vllm-project/vllm#13052).
    """
    if config.nodes == 1:
        return {}
    found = {"NCCL_SOCKET_IFNAME": INTERFACE, "GLOO_SOCKET_IFNAME": INTERFACE, "NCCL_DEBUG": "WARN"}
    if config.pool.fabric_interfaces:
        # NCCL reaches EFA through libfabric (aws/aws-ofi-nccl, README).
        found["FI_PROVIDER"] = "efa"
    return found
