"""The add-ons there are, their versions, and what their configuration may be: addons.yaml."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from sandbox.aws.eks import versions
from sandbox.aws.eks.errors import invalid_parameter, not_found

_VERSION = re.compile(r"v\d+\.\d+\.\d+-eksbuild\.\d+")
_BUILDS = (2, 1)  # newest first; the first build is the default of its Kubernetes version


class AddonKind(BaseModel):
    """One entry of addons.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str
    type: str
    namespace: str = "kube-system"
    community: bool = False
    self_managed: bool = Field(False, alias="selfManaged")
    needs_nodes: bool = Field(False, alias="needsNodes")
    service_account: str | None = Field(None, alias="serviceAccount")
    policies: tuple[str, ...] = ()
    strings: tuple[str, ...] = ()
    """Paths of its configuration whose values are text, with * for every key."""

    @property
    def publisher(self) -> dict[str, str]:
        """Who makes it and whose it is."""
        return {"publisher": "kubernetes" if self.community else "eks", "owner": "community" if self.community else "aws"}


@cache
def kinds() -> dict[str, AddonKind]:
    """Every add-on by name."""
    raw = yaml.safe_load(Path(__file__).with_name("addons.yaml").read_text(encoding="utf-8"))
    return {entry["name"]: AddonKind(**entry) for entry in raw}


def kind(name: str, cluster: str) -> AddonKind:
    """The add-on of that name. Raises EksError when there is none."""
    if name not in kinds():
        raise not_found(
            f"Addon {name} specified is not supported; supported are {', '.join(kinds())}", clusterName=cluster, addonName=name
        )
    return kinds()[name]


def addon_versions(kubernetes: str) -> list[str]:
    """The versions for a Kubernetes version, newest first; the last is its default."""
    return [f"v{kubernetes}.0-eksbuild.{build}" for build in _BUILDS]


def check_version(addon: AddonKind, version: str, kubernetes: str) -> None:
    """Raises EksError unless the version has the right form and, for kube-proxy, goes with the cluster."""
    form = _VERSION.fullmatch(version)
    behind = versions.minor(kubernetes) - int(version.split(".")[1]) if form and addon.name == "kube-proxy" else 0
    if not form or not 0 <= behind <= versions.MAX_SKEW:
        raise invalid_parameter(
            f"Addon version specified is not supported: {addon.name} {version} on Kubernetes {kubernetes}; "
            f"use e.g. {addon_versions(kubernetes)[0]}"
        )


def check_configuration(addon: AddonKind, text: str) -> dict[str, Any]:
    """The configuration values. Raises EksError unless they are a JSON object with text where text belongs."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise invalid_parameter(f"ConfigurationValue provided in request is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise invalid_parameter("ConfigurationValue provided in request is not a JSON object")
    if wrong := [
        f"$.{path}: {_type_of(value)} found, string expected"
        for path, value in _leaves(values)
        if not _may_be(addon, path, value)
    ]:
        raise invalid_parameter(
            "ConfigurationValue provided in request is not supported: "
            f"Json schema validation failed with error: [{', '.join(wrong)}]"
        )
    return values


def schema(addon: AddonKind) -> dict[str, Any]:
    """What `check_configuration` checks, as JSON Schema."""
    root: dict[str, Any] = {"$schema": "http://json-schema.org/draft-06/schema#", "type": "object", "properties": {}}
    for path in addon.strings:
        *parents, leaf = path.split(".")
        place = root
        for parent in parents:
            place = place["properties"].setdefault(parent, {"type": "object", "properties": {}})
        if leaf == "*":
            place["additionalProperties"] = {"type": "string"}
        else:
            place["properties"][leaf] = {"type": "string"}
    return root


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _may_be(addon: AddonKind, path: str, value: object) -> bool:
    is_text = any(
        path == pattern or (pattern.endswith(".*") and path.rpartition(".")[0] == pattern[:-2]) for pattern in addon.strings
    )
    return isinstance(value, str) or not is_text


def _type_of(value: object) -> str:
    names = {bool: "boolean", int: "integer", float: "number", list: "array", type(None): "null"}
    return names.get(type(value), "object")
