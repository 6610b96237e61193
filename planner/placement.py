"""A model of a stack on the pool it is given: planned before anything is made, refused with what would fit instead."""

from dataclasses import dataclass
from math import ceil

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

    def __init__(self, reason: str, alternatives: tuple[Suggestion, ...] = (), setting: str = "") -> None:
        """`setting` is what to change, below the model's own settings, where it is one."""
        fitting = "; what fits: " + ", or ".join(s.text for s in alternatives) if alternatives else ""
        super().__init__(reason + fitting)
        self.reason = reason
        self.suggestions = alternatives
        self.setting = setting


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

    @property
    def nodes(self) -> int:
        """Nodes of one replica."""
        return _nodes(self.options, self.offer)

    @property
    def accelerators_per_node(self) -> int:
        """Accelerators one replica has on each of its nodes."""
        return self.accelerators // self.nodes


def place(
    model: Model, offer: Offer, options: Options, *, replicas: int = 1, tensor: int | None = None, load_strategy: str = "lazy"
) -> Placement:
    """`model` on the nodes of `offer`, with `tensor` accelerators that share each layer, or the fewest that fit.

    A replica of more accelerators than a node has spans whole nodes; `load_strategy` is how the weights are read
    (`planner.host`). Raises RefusedError when the engine would not start, with up to three changes that would make it.
    """
    card = offer.device
    findings = check_formats(model, card, options, options.dtype)
    for problem in (check_context(model, options), *findings.refusals):
        if problem:
            raise RefusedError(problem)
    if tensor is not None:
        sizes = [tensor]
    elif offer.parts:
        sizes = [1]
    else:
        others = options.pipeline_parallel_size * options.data_parallel_size
        sizes = [size for size in range(1, offer.per_node + 1) if _whole(size * others, offer) and not tensor_fault(model, size)]
    planned: Fit | None = None
    for size in sizes:
        options = with_tensor_size(model, options, size)
        if problem := fault(model, options):
            raise RefusedError(problem, setting="parallelism.tensor" if tensor_fault(model, size) else "parallelism")
        planned = fit(model, card, options)
        if planned.fits:
            nodes = _nodes(options, offer)
            _check_host(model, offer, options, nodes, load_strategy)
            warnings = (*model.architecture.warnings, *findings.warnings)
            if nodes > 1 and not offer.efa:
                warnings += (f"a replica spans {nodes} nodes without a fabric (EFA): its stages wait for the ordinary network",)
            return Placement(model=model, offer=offer, options=options, fit=planned, replicas=replicas, warnings=warnings)
    reason = planned.reason if planned is not None and planned.reason else "no parallel size divides this model"
    cards = f"{options.accelerators} x {card.name}" if sizes else card.name
    raise RefusedError(
        f"{model.name or model.architecture.name} does not fit on {cards} with {card.memory_gib:.1f} GiB each: {reason}",
        suggestions(model, card, options, 1 if offer.parts else offer.per_node, several_nodes=offer.several_nodes),
    )


def _nodes(options: Options, offer: Offer) -> int:
    return ceil(options.accelerators / offer.per_node)


def _whole(accelerators: int, offer: Offer) -> bool:
    """Whether they are on one node, or fill all they are on."""
    return accelerators <= offer.per_node or accelerators % offer.per_node == 0


def _check_host(model: Model, offer: Offer, options: Options, nodes: int, load_strategy: str) -> None:
    if offer.host is None:
        return
    stored, cards, offloaded = model.total_bytes() / GIB / nodes, options.accelerators // nodes, options.kv_offloading_gib / nodes
    if not offer.host.servers(stored, cards, offloaded, load_strategy):
        shortage = offer.host.shortage(stored, cards, offloaded, load_strategy)
        raise RefusedError(f"{model.name or model.architecture.name} does not fit: {shortage}")
