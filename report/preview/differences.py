"""What differs between two states of a resource, as lines."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from report.blinding import SECRET, UNKNOWN
from report.preview.model import Change, Op

_PART = re.compile(r"""\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.\[]+)""")
_LONGEST_VALUE, _MOST_LINES = 160, 40
_MISSING = object()
Path = tuple[str | int, ...]


def lines(change: Change) -> list[str]:
    """The properties of a resource that change, as lines of a diff; all it has, where it is new."""
    leaves = list(_leaves_of(change))
    # What providers see beside what the program changes is their way to write it, e.g. 1024Mi for 1Gi.
    real = [leaf for leaf in leaves if leaf[1] != leaf[2] or leaf[1] == SECRET]
    found = [line for path, before, after in real or leaves for line in _lines(path, before, after)]
    left = len(found) - _MOST_LINES
    return [*found[:_MOST_LINES], f"  … {left} more lines"] if left > 0 else found


def _leaves_of(change: Change) -> Iterator[tuple[str, Any, Any]]:
    if change.op in (Op.DELETE, Op.FORGET):
        return
    paths = [parsed(path) for path in change.paths] if change.before and change.after else []
    seen: set[str] = set()
    for path in paths or [()]:
        before, after = at(change.before, path), at(change.after, path)
        leaves = list(_leaves(before, after, path))
        # The provider says that it differs: a secret, or what only outputs have.
        for leaf in leaves or ([(_written(path), before, after)] if path else []):
            if leaf[0] not in seen:
                seen.add(leaf[0])
                yield leaf


def _leaves(before: Any, after: Any, path: Path) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from _leaves(before.get(key, _MISSING), after.get(key, _MISSING), (*path, key))
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from _leaves(_item(before, index), _item(after, index), (*path, index))
    elif before != after:
        whole = before if after is _MISSING else after
        if isinstance(whole, Mapping) and whole and _MISSING in (before, after):
            for key, inner in sorted(whole.items()):
                old, new = (inner, _MISSING) if after is _MISSING else (_MISSING, inner)
                yield from _leaves(old, new, (*path, key))
        else:
            yield _written(path), before, after


def _lines(path: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        what = f"{SECRET} changes" if before == SECRET else "the provider sees a difference that the program does not make"
        yield f"! {path}: {what}"
        return
    start = _apart(before, after)
    if before is not _MISSING:
        yield f"- {path}: {shown(before, start)}"
    if after is not _MISSING:
        yield f"+ {path}: {shown(after, start)}"


def _apart(before: Any, after: Any) -> int:
    """Where two long texts begin to differ, and a little before it."""
    if not (isinstance(before, str) and isinstance(after, str)) or max(len(before), len(after)) <= _LONGEST_VALUE:
        return 0
    same = next(
        (place for place, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), min(len(before), len(after))
    )
    return max(0, same - _LONGEST_VALUE // 4)


def shown(value: Any, start: int = 0) -> str:
    """A value on one line that is not too long; of a text what is from `start` on."""
    if value in (SECRET, UNKNOWN):
        return str(value)
    written = json.dumps(value[start:] if start else value, ensure_ascii=False, sort_keys=True)
    begin, end = "…" if start else "", "…" if len(written) > _LONGEST_VALUE else ""
    return f"{begin}{written[:_LONGEST_VALUE]}{end}"


def parsed(path: str) -> Path:
    """A property's path as the engine writes it (pulumi/pulumi sdk/go/common/resource/property_path.go)."""
    return tuple(
        int(index) if index else re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        for quoted, index, plain in _PART.findall(path)
    )


def at(state: Any, path: Path) -> Any:
    """What is there, or `_MISSING`."""
    for part in path:
        match state, part:
            case Mapping(), _ if part in state:
                state = state[part]
            case list(), int() if part < len(state):
                state = state[part]
            case _ if state == SECRET:
                return SECRET
            case _:
                return _MISSING
    return state


def _item(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else _MISSING


def _written(path: Path) -> str:
    parts = (
        f"[{part}]" if isinstance(part, int) else f".{part}" if re.fullmatch(r"[\w-]+", part) else f"[{json.dumps(part)}]"
        for part in path
    )
    return "".join(parts).removeprefix(".")
