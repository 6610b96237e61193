"""The platform of one stack: settings -> cluster -> platform -> models -> exports."""

import math
from pathlib import Path

import pulumi

import foundation
import settings
from components.security import Namespace, PodSecurityLevel
from components.serving import ModelServer
from components.storage import ModelCache, ModelCacheArgs, ModelDownload

config = settings.load()
file = settings.stack_file(pulumi.get_stack())
plan = settings.plan(config, file, Path(__file__).parent)

below = foundation.lay(config, plan, file)
cluster, on_cluster = below.cluster, pulumi.ResourceOptions(provider=below.provider)

namespaces = {
    role: Namespace(
        role,
        {"namespace_name": namespace, "level": level, "kubernetes_version": cluster.kubernetes_version},
        opts=on_cluster,
    ).namespace_name
    for role, namespace, level in (
        ("models", config.namespaces.models, PodSecurityLevel.RESTRICTED),
        ("node-agents", config.namespaces.node_agents, PodSecurityLevel.PRIVILEGED),
    )
}

servers = {}
for name, model in config.models.items():
    pool, planned = cluster.pool(model.node_pool), plan.models[name]
    options = planned.placement.options
    place: ModelCacheArgs = {"namespace_name": namespaces["models"], "size_gib": math.ceil(planned.stored_gib)}
    if name in below.volumes:
        place["volume"] = below.volumes[name]
    else:
        place["node_disk"] = {
            "host_path": f"{model.cache.path or below.cache_paths[model.node_pool]}/{name}",
            "node_agents_namespace_name": namespaces["node-agents"],
            "pool": pool.args(),
        }
    cache = ModelCache(name, place, opts=on_cluster)
    download = ModelDownload(
        name,
        {
            "namespace_name": namespaces["models"],
            "claim_name": cache.claim_name,
            "source": model.source,
            "revision": model.revision,
            "weights_gib": planned.weights_gib,
            "pool": pool.args(),
        },
        opts=on_cluster,
    )
    servers[name] = ModelServer(
        name,
        {
            "model_name": name,
            "model_path": download.model_path,
            "weights_gib": planned.weights_gib,
            "predicted_start_seconds": planned.cold.container_s,
            "startup_seconds": planned.startup_seconds,
            "deadline_seconds": planned.deadline_seconds,
            "namespace_name": namespaces["models"],
            "claim_name": cache.claim_name,
            "pool": pool.args(),
            "task": model.task,
            "aliases": list(model.aliases),
            "engine_version": model.engine.version,
            "accepted_advisories": list(model.engine.accepted_advisories),
            "image": model.engine.image,
            "parallelism": {
                "tensor": options.tensor_parallel_size,
                "pipeline": options.pipeline_parallel_size,
                "data": options.data_parallel_size,
                "expert": options.enable_expert_parallel,
            },
            "multi_node": model.multi_node,
            "replicas": model.replicas,
            "spare_accelerators": plan.free[model.node_pool],
            "max_model_len": model.max_model_len,
            "gpu_memory_utilization": planned.placement.fit.gpu_memory_utilization,
            "max_num_seqs": planned.placement.fit.max_num_seqs,
            "max_num_batched_tokens": planned.placement.fit.max_num_batched_tokens,
            "kv_cache_dtype": model.kv_cache_dtype,
            "dtype": model.dtype,
            "quantization": model.quantization,
            "enable_prefix_caching": model.prefix_caching,
            "enable_chunked_prefill": model.chunked_prefill,
            "enforce_eager": model.enforce_eager,
            "kv_offloading_gib": model.kv_offloading_gib,
            "tool_call_parser": model.tool_call_parser,
            "reasoning_parser": model.reasoning_parser,
            "drain": model.drain.args(),
            "priority_class_name": model.priority_class_name,
            "host_users": model.host_users,
            "extra_arguments": list(model.extra_arguments),
            "environment": dict(model.environment),
        },
        opts=on_cluster,
    )

pulumi.export("cluster", {"name": config.cluster.name, "identifier": cluster.identifier})
for key, value in below.exports.items():
    pulumi.export(key, value)
pulumi.export("namespaces", namespaces)
pulumi.export("models", {name: {"url": s.url, "arguments": s.arguments} for name, s in servers.items()})
pulumi.export("plans", {name: planned.summary() for name, planned in plan.models.items()})
