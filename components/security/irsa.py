"""What the pods of a service account may do in AWS, by the tokens their cluster signs: where no agent of EKS hands out roles."""

from typing import Any, TypedDict, cast

import pulumi
from pydantic import Field

from ..base import PlatformComponent
from ..inputs import InputText, Model, validate
from .pod_identity import ServiceAccount, ServiceAccountArgs
from .policies import irsa_trust
from .workload_role import workload_role


class OidcProviderArgs(TypedDict):
    """What AWS knows of the tokens a cluster signs."""

    provider_arn: pulumi.Input[str]
    """ARN of the OpenID Connect provider in IAM."""
    issuer: pulumi.Input[str]
    """Who signs, as IAM names it: without `https://`."""


class OidcProvider(Model):
    """Validated `OidcProviderArgs`."""

    provider_arn: InputText
    issuer: InputText

    def args(self) -> OidcProviderArgs:
        """The same as a component takes it."""
        return cast(OidcProviderArgs, self.model_dump())


class IrsaRoleArgs(TypedDict):
    """Inputs of `IrsaRole`."""

    oidc_provider: OidcProviderArgs
    """Who vouches for the pods."""
    service_account: ServiceAccountArgs
    """Whose pods may have the role; no other of the cluster."""
    statements: list[dict[str, Any]]
    """What is allowed, as IAM statements (`components.security.policies.allow`); each has to name actions and resources."""


class _Config(Model):
    oidc_provider: OidcProvider
    service_account: ServiceAccount
    statements: tuple[dict[str, Any], ...] = Field(min_length=1)


class IrsaRole(PlatformComponent):
    """A role for the pods of one service account (IAM roles for service accounts). Its ARN goes into `irsa_annotations` of the
    account, so the account needs a name that is known before it is made."""

    role_arn: pulumi.Output[str]
    """ARN of the role, known when it can do what it should."""

    def __init__(self, name: str, args: IrsaRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"IrsaRole {name}")
        provider, account = config.oidc_provider, config.service_account
        trusted = irsa_trust(provider.provider_arn, provider.issuer, account.namespace_name, account.service_account_name)
        self.role_arn = workload_role(self, trusted, f"Pods of {name}", config.statements)
        self.finish()


def irsa_annotations(role_arn: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
    """What a service account tells of its role (aws/amazon-eks-pod-identity-webhook, README): the webhook of EKS gives its pods a
    token and the role, and tells them to ask STS in their own region."""
    return {"eks.amazonaws.com/role-arn": role_arn, "eks.amazonaws.com/sts-regional-endpoints": "true"}
