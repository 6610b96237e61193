"""What the containers of a namespace get when they say nothing, and what a namespace may take. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

_REQUEST = {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "256Mi"}
_LIMIT = {"memory": "1Gi", "ephemeral-storage": "2Gi"}
"""Small enough to be noticed by whoever forgot them. CPU has no limit: it would only throttle what nobody else uses."""

_COSTLY = ("services.loadbalancers", "services.nodeports")
"""Ways in from outside the cluster; a load balancer costs money beside."""


def default_resources() -> dict[str, Any]:
    """Spec of the LimitRange of a namespace. Containers that state their own resources keep them."""
    return {"limits": [{"type": "Container", "defaultRequest": _REQUEST, "default": _LIMIT}]}


def accelerator_quota(granted: Mapping[str, int], offered: Iterable[str]) -> dict[str, Any]:
    """Spec of the ResourceQuota of a namespace: so many of each accelerator, none of those the cluster offers beside.

    A quota counts only what it names, so a resource that is left out would be unlimited.
    """
    counts = {f"requests.{resource}": str(granted.get(resource, 0)) for resource in sorted({*granted, *offered})}
    return {"hard": counts | dict.fromkeys(_COSTLY, "0")}
