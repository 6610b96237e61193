"""Envoy Gateway's view of HTTPRoutes: what is told of each for every parent it names. Pure.

After envoyproxy/gateway v1.9.0 internal/gatewayapi/route.go.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.controllers.cluster import Object
from sandbox.controllers.envoy_gateway_backends import check_backend, check_endpoints
from sandbox.controllers.envoy_gateway_filters import ACCEPTED, read_filters, refused
from sandbox.controllers.envoy_gateway_listeners import Listener
from sandbox.controllers.envoy_gateway_seen import CONTROLLER, RefusedError, Seen, is_regex, sentence, spec_of
from sandbox.controllers.gateway_api import GROUP, Name, Told, conditions, hosts, name_of, target_of

_IS_ACCEPTED = ("True", "Accepted", "Route is accepted")


@dataclass(eq=False)
class Parent:
    """One parent that a route names, and what is told of it."""

    ref: Object
    told: Told = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    """Those that let it attach."""


@dataclass(eq=False)
class Route:
    """A route that names a Gateway of ours."""

    obj: Object
    parents: list[Parent] = field(default_factory=list)

    def status(self) -> dict[str, Any]:
        """Its status, in which other controllers' parents stay as they are."""
        before = (self.obj.get("status") or {}).get("parents") or []
        ours = {_key(parent.ref, self.obj): parent for parent in self.parents}
        kept = [each for each in before if _key(each["parentRef"], self.obj) not in ours]
        old = {_key(each["parentRef"], self.obj): each.get("conditions") for each in before}
        generation = self.obj["metadata"].get("generation", 0)
        told = [
            {
                "parentRef": parent.ref,
                "controllerName": CONTROLLER,
                "conditions": conditions(old.get(key), parent.told, generation),
            }
            for key, parent in ours.items()
        ]
        return {"parents": [*kept, *told]}


def judge(routes: Iterable[Object], listeners: list[Listener], seen: Seen) -> list[Route]:
    """The routes that name a Gateway of these listeners; counts them in the listeners."""
    ours = {name_of(each.gateway) for each in listeners}
    found = []
    for obj in routes:
        refs = [
            ref for ref in spec_of(obj).get("parentRefs") or [] if _is_gateway(ref) and target_of(ref, name_of(obj)[0]) in ours
        ]
        if refs:
            found.append(Route(obj, [_parent(obj, ref, listeners, seen) for ref in refs]))
    _overlaps(found, listeners)
    return found


def _is_gateway(ref: Object) -> bool:
    return (ref.get("group", GROUP), ref.get("kind", "Gateway")) == (GROUP, "Gateway")


def _key(ref: Object, obj: Object) -> tuple[Any, ...]:
    named = (ref.get("group", GROUP), ref.get("kind", "Gateway"), *target_of(ref, name_of(obj)[0]))
    return (*named, ref.get("sectionName"), ref.get("port"))


def _parent(obj: Object, ref: Object, listeners: list[Listener], seen: Seen) -> Parent:
    parent, target = Parent(ref), target_of(ref, name_of(obj)[0])
    named = [
        each
        for each in listeners
        if name_of(each.gateway) == target
        and ref.get("sectionName") in (None, each.spec["name"])
        and ref.get("port") in (None, each.port)
    ]
    parent.listeners = [each for each in named if each.allows(obj["kind"], name_of(obj)[0], seen)]
    if parent.listeners:
        parent.told[ACCEPTED] = _IS_ACCEPTED
    elif named:
        told = "No listeners included by this parent ref allowed this attachment."
        parent.told[ACCEPTED] = ("False", "NotAllowedByListeners", told)
    else:
        parent.told[ACCEPTED] = ("False", "NoMatchingParent", "No listeners match this parent ref")
    _tell(obj, parent, seen)
    names = spec_of(obj).get("hostnames") or []
    attached = [each for each in parent.listeners if _hosts(names, each, listeners)]
    for listener in attached:
        listener.attached += 1
    if parent.listeners and not attached:
        told = "There were no hostname intersections between the HTTPRoute and this parent ref's Listener(s)."
        parent.told[ACCEPTED] = ("False", "NoMatchingListenerHostname", told)
    return parent


def _hosts(names: list[str], listener: Listener, listeners: list[Listener]) -> set[str]:
    """Without those that another listener of the port has for itself."""
    others = {
        each.host
        for each in listeners
        if each is not listener and each.gateway is listener.gateway and each.port == listener.port and each.host is not None
    }
    found = hosts(names, listener.host or "")
    return found - others if names else found


