"""Inputs of `ModelServer`, and what follows from them."""

import math
from typing import NotRequired, TypedDict

import pulumi
from pydantic import Field, field_validator, model_validator

from components.inputs import InputText, Model
from components.types import DnsLabel, NodePool, NodePoolArgs


class ModelServerArgs(TypedDict):
    """Inputs of `ModelServer`."""

    model_name: str
    """Name clients ask for, and of the Service."""
    model_path: pulumi.Input[str]
    """Directory of the model as the pod sees it."""
    weights_gib: float
    """Size of the weights in GiB; decides memory and how long a start may take."""
    namespace_name: pulumi.Input[str]
    """Namespace of the server; *restricted* suffices."""
    claim_name: pulumi.Input[str]
    """Claim of the model cache; mounted read-only."""
    pool: NodePoolArgs
    """The pool the server runs on."""
    accelerators: NotRequired[int]
    """Accelerators of one replica, all on one node; tensor parallelism spans them. One by default."""
    replicas: NotRequired[int]
    """Replicas; one by default."""
    spare_accelerators: NotRequired[int]
    """Accelerators of the pool that nothing else uses: with enough of them a rollout starts the new replica first."""
    max_model_len: int
    """Longest context in tokens, prompt and answer together."""
    max_num_seqs: NotRequired[int | None]
    """Requests in one batch; the engine's default for the accelerator when left out."""
    gpu_memory_utilization: NotRequired[float]
    """Share of an accelerator's memory the engine may use; 0.92 by default, as in vLLM 0.33."""


class ServerConfig(Model):
    """Validated `ModelServerArgs`."""

    model_name: DnsLabel = Field(examples=["qwen2-5-7b"])
    model_path: InputText
    weights_gib: float = Field(gt=0, examples=[5.2])
    namespace_name: InputText
    claim_name: InputText
    pool: NodePool
    accelerators: int = Field(1, ge=1, examples=[1])
    replicas: int = Field(1, ge=1, examples=[1])
    spare_accelerators: int = Field(0, ge=0)
    max_model_len: int = Field(ge=1, examples=[8192])
    max_num_seqs: int | None = Field(None, ge=1, examples=[256])
    gpu_memory_utilization: float = Field(0.92, gt=0, lt=1, examples=[0.92])

    @field_validator("model_name")
    @classmethod
    def _no_service_environment_clash(cls, name: str) -> str:
        check_model_name(name)
        return name

    @model_validator(mode="after")
    def _fits_a_node(self) -> "ServerConfig":
        check_accelerators(self.accelerators, self.pool)
        return self

    def shared_memory_mib(self) -> int:
        """MiB of /dev/shm for NCCL and the workers' queues: 2 GiB for one accelerator, as in vLLM's examples, else 8 GiB each.

        The 64 MiB of a container make tensor parallelism fail.
        """
        return 2048 if self.accelerators == 1 else 8192 * self.accelerators

    def memory_mib(self) -> int:
        """MiB of host memory: the weights once, as they pass through to the accelerator, 4 GiB for the engine, shared memory."""
        return math.ceil(self.weights_gib * 1024) + 4096 + self.shared_memory_mib()


def check_model_name(name: str) -> None:
    """Raise ValueError for a name whose Service would set VLLM_* variables in other pods and stop their engines."""
    if name == "vllm":
        raise ValueError("a Service named 'vllm' sets VLLM_PORT in other pods and stops their engines; use e.g. qwen2-5-7b")


def check_accelerators(accelerators: int, pool: NodePool) -> None:
    """Raise ValueError when one replica does not fit on a node of the pool."""
    if pool.accelerator is None:
        raise ValueError(f"pool {pool.name} has no accelerators; use a pool that has some")
    if accelerators > pool.accelerator.per_node:
        raise ValueError(
            f"a replica needs {accelerators} {pool.accelerator.resource} on one node, but nodes of pool {pool.name} have "
            f"{pool.accelerator.per_node}; use accelerators: {pool.accelerator.per_node} or a pool with larger nodes"
        )
