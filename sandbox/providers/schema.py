"""Inputs of a resource against the types its SDK has for them: names at every depth, what is required, kinds of values."""

import difflib
import inspect
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any

from pulumi import _types as sdk

from sandbox.providers.properties import UNKNOWN


def faults(values: Mapping[str, Any], arguments: type, package: str) -> list[tuple[str, str]]:
    """(path, reason) of everything wrong with values for a class of arguments of an SDK; unknown values are not."""
    return list(_faults(values, sdk.input_type_types(arguments), required(arguments), "", package))


def _faults(
    values: Mapping[str, Any], types: Mapping[str, Any], needed: frozenset[str], path: str, package: str
) -> Iterator[tuple[str, str]]:
    for name in sorted(needed - values.keys()):
        yield f"{path}{name}", "is required and missing"
    for name, value in values.items():
        if name in types:
            yield from _fault(value, types[name], f"{path}{name}", package)
            continue
        near = difflib.get_close_matches(name, types, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(types))}"
        yield f"{path}{name}", f"is not a property {package} has here; {hint}"


def _fault(value: Any, kind: Any, path: str, package: str) -> Iterator[tuple[str, str]]:
    kind = plain(kind)
    if value is UNKNOWN or value is None or kind is Any:
        return
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    shape: type
    if isinstance(kind, type) and sdk.is_input_type(kind):
        shape, wanted, parts = dict, "a group of properties", ()
    elif origin is not None and issubclass(origin, Mapping):
        shape, wanted, parts = dict, "a map", arguments[1:]
    elif origin is not None:
        shape, wanted, parts = list, "a list", arguments
    else:
        if not _is_scalar(value, kind):
            yield path, f"has to be {_described(kind)}, not {value!r}"
        return
    if not isinstance(value, shape):
        yield path, f"has to be {wanted}, not {value!r}"
    elif not parts:
        assert isinstance(value, dict)  # noqa: S101 - for the type checker
        yield from _faults(value, sdk.input_type_types(kind), required(kind), f"{path}.", package)
    else:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _fault(item, parts[0], f"{path}.{key}" if shape is dict else f"{path}[{key}]", package)


@cache
def required(arguments: type) -> frozenset[str]:
    """Names of the arguments that have to be given."""
    names = sdk.input_type_py_to_pulumi_names(arguments)
    parameters = inspect.signature(arguments).parameters
    return frozenset(theirs for ours, theirs in names.items() if parameters[ours].default is inspect.Parameter.empty)


_SCALARS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _is_scalar(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return value in [member.value for member in kind]
    return isinstance(value, kind) if kind in _SCALARS else True


def _described(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(str(member.value) for member in kind)}"
    return str(_SCALARS.get(kind, kind))


def plain(kind: Any) -> Any:
    """A type of the SDK without Optional, Input and the dictionary form of its arguments around it."""
    while typing.get_origin(kind) is typing.Union:
        members = [member for member in typing.get_args(kind) if member is not type(None) and not _is_wrapper(member)]
        kind = members[0] if members else Any
    return kind


def _is_wrapper(member: Any) -> bool:
    origin = typing.get_origin(member) or member
    return (
        getattr(origin, "__name__", "") in ("Awaitable", "Output")
        or typing.is_typeddict(origin)
        or isinstance(member, typing.ForwardRef)
    )
