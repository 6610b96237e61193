"""Whether a model fits on a device, term by term, as vLLM's start decides it.

`available = total x utilisation - weights - non-torch - activation (- CUDA graphs)`, for every pipeline stage; the stage with the
least room decides. Source: vLLM 0.33 `vllm/v1/worker/gpu_worker.py` (`determine_available_memory`) and
`vllm/v1/core/kv_cache_planning.py`.
"""

from dataclasses import dataclass

from planner.activation import (
    GIB,
    activation_bytes,
    context_bytes,
    draft_bytes,
    graph_bytes,
    lora_bytes,
    non_torch_bytes,
    unprofiled_bytes,
)
from planner.architecture import Cache
from planner.engine import Engine, engine
from planner.kv_cache import Capacity, layout, number_bits
from planner.model import Model
from planner.options import Device, Options

_LONGEST = 10_485_760
"""Tokens up to which a longest context is looked for when the model states no limit: more than any model has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Memory of one accelerator in GiB, on the pipeline stage that has the least room for the cache."""

    total_gib: float
    budget_gib: float
    """What the engine may use: total times utilisation."""
    weights_gib: float
    """Weights, with adapters' slots and a draft model."""
    non_torch_gib: float
    activation_gib: float
    cuda_graph_gib: float
    cuda_graphs_inside_budget: bool
    kv_cache_gib: float
    """What is left for the cache; negative when the rest does not fit."""
    context_gib: float
    """The driver's share, outside the budget."""
    unprofiled_gib: float
    """Allocated after the cache was sized, outside the budget."""

    @property
    def outside_gib(self) -> float:
        """What stays free outside the budget once everything runs."""
        graphs = 0.0 if self.cuda_graphs_inside_budget else self.cuda_graph_gib
        return self.total_gib - self.budget_gib - self.context_gib - graphs - self.unprofiled_gib


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Whether a model starts with these options on this device, and what it can then hold."""

    fits: bool
    reason: str | None
    """Why not, with the inequality in numbers."""
    terms: Terms
    kv_cache_tokens: int
    max_concurrency: float
    """Requests of the longest context at once, for one server (all its data-parallel ranks have as many each)."""
    max_model_len: int
    """The longest context that was planned, in tokens."""
    max_model_len_that_fits: int
    """The longest context of which one request fits, in tokens; 0 when none does."""
    request_gib: float
    """Cache that one request of the longest context needs."""
    max_num_seqs: int
    max_num_batched_tokens: int
    gpu_memory_utilization: float


@dataclass(frozen=True, slots=True)
class _Stage:
    """One pipeline stage: its memory, and what its cache holds."""

    terms: Terms
    capacity: Capacity
    longest: int
    request_gib: float
    caches: bool
    """Whether any of its layers has a cache."""


def fit(model: Model, device: Device, options: Options) -> Fit:
    """Plan one server of `model` on accelerators like `device`. The options must suit the model; see `planner.parallelism`."""
    facts = engine(options.vllm_version)
    limit = model.architecture.max_positions or _LONGEST
    length = options.max_model_len or (model.architecture.max_positions or 8192)
    utilization = options.gpu_memory_utilization or facts.gpu_memory_utilization
    tokens, sequences = facts.batch_defaults(device.memory_gib, device.a100, length)
    batched = options.max_num_batched_tokens or tokens
    # A batch below the number of sequences in it is refused by the engine, so its default follows.
    sequences = options.max_num_seqs or min(sequences, batched)
    budget = device.memory_gib * utilization
    bits = number_bits(options.kv_cache_dtype, model.dtype_bits, model.quantization.kv_cache)
    flights = facts.batches_in_flight + options.pipeline_parallel_size - 1

    stages = []
    for stage in model.stages(options.pipeline_parallel_size):
        terms = _terms(model, facts, device, options, stage, budget, batched, sequences)
        caches = [cache for stored in model.layers[stage.start : stage.stop] if (cache := stored.layer.cache)]
        if options.speculative is not None and stage.stop == len(model.layers):
            caches += _draft_caches(model, options)
        division = layout(
            caches,
            options.tensor_parallel_size,
            bits,
            flights * batched,
            mla=facts.mla,
            prefix_caching=options.enable_prefix_caching,
        )
        capacity = division.capacity(terms.kv_cache_gib * GIB, length, tokens_from_concurrency=facts.tokens_from_concurrency)
        longest = division.longest(max(terms.kv_cache_gib, 0) * GIB, max(limit, length))
        stages.append(_Stage(terms, capacity, longest, division.request_bytes(length) / GIB, bool(caches)))
    # Every stage gets as many blocks as the one with the fewest; a stage without any cache needs none.
    stages.sort(key=lambda stage: (not stage.caches, stage.capacity.concurrency, stage.terms.kv_cache_gib))
    longest = min(stage.longest for stage in stages)
    reasons = [_reason(stage.terms, stage.request_gib, length, longest) for stage in stages]
    reason = next(filter(None, reasons), None)
    terms, capacity = stages[0].terms, stages[0].capacity
    return Fit(
        fits=reason is None,
        reason=reason,
        terms=terms,
        kv_cache_tokens=capacity.tokens,
        max_concurrency=capacity.concurrency,
        max_model_len=length,
        max_model_len_that_fits=longest,
        request_gib=stages[0].request_gib,
        max_num_seqs=sequences,
        max_num_batched_tokens=batched,
        gpu_memory_utilization=utilization,
    )


def _terms(
    model: Model, facts: Engine, device: Device, options: Options, stage: range, budget: float, batched: int, sequences: int
) -> Terms:
    tensor = options.tensor_parallel_size
    weights = model.rank_bytes(stage, tensor, options.expert_ranks, encoder=not options.language_model_only)
    weights += lora_bytes(model, options, stage)
    if stage.stop == len(model.layers):
        weights += draft_bytes(model, options.speculative, tensor)
    activation = activation_bytes(model, facts, device, options, stage, batched_tokens=batched, sequences=sequences) / GIB
    graphs = graph_bytes(model, options, sequences, stage) / GIB
    non_torch = non_torch_bytes(facts, device, options) / GIB
    used = weights / GIB + non_torch + activation + (graphs if facts.cuda_graphs_inside_budget else 0.0)
    return Terms(
        total_gib=device.memory_gib,
        budget_gib=budget,
        weights_gib=weights / GIB,
        non_torch_gib=non_torch,
        activation_gib=activation,
        cuda_graph_gib=graphs,
        cuda_graphs_inside_budget=facts.cuda_graphs_inside_budget,
        kv_cache_gib=budget - used,
        context_gib=context_bytes(model, device, options) / GIB,
        unprofiled_gib=unprofiled_bytes(model, options) / GIB,
    )


def _draft_caches(model: Model, options: Options) -> list[Cache]:
    speculative = options.speculative
    if speculative is None or not speculative.has_weights:
        return []
    if speculative.draft is not None:
        return [cache for stored in speculative.draft.layers if (cache := stored.layer.cache)]
    return [cache for stored in reversed(model.layers) if (cache := stored.layer.cache)][:1]


def _reason(terms: Terms, request: float, length: int, longest: int) -> str | None:
    used = f"{terms.weights_gib:.2f} weights + {terms.non_torch_gib:.2f} non-torch + {terms.activation_gib:.2f} activation" + (
        f" + {terms.cuda_graph_gib:.2f} CUDA graphs" if terms.cuda_graphs_inside_budget else ""
    )
    if terms.kv_cache_gib <= 0:
        return (
            f"no memory is left for the KV cache: {used} exceed the budget of {terms.budget_gib:.2f} GiB "
            f"by {-terms.kv_cache_gib:.2f} GiB"
        )
    if request > terms.kv_cache_gib:
        return (
            f"one request of {length} tokens needs {request:.2f} GiB of KV cache and {terms.kv_cache_gib:.2f} GiB are left "
            f"({terms.budget_gib:.2f} budget - ({used})); {longest} tokens fit"
        )
    if terms.budget_gib > terms.total_gib - terms.context_gib:
        return (
            f"the budget of {terms.budget_gib:.2f} GiB is not free at start: the driver holds {terms.context_gib:.2f} of "
            f"{terms.total_gib:.2f} GiB; lower the utilisation"
        )
    if terms.outside_gib < 0:
        later = f"{terms.cuda_graph_gib:.2f} CUDA graphs + " if not terms.cuda_graphs_inside_budget else ""
        return (
            f"{terms.context_gib:.2f} driver + {later}{terms.unprofiled_gib:.2f} kernels' buffers need "
            f"{-terms.outside_gib:.2f} GiB more than the {terms.total_gib - terms.budget_gib:.2f} GiB outside the budget; "
            "lower the utilisation"
        )
    return None
