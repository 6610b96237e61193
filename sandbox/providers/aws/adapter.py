"""What the provider must know of one resource type, and nothing else: how it is made, read, changed and deleted.

Property names are those of pulumi-aws (camelCase) on this side and those of the AWS API on the other. Everything that holds for
all types (unknown properties, required ones, names, default tags, differences, previews, waiting) is done by the provider.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

Values = dict[str, Any]


@dataclass(frozen=True)
class Account:
    """The account a provider instance is configured for."""

    region: str
    account_id: str
    partition: str
    default_tags: Mapping[str, str]
    urn: str
    """The resource an operation is for; empty for functions and settings."""

    def client(self, service: str) -> Any:
        """A boto3 client; calls that make a resource carry its URN, so that one repeated after a crash is answered as before."""
        raise NotImplementedError


class Adapter:
    """One resource type. Subclasses are stateless; botocore's errors pass through and become one sentence."""

    token: ClassVar[str]
    """Type token, e.g. `aws:ec2/vpc:Vpc`."""
    replaces: ClassVar[frozenset[str]] = frozenset()
    """Inputs (paths with dots, list positions left out: `vpcConfig.subnetIds`) that only another resource can have."""
    alternatives: ClassVar[frozenset[str]] = frozenset()
    """Inputs of which one is given; only another resource can have another one instead."""
    unordered: ClassVar[frozenset[str]] = frozenset()
    """Inputs (same paths) whose lists have no order."""
    documents: ClassVar[frozenset[str]] = frozenset()
    """Inputs that hold JSON: equal when the documents are."""
    write_only: ClassVar[frozenset[str]] = frozenset()
    """Inputs AWS never tells again (`forceDestroy`, `deletionWindowInDays`); the state keeps what was given."""
    secrets: ClassVar[frozenset[str]] = frozenset()
    """Outputs that are secret."""
    autoname: ClassVar[tuple[str, int] | None] = None
    """The input that gets the logical name and a suffix when none is given, and its greatest length."""
    delete_before_replace: ClassVar[bool] = False
    """The new one cannot stand beside the old one, whatever its name."""

    def create(self, account: Account, inputs: Values) -> str:
        """Make it and return its Pulumi ID. Tags in `inputs["tagsAll"]` are the ones to set."""
        raise NotImplementedError

    def read(self, account: Account, identity: str, state: Values) -> Values | None:
        """All properties pulumi-aws has for it (inputs and outputs) as they are now; None when it is gone.

        `state` is what was recorded last, or the inputs right after creation.
        """
        raise NotImplementedError

    def update(self, account: Account, identity: str, old: Values, new: Values) -> None:
        """Bring it from the inputs `old` to the inputs `new`; both have `tagsAll`."""
        raise NotImplementedError

    def delete(self, account: Account, identity: str, state: Values) -> None:
        """Delete it. Something that is gone already is no error (the provider ignores the service's NotFound codes)."""
        raise NotImplementedError

    def unsettled(self, changed: Collection[str]) -> Collection[str]:
        """Outputs that a preview of an update cannot know, by the names of the inputs that change."""
        del changed
        return ()

    def pending(self, values: Values | None) -> str | None:
        """What it is still waiting for after `create`, `update` (from what `read` returned) or `delete` (None: gone), or None.

        Raise ProviderError when it failed for good.
        """
        del values
        return None
