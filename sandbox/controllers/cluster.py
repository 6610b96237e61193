"""The part of the API server one controller works with: collections it follows, and changes that it sees at once."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import httpx

from sandbox.control_plane.mirror import RETRY_S, Mirror, first_line

_log = logging.getLogger(__name__)

_SETTLE_S: Final = 0.05
_LOOK_AGAIN_S: Final = 10.0  # even without a reported change: deletions that wait their time
_MANAGER: Final = "sandbox-controllers"

Object = Mapping[str, Any]
Collection = tuple[str, str]
"""Where objects are listed, and the labels of those that matter."""


class Cluster:
    """Local copies of collections by name; what is written through it is in them before the watch reports it."""

    def __init__(self, client: httpx.AsyncClient, collections: Mapping[str, Collection]) -> None:
        self._client, self._changed = client, asyncio.Event()
        self._mirrors = {
            name: Mirror(client, path, self._changed, selector=selector) for name, (path, selector) in collections.items()
        }

    async def run(self, step: Callable[[], Awaitable[None]]) -> None:
        """Calls `step` after every change, for ever; what fails is tried again."""
        async with asyncio.TaskGroup() as tasks:
            for mirror in self._mirrors.values():
                tasks.create_task(mirror.follow())
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), _LOOK_AGAIN_S)
                await asyncio.sleep(_SETTLE_S)  # what comes together is handled together
                self._changed.clear()
                if any(mirror.objects is None for mirror in self._mirrors.values()):
                    continue  # what is not listed yet would seem gone
                try:
                    await step()
                except Exception as error:  # one object nobody foresaw must not end the controllers
                    _log.warning("%s; again in %s s", _told(error), RETRY_S, exc_info=not isinstance(error, httpx.HTTPError))
                    await asyncio.sleep(RETRY_S)
                    self._changed.set()

    def all(self, collection: str, namespace: str = "") -> list[dict[str, Any]]:
        """The objects of a collection, in the order of their names."""
        found = (self._mirrors[collection].objects or {}).values()
        chosen = [each for each in found if not namespace or each["metadata"]["namespace"] == namespace]
        return sorted(chosen, key=lambda each: str(each["metadata"]["name"]))

    def find(self, collection: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object by its name."""
        return next((each for each in self.all(collection, namespace) if each["metadata"]["name"] == name), None)

    async def apply(self, collection: str, path: str, manifest: Object) -> dict[str, Any]:
        """Server-side apply: the fields become so, and those applied before and not now are removed."""
        response = await self._client.patch(
            path,
            params={"fieldManager": _MANAGER, "force": "true"},
            content=json.dumps(manifest),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        return self._seen(collection, response)

    async def create(self, collection: str, path: str, manifest: Object) -> dict[str, Any] | None:
        """Creates an object, of which the server may choose the name; None where there is one of the same name already."""
        response = await self._client.post(path, params={"fieldManager": _MANAGER}, json=manifest)
        return None if response.status_code == httpx.codes.CONFLICT else self._seen(collection, response)

    async def merge(self, collection: str, path: str, change: Object) -> None:
        """Changes fields of an object, which may be gone already."""
        headers = {"Content-Type": "application/merge-patch+json"}
        response = await self._client.patch(path, params={"fieldManager": _MANAGER}, content=json.dumps(change), headers=headers)
        if response.status_code != httpx.codes.NOT_FOUND:
            self._seen(collection, response, new=False)

    async def delete(self, path: str, uid: str, propagation: str = "Background") -> None:
        """Deletes this very object; it may be gone already."""
        body = {"propagationPolicy": propagation, "preconditions": {"uid": uid}}
        response = await self._client.request("DELETE", path, json=body)
        if response.status_code not in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):
            response.raise_for_status()

    def _seen(self, collection: str, response: httpx.Response, *, new: bool = True) -> dict[str, Any]:
        response.raise_for_status()
        obj: dict[str, Any] = response.json()
        mirror, uid = self._mirrors.get(collection), obj["metadata"]["uid"]
        # What was there and is not any more has been deleted since: the watch may tell that before the answer comes.
        if mirror is not None and mirror.objects is not None and (new or uid in mirror.objects):
            mirror.objects[uid] = obj
        return obj


def _told(error: Exception) -> str:
    if not isinstance(error, httpx.HTTPStatusError):
        return first_line(error)
    try:
        said = error.response.json().get("message")
    except ValueError:
        said = error.response.status_code
    return f"{error.request.method} {error.request.url.path}: {said}"
