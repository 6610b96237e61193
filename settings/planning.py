"""From settings to the plan of all models."""

from collections.abc import Iterator
from pathlib import Path

from components.inputs import InputError
from components.serving.groups import MultiNode, Task
from components.serving.media import check_encoders
from components.serving.tgi.image import check_text_alone
from components.storage.download_job import vocabularies_of
from components.types import Accelerator, NodePool, SharingKind
from components.versions import VLLM
from planner.capacity import Offer
from planner.catalog.hardware import UnknownAcceleratorError, instance_types
from planner.catalog.hardware import accelerator as catalog_accelerator
from planner.catalog.models import UnknownModelError
from planner.catalog.models import model as catalog_model
from planner.host import Host
from planner.model import Model as PlannedModel
from planner.options import Device, Options, Speculative, device
from planner.request import RequestError, config_of, model_of
from planner.sharing import instance_of, mig_profile, turn_of
from planner.stack import StackModel, StackPlan, StackRefusedError, plan_stack
from settings.cache import CacheKind, check_cache, provisioned_mb_per_s
from settings.mirror import lacking
from settings.models import ModelSettings
from settings.routes import names_by_route
from settings.sections import Settings
from settings.tenants import Use, check_uses


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
            found = plan_stack(wanted, region=prices.region, prices=prices.usd_per_hour, budget_usd_per_month=budget)
        except StackRefusedError as error:
            faults = [f"{where}: {refusal.key}: {refusal.sentence}" for refusal in error.refusals]
        else:
            faults = [f"{where}: {fault}" for fault in _faults_of_placement(settings, found)]
            if not faults:
                return found
    raise InputError("\n".join(faults))


def _faults_of_placement(settings: Settings, found: StackPlan) -> Iterator[str]:
    """What cannot be once the plan has decided how many nodes and accelerators a replica takes."""
    on_eks = settings.on_eks()
    meshed = settings.traffic is not None and settings.traffic.mesh is not None
    for name, model in settings.models.items():
        nodes, pool = found.models[name].placement.nodes, settings.cluster.pool(model.node_pool)
        try:
            check_cache(model.cache, on_eks.storage if on_eks else None, pool, model.most_replicas, nodes)
        except ValueError as error:
            yield f"models.{name}.cache: {error}"
        if model.scaling and model.kept_by(nodes) is MultiNode.RAY_SERVICE:
            yield (
                f"models.{name}.scaling: a replica spans {nodes} nodes by multiNode: rayService, whose number no autoscaler can "
                "set; use multiNode: leaderWorkerSet, or replicas"
            )
        if meshed and nodes > 1:
            yield (
                f"models.{name}: its replicas span {nodes} nodes and talk on ports that the mesh closes; "
                "make parallelism fit one node, or remove traffic.mesh"
            )
        if (names := names_by_route(settings, name)) and model.kept_by(nodes) is MultiNode.RAY_SERVICE:
            yield (
                f"traffic.routes.{names[0]}.versions.{name}: clients ask for {names[0]}, and with multiNode: rayService a model "
                f"has one name; call the route {name}, or use multiNode: leaderWorkerSet"
            )
        model_type = found.models[name].placement.model.architecture.name
        if fault := lacking(settings, name, model_type):
            yield fault
        if model.cache.kind is CacheKind.S3_STREAM and vocabularies_of(model_type):
            yield (
                f"models.{name}.cache.kind: an engine for {model_type} takes its vocabulary from a directory, and what is "
                "streamed has none; use kind: s3Mount or efs"
            )
    try:
        check_uses(settings.tenants, quota_uses(settings, found))
    except ValueError as error:
        yield str(error)


def quota_uses(settings: Settings, found: StackPlan) -> list[Use]:
    """What each model takes of the quota of its namespace."""
    uses = []
    for name, model in settings.models.items():
        card, placement = settings.cluster.pool(model.node_pool).accelerator, found.models[name].placement
        if card is not None:
            least = model.scaling.min_replicas if model.scaling else None
            uses.append(
                Use(
                    name,
                    settings.namespace_of(name),
                    card.offered,
                    placement.accelerators,
                    placement.replicas,
                    least,
                )
            )
    return uses


def _stack_model(settings: Settings, name: str, model: ModelSettings, root: Path) -> StackModel:
    pool = settings.cluster.pool(model.node_pool)
    instance = settings.cluster.instance_type(model.node_pool)
    planned = _planned_model(model, root)
    if model.engine.by_tgi:
        try:
            check_text_alone(planned.architecture.encoders, model.engine.version, model.source)
        except ValueError as error:
            raise RequestError(str(error)) from None
    if model.media:
        try:
            check_encoders(model.media, planned.architecture.encoders, model.source)
        except ValueError as error:
            raise RequestError(str(error)) from None
    return StackModel(
        name=name,
        model=planned,
        offer=_offer(pool, instance),
        instance_type=instance,
        profile=model.profile,
        options=_options(model, root),
        tensor=model.parallelism.tensor,
        replicas=model.most_replicas,
        min_replicas=model.scaling.min_replicas if model.scaling else None,
        drain=model.drain.drain(),
        generates=model.task is Task.GENERATE,
        adapter_ranks=tuple(adapter.rank for adapter in model.lora.adapters.values()) if model.lora else (),
        storage=model.cache.backend,
        read_mb_per_s=provisioned_mb_per_s(model.cache, settings.storage),
    )


