"""The teams that share a cluster: their namespaces, what they may take, who deploys for them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field, model_validator

from components.base import PACKAGE
from components.cluster.eks_access import PrincipalArn, principal_key
from components.inputs import Model
from components.security.namespace import OF_KUBERNETES
from components.security.tenant import TenantNamespaceArgs, check_counts, check_groups
from components.types import DnsLabel, ResourceName


class TenantPriority(StrEnum):
    """The most a tenant's pods may have."""

    SERVING = "serving"
    """They may drive pods of lower priority away."""
    BATCH = "batch"
    """They wait until there is room."""


class TenantNamespaceSettings(Model):
    """One namespace of a team."""

    accelerators: Mapping[ResourceName, int] = Field(
        default_factory=dict,
        description="How many of each accelerator its pods may have at once; none of those left out.",
        examples=["{nvidia.com/gpu: 4}"],
    )
    secrets: tuple[DnsLabel, ...] = Field(
        (), description="Secrets there that pods of the team's deployers may use.", examples=["[registry]"]
    )
    service_accounts: tuple[DnsLabel, ...] = Field(
        (), description="Service accounts there that pods of the team's deployers may have.", examples=["[reporter]"]
    )

    @model_validator(mode="after")
    def _counts(self) -> "TenantNamespaceSettings":
        check_counts(self.accelerators)
        return self

    def args(self) -> TenantNamespaceArgs:
        """The same namespace as a component takes it."""
        return {
            "accelerators": dict(self.accelerators),
            "secrets": list(self.secrets),
            "service_accounts": list(self.service_accounts),
        }


class DeployerSettings(Model):
    """Who deploys for a team, beside the platform itself."""

    groups: tuple[str, ...] = Field(
        (),
        description="Groups as the cluster's identity provider names them; nobody who runs the platform may be a member.",
        examples=["[research-deployers]"],
    )
    principals: tuple[PrincipalArn, ...] = Field(
        (),
        description="IAM roles or users, on a cluster of kind eks.",
        examples=["[arn:aws:iam::123456789012:role/research-deployer]"],
    )


class TenantSettings(Model):
    """One team."""

    namespaces: Mapping[DnsLabel, TenantNamespaceSettings] = Field(
        default_factory=dict, description="Its namespaces by name; one named as the team when left out."
    )
    priority: TenantPriority = Field(
        TenantPriority.BATCH,
        description="The most its pods may have: serving drives pods of lower priority away, batch waits.",
        examples=["serving"],
    )
    deployers: DeployerSettings = Field(
        default_factory=DeployerSettings, description="Who deploys for it; nobody but the platform when left out."
    )

    def named(self, team: str) -> dict[str, TenantNamespaceSettings]:
        """Its namespaces by name."""
        return dict(self.namespaces) or {team: TenantNamespaceSettings()}

    def groups(self, team: str) -> tuple[str, ...]:
        """Groups of all its deployers: those of IAM principals are in one of their own."""
        return tuple(dict.fromkeys((*self.deployers.groups, *([principal_group(team)] if self.deployers.principals else []))))


@dataclass(frozen=True)
class Use:
    """What one model takes of a quota."""

    model: str
    namespace: str
    resource: str
    """Extended resource its pods ask for, as its pool offers it."""
    per_replica: int
    """Accelerators of one replica, on all of its nodes."""
    replicas: int
    """The most, where an autoscaler says how many there are."""
    least: int | None = None
    """The fewest, where one does."""

    @property
    def count(self) -> int:
        """Accelerators of all its replicas."""
        return self.per_replica * self.replicas


Tenants = Mapping[str, TenantSettings]
"""Teams by name."""


def principal_group(team: str) -> str:
    """The Kubernetes group of a team's IAM principals."""
    return f"{PACKAGE}:{team}"


def tenant_principals(tenants: Tenants) -> dict[str, list[str]]:
    """Groups of each IAM principal, which may deploy for several teams."""
    found: dict[str, list[str]] = {}
    for team, tenant in sorted(tenants.items()):
        for arn in tenant.deployers.principals:
            found.setdefault(arn, []).append(principal_group(team))
    return found


def team_of(tenants: Tenants, namespace: str) -> str | None:
    """The team a namespace belongs to; None for one of the platform."""
    return next((team for team, tenant in tenants.items() if namespace in tenant.named(team)), None)


