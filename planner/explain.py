"""Every derived number of a plan with its formula and source, so that a reviewer can argue with it."""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.engine import engine
from planner.kv_cache import number_bits
from planner.memory import Fit
from planner.model import Model
from planner.options import Device, Options


@dataclass(frozen=True, slots=True)
class Row:
    """One derived number."""

    name: str
    value: str
    formula: str
    source: str


def explain(model: Model, card: Device, options: Options, planned: Fit) -> tuple[Row, ...]:
    """The rows of a memory plan, from the inputs to the cache's capacity."""
    return (*_inputs(model, card, planned), *_memory(model, options, planned), *_capacity(model, options, planned))


def _inputs(model: Model, card: Device, planned: Fit) -> Iterator[Row]:
    a = model.architecture
    yield Row("parameters", f"{a.parameters() / 1e9:.2f} B", "sum over the layers' matrices", "config.json of the model")
    method = model.quantization.method or f"{model.dtype_bits} bit"
    bits = f", {model.quantization.bits:.3g} bits a number" if model.quantization.method else ""
    yield Row("number format", method + bits, "values with scales and zero points", "quantization_config of the checkpoint")
    source = card.accelerator.source if card.accelerator else "given"
    yield Row("accelerator memory", f"{card.memory_gib:.2f} GiB", card.name, source)
    total, share = planned.terms.total_gib, planned.gpu_memory_utilization
    yield Row("budget", f"{planned.terms.budget_gib:.2f} GiB", f"{total:.2f} x {share:g}", "vLLM gpu_worker.py, requested memory")


def _memory(model: Model, options: Options, planned: Fit) -> Iterator[Row]:
    terms, facts = planned.terms, engine(options.vllm_version)
    tensor, pipeline = options.tensor_parallel_size, options.pipeline_parallel_size
    yield Row(
        "weights",
        f"{terms.weights_gib:.2f} GiB",
        f"matrices / TP {tensor} / PP {pipeline}; norms, routers and latent projections whole; key-value heads never below one",
        "vLLM model_executor/layers; worst pipeline stage",
    )
    yield Row(
        "non-torch", f"{terms.non_torch_gib:.2f} GiB", f"measured for TP {tensor}, PP {pipeline}", facts.sources["non_torch_gib"]
    )
    yield Row(
        "activation",
        f"{terms.activation_gib:.2f} GiB",
        f"max(forward pass of {planned.max_num_batched_tokens} tokens, sampler for {planned.max_num_seqs} sequences x "
        f"{model.architecture.vocabulary} entries x {facts.sampler_bytes_per_vocabulary_entry:g} B) + experts' workspace",
        facts.sources["sampler_bytes_per_vocabulary_entry"],
    )
    where = "inside" if terms.cuda_graphs_inside_budget else "outside"
    yield Row(
        "CUDA graphs",
        f"{terms.cuda_graph_gib:.2f} GiB",
        f"by layers and captured batch sizes; {where} the budget in vLLM {options.vllm_version}",
        "28 published captures of vLLM 0.19",
    )
    graphs = " - CUDA graphs" if terms.cuda_graphs_inside_budget else ""
    yield Row(
        "KV cache", f"{terms.kv_cache_gib:.2f} GiB", f"budget - weights - non-torch - activation{graphs}", "vLLM gpu_worker.py"
    )


def _capacity(model: Model, options: Options, planned: Fit) -> Iterator[Row]:
    bits = number_bits(options.kv_cache_dtype, model.dtype_bits, model.quantization.kv_cache)
    yield Row(
        "request",
        f"{planned.request_gib:.3f} GiB",
        f"{planned.max_model_len} tokens in blocks, {bits:g} bits a cached number, by each layer's kind of attention",
        "vLLM kv_cache_interface.py",
    )
    yield Row(
        "cache tokens",
        f"{planned.kv_cache_tokens:,}",
        "blocks x tokens of a block, by groups of layers",
        "vLLM kv_cache_planning.py",
    )
    yield Row(
        "concurrency",
        f"{planned.max_concurrency:.2f}",
        f"blocks / blocks of one request of {planned.max_model_len} tokens",
        "vLLM kv_cache_utils.py",
    )
    yield Row(
        "longest context that fits",
        f"{planned.max_model_len_that_fits:,}",
        "largest length whose request fits",
        "search over the above",
    )
