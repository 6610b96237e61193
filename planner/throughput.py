"""How many tokens per second a server makes, as a range: a roofline model with the losses that published runs show.

A decode step of a rank takes `max(bytes / (bandwidth x e), FLOPs / (peak x f)) + layers x launch + all-reduces`:

- bytes: the weights a step reads (of routed experts those that a batch is expected to visit, `E x (1 - (1 - k/E)^tokens)` of
  `E` with `k` a token) and the cache of every sequence at the mean context;
- FLOPs: two for each weight a token passes and the products with its cache;
- all-reduces: two a layer between tensor-parallel ranks.

The roofline is that of Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model for Multicore
Architectures" (CACM 2009). The losses are a range, so the result is one; it says what to expect of hardware, not what a
benchmark will print. Checked against published runs of vLLM (tests/unit/planner/test_throughput.py). Not modelled: speculative
decoding, links between nodes, skewed experts, prefill that interrupts decoding.
"""

from dataclasses import dataclass
from typing import Literal

from planner.architecture import AttentionCache, Cache, LatentCache, Shard, StateCache
from planner.derived import Derived
from planner.kv_cache import number_bits
from planner.model import Model, StoredLayer
from planner.options import Device, Options

MEMORY_EFFICIENCY = (0.5, 0.9)
"""Part of the peak memory bandwidth a decode step reaches."""
COMPUTE_EFFICIENCY = (0.35, 0.7)
"""Part of the dense peak the matrix products reach."""
LAUNCH_SECONDS = (100e-6, 10e-6)
"""What a layer costs beside its bytes: launches, small kernels, routing of experts."""
REDUCE_SECONDS = (10e-6, 5e-6)
"""An all-reduce of few bytes over NVLink and the like; over PCIe three times as much."""
SMALL_REDUCE_GB_PER_S = (50.0, 65.0)
"""Bus bandwidth of all-reduces up to 1 MiB over NVLink and the like."""
LINK_EFFICIENCY = (0.4, 0.8)
"""Part of one direction of the link that larger all-reduces reach."""

PROMPT_CHUNK = 8192
"""Tokens of a prefill step unless `max_num_batched_tokens` says otherwise: vLLM's default on cards of 70 GiB and more."""

_PCIE_PENALTY = 3
_SMALL = 1 << 20

EFFICIENCY_SOURCE = (
    'decoding: Llama-3.1-8B at 75 tokens/s alone on an A100 of 40 GB ("vLLM throughput-latency sweep on NVIDIA A100"), '
    "Qwen3-1.7B at 4.6 ms and Qwen3-30B-A3B at 9.6 ms a token on an A100 of 80 GB (tenstorrent/tt-inference-server#340), "
    "Llama 70B on four A100 (vllm-project/vllm#2192); part of peak compute, PCIe and links beyond 1 MiB: assumed"
)
REDUCE_SOURCE = "sgl-project/sglang#2904: all-reduces of 512 B to 1 MiB on 2, 4 and 8 H100, vLLM's kernel and a faster one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Tokens per second of one server (all its ranks together), from the pessimistic to the optimistic end of every loss."""

    decode_tokens_per_s_low: float
    decode_tokens_per_s_high: float
    prefill_tokens_per_s_low: float
    prefill_tokens_per_s_high: float
    batch: int
    """Sequences that are decoded at once."""
    mean_context: int
    """Tokens of a sequence that are in the cache, on average."""
    bound: Literal["memory", "compute"]
    """What a decode step waits for."""
    derived: tuple[Derived, ...]


@dataclass(frozen=True, slots=True)
class _Work:
    """What a rank does in a step."""

    bytes_read: float
    flops: float
    layers: int
    reduce_bytes: float
    """Bytes of one all-reduce."""

    def seconds(self, device: "_Rates", tensor: int, end: int) -> float:
        memory, compute = self.bounds(device, end)
        reduce = 2 * self.layers * device.reduce_seconds(self.reduce_bytes, tensor, end)
        return max(memory, compute) + self.layers * LAUNCH_SECONDS[end] + reduce

    def bounds(self, device: "_Rates", end: int) -> tuple[float, float]:
        return (
            self.bytes_read / (device.bytes_per_s * MEMORY_EFFICIENCY[end]),
            self.flops / (device.flops_per_s * COMPUTE_EFFICIENCY[end]),
        )


@dataclass(frozen=True, slots=True)
class _Rates:
    bytes_per_s: float
    flops_per_s: float
    pcie: bool
    link_bytes_per_s: float
    """One direction of the link between accelerators."""

    def reduce_seconds(self, size: float, tensor: int, end: int) -> float:
        if tensor == 1:
            return 0.0
        moved = 2 * (tensor - 1) / tensor
        start = REDUCE_SECONDS[end] * (_PCIE_PENALTY if self.pcie else 1)
        small_rate = SMALL_REDUCE_GB_PER_S[end] * 1e9
        large_rate = self.link_bytes_per_s * LINK_EFFICIENCY[end]
        if self.pcie:
            small_rate = min(small_rate, large_rate)
        small = start + moved * min(size, _SMALL) / small_rate
        # A larger message is never faster than a small one.
        return small if size <= _SMALL else max(small, start + moved * size / large_rate)


