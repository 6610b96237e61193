"""The platform of one stack: settings -> cluster -> platform -> models -> exports."""

import math

import pulumi
import pulumi_kubernetes

import settings
from components.cluster import ExistingCluster, kubeconfig_path, read_context
from components.security import Namespace, PodSecurityLevel
from components.serving import ModelServer
from components.storage import ModelCache, ModelDownload

config = settings.load()
where = f"{settings.stack_file(pulumi.get_stack())}: cluster.context"

cluster = ExistingCluster(
    "cluster",
    {
        "cluster_name": config.cluster.name,
        "kubeconfig": pulumi.Output.secret(read_context(kubeconfig_path(), config.cluster.context, where)),
        "kubernetes_version": config.cluster.kubernetes_version,
        "node_pools": [config.cluster.pool(name).args() for name in config.cluster.node_pools],
    },
).contract
on_cluster = pulumi.ResourceOptions(
    provider=pulumi_kubernetes.Provider("kubernetes", kubeconfig=cluster.kubeconfig, cluster_identifier=cluster.identifier)
)

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
    pool = cluster.pool(model.node_pool)
    cache = ModelCache(
        name,
        {
            "namespace_name": namespaces["models"],
            "node_agents_namespace_name": namespaces["node-agents"],
            "host_path": f"{model.cache.path}/{name}",
            "size_gib": math.ceil(model.weights_gib * 1.2),
            "pool": pool.args(),
        },
        opts=on_cluster,
    )
    download = ModelDownload(
        name,
        {
            "namespace_name": namespaces["models"],
            "claim_name": cache.claim_name,
            "source": model.source,
            "revision": model.revision,
            "weights_gib": model.weights_gib,
            "pool": pool.args(),
        },
        opts=on_cluster,
    )
    servers[name] = ModelServer(
        name,
        {
            "model_name": name,
            "model_path": download.model_path,
            "weights_gib": model.weights_gib,
            "namespace_name": namespaces["models"],
            "claim_name": cache.claim_name,
            "pool": pool.args(),
            "accelerators": model.accelerators,
            "replicas": model.replicas,
            "spare_accelerators": config.spare_accelerators(model.node_pool),
            "max_model_len": model.max_model_len,
            "gpu_memory_utilization": model.gpu_memory_utilization,
            "max_num_seqs": model.max_num_seqs,
        },
        opts=on_cluster,
    )

pulumi.export("cluster", {"name": config.cluster.name, "identifier": cluster.identifier})
pulumi.export("namespaces", namespaces)
pulumi.export("models", {name: {"url": s.url, "arguments": s.arguments, "plan": s.plan} for name, s in servers.items()})
