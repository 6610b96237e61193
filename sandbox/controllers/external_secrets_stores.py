"""The stores behind the External Secrets operator: the rehearsed AWS account, and a Vault that is made up."""

import json
from dataclasses import dataclass
from typing import Any, Final

import httpx

from components.secrets.kinds import SecretType
from sandbox.controllers.cluster import Object
from sandbox.plain_http import NO_TLS
from sandbox.secrets.made_up import Inventor

ROUTE: Final = "/_eks/secret-value"
"""Where the account answers for a service account."""
_TYPES: Final = {of.kubernetes: of for of in SecretType}


class StoreError(Exception):
    """A store does not give a value, in the operator's words."""


@dataclass(frozen=True)
class Identity:
    """The operator's service account."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Stores:
    """What stores are made of here."""

    inventor: Inventor
    account: str | None = None
    """URL of the AWS account the cluster is in."""
    cluster: str | None = None
    """Name of the cluster there."""

    async def validate(self, client: httpx.AsyncClient, store: Object, identity: Identity) -> None:
        """Whether a store could be read. Raises StoreError with what the condition says."""
        provider = store["spec"]["provider"]
        if "aws" in provider and self.account is None:
            raise StoreError("unable to create session: no credentials: the rehearsed cluster is in no AWS account")
        if "vault" in provider:
            await _token(client, store, identity)

    async def read(self, store: Object, external: Object, wanted: Object, identity: Identity) -> str:
        """One value. Raises StoreError."""
        provider, remote = store["spec"]["provider"], wanted["remoteRef"]
        if "aws" in provider:
            return _part(remote, await self._from_account(provider["aws"], remote["key"], identity))
        vault = provider["vault"]
        template = external["spec"]["target"].get("template") or {}
        of = _TYPES.get(str(template.get("type")), SecretType.OPAQUE)
        names = (vault["server"], vault["path"], remote["key"])
        # A certificate belongs to its key, other values to nothing.
        key = wanted["secretKey"] if of is not SecretType.OPAQUE else str(remote.get("property"))
        return self.inventor.value(of, key, *names)

    async def _from_account(self, aws: Object, name: str, identity: Identity) -> str:
        question = {
            "clusterName": self.cluster,
            "namespace": identity.namespace,
            "serviceAccount": identity.name,
            "service": aws["service"],
            "region": aws["region"],
            "name": name,
        }
        async with httpx.AsyncClient(verify=NO_TLS, trust_env=False, timeout=10) as client:
            response = await client.post(f"{self.account}{ROUTE}", json=question)
        answer = response.json()
        if response.is_success:
            return str(answer["value"])
        raise StoreError(str(answer["message"]))


def _part(remote: Object, value: str) -> str:
    """The value, or one of several in it (pkg/provider/aws of the operator)."""
    if (wanted := remote.get("property")) is None:
        return value
    try:
        found: Any = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict) or wanted not in found:
        raise StoreError(f"key {wanted} does not exist in secret {remote['key']}")
    return found[wanted] if isinstance(found[wanted], str) else json.dumps(found[wanted])


async def _token(client: httpx.AsyncClient, store: Object, identity: Identity) -> None:
    """Whether the operator may have a token of the service account that a store of Vault logs in with. Raises StoreError."""
    namespace = store["metadata"]["namespace"]
    account = store["spec"]["provider"]["vault"]["auth"]["kubernetes"]["serviceAccountRef"]["name"]
    user = f"system:serviceaccount:{identity.namespace}:{identity.name}"
    asked = {
        "namespace": namespace,
        "verb": "create",
        "resource": "serviceaccounts",
        "subresource": "token",
        "name": account,
    }
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{identity.namespace}", "system:authenticated"]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": asked},
    }
    response = await client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review)
    response.raise_for_status()
    if not response.json()["status"]["allowed"]:
        raise StoreError(
            f'could not get provider client: cannot create a token: serviceaccounts "{account}" is forbidden: User "{user}" '
            f'cannot create resource "serviceaccounts/token" in API group "" in the namespace "{namespace}"'
        )
