"""What the engine says of itself, under the names its version has for it. Pure; the table is signals.yaml."""

import difflib
import re
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from components.inputs import Model


class Kind(StrEnum):
    """What Prometheus makes of a metric."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"

    def wire(self, name: str) -> tuple[str, ...]:
        """The names of its series: `name` is what a rule starts from, for a counter with its suffix already."""
        match self:
            case Kind.HISTOGRAM:
                return tuple(f"{name}_{part}" for part in ("bucket", "sum", "count"))
            case Kind.SUMMARY:
                return (name, f"{name}_sum", f"{name}_count")
            case _:
                return (name,)


class Name(Model):
    """One name of a signal."""

    name: str
    since: str
    """The first release that has it."""
    deprecated: str | None = None
    hidden: str | None = None
    removed: str | None = None


class Signal(Model):
    """One thing the engine says, whatever its name."""

    meaning: str
    type: Kind
    names: tuple[Name, ...]
    """From the oldest to the newest."""
    buckets: str | None = None
    """Which of the table's edges its histogram has."""


@cache
def signals() -> dict[str, Signal]:
    """All signals by what rules call them."""
    return {key: Signal.model_validate(entry) for key, entry in _table()["signals"].items()}


def optional_signal(version: str, name: str) -> str | None:
    """The name on the wire that engine `version` has for signal `name`, a histogram without its suffixes; None if it has none.

    Raises ValueError for a signal or a version that the table does not know.
    """
    found = signals().get(name)
    if found is None:
        near = difflib.get_close_matches(name, signals(), n=1) or sorted(signals())
        raise ValueError(f"{name} is no signal of an engine; use e.g. {near[0]}")
    release = _release(version)
    if release < _release(_table()["oldest"]):
        raise ValueError(f"vLLM {version} is older than the metrics known here; use {_table()['oldest']} or newer")
    known = [each.name for each in found.names if _release(each.since) <= release < _release(each.hidden or each.removed)]
    if not known:
        return None
    return f"{known[-1]}_total" if found.type is Kind.COUNTER else known[-1]


def signal(version: str, name: str) -> str:
    """The same, and a ValueError where this version has no such signal."""
    found = optional_signal(version, name)
    if found is None:
        first = signals()[name].names[0].since
        raise ValueError(f"vLLM {version} does not measure {name}; use {first} or newer")
    return found


def known(version: str) -> frozenset[str]:
    """The names of all series of the signals that engine `version` has."""
    found = ((entry.type, optional_signal(version, key)) for key, entry in signals().items())
    return frozenset(series for kind, name in found if name for series in kind.wire(name))


def edges(name: str) -> tuple[float, ...]:
    """Upper edges in seconds of the buckets of signal `name`, in the engine's own settings."""
    family = signals()[name].buckets
    if family is None:
        raise ValueError(f"the buckets of {name} depend on the model")
    return tuple(float(edge) for edge in _table()["buckets"][family])


def _release(version: str | None) -> tuple[int, ...]:
    """A version as numbers; after all others where there is none."""
    if version is None:
        return (1 << 31,)
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    if found is None:
        raise ValueError(f"{version!r} is no version of vLLM; use one such as 0.33.0")
    return tuple(int(number or 0) for number in found.groups())


@cache
def _table() -> Any:
    return yaml.safe_load((Path(__file__).parent / "signals.yaml").read_text())
