"""What an update that was interrupted leaves open, and what to do about each part of it. Pure.

The engine notes in the state what it is about to do, and takes the note away when it is done (pulumi/pulumi:
sdk/go/common/apitype/core.go, OperationV2). What it was creating may be there although no state knows it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.inputs import InputError


@dataclass(frozen=True)
class Open:
    """One operation nobody knows the end of."""

    doing: str
    """`creating`, `updating`, `deleting`, `reading` or `importing`."""
    resource: str
    """Type and name in the program."""
    look_for: str
    """What to look for, as `Kind namespace/name` or the name in AWS; empty where nothing new can be there."""
    remedy: str


def still_open(exported: str, where: str) -> list[Open]:
    """The operations in what `pulumi stack export` printed; InputError where it is something else."""
    try:
        operations = json.loads(exported)["deployment"].get("pending_operations") or []
        return [_open(operation["type"], operation["resource"]) for operation in operations]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{where}: this is no state; give what `pulumi stack export --file {where}` writes") from None


def _open(doing: str, resource: Mapping[str, Any]) -> Open:
    type_, name = resource["type"], resource["urn"].rpartition("::")[2]
    called = f"{type_.rpartition(':')[2]} {name}"
    if doing != "creating":
        return Open(doing, called, "", "nothing: `pulumi refresh` reads what became of it")
    inputs = resource.get("inputs") or {}
    if type_.startswith("kubernetes:") and "kind" in inputs:
        metadata = inputs.get("metadata") or {}
        namespace = metadata.get("namespace", "")
        place = f"{namespace}/{metadata.get('name', '')}" if namespace else str(metadata.get("name", ""))
        within = f"-n {namespace} " if namespace else ""
        command = f"`kubectl {within}delete --ignore-not-found {inputs['kind'].lower()} {metadata.get('name', '')}`"
        return Open(doing, called, f"{inputs['kind']} {place}", f"{command}: `pulumi up` makes it anew")
    given = next((value for key, value in inputs.items() if key.lower().endswith("name") and isinstance(value, str)), name)
    return Open(doing, called, given, f"where {given} is there: `pulumi import {type_} {name} ID`, or delete it")
