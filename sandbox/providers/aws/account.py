"""The emulated account as resource operations reach it: boto3 with the resource's name on every call."""

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from json import dumps, loads
from typing import Any

import boto3
from botocore.config import Config

from sandbox.providers.aws.adapter import Account
from sandbox.providers.contract import ProviderError

_READING = ("Describe", "Get", "List", "Head", "Lookup")
_TIMEOUT_S = 60


@dataclass
class Creation:
    """The making of a resource, to which calls belong."""

    urn: str
    calls: int = 0


CREATION: ContextVar[Creation | None] = ContextVar("creation", default=None)
_lock = threading.Lock()


@dataclass(frozen=True)
class BotoAccount(Account):
    """One account and region."""

    def client(self, service: str) -> Any:
        return _client(service, self.region)


@cache
def _session() -> boto3.Session:
    return boto3.Session()


def _client(service: str, region: str) -> Any:
    with _lock:
        return _made(service, region)


@cache
def _made(service: str, region: str) -> Any:
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 2},
        read_timeout=_TIMEOUT_S,
        max_pool_connections=32,
        # The emulated account has one address: a bucket is a path, not a host.
        s3={"addressing_style": "path"},
    )
    client = _session().client(service, region_name=region, config=config)
    client.meta.events.register("before-call", _identify)
    return client


def _identify(model: Any, params: dict[str, Any], **_: Any) -> None:
    params["headers"]["x-sandbox-pid"] = str(os.getpid())
    creation = CREATION.get()
    if creation and not model.name.startswith(_READING):
        creation.calls += 1
        params["headers"]["x-sandbox-token"] = f"{creation.urn}#{creation.calls}"


def note(step: str, urn: str, identity: str) -> None:
    """Tell the account how far a resource has come: `made`, or `acknowledge` when the state knows it."""
    _ask(step, {"urn": urn, "id": identity})


def generation(urn: str) -> int | None:
    """How many resources of that URN the state has known; None where the account does not count."""
    answer = _ask("generation", {"urn": urn})
    return None if answer is None else int(answer["generation"])


def _ask(step: str, about: Mapping[str, str]) -> dict[str, Any] | None:
    """The answer of the rehearsal's account; None from any other. Raises ProviderError when there is none."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        return None
    body = dumps(about).encode()
    request = urllib.request.Request(f"{endpoint}/_sandbox/{step}", body, {"content-type": "application/json"})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            found: dict[str, Any] = loads(response.read())
            return found
    except urllib.error.HTTPError:
        return None  # a plain moto server has no such address
    except OSError as error:
        raise ProviderError(f"AWS cannot be reached: {error}") from error


def identity(region: str) -> Mapping[str, str]:
    """Account id, ARN and user id of the credentials in the environment."""
    answer = _client("sts", region).get_caller_identity()
    return {"accountId": answer["Account"], "arn": answer["Arn"], "userId": answer["UserId"]}
