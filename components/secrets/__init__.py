"""Secrets: where they live, how they come into the cluster, and what makes them there."""

from .config_secret import ConfigSecret, ConfigSecretArgs
from .external_secret import ExternalSecret, ExternalSecretArgs
from .external_secrets_operator import AwsReaderArgs, ExternalSecretsOperator, ExternalSecretsOperatorArgs
from .image_pull import ImagePull, ImagePullArgs
from .kinds import SecretType
from .providers import AwsSecretService, RemoteArgs, VaultArgs
from .sealed_secret import SealedSecret, SealedSecretArgs
from .sealed_secrets_controller import SealedSecretsController, SealedSecretsControllerArgs
from .store import AwsStoreArgs, OperatorArgs, SecretStore, SecretStoreArgs

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
