"""A namespace that admits only pods of its Pod Security level."""

from enum import StrEnum
from typing import TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field

from components.base import PlatformComponent, labels
from components.inputs import Model, validate
from components.types import DnsLabel, KubernetesVersion


class PodSecurityLevel(StrEnum):
    """Pod Security Standards level a namespace enforces (kubernetes.io/docs/concepts/security/pod-security-standards)."""

    RESTRICTED = "restricted"
    BASELINE = "baseline"
    PRIVILEGED = "privileged"


class NamespaceArgs(TypedDict):
    """Inputs of `Namespace`."""

    namespace_name: str
    """Name in the cluster. It is a contract: policies, DNS names and trust relationships use it."""
    level: PodSecurityLevel
    """Pods below this level are refused; `restricted` for whatever needs no privilege."""
    kubernetes_version: str
    """Minor version of the cluster, e.g. `1.36`: the levels are pinned to it, so an upgrade cannot change them by itself."""


class _Config(Model):
    namespace_name: DnsLabel = Field(examples=["models"])
    level: PodSecurityLevel
    kubernetes_version: KubernetesVersion


class Namespace(PlatformComponent):
    """A namespace with Pod Security admission; what falls short of *restricted* is warned about and audited at every level."""

    namespace_name: pulumi.Output[str]
    """Name in the cluster, known once the namespace is there."""

    def __init__(self, name: str, args: NamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"Namespace {name}")
        namespace = kubernetes.core.v1.Namespace(
            self.child_name("namespace"),
            metadata={
                "name": config.namespace_name,
                "labels": labels("namespace", config.namespace_name, "tenancy")
                | pod_security_labels(config.level, config.kubernetes_version),
            },
            opts=self.child(),
        )
        self.namespace_name = namespace.metadata["name"]
        self.finish()


def pod_security_labels(level: PodSecurityLevel, kubernetes_version: str) -> dict[str, str]:
    """Labels of Pod Security admission: `level` enforced, *restricted* warned about and audited, both at one minor version."""
    modes = {"enforce": level, "audit": PodSecurityLevel.RESTRICTED, "warn": PodSecurityLevel.RESTRICTED}
    prefix = "pod-security.kubernetes.io"
    return {f"{prefix}/{mode}": value.value for mode, value in modes.items()} | {
        f"{prefix}/{mode}-version": f"v{kubernetes_version}" for mode in modes
    }
