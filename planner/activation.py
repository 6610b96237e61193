"""What a worker needs beside weights and cache: the peak of a forward pass and of sampling, CUDA graphs, communication, adapters.

All in bytes. The formulas are read from vLLM's sources; constants were measured where a source says nothing, and stand beside the
version that they hold for (catalog/vllm.yaml).
"""

from collections.abc import Iterable

from planner.engine import Engine
from planner.model import Model, StoredLayer
from planner.options import Device, Options, Speculative

GIB = 1024**3

_HIDDEN_COPIES = 3.6
"""Vectors of the hidden size a token has at once: input, residual, normalized and attention output. Fits starts of CodeLlama-7B
and the pipeline stages of Llama-3.1-8B on 0.19 (3.6), and prompts of 20k and 29k tokens on V0 (2.9)."""
_LIBRARIES = 0.042 * GIB
"""cuBLAS workspace (32 MiB on Hopper) and small tensors: what 19 starts of 0.19 leave unexplained, 0.037 to 0.052 GiB."""
_UNPROFILED_MXFP4 = 2.5 * GIB
"""gpt-oss-20b takes this, divided by the tensor ranks, after the cache is sized: 0.95 of an H100 fails with one and two ranks and
works with four, 0.90 works with two."""


def activation_bytes(
    model: Model, engine: Engine, device: Device, options: Options, stage: range, *, batched_tokens: int, sequences: int
) -> float:
    """Peak of the profiling run of one rank: a forward pass of a full batch, or the sampler after it, whichever is more.

    `stage` are the rank's layers; only the last pipeline stage samples.
    """
    a = model.architecture
    number = model.dtype_bits / 8
    tensor = options.tensor_parallel_size
    hidden = batched_tokens * a.hidden_size * number
    layers = {id(stored): stored for stored in model.layers[stage.start : stage.stop]}.values()
    widest = max((stored.layer.wide for stored in layers), default=0)
    forward = batched_tokens * number * widest / tensor + _HIDDEN_COPIES * hidden
    if model.quantization.bits == 8 or model.quantization.method == "fp8":
        # Inputs of 8-bit products are quantized into copies of one byte.
        forward += batched_tokens * (widest / 3 / tensor + a.hidden_size)
    experts = _expert_workspace(model, layers, device, options, batched_tokens) * number
    if not engine.expert_workspace_kept:
        forward += experts
    sampling = 0.0
    if stage.stop == len(model.layers):
        # Logits are kept in the model's format beside their 32-bit copy.
        per_entry = engine.sampler_bytes_per_vocabulary_entry + (number - 2)
        rows = min(device.multiprocessors, sequences)
        sampling = hidden + a.vocabulary * (sequences * per_entry + rows * engine.sampler_bytes_per_processor)
    between_stages = 2 * hidden if options.pipeline_parallel_size > 1 else 0.0
    encoded = 2 * hidden if a.encoder and stage.start == 0 and not options.language_model_only else 0.0
    kept = experts if engine.expert_workspace_kept else 0.0
    return max(forward, sampling) + kept + between_stages + encoded + _LIBRARIES


def captured_sizes(sequences: int) -> int:
    """Batch sizes that get a CUDA graph of their own where a batch has at most `sequences` sequences."""
    largest = min(2 * sequences, 512)
    return sum(1 for size in (1, 2, 4, *range(8, 256, 8), *range(256, 513, 16)) if size <= largest)


def graph_bytes(model: Model, options: Options, sequences: int, stage: range) -> float:
    """CUDA graphs of one rank: a share for each captured batch size, more with more layers, and more with routed experts.

    Fits 28 measured captures of 0.19 on H100 (0.5 to 1.85 GiB) with a median error of 0.1 GiB; single starts differ by more.
    """
    if options.enforce_eager:
        return 0.0
    captured = captured_sizes(sequences)
    layers = model.layers[stage.start : stage.stop]
    routed = 0.4 if any(stored.layer.expert_width for stored in layers) else 0.0
    return (0.2 + (0.15 + 0.018 * len(layers) + routed) * captured / 51) * GIB


