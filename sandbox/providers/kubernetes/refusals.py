"""The API server's refusals as sentences a user can act on. Pure."""

import re
from collections.abc import Iterable
from typing import Any, Final

from sandbox.providers.kubernetes.client import ApiError
from sandbox.providers.kubernetes.objects import PATCH_FORCE, Object, describe

_UNKNOWN_FIELD: Final = re.compile(r'(unknown|duplicate) field "([^"]+)"')
_NOT_DECLARED: Final = re.compile(r"\.?([\w.\[\]=\"-]+): field not declared in schema")
_WRONG_TYPE: Final = re.compile(r"cannot unmarshal (\w+) into Go struct field \w+\.([\w.]+) of type ([\w.*\[\]]+)")
_BOILERPLATE: Final = re.compile(r'^.*? in version "[^"]*" cannot be handled as an? \w+: (?:json: )?', re.DOTALL)
_VALUE: Final = re.compile(r"^(Invalid value|Unsupported value|Duplicate value): (.*?): (.*)$", re.DOTALL)
_LONGEST_VALUE: Final = 80  # characters of a refused value that are worth repeating
_GO_TYPES: Final = {"int32": "a whole number", "int64": "a whole number", "bool": "true or false", "string": "a text"}


def failures(error: ApiError) -> list[tuple[str, str]]:
    """What is wrong with the object itself, as (field, reason); empty when the refusal is about something else."""
    message = str(error)
    if error.code == 422:
        return [(_field(cause), _reason(cause.get("message", ""))) for cause in error.causes] or [("", message)]
    if error.code not in (400, 500):
        return []
    unknown = [(field, f"{what} field; {_nearby(field)}") for what, field in _UNKNOWN_FIELD.findall(message)]
    undeclared = [(field, f"unknown field; {_nearby(field)}") for field in _NOT_DECLARED.findall(message)]
    if unknown or undeclared:
        return unknown or undeclared
    if match := _WRONG_TYPE.search(message):
        given, field, wanted = match.groups()
        return [(field, f"must be {_GO_TYPES.get(wanted, wanted)}, not {'an object' if given == 'object' else f'a {given}'}")]
    if error.code == 400 and _BOILERPLATE.match(message):
        return [("", _BOILERPLATE.sub("", message))]
    return []


def sentence(error: ApiError, doing: str, obj: Object) -> str:
    """One sentence for a refused request; `doing` is what was tried: "create", "update", "delete"."""
    subject = f"cannot {doing} {describe(obj)}"
    if error.code == 409 and any(cause.get("reason") == "FieldManagerConflict" for cause in error.causes):
        remedy = f'remove these fields, or set the annotation {PATCH_FORCE}: "true" to take them over'
        return f"{subject}: {conflict(error.causes)}; {remedy}"
    wrong = failures(error)
    if wrong:
        return f"{subject}: " + "; ".join(f"{field}: {reason}" if field else reason for field, reason in wrong)
    return f"{subject}: {' '.join(str(error).split())}"


def conflict(causes: Iterable[dict[str, str]]) -> str:
    """Who owns which of the fields: `.spec.replicas is managed by kubectl-edit`."""
    owners: dict[str, list[str]] = {}
    for cause in causes:
        if cause.get("reason") == "FieldManagerConflict":
            match = re.search(r'conflict with "([^"]+)"', cause.get("message", ""))
            owners.setdefault(match[1] if match else "another manager", []).append(cause.get("field", "").lstrip("."))
    parts = [f"{', '.join(fields)} {'is' if len(fields) == 1 else 'are'} managed by {owner}" for owner, fields in owners.items()]
    return "; ".join(parts)


def is_permission(error: ApiError) -> bool:
    """A refusal by RBAC, not by an admission check."""
    return error.code == 403 and "cannot" in str(error) and "User" in str(error)


def is_passing(error: ApiError) -> bool:
    """A refusal that goes away by itself within seconds, as controllers and webhooks come up."""
    message = str(error)
    return (
        (error.code == 403 and "serviceaccount" in message.lower() and "not found" in message)
        or (error.code == 500 and "failed calling webhook" in message)
        or (error.code == 409 and "being deleted" in message)
        or error.reason == "ServerTimeout"
    )


def _field(cause: dict[str, Any]) -> str:
    return str(cause.get("field") or "").replace("<nil>", "")


def _reason(message: str) -> str:
    """The reason without a page of the refused value."""
    match = _VALUE.match(message)
    if match and len(match[2]) > _LONGEST_VALUE:
        return match[3].rpartition(": ")[2]
    return " ".join(message.split())


def _nearby(field: str) -> str:
    parent = field.rpartition(".")[0]
    return f"the API has no such field in {parent}" if parent else "the API has no such field"
