"""What an API server publishes about its kinds (OpenAPI v3), as files of JSON Schema that kubeconform reads.

They are strict: a property that the API server does not have is an error.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]

LOCATION = "{{ .Group }}/{{ .ResourceAPIVersion }}/{{ .ResourceKind }}.json"
"""Where a kind's file lies below the directory, in kubeconform's words; its group of `v1` is `v1`."""

_REFERENCE = "#/components/schemas/"
_IDENTITY = "x-kubernetes-group-version-kind"
_OPEN = ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource")


def write(document: Json, directory: Path) -> set[str]:
    """Write a file for each kind in the server's document about an API version, and return the kinds."""
    schemas: Mapping[str, Json] = document["components"]["schemas"]
    strict = {name: _strict(schema) for name, schema in schemas.items()}
    kinds = list(_kinds(schemas))
    for name, api_version, kind in kinds:
        file = directory / _path(api_version, kind)
        file.parent.mkdir(parents=True, exist_ok=True)
        needed = {each: strict[each] for each in sorted(_reachable(strict, name))}
        file.write_text(json.dumps({"$ref": f"{_REFERENCE}{name}", "components": {"schemas": needed}}))
    return {kind for _, _, kind in kinds}


def _kinds(schemas: Mapping[str, Json]) -> Iterator[tuple[str, str, str]]:
    """(schema, API version, kind) of all objects; what is the same in every group, as DeleteOptions, is none."""
    for name, schema in schemas.items():
        identities = schema.get(_IDENTITY, ())
        if len(identities) == 1:
            (identity,) = identities
            group, version = identity["group"], identity["version"]
            yield name, f"{group}/{version}" if group else version, identity["kind"]


def _path(api_version: str, kind: str) -> str:
    return f"{api_version.partition('/')[0]}/{api_version.rpartition('/')[2]}/{kind.lower()}.json"


def _strict(schema: Json) -> Json:
    """OpenAPI's dialect in JSON Schema's, with no properties beside those named.

    Parts of `allOf` and the like stay as they are: they say something about some of the properties.
    """
    found = dict(schema)
    if "properties" in schema:
        found["properties"] = {name: _strict(inner) for name, inner in schema["properties"].items()}
        if not any(schema.get(mark) for mark in _OPEN):
            found.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found[key] = _strict(schema[key])
    if schema.get("x-kubernetes-int-or-string"):
        found["type"] = ["integer", "string"]
    return found


def _reachable(schemas: Mapping[str, Json], start: str) -> set[str]:
    """The schemas that one needs, itself included."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _references(schemas[name])
    return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(reference := value.get("$ref"), str):
            yield reference.removeprefix(_REFERENCE)
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
