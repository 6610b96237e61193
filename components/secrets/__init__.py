"""Secrets: where they live, how they come into the cluster, and what makes them there."""

from components.secrets.config_secret import ConfigSecret, ConfigSecretArgs
from components.secrets.external_secret import ExternalSecret, ExternalSecretArgs
from components.secrets.external_secrets_operator import AwsReaderArgs, ExternalSecretsOperator, ExternalSecretsOperatorArgs
from components.secrets.image_pull import ImagePull, ImagePullArgs
from components.secrets.kinds import SecretType
from components.secrets.providers import AwsSecretService, RemoteArgs, VaultArgs
from components.secrets.sealed_secret import SealedSecret, SealedSecretArgs
from components.secrets.sealed_secrets_controller import SealedSecretsController, SealedSecretsControllerArgs
from components.secrets.store import AwsStoreArgs, OperatorArgs, SecretStore, SecretStoreArgs

__all__ = [
    "AwsReaderArgs",
    "AwsSecretService",
    "AwsStoreArgs",
    "ConfigSecret",
    "ConfigSecretArgs",
    "ExternalSecret",
    "ExternalSecretArgs",
    "ExternalSecretsOperator",
    "ExternalSecretsOperatorArgs",
    "ImagePull",
    "ImagePullArgs",
    "OperatorArgs",
    "RemoteArgs",
    "SealedSecret",
    "SealedSecretArgs",
    "SealedSecretsController",
    "SealedSecretsControllerArgs",
    "SecretStore",
    "SecretStoreArgs",
    "SecretType",
    "VaultArgs",
]
