"""What the External Secrets operator makes, and when. Pure."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sandbox.controllers.cluster import Object
from sandbox.controllers.conditions import is_true, now

MANAGED: Final = "reconcile.external-secrets.io/managed"
_CREATED_BY: Final = "reconcile.external-secrets.io/created-by"
_HASH: Final = "reconcile.external-secrets.io/data-hash"
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0}


def due(external: Object, secret: Object | None, moment: datetime) -> bool:
    """Whether the store is to be asked now: never before, not for its time, or the object or its Secret is another one."""
    status = external.get("status") or {}
    if not is_true(external, "Ready") or status.get("syncedResourceVersion") != synced_version(external):
        return True
    if secret is None or secret["metadata"].get("annotations", {}).get(_HASH) != _digest(secret.get("data") or {}):
        return True
    every = seconds(external["spec"].get("refreshInterval") or "1h")
    last = datetime.strptime(status["refreshTime"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return every > 0 and moment >= last + timedelta(seconds=every)


def seconds(duration: str) -> float:
    """A duration of Go, of hours, minutes and seconds."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)([hms])", duration))


def synced_version(external: Object) -> str:
    """What of an external secret has been looked at."""
    metadata = external["metadata"]
    rest = {key: metadata.get(key) or {} for key in ("labels", "annotations")}
    return f"{metadata['generation']}-{_digest(rest)[:16]}"


def secret_of(external: Object, data: Mapping[str, str]) -> dict[str, Any]:
    """The Secret of an external secret."""
    metadata, target = external["metadata"], external["spec"]["target"]
    template = target.get("template") or {}
    given = template.get("metadata") or {}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in sorted(data.items())}
    owner = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    by = hashlib.sha3_224(f"{metadata['namespace']}/{metadata['name']}".encode()).hexdigest()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": template.get("type") or "Opaque",
        "metadata": {
            "namespace": metadata["namespace"],
            "name": target["name"],
            "labels": {**(given.get("labels") or {}), MANAGED: "true", _CREATED_BY: by},
            "annotations": {**(given.get("annotations") or {}), _HASH: _digest(encoded)},
            "ownerReferences": [owner],
        },
        "data": encoded,
    }


def event(external: Object, reason: str, message: str) -> dict[str, Any]:
    """A warning about an external secret."""
    metadata, moment = external["metadata"], now()
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": "Warning",
        "reason": reason,
        "message": message[:1024],
        "source": {"component": "external-secrets"},
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha3_224(json.dumps(data, sort_keys=True).encode()).hexdigest()