def throughput(model: Model, device: Device, options: Options, *, batch: int, mean_context: int) -> Throughput | None:
    """What one server of `model` on accelerators like `device` makes of `batch` sequences with `mean_context` tokens in the
    cache each.

    `batch` is for the whole server: data-parallel ranks and pipeline stages share it. None where the catalogue states no
    bandwidth or no TFLOPS for the card. Raises ValueError for a batch or context below 1.
    """
    if batch < 1 or mean_context < 1:
        raise ValueError(f"a batch of {batch} with {mean_context} tokens of context makes no tokens; use 1 or more of both")
    rates = _rates(model, device)
    if rates is None:
        return None
    tensor, stages, replicas = options.tensor_parallel_size, options.pipeline_parallel_size, options.data_parallel_size
    # Sequences of one data-parallel rank, and those of them that are in one stage at a time.
    share = batch / replicas
    flight = max(share / stages, 1.0)
    steps = [_work(model, options, stage, flight, mean_context, decode=True) for stage in model.stages(stages)]
    decode = []
    for end in (0, 1):
        slowest = max(step.seconds(rates, tensor, end) for step in steps)
        # A round over all stages gives each sequence of the rank one token.
        decode.append(replicas * share / (slowest * stages))
    chunk = options.max_num_batched_tokens or PROMPT_CHUNK
    chunks = [_work(model, options, stage, chunk, mean_context, decode=False) for stage in model.stages(stages)]
    prefill = [replicas * chunk / max(step.seconds(rates, tensor, end) for step in chunks) for end in (0, 1)]
    worst = max(steps, key=lambda step: step.seconds(rates, tensor, 0))
    memory, compute = worst.bounds(rates, 0)
    return Throughput(
        decode_tokens_per_s_low=decode[0],
        decode_tokens_per_s_high=decode[1],
        prefill_tokens_per_s_low=prefill[0],
        prefill_tokens_per_s_high=prefill[1],
        batch=batch,
        mean_context=mean_context,
        bound="memory" if memory >= compute else "compute",
        derived=_derived(device, rates, worst, tensor, decode, prefill, batch, chunk),
    )


def _rates(model: Model, device: Device) -> _Rates | None:
    card = device.accelerator
    if card is None or not card.memory_bandwidth_gb_per_s or not card.bf16_tflops:
        return None
    # Only formats that are multiplied as they are stored run at the rate of 8 bit; others are widened first.
    narrow = model.quantization.number_format in ("fp8", "int8", "mxfp8", "nvfp4")
    tflops = max(card.fp8_tflops or 0.0, card.bf16_tflops) if narrow else card.bf16_tflops
    pcie = not device.nvlink
    link = card.interconnect_gb_per_s or (32.0 if pcie else 300.0)
    return _Rates(card.memory_bandwidth_gb_per_s * 1e9, tflops * 1e12, pcie, link / 2 * 1e9)


def _work(model: Model, options: Options, stage: range, tokens: float, context: int, *, decode: bool) -> _Work:
    """What a rank of `stage` does with `tokens` tokens: one of each sequence when decoding, else those of one prompt."""
    a = model.architecture
    tensor = options.tensor_parallel_size
    number = model.dtype_bits / 8
    cache_bits = number_bits(options.kv_cache_dtype, model.dtype_bits, model.quantization.kv_cache)
    # With expert parallelism the tokens of all data-parallel ranks meet at the experts.
    pooled = tokens * (options.data_parallel_size if options.enable_expert_parallel else 1)
    bytes_read = flops = 0.0
    per_layer: dict[int, tuple[float, float]] = {}
    for stored in model.layers[stage.start : stage.stop]:
        key = id(stored)
        if key not in per_layer:
            weights, products = _layer_weights(stored, tensor, options.expert_ranks, tokens, pooled)
            cache = stored.layer.cache
            # A chunk of a prompt reads the cache once for all its tokens.
            cached = _cache_bytes(cache, tensor, cache_bits, context) * (tokens if decode else 1) if cache else 0.0
            attended = _attended(cache, context) if cache else 0
            products += tokens * 2 * _attention_numbers(cache, a.heads, tensor) * attended if cache else 0.0
            per_layer[key] = (weights + cached, products)
        read, products = per_layer[key]
        bytes_read += read
        flops += products
    if stage.stop == len(model.layers):
        head = a.embedding if a.tied else a.head
        numbers = sum(weight.elements * weight.share(tensor, options.expert_ranks) for weight in head)
        bytes_read += numbers * number
        # Of a prompt only the last token has logits.
        flops += 2 * numbers * (tokens if decode else 1)
    return _Work(bytes_read, flops, len(stage), tokens * a.hidden_size * number)


