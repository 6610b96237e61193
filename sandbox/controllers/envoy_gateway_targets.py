"""The policies of Envoy Gateway: what they are for, and what is told of them there. Pure.

After envoyproxy/gateway v1.9.0 internal/gatewayapi (helpers.go, status/policy.go).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sandbox.controllers.cluster import Object
from sandbox.controllers.envoy_gateway_checks import deprecated
from sandbox.controllers.envoy_gateway_seen import CONTROLLER, GROUP, Seen
from sandbox.controllers.gateway_api import GROUP as STANDARD
from sandbox.controllers.gateway_api import Name, Told, conditions, name_of, oldest_first, permitted, selects

_MOST = 16  # ancestors, by the definition of the API


class Target(NamedTuple):
    """What a policy is for: an object, or a section of it."""

    kind: str
    name: Name
    section: str | None = None


@dataclass(eq=False)
class Policy:
    """A policy, and what is told of it for each ancestor."""

    obj: Object
    ancestors: dict[Target, Told] = field(default_factory=dict)

    def tell(self, ancestor: Target, kind: str, status: str, reason: str, message: str) -> None:
        self.ancestors.setdefault(ancestor, {})[kind] = (status, reason, message)

    def accept(self, ancestor: Target) -> None:
        """Says so unless something else was said, and what should be written otherwise."""
        self.ancestors.setdefault(ancestor, {}).setdefault("Accepted", ("True", "Accepted", "Policy has been accepted."))
        if old := deprecated(self.obj):
            self.tell(ancestor, "Warning", "True", "DeprecatedField", old)

    def refuse(self, ancestor: Target, reason: str, message: str) -> None:
        self.tell(ancestor, "Accepted", "False", reason, message)

    def status(self) -> dict[str, Any]:
        before = (self.obj.get("status") or {}).get("ancestors") or []
        old = {(each["controllerName"], target(each["ancestorRef"])): each.get("conditions") for each in before}
        others = [each for each in before if each["controllerName"] != CONTROLLER]
        generation = self.obj["metadata"].get("generation", 0)
        ours = [
            {
                "ancestorRef": _ref(ancestor),
                "controllerName": CONTROLLER,
                "conditions": conditions(old.get((CONTROLLER, ancestor)), told, generation),
            }
            for ancestor, told in self._shown().items()
        ]
        return {"ancestors": [*others, *ours]}

    def _shown(self) -> Mapping[Target, Told]:
        if len(self.ancestors) <= _MOST:
            return self.ancestors
        worst = sorted(self.ancestors.items(), key=lambda each: (_rank(each[1]), each[0].name))[:_MOST]
        told = "Ancestors have been truncated because the number of policy ancestors exceeds 16."
        worst[-1][1]["Aggregated"] = ("True", "Aggregated", told)
        return dict(worst)


def _rank(told: Told) -> int:
    if told.get("Accepted", ("",))[0] == "False":
        return 0
    return 1 if told.get("Overridden", ("",))[0] == "True" else 2


def _ref(ancestor: Target) -> dict[str, Any]:
    ref = {"group": STANDARD, "kind": ancestor.kind, "namespace": ancestor.name[0], "name": ancestor.name[1]}
    return ref if ancestor.section is None else {**ref, "sectionName": ancestor.section}


def target(ref: Object) -> Target:
    """An ancestor as the status has it."""
    return Target(ref.get("kind", "Gateway"), (ref.get("namespace", ""), ref["name"]), ref.get("sectionName"))


def named(policy: Policy) -> list[Target]:
    """What a policy names itself."""
    spec, namespace = policy.obj["spec"], name_of(policy.obj)[0]
    refs = [*([spec["targetRef"]] if spec.get("targetRef") else []), *(spec.get("targetRefs") or [])]
    return [Target(ref["kind"], (namespace, ref["name"]), ref.get("sectionName")) for ref in refs]


def targets(policy: Policy, candidates: Iterable[Object], seen: Seen) -> list[Target]:
    """Those it selects, the oldest first, and then those it names."""
    own, kind = name_of(policy.obj)[0], policy.obj["kind"]
    chosen = []
    for selector in policy.obj["spec"].get("targetSelectors") or []:
        for obj in oldest_first(candidates):
            namespace = name_of(obj)[0]
            if (
                (selector.get("group", STANDARD), selector["kind"]) == (STANDARD, obj["kind"])
                and _namespace_matches(selector.get("namespaces"), own, namespace, seen)
                and selects(selector, obj["metadata"].get("labels") or {})
                and permitted(seen.grants, (GROUP, kind, own), (STANDARD, obj["kind"], *name_of(obj)))
            ):
                chosen.append(Target(obj["kind"], name_of(obj)))
    return list(dict.fromkeys([*chosen, *named(policy)]))


def _namespace_matches(namespaces: Object | None, own: str, namespace: str, seen: Seen) -> bool:
    match (namespaces or {}).get("from", "Same"):
        case "All":
            return True
        case "Selector":
            labels = seen.labels_of(namespace)
            return labels is not None and selects((namespaces or {}).get("selector"), labels)
    return own == namespace
