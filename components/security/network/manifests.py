"""Specs of NetworkPolicies. Pure functions; names of namespaces and ranges of addresses may be outputs."""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any

import pulumi

from ...base import PACKAGE, PART_OF
from .policies import Dns, Flow, Policy, Port

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""Label that the API server itself gives every namespace (kubernetes.io, "Automatic labelling")."""
_BOTH = ["Ingress", "Egress"]
_DNS_PORTS = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
_ASKS_DNS = "out 53/UDP, 53/TCP: names are resolved by the cluster's DNS"


def default_deny() -> dict[str, Any]:
    """Spec of the policy that closes every pod of a namespace, both ways."""
    return {"podSelector": {}, "policyTypes": _BOTH}


def policy_spec(policy: Policy, dns: Dns) -> dict[str, Any]:
    """Spec of the policy of some pods."""
    egress = [_rule(flow, "to") for flow in policy.egress]
    if policy.resolves_names:
        egress.append({"to": _dns_peers(dns), "ports": _DNS_PORTS})
    return {
        "podSelector": _selector(policy),
        "policyTypes": _BOTH,
        **({"ingress": [_rule(flow, "from") for flow in policy.ingress]} if policy.ingress else {}),
        **({"egress": egress} if egress else {}),
    }


def reasons(policy: Policy) -> str:
    """A line for each rule of the spec, in its order."""
    lines = [f"in {_shown(flow.ports)}: {flow.reason}" for flow in policy.ingress]
    lines += [f"out {_shown(flow.ports)}: {flow.reason}" for flow in policy.egress]
    return "\n".join([*lines, *([_ASKS_DNS] if policy.resolves_names else [])])


def _selector(policy: Policy) -> dict[str, Any]:
    """The platform's pods, or those a chart made: whoever may not make pods with the platform's label cannot be one of ours."""
    if policy.made_by_chart:
        labels = {"matchLabels": dict(policy.pods)} if policy.pods else {}
        return {**labels, "matchExpressions": [{"key": PART_OF, "operator": "NotIn", "values": [PACKAGE]}]}
    return {"matchLabels": {**policy.pods, PART_OF: PACKAGE}}


def _rule(flow: Flow, peers: str) -> dict[str, Any]:
    fixed = [*_pods(flow), *_blocks(flow)]
    ports = {"ports": [_port(port) for port in flow.ports]} if flow.ports else {}
    if flow.cidrs is None:
        return {peers: fixed, **ports}
    # Fixed peers may hold outputs themselves: the list is put together once all of it is known.
    everyone = pulumi.Output.all(fixed=fixed, cidrs=flow.cidrs).apply(
        lambda known: [*known["fixed"], *({"ipBlock": {"cidr": cidr}} for cidr in sorted(known["cidrs"]))]
    )
    return {peers: everyone, **ports}


def _pods(flow: Flow) -> Iterator[dict[str, Any]]:
    for pods in flow.pods:
        where = (
            {} if pods.namespace_name is None else {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: pods.namespace_name}}}
        )
        # Both in one peer: two would be either.
        yield {**where, "podSelector": {"matchLabels": dict(pods.labels)} if pods.labels else {}}


def _blocks(flow: Flow) -> Iterator[dict[str, Any]]:
    for block in flow.blocks:
        yield {"ipBlock": {"cidr": block.cidr} | ({"except": list(block.excluded)} if block.excluded else {})}


def _port(port: Port) -> dict[str, Any]:
    return {"protocol": port.protocol.value, "port": port.port} | ({"endPort": port.end} if port.end is not None else {})


def _dns_peers(dns: Dns) -> list[dict[str, Any]]:
    pods = {
        "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: dns.namespace_name}},
        "podSelector": {"matchLabels": dict(dns.pods)},
    }
    caches = (ipaddress.ip_network(address) for address in dns.addresses)
    return [pods, *({"ipBlock": {"cidr": str(cache)}} for cache in caches)]


def _shown(ports: Sequence[Port]) -> str:
    if not ports:
        return "on every port"
    return ", ".join(f"{port.port}{f'-{port.end}' if port.end else ''}/{port.protocol}" for port in ports)
