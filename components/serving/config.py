"""Inputs of `ModelServer`, and what follows from them."""

from typing import NotRequired, TypedDict

import pulumi
from pydantic import Field, field_validator, model_validator

from components.inputs import InputText, Model
from components.types import DnsLabel, NodePool, NodePoolArgs
from planner.host import host_memory_mib, shared_memory_mib
from planner.timeouts import granted_seconds

NODE_AND_IMAGE_SECONDS = 1800
"""For a fresh node and an image of more than 10 GB on it, where nobody predicted how long they take."""


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
    startup_seconds: NotRequired[int | None]
    """From the container's start until the engine must answer; by the size of the weights when left out."""
    deadline_seconds: NotRequired[int | None]
    """Until a rollout counts as failed; when left out, half an hour for node and image, then the start."""
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
    max_num_batched_tokens: NotRequired[int | None]
    """Tokens of one batch; the engine's default for the accelerator when left out."""
    kv_cache_dtype: NotRequired[str]
    """Number format of the KV cache; `auto` follows the checkpoint."""
    enable_expert_parallel: NotRequired[bool]
    """Divide experts as a whole among the accelerators, as some FP8 checkpoints need; off by default."""
    gpu_memory_utilization: NotRequired[float]
    """Share of an accelerator's memory the engine may use; 0.92 by default, as in vLLM 0.33."""


class ServerConfig(Model):
    """Validated `ModelServerArgs`."""

    model_name: DnsLabel = Field(examples=["qwen2-5-7b"])
    model_path: InputText
    weights_gib: float = Field(gt=0, examples=[5.2])
    startup_seconds: int | None = Field(None, ge=1, examples=[360])
    deadline_seconds: int | None = Field(None, ge=1, examples=[2160])
    namespace_name: InputText
    claim_name: InputText
    pool: NodePool
    accelerators: int = Field(1, ge=1, examples=[1])
    replicas: int = Field(1, ge=1, examples=[1])
    spare_accelerators: int = Field(0, ge=0)
    max_model_len: int = Field(ge=1, examples=[8192])
    max_num_seqs: int | None = Field(None, ge=1, examples=[256])
    max_num_batched_tokens: int | None = Field(None, ge=1, examples=[8192])
    kv_cache_dtype: str = Field("auto", min_length=1, examples=["auto"])
    enable_expert_parallel: bool = False
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

    def startup(self) -> int:
        """Seconds from the container's start until the engine must answer."""
        return self.startup_seconds or granted_seconds(self.weights_gib)

    def deadline(self) -> int:
        """Seconds until a rollout counts as failed."""
        return self.deadline_seconds or NODE_AND_IMAGE_SECONDS + self.startup()

    def shared_memory_mib(self) -> int:
        """MiB of /dev/shm."""
        return shared_memory_mib(self.accelerators)

    def memory_mib(self) -> int:
        """MiB of host memory, shared memory included."""
        return host_memory_mib(self.weights_gib, self.accelerators, self.shared_memory_mib())


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
