"""What pulumi-aws itself knows of a resource type: its inputs at every depth, which are required, its outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from pulumi import _types as sdk

from sandbox.providers.contract import ProviderError
from sandbox.providers.schema import faults as faults_of
from sandbox.providers.schema import required


@dataclass(frozen=True)
class Schema:
    """One resource type of the SDK."""

    inputs: Mapping[str, Any]
    """Type of every input by its Pulumi name."""
    required: frozenset[str]
    outputs: frozenset[str]


@cache
def schema(token: str) -> Schema:
    """That of a token such as `aws:ec2/vpc:Vpc`. Raises ProviderError for a type the SDK does not have."""
    resource, arguments = _classes(token)
    return Schema(sdk.input_type_types(arguments), required(arguments), frozenset(sdk.resource_types(resource)))


def faults(token: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(path, reason) of everything wrong with the inputs of a resource; unknown values are not."""
    return faults_of(values, _classes(token)[1], "pulumi-aws")


def _classes(token: str) -> tuple[type, type]:
    """Of a resource and of its arguments."""
    try:
        _, module, name = token.split(":")
        resource = getattr(import_module(f"pulumi_aws.{module.partition('/')[0]}"), name)
    except (ValueError, ImportError, AttributeError):
        raise ProviderError(f"{token} is not a resource type of pulumi-aws") from None
    own = import_module(resource.__module__)
    return resource, getattr(own, f"{name}InitArgs", None) or getattr(own, f"{name}Args")
