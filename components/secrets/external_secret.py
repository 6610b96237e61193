"""A secret that the External Secrets operator copies from a store."""

from collections.abc import Mapping
from typing import Annotated, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, model_validator

from ..base import PlatformComponent, labels
from ..inputs import InputText, Matching, Model, validate
from ..ordering import known_after
from ..types import DnsLabel, SecretKeyName
from .kinds import SecretType, check_keys
from .manifests import API_VERSION, AWAIT_READY, external_spec
from .providers import Remote, RemoteArgs

RefreshInterval = Annotated[str, Matching(pattern=r"[1-9]\d*(s|m|h)", what="a time of Go in one unit", example="1h")]
"""How often a store is read."""


class ExternalSecretArgs(TypedDict):
    """Inputs of `ExternalSecret`."""

    namespace_name: pulumi.Input[str]
    """Namespace of the store and of the pods that read it."""
    secret_name: str
    """Name of the Secret; another one for another version, so that what reads it is rolled out anew."""
    store_name: pulumi.Input[str]
    """The `SecretStore` it comes from."""
    type: NotRequired[SecretType]
    """`opaque` (by default), `registry` or `tls`."""
    keys: dict[str, RemoteArgs]
    """Where each value is, by the key it gets."""
    refresh_interval: NotRequired[str]
    """How often the store is read; `1h` by default. Files of running pods follow; what reads them only once does not."""


class _Config(Model):
    namespace_name: InputText
    secret_name: DnsLabel = Field(examples=["hugging-face"])
    store_name: InputText
    type: SecretType = SecretType.OPAQUE
    keys: Mapping[SecretKeyName, Remote]
    refresh_interval: RefreshInterval = "1h"

    @model_validator(mode="after")
    def _keys_fit(self) -> "_Config":
        check_keys(self.type, self.keys)
        return self


class ExternalSecret(PlatformComponent):
    """An ExternalSecret and the Secret that comes and goes with it. No value passes through Pulumi."""

    secret_name: pulumi.Output[str]
    """Name of the Secret, known once it is there."""

    def __init__(self, name: str, args: ExternalSecretArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"ExternalSecret {name}")
        common = labels("secret", name, "secrets")
        spec = external_spec(config.store_name, config.secret_name, config.type, config.keys, config.refresh_interval, common)
        made = kubernetes.apiextensions.CustomResource(
            self.child_name("external"),
            api_version=API_VERSION,
            kind="ExternalSecret",
            metadata={
                "namespace": config.namespace_name,
                "name": config.secret_name,
                "labels": common,
                "annotations": AWAIT_READY,
            },
            spec=spec,
            opts=self.child(),
        )
        self.secret_name = known_after(config.secret_name, made.metadata["name"])
        self.finish()
