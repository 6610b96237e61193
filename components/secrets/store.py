"""Where the External Secrets operator reads the secrets of one namespace."""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, model_validator

from ..base import PlatformComponent, labels
from ..inputs import InputText, Model, validate
from ..security.account import service_account
from .manifests import API_VERSION, AWAIT_READY, aws_provider, token_rules, vault_provider
from .providers import AwsSecretService, VaultArgs, VaultConfig


class AwsStoreArgs(TypedDict):
    """Secrets of an AWS account, read with the identity of the operator."""

    service: AwsSecretService
    """`SecretsManager` or `ParameterStore`."""
    region: pulumi.Input[str]
    """AWS region."""


class OperatorArgs(TypedDict):
    """The operator that reads a store."""

    namespace_name: pulumi.Input[str]
    """Its namespace."""
    service_account_name: pulumi.Input[str]
    """Its service account."""


class SecretStoreArgs(TypedDict):
    """Inputs of `SecretStore`: where the secrets are, either `aws` or `vault`."""

    namespace_name: pulumi.Input[str]
    """Namespace whose secrets these are; those of no other can be read through it."""
    aws: NotRequired[AwsStoreArgs]
    """An AWS account."""
    vault: NotRequired[VaultArgs]
    """A key-value engine of HashiCorp Vault or OpenBao."""
    operator: NotRequired[OperatorArgs]
    """Who reads it; needed for `vault`, where it comes with a token of the namespace's own service account."""


class _Aws(Model):
    service: AwsSecretService = Field(examples=["SecretsManager"])
    region: InputText


class _Operator(Model):
    namespace_name: InputText
    service_account_name: InputText


class _Config(Model):
    namespace_name: InputText
    aws: _Aws | None = None
    vault: VaultConfig | None = None
    operator: _Operator | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "_Config":
        if (self.aws is None) == (self.vault is None):
            raise ValueError("a store is in one place; give either aws or vault")
        if self.vault is not None and self.operator is None:
            raise ValueError("operator is missing; give the namespace and service account of the operator that logs in to vault")
        return self


class SecretStore(PlatformComponent):
    """A SecretStore of one namespace; there is none for the whole cluster, which any namespace could read through."""

    store_name: pulumi.Output[str]
    """Name of the SecretStore, known once the operator has accepted it."""

    def __init__(self, name: str, args: SecretStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"SecretStore {name}")
        common = labels("secret-store", name, "secrets")
        after: list[pulumi.Resource] = []
        if config.vault and config.operator:
            # Vault is told of it, so its name is fixed.
            account = service_account(self, config.namespace_name, common, self.child_name("account"))
            after = self._token_of(account, config.namespace_name, config.operator, common)
            provider = {"vault": vault_provider(config.vault, account)}
        else:
            assert config.aws  # noqa: S101 - the model has one of both
            provider = {"aws": aws_provider(config.aws.service, config.aws.region)}
        store = kubernetes.apiextensions.CustomResource(
            self.child_name("store"),
            api_version=API_VERSION,
            kind="SecretStore",
            metadata={"namespace": config.namespace_name, "labels": common, "annotations": AWAIT_READY},
            spec={"provider": provider},
            opts=self.child(depends_on=after),
        )
        self.store_name = store.metadata["name"]
        self.finish()

    def _token_of(
        self, account: pulumi.Output[str], namespace_name: pulumi.Input[str], operator: _Operator, common: dict[str, str]
    ) -> list[pulumi.Resource]:
        """Lets the operator have tokens of this one service account: it may have none of any other."""
        metadata = {"namespace": namespace_name, "labels": common}
        role = kubernetes.rbac.v1.Role(self.child_name("token"), metadata=metadata, rules=token_rules(account), opts=self.child())
        subject = {
            "kind": "ServiceAccount",
            "name": operator.service_account_name,
            "namespace": operator.namespace_name,
        }
        binding = kubernetes.rbac.v1.RoleBinding(
            self.child_name("token"),
            metadata=metadata,
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": role.metadata["name"]},
            subjects=[subject],
            opts=self.child(),
        )
        return [binding]
