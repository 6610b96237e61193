"""The release of a chart that a controller belongs to."""

import base64
import json
from dataclasses import dataclass
from typing import Any, Final

import httpx

RELEASE: Final = "llm-platform.rehearsal/helm-release"
_NAMES_ONLY: Final = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}


@dataclass(frozen=True)
class Release:
    """Where a chart is installed, and with which values."""

    namespace: str
    values: dict[str, Any]


async def find(client: httpx.AsyncClient, chart: str) -> Release | None:
    """The release of a chart; None where there is none any more. Of others no more than the names is read."""
    response = await client.get("/api/v1/secrets", params={"labelSelector": f"{RELEASE}=true"}, headers=_NAMES_ONLY)
    response.raise_for_status()
    for each in response.json()["items"] or []:
        metadata = each["metadata"]
        if (metadata.get("annotations") or {}).get(f"{RELEASE}-chart", "").startswith(f"{chart}-"):
            record = await client.get(f"/api/v1/namespaces/{metadata['namespace']}/secrets/{metadata['name']}")
            record.raise_for_status()
            inputs = json.loads(base64.b64decode(record.json()["data"]["inputs.json"]))
            return Release(metadata["namespace"], inputs.get("values") or {})
    return None
