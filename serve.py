"""What a model entry of a stack becomes: its files, its server, and the check that it answers."""

from collections.abc import Mapping, Sequence

import pulumi

from components.security.network.flows import ModelFlows, Spans
from components.serving import ImagePrepull, KubeRayOperator, LeaderWorkerSetController, ModelServer, ModelVerification
from components.serving.config import ModelServerArgs
from components.serving.controllers import ControllerArgs
from components.serving.engine_images import engine_on
from components.serving.groups import LoraArgs, MultiNode, SpeculativeArgs
from components.serving.tgi.config import TgiServerArgs
from components.serving.tgi.image import engine_image as tgi_image
from components.serving.tgi.tgi_server import TgiServer
from components.storage.download_job import vocabularies_of
from components.versions import VLLM_IMAGE
from foundation import Foundation, MadeSecrets, ModelFiles, Namespaces, Storing, callers, engine_label, store
from foundation.models import IN_BUCKET
from planner.stack import ModelPlan, StackPlan
from settings.cache import CacheKind
from settings.models import ModelSettings
from settings.planning import quota_uses
from settings.routes import names_by_route
from settings.sections import Settings
from settings.tenants import spare
from settings.tgi import TgiSettings


def flows(name: str, config: Settings, plan: StackPlan) -> ModelFlows:
    """Whom the pods of a model have to reach, and who them."""
    model = config.models[name]
    kind, mirror = model.cache.kind, model.cache.mirror
    vocabularies = vocabularies_of(plan.models[name].placement.model.architecture.name)
    return ModelFlows(
        name=name,
        engine=engine_label(model),
        clients=[*(client.peer() for client in model.clients), *callers(name, config)],
        streams=kind is CacheKind.S3_STREAM,
        media=model.media is not None and model.media.fetches,
        multi_node=model.kept_by(plan.models[name].placement.nodes),
        verified=model.verify and checked(config, plan, name),
        # The mirror has no vocabularies.
        from_internet=mirror is None or bool(vocabularies),
        uses_bucket=kind in IN_BUCKET or mirror is not None,
        spans=_spans(config),
    )


def _spans(config: Settings) -> Spans | None:
    traces = config.traces
    if traces is None:
        return None
    return Spans(port=traces.port, collector=traces.collector.peer() if traces.collector else None)


def controllers(config: Settings, plan: StackPlan, below: Foundation, rooms: Namespaces) -> list[pulumi.Resource]:
    """What keeps the pods of replicas together that span nodes, where there are any."""
    wanted = {kept for name, model in config.models.items() if (kept := model.kept_by(plan.models[name].placement.nodes))}
    if not wanted:
        return []
    on_cluster = pulumi.ResourceOptions(provider=below.provider)
    args: ControllerArgs = {
        "namespace_name": rooms.names[config.namespaces.controllers],
        "system_labels": dict(below.system_labels),
    }
    made: list[pulumi.Resource] = []
    if MultiNode.LEADER_WORKER_SET in wanted:
        made.append(LeaderWorkerSetController("leader-worker-set", args, opts=on_cluster))
    if MultiNode.RAY_SERVICE in wanted:
        made.append(KubeRayOperator("kuberay", args, opts=on_cluster))
    return made


def prepull(config: Settings, plan: StackPlan, below: Foundation, secrets: MadeSecrets) -> dict[str, pulumi.Resource]:
    """By pool: the engines of its models on all its nodes."""
    images: dict[str, set[str]] = {}
    for name, model in config.models.items():
        images.setdefault(model.node_pool, set()).add(_image(model, plan.models[name], below))
    return {
        pool: ImagePrepull(
            pool,
            {
                "namespace_name": secrets.namespaces[config.namespaces.models],
                "images": sorted(wanted),
                "pool": below.cluster.pool(pool).args(),
            },
            opts=pulumi.ResourceOptions(provider=below.provider),
        )
        for pool, wanted in images.items()
    }


