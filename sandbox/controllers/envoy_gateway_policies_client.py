"""Envoy Gateway's view of ClientTrafficPolicies, which are for Gateways and their listeners. Pure.

After envoyproxy/gateway v1.9.0 internal/gatewayapi/clienttrafficpolicy.go.
"""

from collections import defaultdict

from sandbox.controllers.envoy_gateway_checks import problems
from sandbox.controllers.envoy_gateway_listeners import Listener
from sandbox.controllers.envoy_gateway_seen import Seen, sentence
from sandbox.controllers.envoy_gateway_targets import Policy, Target, named, targets
from sandbox.controllers.gateway_api import Name, name_of


class ClientPolicies:
    """All of them."""

    def __init__(self, policies: list[Policy], listeners: list[Listener], seen: Seen) -> None:
        self._policies, self._seen = policies, seen
        self._listeners: dict[Name, list[Listener]] = defaultdict(list)
        for listener in listeners:
            self._listeners[name_of(listener.gateway)].append(listener)
        self._gateways = {name_of(each.gateway): each.gateway for each in listeners}
        self._sections: dict[Name, set[str]] = defaultdict(set)

    def judge(self) -> None:
        """Those of sections come first, for the closer one counts."""
        for policy in self._policies:
            for target in named(policy):
                if target.section is not None and target.name in self._gateways:
                    self._section(policy, target, target.section)
        taken: set[Name] = set()
        for policy in self._policies:
            for target in targets(policy, self._gateways.values(), self._seen):
                if target.section is None and target.kind == "Gateway" and target.name in self._gateways:
                    self._gateway(policy, target, taken)

    def _section(self, policy: Policy, target: Target, section: str) -> None:
        listener = next((each for each in self._listeners[target.name] if each.spec["name"] == section), None)
        if listener is None:
            told = f"No section name {section} found for Gateway {'/'.join(target.name)}"
            policy.refuse(target, "TargetNotFound", told)
            return
        if section in self._sections[target.name]:
            told = f"Unable to target section of {target.name[1]}, another ClientTrafficPolicy has already attached to it"
            policy.refuse(target, "Conflicted", told)
            return
        self._sections[target.name].add(section)
        shared = [each for each in self._listeners[target.name] if each is not listener and _share(each, listener)]
        if told := _port_problem(shared) or problems(policy.obj, self._seen, tls=_has_tls(listener)):
            policy.refuse(target, "Invalid", sentence(told))
        policy.accept(target)

    def _gateway(self, policy: Policy, target: Target, taken: set[Name]) -> None:
        if target.name in taken:
            told = f"Unable to target Gateway {target.name[1]}, another ClientTrafficPolicy has already attached to it"
            policy.refuse(target, "Conflicted", told)
            return
        taken.add(target.name)
        if sections := self._sections[target.name]:
            told = f"There are existing ClientTrafficPolicies that are overriding these sections [{' '.join(sorted(sections))}]"
            policy.tell(target, "Overridden", "True", "Overridden", told)
        rest = [each for each in self._listeners[target.name] if each.spec["name"] not in sections and each.is_ready]
        found = [told for each in rest if (told := problems(policy.obj, self._seen, tls=_has_tls(each)))]
        if found:
            policy.refuse(target, "Invalid", sentence("\n".join(found)))
        policy.accept(target)


def _has_tls(listener: Listener) -> bool:
    return listener.protocol in ("HTTPS", "TLS")


def _share(one: Listener, other: Listener) -> bool:
    return one.is_ready and other.is_ready and one.protocol == other.protocol == "HTTP" and one.port == other.port


def _port_problem(shared: list[Listener]) -> str:
    if not shared:
        return ""
    named = ", ".join("/".join((*name_of(each.gateway), each.spec["name"])) for each in shared)
    where = f"multiple http (non https) listeners ({named}) on the same port"
    return f"ClientTrafficPolicy is being applied to {where}, which is not allowed"
