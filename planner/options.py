"""The inputs of a plan beside the model: the device, and the engine's options under the names of vLLM's flags."""

from dataclasses import dataclass

from planner.catalog.hardware import Accelerator
from planner.engine import NEWEST
from planner.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One accelerator as the engine sees it."""

    name: str
    memory_gib: float
    """Total memory as the driver reports it."""
    capability: tuple[int, int] | None = None
    """CUDA compute capability; None for other vendors and unknown cards."""
    multiprocessors: int
    nvlink: bool
    """Whether accelerators of a node talk over a link of their own (NVLink, xGMI and the like), not over PCIe."""
    accelerator: Accelerator | None = None
    """Its entry in the catalogue; None for a card known by its memory only."""

    @property
    def a100(self) -> bool:
        """vLLM gives A100 the smaller default batches whatever its memory."""
        return "a100" in self.name.lower()

    @property
    def large(self) -> bool:
        """A card of 70 GiB or more: the line vLLM draws for its default batches."""
        return self.memory_gib >= 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculative:
    """Speculative decoding: what proposes tokens, and how many."""

    method: str
    """`ngram`, `suffix`, `draft_model`, `eagle`, `eagle3`, `mtp` …"""
    tokens: int = 1
    draft: Model | None = None
    """The draft model; where a head of one layer proposes (eagle, mtp) it may be left out and is estimated from the model."""

    @property
    def has_weights(self) -> bool:
        """Whether a model proposes, not the text itself."""
        return self.method not in ("ngram", "ngram_gpu", "suffix")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """vLLM's options as far as memory depends on them; None means the version's default for the device."""

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    enable_expert_parallel: bool = False
    max_model_len: int | None = None
    """Tokens; the model's own limit when left out."""
    gpu_memory_utilization: float | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    kv_cache_dtype: str = "auto"
    kv_offloading_gib: float = 0
    """Host memory of one server for KV cache that the accelerators have no room for."""
    dtype: str = "auto"
    """Number format of computation."""
    enforce_eager: bool = False
    enable_prefix_caching: bool = True
    language_model_only: bool = False
    """Leaves vision and audio encoders out."""
    max_loras: int = 0
    """LoRA adapters in one batch; 0 without LoRA."""
    max_lora_rank: int = 16
    speculative: Speculative | None = None
    vllm_version: str = NEWEST

    @property
    def accelerators(self) -> int:
        """Accelerators of one server."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def expert_ranks(self) -> int:
        """Ranks among which routed experts are divided: expert parallelism spans the data-parallel ranks too."""
        return self.tensor_parallel_size * (self.data_parallel_size if self.enable_expert_parallel else 1)


def device(accelerator: Accelerator | None = None, memory_gib: float | None = None) -> Device:
    """A device from the catalogue, with another memory size if one is given, or one known by its memory only.

    Of an unknown card nothing but its memory is taken for granted: cards of 70 GiB and more have had NVLink and about 132
    multiprocessors, smaller ones PCIe and about 80.
    """
    if accelerator is None:
        memory = memory_gib if memory_gib is not None else 0.0
        large = memory >= 70
        return Device(name="unnamed", memory_gib=memory, multiprocessors=132 if large else 80, nvlink=large)
    return Device(
        name=accelerator.name,
        memory_gib=memory_gib if memory_gib is not None else accelerator.memory_gib,
        capability=accelerator.compute_capability,
        multiprocessors=accelerator.multiprocessors or 132,
        nvlink=accelerator.interconnect != "pcie",
        accelerator=accelerator,
    )
