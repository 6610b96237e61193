"""Who reaches whom on which port, as NetworkPolicies decide it (networking.k8s.io/v1; kubernetes.io/docs, "Network Policies").

Pure: policies are plain objects as the API server has them. A pod that no policy selects for a direction is open in it; one that
is selected is open to what some rule allows, and a connection takes both the egress of its source and the ingress of its
destination. What Kubernetes leaves to the network plugin is judged the way that lets more through: an `ipBlock` matches the
addresses of pods too. Pods on the network of their node are outside of all this, and so is what comes from the node of a pod.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from typing import Any

REASONS = "llm-platform/reasons"
"""Annotation of a policy: a line for each of its rules, those of ingress first."""

Labels = Mapping[str, str]
Policy = Mapping[str, Any]
Range = tuple[str, int, int]
"""Protocol, first and last port."""

EVERYTHING: frozenset[Range] = frozenset({(protocol, 1, 65535) for protocol in ("SCTP", "TCP", "UDP")})


class Direction(StrEnum):
    """One of the two ways a policy can close a pod; `policyTypes` has the same words."""

    INGRESS = "Ingress"
    EGRESS = "Egress"


@dataclass(frozen=True)
class NamedPort:
    """A port of a container, by which rules may ask for it."""

    name: str
    port: int
    protocol: str = "TCP"


@dataclass(frozen=True)
class Pod:
    """A pod, as far as policies see it."""

    name: str
    namespace: str
    labels: Labels = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    ports: tuple[NamedPort, ...] = ()
    node: str = ""
    host_network: bool = False


@dataclass(frozen=True)
class Outside:
    """Whatever is no pod: an address on the internet, of the metadata service, of a node."""

    name: str
    address: str
    node: bool = False
    """Whether it is the node of that name."""


End = Pod | Outside


@dataclass(frozen=True)
class World:
    """The namespaces of a cluster with their labels, its pods, its policies."""

    namespaces: Mapping[str, Labels]
    pods: tuple[Pod, ...] = ()
    policies: tuple[Policy, ...] = ()


@dataclass(frozen=True)
class Grant:
    """One rule that lets something through."""

    policy: str
    direction: Direction
    reason: str
    ports: frozenset[Range]


@dataclass(frozen=True)
class Edge:
    """A connection that is possible."""

    source: str
    destination: str
    ports: frozenset[Range]
    reasons: tuple[str, ...]
    """What the policies at both ends say of it; empty where neither end has one."""


def reaches(world: World, source: End, destination: End, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection to that port can be made."""
    return any(kind == protocol and first <= port <= last for kind, first, last in open_ports(world, source, destination))


def open_ports(world: World, source: End, destination: End) -> frozenset[Range]:
    """The ports of `destination` that `source` can connect to, as ranges that do not touch."""
    out = _granted(_grants(world, source, destination, Direction.EGRESS))
    return _both(out, _granted(_grants(world, source, destination, Direction.INGRESS)))


def edges(world: World, outside: Sequence[Outside] = ()) -> Iterator[Edge]:
    """Every possible connection of a pod with another, or with one of `outside`; a pod always reaches itself."""
    ends: tuple[End, ...] = (*world.pods, *outside)
    for source, destination in product(ends, repeat=2):
        if source is destination or (isinstance(source, Outside) and isinstance(destination, Outside)):
            continue
        ways = [_grants(world, source, destination, direction) for direction in (Direction.EGRESS, Direction.INGRESS)]
        ports = _both(*map(_granted, ways))
        if ports:
            used = [grant for way in ways for grant in way or () if _both(grant.ports, ports)]
            reasons = tuple(f"{grant.policy}: {grant.reason}" for grant in used)
            yield Edge(_full(source), _full(destination), ports, reasons)


def covers(policies: Iterable[Policy], namespace: str, labels: Labels) -> frozenset[Direction]:
    """The directions in which some policy closes the pods of `namespace` with these labels, but for what rules allow."""
    return frozenset(
        Direction(direction)
        for policy in policies
        if _namespace(policy) == namespace and selects(policy["spec"].get("podSelector"), labels)
        for direction in _directions(policy)
    )


