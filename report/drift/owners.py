"""Who sets fields of a stack's resources beside the stack: the table in owners.yaml. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import yaml
from pydantic import Field

from components.inputs import Model


@dataclass(frozen=True)
class Owner:
    """Whose a field is."""

    who: str
    known: bool
    """Whether the platform counts on it; what nobody it knows has set is drift."""


NOBODY = Owner("nobody any more", known=False)


class _Manager(Model):
    manager: str
    who: str
    fields: tuple[str, ...] = ("*",)


class _Cloud(Model):
    type: str = "*"
    field: str
    who: str


class _Advice(Model):
    type: str
    field: str = ""
    say: str


class _Table(Model):
    kubernetes: tuple[_Manager, ...]
    by_hand: tuple[str, ...] = Field(alias="by hand")
    aws: tuple[_Cloud, ...]
    advice: tuple[_Advice, ...]


def manager(name: str, field: str) -> Owner:
    """Whose a field is that the field manager of that name has set, beyond what the program sets."""
    for entry in _table().kubernetes:
        if fnmatchcase(name, entry.manager) and _any(field, entry.fields):
            return Owner(entry.who, known=True)
    return person(name)


def person(name: str) -> Owner:
    """Who the field manager of that name is, for a field that is the program's: there nobody else is expected."""
    if _any(name, _table().by_hand):
        return Owner(f"somebody, by hand ({name})", known=False)
    expected = (entry.who for entry in _table().kubernetes if fnmatchcase(name, entry.manager))
    return Owner(next(expected, f"{name}, which the platform does not know"), known=False)


def cloud(type_: str, field: str) -> Owner | None:
    """Who has set an input of a resource in AWS; None when that is not in the table."""
    # With the tags that the provider gives to everything.
    told = field.replace("tagsAll.", "tags.", 1)
    found = (entry for entry in _table().aws if fnmatchcase(type_, entry.type) and fnmatchcase(told, entry.field))
    return next((Owner(entry.who, known=True) for entry in found), None)


def advice(type_: str, field: str) -> str:
    """What to do about a difference in a field, or about a resource that is gone (no field), where that is special."""
    found = (entry.say for entry in _table().advice if fnmatchcase(type_, entry.type) and entry.field == field)
    return next(found, "")


def _any(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


@cache
def _table() -> _Table:
    return _Table.model_validate(yaml.safe_load(Path(__file__).with_name("owners.yaml").read_text("utf-8")))
