"""The controller of SealedSecrets: Secrets from sealed values.

It follows bitnami-labs/sealed-secrets v0.36.6 (pkg/controller, pkg/apis) and really opens what was sealed. Its keys are Secrets
of its own namespace with the controller's label; one is made where there is none.
"""

import base64
import binascii
from typing import Any, Final

import httpx

from sandbox.controllers import releases
from sandbox.controllers.cluster import Cluster, Object
from sandbox.controllers.conditions import now
from sandbox.secrets.sealing import NotOpenedError, label, load_key, new_key, unseal

KEY_LABEL: Final = "sealedsecrets.bitnami.com/sealed-secrets-key"
_API: Final = "/apis/bitnami.com/v1alpha1"
_COLLECTIONS: Final = {"sealed": (f"{_API}/sealedsecrets", ""), "keys": ("/api/v1/secrets", KEY_LABEL)}


async def control(client: httpx.AsyncClient) -> None:
    """Works for ever."""
    cluster = Cluster(client, _COLLECTIONS)
    await cluster.run(_Controller(client, cluster).step)


class _Controller:
    def __init__(self, client: httpx.AsyncClient, cluster: Cluster) -> None:
        self._client, self._cluster = client, cluster

    async def step(self) -> None:
        """Looks once at every sealed secret whose Secret is not as it says."""
        if not (found := self._cluster.all("keys")):
            await self._make_key()
            return
        keys = [load_key(base64.b64decode(each["data"]["tls.key"])) for each in found]
        for sealed in self._cluster.all("sealed"):
            if "deletionTimestamp" not in sealed["metadata"]:
                await self._unseal(sealed, keys)

    async def _make_key(self) -> None:
        if release := await releases.find(self._client, "sealed-secrets"):
            path = f"/api/v1/namespaces/{release.namespace}/secrets"
            await self._cluster.create("keys", path, key_secret(release.namespace, new_key(), "sealed-secrets-key"))

    async def _unseal(self, sealed: Object, keys: list[Any]) -> None:
        metadata = sealed["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/secrets/{metadata['name']}"
        problem = ""
        try:
            wanted = secret_of(sealed, keys)
            problem = await self._write(path, sealed, wanted)
        except NotOpenedError as error:
            problem = str(error)
        await self._tell(sealed, problem)

    async def _write(self, path: str, sealed: Object, wanted: dict[str, Any]) -> str:
        """Makes the Secret so; why not, where it cannot be."""
        response = await self._client.get(path)
        if response.status_code == httpx.codes.OK:
            found = response.json()
            if not _is_of(found, sealed):
                return f'failed update: Resource "{found["metadata"]["name"]}" already exists and is not managed by SealedSecret'
            if all(found.get(part) == wanted[part] for part in ("data", "type")) and _labels(found) == _labels(wanted):
                return ""
        try:
            await self._cluster.apply("", path, wanted)
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in (httpx.codes.UNPROCESSABLE_ENTITY, httpx.codes.FORBIDDEN):
                raise
            return str(error.response.json()["message"])
        return ""

    async def _tell(self, sealed: Object, problem: str) -> None:
        status = sealed.get("status") or {}
        generation = sealed["metadata"]["generation"]
        before: dict[str, Any] = next((each for each in status.get("conditions") or [] if each["type"] == "Synced"), {})
        state = "False" if problem else "True"
        same = before.get("status") == state and before.get("message", "") == problem
        if same and status.get("observedGeneration") == generation:
            return
        since = before["lastTransitionTime"] if before.get("status") == state else now()
        condition = {
            "type": "Synced",
            "status": state,
            "message": problem,
            "lastTransitionTime": since,
            "lastUpdateTime": now(),
        }
        metadata = sealed["metadata"]
        path = f"{_API}/namespaces/{metadata['namespace']}/sealedsecrets/{metadata['name']}/status"
        told = {"observedGeneration": generation, "conditions": [condition]}
        await self._cluster.merge("sealed", path, {"status": told})


def key_secret(namespace: str, pem: bytes, name: str) -> dict[str, Any]:
    """The Secret of a sealing key. Its certificate is not made: nobody here asks for it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"namespace": namespace, "name": name, "labels": {KEY_LABEL: "active"}},
        "data": {"tls.key": base64.b64encode(pem).decode()},
    }


def secret_of(sealed: Object, keys: list[Any]) -> dict[str, Any]:
    """The Secret a sealed one stands for. Raises NotOpenedError with what the controller says."""
    metadata, spec = sealed["metadata"], sealed["spec"]
    bound_to = label(metadata["namespace"], metadata["name"], metadata.get("annotations") or {})
    data: dict[str, str] = {}
    problems: dict[str, list[str]] = {}
    for key, text in sorted(spec["encryptedData"].items()):
        try:
            value = unseal(keys, base64.b64decode(text, validate=True), bound_to)
            data[key] = base64.b64encode(value).decode()
        except (NotOpenedError, binascii.Error) as error:
            problems.setdefault(str(error), []).append(key)
    if problems:
        raise NotOpenedError("; ".join(f"{problem} ({', '.join(failed)})" for problem, failed in problems.items()))
    template = spec.get("template") or {}
    given = template.get("metadata") or {}
    owner = {
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": template.get("type") or "Opaque",
        **({"immutable": True} if template.get("immutable") else {}),
        "metadata": {
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "labels": given.get("labels") or {},
            "annotations": given.get("annotations") or {},
            "ownerReferences": [owner],
        },
        "data": data,
    }


def _labels(secret: Object) -> dict[str, str]:
    return secret["metadata"].get("labels") or {}


def _is_of(secret: Object, sealed: Object) -> bool:
    owners = secret["metadata"].get("ownerReferences") or []
    return any(owner["uid"] == sealed["metadata"]["uid"] for owner in owners)
