"""What would make a refused plan fit: the nearest changes, each tried before it is told."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from math import floor

from planner.catalog.hardware import accelerators, instance_types
from planner.compatibility import check_formats
from planner.memory import Fit, fit
from planner.model import Model, quantized
from planner.options import Device, Options, device
from planner.parallelism import fault, tensor_fault, tensor_sizes, with_tensor_size

_SUGGESTIONS = 3
_SHORTEST = 1024
"""A context below this many tokens is not worth suggesting."""
_FEW_SEQUENCES, _FEW_TOKENS = 64, 2048
_LOWEST_UTILIZATION = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A change with which the plan fits."""

    kind: str
    """`context`, `precision`, `batch`, `accelerators` or `hardware`."""
    text: str
    model: Model
    device: Device
    options: Options
    fit: Fit


def suggestions(
    model: Model, card: Device, options: Options, per_node: int, *, several_nodes: bool = True
) -> tuple[Suggestion, ...]:
    """Up to three changes of different kinds that fit, the smallest first; more of a kind only where kinds are lacking."""
    found: list[Suggestion] = []
    spare: list[Suggestion] = []
    for kind, text, changed, other, candidate in _candidates(model, card, options, per_node, several_nodes=several_nodes):
        if fault(changed, candidate) or check_formats(changed, other, candidate).refusals:
            continue
        planned = fit(changed, other, candidate)
        if not planned.fits:
            continue
        made = Suggestion(kind=kind, text=text, model=changed, device=other, options=candidate, fit=planned)
        (spare if any(s.kind == kind for s in found) else found).append(made)
        if len(found) == _SUGGESTIONS:
            break
    return tuple((found + spare)[:_SUGGESTIONS])


Candidate = tuple[str, str, Model, Device, Options]


def _candidates(model: Model, card: Device, options: Options, per_node: int, *, several_nodes: bool) -> Iterator[Candidate]:
    planned = fit(model, card, options)
    shorter = planned.max_model_len_that_fits // _SHORTEST * _SHORTEST
    if _SHORTEST <= shorter < planned.max_model_len:
        yield "context", f"a context of {shorter} tokens", model, card, replace(options, max_model_len=shorter)
    if planned.max_num_seqs > _FEW_SEQUENCES or planned.max_num_batched_tokens > _FEW_TOKENS:
        smaller = replace(options, max_num_seqs=min(planned.max_num_seqs, _FEW_SEQUENCES), max_num_batched_tokens=_FEW_TOKENS)
        yield "batch", f"batches of {_FEW_SEQUENCES} sequences and {_FEW_TOKENS} tokens", model, card, smaller
    suffix = ""
    if planned.terms.outside_gib < 0:
        lower = floor((planned.terms.budget_gib + planned.terms.outside_gib) / card.memory_gib * 100) / 100
        if lower > _LOWEST_UTILIZATION:
            yield "batch", f"a utilisation of {lower}", model, card, replace(options, gpu_memory_utilization=lower)
        # No change of another kind helps while the budget itself is more than the card can give.
        options, suffix = replace(options, gpu_memory_utilization=None), " and the default utilisation"
    for kind, text, changed, other, candidate in chain(
        _precision(model, card, options, per_node),
        _more_accelerators(model, card, options, per_node, several_nodes=several_nodes),
        _other_hardware(model, card, options),
    ):
        yield kind, text + suffix, changed, other, candidate


def _precision(model: Model, card: Device, options: Options, per_node: int) -> Iterator[Candidate]:
    """Fewer bits for the cache, then for the weights, where that does not suffice on all accelerators of a node too."""
    if options.kv_cache_dtype == "auto" and model.quantization.kv_cache is None:
        yield "precision", "an 8-bit KV cache (kv_cache_dtype fp8)", model, card, replace(options, kv_cache_dtype="fp8")
    if model.quantization.method is None:
        for text, method in (("weights in FP8", "fp8"), ("a 4-bit AWQ checkpoint of the model", "awq")):
            changed = quantized(model, method)
            yield "precision", text, changed, card, with_tensor_size(changed, options, options.tensor_parallel_size)
            widest = max(tensor_sizes(changed, max(per_node, options.tensor_parallel_size)))
            if widest > options.tensor_parallel_size:
                spread = with_tensor_size(changed, options, widest)
                yield "precision", f"{text} and tensor parallelism {widest}", changed, card, spread


def _more_accelerators(
    model: Model, card: Device, options: Options, per_node: int, *, several_nodes: bool
) -> Iterator[Candidate]:
    """More ranks on the same kind of card: first as many as a node has, then more nodes."""
    size = options.tensor_parallel_size
    for more in (2, 4, 8, 16):
        if size < more <= per_node and tensor_fault(model, more) is None:
            yield "accelerators", f"tensor parallelism {more}", model, card, with_tensor_size(model, options, more)
    for nodes in (2, 4, 8) if several_nodes else ():
        if options.pipeline_parallel_size < nodes <= len(model.layers):
            wide = max(tensor_sizes(model, max(per_node, size)))
            candidate = replace(with_tensor_size(model, options, wide), pipeline_parallel_size=nodes)
            yield "accelerators", f"{nodes} pipeline stages of {wide} x {card.name}", model, card, candidate


def _other_hardware(model: Model, card: Device, options: Options) -> Iterator[Candidate]:
    """Larger cards of the vendor, one or several, by their memory together; those for rent where this one is for rent."""
    vendor = card.accelerator.vendor if card.accelerator else "nvidia"
    rented = {instance.accelerator for instance in instance_types().values()}
    known = [a for a in accelerators().values() if a.vendor == vendor and a.memory_gib > card.memory_gib]
    larger = [a for a in known if a.name in rented] if card.name in rented or card.accelerator is None else known
    size = options.tensor_parallel_size
    counts = [size, *(s for s in (2, 4, 8) if s > size and tensor_fault(model, s) is None)]
    for more, accelerator in sorted(product(counts, larger), key=lambda x: (x[0] * x[1].memory_gib, x[0], x[1].name)):
        one = f"{accelerator.name} ({accelerator.memory_gib:.0f} GiB)"
        yield (
            "hardware",
            one if more == 1 else f"{more} x {one}",
            model,
            device(accelerator),
            with_tensor_size(model, options, more),
        )
