"""Local copies of collections of the API server, which follow it by watches."""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any, TypeAlias

import httpx

_log = logging.getLogger(__name__)

RETRY_S = 1.0
_WATCH_S = 300

Objects: TypeAlias = dict[str, dict[str, Any]]


class Mirror:
    """A local copy of one collection that follows the API server."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        path: str,
        changed: asyncio.Event,
        *,
        selector: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`objects` (by uid) is None before the first list; `changed` is set whenever the copy is new."""
        self.objects: Objects | None = None
        self._client, self._path, self._changed = client, path, changed
        self._query, self._headers = {"labelSelector": selector} if selector else {}, dict(headers or {})

    async def follow(self) -> None:
        """Lists and watches for ever; whatever goes wrong ends in listing again."""
        while True:
            try:
                version, self.objects = await self._list()
                self._changed.set()
                await self._watch(version, self.objects)
            except (httpx.HTTPError, ValueError, KeyError) as error:
                _log.warning("%s: %s; again in %s s", self._path, first_line(error), RETRY_S)
                await asyncio.sleep(RETRY_S)

    async def _list(self) -> tuple[str, Objects]:
        response = await self._client.get(self._path, params=self._query, headers=self._headers)
        response.raise_for_status()
        content = response.json()
        return content["metadata"]["resourceVersion"], {item["metadata"]["uid"]: item for item in content["items"] or []}

    async def _watch(self, version: str, objects: Objects) -> None:
        query = self._query | {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(_WATCH_S)}
        async with self._client.stream("GET", self._path, params=query, headers=self._headers, timeout=_WATCH_S + 30) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":  # the version is too old: list again
                    return
                uid = event["object"]["metadata"]["uid"]
                if event["type"] == "DELETED":
                    objects.pop(uid, None)
                else:
                    objects[uid] = event["object"]
                self._changed.set()


def first_line(error: Exception) -> str:
    """What went wrong, short enough for a log."""
    return (str(error) or type(error).__name__).splitlines()[0]
