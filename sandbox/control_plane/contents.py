"""Every object somebody put into a cluster, as readable names: what a leak check compares."""

from collections.abc import Iterator
from typing import Any

from sandbox.control_plane.api import Api
from sandbox.errors import SandboxError

OWN_LABEL = "sandbox.llm-platform/made-by-rehearsal"
"""Marks what the rehearsal itself puts into a cluster, so that it is nobody's leak."""

# What Kubernetes makes by itself for Services, nodes and events, or for every namespace, some of it a while after its start.
_OWN_KINDS = {"ComponentStatus", "ControllerRevision", "CSINode", "Endpoints", "EndpointSlice", "Event", "IPAddress", "Lease"}
_OWN_NAMES = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default"), ("ServiceCIDR", "kubernetes")}


def objects_in(api: Api) -> Iterator[str]:
    """The objects with no owner, as `Deployment default/web`. Raises SandboxError with what the API server said."""
    for path, kind in _collections(api):
        for item in api.items(path):
            if not _is_of_kubernetes(kind, item):
                metadata = item["metadata"]
                yield f"{kind} {'/'.join(filter(None, (metadata.get('namespace'), metadata['name'])))}"


def _collections(api: Api) -> Iterator[tuple[str, str]]:
    """The path and kind of everything that can be listed, each kind of a group once."""
    seen = set()
    for group, group_version in _group_versions(api):
        try:
            resources = api.get(group_version)["resources"]
        except SandboxError:
            continue  # served by an extension that is gone; its APIService is what is left
        for resource in resources:
            kind = (group, resource["kind"])
            if "list" in resource["verbs"] and kind not in seen and resource["kind"] not in _OWN_KINDS:
                seen.add(kind)
                yield f"{group_version}/{resource['name']}", resource["kind"]


def _group_versions(api: Api) -> Iterator[tuple[str, str]]:
    yield "", "/api/v1"
    for group in api.get("/apis")["groups"]:
        versions = [group["preferredVersion"], *group["versions"]]
        yield from dict.fromkeys((group["name"], f"/apis/{version['groupVersion']}") for version in versions)


def _is_of_kubernetes(kind: str, item: dict[str, Any]) -> bool:
    metadata = item["metadata"]
    named = (kind, metadata["name"])
    in_system = metadata.get("namespace") == "kube-system"
    marked = metadata.get("labels") or metadata.get("annotations")
    return bool(
        metadata.get("ownerReferences")
        or OWN_LABEL in metadata.get("labels", {})
        or named in _OWN_NAMES
        or (kind == "ServiceAccount" and in_system and not marked)  # of a controller, made when it starts
        or (kind == "APIService" and not item["spec"].get("service"))
        or (kind == "Service" and metadata.get("namespace") == "default" and metadata["name"] == "kubernetes")
    )
