"""One working example of every component. A component without one fails the contract tests."""

from collections.abc import Callable

import pulumi
import pulumi_kubernetes as kubernetes
import yaml

from components.base import PlatformComponent
from components.cluster import ExistingCluster
from components.security import Namespace, PodSecurityLevel
from components.serving import ModelServer
from components.storage import ModelCache, ModelDownload
from components.types import NodePoolArgs, TaintEffect

KUBECONFIG = yaml.safe_dump(
    {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": "https://127.0.0.1:6443"}}],
        "users": [{"name": "me", "user": {}}],
    }
)

POOL: NodePoolArgs = {
    "name": "l4",
    "accelerator": {"resource": "nvidia.com/gpu", "per_node": 1},
    "max_nodes": 1,
    "labels": {"node.kubernetes.io/instance-type": "g6.xlarge"},
    "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": TaintEffect.NO_SCHEDULE}],
}

Example = Callable[[str, pulumi.ResourceOptions], PlatformComponent]

EXAMPLES: dict[type[PlatformComponent], Example] = {
    ExistingCluster: lambda name, opts: ExistingCluster(
        name,
        {"cluster_name": "here", "kubeconfig": KUBECONFIG, "kubernetes_version": "1.36", "node_pools": [POOL]},
        opts,
    ),
    Namespace: lambda name, opts: Namespace(
        name, {"namespace_name": "models", "level": PodSecurityLevel.RESTRICTED, "kubernetes_version": "1.36"}, opts
    ),
    ModelCache: lambda name, opts: ModelCache(
        name,
        {
            "namespace_name": "models",
            "size_gib": 7,
            "node_disk": {
                "host_path": "/var/lib/llm-platform/models/qwen",
                "node_agents_namespace_name": "node-agents",
                "pool": POOL,
            },
        },
        opts,
    ),
    ModelDownload: lambda name, opts: ModelDownload(
        name,
        {
            "namespace_name": "models",
            "claim_name": "cache",
            "source": "Qwen/Qwen2.5-7B-Instruct-AWQ",
            "revision": "b25037543e9394b818fdfca67ab2a00ecc7dd641",
            "weights_gib": 5.2,
            "pool": POOL,
        },
        opts,
    ),
    ModelServer: lambda name, opts: ModelServer(
        name,
        {
            "model_name": "qwen",
            "model_path": "/models/qwen",
            "weights_gib": 5.2,
            "namespace_name": "models",
            "claim_name": "cache",
            "pool": POOL,
            "max_model_len": 8192,
        },
        opts,
    ),
}


def build(component: type[PlatformComponent], name: str = "example") -> None:
    """A program with that component on an explicit provider."""
    provider = kubernetes.Provider("cluster", kubeconfig=KUBECONFIG)
    EXAMPLES[component](name, pulumi.ResourceOptions(provider=provider))
