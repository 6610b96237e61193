"""A key of the account's own, which only named services may use."""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
from pydantic import Field, model_validator

from ..base import PACKAGE, PlatformComponent
from ..cloud import cloud
from ..inputs import Model, validate
from ..names import fit
from ..ordering import known_after
from .key_policy import KeyUse, check_uses, key_statements
from .policies import document

_ALIAS_MAX = 256
"""Characters (KMS API, CreateAlias)."""

_DELETION_DAYS = 30
"""The longest KMS offers: what a deleted key encrypted is lost with it, and until then the deletion can be called off."""


class EncryptionKeyArgs(TypedDict):
    """Inputs of `EncryptionKey`."""

    description: str
    """What it encrypts, for people who find the key in the account."""
    uses: list[KeyUse]
    """What it may encrypt; nothing else can."""
    log_groups: NotRequired[list[str]]
    """Names of the log groups it encrypts, `*` standing for any text, e.g. `/aws/eks/llm-prod/cluster`."""
    protect: NotRequired[bool]
    """Whether it refuses to be deleted; true by default."""


class _Config(Model):
    description: str = Field(min_length=1, examples=["Secrets and volumes of the cluster llm-prod"])
    uses: tuple[KeyUse, ...] = Field(min_length=1, examples=["[clusterSecrets, volumes]"])
    log_groups: tuple[str, ...] = ()
    protect: bool = True

    @model_validator(mode="after")
    def _logs_named(self) -> "_Config":
        check_uses(self.uses, self.log_groups)
        return self


class EncryptionKey(PlatformComponent):
    """A KMS key that rotates every year. The account administers it; it is used through services only."""

    key_arn: pulumi.Output[str]
    """ARN of the key."""
    key_id: pulumi.Output[str]
    """Id of the key."""

    def __init__(self, name: str, args: EncryptionKeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"EncryptionKey {name}")
        key = aws.kms.Key(
            self.child_name("key"),
            description=config.description,
            policy=document(*key_statements(cloud(self), config.uses, config.log_groups)),
            enable_key_rotation=True,
            deletion_window_in_days=_DELETION_DAYS,
            opts=self.child(protect=config.protect),
        )
        alias = aws.kms.Alias(
            self.child_name("alias"),
            # Read by people, so without a random suffix; the stack tells those of one account apart.
            name=f"alias/{fit(PACKAGE, pulumi.get_stack(), name, limit=_ALIAS_MAX - len('alias/'))}",
            target_key_id=key.key_id,
            opts=self.child(),
        )
        self.key_arn = known_after(key.arn, alias.target_key_id)
        self.key_id = known_after(key.key_id, alias.target_key_id)
        self.finish()
