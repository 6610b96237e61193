"""What changes between a live object and new inputs, and what of it forces a replacement. Pure.

The API server decides what is immutable: its refusal of a dry run is read here. Only replacements that the official
provider makes although the server would accept the change are a table.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sandbox.providers.contract import ChangeKind
from sandbox.providers.kubernetes.objects import AUTONAMED, Object, Type, is_true, name_of, namespace_of
from sandbox.providers.kubernetes.settings import Settings
from sandbox.providers.properties import UNKNOWN, Path, lookup, parse

Changes = dict[Path, ChangeKind]
_MISSING: Final = object()

_IMMUTABLE: Final = re.compile(
    r"immutable|may not change once set|may not be changed|cannot be changed|cannot change roleRef|must not be changed"
    r"|updates to .* (?:is|are) forbidden|may not change fields other than|may not be (?:updated|set) once",
    re.IGNORECASE | re.DOTALL,
)
_EXCEPT: Final = re.compile(r"other than (.*?)(?: are forbidden|$)|except (.*?)(?: for |$)", re.DOTALL)

# Replaced by the official provider although the API server accepts the change in place.
_ALWAYS_REPLACED: Final[Mapping[Type, tuple[Path, ...]]] = {
    Type("batch/v1", "Job"): (("spec", "completions"), ("spec", "parallelism")),
    Type("apps/v1", "StatefulSet"): (("spec", "revisionHistoryLimit"),),
    Type("v1", "Secret"): (("type",),),
    Type("v1", "Pod"): (("spec", "containers", "*", "image"), ("spec", "initContainers", "*", "image")),
}


def compare(old: Any, new: Any, path: Path = ()) -> Changes:
    """Every difference at its deepest path; an unknown new value differs from everything."""
    if new is UNKNOWN:
        return {path: ChangeKind.ADD if old is _MISSING else ChangeKind.UPDATE}
    if old is _MISSING or new is _MISSING:
        return {} if old is new else {path: ChangeKind.ADD if old is _MISSING else ChangeKind.DELETE}
    if isinstance(old, dict) and isinstance(new, dict):
        keys: Iterable[str | int] = sorted({*old, *new})
    elif isinstance(old, list) and isinstance(new, list):
        keys = range(max(len(old), len(new)))
    else:
        return {} if old == new and isinstance(old, bool) == isinstance(new, bool) else {path: ChangeKind.UPDATE}
    found: Changes = {}
    for key in keys:
        found |= compare(lookup(old, (key,), _MISSING), lookup(new, (key,), _MISSING), (*path, key))
    return found


def without_ignored(changes: Changes, ignored: Iterable[str]) -> Changes:
    """The changes outside the ignored paths (`*` matches one step)."""
    patterns = [parse(text) for text in ignored]
    return {path: kind for path, kind in changes.items() if not any(is_under(path, pattern) for pattern in patterns)}


def is_under(path: Path, pattern: Path) -> bool:
    return len(path) >= len(pattern) and all(want in ("*", step) for want, step in zip(pattern, path, strict=False))


def without_noise(changes: Changes, old: Object, result: Object, kept: Object) -> Changes:
    """The changes that a dry run confirms: `result` is its outcome in the shape of the new inputs, `kept` in that of the old.

    A value the server turns into the old one again (1000m of cpu is 1) is no change, and neither is a field left out of the
    inputs of an object that was imported just now: the server keeps it, as nobody gives up its ownership.
    """

    def is_noise(path: Path, kind: ChangeKind) -> bool:
        after = kept if kind is ChangeKind.DELETE else result
        return kind is not ChangeKind.ADD and lookup(after, path, _MISSING) == lookup(old, path, _MISSING)

    return {path: kind for path, kind in changes.items() if not is_noise(path, kind)}


def replaced_by_rule(of: Type, changes: Changes, old: Object, new: Object, settings: Settings) -> set[Path]:
    """The changed paths that make another object of it, or that the official provider replaces for."""
    rules: list[Path] = [("metadata", "name"), ("metadata", "namespace"), ("kind",), *_ALWAYS_REPLACED.get(of, ())]
    if _group(old) != _group(new):
        rules.append(("apiVersion",))
    frozen = new.get("immutable") is True
    if of == Type("v1", "ConfigMap") and (frozen or not settings.config_map_mutable):
        rules += [("data",), ("binaryData",)]
    if of == Type("v1", "Secret") and (frozen or not settings.secret_mutable):
        rules += [("data",), ("stringData",)]
    return {path for path in changes if any(is_under(path, rule) for rule in rules)}


def replaced_by_refusal(causes: Iterable[Mapping[str, str]], changes: Changes) -> set[Path]:
    """The changed paths that the server calls immutable; empty when it refused for another reason."""
    found: set[Path] = set()
    for cause in causes:
        message = cause.get("message", "")
        if not _IMMUTABLE.search(message):
            continue
        field = parse(cause.get("field", "").replace("<nil>", ""))
        allowed = _allowed(message)
        below = {path for path in changes if is_under(path, field) or is_under(field, path)}
        below = {path for path in below if not any(str(step) in allowed for step in path[len(field) : len(field) + 1])}
        # Some kinds report a field by a name of their own (`spec.persistentvolumesource`): then it is one of its siblings.
        siblings = {path for path in changes if is_under(path, field[:-1])} if field else set(changes)
        found |= below or siblings or set(changes)
    return found


def delete_before_replace(replaced: bool, old: Object, new: Object) -> bool:
    """An object with a name of its own choosing can only be made again once the old one is gone."""
    return (
        replaced
        and bool(name_of(new))
        and not is_true(new, AUTONAMED)
        and name_of(new) == name_of(old)
        and namespace_of(new) == namespace_of(old)
    )


def _allowed(message: str) -> set[str]:
    """The fields a refusal excepts: "updates … for fields other than 'replicas', 'template' are forbidden"."""
    match = _EXCEPT.search(message)
    return set(re.findall(r"[A-Za-z]+", match[1] or match[2] or "")) if match else set()


def _group(obj: Object) -> str:
    return str(obj.get("apiVersion") or "").rpartition("/")[0]
