"""Who may read and who may write the models of one prefix of a bucket: two service accounts, each with a role of its own."""

from collections.abc import Callable
from typing import Any, NotRequired, TypedDict, cast

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, model_validator

from ..base import PlatformComponent, labels
from ..inputs import InputText, Model, validate
from ..ordering import known_after
from ..security.irsa import IrsaRole, OidcProvider, OidcProviderArgs, irsa_annotations
from ..security.pod_identity import PodIdentity
from ..security.policies import Statement
from .bucket_policies import reader_statements, writer_statements


class ModelBucketAccessArgs(TypedDict):
    """Inputs of `ModelBucketAccess`: the bucket, and either `cluster_name` or `oidc_provider`."""

    cluster_name: NotRequired[pulumi.Input[str]]
    """Name of the EKS cluster whose agent hands out the roles (Pod Identity); pods of no other can use them."""
    oidc_provider: NotRequired[OidcProviderArgs]
    """Who vouches for the pods where there is no such agent (IRSA)."""
    namespace_name: pulumi.Input[str]
    """Namespace of the servers and downloads."""
    bucket_arn: pulumi.Input[str]
    """The bucket."""
    kms_key_arn: pulumi.Input[str]
    """The key its objects are encrypted with."""
    prefix: str
    """Where the models of these accounts lie, e.g. `models/qwen`."""
    writes: NotRequired[bool]
    """Whether there is a writer; true by default."""
    image_pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets of the namespace that pods of these accounts pull images with; none by default."""


class _Config(Model):
    cluster_name: InputText | None = None
    oidc_provider: OidcProvider | None = None
    namespace_name: InputText
    bucket_arn: InputText
    kms_key_arn: InputText
    prefix: str = Field(min_length=1, examples=["models/qwen"])
    writes: bool = True
    image_pull_secrets: tuple[InputText, ...] = ()

    @model_validator(mode="after")
    def _one_identity(self) -> "_Config":
        if (self.cluster_name is None) == (self.oidc_provider is None):
            raise ValueError("an account has one identity; give either cluster_name or oidc_provider")
        return self


class ModelBucketAccess(PlatformComponent):
    """A reader for servers and a writer for downloads, so that a server cannot change the weights that others load."""

    reader_name: pulumi.Output[str]
    """Service account of servers, known when it can read."""
    writer_name: pulumi.Output[str]
    """Service account of downloads, known when it can write; empty without one."""

    def __init__(self, name: str, args: ModelBucketAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._config = validate(_Config, args, f"ModelBucketAccess {name}")
        self.reader_name = self._account("reader", reader_statements)
        writer = self._account("writer", writer_statements) if self._config.writes else None
        self.writer_name = pulumi.Output.from_input(writer or "")
        self.finish()

    def _account(
        self, role: str, statements: Callable[[pulumi.Input[str], pulumi.Input[str], str], list[Statement]]
    ) -> pulumi.Output[str]:
        allowed = statements(self._config.bucket_arn, self._config.kms_key_arn, self._config.prefix)
        return self._by_token(role, allowed) if self._config.oidc_provider else self._by_agent(role, allowed)

    def _by_agent(self, role: str, allowed: list[Statement]) -> pulumi.Output[str]:
        """Made first: the agent is told of the account."""
        account = self._service_account(role, {})
        identity = PodIdentity(
            self.child_name(role),
            {
                "cluster_name": cast(pulumi.Input[str], self._config.cluster_name),
                "statements": allowed,
                "service_accounts": {role: {"namespace_name": self._config.namespace_name, "service_account_name": account}},
            },
            opts=self.child(),
        )
        return known_after(account, identity.role_arn)

    def _by_token(self, role: str, allowed: list[Statement]) -> pulumi.Output[str]:
        """Made last: role and account name each other, so the account's name is fixed."""
        name, provider = self.child_name(role), self._config.oidc_provider
        assert provider is not None  # noqa: S101 - for the type checker
        identity = IrsaRole(
            name,
            {
                "oidc_provider": provider.args(),
                "service_account": {"namespace_name": self._config.namespace_name, "service_account_name": name},
                "statements": allowed,
            },
            opts=self.child(),
        )
        return self._service_account(role, {"name": name, "annotations": irsa_annotations(identity.role_arn)})

    def _service_account(self, role: str, more: dict[str, Any]) -> pulumi.Output[str]:
        account = kubernetes.core.v1.ServiceAccount(
            self.child_name(role),
            metadata={
                "namespace": self._config.namespace_name,
                "labels": labels("model-bucket", self._name, "storage"),
                **more,
            },
            automount_service_account_token=False,
            image_pull_secrets=[{"name": secret} for secret in self._config.image_pull_secrets] or None,
            opts=self.child(),
        )
        made: pulumi.Output[str] = account.metadata["name"]
        return made
