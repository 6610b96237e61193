"""The search: every way to serve a workload with the hardware on offer, ranked by cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, inf

from planner.activation import GIB
from planner.catalog import hardware
from planner.compatibility import check_formats
from planner.host import Host
from planner.memory import Fit, fit
from planner.model import Model
from planner.options import Device, Options, device
from planner.parallelism import tensor_fault, with_tensor_size
from planner.profiles import tuned

_NODES = (2, 3, 4, 6, 8)
"""Nodes one server is spread over when it does not fit on one: a pipeline stage on each."""
_SMALL_NODE, _FEW_NODES = 8, 4
"""Nodes with fewer accelerators than the first are joined up to the second number: longer pipelines mostly idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What shall be served."""

    concurrency: int = 1
    """Requests of the longest context at once."""
    profile: str = "balanced"
    options: Options = field(default_factory=Options)
    """What is settled already; parallel sizes are searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Nodes of one kind: an instance type, or a pool of a cluster."""

    name: str
    device: Device
    per_node: int
    """Accelerators of one node."""
    efa: bool = False
    """Whether nodes talk over a fabric made for it (EFA)."""
    several_nodes: bool = True
    """Whether one server may span several nodes."""
    parts: bool = False
    """Whether each accelerator is a part of one: parts do not work together on one server."""
    max_nodes: int | None = None
    usd_per_hour: float | None = None
    """Price of one node."""
    host: Host | None = None
    """A node's CPUs and memory; None where nobody says."""


