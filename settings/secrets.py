"""The secrets of a stack: where they live, what they are called, and who reads them."""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Literal, cast

from pydantic import Field, WithJsonSchema

from components.inputs import Matching, Model
from components.secrets.external_secret import RefreshInterval
from components.secrets.kinds import SecretType
from components.secrets.providers import AwsSecretService, Remote, VaultArgs, VaultConfig
from components.secrets.sealed_secret import SealedText
from components.types import DnsLabel, SecretKeyName

VALUES = "secretValues"
"""Section of a stack file with the encrypted values."""
PASSWORD = "password"  # noqa: S105 - the name of a value
"""The value of a registry item whose other parts stand in its settings."""

SecretNames = Annotated[
    Mapping[DnsLabel, frozenset[SecretKeyName]],
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["secure"],
                    "properties": {"secure": {"type": "string", "description": "The value, encrypted."}},
                    "additionalProperties": False,
                },
            },
        }
    ),
]
"""The encrypted values by item and key, as settings know them: that they are there."""

KeyArn = Annotated[
    str,
    Matching(
        pattern=r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+",
        what="the ARN of a KMS key",
        example="arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    ),
]


class StoreKind(StrEnum):
    """Where secrets live."""

    CONFIG = "config"
    AWS_SECRETS_MANAGER = "awsSecretsManager"
    AWS_PARAMETER_STORE = "awsParameterStore"
    VAULT = "vault"
    SEALED_SECRETS = "sealedSecrets"


_AWS = {
    StoreKind.AWS_SECRETS_MANAGER: AwsSecretService.SECRETS_MANAGER,
    StoreKind.AWS_PARAMETER_STORE: AwsSecretService.PARAMETER_STORE,
}


class ConfigStoreSettings(Model):
    """Values encrypted in the stack file itself, under `secretValues`."""

    kind: Literal[StoreKind.CONFIG] = StoreKind.CONFIG


class AwsStoreSettings(Model):
    """Secrets Manager or the Parameter Store of the stack's AWS account."""

    kind: Literal[StoreKind.AWS_SECRETS_MANAGER, StoreKind.AWS_PARAMETER_STORE]
    kms_key_arns: tuple[KeyArn, ...] = Field((), description="Keys of your own that they are encrypted with.")


class VaultStoreSettings(VaultConfig):
    """HashiCorp Vault or OpenBao."""

    kind: Literal[StoreKind.VAULT]

    def args(self) -> VaultArgs:
        """As a component takes it."""
        return cast(VaultArgs, self.model_dump(exclude={"kind"}))


class SealedStoreSettings(Model):
    """Values sealed for this cluster, in the stack file."""

    kind: Literal[StoreKind.SEALED_SECRETS]


StoreSettings = ConfigStoreSettings | AwsStoreSettings | VaultStoreSettings | SealedStoreSettings


class OperatorSettings(Model):
    """What makes Secrets in the cluster already."""

    namespace: DnsLabel = Field(description="Its namespace.", examples=["external-secrets"])
    service_account: DnsLabel = Field("external-secrets", description="Its service account.")


class KeySettings(Model):
    """Where one value comes from; nothing for a value of `secretValues`."""

    remote: str | None = Field(
        None, min_length=1, description="Name in the store; in Vault the path below the mount.", examples=["llm/hugging-face"]
    )
    property: str | None = Field(
        None, min_length=1, description="Key of the value there, if it holds several.", examples=["token"]
    )
    sealed: Mapping[DnsLabel, SealedText] | None = Field(
        None,
        min_length=1,
        description="By namespace what kubeseal printed for it; another value needs another rotation.",
        examples=["{models: AgB…}"],
    )


class ItemSettings(Model):
    """One secret."""

    type: SecretType = Field(SecretType.OPAQUE, description="opaque, registry or tls.", examples=["registry"])
    keys: Mapping[SecretKeyName, KeySettings] = Field(
        default_factory=dict, description="Its values by key; registry and tls have fixed ones.", examples=["{token: {}}"]
    )
    server: str | None = Field(None, min_length=1, description="Registry (kind config).", examples=["registry.example.com"])
    username: str | None = Field(None, min_length=1, description="Login there (kind config).", examples=["robot"])
    rotation: int = Field(
        1, ge=1, description="Another number gives the Secret another name, so that what reads it starts anew.", examples=[2]
    )
    refresh_interval: RefreshInterval = Field("1h", description="How often the store is read.")
    namespaces: tuple[DnsLabel, ...] = Field((), description="Namespaces that get it beside those of models that use it.")

    @property
    def key_names(self) -> frozenset[str]:
        """Keys of the Secret."""
        return self.type.keys or frozenset(self.keys)

    @property
    def value_names(self) -> frozenset[str]:
        """Keys of the values it needs under `secretValues`."""
        return frozenset({PASSWORD}) if self.type is SecretType.REGISTRY else self.key_names

    def secret_name(self, item: str) -> str:
        """Name of the Secret in the cluster, but for kind config, where it follows from the values."""
        return item if self.rotation == 1 else f"{item}-v{self.rotation}"

    def remotes(self) -> dict[str, Remote]:
        """Where each value is in the store."""
        return {key: Remote(remote=of.remote or "", property=of.property) for key, of in self.keys.items()}

    def sealed(self, namespace: str) -> dict[str, str]:
        """Every value as it was sealed for a namespace."""
        return {key: (of.sealed or {})[namespace] for key, of in self.keys.items()}


class SecretsSettings(Model):
    """The secrets this stack brings into its cluster."""

    store: Annotated[StoreSettings, Field(discriminator="kind")] = Field(
        default_factory=ConfigStoreSettings, description="Where their values live.", examples=["{kind: config}"]
    )
    items: Mapping[DnsLabel, Annotated[ItemSettings, Field(examples=["{keys: {token: {}}}"])]] = Field(
        default_factory=dict,
        description="Secrets by name; models refer to them by it.",
        examples=["{hugging-face: {keys: {token: {}}}}"],
    )
    image_pull: str | None = Field(
        None, min_length=1, description="Item of type registry with which every image is pulled.", examples=["registry"]
    )
    operator: OperatorSettings | None = Field(
        None, description="The operator of the store, where the cluster has one; installed when left out."
    )

    @property
    def aws_service(self) -> AwsSecretService | None:
        """The service of AWS they live in; None elsewhere."""
        return _AWS.get(self.store.kind)

    @property
    def kms_key_arns(self) -> tuple[str, ...]:
        """Keys of the user's own that they are encrypted with."""
        return self.store.kms_key_arns if isinstance(self.store, AwsStoreSettings) else ()

    @property
    def needs_controller(self) -> bool:
        """Whether this stack installs something that makes Secrets."""
        return bool(self.items) and self.operator is None and self.store.kind is not StoreKind.CONFIG

    @property
    def by_external_secrets(self) -> bool:
        """Whether that is External Secrets."""
        return self.needs_controller and self.store.kind is not StoreKind.SEALED_SECRETS

    def needed(self, uses: Iterable[tuple[str, str]], pulling: Collection[str]) -> dict[str, list[str]]:
        """Items by the namespaces that need them: `uses` are pairs of both, `pulling` are namespaces whose pods pull images."""
        found: dict[str, set[str]] = {}
        for namespace, item_name in uses:
            found.setdefault(namespace, set()).add(item_name)
        for name, item in self.items.items():
            for namespace in item.namespaces:
                found.setdefault(namespace, set()).add(name)
        if self.image_pull:
            for namespace in pulling:
                found.setdefault(namespace, set()).add(self.image_pull)
        return {namespace: sorted(items) for namespace, items in sorted(found.items())}
