"""Emptying a node as `kubectl drain` and managed node groups do: no new pods, evictions, then what is left by force."""

import time
from typing import Any

from sandbox.control_plane.api import Api

_POLL_S = 0.2


def pods_on(api: Api, node: str) -> list[dict[str, Any]]:
    """The pods bound to a node. Raises SandboxError with what the API server said."""
    return api.items("/api/v1/pods", fields=f"spec.nodeName={node}")


def evict_all(api: Api, node: str, within_s: float) -> list[str]:
    """Evicts every pod of a node but those of DaemonSets, and waits until they are gone.

    Disruption budgets are honoured: returns the pods (namespace/name) still there after `within_s` seconds, none when all went.
    Raises SandboxError with what the API server said.
    """
    deadline = time.monotonic() + within_s
    while left := [pod for pod in pods_on(api, node) if not _is_of_daemon_set(pod)]:
        if time.monotonic() > deadline:
            return [f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in left]
        for pod in left:
            if "deletionTimestamp" not in pod["metadata"]:
                api.evict(pod["metadata"]["namespace"], pod["metadata"]["name"])
        time.sleep(_POLL_S)
    return []


def delete_all(api: Api, node: str) -> None:
    """Deletes every pod of a node at once, as when the machine is gone. Raises SandboxError with what the API server said."""
    for pod in pods_on(api, node):
        api.delete(f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}", grace_s=0)


def _is_of_daemon_set(pod: dict[str, Any]) -> bool:
    return any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", []))
