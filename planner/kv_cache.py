"""How many tokens a KV cache holds: pages, groups and blocks as vLLM lays them out.

Source: vLLM 0.33 `vllm/v1/kv_cache_interface.py` (bytes of a page, blocks of a request) and `vllm/v1/core/kv_cache_planning.py`
(`get_kv_cache_groups`: layers that cache alike share a block table; others form groups of one size with pages of one size).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from planner.architecture import AttentionCache, Cache, LatentCache, StateCache

BLOCK_TOKENS = 16
"""Tokens of a block, vLLM's default."""

_BITS = {"float16": 16, "bfloat16": 16, "float32": 32, "nvfp4": 4.5, "nvfp4_4over6": 4.5, "fp8": 8, "int8": 8, "int4": 4}
CACHE_DTYPES = (
    *("auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla", "fp8_inc", "fp8_per_token_head"),
    *("int8_per_token_head", "int4_per_token_head", "nvfp4", "nvfp4_4over6", "nvfp4_ds_mla", "ultraquant_4bit"),
    *("turboquant_k8v4", "turboquant_4bit_nc", "turboquant_k3v4_nc", "turboquant_3bit_nc"),
    *("octave_k3v4", "octave_k3v3", "octave_k3v3_compact"),
)
"""Values of `--kv-cache-dtype` (vLLM 0.33 `vllm/config/cache.py`)."""

_SPARSE_FP8_BYTES = 656
"""A token of sparse MLA in 8 bit: 512 values, 16 bytes of scales, 64 rotary values in 16 bit (`fp8_ds_mla`)."""


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that share a block table."""

    block_tokens: int
    window: int | None = None
    chunk: int | None = None
    state_pages: int = 0
    """Pages of a request where the cache is a state of one size; 0 for keys and values."""

    def blocks(self, length: int, in_flight: int) -> int:
        """Blocks a request of `length` tokens holds at most."""
        if self.state_pages:
            return self.state_pages
        if self.window is not None:
            # One more: a window need not begin where a block does.
            return ceil(min(self.window - 1 + in_flight, length) / self.block_tokens) + 1
        if self.chunk is not None:
            return ceil(min(self.chunk + in_flight, length) / self.block_tokens)
        return ceil(length / self.block_tokens)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What fits into a cache."""

    blocks: int
    tokens: int
    concurrency: float
    """Requests of the longest context at once."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one rank's cache is divided."""

    groups: tuple[Group, ...]
    block_bytes: float
    """Bytes of one block of the pool, over the layers that share it."""
    in_flight: int
    """Tokens scheduled and not settled, which a window keeps although they left it."""

    def request_blocks(self, length: int) -> int:
        """Blocks one request of `length` tokens needs."""
        return sum(group.blocks(length, self.in_flight) for group in self.groups)

    def request_bytes(self, length: int) -> float:
        """Bytes one request of `length` tokens needs."""
        return self.request_blocks(length) * self.block_bytes

    def capacity(self, size: float, length: int, *, tokens_from_concurrency: bool) -> Capacity:
        """What a cache of `size` bytes holds when the longest context is `length` tokens."""
        blocks = max(int(size // self.block_bytes), 0) if self.groups else 0
        if not blocks:
            return Capacity(0, 0, 0.0)
        concurrency = blocks / self.request_blocks(length)
        if tokens_from_concurrency:
            return Capacity(blocks, int(concurrency * length), concurrency)
        return Capacity(blocks, blocks // len(self.groups) * min(group.block_tokens for group in self.groups), concurrency)

    def longest(self, size: float, limit: int) -> int:
        """The longest context in tokens, up to `limit`, of which one request fits into `size` bytes; 0 when none does."""
        if not self.groups:
            return limit
        low, high = 0, limit
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.request_bytes(middle) <= size else (low, middle - 1)
        return low


def number_bits(dtype: str, model_bits: int, checkpoint: str | None = None) -> float:
    """Bits of a cached number for `--kv-cache-dtype`; `auto` is what the checkpoint asks for, else the model's own format."""
    name = (checkpoint or "auto") if dtype == "auto" else dtype.lower()
    if name == "auto":
        return model_bits
    for known, bits in sorted(_BITS.items(), key=lambda item: -len(item[0])):
        if name.startswith(known):
            # Scales of formats that keep one for each token and head.
            return bits + (0.5 if "per_token" in name else 0)
    return 8 if name.startswith(("turboquant", "octave", "ultraquant")) else model_bits


def layout(
    caches: Sequence[Cache], tensor: int, bits: float, in_flight: int, *, mla: bool = True, prefix_caching: bool = True
) -> Layout:
    """How a rank that holds layers with these caches divides its memory; `bits` are the bits of a cached number."""
    attention = [_attention(cache, mla) for cache in caches if not isinstance(cache, StateCache)]
    states = [cache.bytes(tensor) for cache in caches if isinstance(cache, StateCache)]
    if not attention and not states:
        return Layout((), 0.0, in_flight)
    tokens = [_token_bytes(cache, tensor, bits) for cache in attention]
    kinds = [(cache.window, cache.chunk) if isinstance(cache, AttentionCache) else (None, None) for cache in attention]
    if not states and len(set(kinds)) == 1:
        window, chunk = kinds[0]
        return Layout((Group(BLOCK_TOKENS, window, chunk),), BLOCK_TOKENS * sum(tokens), in_flight)
    if not attention:
        return Layout((Group(BLOCK_TOKENS, state_pages=1),), float(sum(states)), in_flight)
    widest = max(tokens)
    block = BLOCK_TOKENS * (ceil(max(states) / (widest * BLOCK_TOKENS)) if states else 1)
    page = block * widest
    # Narrow layers get longer blocks so that all pages are of one size; what does not divide is padded.
    buckets: dict[Group, int] = {}
    for (window, chunk), size in zip(kinds, tokens, strict=True):
        group = Group(block * max(int(widest // size), 1), window, chunk)
        buckets[group] = buckets.get(group, 0) + 1
    if states:
        # With prefix caching a request holds the state it reuses beside the one it writes.
        buckets[Group(block, state_pages=2 if prefix_caching else 1)] = len(states)
    smallest, largest = min(buckets.values()), max(buckets.values())
    layers = largest if largest < 1.5 * smallest else smallest
    groups = tuple(group for group, count in buckets.items() for _ in range(ceil(count / layers)))
    return Layout(groups, page * layers, in_flight)


def _attention(cache: AttentionCache | LatentCache, mla: bool) -> AttentionCache | LatentCache:
    if isinstance(cache, LatentCache) and not mla and cache.uncompressed:
        return AttentionCache(*cache.uncompressed)
    return cache


def _token_bytes(cache: AttentionCache | LatentCache, tensor: int, bits: float) -> float:
    if isinstance(cache, AttentionCache):
        return cache.numbers_per_token(tensor) * bits / 8
    stored = (cache.latent_dim + cache.rope_dim) * bits / 8
    if cache.index_dim:
        stored = (_SPARSE_FP8_BYTES if bits <= 8 else stored) + cache.index_dim + 4
    return stored / cache.compression
