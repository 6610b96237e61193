"""Is a command line that documentation shows one that would run?"""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

from typer.main import get_command

from cli import AREAS

_MODULES = {area.module.removesuffix(".__main__"): name for name, area in AREAS.items()}
_ENGINE = "vllm"
"""Runs in its own image."""
_SHELL = {"|", ">", ">>", "&", "&&", ";", "<", "2>&1", "#"}
_OURS = re.compile(r"(?:^|[\s(])\S*python -m [a-z_.]+|(?:^|[\s(])(?:\./)?llm-platform (?=[a-z])|^(?:\$ )?make (?=[a-z])")


def shown(text: str) -> Iterator[str]:
    """The command lines of this project in blocks and code spans of a Markdown page, without what a shell does around them."""
    for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        if language in ("", "sh", "console"):
            yield from _commands(block.replace("\\\n", " "))
    spans = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`]+)`", spans):
        yield from _commands(" ".join(span.split()))


def _commands(text: str) -> Iterator[str]:
    for line in text.splitlines():
        for found in _OURS.finditer(line):
            words = takewhile(lambda word: word not in _SHELL, line[found.start() :].strip(" ($").split())
            yield " ".join(words).rstrip(").,;&")


def problem(command: str, root: Path) -> str | None:
    """Why `command` would not run; None where it would. Words in capitals, in brackets and after `…` stand for others."""
    words = [word for word in _words(command) if word not in ("…", "...")]
    if words[0] == "make":
        targets = {word for word in words[1:] if "=" not in word and not word.startswith("-")}
        unknown = targets - set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
        return f"make has no {', '.join(sorted(unknown))}" if unknown else None
    if words[0].endswith("llm-platform"):
        area, rest = words[1], words[2:]
        return _misfit(area, rest) if area in AREAS else f"llm-platform has no {area}"
    module, rest = words[2], words[3:]
    if module in _MODULES:
        return _misfit(_MODULES[module], rest)
    return None if module.split(".")[0] == _ENGINE or _exists(module) else f"there is no module {module}"


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor what it would be in
        return False


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # an apostrophe in prose
        return command.split()


@cache
def _application(area: str) -> Any:
    return get_command(import_module(AREAS[area].module).app)


def _misfit(area: str, words: list[str]) -> str | None:
    entered = _application(area)
    if commands := getattr(entered, "commands", None):
        if not words or words[0] == "--help" or words[0].isupper():
            return None
        if words[0] not in commands:
            return f"{area} has no {words[0]}"
        entered, words = commands[words[0]], words[1:]
    options = {flag for parameter in entered.params for flag in parameter.opts} | {"--help"}
    given = {word.partition("=")[0] for word in takewhile(lambda word: word != "--", words) if word.startswith("--")}
    return f"{entered.name} has no {', '.join(sorted(given - options))}" if given - options else None