def serve(
    name: str,
    config: Settings,
    plan: StackPlan,
    below: Foundation,
    rooms: Namespaces,
    secrets: MadeSecrets,
    after: Sequence[pulumi.Resource],
) -> ModelServer | TgiServer:
    """The server of a model, with its files before it and, unless the settings say otherwise, a check behind it."""
    model, planned, space = config.models[name], plan.models[name], config.namespace_of(name)
    storing = Storing(
        name=name,
        model=model,
        planned=planned,
        below=below,
        namespace_name=secrets.namespaces[space],
        node_agents_namespace_name=secrets.namespaces[config.namespaces.node_agents],
        # Programs that fetch files run in vLLM's image; nobody knows of one of TGI's what Python it has.
        image=VLLM_IMAGE if model.engine.by_tgi else _image(model, planned, below),
        token_secret=secrets.key(space, model.token_secret),
        pull_secrets=secrets.image_pull(space),
        mirror=config.mirror,
    )
    files = store(storing)
    options = pulumi.ResourceOptions(provider=below.provider, depends_on=list(after))
    if model.engine.by_tgi:
        legacy = _tgi_server(name, config, plan, files, storing)
        _around(legacy, model, space, rooms, secrets)
        return TgiServer(name, legacy, opts=options)
    args = _server(name, config, plan, files, storing)
    _around(args, model, space, rooms, secrets)
    if model.kept_by(planned.placement.nodes) is MultiNode.RAY_SERVICE:
        args["network_policy_name"] = rooms.ray_policy(space, name)
    server = ModelServer(name, args, opts=options)
    if model.verify and checked(config, plan, name):
        ModelVerification(
            name,
            {
                "model_name": name,
                "namespace_name": storing.namespace_name,
                "expectation": server.expectation,
                "pool": below.cluster.pool(model.node_pool).args(),
                "api_key_secret": args["api_key_secret"],
                "image_pull_secrets": args["image_pull_secrets"],
            },
            opts=pulumi.ResourceOptions(provider=below.provider),
        )
    return server


def _around(
    args: ModelServerArgs | TgiServerArgs, model: ModelSettings, space: str, rooms: Namespaces, secrets: MadeSecrets
) -> None:
    """What a server takes from the stack around it, whichever engine is in it."""
    args["priority_class_name"] = model.priority_class_name or rooms.classes[space]
    if model.scaling:
        args["max_replicas"] = model.scaling.max_replicas
    else:
        args["replicas"] = model.replicas
    args["api_key_secret"] = secrets.key(space, model.api_key_secret)
    args["image_pull_secrets"] = secrets.image_pull(space)


def checked(config: Settings, plan: StackPlan, name: str) -> bool:
    """Whether a server can be compared with its plan: not TGI's, and not where Ray starts engines by command lines of its own."""
    model = config.models[name]
    return not model.engine.by_tgi and model.kept_by(plan.models[name].placement.nodes) is not MultiNode.RAY_SERVICE


def expectations(
    config: Settings, plan: StackPlan, servers: Mapping[str, ModelServer | TgiServer]
) -> dict[str, pulumi.Output[str]]:
    """By model what must be true of its server, where that can be compared."""
    return {
        name: server.expectation
        for name, server in servers.items()
        if isinstance(server, ModelServer) and checked(config, plan, name)
    }


def _image(model: ModelSettings, planned: ModelPlan, below: Foundation) -> str:
    pool, nodes = below.cluster.pool(model.node_pool), planned.placement.nodes
    if model.engine.by_tgi:
        return tgi_image(model.engine.image, model.engine.version, pool)
    return engine_on(pool, model.engine.image, model.engine.version, nodes).image


def _server(name: str, config: Settings, plan: StackPlan, files: ModelFiles, storing: Storing) -> ModelServerArgs:
    """Settings where they were given, the plan where it decides."""
    model, planned, below = storing.model, storing.planned, storing.below
    options, fit = planned.placement.options, planned.placement.fit
    return {
        "model_name": name,
        "aliases": [*model.aliases, *names_by_route(config, name)],
        "task": model.task,
        "model_path": files.model_path,
        "claim_name": files.claim_name,
        "cache_directories": list(files.directories),
        "vocabulary_directory": files.vocabulary_directory,
        "compile_claim_name": files.compile_claim_name,
        "load": files.load,
        "region": files.region,
        "service_account_name": files.service_account_name,
        "namespace_name": storing.namespace_name,
        "pool": below.cluster.pool(model.node_pool).args(),
        "image": model.engine.image,
        "engine_version": model.engine.version,
        "accepted_advisories": list(model.engine.accepted_advisories),
        "weights_gib": planned.weights_gib,
        "predicted_start_seconds": planned.cold.container_s,
        "startup_seconds": planned.startup_seconds,
        "deadline_seconds": planned.deadline_seconds,
        "parallelism": {
            "tensor": options.tensor_parallel_size,
            "pipeline": options.pipeline_parallel_size,
            "data": options.data_parallel_size,
            "expert": options.enable_expert_parallel,
        },
        "multi_node": model.multi_node,
        "ray_version": model.engine.ray_version,
        # A cache that one node at a time has keeps a second server from starting beside the first.
        "spare_accelerators": 0 if model.cache.exclusive else _spare(name, config, plan),
        "max_model_len": model.max_model_len,
        "gpu_memory_utilization": fit.gpu_memory_utilization * _share(below, model),
        "max_num_seqs": fit.max_num_seqs,
        "max_num_batched_tokens": fit.max_num_batched_tokens,
        "kv_cache_dtype": model.kv_cache_dtype,
        "dtype": model.dtype,
        "quantization": model.quantization,
        "enable_prefix_caching": model.prefix_caching,
        "enable_chunked_prefill": model.chunked_prefill,
        "enforce_eager": model.enforce_eager,
        "kv_offloading_gib": model.kv_offloading_gib,
        "speculative": _speculative(model, files),
        "lora": _lora(model, files),
        "tool_call_parser": model.tool_call_parser,
        "reasoning_parser": model.reasoning_parser,
        "limits": model.limits.args(),
        "media": model.media.args() if model.media else None,
        "structured_outputs": model.structured_outputs,
        "drain": model.drain.args(),
        "host_users": model.host_users,
        "extra_arguments": list(model.extra_arguments),
        "environment": dict(model.environment),
        "json_logs": config.logs is not None and config.logs.json_format,
        "log_prompts": model.log_prompts,
        "log_answers": model.log_answers,
        "traces": config.traces.args() if config.traces else None,
    }