def offers(
    accelerators: Sequence[str] = (), region: str = "us-east-1", prices: Mapping[str, float] | None = None
) -> tuple[Offer, ...]:
    """The catalogue's instance types with these accelerators (NVIDIA's, when none are named), at on-demand prices of `region`.

    `prices` are USD per hour that go before the catalogue's. Raises UnknownAcceleratorError.
    """
    wanted = {hardware.accelerator(name).name for name in accelerators}
    found = []
    for name, instance in hardware.instance_types().items():
        card = hardware.accelerators()[instance.accelerator]
        if (card.name in wanted) if wanted else (card.vendor == "nvidia"):
            price = (prices or {}).get(name)
            listed = hardware.on_demand_price(name, region)
            found.append(
                Offer(
                    name=name,
                    device=device(card),
                    per_node=instance.accelerator_count,
                    efa=instance.efa,
                    # Over PCIe a rank waits for its neighbours in the node already; more nodes would not be worth their price.
                    several_nodes=instance.efa and device(card).nvlink,
                    host=Host(cpus=instance.vcpus, memory_mib=instance.memory_mib),
                    usd_per_hour=price if price is not None else listed.usd_per_hour if listed else None,
                )
            )
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One way to serve the workload."""

    offer: Offer
    options: Options
    fit: Fit
    replicas: int
    """Servers, each with `options.accelerators` accelerators."""
    nodes_per_server: int
    nodes: int
    usd_per_hour: float | None
    """Price of all nodes; None where the catalogue has none."""
    warnings: tuple[str, ...] = ()

    @property
    def accelerators(self) -> int:
        """Accelerators in use."""
        return self.replicas * self.options.accelerators


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Why an offer cannot serve the workload."""

    offer: Offer
    reason: str
    fit: Fit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Plans from the cheapest on, and what was rejected."""

    plans: tuple[Plan, ...]
    rejected: tuple[Rejected, ...]


def search(model: Model, workload: Workload, offers: Sequence[Offer]) -> Result:
    """Every offer's best plan for each parallel size, ranked by price, then by nodes, accelerators and name.

    Offers without a price rank last, by nodes. The same input gives the same output.
    """
    options = tuned(workload.options, workload.profile)
    tried: dict[tuple[object, ...], tuple[list[tuple[Options, Fit]], Rejected | None, tuple[str, ...]]] = {}
    plans, rejected = [], []
    stored_gib = model.total_bytes() / GIB
    loaded_gib = model.rank_bytes(range(len(model.layers)), 1, 1, encoder=not options.language_model_only) / GIB
    for offer in offers:
        if not offer.per_node:
            rejected.append(Rejected(offer=offer, reason=f"{offer.name} has a part of an accelerator only"))
            continue
        key = (offer.device, offer.per_node, offer.several_nodes, offer.max_nodes)
        if key not in tried:
            tried[key] = _servers(model, options, offer, loaded_gib)
        servers, rejection, warnings = tried[key]
        made = [plan for server in servers if (plan := _plan(workload, offer, *server, warnings, stored_gib))]
        plans += made
        if rejection is not None:
            rejected.append(replace(rejection, offer=offer))
        elif not made:
            rejected.append(Rejected(offer=offer, reason=_shortage(workload, offer, [one for one, _ in servers], stored_gib)))
    return Result(plans=tuple(sorted(plans, key=_rank)), rejected=tuple(rejected))


def _servers(
    model: Model, options: Options, offer: Offer, loaded_gib: float
) -> tuple[list[tuple[Options, Fit]], Rejected | None, tuple[str, ...]]:
    """Sizes of one server that fit on the offer's accelerators, on one node or else on the fewest nodes.

    `loaded_gib` are the weights of the whole model: sizes that cannot even hold them are not planned.
    """
    card = offer.device
    findings = check_formats(model, card, options)
    if findings.refusals:
        return [], Rejected(offer=offer, reason=findings.refusals[0]), ()
    sizes = [size for size in range(1, offer.per_node + 1) if offer.per_node % size == 0 and tensor_fault(model, size) is None]
    servers = []
    last: Fit | None = None
    least = loaded_gib / (card.memory_gib * (options.gpu_memory_utilization or 1.0))
    for size in sizes:
        if size < least and size != sizes[-1]:
            continue
        candidate = with_tensor_size(model, options, size)
        last = fit(model, card, candidate)
        if last.fits:
            servers.append((candidate, last))
    if not servers and sizes[-1] == offer.per_node and offer.several_nodes:
        found, last = _across_nodes(model, with_tensor_size(model, options, sizes[-1]), offer, last, least)
        servers += found
    if servers:
        return servers, None, findings.warnings
    reason = last.reason if last is not None and last.reason else "no parallel size divides this model"
    return [], Rejected(offer=offer, reason=reason, fit=last), ()


def _across_nodes(
    model: Model, options: Options, offer: Offer, last: Fit | None, least: float
) -> tuple[list[tuple[Options, Fit]], Fit | None]:
    """The fewest nodes over which one server fits, for a model that needs at least `least` accelerators."""
    most = min(offer.max_nodes or _NODES[-1], _FEW_NODES if offer.per_node < _SMALL_NODE else _NODES[-1], len(model.layers))
    for nodes in _NODES:
        if nodes <= most and nodes * offer.per_node >= least:
            candidate = replace(options, pipeline_parallel_size=nodes)
            last = fit(model, offer.device, candidate)
            if last.fits:
                return [(candidate, last)], last
    return [], last


def _plan(
    workload: Workload, offer: Offer, options: Options, planned: Fit, warnings: tuple[str, ...], stored_gib: float
) -> Plan | None:
    """A plan with as many servers as the workload needs; None where the offer's nodes do not suffice."""
    # A model without any cache has no concurrency of its own.
    at_once = min(planned.max_concurrency or inf, planned.max_num_seqs)
    replicas = max(ceil(workload.concurrency / at_once), 1)
    nodes_per_server = max(options.accelerators // offer.per_node, 1)
    servers_per_node = max(offer.per_node // options.accelerators, 1)
    if offer.host is not None:
        held = offer.host.servers(stored_gib / nodes_per_server, options.accelerators // nodes_per_server)
        servers_per_node = min(servers_per_node, held)
    if not servers_per_node:
        return None
    nodes = replicas * nodes_per_server if nodes_per_server > 1 else ceil(replicas / servers_per_node)
    if offer.max_nodes is not None and nodes > offer.max_nodes:
        return None
    if nodes_per_server > 1 and not offer.efa:
        warnings = (*warnings, f"{offer.name} has no EFA: a server on {nodes_per_server} nodes talks over plain networking")
    return Plan(
        offer=offer,
        options=options,
        fit=planned,
        replicas=replicas,
        nodes_per_server=nodes_per_server,
        nodes=nodes,
        usd_per_hour=None if offer.usd_per_hour is None else nodes * offer.usd_per_hour,
        warnings=warnings,
    )


def _shortage(workload: Workload, offer: Offer, servers: Sequence[Options], stored_gib: float) -> str:
    """Why no number of the offer's nodes serves the workload although a server fits on its accelerators."""
    fewest = servers[0].accelerators
    if offer.host is not None and fewest <= offer.per_node and not offer.host.servers(stored_gib, fewest):
        return f"{offer.name}: {offer.host.shortage(stored_gib, fewest)}"
    return f"{offer.name}: {workload.concurrency} requests need more than its nodes"


def _rank(plan: Plan) -> tuple[float, int, int, int, str]:
    price = inf if plan.usd_per_hour is None else plan.usd_per_hour
    return (price, plan.nodes, plan.accelerators, plan.options.tensor_parallel_size, plan.offer.name)
