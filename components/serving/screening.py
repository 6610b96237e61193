"""What users may add to an engine beyond the typed settings: arguments, environment, an older engine. Pure.

Refusals come from refused.yaml, what an engine version knows from its tables in `engines`, its vulnerabilities from
advisories.yaml. No sentence repeats a value: it may be secret.
"""

import difflib
import fnmatch
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from planner.catalog.files import load_yaml

from ..inputs import Model
from ..secretive import looks_secret, names_secret
from ..versions import VLLM

_HERE = Path(__file__).parent

_NUMBER = re.compile(r"-\d+")
"""A value that begins like a flag; with a point in it, vLLM's parser takes it for one."""


class Refusal(Model):
    """One thing no engine of this platform is started with, as refused.yaml has it."""

    id: str
    flags: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    key: str | None = None
    """Only keys of this pattern, at any depth of a flag that takes JSON."""
    values: tuple[str, ...] = ()
    """Only these values (patterns); any when empty."""
    harmless: tuple[str, ...] = ()
    """All but these values."""
    form: str = ""
    """All but values of this form, a regular expression."""
    reason: str
    source: str
    remedy: str

    def meets(self, value: str) -> bool:
        """Whether it refuses this value."""
        plain = value.strip().lower()
        if "$(" in plain or not self.some_pass:
            return True
        if self.form:
            return not re.fullmatch(self.form, plain)
        return any(fnmatch.fnmatchcase(plain, each) for each in self.values) if self.values else plain not in self.harmless

    @property
    def some_pass(self) -> bool:
        """Whether there are values that it does not refuse."""
        return bool(self.values or self.harmless or self.form)

    def sentence(self, name: str) -> str:
        """Why `name` is refused and what to do instead."""
        return f"{name} is refused: {self.reason} ({self.source}); {self.remedy}"


class Advisory(Model):
    """A vulnerability of vLLM: which versions have it, from `introduced` up to but not including `fixed`."""

    id: str
    introduced: str = "0"
    fixed: str
    title: str


@dataclass(frozen=True)
class Flag:
    """A flag under all its spellings; `negative` are those that switch it off."""

    spellings: tuple[str, ...]
    negative: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Argument:
    """A flag as given, with its values as (path, value); the path, with points in it, is empty where the value is not JSON."""

    flag: Flag
    spelling: str
    values: tuple[tuple[str, str], ...]


LOGGING = frozenset({"requests-logged", "answers-logged", "bodies-logged"})
"""Refusals that a model is let off which is flagged as one that logs what people ask."""


def screen_arguments(
    extra: Sequence[str], *, version: str, owned: Mapping[str, str], let_off: Collection[str] = frozenset()
) -> None:
    """Raise ValueError with one sentence for the first argument that must not reach vLLM `version`.

    `owned`: flags that the platform sets itself, each with the setting to use instead; it covers all their spellings.
    `let_off`: refusals that do not count.
    """
    flags = engine_flags(version) if extra else {}
    settings = {spelling: setting for flag, setting in owned.items() for spelling in flags.get(flag, Flag((flag,))).spellings}
    for argument in _arguments(extra, version):
        for refusal in _refused():
            if refusal.id not in let_off and _refuses(refusal, argument):
                raise ValueError(refusal.sentence(argument.spelling))
        if argument.spelling in settings:
            raise ValueError(f"{argument.spelling} is set by this platform; use {settings[argument.spelling]}")
        if any(looks_secret(value) for _, value in argument.values):
            raise ValueError(
                f"The value of {argument.spelling} looks like a secret, and everybody who may read pods reads arguments; "
                "keep it in a Secret"
            )


def screen_environment(
    environment: Mapping[str, str], owned: Mapping[str, str], *, version: str = VLLM, let_off: Collection[str] = frozenset()
) -> None:
    """Raise ValueError with one sentence for the first variable that must not reach vLLM `version`.

    `owned`: variables that the platform sets itself, each with the setting to use instead. `let_off` as for arguments.
    """
    known, gone = engine_variables(version) if environment else (frozenset(), {})
    for name, value in environment.items():
        shown = shown_variable(name)
        for refusal in _refused():
            if refusal.id in let_off:
                continue
            if any(fnmatch.fnmatchcase(name, each) for each in refusal.variables) and refusal.meets(value):
                raise ValueError(refusal.sentence(shown))
        if name in owned:
            raise ValueError(f"{shown} is set by this platform; {owned[name]}")
        if names_secret(name) or looks_secret(value) or looks_secret(name):
            raise ValueError(
                f"{shown} looks like a secret, and everybody who may read pods reads their environment; keep it in a Secret"
            )
        if "$(" in value:
            raise ValueError(f"{shown} contains $(…), which Kubernetes would replace after this check; write the value itself")
        if name in gone:
            raise ValueError(f"vLLM {version} has no {shown}; {gone[name]}")
        if name.startswith("VLLM_") and name not in known:
            raise ValueError(f"vLLM {version} has no {shown}; {_near(name, known, 'leave it out')}")


