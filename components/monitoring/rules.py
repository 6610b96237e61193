"""Groups of Prometheus rules, and the files they go into. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Rule = dict[str, Any]
"""One rule as a rule file has it."""


@dataclass(frozen=True, kw_only=True)
class RuleGroup:
    """Rules that Prometheus evaluates one after the other."""

    family: str
    """The file, and with it the object of the cluster, that the group is in; a DNS label."""
    name: str
    """Differs from that of every other group of the stack."""
    rules: Sequence[Rule]
    interval: str | None = None
    """How often, e.g. `1m`; Prometheus' own interval when None."""

    def as_dict(self) -> dict[str, Any]:
        """The group as a rule file has it."""
        return {
            "name": self.name,
            **({"interval": self.interval} if self.interval else {}),
            "rules": [dict(rule) for rule in self.rules],
        }


def rule_files(groups: Iterable[RuleGroup]) -> dict[str, list[dict[str, Any]]]:
    """The groups of each family, in the order given; those without a rule are left out."""
    found: dict[str, list[dict[str, Any]]] = {}
    for group in groups:
        if group.rules:
            found.setdefault(group.family, []).append(group.as_dict())
    return found


def recorded(groups: Iterable[RuleGroup]) -> frozenset[str]:
    """The names of the series that the groups' rules make."""
    return frozenset(rule["record"] for group in groups for rule in group.rules if "record" in rule)


def record(name: str, expr: str, labels: Mapping[str, str] | None = None) -> Rule:
    """A recording rule; a label without a value is left out."""
    named = {key: value for key, value in (labels or {}).items() if value}
    return {"record": name, "expr": expr, **({"labels": named} if named else {})}


def merged(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Rules that record the same series become one: promtool refuses two of the same name and labels."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], list[Rule]] = {}
    for rule in rules:
        found.setdefault((rule["record"], tuple(sorted(rule.get("labels", {}).items()))), []).append(rule)
    return tuple(same[0] | {"expr": " or ".join(rule["expr"] for rule in same)} for same in found.values())
