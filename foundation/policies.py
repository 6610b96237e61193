"""Who talks to whom in a stack, by namespace."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from components.cluster.contract import PRIVATE
from components.monitoring.exporters.plan import KUBE_STATE_METRICS
from components.monitoring.targets import Target
from components.routing.config import Implementation
from components.routing.istio_mesh import PROBES_FROM, in_mesh
from components.security.network.app_flows import app_policies
from components.security.network.flows import ModelFlows, model_policies, server, tenant_policies
from components.security.network.gateway_flows import (
    GatewayFlows,
    aws_load_balancer_policies,
    balanced_policies,
    certificate_policies,
    gateway_policies,
    istiod_policies,
)
from components.security.network.monitoring_flows import (
    LogFlows,
    MonitoringFlows,
    collector_policy,
    counter_policy,
    exporter_policies,
    monitoring_policies,
    scraped_policies,
)
from components.security.network.platform_flows import ControllerFlows, agent_policies, controller_policies
from components.security.network.policies import NetworkFlowArgs, NetworkPolicyArgs
from components.security.network.surroundings import Peer, Surroundings
from components.serving.groups import MultiNode
from foundation.entering import app_flows, balanced, clients, gateway
from foundation.foundation import Foundation
from foundation.watching import logging, node_ranges, own_exporters, targets, watching
from settings.sections import Settings

_ZTUNNEL = {"app": "ztunnel"}
"""Labels of ztunnels (istio/istio manifests/charts/ztunnel/templates/daemonset.yaml)."""


def meshed(config: Settings, namespaces: Iterable[str]) -> list[str]:
    """Those of a stack's namespaces that are part of its mesh: of models, of who asks them, of who reads their metrics.

    Proxies of the gateway speak the mesh's protocol themselves, and the others ask no model.
    """
    if config.traffic is None or config.traffic.mesh is None:
        return []
    space = config.namespaces
    return sorted({*namespaces} - {space.gateway, space.controllers, space.node_agents})


@dataclass(frozen=True)
class Ways:
    """Every way that is open in a stack; `models` says what those of the stack need of each other."""

    config: Settings
    below: Foundation
    models: Mapping[str, ModelFlows]

    def of(self, namespace: str) -> dict[str, NetworkPolicyArgs]:
        """The policies of a namespace."""
        found = self._of(namespace)
        if meshed(self.config, [namespace]):
            return {key: in_mesh(policy) for key, policy in found.items()} | _probes()
        if self._ztunnels and self.gateway and namespace == self.config.namespaces.gateway:
            return {**found, "proxies": in_mesh(found["proxies"])}
        return found

    def _of(self, namespace: str) -> dict[str, NetworkPolicyArgs]:
        config, space, around = self.config, self.config.namespaces, self.around
        if namespace == space.monitoring:
            counted = KUBE_STATE_METRICS in own_exporters(config)
            programs = monitoring_policies(self.watching, self.logs, around)
            return programs | (counter_policy(around) if counted else {}) | self._scraped(namespace)
        if namespace == space.node_agents:
            agents = agent_policies(config.accelerators.supports(self.below.cluster.node_pools).values(), around)
            return agents | self._agents_that_watch() | self._scraped(namespace)
        if self.has_controllers and namespace == space.controllers:
            return self._of_controllers() | self._scraped(namespace)
        if self.gateway and namespace == space.gateway:
            return gateway_policies(self.gateway, around) | self._scraped(namespace)
        here = model_policies((flows for name, flows in self.models.items() if config.namespace_of(name) == namespace), around)
        here |= balanced_policies(balanced(config, namespace), clients(config))
        here |= app_policies(app_flows(name, config) for name in config.apps if config.namespace_of_app(name) == namespace)
        if namespace in (space.models, space.apps, space.gateway):
            return here
        return {**here, **tenant_policies(sorted({*map(config.namespace_of, self.models)}))}

    @cached_property
    def around(self) -> Surroundings:
        """What lies around the namespaces."""
        config, below = self.config, self.below
        policies = config.network_policies
        scraper = policies.scraper.peer() if policies.scraper else None
        return Surroundings(
            api_server=policies.api_server_of(below.cluster.api_server),
            gateway=self._proxies,
            scraper=self.watching.scraper if self.watching else scraper,
            clients=[client.peer() for client in policies.clients],
            mirrors=policies.mirrors,
            mirror=config.mirror.way() if config.mirror else None,
            identity=below.cluster.workload_identity,
            s3=below.aws.s3_cidrs if below.aws else None,
            aws=[*below.aws.endpoint_cidrs] if below.aws and below.aws.endpoint_cidrs else None,
            controllers=config.namespaces.controllers,
            nodes=node_ranges(config) or PRIVATE,
        )

    @property
    def _proxies(self) -> Peer | None:
        """Who passes on what clients ask."""
        theirs = self.config.network_policies.gateway
        return self.gateway.proxies if self.gateway else theirs.peer() if theirs else None

    @property
    def _ztunnels(self) -> Peer | None:
        """The mesh's proxies of the nodes."""
        mesh = self.config.traffic.mesh if self.config.traffic else None
        return Peer(mesh.ztunnel, _ZTUNNEL) if mesh else None

    @cached_property
    def gateway(self) -> GatewayFlows | None:
        """The gateway, where its proxies are the stack's own."""
        return gateway(self.config)

    @property
    def has_controllers(self) -> bool:
        """Whether anything runs among the controllers."""
        return self.controllers is not None or self.config.makes_controllers_of_traffic

    @cached_property
    def targets(self) -> list[Target]:
        """Everything whose metrics are read."""
        return targets(self.config, self.below)

    @cached_property
    def watching(self) -> MonitoringFlows | None:
        """What watches, where the stack brings that."""
        return watching(self.config, self.targets)

    @cached_property
    def logs(self) -> LogFlows | None:
        """Where logs go."""
        return logging(self.config)

    @cached_property
    def controllers(self) -> ControllerFlows | None:
        """The controllers of the stack; None without any."""
        config = self.config
        by = {name: flows.multi_node for name, flows in self.models.items() if flows.multi_node}
        secrets = config.secrets
        installed = secrets.needs_controller
        keda = config.makes_keda
        if not by and not installed and not keda:
            return None
        store = config.network_policies.store(uses_identity=secrets.aws_service is not None)
        return ControllerFlows(
            leader_worker_set=MultiNode.LEADER_WORKER_SET in by.values(),
            ray_models=[server(name, config.namespace_of(name)) for name, kept in by.items() if kept is MultiNode.RAY_SERVICE],
            external_secrets=store if secrets.by_external_secrets else None,
            sealed_secrets=installed and not secrets.by_external_secrets,
            keda_asks_on=config.prometheus_port if keda else None,
        )

    def _of_controllers(self) -> dict[str, NetworkPolicyArgs]:
        config, around = self.config, self.around
        found = controller_policies(self.controllers, around) if self.controllers else {}
        if config.makes_cert_manager:
            found |= certificate_policies(around)
        if config.balanced_by_aws:
            found |= aws_load_balancer_policies(around)
        if self.gateway and self.gateway.implementation is Implementation.ISTIO:
            found |= istiod_policies(self.gateway, around, self._ztunnels)
        return found

    def _agents_that_watch(self) -> dict[str, NetworkPolicyArgs]:
        config, found = self.config, collector_policy(self.logs, self.around) if self.logs else {}
        if config.monitoring is None:
            return found
        return found | exporter_policies(config.monitoring.exporters.wanted(self.below.cluster.node_pools), self.around)

    def _scraped(self, namespace: str) -> dict[str, NetworkPolicyArgs]:
        """What opens ports of metrics there."""
        if self.config.monitoring is None or self.around.scraper is None:
            return {}
        return scraped_policies(namespace, self.targets, self.around.scraper)


def _probes() -> dict[str, NetworkPolicyArgs]:
    """What lets kubelets ask pods of the mesh how they are, those of charts too: on any port, as they ask all others."""
    asks: NetworkFlowArgs = {"reason": "kubelets probe through the mesh", "blocks": [{"cidr": PROBES_FROM}]}
    return {
        "probes": {"pods": {}, "ingress": [asks]},
        "probes-of-charts": {"pods": {}, "made_by_chart": True, "ingress": [asks]},
    }
