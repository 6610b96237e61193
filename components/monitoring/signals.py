"""What engines say of themselves, under the names their versions have for it. Pure; the tables are signals.yaml, which is vLLM's,
and signals-tgi.yaml."""

import difflib
import re
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from planner.catalog.files import load_yaml

from ..inputs import Model


class Engine(StrEnum):
    """A program that serves models."""

    VLLM = "vllm"
    TGI = "tgi"
    """Text Generation Inference, which models move away from."""


_TABLES = {Engine.VLLM: "signals.yaml", Engine.TGI: "signals-tgi.yaml"}


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
def signals(engine: Engine = Engine.VLLM) -> dict[str, Signal]:
    """All signals of an engine by what rules call them."""
    return {key: Signal.model_validate(entry) for key, entry in _table(engine)["signals"].items()}


def optional_signal(version: str, name: str, engine: Engine = Engine.VLLM) -> str | None:
    """The name on the wire that `version` of an engine has for signal `name`, a histogram without its suffixes; None for none.

    Raises ValueError for a signal that no engine has, or a version that the table does not know.
    """
    every = {each for which in Engine for each in signals(which)}
    if name not in every:
        near = difflib.get_close_matches(name, every, n=1) or sorted(every)
        raise ValueError(f"{name} is no signal of an engine; use e.g. {near[0]}")
    table, found, wanted = _table(engine), signals(engine).get(name), _release(version, engine)
    if wanted < _release(table["oldest"], engine):
        raise ValueError(f"{table['title']} {version} is older than the metrics known here; use {table['oldest']} or newer")
    if found is None:
        return None
    names = [each.name for each in found.names if _release(each.since, engine) <= wanted < _end(each, engine)]
    if not names:
        return None
    return f"{names[-1]}{table['counter_suffix']}" if found.type is Kind.COUNTER else names[-1]


def signal(version: str, name: str, engine: Engine = Engine.VLLM) -> str:
    """The same, and a ValueError where this version has no such signal."""
    found = optional_signal(version, name, engine)
    if found is None:
        mine = signals(engine)
        if name not in mine:
            raise ValueError(f"{title(engine)} does not measure {name}; use another signal, e.g. waiting")
        raise ValueError(f"{title(engine)} {version} does not measure {name}; use {mine[name].names[0].since} or newer")
    return found


def known(version: str, engine: Engine = Engine.VLLM) -> frozenset[str]:
    """The names of all series of the signals that `version` of an engine has."""
    found = ((entry.type, optional_signal(version, key, engine)) for key, entry in signals(engine).items())
    return frozenset(series for kind, name in found if name for series in kind.wire(name))


def title(engine: Engine) -> str:
    """What people call an engine."""
    return str(_table(engine)["title"])


def edges(name: str) -> tuple[float, ...]:
    """Upper edges in seconds of the buckets of signal `name`, in vLLM's own settings."""
    family = signals()[name].buckets
    if family is None:
        raise ValueError(f"the buckets of {name} depend on the model")
    return tuple(float(edge) for edge in _table(Engine.VLLM)["buckets"][family])


def _end(name: Name, engine: Engine) -> tuple[int, ...]:
    return _release(name.hidden or name.removed, engine)


def _release(version: str | None, engine: Engine) -> tuple[int, ...]:
    """A version as numbers; after all others where there is none."""
    if version is None:
        return (1 << 31,)
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    if found is None:
        raise ValueError(f"{version!r} is no version of {title(engine)}; use one such as {_table(engine)['example']}")
    return tuple(int(number or 0) for number in found.groups())


@cache
def _table(engine: Engine) -> Any:
    return load_yaml(Path(__file__).parent / _TABLES[engine])
