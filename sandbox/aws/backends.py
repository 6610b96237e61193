"""Moto's memory, by service, for one region of the account."""

from collections.abc import Iterator
from typing import Any

from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID

GLOBAL = "aws"
"""What moto calls the region of services without regions, in the partition of the public regions."""

_GLOBAL_SERVICES = frozenset({"iam", "s3", "sts"})


class Backends:
    """Attributes are moto's backends: `Backends("us-east-1").ec2`."""

    def __init__(self, region: str) -> None:
        """Touches nothing yet."""
        self._region = region

    def __getattr__(self, service: str) -> Any:
        """One backend."""
        return get_backend(service)[DEFAULT_ACCOUNT_ID][GLOBAL if service in _GLOBAL_SERVICES else self._region]


def used(service: str) -> Iterator[Any]:
    """The service's backend in each region in which it was ever used."""
    yield from list(get_backend(service)[DEFAULT_ACCOUNT_ID].values())
