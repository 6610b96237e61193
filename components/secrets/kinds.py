"""What a secret is for, the keys that follows from, and text that no message ever quotes."""

import json
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import pulumi
from pydantic import PlainValidator

DOCKER_CONFIG = ".dockerconfigjson"


class SecretType(StrEnum):
    """What reads a secret."""

    OPAQUE = "opaque"
    """A pod, each key as a file."""
    REGISTRY = "registry"
    """The kubelet, to pull images."""
    TLS = "tls"
    """Whatever ends TLS: a certificate with its chain, and the key."""

    @property
    def kubernetes(self) -> str:
        """The type of its Secret (kubernetes.io/docs/concepts/configuration/secret, "Types of Secret")."""
        return _KUBERNETES[self]

    @property
    def keys(self) -> frozenset[str]:
        """The keys such a Secret must have; any for `opaque`."""
        return _KEYS.get(self, frozenset())


_KUBERNETES = {
    SecretType.OPAQUE: "Opaque",
    SecretType.REGISTRY: "kubernetes.io/dockerconfigjson",
    SecretType.TLS: "kubernetes.io/tls",
}
_KEYS = {SecretType.REGISTRY: frozenset({DOCKER_CONFIG}), SecretType.TLS: frozenset({"tls.crt", "tls.key"})}


def check_keys(of: SecretType, keys: Collection[str]) -> None:
    """Raise ValueError unless a secret of that type may have these keys."""
    if not keys:
        raise ValueError("a secret without a key holds nothing; add e.g. token")
    if of.keys and of.keys != set(keys):
        raise ValueError(f"a secret of type {of} has the keys {', '.join(sorted(of.keys))} and no others; use exactly these")


def docker_config(server: str, username: str, password: str) -> str:
    """What the kubelet logs in to a registry with, as `docker login` writes it but for `auth`, which follows from the rest."""
    return json.dumps({"auths": {server: {"username": username, "password": password}}}, sort_keys=True)


def check_value(of: SecretType, key: str, value: str) -> None:
    """Raise ValueError for a value that nothing could use; it is not quoted."""
    if not value:
        raise ValueError(f"{key} is empty")
    begin = {"tls.crt": "-----BEGIN CERTIFICATE-----", "tls.key": "-----BEGIN "}.get(key) if of is SecretType.TLS else None
    if begin and begin not in value:
        raise ValueError(
            f"{key} is no PEM text; give the content of the file that begins with {begin.rstrip('- ')}, not its path"
        )
    if of is SecretType.REGISTRY:
        try:
            logins = json.loads(value)["auths"]
        except (ValueError, KeyError, TypeError):
            logins = None
        if not isinstance(logins, Mapping) or not logins:
            raise ValueError(
                f'{key} has no logins; give {{"auths": {{"registry.example.com": {{…}}}}}} as `docker login` writes it'
            )


def _hidden(value: object) -> object:
    if isinstance(value, pulumi.Output) or (isinstance(value, str) and value):
        return pulumi.Output.secret(value)
    raise ValueError("is neither text nor an output; give e.g. a secret of the stack's configuration")


if TYPE_CHECKING:
    HiddenText = pulumi.Output[str]
else:
    HiddenText = Annotated[Any, PlainValidator(_hidden)]
"""Text or an output, a secret from here on."""