def spare(tenants: Tenants, uses: Iterable[Use], namespace: str, resource: str) -> int | None:
    """Accelerators of a namespace's quota that no model takes, for a rollout to surge into; None where there is no quota."""
    team = team_of(tenants, namespace)
    if team is None:
        return None
    granted = tenants[team].named(team)[namespace].accelerators.get(resource, 0)
    return granted - sum(use.count for use in uses if (use.namespace, use.resource) == (namespace, resource))


def _fewer(use: Use, missing: int) -> str | None:
    """What an autoscaled model would have to be told to leave `missing` accelerators to others; None where that is too little."""
    most = use.replicas - -(-missing // use.per_replica)
    if use.least is None or most < use.least:
        return None
    return f"set models.{use.model}.scaling.maxReplicas: {most}, or move a model to another namespace"


def check_namespaces(tenants: Tenants, platform: Mapping[str, str], others: Mapping[str, str]) -> None:
    """Raise ValueError when a namespace would belong to two.

    `platform` are those it makes and `others` those it finds, which may share one, both by the key that names them.
    """
    owners = {name: key for key, name in others.items()} | dict.fromkeys(OF_KUBERNETES, "Kubernetes itself")
    for key, name in platform.items():
        if name in owners:
            raise ValueError(
                f"{key}: {name} belongs to {owners[name]} already, and policies for the one would hold for the pods of the "
                f"other; use another name, e.g. llm-{name}"
            )
        owners[name] = key
    for team, tenant in tenants.items():
        for name in tenant.named(team):
            if name in owners:
                raise ValueError(
                    f"tenants.{team}.namespaces: {name} belongs to {owners[name]} already, and what one may do there the other "
                    f"could; use another name, e.g. {team}-apps"
                )
            owners[name] = f"tenants.{team}"


def check_quotas(tenants: Tenants, offered: Collection[str]) -> None:
    """Raise ValueError for accelerators that no pool of the cluster offers (`offered`: extended resources)."""
    for team, tenant in tenants.items():
        for name, namespace in tenant.named(team).items():
            for resource in namespace.accelerators:
                if resource not in offered:
                    known = ", ".join(sorted(offered)) or "none; add a pool with accelerators to cluster.nodePools"
                    key = f"tenants.{team}.namespaces.{name}.accelerators"
                    raise ValueError(f"{key}: no pool of this cluster offers {resource}; known: {known}")


def check_deployers(tenants: Tenants, *, on_eks: bool, others: Collection[str] = (), namespaces: Collection[str] = ()) -> None:
    """Raise ValueError for who cannot deploy.

    That are principals off EKS or of `others`, who administer or view the whole cluster, and accounts of `namespaces` that belong
    to the stack or to what it works with.
    """
    known = {principal_key(arn): arn for arn in others}
    for team, tenant in tenants.items():
        try:
            check_groups(tenant.deployers.groups, namespaces)
        except ValueError as error:
            raise ValueError(f"tenants.{team}.deployers.groups: {error}") from None
        key = f"tenants.{team}.deployers.principals"
        for number, arn in enumerate(tenant.deployers.principals):
            if not on_eks:
                raise ValueError(f"{key}: only a cluster of kind eks knows IAM; remove it, and use deployers.groups")
            if arn in others:
                raise ValueError(
                    f"{key}: {arn} is one of cluster.adminPrincipals or viewerPrincipals already, whose rights reach further; "
                    "name a role of the team's own, e.g. arn:aws:iam::123456789012:role/research-deployer"
                )
            if arn in tenant.deployers.principals[:number]:
                raise ValueError(f"{key}: {arn} is named twice; name it once")
            if known.setdefault(principal_key(arn), arn) != arn:
                raise ValueError(f"{key}: {arn} has the name of a principal of another account; give one of the two another name")


def check_uses(tenants: Tenants, uses: Iterable[Use]) -> None:
    """Raise ValueError when the models of a namespace take more than its quota: the last pods could never start."""
    by_quota: dict[tuple[str, str], list[Use]] = {}
    for use in uses:
        by_quota.setdefault((use.namespace, use.resource), []).append(use)
    for (namespace, resource), models in by_quota.items():
        left = spare(tenants, models, namespace, resource)
        if left is None or left >= 0:
            continue
        wanted = sum(use.count for use in models)
        listed = " + ".join(f"{use.model} {use.replicas} x {use.per_replica}" for use in models)
        fewer = next((change for use in models if (change := _fewer(use, -left))), "give models fewer replicas")
        raise ValueError(
            f"tenants.{team_of(tenants, namespace)}.namespaces.{namespace}.accelerators: its models need {wanted} {resource} "
            f"({listed}; replicas x accelerators), but {wanted + left} are granted; "
            f"grant {resource}: {wanted}, or {fewer}"
        )
