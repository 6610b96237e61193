"""The Kubernetes objects of a stack as the API server would get them, and the definitions that its releases bring."""

from collections.abc import Mapping
from typing import Any

from sandbox.charts.definitions import known, manifests
from tests.recorder import Recording, Registration
from tests.stacks.program import whole

Object = dict[str, Any]

_PREFIXES = {"aws:ec2/securityGroup:SecurityGroup": "sg", "aws:ec2/subnet:Subnet": "subnet"}


def definitions(recording: Recording) -> list[Object]:
    """The CustomResourceDefinitions that the releases of a stack install."""
    found: list[Object] = []
    for release in recording.of("kubernetes:helm.sh/v3:Release"):
        chart = release.inputs["chart"].rpartition("/")[2]
        of = known(chart).get(release.inputs["version"].removeprefix("v"))
        if of and of.wanted(release.inputs.get("values") or {}):
            found += manifests(chart, of)
    return found


def named_objects(recording: Recording) -> list[Object]:
    """The objects of a stack, with the names that the provider gives them."""
    # Karpenter's definitions know what the ids of AWS look like.
    ids = {
        resource.outputs["id"]: f"{_PREFIXES[resource.type]}-{number:017x}"
        for number, resource in enumerate(recording.resources)
        if resource.type in _PREFIXES
    }
    return [
        _renamed(whole({**resource.inputs, "metadata": {**resource.inputs.get("metadata", {}), "name": _name(resource)}}), ids)
        for resource in recording.resources
        if resource.on_kubernetes and "kind" in resource.inputs
    ]


def _name(resource: Registration) -> str:
    return str(resource.outputs["metadata"]["name"])


def _renamed(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(inner, ids) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, ids) for inner in value]
    return ids.get(value, value) if isinstance(value, str) else value