def _tell(obj: Object, parent: Parent, seen: Seen) -> None:
    rules = spec_of(obj).get("rules") or []
    problems: dict[str, list[RefusedError]] = defaultdict(list)
    unaccepted: set[int] = set()
    for number, rule in enumerate(rules):
        for problem in _rule(obj, number, rule, seen):
            problems[problem.kind].append(problem)
            if problem.kind == ACCEPTED:
                unaccepted.add(number)
    for kind, found in problems.items():
        reason = ",".join(sorted({each.reason for each in found}))
        told = sentence(str(found[0]) if len(found) == 1 else "\n".join(sentence(str(each)) for each in found))
        if kind != ACCEPTED or len(unaccepted) == len(rules):
            parent.told[kind] = ("False", reason, told)
        else:
            dropped = " ".join(map(str, sorted(unaccepted)))
            parent.told["PartiallyInvalid"] = ("True", reason, f"Dropped Rule(s) [{dropped}]: {told}")
            parent.told[ACCEPTED] = _IS_ACCEPTED
    if parent.told.get("ResolvedRefs", ("",))[0] != "False":
        parent.told["ResolvedRefs"] = ("True", "ResolvedRefs", "Resolved all the Object references for the Route")


def _rule(obj: Object, number: int, rule: Object, seen: Seen) -> Iterator[RefusedError]:
    grouped: dict[str, list[RefusedError]] = defaultdict(list)
    for problem in read_filters(obj, rule.get("filters") or [], seen).problems:
        grouped[problem.kind].append(problem)
    for kind, found in grouped.items():
        told = str(found[0]) if len(found) == 1 else "\n".join(sentence(str(each)) for each in found)
        yield RefusedError(told, ",".join(sorted({each.reason for each in found})), kind)
    try:
        _check_matches(rule)
    except RefusedError as error:
        yield RefusedError(f"failed to process route rule {number}: {error}", error.reason, ACCEPTED)
        return
    for position, ref in enumerate(rule.get("backendRefs") or []):
        try:
            check_backend(obj, ref, seen)
            if ref.get("weight", 1):
                _check_backend_filters(obj, ref, seen)
        except RefusedError as error:
            yield RefusedError(f"failed to process route rule {number} backendRef {position}: {error}", error.reason)
            continue
        try:
            if ref.get("weight", 1):
                check_endpoints(obj, ref, seen)
        except RefusedError as error:
            yield RefusedError(f"failed to find endpoints: {error}", error.reason, "BackendsAvailable")


def _check_backend_filters(obj: Object, ref: Object, seen: Seen) -> None:
    if problems := read_filters(obj, ref.get("filters") or [], seen).problems:
        raise RefusedError("\n".join(map(str, problems)), "InvalidBackendFilters")


def _check_matches(rule: Object) -> None:
    for match in rule.get("matches") or []:
        found = [match.get("path") or {}, *(match.get("headers") or []), *(match.get("queryParams") or [])]
        for each in found:
            if each.get("type") == "RegularExpression" and not is_regex(each["value"]):
                raise refused(f"regex {json.dumps(each['value'])} is invalid")


def _overlaps(routes: list[Route], listeners: list[Listener]) -> None:
    """Tells of routes that match the very same requests, of which one is never reached."""
    buckets: dict[tuple[Any, ...], set[Name]] = defaultdict(set)
    mine: dict[tuple[Name, Listener], list[tuple[Any, ...]]] = defaultdict(list)
    for route in routes:
        for listener in {each for parent in route.parents for each in parent.listeners if each.is_ready}:
            for key in _matched(route.obj, listener, listeners):
                buckets[key].add(name_of(route.obj))
                mine[name_of(route.obj), listener].append(key)
    for route in routes:
        own = name_of(route.obj)
        for parent in route.parents:
            others = {
                other for listener in parent.listeners for key in mine[own, listener] for other in buckets[key] if other != own
            }
            if others:
                named = ", ".join(sorted(f"{route.obj['kind']} {'/'.join(other)}" for other in others))
                told = f"Overlapping match conditions with route(s): {named}"
                parent.told["RouteRulesOverlap"] = ("True", "RouteRulesOverlap", told)


def _matched(obj: Object, listener: Listener, listeners: list[Listener]) -> Iterator[tuple[Any, ...]]:
    for host in _hosts(spec_of(obj).get("hostnames") or [], listener, listeners):
        for rule in spec_of(obj).get("rules") or []:
            for match in rule.get("matches") or [{}]:
                path = match.get("path") or {}
                kind, value = path.get("type", "PathPrefix"), path.get("value", "/")
                if kind == "PathPrefix" and value != "/":
                    value = value.removesuffix("/")
                parts = [
                    frozenset((name(each["name"]), each.get("type", "Exact"), each["value"]) for each in match.get(part) or [])
                    for part, name in (("headers", str.lower), ("queryParams", str))
                ]
                yield listener.key, host, kind, value, *parts, match.get("method")