def shown_variable(name: str) -> str:
    """A variable's name for a sentence, where it is one."""
    return name if re.fullmatch(r"\w+", name) and not looks_secret(name) else "A variable"


_SHOWN = 3
"""Advisories that a sentence names; an old engine has twenty."""


def check_engine_version(version: str, accepted: Collection[str]) -> str | None:
    """Why this vLLM must not run, naming the advisories that apply and nobody accepted; None if it may."""
    advisories = [Advisory.model_validate(each) for each in _data("advisories.yaml")["advisories"]]
    minimum = _data("advisories.yaml")["minimum"]
    open_ = [each for each in advisories if _ordered(each.introduced) <= _ordered(version) < _ordered(each.fixed)]
    left = [f"{each.id} ({each.title})" for each in open_ if each.id not in accepted]
    if not left:
        return None
    return (
        f"vLLM {version} has known vulnerabilities: {', '.join(left[:_SHOWN])}{_more(len(left) - _SHOWN)}; "
        f"use {minimum} or newer, or name them in acceptedAdvisories if you can live with them"
    )


def _more(number: int) -> str:
    return f" and {number} more (components/serving/advisories.yaml)" if number > 0 else ""


@cache
def engine_flags(version: str) -> Mapping[str, Flag]:
    """Every flag of that engine version by every spelling its parser takes, the hidden `--no-enable-…` among them."""
    table: dict[str, Flag] = {}
    for spellings in _table(f"vllm-{version}.yaml", version)["flags"]:
        first = spellings[0]
        inverse = _inverse(first)
        paired = inverse in spellings
        words = (*spellings, f"--no-{first[2:]}") if paired else tuple(spellings)
        negative = {word for word in words if word.startswith("--no-") or (paired and word == inverse)}
        flag = Flag(words, frozenset(negative - {first}))
        table |= dict.fromkeys(words, flag)
    return table


@cache
def engine_variables(version: str) -> tuple[frozenset[str], Mapping[str, str]]:
    """The variables with the prefix VLLM_ that this version knows, and those that are gone with what to do instead."""
    table = _table(f"vllm-{version}-environment.yaml", version)
    return frozenset(table["variables"]), table["gone"]


def _refuses(refusal: Refusal, argument: Argument) -> bool:
    if argument.spelling in argument.flag.negative or not set(refusal.flags) & set(argument.flag.spellings):
        return False
    if refusal.key is None:
        return not refusal.some_pass or any(refusal.meets(value) for _, value in argument.values)
    return any(_under(path, refusal.key) and refusal.meets(value) for path, value in argument.values)


def _under(path: str, key: str) -> bool:
    """Whether a value stands at or below a key of this pattern."""
    return any(fnmatch.fnmatchcase(step.rstrip("+"), key) for step in path.split("."))


def _arguments(extra: Sequence[str], version: str) -> Iterator[Argument]:
    """The flags among `extra` with their values; ValueError for what is neither, or hides what it is."""
    position = 0
    while position < len(extra):
        word = extra[position]
        _check_word(word, position)
        written, equals, value = word.partition("=")
        written, dot, path = written.partition(".")
        if word.startswith("-O") and word != "-O":
            written, equals, value = "--optimization-level", "=", word[2:].removeprefix("=")
        flag, spelling, joined = _resolve(written, version, position)
        end = position + 1
        while end < len(extra) and not _is_flag(extra[end]):
            end += 1
        inside = [value] if equals else [joined] if joined else []
        taken = len(inside) + end - position - 1
        if dot and taken != 1:
            raise ValueError(f"A key of {spelling} takes one value; write e.g. --compilation-config.mode 3")
        if inside and taken > 1:
            raise ValueError(f"Argument {end} is neither a flag nor the value of one; begin with a flag, e.g. --seed")
        values = [*inside, *extra[position + 1 : end]]
        for each in values:
            if "$(" in each:
                raise ValueError(
                    f"{spelling} contains $(…), which Kubernetes would replace after this check; write the value itself"
                )
        if flag.negative and values:
            raise ValueError(f"{spelling} takes no value; write {flag.spellings[0]} or {min(flag.negative)}")
        yield Argument(flag, spelling, tuple(pair for each in values for pair in _settings(path, each)))
        position = end


