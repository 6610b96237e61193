"""The models of a stack, planned together before anything is made: memory, start, cost, and what the pools have room for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from planner.activation import GIB, adapter_bytes
from planner.autoscaling import scaling_rows
from planner.capacity import Offer
from planner.cold_start import DISK_RESERVE, ColdStart, storage_backend
from planner.cost import Cost, StackCost, check_budget, stack_cost
from planner.derived import Derived
from planner.drain import Drain
from planner.explain import Row, explain
from planner.forecast import STORAGE, Rented, forecast
from planner.host import cpus, host_memory_mib, shared_memory_mib
from planner.model import Model
from planner.options import Options
from planner.placement import Placement, RefusedError, place
from planner.profiles import tuned
from planner.throughput import Throughput
from planner.timeouts import progress_deadline_seconds, startup_probe_seconds, timeouts

STOP = Drain()
"""How a server stops when nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackModel:
    """One model of a stack, as far as the plan needs it."""

    name: str
    model: Model
    offer: Offer
    """The pool it runs on."""
    instance_type: str | None = None
    """EC2 type of the pool's nodes, for their price; None on other machines."""
    profile: str = "balanced"
    options: Options
    tensor: int | None = None
    """Accelerators that share each layer; the fewest that fit when left out. Pipeline and data parallelism are options."""
    replicas: int = 1
    """Replicas that pool, quota and budget must have room for: the most, where an autoscaler says how many there are."""
    min_replicas: int | None = None
    """The fewest, where an autoscaler says how many there are."""
    generates: bool = True
    """Whether it makes text; an embedding model has no output tokens to count."""
    drain: Drain = STOP
    """How a server stops."""
    adapter_ranks: tuple[int, ...] = ()
    """Ranks of the LoRA adapters that lie beside the model."""
    storage: str = STORAGE
    """Backend of the model cache, a name of catalog/cold_start.yaml."""
    read_mb_per_s: float | None = None
    """What one reader of it gets where settings buy throughput; the catalogue's figure else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """What follows for one model of a stack."""

    name: str
    placement: Placement
    cold: ColdStart
    throughput: Throughput | None
    cost: Cost | None
    adapter_ranks: tuple[int, ...] = ()
    load_strategy: str = "lazy"
    """How the weights are read."""
    drain: Drain = STOP
    """How a server stops."""
    min_replicas: int | None = None
    """The fewest replicas, where an autoscaler says how many there are; those of the placement are the most then."""

    @property
    def stored_gib(self) -> float:
        """Room the files need: `1.2 x` checkpoint and draft, since a download writes beside what is complete, and adapters."""
        placed = self.placement
        draft = placed.options.speculative.draft if placed.options.speculative else None
        adapters = sum(adapter_bytes(placed.model, rank) for rank in self.adapter_ranks)
        return (DISK_RESERVE * (placed.model.total_bytes() + (draft.total_bytes() if draft else 0)) + adapters) / GIB

    @property
    def weights_gib(self) -> float:
        """Size of the checkpoint."""
        return self.placement.model.total_bytes() / GIB

    @property
    def startup_seconds(self) -> int:
        """From the container's start until the engine must answer."""
        return startup_probe_seconds(self.cold)

    @property
    def deadline_seconds(self) -> int:
        """Until a rollout counts as failed."""
        return progress_deadline_seconds(self.cold)

    @property
    def shared_memory_mib(self) -> int:
        """MiB of /dev/shm of each node's part."""
        return shared_memory_mib(self.placement.accelerators_per_node)

    @property
    def memory_mib(self) -> int:
        """MiB of host memory of each node's part, shared memory included."""
        placed = self.placement
        return host_memory_mib(
            self.weights_gib / placed.nodes,
            placed.accelerators_per_node,
            self.shared_memory_mib,
            self.load_strategy,
            offloaded_gib=placed.options.kv_offloading_gib / placed.nodes,
        )

    @property
    def cpus(self) -> int:
        """CPUs to request for each node's part."""
        return cpus(self.placement.accelerators_per_node)

    def rows(self) -> tuple[Row, ...]:
        """Every derived number with its formula and source."""
        placed = self.placement
        derived = {
            "start": (*self.cold.derived, *timeouts(self.cold)),
            "throughput": self.throughput.derived if self.throughput else (),
            "cost": self.cost.derived if self.cost else (),
            "scaling": self._scaling(),
        }
        return (
            *explain(placed.model, placed.offer.device, placed.options, placed.fit),
            *(
                Row(f"{topic}: {row.name}", f"{row.value:,.4g} {row.unit}", row.formula, row.source)
                for topic, rows in derived.items()
                for row in rows
            ),
        )

    def _scaling(self) -> tuple[Derived, ...]:
        if self.min_replicas is None:
            return ()
        placed = self.placement
        rows = scaling_rows(
            self.cold, self.throughput, placed.fit.max_num_seqs, self.min_replicas, placed.replicas, self.drain.grace
        )
        if self.cost is None or self.cost.usd_per_month is None:
            return rows
        share = self.min_replicas / placed.replicas
        least = Derived(
            name="price a month at the least",
            value=self.cost.usd_per_month * share,
            unit="USD",
            formula=f"{self.min_replicas} of {placed.replicas} replicas",
            source="the budget must hold at the most",
        )
        return (*rows, least)

    def summary(self) -> dict[str, str]:
        """The plan in sentences, for people and as a stack output."""
        placed, terms = self.placement, self.placement.fit.terms
        card = placed.offer.device
        graphs = f" + {terms.cuda_graph_gib:.1f} CUDA graphs" if terms.cuda_graphs_inside_budget else ""
        lines = {
            "hardware": f"{_replicas(self.min_replicas, placed.replicas)} of {placed.accelerators} x {card.name} "
            f"({card.memory_gib:.1f} GiB each){f' over {placed.nodes} nodes' if placed.nodes > 1 else ''} "
            f"on pool {placed.offer.name}",
            "memory": f"{terms.weights_gib:.1f} weights + {terms.non_torch_gib:.1f} non-torch"
            f" + {terms.activation_gib:.1f} activation{graphs} + {terms.kv_cache_gib:.1f} KV cache"
            f" = {terms.budget_gib:.1f} of {terms.total_gib:.1f} GiB",
            "capacity": f"{placed.fit.kv_cache_tokens:,} cached tokens a replica: {placed.fit.max_concurrency:.1f} requests of "
            f"{placed.fit.max_model_len:,} tokens at once",
            "start": f"{self.cold.total_s:.0f} s on a new node, {self.cold.warm_s:.0f} s on a warm one; "
            f"the startup probe allows {self.startup_seconds} s, a rollout {self.deadline_seconds} s",
            "stop": f"{self.drain.grace} s",
            "host": f"{self.cpus} CPUs, {self.memory_mib:,} MiB of memory, {self.shared_memory_mib:,} MiB of it shared",
        }
        if self.throughput is not None:
            made = self.throughput
            lines["throughput"] = (
                f"{made.decode_tokens_per_s_low:,.0f} to {made.decode_tokens_per_s_high:,.0f} output tokens/s a replica "
                f"with {made.batch} requests of {made.mean_context:,} tokens"
            )
        if self.cost is not None:
            lines["cost"] = _cost_sentence(self.cost)
        if self.min_replicas is not None:
            told = {row.name: row.value for row in self._scaling()}
            lines["scaling"] = (
                f"by the load, at {told['waiting requests a replica']:g} waiting or {told['running requests a replica']:g} "
                f"running requests or {told['KV cache in use']:.0%} of the KV cache a replica; {told['scale-up step']:g} more "
                f"within {told['scale-up period']:g} s, one fewer after {told['scale-down stabilisation']:g} s"
            )
            if "price a month at the least" in told:
                lines["cost"] += f", {told['price a month at the least']:,.0f} USD with {_count(self.min_replicas, 'replica')}"
        if placed.warnings:
            lines["warnings"] = "; ".join(placed.warnings)
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPlan:
    """All models of a stack."""

    models: Mapping[str, ModelPlan]
    cost: StackCost
    free: Mapping[str, int]
    """Accelerators of each pool at its largest that no model uses."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a stack cannot be served: the setting, below the stack's sections, and one sentence."""

    key: str
    sentence: str