def _options(model: ModelSettings, root: Path) -> Options:
    sizes, lora = model.parallelism, model.lora
    return Options(
        pipeline_parallel_size=sizes.pipeline,
        data_parallel_size=sizes.data,
        enable_expert_parallel=sizes.expert,
        max_model_len=model.max_model_len,
        max_num_seqs=model.max_num_seqs,
        max_num_batched_tokens=model.max_num_batched_tokens,
        gpu_memory_utilization=model.gpu_memory_utilization,
        kv_cache_dtype="fp8" if model.engine.tgi and model.engine.tgi.kv_cache_dtype else model.kv_cache_dtype,
        kv_offloading_gib=model.kv_offloading_gib,
        dtype=model.dtype,
        enforce_eager=model.enforce_eager,
        enable_prefix_caching=model.prefix_caching is not False,
        language_model_only=model.media is None,
        max_loras=lora.slots if lora else 0,
        max_lora_rank=lora.max_rank if lora else 16,
        speculative=_speculative(model, root),
        vllm_version=VLLM if model.engine.by_tgi else model.engine.version,
    )


def _speculative(model: ModelSettings, root: Path) -> Speculative | None:
    wanted = model.speculative
    if wanted is None:
        return None
    draft = wanted.draft
    # A head of one layer has no configuration the planner reads; it is estimated from the model.
    known = draft and (wanted.method == "draft_model" or draft.config_file)
    planned = _checkpoint(draft.source, draft.config_file, root, "speculative.draft.") if draft and known else None
    return Speculative(method=wanted.method, tokens=wanted.tokens, draft=planned)


def _planned_model(model: ModelSettings, root: Path) -> PlannedModel:
    return _checkpoint(model.source, model.config_file, root, quantization=model.quantization, dtype=model.dtype)


def _checkpoint(source: str, file: str | None, root: Path, key: str = "", **asked: str | None) -> PlannedModel:
    if file is not None:
        config = config_of(root / file, file)
    else:
        try:
            config = catalog_model(source).config
        except UnknownModelError as error:
            example = f"{key}configFile: stacks/models/{source.rpartition('/')[2]}.json"
            raise RequestError(f"{error.fact}; save its config.json in the project and name it, e.g. {example}") from None
    question = {name: value for name, value in asked.items() if value is not None}
    if "quantization" in question and (stored := model_of({"config": config, "model": source})[0].quantization.method):
        raise RequestError(f"quantization: {source} is quantized by {stored} already, and vLLM refuses another; leave it out")
    return model_of({"config": config, "model": source, **question})[0]


def _part(card: Device, accelerator: Accelerator) -> Device:
    """What one server has of a shared accelerator. Raises ValueError where nobody can say."""
    sharing = accelerator.sharing
    if sharing is None:
        return card
    match sharing.kind:
        case SharingKind.MIG:
            profile = mig_profile(str(card.accelerator and card.accelerator.name), str(sharing.profile))
            return instance_of(card, profile, accelerator.memory_gib)
        case SharingKind.TIME_SLICING:
            return turn_of(card, sharing.replicas or 1)
        case SharingKind.MPS:
            raise ValueError(
                "sharing: what an engine sees of a GPU's memory under MPS is not known, so no model can be planned on it; "
                "use kind: mig or timeSlicing"
            )


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
    mig = pool.accelerator.sharing is not None and pool.accelerator.sharing.kind is SharingKind.MIG
    try:
        card = device(catalog_accelerator(product) if product else None, None if mig else memory)
    except UnknownAcceleratorError as error:
        raise RequestError(
            f"cluster.nodePools.{name}.accelerator.product: {error.fact}; of another card give memoryGib alone"
        ) from None
    sharing = pool.accelerator.sharing
    if sharing:
        try:
            card = _part(card, pool.accelerator)
        except ValueError as error:
            raise RequestError(f"cluster.nodePools.{name}.accelerator: {error}") from None
    host = Host(cpus=known.vcpus, memory_mib=known.memory_mib) if known else None
    fabric = pool.fabric_interfaces > 0
    return Offer(
        name=name,
        device=card,
        per_node=pool.accelerator.units,
        parts=sharing is not None,
        efa=fabric,
        # Several nodes are suggested only where they have a network made for it.
        several_nodes=fabric and pool.max_nodes > 1,
        max_nodes=pool.max_nodes,
        host=host,
    )
