"""What the pods of a service account may do in AWS."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
from pydantic import Field, model_validator

from ..base import PlatformComponent
from ..cloud import cloud
from ..inputs import InputText, Model, validate
from ..ordering import known_after
from .policies import pod_identity_trust
from .workload_role import workload_role


class ServiceAccountArgs(TypedDict):
    """A service account of the cluster."""

    namespace_name: pulumi.Input[str]
    """Its namespace."""
    service_account_name: pulumi.Input[str]
    """Its name."""


class PodIdentityArgs(TypedDict):
    """Inputs of `PodIdentity`."""

    cluster_name: pulumi.Input[str]
    """Name of the EKS cluster; pods of no other can use the role."""
    statements: NotRequired[list[dict[str, Any]]]
    """What is allowed, as IAM statements (`components.security.policies.allow`); each has to name actions and resources."""
    managed_policies: NotRequired[list[str]]
    """Policies of AWS's own, e.g. `AmazonEKS_CNI_Policy`."""
    service_accounts: NotRequired[dict[str, ServiceAccountArgs]]
    """Whose pods get the role, by a key of your own; none where an EKS add-on brings its service account itself."""


class ServiceAccount(Model):
    """Validated `ServiceAccountArgs`."""

    namespace_name: InputText
    service_account_name: InputText


class _Config(Model):
    cluster_name: InputText
    statements: tuple[dict[str, Any], ...] = ()
    managed_policies: tuple[str, ...] = Field((), examples=["[AmazonEKS_CNI_Policy]"])
    service_accounts: Mapping[str, ServiceAccount] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _may_do_something(self) -> "_Config":
        if not self.statements and not self.managed_policies:
            raise ValueError("nothing is allowed, so nobody needs the role; give statements or managed_policies")
        return self


class PodIdentity(PlatformComponent):
    """A role for pods, without a credential in the cluster: the agent of EKS hands it to the service accounts named here."""

    role_arn: pulumi.Output[str]
    """ARN of the role, known when it can do what it should and its service accounts have it."""

    def __init__(self, name: str, args: PodIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"PodIdentity {name}")
        here = cloud(self)
        cluster_arn = here.arn("eks", pulumi.Output.concat("cluster/", config.cluster_name))
        able = workload_role(
            self,
            pod_identity_trust(here.account_id, cluster_arn),
            f"Pods of {name}",
            config.statements,
            config.managed_policies,
        )
        associations = [
            aws.eks.PodIdentityAssociation(
                self.child_name("association", key),
                cluster_name=config.cluster_name,
                namespace=account.namespace_name,
                service_account=account.service_account_name,
                role_arn=able,
                opts=self.child(),
            )
            for key, account in sorted(config.service_accounts.items())
        ]
        self.role_arn = known_after(able, *(association.role_arn for association in associations))
        self.finish()
