"""The entry that keeps a model on TGI: the version of a route that requests leave, step by step."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from planner.tgi.launcher import any_user, lacking, release
from planner.tgi.parts import Finding, Kind, Part, Setting, Translation, verdicts
from planner.tgi.sources import Launch

_LONGEST_NAME = 63
_SHARED = (
    *("source", "revision", "nodePool", "replicas", "parallelism", "maxModelLen", "maxNumBatchedTokens", "gpuMemoryUtilization"),
    *("tokenSecret", "apiKeySecret"),
)
_COUNTS = {
    "--max-batch-size": ("maxNumSeqs",),
    "--max-batch-total-tokens": ("engine", "tgi", "maxBatchTotalTokens"),
    "--max-concurrent-requests": ("engine", "tgi", "maxConcurrentRequests"),
    "--speculate": ("engine", "tgi", "speculate"),
}


def stay(launch: Launch, moved: Translation) -> Translation:
    """The same launch as a model entry with `engine: {kind: tgi}`, called after the one that `moved` to vLLM."""
    entry: dict[str, Any] = {}
    findings: list[Finding] = []
    for part in _parts(launch, moved.entry):
        if isinstance(part, Finding):
            findings.append(part)
        else:
            part.put_into(entry)
    return Translation(name=f"{moved.name[: _LONGEST_NAME - 4]}-tgi", entry=entry, findings=tuple(findings))


def _parts(launch: Launch, moved: Mapping[str, Any]) -> Iterator[Part]:
    for key in _SHARED:
        if key in moved:
            yield Setting((key,), deepcopy(moved[key]))
    yield Setting(("engine", "kind"), "tgi")
    version = launch.version or any_user()
    runs = version if release(version) <= release(any_user()) else any_user()
    if runs != any_user():
        yield Setting(("engine", "version"), runs)
    if runs != version:
        yield Finding(
            Kind.CHANGED,
            "engine.version",
            f"TGI's image of {version} starts as root alone, so it is {runs}; or name an image of your own as engine.image",
        )
    yield from _limits(launch, moved)
    yield from _formats(launch)
    known = {flag: launch.text(flag) for flag in verdicts()["kept"] if not lacking([flag], runs)}
    if words := [flag if value == "true" else f"{flag}={value}" for flag, value in known.items() if value not in (None, "false")]:
        yield Setting(("extraArguments",), words)
    for flag in (*verdicts()["left"], *verdicts()["kept"]):
        if flag in launch.arguments and known.get(flag) is None and launch.text(flag) != "false":
            yield Finding(Kind.DROPPED, flag, f"a server with TGI {runs} is not given it here")


def _limits(launch: Launch, moved: Mapping[str, Any]) -> Iterator[Part]:
    total, prompt = moved.get("maxModelLen"), launch.count("--max-input-tokens") or launch.count("--max-input-length")
    if prompt and (total is None or prompt < total):
        yield Setting(("engine", "tgi", "maxInputTokens"), prompt)
    for flag, path in _COUNTS.items():
        if count := launch.count(flag):
            yield Setting(path, min(count, 32) if flag == "--speculate" else count)


def _formats(launch: Launch) -> Iterator[Part]:
    method, dtype = launch.text("--quantize"), launch.text("--dtype")
    if method:
        yield Setting(("engine", "tgi", "quantize"), method)
    elif dtype:
        yield Setting(("dtype",), dtype)
    if cached := launch.text("--kv-cache-dtype"):
        yield Setting(("engine", "tgi", "kvCacheDtype"), cached)
