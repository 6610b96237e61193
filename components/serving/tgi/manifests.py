"""The Kubernetes objects of a server with TGI, where they differ from those of one with vLLM. Pure; names may be outputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from ...pods import resources, restricted_container, scratch
from ..arguments import PORT
from ..invariants import DRAIN, ENGINE
from ..manifests import SCRATCH_MIB, Around, annotations, key_file, mounted, template
from ..probes import probes
from .config import ServerConfig

LAUNCHER = "text-generation-launcher"
HOME = "/home/tgi"
_SCRATCH = {"tmp": "/tmp", "home": HOME}  # noqa: S108 - paths inside the container
"""Shards meet the router at a socket in /tmp; kernels are compiled into the home directory."""
_WITH_KEY = f'API_KEY="$$(cat {{file}})" && export API_KEY && exec {LAUNCHER} "$$@"'
"""The key is a file, so it is in no manifest, no argument and no environment that Kubernetes knows. `$$` is Kubernetes' `$`."""


def environment(config: ServerConfig) -> dict[str, str]:
    """What TGI must know: it writes to volumes only, reads models from the cache only, reports nothing and logs no key."""
    return {
        "HOME": HOME,
        # For a user without an entry in the image's list of users.
        "USER": "tgi",
        "LOGNAME": "tgi",
        "HF_HOME": f"{HOME}/.cache/huggingface",
        "HUGGINGFACE_HUB_CACHE": f"{HOME}/.cache/huggingface/hub",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        # At `info` the launcher writes all of its arguments into the log when it starts, the key among them
        # (launcher/src/main.rs); at `debug` the router writes prompts and answers (router/src/server.rs).
        "LOG_LEVEL": "warn" if config.api_key_secret else "info",
        **config.environment,
    }


def server_annotations(config: ServerConfig) -> dict[str, str]:
    """What the server's numbers were derived from."""
    return annotations(config) | {DRAIN: str(config.drain.shutdown_timeout)}


def tgi_pod(
    config: ServerConfig, around: Around, arguments: Sequence[pulumi.Input[str]], labels: Mapping[str, str]
) -> dict[str, Any]:
    """The pod template of a replica."""
    volumes, mounts = mounted(config)
    written, at = scratch(_SCRATCH)
    engine = _engine(config, around, arguments, [*mounts, *at])
    return template(config, around, engine, [*volumes, *written], labels)


def _engine(
    config: ServerConfig, around: Around, arguments: Sequence[pulumi.Input[str]], mounts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    card = config.pool.accelerator
    key = config.api_key_secret
    return {
        "name": ENGINE,
        "image": config.engine_image(),
        # Not the image's entry point, a script that would refresh the linker's cache, which takes root.
        "command": [LAUNCHER] if key is None else ["/bin/sh", "-c", _WITH_KEY.format(file=key_file(key)), LAUNCHER],
        "args": list(arguments),
        # The router saves the model's tokenizer below it before it reads it (router/src/server.rs, py_resolve_tokenizer).
        "workingDir": HOME,
        "envFrom": [{"configMapRef": {"name": around.config_map}}],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        # Its router listens once all shards have loaded and computed a first batch.
        **probes(config.startup()),
        "lifecycle": {"preStop": {"sleep": {"seconds": config.drain.pre_stop}}},
        "securityContext": restricted_container(),
        "resources": resources(
            str(config.cpus()), config.memory_mib(), SCRATCH_MIB, {card.offered: config.shards} if card else None
        ),
        "volumeMounts": list(mounts),
    }
