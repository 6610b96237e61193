"""The objects of External Secrets and Sealed Secrets. Pure, but that names may be outputs."""

import base64
from collections.abc import Mapping
from typing import Any

import pulumi

from .kinds import SecretType
from .providers import AwsSecretService, Remote, VaultConfig

API_VERSION = "external-secrets.io/v1"
SEALED_API_VERSION = "bitnami.com/v1alpha1"
AWAIT_READY = {"pulumi.com/waitFor": "condition=Ready"}
AWAIT_SYNCED = {"pulumi.com/waitFor": "condition=Synced"}


def aws_provider(service: AwsSecretService, region: pulumi.Input[str]) -> dict[str, Any]:
    """Without `auth`: the operator's own identity, the only one that Pod Identity gives it."""
    return {"service": service.value, "region": region}


def vault_provider(vault: VaultConfig, account: pulumi.Input[str]) -> dict[str, Any]:
    """With tokens of a service account of the namespace, made for Vault alone."""
    found: dict[str, Any] = {
        "server": vault.server,
        "path": vault.path,
        "version": "v2",
        "auth": {
            "kubernetes": {
                "mountPath": vault.mount,
                "role": vault.role,
                "serviceAccountRef": {"name": account, "audiences": ["vault"]},
            }
        },
    }
    if vault.namespace:
        found["namespace"] = vault.namespace
    if vault.certificate_authority:
        found["caBundle"] = base64.b64encode(vault.certificate_authority.encode()).decode()
    return found


def token_rules(account: pulumi.Input[str]) -> list[dict[str, Any]]:
    """What lets the operator ask for tokens of one service account."""
    return [
        {"api_groups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"], "resource_names": [account]},
        {"api_groups": [""], "resources": ["serviceaccounts"], "verbs": ["get"], "resource_names": [account]},
    ]


def external_spec(
    store: pulumi.Input[str],
    secret: str,
    of: SecretType,
    keys: Mapping[str, Remote],
    refresh: str,
    common: Mapping[str, str],
) -> dict[str, Any]:
    """Spec of an ExternalSecret whose Secret goes with it."""
    return {
        "secretStoreRef": {"kind": "SecretStore", "name": store},
        "refreshPolicy": "Periodic",
        "refreshInterval": refresh,
        "target": {
            "name": secret,
            "creationPolicy": "Owner",
            # What is gone outside stays here until somebody decides: pods that start again still find it.
            "deletionPolicy": "Retain",
            "template": {"type": of.kubernetes, "metadata": {"labels": dict(common)}},
        },
        "data": [
            {
                "secretKey": key,
                "remoteRef": {"key": remote.remote, **({"property": remote.property} if remote.property else {})},
            }
            for key, remote in sorted(keys.items())
        ],
    }


def sealed_spec(secret: str, of: SecretType, keys: Mapping[str, str], common: Mapping[str, str]) -> dict[str, Any]:
    """Spec of a SealedSecret of strict scope: it opens in this namespace under this name only."""
    return {
        "encryptedData": dict(sorted(keys.items())),
        "template": {"type": of.kubernetes, "immutable": True, "metadata": {"name": secret, "labels": dict(common)}},
    }