def _check_word(word: str, position: int) -> None:
    place = f"Argument {position + 1}"
    if word.startswith("@"):
        raise ValueError(f"{place} is a file of arguments, which vLLM does not read; write the arguments themselves")
    if "$(" in word.partition("=")[0]:
        raise ValueError(f"{place} contains $(…), which Kubernetes would replace after this check; write the flag itself")
    if re.fullmatch(r"-\d*\.\d+", word):
        raise ValueError(f"{place} would be taken for a flag; write it behind an equals sign, e.g. --watermark=-0.5")
    if word == "--" or not _is_flag(word):
        raise ValueError(f"{place} is neither a flag nor the value of one; begin with a flag, e.g. --seed")
    if re.search(r"\s", word.partition("=")[0]):
        raise ValueError(f"{place} holds a flag and its value in one entry; write two entries")


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not _NUMBER.fullmatch(word)


def _resolve(written: str, version: str, position: int) -> tuple[Flag, str, str]:
    """The flag a word means, the spelling it stands for, and a value written right behind a short flag (`-n2`).

    As vLLM's parser does it: underscores are dashes, and the beginning of a spelling suffices where only one begins so.
    """
    flags = engine_flags(version)
    long = written.startswith("--")
    word = written.replace("_", "-") if long else written
    if word in flags:
        return flags[word], word, ""
    near = sorted(spelling for spelling in flags if spelling.startswith(word))
    if not long and word[:2] in flags:
        near.append(word[:2])
    if len(near) == 1:
        return flags[near[0]], near[0], "" if near[0].startswith(word) else word[2:]
    shown = f"Argument {position + 1}" if looks_secret(word) or not re.fullmatch(r"-[\w-]{1,60}", word) else word
    if near:
        raise ValueError(f"{shown} could mean {' or '.join(near[:3])}; write it in full")
    if instead := _data("refused.yaml")["gone"].get(word):
        raise ValueError(f"vLLM {version} has no {shown}; {instead}")
    raise ValueError(f"vLLM {version} has no flag {shown}; {_near(word, flags, 'vllm serve --help=all lists its flags')}")


def _settings(path: str, value: str) -> Iterator[tuple[str, str]]:
    """What a value sets: (path, value) for every plain value within JSON, itself otherwise."""
    try:
        content = json.loads(value) if value.lstrip().startswith(("{", "[")) else value
    except ValueError:
        content = value
    yield from _leaves(path, content)


def _leaves(path: str, content: Any) -> Iterator[tuple[str, str]]:
    if isinstance(content, Mapping):
        for inner, each in content.items():
            # Keys are checked for secrets as values are.
            yield "", inner
            yield from _leaves(f"{path}.{inner}", each)
    elif isinstance(content, list):
        for each in content:
            yield from _leaves(path, each)
    else:
        yield path, content if isinstance(content, str) else json.dumps(content)


def _inverse(flag: str) -> str:
    for prefix, other in (("--enable-", "--disable-"), ("--disable-", "--enable-")):
        if flag.startswith(prefix):
            return other + flag.removeprefix(prefix)
    return f"--no-{flag[2:]}"


def _near(word: str, known: Collection[str], otherwise: str) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.75)
    return f"did you mean {close[0]}?" if close else otherwise


def _ordered(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@cache
def _refused() -> tuple[Refusal, ...]:
    return tuple(Refusal.model_validate(each) for each in _data("refused.yaml")["refused"])


def _table(name: str, version: str) -> Any:
    if not (_HERE / "engines" / name).is_file():
        raise ValueError(f"There is no table of what vLLM {version} knows, so nothing can be added to it; use {VLLM}")
    return _data(f"engines/{name}")


@cache
def _data(name: str) -> Any:
    return load_yaml(_HERE / name)
