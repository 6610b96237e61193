"""Pulumi property bags as plain JSON values plus the paths that are secret, and back.

The SDK's own PropertyValue cannot write an unknown; here it is the object UNKNOWN.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

from google.protobuf import struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime import rpc

from policy_pack import wire

Path = wire.Path
Paths = frozenset[Path]

_SHORTEST_HIDDEN: Final = 4  # characters; hiding shorter secrets would blank out ordinary words


class Unknown:
    """A value that is only known after the deployment."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __deepcopy__(self, _memo: object) -> "Unknown":
        return self

    def __copy__(self) -> "Unknown":
        return self


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Asset:
    """A file, text or archive given as an input, kept as it came."""

    wire: struct_pb2.Struct

    def read(self) -> str:
        """Its text, from the program or from the file it names.

        Raises:
            OSError: there is no such file.
        """
        fields = self.wire.fields
        return fields["text"].string_value if "text" in fields else FilePath(fields["path"].string_value).read_text("utf-8")


@dataclass(frozen=True)
class Properties:
    """A property bag: `values` is JSON with UNKNOWN in places, `secrets` the paths below which everything is secret."""

    values: dict[str, Any] = field(default_factory=dict)
    secrets: Paths = frozenset()

    def redact(self, text: str) -> str:
        """The text with every secret string of this bag (plain or base64) blanked out."""
        hidden: set[str] = set()
        for path in self.secrets:
            for leaf in leaves(lookup(self.values, path)):
                if isinstance(leaf, str) and len(leaf) >= _SHORTEST_HIDDEN:
                    hidden |= {leaf, base64.b64encode(leaf.encode()).decode(), *_decoded(leaf)}
        for secret in sorted(hidden, key=len, reverse=True):
            text = text.replace(secret, "[secret]")
        return text


def decode(struct: struct_pb2.Struct) -> Properties:
    """Read a property bag off the wire."""
    reader = wire.Reader(UNKNOWN, Asset)
    return Properties(reader.mapping(struct), frozenset(reader.secrets))


def encode(properties: Properties) -> struct_pb2.Struct:
    """Write a property bag for the wire."""
    return struct_pb2.Struct(fields={key: _encode(value, (key,), properties.secrets) for key, value in properties.values.items()})


def _encode(value: Any, path: Path, secrets: Paths) -> struct_pb2.Value:
    plain = _encode_plain(value, path, secrets)
    if path not in secrets:
        return plain
    sealed = {rpc._special_sig_key: struct_pb2.Value(string_value=rpc._special_secret_sig), "value": plain}
    return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=sealed))


def _encode_plain(value: Any, path: Path, secrets: Paths) -> struct_pb2.Value:
    wire = struct_pb2.Value()
    match value:
        case None:
            wire.null_value = struct_pb2.NULL_VALUE
        case bool():
            wire.bool_value = value
        case int() | float():
            wire.number_value = value
        case str():
            wire.string_value = value
        case Asset():
            wire.struct_value.CopyFrom(value.wire)
        case Unknown():
            wire.string_value = rpc.UNKNOWN
        case list():
            wire.list_value.values.extend(_encode(item, (*path, index), secrets) for index, item in enumerate(value))
            wire.list_value.SetInParent()  # an empty list has nothing to extend by, and must not become nothing
        case Mapping():
            wire.struct_value.SetInParent()
            for key, item in value.items():
                wire.struct_value.fields[key].CopyFrom(_encode(item, (*path, key), secrets))
        case _:
            raise TypeError(f"{render(path)}: {type(value).__name__} cannot be a property value")
    return wire


def lookup(value: Any, path: Iterable[str | int], default: Any = None) -> Any:
    """The value at a path of a JSON value, or the default where the path leads nowhere."""
    for step in path:
        in_map = isinstance(value, dict) and step in value
        if not in_map and not (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            return default
        value = value[step]
    return value


def leaves(value: Any) -> Iterator[Any]:
    """Every scalar in a JSON value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def has_unknown(value: Any) -> bool:
    return any(leaf is UNKNOWN for leaf in leaves(value))


def render(path: Iterable[str | int]) -> str:
    """A path as Pulumi writes it: `spec.containers[0].env`, `metadata.labels["a.b/c"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif any(mark in step for mark in '."[]') or not step:
            quoted = step.replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{quoted}"]'
        else:
            text += f".{step}" if text else step
    return text


def parse(text: str) -> Path:
    """The inverse of `render`; a leading dot, as in Kubernetes field paths, is allowed.

    Raises:
        ValueError: a bracket or quote is not closed.
    """
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        if text[position] == ".":
            position += 1
        elif text.startswith('["', position):
            word, position = _quoted(text, position + 2)
            steps.append(word)
        elif text[position] == "[":
            end = text.index("]", position)
            inner = text[position + 1 : end]
            steps.append(int(inner) if inner.isdigit() else inner)
            position = end + 1
        else:
            end = position
            while end < len(text) and text[end] not in ".[":
                end += 1
            steps.append(text[position:end])
            position = end
    return tuple(steps)


def _quoted(text: str, position: int) -> tuple[str, int]:
    word = ""
    while not text.startswith('"]', position):
        if position >= len(text):
            raise ValueError(f"{text}: a quote is not closed")
        if text[position] == "\\" and position + 1 < len(text):
            position += 1
        word += text[position]
        position += 1
    return word, position + 2


def _decoded(text: str) -> set[str]:
    """The base64 content of a text, where it is printable: a Secret's data is shown decoded by some messages."""
    try:
        plain = base64.b64decode(text, validate=True).decode()
    except ValueError:
        return set()
    return {plain} if len(plain) >= _SHORTEST_HIDDEN and plain.isprintable() else set()
