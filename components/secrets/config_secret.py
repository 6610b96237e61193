"""A secret whose values come from the stack's own configuration, where Pulumi keeps them encrypted."""

import base64
from collections.abc import Callable, Mapping
from typing import NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
from pydantic import Field, model_validator

from ..base import PlatformComponent, labels
from ..inputs import InputText, Model, validate, validated
from ..types import SecretKeyName
from .kinds import HiddenText, SecretType, check_keys, check_value


class ConfigSecretArgs(TypedDict):
    """Inputs of `ConfigSecret`."""

    namespace_name: pulumi.Input[str]
    """Namespace of the pods that read it."""
    type: NotRequired[SecretType]
    """`opaque` (by default), `registry` or `tls`."""
    values: dict[str, pulumi.Input[str]]
    """By key; secret from here on, whether they were before or not."""


class _Config(Model):
    namespace_name: InputText
    type: SecretType = SecretType.OPAQUE
    values: Mapping[SecretKeyName, HiddenText] = Field(examples=["{token: …}"])

    @model_validator(mode="after")
    def _keys_fit(self) -> "_Config":
        check_keys(self.type, self.values)
        return self


class ConfigSecret(PlatformComponent):
    """An immutable Secret. Another value is another Secret with another name: what reads it is rolled out anew, then the old one
    goes."""

    secret_name: pulumi.Output[str]
    """Name of the Secret."""

    def __init__(self, name: str, args: ConfigSecretArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"ConfigSecret {name}")
        secret = kubernetes.core.v1.Secret(
            self.child_name("secret"),
            metadata={"namespace": config.namespace_name, "labels": labels("secret", name, "secrets")},
            type=config.type.kubernetes,
            # As the API server keeps it: what is written as stringData is not what is read back.
            data={key: _encoded(value, _checked(config.type, key)) for key, value in sorted(config.values.items())},
            immutable=True,
            opts=self.child(),
        )
        self.secret_name = secret.metadata["name"]
        self.finish()


def _checked(of: SecretType, key: str) -> Callable[[str], None]:
    return lambda value: check_value(of, key, value)


def _encoded(value: pulumi.Output[str], check: Callable[[str], None]) -> pulumi.Output[str]:
    passed = pulumi.Output.from_input(validated(value, check))
    return passed.apply(lambda text: base64.b64encode(text.encode()).decode())
