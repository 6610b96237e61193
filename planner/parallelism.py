"""Which tensor, pipeline and expert parallelism a model allows, by the checks vLLM's start makes.

Source: vLLM 0.33 `vllm/config/model.py` (`verify_with_parallel_config`), `quantization/utils/fp8_utils.py`
(`validate_fp8_block_shape`), `quantization/utils/marlin_utils.py` (groups), `model_executor/layers/linear.py` (key-value heads).
"""

from dataclasses import replace

from planner.architecture import AttentionCache, StateCache
from planner.model import Model
from planner.options import Options


def tensor_sizes(model: Model, limit: int) -> tuple[int, ...]:
    """Tensor-parallel sizes up to `limit` that the model allows."""
    return tuple(size for size in range(1, limit + 1) if tensor_fault(model, size) is None)


def tensor_fault(model: Model, size: int) -> str | None:
    """Why the model cannot be divided among `size` tensor-parallel ranks, and sizes that work; None when it can."""
    reason = _tensor_reason(model, size)
    if reason is None:
        return None
    valid = [other for other in range(1, 65) if _tensor_reason(model, other) is None]
    return f"tensor parallelism {size} {reason}; use {_listed(valid)}"


def expert_parallel_needed(model: Model, size: int) -> bool:
    """Whether experts must be divided as a whole because `size` cuts their width inside the checkpoint's blocks or groups."""
    widths = {stored.layer.expert_width for stored in model.layers if stored.layer.expert_width}
    block = model.quantization.block
    return size > 1 and block is not None and any(width % (size * block) for width in widths)


def with_tensor_size(model: Model, options: Options, size: int) -> Options:
    """`options` with that tensor-parallel size, and expert parallelism where the model cannot do without."""
    experts = options.enable_expert_parallel or expert_parallel_needed(model, size)
    return replace(options, tensor_parallel_size=size, enable_expert_parallel=experts)


def fault(model: Model, options: Options) -> str | None:
    """The first reason why vLLM would refuse these parallel sizes for this model, with values that work."""
    for name, size in (
        ("tensor", options.tensor_parallel_size),
        ("pipeline", options.pipeline_parallel_size),
        ("data", options.data_parallel_size),
    ):
        if size < 1:
            return f"{name} parallelism {size} is not possible; use 1 or more"
    if problem := tensor_fault(model, options.tensor_parallel_size):
        return problem
    layers = len(model.layers)
    if options.pipeline_parallel_size > layers:
        return f"pipeline parallelism {options.pipeline_parallel_size} is more than the {layers} layers; use {layers} or less"
    if not options.enable_expert_parallel and expert_parallel_needed(model, options.tensor_parallel_size):
        width = max(stored.layer.expert_width for stored in model.layers)
        return (
            f"tensor parallelism {options.tensor_parallel_size} cuts experts of width {width} into parts that are no multiple of "
            f"{model.quantization.block}, the block of this checkpoint; enable expert parallelism or use a smaller size"
        )
    return None


def _tensor_reason(model: Model, size: int) -> str | None:
    a = model.architecture
    if size < 1:
        return "is not possible"
    if a.heads % size:
        return f"does not divide the {a.heads} attention heads"
    for layer in a.layers:
        cache = layer.cache
        if isinstance(cache, AttentionCache) and cache.kv_heads % size and size % cache.kv_heads:
            return f"neither divides the {cache.kv_heads} key-value heads nor is a multiple of them"
        if isinstance(cache, StateCache) and any(len(shape) == 3 and shape[0] % size for shape, _ in cache.tensors):
            return "does not divide the heads of the recurrent layers"
    block = model.quantization.block
    if block is not None and size > 1:
        for stored in model.layers:
            for weight in stored.layer.weights:
                if weight.name == "mlp.down_proj" and weight.columns % (size * block):
                    return f"cuts the width {weight.columns} into parts that are no multiple of {block}, this checkpoint's block"
    return None


def _listed(values: list[int]) -> str:
    return " or ".join([", ".join(map(str, values[:-1])), str(values[-1])] if len(values) > 1 else [str(v) for v in values])
