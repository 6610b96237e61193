"""The secrets of a stack in the namespaces that read them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

import settings
from components.secrets import (
    ConfigSecret,
    ExternalSecret,
    ExternalSecretsOperator,
    ExternalSecretsOperatorArgs,
    ImagePull,
    SealedSecret,
    SealedSecretsController,
    SecretStore,
    SecretStoreArgs,
    SecretType,
)
from components.secrets.external_secrets_operator import SERVICE_ACCOUNT
from components.secrets.kinds import DOCKER_CONFIG, docker_config
from components.types import SecretKeyArgs
from foundation.foundation import Foundation
from settings.models import SecretKeySettings
from settings.monitoring import MonitoringSecretSettings
from settings.secrets import PASSWORD, ItemSettings, StoreKind, VaultStoreSettings
from settings.sections import Settings

Namespaces = Mapping[str, pulumi.Output[str]]
"""By their names: each known when it is there."""


@dataclass(frozen=True)
class MadeSecrets:
    """The Secrets this stack made; what it did not make is taken to be there."""

    namespaces: Namespaces
    """Those given, known when their pods can pull images."""
    names: Mapping[tuple[str, str], pulumi.Output[str]] = field(default_factory=dict)
    """By namespace and item."""
    pulled_with: str | None = None
    """The item images are pulled with."""

    def key(self, namespace: str, wanted: SecretKeySettings | MonitoringSecretSettings | None) -> SecretKeyArgs | None:
        """What a component in that namespace is told of a secret its settings name."""
        return {"name": self.names.get((namespace, wanted.name), wanted.name), "key": wanted.key} if wanted else None

    def image_pull(self, namespace: str) -> list[pulumi.Input[str]]:
        """Secrets that service accounts of that namespace pull images with."""
        return [self.names[namespace, self.pulled_with]] if self.pulled_with else []


def make(config: Settings, below: Foundation, namespaces: Namespaces) -> MadeSecrets:
    """Every secret in each namespace that needs it, after what makes them.

    `namespaces` has all that need one and, where `config.secrets.needs_controller`, the controllers' own.
    """
    secrets = config.secrets
    needed = secrets.needed([(use.namespace, use.item) for use in config.secret_uses()], config.pulling)
    if not needed:
        return MadeSecrets(namespaces)
    making = _Making(config, below, namespaces)
    kinds = {StoreKind.CONFIG: making.from_config, StoreKind.SEALED_SECRETS: making.sealed}
    make_one = kinds.get(secrets.store.kind, making.external)
    after = making.controllers(list(needed))
    names: dict[tuple[str, str], pulumi.Output[str]] = {}
    for namespace, items in needed.items():
        options = pulumi.ResourceOptions(provider=below.provider, depends_on=after)
        if secrets.store.kind not in kinds:
            making.store(namespace, options)
        for item in items:
            names[namespace, item] = make_one(namespace, item, secrets.items[item], options)
    pulling = {
        namespace: ImagePull(
            namespace,
            {"namespace_name": namespaces[namespace], "secret_names": [names[namespace, secrets.image_pull]]},
            opts=pulumi.ResourceOptions(provider=below.provider),
        ).namespace_name
        for namespace in sorted(config.pulling)
        if secrets.image_pull
    }
    return MadeSecrets({**namespaces, **pulling}, names, secrets.image_pull)


class _Making:
    def __init__(self, config: Settings, below: Foundation, namespaces: Namespaces) -> None:
        self._config, self._secrets = config, config.secrets
        self._below, self._namespaces = below, namespaces
        self._values = settings.secret_values()
        self._stores: dict[str, pulumi.Output[str]] = {}

    def controllers(self, needed: list[str]) -> list[pulumi.Resource]:
        """What turns objects that are safe to show into Secrets."""
        if not self._secrets.needs_controller:
            return []
        where = self._namespaces[self._config.namespaces.controllers]
        on_cluster = pulumi.ResourceOptions(provider=self._below.provider)
        if self._secrets.store.kind is StoreKind.SEALED_SECRETS:
            watched = [self._namespaces[namespace] for namespace in needed]
            return [
                SealedSecretsController(
                    "sealed-secrets",
                    {
                        "namespace_name": where,
                        "watched_namespace_names": [*watched],
                        "system_labels": dict(self._below.system_labels),
                    },
                    opts=on_cluster,
                )
            ]
        args: ExternalSecretsOperatorArgs = {
            "namespace_name": where,
            "watched_namespace_name": self._namespaces[needed[0]] if len(needed) == 1 else None,
            "system_labels": dict(self._below.system_labels),
        }
        if self._secrets.aws_service and self._below.aws:
            remotes = {of.remote for item in self._secrets.items.values() for of in item.remotes().values()}
            args["aws"] = {
                "cluster_name": self._below.aws.cluster_name,
                "service": self._secrets.aws_service,
                "remotes": sorted(remotes),
                "kms_key_arns": list(self._secrets.kms_key_arns),
            }
            on_cluster = pulumi.ResourceOptions(providers={"aws": self._below.aws.provider, "kubernetes": self._below.provider})
        return [ExternalSecretsOperator("external-secrets", args, opts=on_cluster)]

    def store(self, namespace: str, options: pulumi.ResourceOptions) -> None:
        """The store that external secrets of a namespace come from."""
        args: SecretStoreArgs = {"namespace_name": self._namespaces[namespace]}
        store = self._secrets.store
        if isinstance(store, VaultStoreSettings):
            operator = self._secrets.operator
            args["vault"] = store.args()
            args["operator"] = {
                "namespace_name": operator.namespace if operator else self._namespaces[self._config.namespaces.controllers],
                "service_account_name": operator.service_account if operator else SERVICE_ACCOUNT,
            }
        elif self._secrets.aws_service and self._below.aws:
            args["aws"] = {"service": self._secrets.aws_service, "region": self._below.aws.region}
        self._stores[namespace] = SecretStore(namespace, args, opts=options).store_name

    # A dot is in no name of a namespace or an item, so no two of both make one name.
    def from_config(self, namespace: str, name: str, item: ItemSettings, options: pulumi.ResourceOptions) -> pulumi.Output[str]:
        given = self._values.get(name, {})
        values: dict[str, pulumi.Input[str]] = {key: given[key] for key in sorted(item.value_names)}
        if item.type is SecretType.REGISTRY:
            login = pulumi.Output.all(item.server, item.username, given[PASSWORD])
            values = {DOCKER_CONFIG: login.apply(lambda parts: docker_config(*parts))}
        return ConfigSecret(
            f"{namespace}.{name}",
            {"namespace_name": self._namespaces[namespace], "type": item.type, "values": values},
            opts=options,
        ).secret_name

    def external(self, namespace: str, name: str, item: ItemSettings, options: pulumi.ResourceOptions) -> pulumi.Output[str]:
        return ExternalSecret(
            f"{namespace}.{name}",
            {
                "namespace_name": self._namespaces[namespace],
                "secret_name": item.secret_name(name),
                "store_name": self._stores[namespace],
                "type": item.type,
                "keys": {key: {"remote": of.remote, "property": of.property} for key, of in item.remotes().items()},
                "refresh_interval": item.refresh_interval,
            },
            opts=options,
        ).secret_name

    def sealed(self, namespace: str, name: str, item: ItemSettings, options: pulumi.ResourceOptions) -> pulumi.Output[str]:
        return SealedSecret(
            f"{namespace}.{name}",
            {
                "namespace_name": self._namespaces[namespace],
                "secret_name": item.secret_name(name),
                "type": item.type,
                "keys": item.sealed(namespace),
            },
            opts=options,
        ).secret_name
