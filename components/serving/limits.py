"""What one request, and all waiting requests together, may ask of an engine."""

from typing import NotRequired, TypedDict, cast

from pydantic import Field

from ..inputs import Model

_LARGEST_BATCH = 1024
"""Requests of the largest batch vLLM chooses by itself, on cards of 160 GiB (vllm/engine/arg_utils.py)."""


class LimitsArgs(TypedDict):
    """What requests may ask for; what asks for more is answered with an error at once."""

    answers: NotRequired[int]
    """Answers to one request (its `n`); 64 by default, where vLLM allows 16384."""
    prompts: NotRequired[int]
    """Prompts in one request to /v1/completions; 64 by default, where vLLM allows 1024."""
    waiting: NotRequired[int]
    """Requests that may wait for a place in a batch, in each replica; 1024 by default, where vLLM lets any number wait."""
    output_tokens: NotRequired[int | None]
    """Longest answer in tokens, whatever the request asks for; as long as the context when left out."""


class Limits(Model):
    """Validated `LimitsArgs`."""

    answers: int = Field(64, ge=1, le=16384, description="Answers to one request (its n).", examples=[64])
    prompts: int = Field(64, ge=1, le=1024, description="Prompts in one request to /v1/completions.", examples=[64])
    waiting: int = Field(
        1024, ge=1, le=2**20, description="Requests that may wait for a place in a batch, in each replica.", examples=[1024]
    )
    output_tokens: int | None = Field(
        None, ge=1, le=2**27, description="Longest answer in tokens; as long as the context when left out.", examples=[4096]
    )

    def args(self) -> LimitsArgs:
        """The same as a component takes it."""
        return cast(LimitsArgs, self.model_dump())

    def environment(self) -> dict[str, str]:
        """The limits the engine takes from its environment (vllm/envs.py; CVE-2026-34756, CVE-2026-73559)."""
        return {"VLLM_MAX_N_SEQUENCES": str(self.answers), "VLLM_MAX_COMPLETION_PROMPTS": str(self.prompts)}

    def in_flight(self, batch: int | None, copies: int) -> int:
        """Requests of one replica that run or wait, beyond which it answers 503 (vllm/config/scheduler.py, max_num_queued_reqs).

        `batch`: requests in one batch, None for the engine's choice; `copies` share the one queue.
        """
        return (batch or _LARGEST_BATCH) * copies + self.waiting
