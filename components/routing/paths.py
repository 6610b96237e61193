"""Which paths of an engine clients may ask for. What is not named here is answered by nobody.

An engine answers many more on the same port, most of them without asking for its API key: there weights are swapped, servers
paused and texts completed (vllm-project/vllm, docs/usage/security.md).
"""

import re
from collections.abc import Mapping
from typing import Final

from ..serving.groups import Task

_ALL: Final = ("/v1/models",)
_PATHS: Final[Mapping[Task, tuple[str, ...]]] = {
    Task.GENERATE: ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"),
    Task.EMBED: ("/v1/embeddings",),
}
"""vllm-project/vllm, vllm/entrypoints/openai and vllm/entrypoints/anthropic."""


def allowed_paths(task: Task) -> tuple[str, ...]:
    """The paths of an engine that serves models for `task`."""
    return (*_ALL, *_PATHS[task])


def check_prefix(prefix: str) -> str:
    """`prefix`, or ValueError where it cannot stand before the paths of an engine."""
    if prefix and not re.fullmatch(r"(/[A-Za-z0-9][A-Za-z0-9._-]*)+", prefix):
        raise ValueError(f"{prefix!r} is no prefix of a path; use e.g. /chat, without a slash at its end")
    if prefix == "/v1" or prefix.startswith("/v1/"):
        raise ValueError(f"{prefix} begins as the engine's own paths do; use e.g. /chat")
    return prefix
