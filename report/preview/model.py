"""What a preview says, in the terms of a report."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Op(StrEnum):
    """What happens to a resource; the worst for what runs comes first."""

    REPLACE = "replace"
    DELETE = "delete"
    UPDATE = "update"
    CREATE = "create"
    IMPORT = "import"
    FORGET = "forget"
    """It stays where it is and is managed no longer."""


def kind_and_name(urn: str) -> tuple[str, str]:
    """What a URN is of, e.g. `("ModelServer", "qwen")`."""
    *_, token, name = urn.split("::")
    return token.rpartition("$")[2].rpartition(":")[2], name


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource that does not stay as it is."""

    op: Op
    urn: str
    type: str
    parent: str | None = None
    """The URN of the component it belongs to."""
    before: Mapping[str, Any]
    """Its inputs, secrets blinded; empty for what is new."""
    after: Mapping[str, Any]
    """Its inputs, secrets blinded; empty for what goes."""
    paths: tuple[str, ...] = ()
    """Properties the provider says differ, e.g. `spec.replicas` or `data["a.yaml"]`."""
    reasons: tuple[str, ...] = ()
    """Those of them that it cannot change in place."""
    deleted_first: bool = False
    """Of a replacement: whether the old one goes before the new one is there."""
    protected: bool = False
    retained: bool = False
    """Whether it is left behind when the program forgets it."""

    @property
    def name(self) -> str:
        """Its name in the program."""
        return self.urn.rpartition("::")[2]

    @property
    def kind(self) -> str:
        """Its type as people call it, e.g. `Deployment`."""
        return self.type.rpartition(":")[2]

    @property
    def component(self) -> tuple[str, str]:
        """The kind and the name of what it belongs to, e.g. `("ModelServer", "qwen")`."""
        return kind_and_name(self.parent or "::")

    @property
    def is_component(self) -> bool:
        """Whether it only groups others."""
        return self.type.startswith(("llm-platform:", "pulumi:pulumi:"))


@dataclass(frozen=True)
class Violation:
    """What a rule of the policy pack objects to."""

    rule: str
    level: str
    """`advisory`, or `mandatory`: the preview ends."""
    urn: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Preview:
    """All of it. `before` and `after` are the stack's outputs; None where the preview does not tell them."""

    changes: tuple[Change, ...]
    unchanged: int
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    violations: tuple[Violation, ...] | None
    errors: tuple[str, ...]
    """Why it did not come to its end, one text each."""
