"""From settings to the plan of all models."""

from pathlib import Path

from components.inputs import InputError
from components.types import NodePool
from planner.capacity import Offer
from planner.catalog.hardware import UnknownAcceleratorError, accelerator, instance_types
from planner.catalog.models import UnknownModelError
from planner.catalog.models import model as catalog_model
from planner.host import Host
from planner.model import Model as PlannedModel
from planner.options import Options, device
from planner.request import RequestError, config_of, model_of
from planner.stack import StackModel, StackPlan, StackRefusedError, plan_stack
from settings.models import ModelSettings
from settings.sections import Settings


def plan(settings: Settings, where: str, root: Path) -> StackPlan:
    """The plan of all models. Raises InputError with one sentence for every model that would not start, before anything is made.

    `where` names the stack file in messages; files that settings name are looked for below `root`.
    """
    wanted, faults = [], []
    for name, model in settings.models.items():
        try:
            wanted.append(_stack_model(settings, name, model, root))
        except RequestError as error:
            faults.append(f"{where}: models.{name}: {error}")
    if not faults:
        try:
            budget = settings.budget.usd_per_month if settings.budget else None
            prices = settings.prices
            return plan_stack(wanted, region=prices.region, prices=prices.usd_per_hour, budget_usd_per_month=budget)
        except StackRefusedError as error:
            faults = [f"{where}: {refusal.key}: {refusal.sentence}" for refusal in error.refusals]
    raise InputError("\n".join(faults))


def _stack_model(settings: Settings, name: str, model: ModelSettings, root: Path) -> StackModel:
    pool = settings.cluster.pool(model.node_pool)
    instance = settings.cluster.instance_type(model.node_pool)
    return StackModel(
        name=name,
        model=_planned_model(model, root),
        offer=_offer(pool, instance),
        instance_type=instance,
        profile=model.profile,
        options=Options(
            max_model_len=model.max_model_len,
            max_num_seqs=model.max_num_seqs,
            max_num_batched_tokens=model.max_num_batched_tokens,
            gpu_memory_utilization=model.gpu_memory_utilization,
            kv_cache_dtype=model.kv_cache_dtype,
            # The servers of this platform answer text.
            language_model_only=True,
        ),
        accelerators=model.accelerators,
        replicas=model.replicas,
        storage=model.cache.backend,
    )


def _planned_model(model: ModelSettings, root: Path) -> PlannedModel:
    if model.config_file is not None:
        config = config_of(root / model.config_file, model.config_file)
    else:
        try:
            config = catalog_model(model.source).config
        except UnknownModelError as error:
            example = f"configFile: stacks/models/{model.source.rpartition('/')[2]}.json"
            raise RequestError(f"{error.fact}; save its config.json in the project and name it, e.g. {example}") from None
    return model_of({"config": config, "model": model.source})[0]


def _offer(pool: NodePool, instance: str | None) -> Offer:
    name = pool.name
    if pool.accelerator is None:
        raise RequestError(f"pool {name} has no accelerators; use a pool that has some")
    known = instance_types().get(instance or "")
    product = pool.accelerator.product or (known.accelerator if known else None)
    memory = pool.accelerator.memory_gib
    if product is None and memory is None:
        raise RequestError(
            f"cluster.nodePools.{name}.accelerator.product is missing, so nothing can be planned; "
            "name the card, e.g. product: L4, or its memory, e.g. memoryGib: 22.0"
        )
    try:
        card = device(accelerator(product) if product else None, memory)
    except UnknownAcceleratorError as error:
        raise RequestError(
            f"cluster.nodePools.{name}.accelerator.product: {error.fact}; of another card give memoryGib alone"
        ) from None
    host = Host(cpus=known.vcpus, memory_mib=known.memory_mib) if known else None
    # One server is on one node so far.
    return Offer(
        name=name, device=card, per_node=pool.accelerator.per_node, several_nodes=False, max_nodes=pool.max_nodes, host=host
    )
