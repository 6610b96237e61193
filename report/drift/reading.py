"""What a preview with a refresh tells: every resource as it was deployed and as it is now. Pure.

The events are those of Pulumi's engine (pulumi/pulumi: sdk/go/common/apitype/events.go). Its JSON summary leaves out what a
resource is like now when no input differs, and with it the fields that others have added.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pulumi.automation import EngineEvent, OpType, StepEventMetadata

from report.blinding import SECRET, SIGNATURE
from sandbox.providers.properties import Path, parse

_UNCHANGED = (OpType.SAME, OpType.READ, OpType.REFRESH)


@dataclass(frozen=True)
class Read:
    """A resource that the refresh looked at. Values are those of its inputs, secret ones `[secret]`."""

    urn: str
    type: str
    id: str
    """What the provider calls it."""
    wanted: Mapping[str, Any]
    """As it was deployed."""
    found: Mapping[str, Any] | None
    """As it would be written for what is there now; None when nothing is."""
    recorded: Mapping[str, Any]
    """Everything the provider told of it when it was deployed, or read last."""
    live: Mapping[str, Any]
    """Everything it tells now."""
    differs: tuple[Path, ...]
    """Where the provider sees a difference, fields that the program leaves to others left out."""

    @property
    def name(self) -> str:
        """What the program calls it."""
        return self.urn.rpartition("::")[2]


@dataclass(frozen=True)
class Seen:
    """What one preview with a refresh saw."""

    read: tuple[Read, ...]
    planned: Mapping[str, str]
    """By URN: what an update would do after the refresh, where that is anything."""


def seen(events: Iterable[EngineEvent]) -> Seen:
    """What the events of `pulumi preview --refresh`, or of `pulumi refresh --preview-only`, tell."""
    read: dict[str, Read] = {}
    planned: dict[str, str] = {}
    refreshed: set[str] = set()
    for event in events:
        if event.resource_pre_event:
            step = event.resource_pre_event.metadata
            if step.op is OpType.REFRESH:
                refreshed.add(step.urn)
            elif step.op not in _UNCHANGED and not step.type.startswith("pulumi:"):
                planned.setdefault(step.urn, step.op.value)
        elif event.res_outputs_event:
            step = event.res_outputs_event.metadata
            # A refresh alone calls its results by what they would do to the state: update, delete or same.
            if step.urn in refreshed and step.urn not in read and step.old and step.old.custom:
                read[step.urn] = _read(step)
    return Seen(tuple(read.values()), planned)


def _read(step: StepEventMetadata) -> Read:
    old, new = step.old, step.new
    assert old is not None  # noqa: S101 - for the type checker
    gone = new is None or step.op is OpType.DELETE
    paths = [parse(path) for path in step.detailed_diff or {}] or [(name,) for name in step.diffs or []]
    return Read(
        urn=step.urn,
        type=step.type,
        id=old.id,
        wanted=_blinded(old.inputs or {}),
        found=None if gone or new is None else _blinded(new.inputs or {}),
        recorded=_blinded(old.outputs or {}),
        live={} if gone or new is None else _blinded(new.outputs or {}),
        differs=() if gone else tuple(paths),
    )


def _blinded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return SECRET if SIGNATURE in value else {key: _blinded(item) for key, item in value.items()}
    return [_blinded(item) for item in value] if isinstance(value, list) else value
