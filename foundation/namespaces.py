"""The namespaces of a stack: for whom they are, what may pass between their pods, and whose pods go first."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.security import Namespace, NetworkPolicySet, PodSecurityLevel, PriorityClasses, Tenant
from components.security.network.flows import ModelFlows, server_key, unreachable
from foundation.foundation import Foundation
from foundation.policies import Ways
from settings.sections import Settings
from settings.tenants import TenantPriority, team_of


@dataclass(frozen=True, kw_only=True)
class Namespaces:
    """The namespaces of a stack, and who goes first in them."""

    names: Mapping[str, pulumi.Output[str]]
    """By name in the cluster: the same name, known once everything that guards the namespace is there."""
    classes: Mapping[str, pulumi.Output[str]]
    """By namespace the priority class of its servers."""
    policies: Mapping[str, Mapping[str, pulumi.Output[str]]]
    """By namespace and key the names of its policies."""

    def ray_policy(self, namespace: str, model: str) -> pulumi.Output[str]:
        """Name of the policy that closes the ports of Ray to everybody but the model's own pods."""
        return self.policies[namespace][server_key(model)]


def partition(config: Settings, below: Foundation, models: Mapping[str, ModelFlows]) -> Namespaces:
    """Every namespace, with what guards it; `models` says what those of the stack need of each other."""
    on_cluster = pulumi.ResourceOptions(provider=below.provider)
    ways = Ways(config, below, models)
    for name in unreachable(models.values(), ways.around):
        pulumi.log.warn(
            f"models.{name}.clients: nobody is named, so no pod may ask this model; name those that may, e.g. "
            "clients: [{namespace: apps, pods: {app: chat}}], or the gateway in networkPolicies.gateway"
        )
    classes = PriorityClasses("priorities", {}, opts=on_cluster)
    made = _platform(config, below, controllers=ways.controllers is not None)
    teams = _tenants(config, below, classes)
    sets = {
        name: NetworkPolicySet(
            name,
            {
                "namespace_name": namespace,
                "policies": ways.of(name),
                "dns": config.network_policies.dns.args(),
            },
            opts=on_cluster,
        )
        for name, namespace in {**made, **teams}.items()
    }
    return Namespaces(
        names={name: each.namespace_name for name, each in sets.items()},
        classes={name: _class(config, name, classes) for name in sets},
        policies={name: each.policies for name, each in sets.items()},
    )


def _platform(config: Settings, below: Foundation, *, controllers: bool) -> dict[str, pulumi.Output[str]]:
    wanted = [
        ("models", config.namespaces.models, PodSecurityLevel.RESTRICTED),
        ("node-agents", config.namespaces.node_agents, PodSecurityLevel.PRIVILEGED),
    ]
    if config.has_monitoring_namespace:
        wanted.append(("monitoring", config.namespaces.monitoring, PodSecurityLevel.BASELINE))
    if controllers:
        wanted.append(("controllers", config.namespaces.controllers, PodSecurityLevel.BASELINE))
    return {
        name: Namespace(
            role,
            {"namespace_name": name, "level": level, "kubernetes_version": below.cluster.kubernetes_version},
            opts=pulumi.ResourceOptions(provider=below.provider),
        ).namespace_name
        for role, name, level in wanted
    }


def _tenants(config: Settings, below: Foundation, classes: PriorityClasses) -> dict[str, pulumi.Output[str]]:
    offered = sorted({pool.accelerator.offered for pool in below.cluster.node_pools if pool.accelerator})
    found: dict[str, pulumi.Output[str]] = {}
    for team, tenant in config.tenants.items():
        high = [classes.serving_name] if tenant.priority is TenantPriority.SERVING else []
        found |= Tenant(
            team,
            {
                "tenant": team,
                "namespaces": {name: namespace.args() for name, namespace in tenant.named(team).items()},
                "accelerator_resources": offered,
                "kubernetes_version": below.cluster.kubernetes_version,
                "priority_classes": [*high, classes.batch_name],
                "deployer_groups": list(tenant.groups(team)),
            },
            opts=pulumi.ResourceOptions(provider=below.provider),
        ).namespace_names
    return found


def _class(config: Settings, namespace: str, classes: PriorityClasses) -> pulumi.Output[str]:
    """The priority class of servers in a namespace: that of its team, and the platform's own serve."""
    team = team_of(config.tenants, namespace)
    waits = team is not None and config.tenants[team].priority is TenantPriority.BATCH
    return classes.batch_name if waits else classes.serving_name
