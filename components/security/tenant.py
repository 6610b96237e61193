"""What one team has on a cluster: its namespaces, how many accelerators, and what those who deploy there may do."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, model_validator

from ..base import PlatformComponent, labels
from ..inputs import InputText, Model, validate
from ..names import DNS_LABEL
from ..ordering import known_after
from ..types import DnsLabel, KubernetesVersion, ResourceName
from .admission import binding, content_policy, reservation_policy
from .admission_rules import Allowed, reservations
from .namespace import OF_KUBERNETES, Namespace, PodSecurityLevel
from .quotas import accelerator_quota
from .roles import deployer_rules, groups

_ACCOUNTS = "system:serviceaccounts"
"""The group of all service accounts; with a namespace behind it, of those there."""


class TenantNamespaceArgs(TypedDict):
    """One namespace of a tenant."""

    accelerators: NotRequired[dict[str, int]]
    """How many of each extended resource its pods may have; none by default, e.g. `{"nvidia.com/gpu": 4}`."""
    secrets: NotRequired[list[str]]
    """Names of Secrets that pods of its deployers may use; none by default."""
    service_accounts: NotRequired[list[str]]
    """Names of service accounts that pods of its deployers may have beside `default`."""


class TenantArgs(TypedDict):
    """Inputs of `Tenant`."""

    tenant: str
    """Name of the team."""
    namespaces: dict[str, TenantNamespaceArgs]
    """Its namespaces by name; they are made here, at Pod Security *restricted*."""
    accelerator_resources: list[str]
    """Every extended resource the pools of the cluster offer; what a namespace is not granted of them it cannot have."""
    kubernetes_version: str
    """Minor version of the cluster, e.g. `1.36`."""
    priority_classes: NotRequired[list[pulumi.Input[str]]]
    """Priority classes that pods of its deployers may have; none by default."""
    deployer_groups: NotRequired[list[str]]
    """Groups whose members deploy there; without any only the platform does."""


class _NamespaceConfig(Model):
    accelerators: Mapping[ResourceName, int] = Field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _counts(self) -> "_NamespaceConfig":
        check_counts(self.accelerators)
        return self


class _Config(Model):
    tenant: DnsLabel = Field(examples=["research"])
    namespaces: Mapping[DnsLabel, _NamespaceConfig] = Field(min_length=1, examples=["{research: {}}"])
    accelerator_resources: tuple[ResourceName, ...]
    kubernetes_version: KubernetesVersion
    priority_classes: tuple[InputText, ...] = ()
    deployer_groups: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _offered(self) -> "_Config":
        for name, namespace in self.namespaces.items():
            for resource in namespace.accelerators:
                if resource not in self.accelerator_resources:
                    known = ", ".join(self.accelerator_resources) or "none"
                    raise ValueError(f"namespaces.{name}.accelerators: no pool offers {resource}; known: {known}")
        check_groups(self.deployer_groups, self.namespaces)
        return self


class Tenant(PlatformComponent):
    """Namespaces of one team with quotas, rights of those who deploy there, and admission that keeps them to their own things."""

    namespace_names: dict[str, pulumi.Output[str]]
    """Names of its namespaces by name, known once everything that guards them is there."""

    def __init__(self, name: str, args: TenantArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = self._config = validate(_Config, args, f"Tenant {name}")
        made = {namespace: self._namespace(namespace) for namespace in config.namespaces}
        if config.deployer_groups:
            admission = self._admission()
            made = {name: known_after(found, self._deployers(name, found, admission)) for name, found in made.items()}
        self.namespace_names = made
        self.finish()

    def _namespace(self, name: str) -> pulumi.Output[str]:
        config = self._config
        made = Namespace(
            self.child_name("namespace", name),
            {"namespace_name": name, "level": PodSecurityLevel.RESTRICTED, "kubernetes_version": config.kubernetes_version},
            opts=self.child(),
        ).namespace_name
        metadata = {"namespace": made, "labels": self._labels(name)}
        quota = kubernetes.core.v1.ResourceQuota(
            self.child_name("quota", name),
            metadata=metadata,
            spec=accelerator_quota(config.namespaces[name].accelerators, config.accelerator_resources),
            opts=self.child(),
        )
        return known_after(made, quota.metadata["namespace"])

    def _deployers(self, name: str, namespace: pulumi.Output[str], admission: Sequence[pulumi.Resource]) -> pulumi.Output[str]:
        """The rights in a namespace, whose name it returns again. They come after `admission` and go before it: without it they
        would reach every Secret there."""
        metadata = {"namespace": namespace, "labels": self._labels(name)}
        role = kubernetes.rbac.v1.Role(
            self.child_name("deployer", name), metadata=metadata, rules=deployer_rules(), opts=self.child()
        )
        bound = kubernetes.rbac.v1.RoleBinding(
            self.child_name("deployers", name),
            metadata=metadata,
            role_ref={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role.metadata["name"]},
            subjects=groups(self._config.deployer_groups),
            opts=self.child(depends_on=admission),
        )
        again: pulumi.Output[str] = bound.metadata["namespace"]
        return again

    def _admission(self) -> list[pulumi.Resource]:
        """The bindings that put the policies into force."""
        config = self._config
        named = pulumi.Output.all(*config.priority_classes)
        content = named.apply(
            lambda classes: content_policy(
                config.deployer_groups,
                Allowed(
                    config.accelerator_resources,
                    classes,
                    {name: namespace.service_accounts for name, namespace in config.namespaces.items()},
                    {name: namespace.secrets for name, namespace in config.namespaces.items()},
                ),
            )
        )
        specs = {key: reservation_policy(config.deployer_groups, reserved) for key, reserved in reservations().items()}
        return [
            self._enforce("content", content, reserved=False),
            *(self._enforce(key, spec, reserved=True) for key, spec in specs.items()),
        ]

    def _enforce(self, key: str, spec: pulumi.Input[dict[str, object]], *, reserved: bool) -> pulumi.Resource:
        metadata = {"labels": self._labels(key)}
        # What was in force before goes last, after the rights of groups and namespaces that it alone still concerns.
        instead = self.child(replace_on_changes=["spec"])
        policy = kubernetes.admissionregistration.v1.ValidatingAdmissionPolicy(
            self.child_name("policy", key), metadata=metadata, spec=spec, opts=instead
        )
        bound: pulumi.Resource = kubernetes.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
            self.child_name("binding", key),
            metadata=metadata,
            spec=binding(policy.metadata["name"], self._config.namespaces, reserved=reserved),
            opts=instead,
        )
        return bound

    def _labels(self, key: str) -> dict[str, str]:
        return labels("tenant", f"{self._config.tenant}-{key}", "tenancy")


def check_counts(accelerators: Mapping[str, int]) -> None:
    """Raise ValueError for fewer accelerators than none."""
    for resource, count in accelerators.items():
        if count < 0:
            raise ValueError(f"accelerators.{resource}: {count} is fewer than none; use e.g. 4, or leave it out for none")


def check_groups(names: Iterable[str], namespaces: Collection[str] = ()) -> None:
    """Raise ValueError for a group that everybody is in, or those who run the cluster, or accounts of these `namespaces`."""
    for name in names:
        if not name or name != name.strip():
            raise ValueError(f"{name!r} is not the name of a deployers' group; use e.g. research-deployers")
        accounts, _, namespace = name.rpartition(":")
        if accounts == _ACCOUNTS and (namespace in OF_KUBERNETES or namespace in namespaces):
            raise ValueError(
                f"{name} are the accounts of a namespace that Kubernetes or this platform works from, and what makes pods of the "
                f"platform would be held for a deployer; use accounts of another namespace, e.g. {_ACCOUNTS}:ci"
            )
        if name.startswith("system:") and not (accounts == _ACCOUNTS and DNS_LABEL.fullmatch(namespace)):
            raise ValueError(
                f"{name} is a group of Kubernetes' own, with members nobody here chose; use one of your identity provider, "
                f"e.g. research-deployers, or {_ACCOUNTS}:ci for the accounts of the namespace ci"
            )
