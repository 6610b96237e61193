"""A namespace that admits only pods of its Pod Security level, whose default account has no token."""

from enum import StrEnum
from typing import TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, field_validator

from ..base import PlatformComponent, labels
from ..inputs import Model, validate
from ..ordering import known_after
from ..types import DnsLabel, KubernetesVersion
from .quotas import default_resources

OF_KUBERNETES = frozenset({"default", "kube-node-lease", "kube-public", "kube-system"})
"""Namespaces that every cluster has (kubernetes.io/docs/concepts/overview/working-with-objects/namespaces)."""


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

    @field_validator("namespace_name")
    @classmethod
    def _is_made_here(cls, name: str) -> str:
        if name in OF_KUBERNETES:
            raise ValueError(f"{name} is Kubernetes' own, and what runs there already would be closed in; use e.g. models")
        return name


class Namespace(PlatformComponent):
    """A namespace with Pod Security admission; what falls short of *restricted* is warned about and audited at every level.

    Its default service account gives pods no token. At level *restricted* a LimitRange fills in what containers leave out.
    """

    namespace_name: pulumi.Output[str]
    """Name in the cluster, known once the namespace and what guards it are there."""

    def __init__(self, name: str, args: NamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"Namespace {name}")
        common = labels("namespace", config.namespace_name, "tenancy")
        namespace = kubernetes.core.v1.Namespace(
            self.child_name("namespace"),
            metadata={
                "name": config.namespace_name,
                "labels": common | pod_security_labels(config.level, config.kubernetes_version),
            },
            opts=self.child(),
        )
        inside = {"namespace": namespace.metadata["name"], "labels": common}
        # Kubernetes makes this account itself, sooner or later than this.
        account = kubernetes.core.v1.ServiceAccountPatch(
            self.child_name("account"),
            metadata={**inside, "name": "default", "annotations": {"pulumi.com/patchForce": "true"}},
            automount_service_account_token=False,
            opts=self.child(),
        )
        guards = [account.metadata["namespace"]]
        if config.level is PodSecurityLevel.RESTRICTED:
            limits = kubernetes.core.v1.LimitRange(
                self.child_name("limits"), metadata=inside, spec=default_resources(), opts=self.child()
            )
            guards.append(limits.metadata["namespace"])
        self.namespace_name = known_after(namespace.metadata["name"], *guards)
        self.finish()


def pod_security_labels(level: PodSecurityLevel, kubernetes_version: str) -> dict[str, str]:
    """Labels of Pod Security admission: `level` enforced, *restricted* warned about and audited, both at one minor version."""
    modes = {"enforce": level, "audit": PodSecurityLevel.RESTRICTED, "warn": PodSecurityLevel.RESTRICTED}
    prefix = "pod-security.kubernetes.io"
    return {f"{prefix}/{mode}": value.value for mode, value in modes.items()} | {
        f"{prefix}/{mode}-version": f"v{kubernetes_version}" for mode in modes
    }
