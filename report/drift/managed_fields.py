"""Who set which field of a Kubernetes object, as its `managedFields` have it. Pure.

A tree of `fieldsV1` has `f:<name>` for a field, `k:<keys>` for an item of a list that is merged by key, `v:<value>` for an item
of a set, and `.` for the thing itself (kubernetes-sigs/structured-merge-diff: fieldpath/serialize-pe.go).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
_MISSING = object()
_SHARED = ("annotations", "labels")
"""Maps that belong to nobody as a whole."""


@dataclass(frozen=True)
class Claim:
    """The fields of one object that one manager has set."""

    manager: str
    subresource: str
    """`status`, `scale`; empty for the object itself."""
    time: str
    """RFC 3339."""
    tree: Mapping[str, Any]

    def covers(self, path: Path, value: Any) -> bool:
        """Whether the manager set what is at `path` of `value`, or something around it as a whole."""
        tree = self.tree
        for step in path:
            if not tree:
                return True
            key = _item(tree, value, step) if isinstance(step, int) else f"f:{step}"
            if key is None or key not in tree:
                # Of a list without keys somebody owns all or nothing.
                return isinstance(step, int) and not any(name.startswith(("k:", "f:")) for name in tree)
            tree, value = tree[key], _below(value, step)
        return True


def claims(live: Mapping[str, Any]) -> list[Claim]:
    """Those of an object, in the order the API server has them."""
    entries = (live.get("metadata") or {}).get("managedFields") or []
    return [
        Claim(entry.get("manager", ""), entry.get("subresource", ""), entry.get("time", ""), entry.get("fieldsV1") or {})
        for entry in entries
    ]


def beyond(claim: Claim, wanted: Any, live: Any) -> Iterator[tuple[str, Any]]:
    """What the manager has set that `wanted` does not have: its path, as people write it, and its value in `live`."""
    yield from _beyond(claim.tree, wanted, live, "")


def _beyond(tree: Mapping[str, Any], wanted: Any, live: Any, where: str) -> Iterator[tuple[str, Any]]:
    for key, below in tree.items():
        kind, _, text = key.partition(":")
        if kind == "f":
            here = f"{where}.{text}" if where else text
            ours, theirs = _below(wanted, text), _below(live, text)
        elif kind in ("k", "v"):
            wish = json.loads(text)
            here = f"{where}[{','.join(map(str, wish.values())) if kind == 'k' else wish}]"
            ours, theirs = _match(wanted, wish), _match(live, wish)
        else:
            continue
        if theirs is _MISSING:
            continue  # claimed, and gone since
        if ours is _MISSING and text not in _SHARED:
            yield here, theirs
        else:
            yield from _beyond(below, ours, theirs, here)


def shown(path: Path, value: Any) -> str:
    """A path as people write it: items of lists by their name where they have one."""
    text = ""
    for step in path:
        value = _below(value, step)
        if isinstance(step, int):
            name = value.get("name") if isinstance(value, Mapping) else None
            text += f"[{name if name is not None else step}]"
        else:
            text += f".{step}" if text else step
    return text


def at(value: Any, path: Path) -> Any:
    """What is at `path`; None where nothing is."""
    for step in path:
        value = _below(value, step)
    return None if value is _MISSING else value


def _item(tree: Mapping[str, Any], items: Any, index: int) -> str | None:
    item = _below(items, index)
    found = (key for key in tree if key[:2] in ("k:", "v:") and _is(item, json.loads(key[2:])))
    return next(found, None)


def _match(items: Any, wish: Any) -> Any:
    if not isinstance(items, list):
        return _MISSING
    return next((item for item in items if _is(item, wish)), _MISSING)


def _is(item: Any, wish: Any) -> bool:
    """Whether an item has these keys, or is this value; a key it does not state has a default."""
    if isinstance(item, Mapping) and isinstance(wish, Mapping):
        stated = [key for key in wish if key in item]
        return bool(stated) and all(item[key] == wish[key] for key in stated)
    return bool(item == wish)


def _below(value: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return value[step] if isinstance(value, list) and step < len(value) else _MISSING
    return value.get(step, _MISSING) if isinstance(value, Mapping) else _MISSING
