"""The provider's own settings: reading them, refusing what is unknown, and which account it may touch."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi_aws
from pulumi import _types as sdk

from sandbox.providers.contract import ChangeKind, Checked, Diffed, ProviderError, Request
from sandbox.providers.properties import UNKNOWN

_REGION: Final = "us-east-1"
_IGNORED: Final = frozenset({"version", "pluginDownloadURL"})


@dataclass(frozen=True)
class Settings:
    """What the rest of the provider needs to know."""

    region: str = _REGION
    default_tags: Mapping[str, str] = field(default_factory=dict)
    allowed: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()

    @property
    def partition(self) -> str:
        """The part of the world an ARN begins with."""
        return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(self.region.rsplit("-", 2)[0], "aws")


def check(request: Request) -> Checked:
    """Refuse settings the SDK does not know, and what would not be heeded."""
    known = set(sdk.input_type_types(pulumi_aws.ProviderArgs)) | _IGNORED
    unknown = sorted(request.inputs.values.keys() - known)
    failures = [(name, "is not a setting of the aws provider") for name in unknown]
    if request.inputs.values.get("ignoreTags") is not None:
        failures.append(("ignoreTags", "is not emulated: leave it out"))
    return Checked(request.inputs, tuple(failures))


def diff(request: Request) -> Diffed:
    """A change of region is another place, so everything there is made anew."""
    old, new = request.state.values or request.old_inputs.values, request.inputs.values
    changes = {
        name: ChangeKind.UPDATE for name in sorted({*old, *new}) if new.get(name) is UNKNOWN or old.get(name) != new.get(name)
    }
    return Diffed(changes, tuple(name for name in ("region",) if name in changes))


def read(values: Mapping[str, Any]) -> Settings:
    """Settings as the engine hands them over: structures as JSON text."""
    return Settings(
        region=str(values.get("region") or os.environ.get("AWS_REGION") or _REGION),
        default_tags=(_structure(values.get("defaultTags")) or {}).get("tags") or {},
        allowed=tuple(_structure(values.get("allowedAccountIds")) or ()),
        forbidden=tuple(_structure(values.get("forbiddenAccountIds")) or ()),
    )


def admit(settings: Settings, account_id: str) -> None:
    """Raise ProviderError unless this account may be touched."""
    if (settings.allowed and account_id not in settings.allowed) or account_id in settings.forbidden:
        raise ProviderError(
            f"the credentials are of account {account_id}, which the provider's settings do not allow "
            f"({', '.join(settings.allowed) or 'any other'}); use credentials of an allowed account"
        )


def _structure(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value else value
