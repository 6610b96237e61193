"""Property values as the engine sends them: plain JSON, with what is not known yet and what is secret marked."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

from google.protobuf import struct_pb2  # type: ignore[import-untyped]

from policy_pack.wire import Path, Reader

P = ParamSpec("P")
T = TypeVar("T")


class NotKnownYetError(Exception):
    """A rule looked at a value that only the update will tell."""


class Unknown:
    """A value that only the update will tell. Whoever looks at it gets NotKnownYetError; `is UNKNOWN` asks for it."""

    def _refuse(self, *_arguments: object) -> NoReturn:
        raise NotKnownYetError

    __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __call__ = __hash__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __int__ = __float__ = __index__ = __str__ = __format__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # asked for by Python itself, e.g. by isinstance
            raise AttributeError(name)
        raise NotKnownYetError

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


def decode(struct: struct_pb2.Struct) -> tuple[dict[str, Any], frozenset[Path]]:
    """A property bag off the wire, and the paths below which everything is secret. Of an asset its text alone is of interest."""
    reader = Reader(UNKNOWN, lambda asset: asset.fields["text"].string_value if "text" in asset.fields else UNKNOWN)
    return reader.mapping(struct), frozenset(reader.secrets)


def texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every known text in a JSON value, with where it is; keys of mappings are places, not texts."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(inner, (*path, index))
    elif isinstance(value, str):
        yield path, value


class Partial(dict[str, Any]):
    """A mapping that says only a part: what it leaves out is not known."""

    def __missing__(self, _key: str) -> Unknown:
        return UNKNOWN

    def get(self, key: str, _default: Any = None) -> Any:
        """As `[]`: a default would claim to know."""
        return self[key]


def partial(value: Any) -> Any:
    """A JSON value of which every mapping says only a part."""
    if isinstance(value, Mapping):
        return Partial({key: partial(inner) for key, inner in value.items()})
    return [partial(inner) for inner in value] if isinstance(value, list) else value


def at(value: Any, *path: str, default: Any = None) -> Any:
    """The value below those keys, or the default where one is missing or empty. NotKnownYetError where it is not known."""
    for step in path:
        if value is UNKNOWN:
            raise NotKnownYetError
        value = value.get(step) if isinstance(value, Mapping) else None
    if value is UNKNOWN:
        raise NotKnownYetError
    return default if value is None else value


def listed(value: Any, *path: str) -> Iterator[Any]:
    """The items of a list below those keys; none where it is missing."""
    yield from at(value, *path, default=[])


def shown(path: Iterable[str | int]) -> str:
    """A path as people write it: `spec.containers[0].env`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def maybe(question: Callable[P, T], *args: P.args, **named: P.kwargs) -> T | None:
    """The answer to a question; None where only the update will tell."""
    try:
        return question(*args, **named)
    except NotKnownYetError:
        return None


def every(answers: Iterable[bool | None]) -> bool | None:
    """Whether all hold: one that does not decides, whatever the others are."""
    given = list(answers)
    return False if False in given else None if None in given else True


def as_far_as_known(work: Callable[P, Iterable[T]], *args: P.args, **named: P.kwargs) -> list[T]:
    """What `work` yields with these arguments until it meets a value that is not known yet."""
    found: list[T] = []
    with contextlib.suppress(NotKnownYetError):
        for each in work(*args, **named):
            found.append(each)
    return found
