"""The External Secrets operator: Secrets with what a store has.

It follows external-secrets/external-secrets v2.9.0 (pkg/controllers). AWS's stores are the rehearsed account's, read with what
the policies of the operator's role allow. There is no Vault: every path of one has values that are made up.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx

from components.secrets.external_secrets_operator import SERVICE_ACCOUNT
from sandbox.controllers import releases
from sandbox.controllers.cluster import Cluster, Object
from sandbox.controllers.conditions import now
from sandbox.controllers.external_secrets_objects import MANAGED, due, event, secret_of, synced_version
from sandbox.controllers.external_secrets_stores import Identity, StoreError, Stores
from sandbox.controllers.releases import Release

_API: Final = "/apis/external-secrets.io/v1"
_COLLECTIONS: Final = {
    "stores": (f"{_API}/secretstores", ""),
    "external": (f"{_API}/externalsecrets", ""),
    "secrets": ("/api/v1/secrets", f"{MANAGED}=true"),
}
_GET_FAILED, _UPDATE_FAILED = "could not get secret data from provider", "could not update secret"
_AGAIN_S: Final = 5
"""After a failure; the operator waits for one second at first, and longer each time."""


class ExternalSecrets:
    """The operator of one control plane."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def control(self, client: httpx.AsyncClient) -> None:
        """Works for ever."""
        cluster = Cluster(client, _COLLECTIONS)
        await cluster.run(_Operator(client, cluster, self._stores).step)


class _Operator:
    def __init__(self, client: httpx.AsyncClient, cluster: Cluster, stores: Stores) -> None:
        self._client, self._cluster, self._stores = client, cluster, stores
        self._failed: dict[str, datetime] = {}

    async def step(self) -> None:
        """Looks once at every store and every external secret that it may see."""
        release = await releases.find(self._client, "external-secrets")
        if release is None:
            return
        scope = str(release.values.get("scopedNamespace") or "")
        for store in self._cluster.all("stores", scope):
            await self._validate(store, release)
        for external in self._cluster.all("external", scope):
            if "deletionTimestamp" not in external["metadata"]:
                await self._sync(external, release)

    async def _validate(self, store: Object, release: Release) -> None:
        try:
            await self._stores.validate(self._client, store, _identity(release))
            wanted = ("True", "Valid", "store validated")
        except StoreError as error:
            wanted = ("False", "InvalidProviderConfig", str(error))
        await self._tell("stores", "secretstores", store, wanted, {"capabilities": "ReadWrite"})

    async def _sync(self, external: Object, release: Release) -> None:
        namespace, uid = external["metadata"]["namespace"], external["metadata"]["uid"]
        secret = self._cluster.find("secrets", namespace, external["spec"]["target"]["name"])
        moment = datetime.now(UTC)
        if not due(external, secret, moment) or moment < self._failed.get(uid, moment):
            return
        failed, reason = _GET_FAILED, ""
        try:
            data = await self._data(external, release)
            failed = _UPDATE_FAILED
            wanted = secret_of(external, data)
            await self._cluster.apply("secrets", _path(namespace, wanted["metadata"]["name"]), wanted)
        except StoreError as error:
            reason = str(error)
        except httpx.HTTPStatusError as error:
            if error.response.status_code < 400 or error.response.status_code >= 500:
                raise
            reason = str(error.response.json()["message"])
        if reason:
            self._failed[uid] = moment + timedelta(seconds=_AGAIN_S)
            await self._cluster.create("", f"/api/v1/namespaces/{namespace}/events", event(external, "UpdateFailed", reason))
            await self._tell("external", "externalsecrets", external, ("False", "SecretSyncedError", failed), {})
            return
        self._failed.pop(uid, None)
        done: dict[str, Any] = {"refreshTime": now(), "syncedResourceVersion": synced_version(external)}
        done["binding"] = {"name": external["spec"]["target"]["name"]}
        await self._tell("external", "externalsecrets", external, ("True", "SecretSynced", "secret synced"), done)

    async def _data(self, external: Object, release: Release) -> dict[str, str]:
        """By key what the store has. Raises StoreError."""
        spec, namespace = external["spec"], external["metadata"]["namespace"]
        name = spec["secretStoreRef"]["name"]
        store = self._cluster.find("stores", namespace, name)
        data: dict[str, str] = {}
        for number, wanted in enumerate(spec["data"]):
            try:
                if store is None:
                    raise StoreError(f'could not get SecretStore "{name}", SecretStore.external-secrets.io "{name}" not found')
                data[wanted["secretKey"]] = await self._stores.read(store, external, wanted, _identity(release))
            except StoreError as error:
                raise StoreError(
                    f"error processing spec.data[{number}] (key: {wanted['remoteRef']['key']}), err: {error}"
                ) from None
        return data

    async def _tell(self, collection: str, plural: str, obj: Object, wanted: tuple[str, str, str], more: dict[str, Any]) -> None:
        state, reason, message = wanted
        status = obj.get("status") or {}
        before: dict[str, Any] = next((each for each in status.get("conditions") or [] if each["type"] == "Ready"), {})
        since = before["lastTransitionTime"] if before.get("status") == state else now()
        condition = {"type": "Ready", "status": state, "reason": reason, "message": message, "lastTransitionTime": since}
        if before == condition and all(status.get(key) == value for key, value in more.items()):
            return
        metadata = obj["metadata"]
        path = f"{_API}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}/status"
        await self._cluster.merge(collection, path, {"status": {**more, "conditions": [condition]}})


def _identity(release: Release) -> Identity:
    account = (release.values.get("serviceAccount") or {}).get("name") or SERVICE_ACCOUNT
    return Identity(release.namespace, str(account))


def _path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets/{name}"
