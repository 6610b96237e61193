"""What a model entry of a stack becomes: its files, its server, and the check that it answers."""

from collections.abc import Mapping, Sequence

import pulumi

from components.security import Namespace, PodSecurityLevel
from components.serving import ImagePrepull, KubeRayOperator, LeaderWorkerSetController, ModelServer, ModelVerification
from components.serving.config import ModelServerArgs
from components.serving.controllers import ControllerArgs
from components.serving.engine_images import engine_on
from components.serving.groups import LoraArgs, MultiNode, SpeculativeArgs
from components.types import SecretKeyArgs
from foundation import Foundation, ModelFiles, Storing, store
from planner.stack import ModelPlan, StackPlan
from settings.models import ModelSettings, SecretKeySettings
from settings.sections import Settings

Namespaces = Mapping[str, pulumi.Output[str]]
"""By role: `models` and `node-agents`."""


def controllers(config: Settings, plan: StackPlan, below: Foundation) -> list[pulumi.Resource]:
    """What keeps the pods of replicas together that span nodes, where there are any; in a namespace of their own."""
    wanted = {model.multi_node for name, model in config.models.items() if plan.models[name].placement.nodes > 1}
    on_cluster = pulumi.ResourceOptions(provider=below.provider)
    if not wanted:
        return []
    namespace = Namespace(
        "controllers",
        {
            "namespace_name": config.namespaces.controllers,
            "level": PodSecurityLevel.BASELINE,
            "kubernetes_version": below.cluster.kubernetes_version,
        },
        opts=on_cluster,
    )
    args: ControllerArgs = {"namespace_name": namespace.namespace_name, "system_labels": dict(below.system_labels)}
    made: list[pulumi.Resource] = []
    if MultiNode.LEADER_WORKER_SET in wanted:
        made.append(LeaderWorkerSetController("leader-worker-set", args, opts=on_cluster))
    if MultiNode.RAY_SERVICE in wanted:
        made.append(KubeRayOperator("kuberay", args, opts=on_cluster))
    return made


def prepull(config: Settings, plan: StackPlan, below: Foundation, namespaces: Namespaces) -> dict[str, pulumi.Resource]:
    """By pool: the engines of its models on all its nodes."""
    images: dict[str, set[str]] = {}
    for name, model in config.models.items():
        images.setdefault(model.node_pool, set()).add(_image(model, plan.models[name], below))
    return {
        pool: ImagePrepull(
            pool,
            {"namespace_name": namespaces["models"], "images": sorted(wanted), "pool": below.cluster.pool(pool).args()},
            opts=pulumi.ResourceOptions(provider=below.provider),
        )
        for pool, wanted in images.items()
    }


def serve(
    name: str, config: Settings, plan: StackPlan, below: Foundation, namespaces: Namespaces, after: Sequence[pulumi.Resource]
) -> ModelServer:
    """The server of a model, with its files before it and, unless the settings say otherwise, a check behind it."""
    model, planned = config.models[name], plan.models[name]
    image = _image(model, planned, below)
    files = store(Storing(name=name, model=model, planned=planned, below=below, namespaces=namespaces, image=image))
    spare = plan.free[model.node_pool]
    server = ModelServer(
        name,
        _server(name, config, planned, files, below, namespaces["models"], spare),
        opts=pulumi.ResourceOptions(provider=below.provider, depends_on=list(after)),
    )
    if model.verify and checked(config, plan, name):
        ModelVerification(
            name,
            {
                "model_name": name,
                "namespace_name": namespaces["models"],
                "expectation": server.expectation,
                "pool": below.cluster.pool(model.node_pool).args(),
                "api_key_secret": _secret(model.api_key_secret),
            },
            opts=pulumi.ResourceOptions(provider=below.provider),
        )
    return server


def checked(config: Settings, plan: StackPlan, name: str) -> bool:
    """Whether a server can be compared with its plan: not where Ray starts the engines, with command lines of its own."""
    return plan.models[name].placement.nodes == 1 or config.models[name].multi_node is MultiNode.LEADER_WORKER_SET


def _image(model: ModelSettings, planned: ModelPlan, below: Foundation) -> str:
    pool, nodes = below.cluster.pool(model.node_pool), planned.placement.nodes
    return engine_on(pool, model.engine.image, model.engine.version, nodes).image


def _server(
    name: str,
    config: Settings,
    planned: ModelPlan,
    files: ModelFiles,
    below: Foundation,
    namespace_name: pulumi.Output[str],
    spare_accelerators: int,
) -> ModelServerArgs:
    """Settings where they were given, the plan where it decides."""
    model, options, fit = config.models[name], planned.placement.options, planned.placement.fit
    return {
        "model_name": name,
        "aliases": list(model.aliases),
        "task": model.task,
        "model_path": files.model_path,
        "claim_name": files.claim_name,
        "cache_directories": list(files.directories),
        "vocabulary_directory": files.vocabulary_directory,
        "compile_claim_name": files.compile_claim_name,
        "load": files.load,
        "region": files.region,
        "service_account_name": files.service_account_name,
        "namespace_name": namespace_name,
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
        "controllers_namespace_name": config.namespaces.controllers,
        "replicas": model.replicas,
        # A cache that one node at a time has keeps a second server from starting beside the first.
        "spare_accelerators": 0 if model.cache.exclusive else spare_accelerators,
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
        "api_key_secret": _secret(model.api_key_secret),
        "drain": model.drain.args(),
        "priority_class_name": model.priority_class_name,
        "host_users": model.host_users,
        "extra_arguments": list(model.extra_arguments),
        "environment": dict(model.environment),
    }


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


def _secret(wanted: SecretKeySettings | None) -> SecretKeyArgs | None:
    return {"name": wanted.name, "key": wanted.key} if wanted else None
