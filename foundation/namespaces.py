"""The namespaces of a stack: for whom they are, what may pass between their pods, and whose pods go first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.routing import AwsLoadBalancerController
from components.routing.aws_load_balancer_controller import AwsLoadBalancerControllerArgs
from components.security import Namespace, NetworkPolicySet, PodSecurityLevel, PriorityClasses, Tenant
from components.security.network.app_flows import unreachable_apps
from components.security.network.flows import ModelFlows, server_key, unreachable
from foundation.entering import app_flows
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
    load_balancers: Sequence[pulumi.Resource]
    """What makes load balancers of Services, where somebody does: it outlives them."""
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
    for name in unreachable_apps(app_flows(name, config) for name in config.apps):
        pulumi.log.warn(
            f"apps.{name}.clients: nobody is named, so no pod may ask this app; name those that may, or give it a loadBalancer"
        )
    classes = PriorityClasses("priorities", {}, opts=on_cluster)
    guarded = _Guarded(config, below, ways)
    balancers = guarded.load_balancers() if config.balanced_by_aws else []
    for role, name, level in _platform(config, controllers=ways.has_controllers):
        guarded.add(role, name, level, after=balancers if role == "gateway" else [])
    for name, namespace in _tenants(config, below, classes).items():
        guarded.guard(name, namespace)
    sets = guarded.sets
    return Namespaces(
        load_balancers=balancers,
        names={name: each.namespace_name for name, each in sets.items()},
        classes={name: _class(config, name, classes) for name in sets},
        policies={name: each.policies for name, each in sets.items()},
    )


class _Guarded:
    """Namespaces that are made one after the other, each with its policies."""

    def __init__(self, config: Settings, below: Foundation, ways: Ways) -> None:
        self._config, self._below, self._ways = config, below, ways
        self.sets: dict[str, NetworkPolicySet] = {}

    def add(self, role: str, name: str, level: PodSecurityLevel, after: Sequence[pulumi.Resource] = ()) -> None:
        """A namespace of the platform, unless it is there."""
        if name in self.sets:
            return
        made = Namespace(
            role,
            {"namespace_name": name, "level": level, "kubernetes_version": self._below.cluster.kubernetes_version},
            opts=pulumi.ResourceOptions(provider=self._below.provider, depends_on=list(after)),
        )
        self.guard(name, made.namespace_name)

    def guard(self, name: str, namespace: pulumi.Output[str]) -> None:
        """The policies of a namespace."""
        self.sets[name] = NetworkPolicySet(
            name,
            {
                "namespace_name": namespace,
                "policies": self._ways.of(name),
                "dns": self._config.network_policies.dns.args(),
            },
            opts=pulumi.ResourceOptions(provider=self._below.provider),
        )

    def load_balancers(self) -> list[pulumi.Resource]:
        """What makes load balancers on AWS. It comes before the namespace of the gateway: what is in that is gone before it goes,
        the load balancer that Envoy Gateway asked for with it."""
        where, space = self._below.aws, self._config.namespaces.controllers
        assert where is not None  # noqa: S101
        self.add("controllers", space, PodSecurityLevel.BASELINE)
        args: AwsLoadBalancerControllerArgs = {
            "namespace_name": self.sets[space].namespace_name,
            "system_labels": dict(self._below.system_labels),
            "cluster_name": where.cluster_name,
            "vpc_id": where.vpc_id,
            "security_group_ids": [where.node_security_group_id],
        }
        both = pulumi.ResourceOptions(providers={"aws": where.provider, "kubernetes": self._below.provider})
        return [AwsLoadBalancerController("load-balancers", args, opts=both)]


def _platform(config: Settings, *, controllers: bool) -> list[tuple[str, str, PodSecurityLevel]]:
    wanted = [
        ("models", config.namespaces.models, PodSecurityLevel.RESTRICTED),
        ("node-agents", config.namespaces.node_agents, PodSecurityLevel.PRIVILEGED),
    ]
    if config.has_monitoring_namespace:
        wanted.append(("monitoring", config.namespaces.monitoring, PodSecurityLevel.BASELINE))
    if config.has_gateway_namespace:
        wanted.append(("gateway", config.namespaces.gateway, PodSecurityLevel.BASELINE))
    if config.has_apps_namespace:
        wanted.append(("apps", config.namespaces.apps, PodSecurityLevel.RESTRICTED))
    if controllers:
        wanted.append(("controllers", config.namespaces.controllers, PodSecurityLevel.BASELINE))
    return wanted


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
