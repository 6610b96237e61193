"""What a server needs of its node beside accelerators."""

from dataclasses import dataclass
from math import ceil

_SHARD_GIB = 5
"""Size of a file of a checkpoint at most, as huggingface_hub saves it by default; the eager strategy holds one for each
worker."""


VM_OVERHEAD = 0.075
"""Part of an instance's advertised memory that its operating system does not see: Karpenter's default vmMemoryOverheadPercent."""
MAX_PODS = 110
RESERVED_MIB = 255 + 11 * MAX_PODS + 100
"""What EKS keeps for kubelet and container runtime, by pods, and the kubelet's eviction threshold (awslabs/amazon-eks-ami,
nodeadm)."""
_HELPERS_MIB = 1344
"""Room for what runs beside a server now and then: a download into the node's cache, the check of a rollout, the pre-pull."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A node's own resources."""

    cpus: int
    memory_mib: int

    @property
    def room_mib(self) -> int:
        """MiB of memory that servers can have."""
        return max(int(self.memory_mib * (1 - VM_OVERHEAD)) - RESERVED_MIB - _HELPERS_MIB, 0)

    def servers(self, weights_gib: float, accelerators: int, offloaded_gib: float = 0, load_strategy: str = "lazy") -> int:
        """Servers with that many accelerators and weights that the node has CPUs and memory for, one CPU left to its own."""
        memory = _memory_mib(weights_gib, accelerators, offloaded_gib, load_strategy)
        return min(self.room_mib // memory, (self.cpus - 1) // cpus(accelerators))

    def shortage(self, weights_gib: float, accelerators: int, offloaded_gib: float = 0, load_strategy: str = "lazy") -> str:
        """What a server asks for and what the node has, in words."""
        memory = _memory_mib(weights_gib, accelerators, offloaded_gib, load_strategy)
        return (
            f"a server asks for {cpus(accelerators)} CPUs and {memory:,} MiB of memory, and a node of {self.cpus} CPUs and "
            f"{self.memory_mib:,} MiB has {self.cpus - 1} and {self.room_mib:,} to give"
        )


def _memory_mib(weights_gib: float, accelerators: int, offloaded_gib: float, load_strategy: str) -> int:
    return host_memory_mib(weights_gib, accelerators, shared_memory_mib(accelerators), load_strategy, offloaded_gib)


def shared_memory_mib(accelerators: int) -> int:
    """MiB of /dev/shm: 2 GiB for one accelerator, as in vLLM's examples, else 8 GiB each for NCCL and the workers' queues.

    The 64 MiB of a container make tensor parallelism fail (vllm-project/vllm#1710).
    """
    return 2048 if accelerators == 1 else 8192 * accelerators


def host_memory_mib(
    weights_gib_on_node: float, accelerators: int, shared_mib: int, load_strategy: str = "lazy", offloaded_gib: float = 0
) -> int:
    """MiB of host memory: the weights once, as they pass through to the accelerators, 4 GiB for the engine, and shared memory.

    Shared memory is a volume in memory, so it counts against the pod's limit. `eager` holds one file of the checkpoint (5 GiB)
    for each worker, which may be more than the weights: those are only cached, and the kernel gives caches back for it.
    `offloaded_gib` is KV cache kept in host memory. Raises ValueError for an unknown strategy.
    """
    if load_strategy not in ("lazy", "prefetch", "eager"):
        raise ValueError(f"load strategy {load_strategy!r} is unknown; use lazy, prefetch or eager")
    files_gib = min(_SHARD_GIB, weights_gib_on_node) * accelerators if load_strategy == "eager" else 0
    return ceil((max(weights_gib_on_node, files_gib) + offloaded_gib) * 1024) + 4096 + shared_mib


def cpus(accelerators: int) -> int:
    """CPUs to request: one for the API server, one for the engine's scheduler, one for each accelerator's worker.

    Those are vLLM's processes (vLLM documentation, "Architecture Overview"); each keeps one CPU busy. A limit is not set:
    compiling at the start uses what is free.
    """
    return 2 + accelerators