def selects(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """Whether a label selector holds for these labels; an empty one holds for all, a missing one for none."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions") or ()
    )


def _holds(expression: Mapping[str, Any], labels: Labels) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case other:
            raise ValueError(f"label selectors have no operator {other!r}; use In, NotIn, Exists or DoesNotExist")


def _grants(world: World, source: End, destination: End, direction: Direction) -> list[Grant] | None:
    """The rules at one end that let the connection through; None where that end has no say."""
    pod, other = (source, destination) if direction is Direction.EGRESS else (destination, source)
    if not isinstance(pod, Pod) or pod.host_network or pod is other or _on_node(pod, other):
        return None
    selecting = [
        policy
        for policy in world.policies
        if _namespace(policy) == pod.namespace
        and direction in _directions(policy)
        and selects(policy["spec"].get("podSelector"), pod.labels)
    ]
    if not selecting:
        return None
    rules, peers = ("egress", "to") if direction is Direction.EGRESS else ("ingress", "from")
    return [
        Grant(policy["metadata"]["name"], direction, _reason(policy, direction, number), _ports(rule, destination))
        for policy in selecting
        for number, rule in enumerate(policy["spec"].get(rules) or ())
        if not rule.get(peers) or any(_is_peer(world, policy, peer, other) for peer in rule[peers])
    ]


def _on_node(pod: Pod, other: End) -> bool:
    """Whether the other end is the pod's own node, or runs on its network."""
    if isinstance(other, Outside):
        return other.node and other.name == pod.node
    return other.host_network and bool(pod.node) and other.node == pod.node


def _is_peer(world: World, policy: Policy, peer: Mapping[str, Any], other: End) -> bool:
    if block := peer.get("ipBlock"):
        addresses = (other.address,) if isinstance(other, Outside) else other.addresses
        return any(_in_block(block, ipaddress.ip_address(address)) for address in addresses)
    # What runs on the network of a node has the node's address, and is known by nothing else.
    if isinstance(other, Outside) or other.host_network:
        return False
    here = peer.get("namespaceSelector")
    in_namespace = (
        other.namespace == _namespace(policy) if here is None else selects(here, world.namespaces.get(other.namespace, {}))
    )
    return in_namespace and ("podSelector" not in peer or selects(peer["podSelector"], other.labels))


def _in_block(block: Mapping[str, Any], address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address in ipaddress.ip_network(block["cidr"]) and not any(
        address in ipaddress.ip_network(excluded) for excluded in block.get("except") or ()
    )


def _ports(rule: Mapping[str, Any], destination: End) -> frozenset[Range]:
    if not rule.get("ports"):
        return EVERYTHING
    return frozenset(found for port in rule["ports"] for found in _port(port, destination))


def _port(port: Mapping[str, Any], destination: End) -> Iterator[Range]:
    protocol, number = port.get("protocol", "TCP"), port.get("port")
    if number is None:
        yield protocol, 1, 65535
    elif isinstance(number, str):
        named = destination.ports if isinstance(destination, Pod) else ()
        for found in named:
            if (found.name, found.protocol) == (number, protocol):
                yield protocol, found.port, found.port
    else:
        yield protocol, int(number), int(port.get("endPort", number))


def _granted(grants: list[Grant] | None) -> frozenset[Range]:
    if grants is None:
        return EVERYTHING
    return frozenset(found for grant in grants for found in grant.ports)


def _both(ours: Iterable[Range], theirs: Iterable[Range]) -> frozenset[Range]:
    common = (
        (kind, max(first, other_first), min(last, other_last))
        for (kind, first, last), (other, other_first, other_last) in product(ours, theirs)
        if kind == other and max(first, other_first) <= min(last, other_last)
    )
    joined: list[Range] = []
    for kind, first, last in sorted(common):
        if joined and joined[-1][0] == kind and first <= joined[-1][2] + 1:
            joined[-1] = (kind, joined[-1][1], max(last, joined[-1][2]))
        else:
            joined.append((kind, first, last))
    return frozenset(joined)


def _directions(policy: Policy) -> list[str]:
    """What the API server fills in where `policyTypes` is left out."""
    given: list[str] | None = policy["spec"].get("policyTypes")
    if given:
        return given
    return [Direction.INGRESS, *([Direction.EGRESS] if policy["spec"].get("egress") else [])]


def _namespace(policy: Policy) -> str:
    return str(policy["metadata"].get("namespace", "default"))


def _reason(policy: Policy, direction: Direction, number: int) -> str:
    lines = (policy["metadata"].get("annotations") or {}).get(REASONS, "").splitlines()
    place = number + (len(policy["spec"].get("ingress") or ()) if direction is Direction.EGRESS else 0)
    return lines[place] if place < len(lines) else f"rule {number} of {direction.lower()}"


def _full(end: End) -> str:
    return f"{end.namespace}/{end.name}" if isinstance(end, Pod) else end.name
