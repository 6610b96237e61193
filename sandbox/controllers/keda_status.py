"""The status of a ScaledObject: its conditions, and the times KEDA keeps in it. Pure."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sandbox.controllers import keda_objects as objects
from sandbox.controllers.cluster import Object
from sandbox.controllers.conditions import now
from sandbox.controllers.keda_objects import InvalidError, switched_on

Told = dict[str, tuple[str, str, str]]
"""Conditions by type: status, reason, message."""

READY: Final = ("True", "ScaledObjectReady", "ScaledObject is defined correctly and is ready for scaling")
PAUSED: Final = ("True", "ScaledObjectPaused", "ScaledObject is paused")
NO_FALLBACK: Final = ("False", "NoFallbackFound", "No fallbacks are active on this scaled object")
FALLBACK: Final = ("True", "FallbackExists", "At least one trigger is falling back on this scaled object")
_INITIAL: Final = (
    *({"type": name, "status": "Unknown"} for name in ("Ready", "Active", "Fallback")),
    {"type": "Paused", "status": "False"},
)
_COOLDOWN_S: Final = 300
_OFTEN_ENOUGH: Final = timedelta(seconds=5)


def with_told(scaled: Object, told: Told) -> list[dict[str, Any]]:
    """The conditions with those told."""
    before = {each["type"]: each for each in (scaled.get("status") or {}).get("conditions") or _INITIAL}
    wanted = {name: {"type": name, "status": is_so, "reason": why, "message": text} for name, (is_so, why, text) in told.items()}
    return list({**before, **wanted}.values())


@contextmanager
def prefixed(what: str) -> Iterator[None]:
    """Says of what an InvalidError is."""
    try:
        yield
    except InvalidError as error:
        raise InvalidError(f"{what}: {error}") from None


def paused_one_way(scaled: Object) -> Told:
    """The condition of one that is scaled in one direction only, or is no longer paused."""
    if switched_on(scaled, objects.PAUSED_IN) or switched_on(scaled, objects.PAUSED_OUT):
        return {"Paused": PAUSED}
    before = (scaled.get("status") or {}).get("conditions") or []
    was = any(each["type"] == "Paused" and each["status"] == "True" for each in before)
    return {"Paused": ("False", "ScaledObjectUnpaused", "pause annotation removed for ScaledObject")} if was else {}


def hpa_health(found: Object | None) -> Told:
    """What the autoscaler says of itself; nothing while it has said nothing."""
    for condition in ((found or {}).get("status") or {}).get("conditions") or []:
        if condition["type"] == "ScalingActive":
            if condition["status"] == "True":
                return {"HPAActive": ("True", "HPAActive", "HPA is actively scaling")}
            if condition["reason"] == "ScalingDisabled":
                return {"HPAActive": ("True", "ScalingDisabled", condition["message"])}
            return {"HPAActive": ("False", condition["reason"], f"HPA is not actively scaling: {condition['message']}")}
    return {}


def cooled_down(scaled: Object) -> bool:
    """Whether nothing has been asked of it for long enough."""
    spec, last = scaled["spec"], (scaled.get("status") or {}).get("lastActiveTime")
    period = spec.get("cooldownPeriod", _COOLDOWN_S) if last else spec.get("initialCooldownPeriod", 0)
    return _moment(last or scaled["metadata"]["creationTimestamp"]) + timedelta(seconds=period) < datetime.now(UTC)


def active_time(scaled: Object) -> str:
    """When it was last active, for one that is: written now and then only, for nothing needs it to be exact."""
    last = (scaled.get("status") or {}).get("lastActiveTime")
    return str(last) if last and datetime.now(UTC) - _moment(last) < _OFTEN_ENOUGH else now()


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
