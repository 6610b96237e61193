"""Conditions of an object's status, as Kubernetes' own library keeps them. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Conditions = list[dict[str, Any]]


def is_true(obj: Mapping[str, Any], name: str) -> bool:
    """Whether a condition holds."""
    return any(each["type"] == name and each["status"] == "True" for each in (obj.get("status") or {}).get("conditions") or [])


def settled(before: Sequence[Mapping[str, Any]], wanted: Mapping[str, tuple[str, str, str]], generation: int) -> Conditions:
    """The conditions with those wanted (type to status, reason, message); each keeps its time while its status stays."""
    found = {each["type"]: dict(each) for each in before}
    for name, (status, reason, message) in wanted.items():
        old = found.get(name, {})
        since = old["lastTransitionTime"] if old.get("status") == status else now()
        found[name] = {"type": name, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}
    return [each | {"observedGeneration": generation} for each in found.values()]


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
