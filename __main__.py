"""The platform of one stack: settings -> cluster -> platform -> models -> exports."""

from pathlib import Path

import pulumi

import foundation
import settings
from components.security import Namespace, PodSecurityLevel
from serve import checked, controllers, prepull, serve

config = settings.load()
file = settings.stack_file(pulumi.get_stack())
plan = settings.plan(config, file, Path(__file__).parent)

below = foundation.lay(config, plan, file)
cluster = below.cluster

namespaces = {
    role: Namespace(
        role,
        {"namespace_name": namespace, "level": level, "kubernetes_version": cluster.kubernetes_version},
        opts=pulumi.ResourceOptions(provider=below.provider),
    ).namespace_name
    for role, namespace, level in (
        ("models", config.namespaces.models, PodSecurityLevel.RESTRICTED),
        ("node-agents", config.namespaces.node_agents, PodSecurityLevel.PRIVILEGED),
    )
}
equipped = foundation.equip(config, below, namespaces)
joined = controllers(config, plan, below)
pulled = prepull(config, plan, below, namespaces)
servers = {
    name: serve(name, config, plan, below, namespaces, after=[*joined, *equipped[model.node_pool], pulled[model.node_pool]])
    for name, model in config.models.items()
}

pulumi.export("cluster", {"name": config.cluster.name, "identifier": cluster.identifier})
for key, value in below.exports.items():
    pulumi.export(key, value)
pulumi.export("namespaces", namespaces)
pulumi.export("models", {name: {"url": s.url, "arguments": s.arguments} for name, s in servers.items()})
pulumi.export("plans", {name: planned.summary() for name, planned in plan.models.items()})
pulumi.export("verification", {name: server.expectation for name, server in servers.items() if checked(config, plan, name)})
