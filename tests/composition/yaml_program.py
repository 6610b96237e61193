"""A YAML program run inline: what Pulumi's language host for YAML does with the parts of the language that an example uses.

The host is in no package registry, so this stands in for it (pulumi/pulumi-yaml, pkg/pulumiyaml/run.go). Everything behind it is
real: the engine, the plugin, and what the components make.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pulumi

from tests.conftest import ROOT

REFERENCE = re.compile(r"\$\{([^}.]+)(?:\.([^}]+))?\}")
"""`${name}`, a value or a resource, and `${name.output}`."""

Template = dict[str, Any]
"""A Pulumi.yaml."""


def token(kind: str) -> str:
    """The type token of what YAML calls `package:Class`."""
    package, _, name = kind.partition(":")
    return kind if ":" in name else f"{package}:index:{name}"


def program(template: Template) -> Callable[[], None]:
    """The program of a template, for the Automation API."""
    return lambda: _run(template)


def _run(template: Template) -> None:
    config = pulumi.Config()
    known: dict[str, Any] = {}
    for key, declared in template["config"].items():
        read: Callable[[str], Any] = config.get_int if declared["type"] == "integer" else config.get
        value = read(key) if read(key) is not None else declared.get("default")
        known[key] = pulumi.Output.secret(value) if declared.get("secret") else value
    for key, value in template["variables"].items():
        known[key] = _resolved(value, known)
    schema = json.loads((ROOT / "plugin/schema.json").read_text())
    for name, resource in template["resources"].items():
        properties, kind = _resolved(resource["properties"], known), resource["type"]
        if kind.startswith("pulumi:providers:"):
            known[name] = pulumi.ProviderResource(kind.rpartition(":")[2], name, properties)
            continue
        # What the engine is not told of as an output is not read from its answer.
        awaited = dict.fromkeys(schema["resources"][token(kind)]["properties"])
        options = pulumi.ResourceOptions(**_resolved(resource["options"], known))
        known[name] = pulumi.ComponentResource(token(kind), name, awaited | properties, options, remote=True)
    for name, value in template["outputs"].items():
        pulumi.export(name, _resolved(value, known))


def _resolved(value: Any, known: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(each, known) for key, each in value.items()}
    if isinstance(value, list):
        return [_resolved(each, known) for each in value]
    if isinstance(value, str) and (found := REFERENCE.fullmatch(value)):
        return getattr(known[found[1]], found[2]) if found[2] else known[found[1]]
    return value
