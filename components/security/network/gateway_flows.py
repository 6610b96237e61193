"""Who talks to whom between clients and models: load balancers, proxies, and the controllers that make them. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pulumi

from ...names import DNS_LABEL_MAX, fit
from ...routing import (
    aws_load_balancer_controller,
    cert_manager,
    envoy_gateway_controller,
    istio_controller,
    istio_ingress,
)
from ...routing.config import Implementation
from ...routing.envoy_proxy import READY, proxy_labels
from ...serving.arguments import PORT
from .addresses import HTTPS, internet, private
from .flows import SERVERS
from .policies import NetworkFlowArgs, NetworkPolicyArgs
from .surroundings import (
    INSTANCE,
    Peer,
    Surroundings,
    answers_api,
    asks_api,
    identity,
    in_aws,
    pods_of,
)

XDS_PORT = 18000
"""Where Envoy Gateway tells proxies what to do (envoyproxy/gateway internal/xds/bootstrap, `DefaultXdsServerPort`)."""
ISTIOD_PORT, INJECTION_PORT = 15012, 15017
"""Where istiod tells proxies what to do, and where the API server asks it (istio.io/docs, "Application Requirements")."""
CERT_MANAGER_PORT, AWS_PORT = 10250, 9443
"""Where the API server asks cert-manager and the AWS Load Balancer Controller (their charts' `securePort`, `webhookBindPort`)."""
_SHIFT = 10000
"""Envoy Gateway's proxies listen that much above the ports below 1024 (internal/gatewayapi/translator.go)."""
_CONNECT = "clients connect, or the load balancer in its own name"
_CALLS = "calls of webhooks come from the API server"
_ORDERS = "proxies are told what to do"


@dataclass(frozen=True, kw_only=True)
class Clients:
    """Who connects, wherever the load balancer leads."""

    ranges: Sequence[str]
    """Their addresses."""
    balancers: Sequence[str] = ()
    """Addresses of what passes connections on in its own name and asks whether pods are well. On AWS those of the network; empty
    where a load balancer keeps the address of the client, and nodes that run no proxy pass nothing on."""
    pods: Sequence[Peer] = ()
    """Pods that connect."""


@dataclass(frozen=True, kw_only=True)
class GatewayFlows:
    """A gateway of the stack's own."""

    name: str
    """Name of the gateway."""
    namespace_name: pulumi.Input[str]
    """Of its proxies."""
    implementation: Implementation
    """Envoy Gateway or Istio."""
    controllers: pulumi.Input[str]
    """Namespace of istiod; Envoy Gateway is where its proxies are."""
    clients: Clients
    models: Sequence[Peer]
    """Servers it leads to."""
    tls: bool
    """Whether it answers by https."""
    checks_tokens: bool = False
    """Whether it checks tokens that somebody else signs (JWT)."""
    keys_at: Sequence[str] = ()
    """Where the keys are that tokens are checked with; on the internet where that is empty."""

    @property
    def proxies(self) -> Peer:
        """Its proxies, as models let them in."""
        labels = istio_ingress.PODS if self._by_istio else proxy_labels(self.name)
        return Peer(self.namespace_name, labels)

    @property
    def ports(self) -> list[int]:
        """Where its proxies listen."""
        wanted = (80, 443) if self.tls else (80,)
        return [istio_ingress.PORTS[port] if self._by_istio else port + _SHIFT for port in wanted]

    @property
    def controller(self) -> Peer:
        """What tells the proxies what to do."""
        if self._by_istio:
            return Peer(self.controllers, istio_controller.PODS)
        return Peer(self.namespace_name, envoy_gateway_controller.PODS)

    @property
    def _by_istio(self) -> bool:
        return self.implementation is Implementation.ISTIO

    @property
    def orders_port(self) -> int:
        """Port of the controller."""
        return ISTIOD_PORT if self._by_istio else XDS_PORT

    @property
    def ready_port(self) -> int:
        """Where load balancers ask whether a proxy is well."""
        return (istio_ingress.READY if self._by_istio else READY)[0]

    @property
    def keys(self) -> NetworkFlowArgs:
        """To who signs tokens: Envoy Gateway's proxies ask themselves, for Istio's the controller does."""
        way: NetworkFlowArgs = {"reason": "the keys of tokens are fetched", "ports": [{"port": HTTPS}]}
        return {**way, "blocks": [*map(private, self.keys_at)] if self.keys_at else internet()}


def gateway_policies(gateway: GatewayFlows, around: Surroundings) -> dict[str, NetworkPolicyArgs]:
    """The policies of the namespace of a gateway."""
    by_istio = gateway.implementation is Implementation.ISTIO
    orders: NetworkFlowArgs = {
        "reason": _ORDERS,
        "pods": [pods_of(gateway.controller)],
        "ports": [{"port": gateway.orders_port}],
    }
    asks: NetworkFlowArgs = {
        "reason": "requests go to models",
        "pods": [*map(pods_of, gateway.models)],
        "ports": [{"port": PORT}],
    }
    found: dict[str, NetworkPolicyArgs] = {
        "proxies": {
            "pods": dict(gateway.proxies.labels),
            "made_by_chart": True,
            "resolves_names": True,
            "ingress": [*_connects(gateway.clients, gateway.ports, gateway.ready_port)],
            "egress": [
                orders,
                *([asks] if gateway.models else []),
                *([gateway.keys] if gateway.checks_tokens and not by_istio else []),
            ],
        }
    }
    if by_istio:
        return found
    works = [*asks_api(around, "it watches gateways and routes, and makes proxies")]
    certificates = [*asks_api(around, "it keeps certificates for controller and proxies")]
    return {
        **found,
        "envoy-gateway": _chart(envoy_gateway_controller.PODS, [_obeyed(gateway, [gateway.proxies])], works),
        "envoy-gateway-certificates": _chart(envoy_gateway_controller.CERTIFICATES, [], certificates),
    }


def istiod_policies(gateway: GatewayFlows, around: Surroundings, ztunnels: Peer | None = None) -> dict[str, NetworkPolicyArgs]:
    """The policy of Istio's control plane, in the namespace of controllers; `ztunnels` are those of an ambient mesh."""
    works = [*asks_api(around, "it watches what proxies are to do")]
    keys = [gateway.keys] if gateway.checks_tokens else []
    calls = answers_api(around, INJECTION_PORT, _CALLS)
    told = [gateway.proxies, *([ztunnels] if ztunnels else [])]
    policy = _chart(istio_controller.PODS, [_obeyed(gateway, told), calls], [*works, *keys])
    return {"istiod": {**policy, "resolves_names": gateway.checks_tokens}}


def certificate_policies(around: Surroundings) -> dict[str, NetworkPolicyArgs]:
    """The policies of cert-manager, in the namespace of controllers. It asks nobody but the API server: that is enough for an
    authority of the stack's own."""
    works = [*asks_api(around, "it keeps certificates and what belongs to them")]
    calls = [answers_api(around, CERT_MANAGER_PORT, _CALLS)]
    return {
        "cert-manager": _chart(cert_manager.CONTROLLER, [], works),
        "cert-manager-webhook": _chart(cert_manager.WEBHOOK, calls, works),
        "cert-manager-injector": _chart(cert_manager.INJECTOR, [], works),
        "cert-manager-check": _chart(cert_manager.CHECK, [], works),
    }


def aws_load_balancer_policies(around: Surroundings) -> dict[str, NetworkPolicyArgs]:
    """The policy of what makes load balancers on AWS, in the namespace of controllers."""
    works = [*asks_api(around, "it watches Services"), in_aws(around, "it makes load balancers"), *identity(around)]
    policy = _chart(aws_load_balancer_controller.PODS, [answers_api(around, AWS_PORT, _CALLS)], works)
    return {"aws-load-balancer-controller": {**policy, "resolves_names": True}}


def balanced_policies(models: Iterable[str], clients: Clients) -> dict[str, NetworkPolicyArgs]:
    """What opens the servers of models to clients that a load balancer leads to them without a gateway."""
    return {
        fit("clients", model, limit=DNS_LABEL_MAX): {
            "pods": {INSTANCE: fit(model, limit=DNS_LABEL_MAX), **SERVERS},
            "ingress": [*_connects(clients, [PORT], PORT)],
        }
        for model in models
    }


def _connects(clients: Clients, ports: Sequence[int], ready: int) -> Iterator[NetworkFlowArgs]:
    ranges = sorted({*clients.ranges, *clients.balancers})
    listens: NetworkFlowArgs = {"reason": _CONNECT, "ports": [{"port": port} for port in ports]}
    yield {**listens, "blocks": [*map(private, ranges)]}
    if clients.pods:
        yield {**listens, "reason": "named pods connect", "pods": [*map(pods_of, clients.pods)]}
    if clients.balancers and ready not in ports:
        asked: NetworkFlowArgs = {"reason": "the load balancer asks whether they are well", "ports": [{"port": ready}]}
        yield {**asked, "blocks": [*map(private, clients.balancers)]}


def _obeyed(gateway: GatewayFlows, proxies: Sequence[Peer]) -> NetworkFlowArgs:
    return {"reason": _ORDERS, "pods": [*map(pods_of, proxies)], "ports": [{"port": gateway.orders_port}]}


def _chart(labels: Mapping[str, str], ingress: list[NetworkFlowArgs], egress: list[NetworkFlowArgs]) -> NetworkPolicyArgs:
    return {"pods": dict(labels), "made_by_chart": True, "ingress": ingress, "egress": egress}
