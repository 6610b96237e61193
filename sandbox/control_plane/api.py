"""The few calls the sandbox itself makes to the API server."""

import json
from collections.abc import Collection, Mapping
from typing import Any

import httpx

from sandbox.control_plane.pki import Pki
from sandbox.errors import SandboxError


class Api:
    """A connection to one API server as one identity; close it by leaving the `with` block."""

    def __init__(self, server: str, pki: Pki, user: str, timeout_s: float = 30.0) -> None:
        """Connects when first used; `timeout_s` holds for each call."""
        # trust_env=False: a proxy of the user's environment cannot reach loopback.
        self._client = httpx.Client(base_url=server, verify=pki.tls_context(user), timeout=timeout_s, trust_env=False)

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def is_there(self, path: str) -> bool:
        """Whether `GET path` succeeds; False as well while the server cannot be reached or does not let us in."""
        try:
            return self._client.get(path).is_success
        except httpx.HTTPError:
            return False

    def version(self) -> str:
        """The version the server says it is, e.g. v1.36.3."""
        return str(self._call("GET", "/version")["gitVersion"])

    def get(self, path: str) -> dict[str, Any]:
        """What `GET path` returns.

        Raises SandboxError with what the server said.
        """
        return self._call("GET", path)

    def items(self, path: str, selector: str = "", fields: str = "") -> list[dict[str, Any]]:
        """The objects of the collection at `path` with these labels and fields.

        Raises SandboxError with what the server said.
        """
        answer = self._call("GET", path, params={"labelSelector": selector, "fieldSelector": fields})
        return list(answer["items"])

    def apply(self, path: str, manifest: Mapping[str, Any]) -> None:
        """Server-side apply: the fields of `manifest` become so, and those applied before and not now are removed.

        Raises SandboxError with what the server said.
        """
        self._call(
            "PATCH",
            path,
            params={"fieldManager": "sandbox", "force": "true"},
            content=json.dumps(manifest),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )

    def patch(self, path: str, change: Mapping[str, Any]) -> None:
        """Changes the fields in `change` and no other (a JSON merge patch): None takes one away.

        Raises SandboxError with what the server said.
        """
        self._call("PATCH", path, content=json.dumps(change), headers={"Content-Type": "application/merge-patch+json"})

    def delete(self, path: str, grace_s: int | None = None) -> None:
        """Deletes the object at `path`; it may be gone already. `grace_s` replaces the grace period it asks for.

        Raises SandboxError with what the server said.
        """
        self._call("DELETE", path, (httpx.codes.NOT_FOUND,), params={} if grace_s is None else {"gracePeriodSeconds": grace_s})

    def evict(self, namespace: str, pod: str) -> None:
        """Asks for a pod to go; a disruption budget may forbid it for now, and it may be gone already.

        Raises SandboxError with what the server said otherwise.
        """
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        allowed = (httpx.codes.NOT_FOUND, httpx.codes.TOO_MANY_REQUESTS)
        self._call("POST", f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", allowed, json=body)

    def _call(self, method: str, path: str, allowed: Collection[int] = (), **request: Any) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, **request)
        except httpx.HTTPError as error:
            raise SandboxError(f"the API server at {self._client.base_url} does not answer: {error}") from error
        answer: dict[str, Any] = response.json()
        if response.is_success or response.status_code in allowed:
            return answer
        raise SandboxError(f"the API server refused {method} {path}: {answer.get('message', response.status_code)}")