def _tgi_server(name: str, config: Settings, plan: StackPlan, files: ModelFiles, storing: Storing) -> TgiServerArgs:
    """The same for a model that has not moved from TGI yet. What it is told of memory is what was written: TGI fits the rest."""
    model, planned, own = storing.model, storing.planned, storing.model.engine.tgi or TgiSettings()
    assert files.claim_name is not None  # noqa: S101 - check_tgi
    return {
        "model_name": name,
        "model_path": files.model_path,
        "claim_name": files.claim_name,
        "cache_directories": list(files.directories),
        "service_account_name": files.service_account_name,
        "namespace_name": storing.namespace_name,
        "pool": storing.below.cluster.pool(model.node_pool).args(),
        "image": model.engine.image,
        "engine_version": model.engine.version,
        "weights_gib": planned.weights_gib,
        "predicted_start_seconds": planned.cold.container_s,
        "startup_seconds": planned.startup_seconds,
        "deadline_seconds": planned.deadline_seconds,
        "spare_accelerators": 0 if model.cache.exclusive else _spare(name, config, plan),
        "shards": planned.placement.options.tensor_parallel_size,
        "max_total_tokens": model.max_model_len,
        "max_input_tokens": own.max_input_tokens,
        "max_batch_prefill_tokens": model.max_num_batched_tokens,
        "max_batch_total_tokens": own.max_batch_total_tokens,
        "max_batch_size": model.max_num_seqs,
        "max_concurrent_requests": own.max_concurrent_requests,
        "quantize": own.quantize,
        "dtype": None if model.dtype == "auto" else model.dtype,
        "kv_cache_dtype": own.kv_cache_dtype,
        "speculate": own.speculate,
        "cuda_memory_fraction": (model.gpu_memory_utilization or 1.0) * _share(storing.below, model),
        "drain": model.drain.args() if "drain" in model.model_fields_set else {},
        "json_logs": config.logs is not None and config.logs.json_format,
        "host_users": model.host_users,
        "extra_arguments": list(model.extra_arguments),
        "environment": dict(model.environment),
    }


def _spare(name: str, config: Settings, plan: StackPlan) -> int:
    """Accelerators that a rollout may take beside those in use: what the pool has left, and the quota of the namespace."""
    model = config.models[name]
    card = config.cluster.pool(model.node_pool).accelerator
    left = spare(config.tenants, quota_uses(config, plan), config.namespace_of(name), card.offered) if card else None
    return plan.free[model.node_pool] if left is None else min(left, plan.free[model.node_pool])


def _share(below: Foundation, model: ModelSettings) -> float:
    """The part of an accelerator's memory that is a server's own: an engine that takes turns with others sees all of it."""
    card = below.cluster.pool(model.node_pool).accelerator
    return 1 / card.sharing.replicas if card and card.sharing and card.sharing.replicas else 1.0


def _speculative(model: ModelSettings, files: ModelFiles) -> SpeculativeArgs | None:
    wanted = model.speculative
    return {"method": wanted.method, "tokens": wanted.tokens, "model_path": files.draft_path} if wanted else None


def _lora(model: ModelSettings, files: ModelFiles) -> LoraArgs | None:
    wanted = model.lora
    if wanted is None:
        return None
    return {
        "adapters": {name: {"path": files.adapters[name], "rank": adapter.rank} for name, adapter in wanted.adapters.items()},
        "max_rank": wanted.max_rank,
        "max_loras": wanted.slots,
    }
