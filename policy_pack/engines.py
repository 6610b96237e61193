"""The containers that run vLLM, however they start it, and what they give it. Pure."""

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from policy_pack.resources import Pod
from policy_pack.values import UNKNOWN, as_far_as_known, listed

_IMAGE = re.compile(r"(?P<repository>[^@]+?)(:(?P<tag>\w[\w.-]*))?(@.*)?")
_NAMES = re.compile(r"vllm([-_](openai|cpu|gpu|cuda|rocm|xpu|tpu|hpu|gaudi|neuron|ascend|arm64|server|release|repo))*")
"""What images of vLLM are called, in whatever registry they lie."""
_OTHERS = "lmcache/"
"""Whose images of that name have versions of their own (hub.docker.com/r/lmcache/vllm-openai)."""
_RELEASE = re.compile(r"v?(\d+\.\d+\.\d+)(?!\d)")
_SHELLS = ("sh", "bash", "ash", "dash", "zsh")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Engine:
    """A container with vLLM in it."""

    container: Mapping[str, Any]
    version: str | None
    """As the tag says; None where it says nothing."""
    words: Sequence[str] | None
    """The flags it is started with, with their values; None where the container runs something else."""
    is_exact: bool = True
    """Whether all the words are known, and no shell changes them."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the command itself sets."""


def engines(pod: Pod) -> Iterator[Engine]:
    """The containers of a pod that have vLLM in their image's name, or start it."""
    for _, container in pod.containers:
        yield from as_far_as_known(_engine, container)


def _engine(container: Mapping[str, Any]) -> Iterator[Engine]:
    image = container.get("image")
    named, version = _image(image) if isinstance(image, str) else (False, None)
    command, args = as_far_as_known(listed, container, "command"), as_far_as_known(listed, container, "args")
    is_known = not any(word is UNKNOWN for word in (*command, *args))
    if started := _started(_known([*command, *args])):
        words, environment, by_shell = started
        yield Engine(container, version, _flags(words), is_known and not by_shell, environment)
    elif named:
        # The entry point of these images is vLLM itself.
        by_itself = not command and container.get("command") is not UNKNOWN
        yield Engine(container, version, _flags(_known(args)) if by_itself else None, is_known)


def _image(image: str) -> tuple[bool, str | None]:
    """Whether an image is one of vLLM, and the release that its tag names."""
    parts = _IMAGE.fullmatch(image)
    repository = parts["repository"] if parts else ""
    if parts is None or not _NAMES.fullmatch(repository.rpartition("/")[2]) or f"/{_OTHERS}" in f"/{repository}":
        return False, None
    found = _RELEASE.match(parts["tag"] or "")
    return True, found[1] if found else None


def _known(words: Sequence[Any]) -> list[str]:
    """The words; what is not known yet may be a flag as well as the value of one, and becomes a flag that no program has."""
    return ["--" if word is UNKNOWN else str(word) for word in words]


def _flags(words: Sequence[str]) -> list[str]:
    """What stands behind the model."""
    return list(itertools.dropwhile(lambda word: not word.startswith("-"), words))


_Start = tuple[list[str], dict[str, str], bool]
"""The words behind the program, the variables set for it, whether a shell reads them."""


def _started(words: Sequence[str]) -> _Start | None:
    """How a command starts vLLM; None where it starts something else."""
    environment: dict[str, str] = {}
    for position, word in enumerate(words):
        after = words[position + 1] if position + 1 < len(words) else ""
        name = word.rpartition("/")[2]
        if (name == "vllm" and after == "serve") or (word == "-m" and re.match(r"vllm\.entrypoints\b", after)):
            return list(words[position + 2 :]), environment, False
        if word.endswith("vllm/entrypoints/openai/api_server.py"):
            return list(words[position + 1 :]), environment, False
        if name in _SHELLS and (script := _script(words[position + 1 :])):
            return _by_script(*script, environment)
        if assignment := _ASSIGNMENT.fullmatch(word):
            environment[assignment[1]] = assignment[2]
    return None


def _script(words: Sequence[str]) -> tuple[str, Sequence[str]] | None:
    """What a shell is told by `-c`, and its "$@"."""
    for position, word in enumerate(words[:-1]):
        if re.fullmatch(r"-[a-z]*c", word):
            return words[position + 1], words[position + 3 :]
    return None


def _by_script(script: str, given: Sequence[str], environment: Mapping[str, str]) -> _Start | None:
    exported = dict(environment)
    for command in _commands(script):
        put_in = [inner for word in command for inner in (given if word in ("$@", "$*") else [word])]
        words = _known([UNKNOWN if "$" in word else word for word in put_in])
        if started := _started(words):
            return started[0], exported | started[1], True
        exported |= {found[1]: found[2] for word in words if (found := _ASSIGNMENT.fullmatch(word))}
    return None


def _commands(script: str) -> Iterator[list[str]]:
    """The simple commands of a script, without their redirections; what is put in place of something is a lone $."""
    text = re.sub(r"\$\([^()]*\)|`[^`]*`", "$", script.replace("\\\n", " "))
    # Behind quotes, so that "2>&1" is no end of a command.
    text = re.sub(r"\d*[<>]+\s*(&\d|[^\s;&|]+)", " ", text)
    reader = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    reader.whitespace, reader.whitespace_split, reader.commenters = " \t\r", True, ""
    try:
        words = list(reader)
    except ValueError:  # a quote without its other
        words = text.split()
    command: list[str] = []
    for word in [*words, ";"]:
        if not word.strip(";&|\n"):
            if command and not command[0].startswith("#"):
                yield command
            command = []
        else:
            command.append(word)
