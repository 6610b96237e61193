"""Lengths and choices, checked against botocore's models of the services: AWS's services do, their clients mostly do not."""

from collections.abc import Iterator
from typing import Any

from sandbox.aws.calls import Call
from sandbox.aws.refusals.errors import RefusalError

# The code each service has for it; services left out answer in ways of their own.
_CODES = {
    "ec2": "InvalidParameterValue",
    "efs": "ValidationException",
    "events": "ValidationException",
    "fsx": "ValidationException",
    "iam": "ValidationError",
    "kms": "ValidationException",
    "logs": "InvalidParameterException",
    "ssm": "ValidationException",
}


def check(call: Call) -> None:
    """Raises RefusalError for the first value that breaks its model."""
    code = _CODES.get(call.service)
    if code is None or call.model.input_shape is None:
        return
    for place, value, constraint in _faults(call.model.input_shape, call.parameters, ""):
        what = f"Value '{value}' at '{place}' failed to satisfy constraint: {constraint}"
        raise RefusalError(code, f"1 validation error detected: {what}")


def _faults(shape: Any, value: Any, place: str) -> Iterator[tuple[str, Any, str]]:
    if value is None:
        return
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if isinstance(value, dict) and name in value:
                inner = name[0].lower() + name[1:]
                yield from _faults(member, value[name], f"{place}.{inner}" if place else inner)
    elif shape.type_name == "list":
        if isinstance(value, list):
            yield from _length(shape, value, place)
            for number, item in enumerate(value, start=1):
                yield from _faults(shape.member, item, f"{place}.{number}.member")
    elif shape.type_name == "string" and isinstance(value, str):
        yield from _length(shape, value, place)
        choices = getattr(shape, "enum", None)
        if choices and value not in choices:
            yield place, value, f"Member must satisfy enum value set: [{', '.join(choices)}]"


def _length(shape: Any, value: Any, place: str) -> Iterator[tuple[str, Any, str]]:
    greatest = shape.metadata.get("max")
    if greatest is not None and len(value) > greatest:
        yield place, value, f"Member must have length less than or equal to {greatest}"
