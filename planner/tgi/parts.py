"""What a translation is made of: settings of a model entry, and sentences about what is not among them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from planner.catalog.files import load_yaml
from planner.model import Model


class Kind(StrEnum):
    """What is said of an argument, a variable or a setting."""

    MISSING = "missing"
    """The entry lacks it, and TGI's launch does not tell it."""
    REFUSED = "refused"
    """It was asked for and cannot be had."""
    DROPPED = "dropped"
    """It has no meaning here."""
    CHANGED = "changed"
    """It is there, and not quite the same."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about an argument, a variable or a setting. It never has the value of a secret."""

    kind: Kind
    about: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of the entry, below the model's name."""

    path: tuple[str, ...]
    value: Any

    def put_into(self, entry: dict[str, Any]) -> None:
        """Put it where it belongs in an entry."""
        *above, last = self.path
        for key in above:
            entry = entry.setdefault(key, {})
        entry[last] = self.value


Part = Setting | Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """What TGI does not know of an adapter."""

    revision: str
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What is known beside the launch."""

    name: str | None = None
    source: str | None = None
    revision: str | None = None
    node_pool: str | None = None
    max_model_len: int | None = None
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    """By the name that clients will ask for."""
    model: Model | None = None
    """The model, where its config.json is known."""
    longest: int | None = None
    """Tokens of the longest context that fits the accelerator, where one was named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A model entry, and what there is to say about it."""

    name: str
    entry: Mapping[str, Any]
    findings: tuple[Finding, ...]

    def of(self, kind: Kind) -> tuple[Finding, ...]:
        """The findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind is kind)


@cache
def verdicts() -> Mapping[str, Any]:
    """The file, read once."""
    return MappingProxyType(load_yaml(Path(__file__).parent / "verdicts.yaml"))


def changes() -> tuple[str, ...]:
    """What clients and operators notice whatever the arguments are."""
    return tuple(each["text"] for each in verdicts()["changes"])
