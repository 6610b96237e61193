"""What the controllers of traffic have in common."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

import pulumi
from pydantic import Field

from ..inputs import InputText, Model

CONFINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Security context of a container that Pod Security *restricted* lets in, where a chart's own is not."""
NON_ROOT = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
"""The same of its pod."""


class TrafficControllerArgs(TypedDict):
    """Inputs of `CertManager`; other controllers have more."""

    namespace_name: pulumi.Input[str]
    """Namespace it runs in; *restricted* suffices."""
    system_labels: NotRequired[dict[str, str]]
    """Labels of the nodes it runs on; any Linux node by default."""


class TrafficControllerConfig(Model):
    """Validated `TrafficControllerArgs`."""

    namespace_name: InputText
    system_labels: Mapping[str, str] = Field(default_factory=dict)
