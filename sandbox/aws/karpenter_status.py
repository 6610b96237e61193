"""Conditions and times of objects, as controllers write them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Object = Mapping[str, Any]


def conditions(live: Object, wanted: Mapping[str, tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Conditions (type to status, reason, message); the time is that of the last change of the status."""
    before = {each["type"]: each for each in live.get("status", {}).get("conditions", [])}
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": live["metadata"]["generation"],
            "lastTransitionTime": before[kind]["lastTransitionTime"]
            if kind in before and before[kind]["status"] == status
            else now(),
        }
        for kind, (status, reason, message) in wanted.items()
    ]


def condition(live: Object, kind: str) -> Mapping[str, Any]:
    """A condition of an object; empty when it has none of that type."""
    found = (each for each in live.get("status", {}).get("conditions", []) if each["type"] == kind)
    return next(found, {})


def is_true(live: Object, kind: str) -> bool:
    """Whether a condition of an object holds."""
    return condition(live, kind).get("status") == "True"


def with_ready(found: Mapping[str, tuple[bool, str, str]]) -> dict[str, tuple[str, str, str]]:
    """Conditions, and Ready on top: it has the first reason that something is not so."""
    told = {kind: ("True", kind, "") if holds else ("False", reason, message) for kind, (holds, reason, message) in found.items()}
    failed = [(kind, each[2]) for kind, each in told.items() if each[0] == "False"]
    ready = ("False", "UnhealthyDependents", "; ".join(f"{kind}: {why}" for kind, why in failed))
    return told | {"Ready": ready if failed else ("True", "Ready", "")}


def now() -> str:
    """This moment, as objects have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def age(timestamp: str) -> float:
    """Seconds since a time that an object tells."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds())
