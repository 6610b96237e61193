"""A model of a stack on the pool it is given: planned before anything is made, refused with what would fit instead."""

from dataclasses import dataclass

from planner.activation import GIB
from planner.capacity import Offer
from planner.compatibility import check_context, check_formats
from planner.memory import Fit, fit
from planner.model import Model
from planner.options import Options
from planner.parallelism import fault, tensor_fault, with_tensor_size
from planner.refusal import Suggestion, suggestions


class RefusedError(ValueError):
    """A plan that would fail on the accelerator: the broken inequality in numbers, and changes that were checked to fit."""

    def __init__(self, reason: str, alternatives: tuple[Suggestion, ...] = ()) -> None:
        fitting = "; what fits: " + ", or ".join(s.text for s in alternatives) if alternatives else ""
        super().__init__(reason + fitting)
        self.reason = reason
        self.suggestions = alternatives


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A model on a pool: what was asked for and what follows from it."""

    model: Model
    offer: Offer
    options: Options
    fit: Fit
    replicas: int
    warnings: tuple[str, ...]

    @property
    def accelerators(self) -> int:
        """Accelerators of one replica."""
        return self.options.accelerators


def place(model: Model, offer: Offer, options: Options, *, replicas: int = 1, accelerators: int | None = None) -> Placement:
    """`model` on the nodes of `offer`, with `accelerators` for each replica or the fewest that fit.

    Raises RefusedError when the engine would not start, with up to three changes that would make it.
    """
    card = offer.device
    others = options.pipeline_parallel_size * options.data_parallel_size
    if accelerators is not None and accelerators % others:
        raise RefusedError(
            f"{accelerators} accelerators cannot be divided among {options.pipeline_parallel_size} pipeline stages x "
            f"{options.data_parallel_size} data-parallel ranks; use a multiple of {others}"
        )
    wanted = options.tensor_parallel_size if accelerators is None else accelerators // others
    findings = check_formats(model, card, options)
    for problem in (check_context(model, options), *findings.refusals):
        if problem:
            raise RefusedError(problem)
    if accelerators is not None or options.pipeline_parallel_size > 1:
        sizes = [wanted]
    else:
        sizes = [size for size in range(1, offer.per_node + 1) if tensor_fault(model, size) is None]
    planned: Fit | None = None
    for size in sizes:
        options = with_tensor_size(model, options, size)
        if problem := fault(model, options):
            raise RefusedError(problem)
        planned = fit(model, card, options)
        if planned.fits:
            stored = model.total_bytes() / GIB
            if offer.host is not None and not offer.host.servers(stored, options.accelerators):
                raise RefusedError(
                    f"{model.name or model.architecture.name} does not fit: {offer.host.shortage(stored, options.accelerators)}"
                )
            warnings = (*model.architecture.warnings, *findings.warnings)
            return Placement(model=model, offer=offer, options=options, fit=planned, replicas=replicas, warnings=warnings)
    reason = planned.reason if planned is not None and planned.reason else "no parallel size divides this model"
    cards = f"{sizes[-1]} x {card.name}" if sizes else card.name
    raise RefusedError(
        f"{model.name or model.architecture.name} does not fit on {cards} with {card.memory_gib:.1f} GiB each: {reason}",
        suggestions(model, card, options, offer.per_node, several_nodes=offer.several_nodes),
    )
