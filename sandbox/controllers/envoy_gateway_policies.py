"""Envoy Gateway's view of its policies: what each is attached to, and what is told of it there. Pure.

After envoyproxy/gateway v1.9.0 internal/gatewayapi (backendtrafficpolicy.go, securitypolicy.go). Of a policy whose target is not
there nothing is told at all: another controller may have it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from sandbox.controllers.cluster import Object
from sandbox.controllers.envoy_gateway_checks import invalid_keys, problems
from sandbox.controllers.envoy_gateway_listeners import Listener
from sandbox.controllers.envoy_gateway_policies_client import ClientPolicies
from sandbox.controllers.envoy_gateway_routes import Parent, Route
from sandbox.controllers.envoy_gateway_seen import Seen, sentence
from sandbox.controllers.envoy_gateway_targets import Policy, Target, targets
from sandbox.controllers.gateway_api import Name, name_of, oldest_first, target_of


class Scope(NamedTuple):
    """Where a policy is attached."""

    kind: str
    name: Name
    section: str = ""


def judge(kind: str, policies: Iterable[Object], listeners: list[Listener], routes: list[Route], seen: Seen) -> list[Policy]:
    """What is told of all policies of a kind."""
    found = [Policy(obj) for obj in oldest_first(policies)]
    if kind == "ClientTrafficPolicy":
        ClientPolicies(found, listeners, seen).judge()
    else:
        _Attached(kind, found, listeners, routes, seen).judge()
    return found


class _Attached:
    """BackendTrafficPolicies or SecurityPolicies: for Gateways, listeners, routes and their rules; the closer one counts."""

    def __init__(self, kind: str, policies: list[Policy], listeners: list[Listener], routes: list[Route], seen: Seen) -> None:
        self._kind, self._policies, self._seen = kind, policies, seen
        self._plural = f"{kind[0].lower()}{kind[1:-1]}ies"
        self._gateways = {name_of(each.gateway): each.gateway for each in listeners}
        self._sections = {each.key for each in listeners}
        self._routes = {(route.obj["kind"], name_of(route.obj)): route for route in routes}
        self._taken: set[Target] = set()
        self._overrides: dict[Scope, set[Scope]] = defaultdict(set)
        self._merged: dict[Scope, set[Scope]] = defaultdict(set)
        self._parents: dict[tuple[Name, str], Policy] = {}

    def judge(self) -> None:
        gateways, routes = list(self._gateways.values()), [route.obj for route in self._routes.values()]
        for policy in self._policies:
            for target in targets(policy, gateways, self._seen):
                if target.kind == "Gateway" and self._is_there(target):
                    self._parents.setdefault((target.name, target.section or ""), policy)
        steps: tuple[tuple[bool, bool, list[Object], Callable[[Policy, Target], None]], ...] = (
            (False, True, [], self._route),
            (False, False, routes, self._route),
            (True, True, [], self._gateway),
            (True, False, gateways, self._gateway),
        )
        for of_gateways, sections, candidates, step in steps:
            for policy in self._policies:
                for target in targets(policy, candidates, self._seen):
                    if (target.kind == "Gateway") == of_gateways and (target.section is not None) == sections:
                        step(policy, target)

    def _is_there(self, target: Target) -> bool:
        return target.name in self._gateways and (target.section is None or (target.name, target.section) in self._sections)

    def _take(self, target: Target, what: str) -> str:
        """Why a policy cannot have a target; empty where it has it now."""
        if target in self._taken:
            return f"Unable to target {what}, another {self._kind} has already attached to it"
        self._taken.add(target)
        return ""

    def _gateway(self, policy: Policy, target: Target) -> None:
        if target.name not in self._gateways:
            return
        if not self._is_there(target):
            told = f"No section name {target.section} found for Gateway {'/'.join(target.name)}"
            policy.refuse(target, "TargetNotFound", told)
            return
        named = target.name[1] if self._kind == "SecurityPolicy" else "/".join(target.name)
        if told := self._take(target, f"Listener {named}/{target.section}" if target.section else f"Gateway {target.name[1]}"):
            policy.refuse(target, "Conflicted", told)
            return
        own = Scope("Gateway", target.name)
        if target.section is not None:
            self._overrides[own].add(Scope("GatewayListener", target.name, target.section))
            own = Scope("GatewayListener", target.name, target.section)
        if told := problems(policy.obj, self._seen):
            policy.refuse(target, "Invalid", sentence(told))
        policy.accept(target)
        merged = self._merged[own]
        for kind, verb, scopes in (("Merged", "merged", merged), ("Overridden", "overridden", self._below(own) - merged)):
            if scopes:
                told = f"This policy is being {verb} by other {self._plural} for {_listed(scopes)}"
                policy.tell(target, kind, "True", kind, told)

    def _below(self, scope: Scope) -> set[Scope]:
        found = set(self._overrides[scope])
        if scope.kind == "GatewayListener":
            return found | {each for each in self._overrides[Scope("Gateway", scope.name)] if each.kind == "Route"}
        for other, children in list(self._overrides.items()):
            if other.kind == "GatewayListener" and other.name == scope.name:
                found |= children
        return found

    def _route(self, policy: Policy, target: Target) -> None:
        route = self._routes.get((target.kind, target.name))
        if route is None:
            return
        rules = [rule.get("name") for rule in route.obj["spec"].get("rules") or []]
        missing = target.section is not None and target.section not in rules
        taken = "" if missing else self._take(target, self._spoken(target))
        ancestors = []
        for parent in route.parents:
            name, section = target_of(parent.ref, name_of(route.obj)[0]), parent.ref.get("sectionName")
            above = Scope("GatewayListener", name, section) if section else Scope("Gateway", name)
            self._overrides[above].add(Scope("Route", name_of(route.obj)))
            ancestors.append(Target("Gateway", name, section))
        if missing or taken:
            told = f"No section name {target.section} found for {target.kind} {'/'.join(target.name)}"
            for ancestor in ancestors:
                policy.refuse(ancestor, "TargetNotFound" if missing else "Conflicted", told if missing else taken)
            return
        self._check(policy, route, ancestors)
        for ancestor in ancestors:
            policy.accept(ancestor)
        if target.section is None and (below := sorted(self._rules(target))):
            other = self._plural if self._kind == "SecurityPolicy" else f"{self._kind[0].lower()}{self._kind[1:]}"
            told = f"This policy is being overridden by other {other} for these route rules: [{' '.join(below)}]"
            for ancestor in ancestors:
                policy.tell(ancestor, "Overridden", "True", "Overridden", told)

    def _spoken(self, target: Target) -> str:
        if target.section is None:
            return f"{target.kind} {target.name[1]}"
        return f"RouteRule {target.name[1]}/{target.section}"

    def _rules(self, target: Target) -> set[str]:
        return {each.section for each in self._taken if each[:2] == target[:2] and each.section is not None}

    def _check(self, policy: Policy, route: Route, ancestors: list[Target]) -> None:
        if told := invalid_keys(policy.obj):
            for ancestor in ancestors:
                policy.refuse(ancestor, "Invalid", sentence(told))
        elif policy.obj["spec"].get("mergeType") is None:
            if told := problems(policy.obj, self._seen):
                for ancestor in ancestors:
                    policy.refuse(ancestor, "Invalid", sentence(told))
        else:
            for parent in route.parents:
                self._merge(policy, route, parent)

    def _merge(self, policy: Policy, route: Route, parent: Parent) -> None:
        """What a policy of a route and the one above it come to together, for every listener."""
        for listener in parent.listeners:
            gateway, section = listener.key
            ancestor = Target("Gateway", gateway, section)
            scope, above = Scope("GatewayListener", gateway, section), self._parents.get((gateway, section))
            if above is None:
                scope, above = Scope("Gateway", gateway), self._parents.get((gateway, ""))
            if told := problems(policy.obj, self._seen, above.obj if above else None):
                policy.refuse(ancestor, "Invalid", sentence(told))
            elif above is not None:
                self._merged[scope].add(Scope("Route", name_of(route.obj)))
                told = f"Merged with policy {'/'.join(name_of(above.obj))}"
                policy.tell(ancestor, "Merged", "True", "Merged", told)


def _listed(scopes: Iterable[Scope]) -> str:
    labels = {"GatewayListener": "these gateway listeners", "Route": "these routes"}
    found = []
    for kind, label in labels.items():
        if named := sorted("/".join(filter(None, (*each.name, each.section))) for each in scopes if each.kind == kind):
            found.append(f"{label}: [{' '.join(named)}]")
    return " and ".join(found)