def non_torch_bytes(engine: Engine, device: Device, options: Options) -> float:
    """What a rank takes outside PyTorch between start and profiling: NCCL and kernels' workspaces."""
    facts = engine.non_torch
    if options.tensor_parallel_size > 1:
        return (facts.tensor_nvlink if device.nvlink else facts.tensor_pcie) * GIB
    if options.pipeline_parallel_size > 1:
        return facts.pipeline * GIB
    return (facts.one_large if device.large else facts.one) * GIB


def context_bytes(model: Model, device: Device, options: Options) -> float:
    """What the driver and communication take before the engine looks at free memory: outside the budget, but it must be free.

    Measured on H100 with 0.19: 0.51 GiB alone, 1.5 with several ranks, 2.0 with routed experts among them.
    """
    if options.accelerators == 1:
        return (0.51 if device.large else 0.35) * GIB
    routed = any(stored.layer.expert_width for stored in model.layers)
    if not device.nvlink:
        return 0.7 * GIB
    return (2.0 if routed else 1.53) * GIB


def unprofiled_bytes(model: Model, options: Options) -> float:
    """What is allocated only after the cache was sized."""
    return _UNPROFILED_MXFP4 / options.tensor_parallel_size if model.quantization.method == "mxfp4" else 0.0


def lora_bytes(model: Model, options: Options, stage: range) -> float:
    """Slots for adapters: for every projection a matrix down to the rank, whole on each rank, and one up from it, divided.

    Source: vLLM `vllm/lora/layers` (`create_lora_weights`); 16 bit, `max_loras` slots of `max_lora_rank`.
    """
    if not options.max_loras:
        return 0.0
    numbers = 0.0
    for stored in model.layers[stage.start : stage.stop]:
        for weight in stored.layer.weights:
            if weight.linear:
                share = weight.share(options.tensor_parallel_size, options.expert_ranks)
                copies = max(weight.count * share, 1) if weight.count > 1 else 1
                numbers += copies * (weight.columns + weight.rows * (1 if weight.count > 1 else share))
    if stage.stop == len(model.layers):
        numbers += model.architecture.hidden_size + model.architecture.vocabulary
    return numbers * options.max_loras * options.max_lora_rank * 2


def adapter_bytes(model: Model, rank: int) -> float:
    """Files of one adapter of that rank for every projection, 16 bit: the most an adapter can be."""
    return lora_bytes(model, Options(max_loras=1, max_lora_rank=rank), range(len(model.layers)))


def draft_bytes(model: Model, speculative: Speculative | None, tensor: int) -> float:
    """Weights of what proposes tokens. A head that is not given is taken to be one layer of the model and a projection."""
    if speculative is None or not speculative.has_weights:
        return 0.0
    if speculative.draft is not None:
        draft = speculative.draft
        return draft.rank_bytes(range(len(draft.layers)), tensor, tensor, encoder=False)
    projection = 2 * model.architecture.hidden_size**2 * model.dtype_bits / 8
    return model.layers[-1].rank_bytes(tensor, tensor) + projection


def _expert_workspace(model: Model, layers: Iterable[StoredLayer], device: Device, options: Options, tokens: int) -> float:
    """Numbers in the two buffers experts work in: activated and raw results for every token and expert it visits.

    Source: vLLM 0.19 `fused_moe.py`, `TritonExperts.workspace_shapes`. On Hopper and later MXFP4 experts run in kernels without
    them.
    """
    if model.quantization.method == "mxfp4" and (device.capability or (9, 0)) >= (9, 0) and device.large:
        return 0.0
    divided = 1 if options.enable_expert_parallel else options.tensor_parallel_size
    most = 0.0
    for stored in layers:
        layer = stored.layer
        if layer.expert_width:
            width = layer.expert_width / divided
            raw = 2 * width if layer.gated else width
            most = max(most, tokens * layer.experts_per_token * (max(width, layer.expert_hidden) + max(raw, layer.expert_hidden)))
    return most
