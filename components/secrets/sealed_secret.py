"""A secret that stands in the stack file, encrypted for one cluster."""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import AfterValidator, Field, model_validator

from ..base import PlatformComponent, labels
from ..inputs import InputText, Model, validate
from ..ordering import known_after
from ..types import DnsLabel, SecretKeyName
from .kinds import SecretType, check_keys
from .manifests import AWAIT_SYNCED, SEALED_API_VERSION, sealed_spec

_LEAST_BYTES = 2 + 256 + 16
"""Length, session key under RSA of 2048 bits, and the tag of AES-GCM (bitnami-labs/sealed-secrets, docs/developer/crypto.md)."""


def _sealed(value: str) -> str:
    try:
        size = len(base64.b64decode(value, validate=True))
    except binascii.Error:
        size = 0
    if size < _LEAST_BYTES:
        raise ValueError(
            "the text was not sealed (it is not the base64 of kubeseal); use what `kubeseal --raw` prints, it begins with Ag"
        )
    return value


SealedText = Annotated[str, AfterValidator(_sealed)]
"""What `kubeseal --raw` prints."""


class SealedSecretArgs(TypedDict):
    """Inputs of `SealedSecret`."""

    namespace_name: pulumi.Input[str]
    """Namespace it was sealed for."""
    secret_name: str
    """Name it was sealed for; another one for another version, so that what reads it is rolled out anew."""
    type: NotRequired[SecretType]
    """`opaque` (by default), `registry` or `tls`."""
    keys: dict[str, str]
    """By key what `kubeseal --raw` prints. It may be public."""


class _Config(Model):
    namespace_name: InputText
    secret_name: DnsLabel = Field(examples=["hugging-face"])
    type: SecretType = SecretType.OPAQUE
    keys: Mapping[SecretKeyName, SealedText]

    @model_validator(mode="after")
    def _keys_fit(self) -> "_Config":
        check_keys(self.type, self.keys)
        return self


class SealedSecret(PlatformComponent):
    """A SealedSecret and the immutable Secret that comes and goes with it."""

    secret_name: pulumi.Output[str]
    """Name of the Secret, known once it is there."""

    def __init__(self, name: str, args: SealedSecretArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"SealedSecret {name}")
        common = labels("secret", name, "secrets")
        made = kubernetes.apiextensions.CustomResource(
            self.child_name("sealed"),
            api_version=SEALED_API_VERSION,
            kind="SealedSecret",
            metadata={
                "namespace": config.namespace_name,
                "name": config.secret_name,
                "labels": common,
                "annotations": AWAIT_SYNCED,
            },
            spec=sealed_spec(config.secret_name, config.type, config.keys, common),
            opts=self.child(),
        )
        self.secret_name = known_after(config.secret_name, made.metadata["name"])
        self.finish()
