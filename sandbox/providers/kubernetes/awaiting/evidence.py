"""What has to be read beside an object: to judge it, to be told of its changes, to explain why it is not ready."""

from collections.abc import Mapping
from typing import Final

from sandbox.providers.kubernetes.awaiting.reasons import Evidence
from sandbox.providers.kubernetes.client import ApiError, Cluster, Kind
from sandbox.providers.kubernetes.objects import Object, Type, metadata, name_of, namespace_of
from sandbox.providers.properties import lookup

_SLICES: Final = Type("discovery.k8s.io/v1", "EndpointSlice")
_CLASSES: Final = Type("storage.k8s.io/v1", "StorageClass")
_REPLICA_SETS: Final = Type("apps/v1", "ReplicaSet")
_PODS: Final = Type("v1", "Pod")
_CLAIMS: Final = Type("v1", "PersistentVolumeClaim")
_EVENTS: Final = Type("v1", "Event")

Watched = tuple[str, Mapping[str, str]]  # the path of a collection, and selectors


async def facts(cluster: Cluster, live: Object) -> dict[str, list[Object]]:
    """What the rule of this kind needs to know."""
    match live.get("kind"):
        case "Service" if lookup(live, ("spec", "selector")):
            return {"endpoints": await cluster.list(_SLICES, namespace_of(live), labelSelector=_of_service(live))}
        case "PersistentVolumeClaim" if lookup(live, ("status", "phase")) != "Bound":
            return {"classes": await cluster.list(_CLASSES, "")}
    return {}


async def watched(cluster: Cluster, kind: Kind, live: Object) -> list[Watched]:
    """The collections (path, selectors) whose changes may change the verdict; the object itself is the first."""
    own = (kind.collection(namespace_of(live)), {"fieldSelector": f"metadata.name={name_of(live)}"})
    slices = await cluster.kind(_SLICES) if live.get("kind") == "Service" else None
    if slices is None:
        return [own]
    return [own, (slices.collection(namespace_of(live)), {"labelSelector": _of_service(live)})]


async def gather(cluster: Cluster, live: Object) -> Evidence:
    """Pods, claims, ReplicaSets and warnings around an object; what may not be read is left out."""
    namespace = namespace_of(live)
    if not namespace:
        return Evidence()
    try:
        pods = await _pods(cluster, live)
        owners = []
        if live.get("kind") == "Deployment":
            sets = await cluster.list(_REPLICA_SETS, namespace, labelSelector=_selector(live))
            owners = [item for item in sets if _owned_by(item, live)]
            newest = max(owners, key=_revision, default=None)
            pods = [pod for pod in pods if newest is None or _owned_by(pod, newest)]
        names = {
            lookup(volume, ("persistentVolumeClaim", "claimName"))
            for pod in pods
            for volume in lookup(pod, ("spec", "volumes")) or []
        }
        claims = [claim for claim in await cluster.list(_CLAIMS, namespace) if name_of(claim) in names] if names - {None} else []
        events = await cluster.list(_EVENTS, namespace, fieldSelector="type=Warning")
        since = str(metadata(live).get("creationTimestamp") or "")
        recent = [event for event in events if _seen(event) >= since]
        return Evidence(pods, claims, owners, sorted(recent, key=_seen))
    except ApiError:
        return Evidence()


async def _pods(cluster: Cluster, live: Object) -> list[Object]:
    if live.get("kind") == "Pod":
        return [live]
    selector = _selector(live)
    return await cluster.list(_PODS, namespace_of(live), labelSelector=selector) if selector else []


def _selector(live: Object) -> str:
    match live.get("kind"):
        case "LeaderWorkerSet":
            return f"leaderworkerset.sigs.k8s.io/name={name_of(live)}"
        case "RayService":
            newest = [lookup(live, ("status", f"{which}ServiceStatus", "rayClusterName")) for which in ("pending", "active")]
            return next((f"ray.io/cluster={name}" for name in newest if name), "")
    selector = lookup(live, ("spec", "selector"))
    if not isinstance(selector, dict):
        return ""
    labels = selector if live.get("kind") == "Service" else selector.get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _of_service(live: Object) -> str:
    return f"kubernetes.io/service-name={name_of(live)}"


def _owned_by(obj: Object, owner: Object) -> bool:
    uid = metadata(owner).get("uid")
    return any(entry.get("uid") == uid for entry in metadata(obj).get("ownerReferences") or [])


def _revision(replica_set: Object) -> int:
    return int(lookup(replica_set, ("metadata", "annotations", "deployment.kubernetes.io/revision")) or 0)


def _seen(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or metadata(event).get("creationTimestamp") or "")
