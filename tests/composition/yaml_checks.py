"""Whether a YAML program is one that the schema allows: known types, known and required properties, values of their types."""

from collections.abc import Iterator
from typing import Any

import jsonschema

from tests.composition.yaml_program import REFERENCE, Template, token

_EXAMPLES = {"string": "text", "integer": 1, "boolean": True}
_OUTPUT = "an output of type"


def faults(template: Template, schema: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the resources of a template, a sentence each; providers of other packages are not looked at."""
    definitions = {name.rpartition(":")[2]: _type(each) for name, each in schema["types"].items()}
    known = {key: _EXAMPLES[declared["type"]] for key, declared in template["config"].items()} | template["variables"]
    for name, resource in template["resources"].items():
        if resource["type"].startswith("pulumi:"):
            continue
        component = schema["resources"].get(token(resource["type"]))
        if component is None:
            yield f"{name}: {resource['type']} is no type of the package"
            continue
        wanted = _object(component["inputProperties"], component.get("requiredInputs", []))
        given = _resolved(resource["properties"], known, template, schema)
        for fault in jsonschema.Draft202012Validator({**wanted, "$defs": definitions}).iter_errors(given):
            yield f"{name}{fault.json_path.removeprefix('$')}: {fault.message}"


def _resolved(value: Any, known: dict[str, Any], template: Template, schema: dict[str, Any]) -> Any:
    """`value` with references replaced: those of the program by what they stand for, outputs by their type."""
    if isinstance(value, dict):
        return {key: _resolved(each, known, template, schema) for key, each in value.items()}
    if isinstance(value, list):
        return [_resolved(each, known, template, schema) for each in value]
    if not isinstance(value, str) or not (found := REFERENCE.fullmatch(value)):
        return value
    if found[2] is None:
        return _resolved(known[found[1]], known, template, schema)
    properties = schema["resources"][token(template["resources"][found[1]]["type"])]["properties"]
    return {_OUTPUT: properties[found[2]]["type"] if found[2] in properties else "nothing"}


def _type(described: dict[str, Any]) -> dict[str, Any]:
    if "enum" in described:
        return {"enum": [member["value"] for member in described["enum"]]}
    return _object(described.get("properties", {}), described.get("required", []))


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key: _property(each) for key, each in properties.items()},
        "required": required,
        "additionalProperties": False,
    }


def _property(described: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in described:
        plain: dict[str, Any] = {"$ref": f"#/$defs/{described['$ref'].rpartition(':')[2]}"} if ":" in described["$ref"] else {}
    else:
        plain = {"type": described["type"]}
        if "items" in described:
            plain["items"] = _property(described["items"])
        if "additionalProperties" in described:
            plain["additionalProperties"] = _property(described["additionalProperties"])
    if described.get("plain"):
        return plain
    output = {"type": "object", "properties": {_OUTPUT: {"const": described.get("type")}}, "required": [_OUTPUT]}
    return {"anyOf": [plain, output]}
