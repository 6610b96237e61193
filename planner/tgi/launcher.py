"""What `text-generation-launcher` takes, by release (launcher.yaml), and what somebody gave it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from planner.catalog.files import load_yaml
from planner.request import RequestError

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_REFERENCE = re.compile(r"\$\((\w+)\)|\$\{(\w+)\}|\$(\w+)")
"""A variable, as Kubernetes and as a shell put it in."""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A value that lies in a Secret of Kubernetes."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A value that nobody can read here; `where` says where it lies."""

    where: str


Value = str | SecretRef | Elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """An argument as launcher.yaml has it."""

    flag: str
    kind: str
    """`text`, `count`, `number`, `bool` or `switch`."""
    values: tuple[str, ...] = ()
    default: float | None = None
    short: str | None = None
    aliases: tuple[str, ...] = ()
    """Further variables that stand for it in some images."""
    since: str | None = None
    """The first release that has it; None for all of the table."""
    secret: bool = False
    repeats: bool = False
    environment: bool = True
    """Whether it is read from the environment too."""

    @property
    def variable(self) -> str:
        """The variable that stands for it."""
        return self.flag.removeprefix("--").replace("-", "_").upper()

    @property
    def variables(self) -> tuple[str, ...]:
        """All variables that stand for it, the launcher's own first."""
        return (self.variable, *self.aliases) if self.environment else ()

    def check(self, value: str, shown: str) -> str:
        """`value` as the launcher reads it. RequestError, without the value of a secret, where it would not start with it."""
        plain = value.strip()
        if self.kind in ("switch", "bool"):
            if plain.lower() in _TRUE or plain.lower() in _FALSE:
                return str(plain.lower() in _TRUE).lower()
            raise RequestError(f"{shown}: {plain!r} is neither true nor false")
        form = {"count": r"\d+", "number": r"\d*\.?\d+"}.get(self.kind)
        if form and not re.fullmatch(form, plain):
            raise RequestError(f"{shown}: {plain!r} is not a {'whole ' if self.kind == 'count' else ''}number")
        if self.values and plain not in self.values:
            raise RequestError(f"{shown}: {plain!r} is not known to TGI; it takes {', '.join(self.values)}")
        return plain


def release(version: str) -> tuple[int, ...]:
    """A release to compare, e.g. (3, 0, 1)."""
    return tuple(int(part) for part in version.split("."))


@cache
def _table() -> Mapping[str, Any]:
    return MappingProxyType(load_yaml(Path(__file__).parent / "launcher.yaml"))


@cache
def flags() -> Mapping[str, Flag]:
    """Every argument by its name."""
    known = (Flag(**_read(each)) for each in _table()["flags"])
    return MappingProxyType({each.flag: each for each in known})


def _read(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def newest() -> str:
    """The last release of TGI: its project was archived after it."""
    return str(_table()["newest"])


def any_user() -> str:
    """The last release whose own image does not have to start as root."""
    return str(_table()["any_user"])


def oldest() -> str:
    """The oldest release whose arguments the table has."""
    return str(_table()["oldest"])


def lacking(names: Sequence[str], version: str) -> list[str]:
    """Those of `names` that the launcher of a release does not know, and with which it would end at once."""
    return [name for name in names if name not in flags() or release(flags()[name].since or oldest()) > release(version)]


def from_words(words: Sequence[str], environment: Mapping[str, Value]) -> dict[str, Value]:
    """Values by argument of a command line, with variables put in. Raises RequestError for what the launcher would refuse."""
    by_short = {flag.short: name for name, flag in flags().items() if flag.short}
    found: dict[str, Value] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word[:2] in by_short and not word.startswith("--"):
            name, equals, value = by_short[word[:2]], "=" if word[2:] else "", word[2:].removeprefix("=")
        flag = flags().get(name)
        if flag is None:
            near = get_close_matches(name, flags(), n=1) if name.startswith("-") else []
            hint = f"did you mean {near[0]}?" if near else "give what follows text-generation-launcher"
            raise RequestError(f"{name if name.startswith('-') else 'a word'} is no argument of TGI's launcher; {hint}")
        if not equals and flag.kind == "switch":
            value = "true"
        elif not equals:
            if not rest:
                raise RequestError(f"{name} has no value")
            value = rest.pop(0)
        read = _put_in(value, environment)
        if isinstance(read, str):
            read = flag.check(read, name)
            before = found.get(name)
            read = f"{before},{read}" if flag.repeats and isinstance(before, str) else read
        found[name] = read
    return found


def from_environment(environment: Mapping[str, Value]) -> tuple[dict[str, Value], dict[str, Value]]:
    """Values by argument of an environment, and the other variables. Raises RequestError as `from_words`."""
    of_flag = {variable: flag for flag in flags().values() for variable in reversed(flag.variables)}
    found: dict[str, Value] = {}
    others: dict[str, Value] = {}
    for name, value in environment.items():
        flag = of_flag.get(name)
        if flag is None:
            others[name] = value
        elif name == flag.variable or flag.flag not in found:
            found[flag.flag] = flag.check(value, name) if isinstance(value, str) else value
    return found, others


def _put_in(text: str, environment: Mapping[str, Value]) -> Value:
    """`text` with its variables; where one cannot be read the whole cannot."""
    read = {
        name: environment.get(name, Elsewhere(f"the variable {name}"))
        for found in _REFERENCE.findall(text)
        for name in found
        if name
    }
    unread = [value for value in read.values() if not isinstance(value, str)]
    if unread:
        return unread[0]
    return _REFERENCE.sub(lambda found: str(read[next(filter(None, found.groups()))]), text)
