"""Every object somebody put into a cluster, as readable names: what a leak check compares."""

from collections.abc import Iterator
from typing import Any

from sandbox.control_plane.api import Api

OWN_LABEL = "sandbox.llm-platform/made-by-rehearsal"
"""Marks what the rehearsal itself puts into a cluster, so that it is nobody's leak."""

# What Kubernetes makes by itself for every namespace, Service, node, custom resource definition or event.
_SKIPPED_KINDS = {
    "Event",
    "Lease",
    "Endpoints",
    "EndpointSlice",
    "IPAddress",
    "APIService",
    "ComponentStatus",
    "ControllerRevision",
    "CSINode",
}
_SKIPPED_NAMES = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}


def objects_in(api: Api) -> Iterator[str]:
    """The objects with no owner, as `Deployment default/web`. Raises SandboxError with what the API server said."""
    for group_version in _group_versions(api):
        for resource in api.get(group_version)["resources"]:
            if "list" not in resource["verbs"] or "/" in resource["name"] or resource["kind"] in _SKIPPED_KINDS:
                continue
            for item in api.items(f"{group_version}/{resource['name']}"):
                metadata = item["metadata"]
                if _is_of_somebody(resource["kind"], metadata):
                    yield f"{resource['kind']} {'/'.join(filter(None, (metadata.get('namespace'), metadata['name'])))}"


def _group_versions(api: Api) -> list[str]:
    preferred = [group["preferredVersion"]["groupVersion"] for group in api.get("/apis")["groups"]]
    return ["/api/v1", *(f"/apis/{name}" for name in preferred)]


def _is_of_somebody(kind: str, metadata: dict[str, Any]) -> bool:
    return (
        not metadata.get("ownerReferences")
        and OWN_LABEL not in metadata.get("labels", {})
        and (kind, metadata["name"]) not in _SKIPPED_NAMES
    )
