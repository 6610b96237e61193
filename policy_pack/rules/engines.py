"""What vLLM is started with."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from components.pods import PROMPTS_LOGGED
from components.serving.screening import (
    LOGGING,
    check_engine_version,
    engine_flags,
    engine_variables,
    screen_arguments,
    screen_environment,
)
from components.versions import VLLM
from policy_pack.engines import Engine, engines
from policy_pack.resources import Pod, Resource, Stack
from policy_pack.rule import Finding, Level, Rule, Severity, each_pod
from policy_pack.values import as_far_as_known, at, listed, maybe


def _version(pod: Pod) -> Iterator[str]:
    for version in dict.fromkeys(engine.version for engine in engines(pod)):
        if version and (fault := check_engine_version(version, ())):
            yield fault.partition(";")[0]


def _arguments(pod: Pod) -> Iterator[str]:
    for engine in engines(pod):
        # What a controller puts in place of $(LWS_…) is the address of a pod.
        words = [word.replace("$(LWS_", "(LWS_") for word in engine.words or ()]
        version = _table_of(engine)
        groups = [words] if version == engine.version and engine.is_exact else _shared(words)
        for group in groups:
            yield from _refused(screen_arguments, group, version=version, owned={}, let_off=_let_off(pod))


def _shared(words: list[str]) -> Iterator[list[str]]:
    """Each flag with its values, of those that the newest release has too: of another one it is not known what else there is."""
    group: list[str] = []
    for word in [*words, "--"]:
        if not word.startswith("-") or word[1:].isdigit():
            group.append(word)
            continue
        whole = group[:1] if group and "=" in group[0] else group
        name, *key = re.split(r"[=.]", "".join(whole[:1]))
        if _is_known(name.replace("_", "-")) and (len(whole) > 1 or not key or "=" in whole[0]):
            yield whole
        group = [word]


def _is_known(word: str) -> bool:
    """Whether vLLM's parser takes a word for a flag of the newest release: its beginning is enough where one begins so."""
    flags = engine_flags(VLLM)
    return word in flags or (word.startswith("--") and sum(spelling.startswith(word) for spelling in flags) == 1)


def _refused(screen: Callable[..., None], *given: Any, **more: Any) -> Iterator[str]:
    try:
        screen(*given, **more)
    except ValueError as error:
        yield str(error)


def _let_off(pod: Pod) -> Collection[str]:
    """What does not count for a pod that is flagged as one that logs what people ask, or may be."""
    flag = maybe(at, {"labels": pod.labels}, "labels", PROMPTS_LOGGED, default="")
    return LOGGING if flag in ("true", None) else frozenset()


def _table_of(engine: Engine) -> str:
    """The release by whose tables an engine is judged: its own, or the newest where there is none for it."""
    try:
        engine_flags(engine.version or "")
    except ValueError:
        return VLLM
    return engine.version or VLLM


def _environment(stack: Stack) -> Iterator[Finding]:
    maps: dict[_Place, Mapping[str, Any]] = {}
    for found in stack.kinds("ConfigMap"):
        maps |= dict(as_far_as_known(_map, found, stack))
    for pod in stack.pods:
        for engine in as_far_as_known(engines, pod):
            if engine.words is None:
                continue
            given = _variables(engine, maybe(stack.place, pod.owner), maps)
            version = _table_of(engine)
            if version != engine.version:
                known, _ = engine_variables(version)
                given = {name: value for name, value in given.items() if not name.startswith("VLLM_") or name in known}
            for sentence in _refused(screen_environment, given, owned={}, version=version, let_off=_let_off(pod)):
                yield Finding(pod.owner, sentence)


_Place = tuple[str | None, str]
"""Where a ConfigMap is, and what it is called."""
_Maps = Mapping[_Place, Mapping[str, Any]]


def _map(found: Resource, stack: Stack) -> Iterator[tuple[_Place, Mapping[str, Any]]]:
    name = str(at(found.properties, "metadata", "name", default=found.name))
    yield (stack.place(found), name), at(found.properties, "data", default={})


def _variables(engine: Engine, place: str | None, maps: _Maps) -> dict[str, str]:
    """The variables of an engine as far as they are known."""
    found = dict[str, Any](engine.environment)
    for source in as_far_as_known(listed, engine.container, "envFrom"):
        found |= maybe(_of_source, source, place, maps) or {}
    for variable in as_far_as_known(listed, engine.container, "env"):
        found |= maybe(_of_variable, variable, place, maps) or {}
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def _of_source(source: Any, place: str | None, maps: _Maps) -> dict[str, Any]:
    prefix, data = at(source, "prefix", default=""), maps.get((place, at(source, "configMapRef", "name")), {})
    return {f"{prefix}{key}": value for key, value in data.items()}


def _of_variable(variable: Any, place: str | None, maps: _Maps) -> dict[str, Any]:
    value, reference = at(variable, "value"), at(variable, "valueFrom", "configMapKeyRef")
    if reference:
        value = maps.get((place, at(reference, "name")), {}).get(at(reference, "key"))
    return {at(variable, "name"): value}


RULES = (
    Rule(
        id="engine-version",
        title="vLLM has no known vulnerability.",
        reason="Several of them let a request, a model or a neighbour run code in the server.",
        remedy="use the newest release",
        source="https://github.com/vllm-project/vllm/security/advisories",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=each_pod(_version),
    ),
    Rule(
        id="engine-arguments",
        title="vLLM is started without the flags that open it.",
        reason="Some flags run code of the model, show requests in logs, or open an API without authentication.",
        remedy="remove it",
        source="https://docs.vllm.ai/en/latest/usage/security.html",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=each_pod(_arguments),
    ),
    Rule(
        id="engine-environment",
        title="vLLM is started without the variables that open it.",
        reason="Some load code at run time, turn checks off, or put requests into logs.",
        remedy="remove it",
        source="https://docs.vllm.ai/en/latest/usage/security.html",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        stack=_environment,
    ),
)
