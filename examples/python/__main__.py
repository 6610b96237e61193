"""A team's own model on a cluster that others run."""

import pulumi
import pulumi_kubernetes as kubernetes
from llm_platform.security import Namespace, NetworkPolicySet, PodSecurityLevel
from llm_platform.serving import ModelServer
from llm_platform.storage import ModelCache
from llm_platform.types import NodePoolArgs, TaintEffect

config = pulumi.Config()
cluster = kubernetes.Provider("cluster", kubeconfig=config.require_secret("kubeconfig"))
there = pulumi.ResourceOptions(provider=cluster)

# As the platform's stack file has the pool.
l4: NodePoolArgs = {
    "name": "l4",
    "accelerator": {"product": "L4", "per_node": 1},
    "max_nodes": 1,
    "labels": {"node.kubernetes.io/instance-type": "g6.xlarge"},
    "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": TaintEffect.NO_SCHEDULE}],
}

room = Namespace(
    "room", {"namespace_name": "team-chat", "level": PodSecurityLevel.RESTRICTED, "kubernetes_version": "1.36"}, there
)
doors = NetworkPolicySet(
    "doors",
    {
        "namespace_name": room.namespace_name,
        "policies": {
            "server": {
                "pods": {"app.kubernetes.io/instance": "qwen"},
                "ingress": [
                    {"reason": "the team's own pages ask it", "pods": [{"labels": {"app": "web"}}], "ports": [{"port": 8000}]}
                ],
            }
        },
    },
    there,
)
# The file server of those who run the cluster has the models.
files = ModelCache(
    "files",
    {
        "namespace_name": doors.namespace_name,
        "size_gib": 7,
        "nfs": {"server": config.require("fileServer"), "path": "/models/qwen"},
    },
    there,
)
qwen = ModelServer(
    "qwen",
    {
        "model_name": "qwen",
        "model_path": "/models",
        "claim_name": files.claim_name,
        "weights_gib": 5.2,
        "namespace_name": doors.namespace_name,
        "pool": l4,
        "max_model_len": config.get_int("maxModelLen", 8192),
    },
    there,
)
pulumi.export("url", qwen.url)