class StackRefusedError(ValueError):
    """A stack with models that would not start, pools too small for them, or a budget they break."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        super().__init__("\n".join(f"{refusal.key}: {refusal.sentence}" for refusal in refusals))
        self.refusals = tuple(refusals)


def plan_stack(
    models: Sequence[StackModel],
    *,
    region: str = "us-east-1",
    prices: Mapping[str, float] | None = None,
    budget_usd_per_month: float | None = None,
) -> StackPlan:
    """Plan every model. Raises StackRefusedError with all that stands against the stack."""
    plans: dict[str, ModelPlan] = {}
    refusals = []
    for wanted in models:
        try:
            plans[wanted.name] = _plan(wanted, region, prices)
        except RefusedError as error:
            key = f"models.{wanted.name}.{error.setting}" if error.setting else f"models.{wanted.name}"
            refusals.append(Refusal(key, str(error)))
    free = _free(plans.values())
    refusals += [_pool_refusal(pool, plans.values()) for pool, accelerators in free.items() if accelerators < 0]
    total = stack_cost([plan.cost for plan in plans.values() if plan.cost is not None])
    if budget_usd_per_month is not None and not refusals and (over := check_budget(total, budget_usd_per_month)):
        most = "; autoscaled models count with their maxReplicas" if any(m.min_replicas is not None for m in models) else ""
        refusals.append(Refusal("budget.usdPerMonth", over + most))
    if refusals:
        raise StackRefusedError(refusals)
    return StackPlan(models=MappingProxyType(plans), cost=total, free=MappingProxyType(free))


def _plan(wanted: StackModel, region: str, prices: Mapping[str, float] | None) -> ModelPlan:
    options = tuned(wanted.options, wanted.profile)
    strategy = storage_backend(wanted.storage).load_strategy
    placed = place(wanted.model, wanted.offer, options, replicas=wanted.replicas, tensor=wanted.tensor, load_strategy=strategy)
    instances = wanted.replicas * placed.accelerators / wanted.offer.per_node
    meant = forecast(
        wanted.name,
        wanted.model,
        wanted.offer.device,
        placed.options,
        placed.fit,
        replicas=wanted.replicas,
        readers=_readers(placed),
        nodes_per_server=placed.nodes,
        storage=wanted.storage,
        read_mb_per_s=wanted.read_mb_per_s,
        generates=wanted.generates,
        rented=Rented(instance_type=wanted.instance_type, instances=instances, region=region, prices=prices)
        if wanted.instance_type
        else None,
    )
    return ModelPlan(
        name=wanted.name,
        placement=placed,
        cold=meant.cold,
        throughput=meant.throughput,
        cost=meant.cost,
        adapter_ranks=wanted.adapter_ranks,
        load_strategy=strategy,
        drain=wanted.drain,
        min_replicas=wanted.min_replicas,
    )


def _readers(placed: Placement) -> int:
    """Servers that could load at once: as many as the pool has room for, so that adding one restarts none of the others."""
    offer = placed.offer
    room = offer.max_nodes * offer.per_node // placed.accelerators if offer.max_nodes else 0
    return max(placed.replicas, room)


def _free(plans: Iterable[ModelPlan]) -> dict[str, int]:
    free: dict[str, int] = {}
    for plan in plans:
        offer = plan.placement.offer
        if offer.max_nodes is not None:
            whole = free.setdefault(offer.name, offer.max_nodes * offer.per_node)
            free[offer.name] = whole - plan.placement.replicas * plan.placement.accelerators
    return free


def _pool_refusal(pool: str, plans: Iterable[ModelPlan]) -> Refusal:
    here = [plan for plan in plans if plan.placement.offer.name == pool]
    offer = here[0].placement.offer
    used = sum(plan.placement.replicas * plan.placement.accelerators for plan in here)
    missing = used - (offer.max_nodes or 0) * offer.per_node
    nodes = -(-used // offer.per_node)
    scaled = [plan for plan in here if plan.min_replicas is not None]
    if not scaled:
        return Refusal(
            "models",
            f"pool {pool} is {missing} accelerator{'s' if missing > 1 else ''} short of what they ask for together; "
            f"use cluster.nodePools.{pool}.maxNodes: {nodes} or fewer replicas",
        )
    listed = " + ".join(f"{plan.name} {plan.placement.replicas} x {plan.placement.accelerators}" for plan in here)
    fewer = [f"models.{plan.name}.scaling.maxReplicas: {left}" for plan in scaled if (left := _left(plan, missing))]
    return Refusal(
        "models",
        f"pool {pool} has {used - missing} accelerators and its models may ask for {used} ({listed}; most replicas x "
        f"accelerators), so pods would wait for the {missing} that are missing; use "
        + ", ".join([f"cluster.nodePools.{pool}.maxNodes: {nodes}", *fewer[:1], "or another pool for one of them"]),
    )


def _left(plan: ModelPlan, missing: int) -> int | None:
    """The most replicas with which a model leaves `missing` accelerators to others; None below what it must have."""
    left = plan.placement.replicas - -(-missing // plan.placement.accelerators)
    return left if left >= (plan.min_replicas or 1) else None


def _cost_sentence(price: Cost) -> str:
    if price.usd_per_month is None:
        return "; ".join(price.unknown)
    sentence = f"{price.usd_per_month:,.0f} USD a month ({price.instances:g} x {price.instance_type})"
    if price.usd_per_million_output_tokens is not None:
        low, high = price.usd_per_million_output_tokens
        sentence += f", {low:.2f} to {high:.2f} USD a million output tokens at {price.utilization:.0%} use"
    return sentence


def _replicas(least: int | None, most: int) -> str:
    return _count(most, "replica") if least in (None, most) else f"{least} to {_count(most, 'replica')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
