"""What the planner knows of each vLLM version: defaults and how it accounts for memory (catalog/vllm.yaml)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from planner.catalog.files import load_yaml

NEWEST = "0.33.0"
"""The version whose accounting was read last; later ones are planned like it."""
OLDEST = (0, 6)
"""Before it engines accounted differently in ways that are not modelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NonTorch:
    """GiB a worker takes outside PyTorch after start-up (NCCL, kernels' workspaces), by how many ranks talk and over what."""

    one: float
    one_large: float
    """A single rank on a card of 70 GiB or more."""
    tensor_nvlink: float
    tensor_pcie: float
    pipeline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One version's accounting; the file states each value's source."""

    version: str
    gpu_memory_utilization: float
    """Default share of a device's memory."""
    profiles_whole_prompt: bool
    """V0: without chunked prefill a start profiles a prompt of the longest context."""
    mla: bool
    """Whether latent attention is cached compressed."""
    sampler_bytes_per_vocabulary_entry: float
    """Bytes the sampler needs for each entry of the vocabulary and each sequence of a full batch."""
    sampler_bytes_per_processor: float
    """Bytes for each entry of the vocabulary and each multiprocessor."""
    cuda_graphs_inside_budget: bool
    """Whether an estimate of CUDA graphs is taken from the budget; before, they had to fit outside of it."""
    expert_workspace_kept: bool
    """Whether the experts' working buffer stays allocated while the sampler runs."""
    tokens_from_concurrency: bool
    """Whether the printed cache size is concurrency times the longest context; before, blocks times their size by groups."""
    batches_in_flight: int
    """Batches whose tokens a sliding-window cache keeps although they left the window."""
    non_torch: NonTorch
    large_device_gib: float | None = None
    """Devices from this size on have larger default batches."""
    sources: Mapping[str, str]
    """Where each fact was read, by its name in the file."""

    def batch_defaults(self, memory_gib: float, a100: bool, max_model_len: int) -> tuple[int, int]:
        """Default `max_num_batched_tokens` and `max_num_seqs` of the API server on a device of that size."""
        if self.profiles_whole_prompt:
            return (max(max_model_len, 2048) if max_model_len <= 32768 else 2048), 256
        if self.large_device_gib and memory_gib >= self.large_device_gib:
            return 16384, 1024
        return (8192, 1024) if memory_gib >= 70 and not a100 else (2048, 256)


@cache
def engine(version: str = NEWEST) -> Engine:
    """The accounting of `version`, such as 0.19.0, v0.8.5.post1 or 0.10.x; text without digits means the newest."""
    wanted = release(version)
    facts: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for change in load_yaml(Path(__file__).parent / "catalog" / "vllm.yaml"):
        if _parts(change["since"]) <= wanted:
            facts |= change
            sources |= change["sources"]
    del facts["since"]
    non_torch = NonTorch(**facts.pop("non_torch_gib"))
    return Engine(**(facts | {"version": version, "non_torch": non_torch, "sources": MappingProxyType(sources)}))


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version; of the newest where it has none."""
    return _parts(version) or _parts(NEWEST)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(digits[:6]) for digits in re.findall(r"\d+", version)[:3])
