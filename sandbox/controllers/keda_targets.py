"""What ScaledObjects scale: anything that has a scale subresource."""

import json
from typing import Any, Final

import httpx

from sandbox.controllers import keda_objects as objects
from sandbox.controllers.cluster import Object
from sandbox.controllers.conditions import is_true
from sandbox.controllers.keda_objects import InvalidError

_WRONG: Final = "ScaledObject doesn't have correct scaleTargetRef specification"


class Targets:
    """The targets of all ScaledObjects of a cluster."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._plurals: dict[tuple[str, str], str] = {}

    async def find(self, scaled: Object) -> dict[str, Any]:
        """How the target is scaled now. Raises InvalidError where there is no such target."""
        response = await self._client.get(await self._path(scaled))
        if response.status_code == httpx.codes.NOT_FOUND:
            raise InvalidError(f"{_WRONG}: {response.json()['message']}")
        response.raise_for_status()
        found: dict[str, Any] = response.json()
        return found

    async def ready(self, target: Object) -> int:
        """How many pods of a target are ready."""
        path = f"/api/v1/namespaces/{target['metadata']['namespace']}/pods"
        response = await self._client.get(path, params={"labelSelector": (target.get("status") or {}).get("selector", "")})
        response.raise_for_status()
        return sum(is_true(pod, "Ready") for pod in response.json()["items"])

    async def scale(self, scaled: Object, replicas: int) -> None:
        """Asks for so many replicas; a target that is gone needs none. Raises InvalidError for a kind there is none of."""
        headers = {"Content-Type": "application/merge-patch+json"}
        wanted = json.dumps({"spec": {"replicas": replicas}})
        response = await self._client.patch(await self._path(scaled), content=wanted, headers=headers)
        if response.status_code != httpx.codes.NOT_FOUND:
            response.raise_for_status()

    async def _path(self, scaled: Object) -> str:
        api_version, kind, name = objects.target_of(scaled)
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        if (api_version, kind) not in self._plurals:
            response = await self._client.get(base)
            resources = response.json().get("resources", []) if response.status_code == httpx.codes.OK else []
            plural = next((each["name"] for each in resources if each["kind"] == kind and "/" not in each["name"]), None)
            if plural is None:
                raise InvalidError(f'{_WRONG}: no matches for kind "{kind}" in version "{api_version}"')
            self._plurals[api_version, kind] = plural
        return f"{base}/namespaces/{scaled['metadata']['namespace']}/{self._plurals[api_version, kind]}/{name}/scale"
