"""Answers kept by client token: what a client that died asked for once more is answered, not done again.

AWS's own client tokens do so for some operations. The provider's tokens do it for every mutating call that makes a resource: the
process that made a call may be killed before the engine wrote down what was made, and the next run then asks for it again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A response as it went over the wire."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def succeeded(self) -> bool:
        """Whether the operation was done."""
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Question:
    """A call that makes something, as far as a repetition of it is the same."""

    token: str
    service: str
    operation: str
    parameters: str
    """As text, without what a client makes up anew for each call."""


class Answers:
    """What was answered to calls that make something, until the state knows of it."""

    def __init__(self) -> None:
        # By resource and its id; the id is empty until the client has said what its calls have made.
        self._by_resource: dict[str, dict[str, dict[Question, Answer]]] = {}
        self._acknowledged: dict[str, set[str]] = {}

    def find(self, urn: str, question: Question) -> Answer | None:
        """The answer this call was given before."""
        return next((given[question] for given in self._by_resource.get(urn, {}).values() if question in given), None)

    def keep(self, urn: str, question: Question, answer: Answer) -> None:
        """Remember an answer until the resource is acknowledged."""
        self._by_resource.setdefault(urn, {}).setdefault("", {})[question] = answer

    def made(self, urn: str, identity: str) -> None:
        """The calls so far have made the resource of that id."""
        known = self._by_resource.setdefault(urn, {})
        known.setdefault(identity, {}).update(known.pop("", {}))

    def acknowledge(self, urn: str, identity: str) -> None:
        """The state knows the resource of that id: from here on, the same call means another one.

        One that was to replace it, and was interrupted, is not forgotten.
        """
        self._by_resource.get(urn, {}).pop(identity, None)
        self._acknowledged.setdefault(urn, set()).add(identity)

    def generation(self, urn: str) -> int:
        """How many resources of that URN the state has known; the next one is the same until the state knows it too."""
        return len(self._acknowledged.get(urn, ()))


_MADE_UP = frozenset(
    {"ClientToken", "ClientRequestToken", "CreationToken", "CallerReference", "clientRequestToken", "clientToken"}
)


def fingerprint(parameters: Mapping[str, Any]) -> str:
    """The parameters of a call as text, the same for a repetition of it."""
    return json.dumps({name: value for name, value in parameters.items() if name not in _MADE_UP}, sort_keys=True, default=str)