def _layer_weights(stored: StoredLayer, tensor: int, ranks: int, tokens: float, pooled: float) -> tuple[float, float]:
    """Bytes of one layer's weights that a step reads on a rank, and the FLOPs of its products."""
    layer = stored.layer
    experts = max((weight.count for weight in layer.weights if weight.shard is Shard.EXPERT), default=0)
    chosen = min(layer.experts_per_token or experts, experts)
    visited = 1 - (1 - chosen / experts) ** pooled if experts else 1.0
    whole = stored.rank_bytes(tensor, ranks)
    routed = stored.expert / ranks
    flops = 0.0
    for weight in layer.weights:
        numbers = weight.elements * weight.share(tensor, ranks)
        if weight.shard is Shard.EXPERT:
            flops += 2 * numbers * (chosen / experts) * pooled
        elif weight.linear:
            flops += 2 * numbers * tokens
    return whole - routed * (1 - visited), flops


def _attended(cache: Cache, context: int) -> int:
    """Tokens a new token looks at."""
    if isinstance(cache, AttentionCache):
        return min(context, cache.window or context, cache.chunk or context)
    if isinstance(cache, LatentCache):
        return max(context // cache.compression, 1)
    return 1


def _cache_bytes(cache: Cache, tensor: int, bits: float, context: int) -> float:
    """Bytes of one sequence's cache that a step reads on a rank; a recurrent state is read and written."""
    if isinstance(cache, StateCache):
        return 2.0 * cache.bytes(tensor)
    if isinstance(cache, AttentionCache):
        return cache.numbers_per_token(tensor) * bits / 8 * _attended(cache, context)
    return ((cache.latent_dim + cache.rope_dim) * bits / 8 + (cache.index_dim + 4 if cache.index_dim else 0)) * _attended(
        cache, context
    )


def _attention_numbers(cache: Cache, heads: int, tensor: int) -> float:
    """Numbers of the cache one token is multiplied with on a rank, by each token it looks at."""
    if isinstance(cache, StateCache):
        return cache.bytes(tensor) / 2
    if isinstance(cache, AttentionCache):
        return heads / tensor * (cache.key_dim + cache.value_dim)
    return heads / tensor * (2 * cache.latent_dim + cache.rope_dim)


def _derived(
    device: Device, rates: _Rates, worst: _Work, tensor: int, decode: list[float], prefill: list[float], batch: int, chunk: int
) -> tuple[Derived, ...]:
    card = device.accelerator.source if device.accelerator else ""
    reduce = [2 * worst.layers * rates.reduce_seconds(worst.reduce_bytes, tensor, end) * 1e3 for end in (0, 1)]
    rows = (
        ("bandwidth", rates.bytes_per_s / 1e9, "GB/s", "data sheet", card),
        ("peak compute", rates.flops_per_s / 1e12, "TFLOPS", "dense, in the weights' format", card),
        (
            "bytes of a step",
            worst.bytes_read / 1e9,
            "GB",
            "weights visited + cache at the mean context, worst stage",
            "architecture",
        ),
        ("FLOPs of a step", worst.flops / 1e12, "TFLOP", "2 x weights passed + attention, worst stage", "architecture"),
        (
            "all-reduces, low",
            reduce[0],
            "ms",
            f"2 x {worst.layers} x (start + 2(n-1)/n x bytes / bus), n = {tensor}",
            REDUCE_SOURCE,
        ),
        (
            "all-reduces, high",
            reduce[1],
            "ms",
            f"2 x {worst.layers} x (start + 2(n-1)/n x bytes / bus), n = {tensor}",
            REDUCE_SOURCE,
        ),
        (
            "decode, low",
            decode[0],
            "tokens/s",
            f"{batch} / step at {MEMORY_EFFICIENCY[0]} and {COMPUTE_EFFICIENCY[0]}",
            EFFICIENCY_SOURCE,
        ),
        (
            "decode, high",
            decode[1],
            "tokens/s",
            f"{batch} / step at {MEMORY_EFFICIENCY[1]} and {COMPUTE_EFFICIENCY[1]}",
            EFFICIENCY_SOURCE,
        ),
        (
            "prefill, low",
            prefill[0],
            "tokens/s",
            f"{chunk} tokens / step at {COMPUTE_EFFICIENCY[0]} of peak",
            EFFICIENCY_SOURCE,
        ),
        (
            "prefill, high",
            prefill[1],
            "tokens/s",
            f"{chunk} tokens / step at {COMPUTE_EFFICIENCY[1]} of peak",
            EFFICIENCY_SOURCE,
        ),
    )
    return tuple(
        Derived(name=name, value=value, unit=unit, formula=formula, source=source) for name, value, unit, formula, source in rows
    )
