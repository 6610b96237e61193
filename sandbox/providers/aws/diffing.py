"""How the inputs of a resource differ, and which differences only another resource can have."""

import json
from collections.abc import Iterator
from typing import Any

from sandbox.providers.aws.adapter import Adapter, Values
from sandbox.providers.contract import ChangeKind, Diffed
from sandbox.providers.properties import UNKNOWN, has_unknown, lookup, render

_MISSING: Any = object()
_FREE = frozenset({"tags", "labels"})
"""Maps whose keys the user chooses."""


def diff(adapter: Adapter, old: Values, new: Values) -> Diffed:
    """What changes from the inputs `old` to the inputs `new`."""
    changes, replaces = {}, []
    for path, was, now in _changes(adapter, old, new, ()):
        kind = ChangeKind.ADD if was is _MISSING else ChangeKind.DELETE if now is _MISSING else ChangeKind.UPDATE
        changes[render(path)] = kind
        if _replaces(adapter, path, was, now) or (kind is not ChangeKind.UPDATE and plain(path) in adapter.alternatives):
            replaces.append(render(path))
    return Diffed(changes, tuple(replaces), delete_before_replace=bool(replaces) and adapter.delete_before_replace)


def drifted(adapter: Adapter, name: str, given: Any, live: Any) -> Any:
    """The input of that name as it would be written for the resource as it is now: only what was given, at every depth."""
    return _drifted(adapter, given, live, (name,))


def _drifted(adapter: Adapter, given: Any, live: Any, path: tuple[str | int, ...]) -> Any:
    if isinstance(given, dict) and isinstance(live, dict):
        both = {key: _drifted(adapter, item, live.get(key), (*path, key)) for key, item in given.items()}
        free = plain(path) in _FREE  # every key of a map counts, those of a group of properties are the provider's
        return {key: item for key, item in both.items() if item is not None} | (
            {k: live[k] for k in live.keys() - both.keys()} if free else {}
        )
    if isinstance(given, list) and isinstance(live, list) and len(given) == len(live) and plain(path) not in adapter.unordered:
        return [_drifted(adapter, was, now, (*path, number)) for number, (was, now) in enumerate(zip(given, live, strict=True))]
    unchanged = not any(_changes(adapter, given, live, path)) if live is not None else False
    return given if unchanged else live


def _changes(adapter: Adapter, old: Any, new: Any, path: tuple[str | int, ...]) -> Iterator[tuple[Any, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _changes(adapter, old.get(key, _MISSING), new.get(key, _MISSING), (*path, key))
        return
    if (old is None or old is _MISSING) and (new is None or new is _MISSING):
        return
    where = plain(path)
    if isinstance(old, list) and isinstance(new, list) and not has_unknown(new):
        if where in adapter.unordered:
            old, new = sorted(old, key=_key), sorted(new, key=_key)
        if len(old) == len(new):
            for number, (was, now) in enumerate(zip(old, new, strict=True)):
                yield from _changes(adapter, was, now, (*path, number))
            return
    if new is UNKNOWN or (_document(old) != _document(new) if where in adapter.documents else old != new):
        yield path, old, new


def _replaces(adapter: Adapter, path: tuple[str | int, ...], old: Any, new: Any) -> bool:
    """Whether a change at a path is one of an input that replaces, or adds or removes a group with such an input in it."""
    where = plain(path)
    for named in adapter.replaces:
        if where == named or where.startswith(f"{named}."):
            return True
        if named.startswith(f"{where}."):
            rest = named.removeprefix(f"{where}.").split(".")
            if new is UNKNOWN or lookup(old, rest) is not None or lookup(new, rest) is not None:
                return True
    return False


def plain(path: tuple[str | int, ...]) -> str:
    """A path as adapters write it: names with dots between them."""
    return ".".join(step for step in path if isinstance(step, str))


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _document(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value
