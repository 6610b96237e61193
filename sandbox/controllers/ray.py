"""KubeRay's controllers of RayServices and their RayClusters: a head, its workers, and Services that move to a new cluster.

They follow ray-project/kuberay ray-operator v1.6.1 (controllers/ray). No Ray runs here, so Ray Serve counts as running its
applications once every pod of the cluster is ready. Nothing is kept but the time an old cluster still has.
"""

import secrets
import time
from typing import Any, Final

import httpx

from sandbox.controllers import ray_objects as objects
from sandbox.controllers.cluster import Cluster, Object
from sandbox.controllers.conditions import is_true, now, settled
from sandbox.controllers.ray_objects import CLUSTER, GROUP, HASH, NODE_TYPE, SERVE, SERVICE, name_of

_RAY: Final = "/apis/ray.io/v1"
_COLLECTIONS: Final = {
    "rayservices": (f"{_RAY}/rayservices", ""),
    "rayclusters": (f"{_RAY}/rayclusters", ""),
    "pods": ("/api/v1/pods", CLUSTER),
    "services": ("/api/v1/services", ""),
    "slices": ("/apis/discovery.k8s.io/v1/endpointslices", SERVICE),
}
_OLD_CLUSTER_S: Final = 60
"""How long a cluster that serves no more stays, unless the RayService says otherwise."""


async def control(client: httpx.AsyncClient) -> None:
    """Works for ever."""
    cluster = Cluster(client, _COLLECTIONS)
    await cluster.run(_Controller(cluster).step)


class _Controller:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._delete_at: dict[str, float] = {}
        self._with_token: set[str] = set()

    async def step(self) -> None:
        """Looks once at every service and cluster, and does what is to be done now."""
        for service in _staying(self._cluster.all("rayservices")):
            await self._service(service)
        for cluster in _staying(self._cluster.all("rayclusters")):
            await self._pods(cluster)
            await self._tell_cluster(cluster)

    async def _service(self, service: Object) -> None:
        status = service.get("status") or {}
        active = (status.get("activeServiceStatus") or {}).get("rayClusterName", "")
        pending = (status.get("pendingServiceStatus") or {}).get("rayClusterName", "")
        await self._remove_old(service, {active, pending})
        clusters = {name: self._find("rayclusters", service, name) for name in (active, pending) if name}
        if pending and clusters[pending] is None:
            path = f"{_RAY}/namespaces/{service['metadata']['namespace']}/rayclusters"
            await self._cluster.create("rayclusters", path, objects.ray_cluster(service, pending))
            return
        newest = clusters.get(pending) or clusters.get(active)
        running = newest is not None and self._runs(newest) and bool(objects.applications(service))
        if newest is not None:
            await self._label_head(newest, serves=running)
        if newest is not None and running:
            await self._point_services(service, newest)
            active, pending = name_of(newest), ""
        if newest is None or _is_outdated(service, newest):
            pending = f"{name_of(service)}-{secrets.token_hex(3)[:5]}"
        await self._tell_service(service, active, pending, running=running)

    async def _remove_old(self, service: Object, in_use: set[str]) -> None:
        for cluster in _staying(self._cluster.all("rayclusters", service["metadata"]["namespace"])):
            name, uid = name_of(cluster), cluster["metadata"]["uid"]
            if _label(cluster, SERVICE) != name_of(service) or name in in_use:
                continue
            wait = service["spec"].get("rayClusterDeletionDelaySeconds", _OLD_CLUSTER_S)
            if time.monotonic() >= self._delete_at.setdefault(uid, time.monotonic() + wait):
                await self._cluster.delete(f"{_RAY}/namespaces/{cluster['metadata']['namespace']}/rayclusters/{name}", uid)

    async def _label_head(self, cluster: Object, *, serves: bool) -> None:
        text = "true" if serves else "false"
        for head in self._members(cluster, "head"):
            if _label(head, SERVE) != text:
                path = f"/api/v1/namespaces/{head['metadata']['namespace']}/pods/{name_of(head)}"
                await self._cluster.merge("pods", path, {"metadata": {"labels": {SERVE: text}}})

    async def _point_services(self, service: Object, cluster: Object) -> None:
        for wanted in objects.services(service, cluster):
            found = self._find("services", service, name_of(wanted))
            if found is None or found["spec"]["selector"].get(CLUSTER) != name_of(cluster):
                path = f"/api/v1/namespaces/{service['metadata']['namespace']}/services/{name_of(wanted)}"
                await self._cluster.apply("services", path, wanted)

    async def _tell_service(self, service: Object, active: str, pending: str, *, running: bool) -> None:
        before = service.get("status") or {}
        endpoints = {
            endpoint["targetRef"]["uid"]
            for each in self._cluster.all("slices", service["metadata"]["namespace"])
            if _label(each, "kubernetes.io/service-name") == f"{name_of(service)}-serve-svc"
            for endpoint in each.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready") and endpoint.get("targetRef")
        }
        state = "RUNNING" if running else "DEPLOYING"
        apps = {name: {"status": state} for name in objects.applications(service)}
        status: dict[str, Any] = {
            "observedGeneration": service["metadata"]["generation"],
            "numServeEndpoints": len(endpoints),
            "serviceStatus": "Running" if endpoints else "",
            "activeServiceStatus": {"rayClusterName": active, "applicationStatuses": apps if not pending else None},
            "pendingServiceStatus": {"rayClusterName": pending, "applicationStatuses": apps if pending else None},
        }
        ready = _ready(service, bool(endpoints))
        upgrade = (
            ("True", "BothActivePendingClustersExist", "Both active and pending Ray clusters exist")
            if active and pending
            else ("False", "NoPendingCluster", "Active Ray cluster exists and no pending Ray cluster")
            if active
            else ("False", "Initializing", "RayService is initializing")
        )
        conditions = {"Ready": ready, "UpgradeInProgress": upgrade}
        status["conditions"] = settled(before.get("conditions") or [], conditions, service["metadata"]["generation"])
        if _differs(before, status):
            path = f"{_RAY}/namespaces/{service['metadata']['namespace']}/rayservices/{name_of(service)}/status"
            await self._cluster.merge("rayservices", path, {"status": status | {"lastUpdateTime": now()}})

    async def _pods(self, cluster: Object) -> None:
        namespace, uid = cluster["metadata"]["namespace"], cluster["metadata"]["uid"]
        if uid not in self._with_token and (secret := objects.token(cluster, secrets.token_urlsafe(32))):
            await self._cluster.create("", f"/api/v1/namespaces/{namespace}/secrets", secret)
            self._with_token.add(uid)
        head_service = objects.head_service(cluster)
        if self._find("services", cluster, name_of(head_service)) is None:
            await self._cluster.create("services", f"/api/v1/namespaces/{namespace}/services", head_service)
        heads = self._members(cluster, "head")
        await self._keep(heads, 1, objects.head_pod(cluster))
        for group in cluster["spec"].get("workerGroupSpecs") or []:
            workers = [pod for pod in self._members(cluster, "worker") if _label(pod, GROUP) == group["groupName"]]
            await self._keep(workers, _hosts(group), objects.worker_pod(cluster, group))

    async def _keep(self, pods: list[dict[str, Any]], count: int, wanted: Object) -> None:
        """Makes as many pods as there are to be, and deletes those that have ended or are too many."""
        path = f"/api/v1/namespaces/{wanted['metadata']['namespace']}/pods"
        live = [pod for pod in _staying(pods) if pod["status"].get("phase") not in ("Failed", "Succeeded")]
        for pod in [*(each for each in _staying(pods) if each not in live), *live[count:]]:
            await self._cluster.delete(f"{path}/{name_of(pod)}", pod["metadata"]["uid"])
        for _ in range(count - len(pods)):
            await self._cluster.create("pods", path, wanted)

    async def _tell_cluster(self, cluster: Object) -> None:
        before = cluster.get("status") or {}
        heads, workers = self._members(cluster, "head"), self._members(cluster, "worker")
        desired = sum(map(_hosts, cluster["spec"].get("workerGroupSpecs") or []))
        complete = self._runs(cluster)
        head_ready = any(is_true(pod, "Ready") for pod in heads)
        provisioned = complete or is_true(cluster, "RayClusterProvisioned")
        conditions = {
            "HeadPodReady": ("True", "HeadPodRunningAndReady", "") if head_ready else ("False", "HeadPodNotReady", ""),
            "RayClusterProvisioned": ("True", "AllPodRunningAndReadyFirstTime", "All Ray Pods are ready for the first time")
            if provisioned
            else ("False", "RayClusterPodsProvisioning", "RayCluster Pods are being provisioned for first time"),
        }
        status: dict[str, Any] = {
            "observedGeneration": cluster["metadata"]["generation"],
            "desiredWorkerReplicas": desired,
            "readyWorkerReplicas": sum(is_true(pod, "Ready") for pod in workers),
            "conditions": settled(before.get("conditions") or [], conditions, cluster["metadata"]["generation"]),
        }
        if heads:
            head = {"podName": name_of(heads[0]), "podIP": heads[0]["status"].get("podIP", "")}
            status["head"] = head | {"serviceName": f"{name_of(cluster)}-head-svc"}
        if complete:
            status["state"] = "ready"
        if _differs(before, status):
            path = f"{_RAY}/namespaces/{cluster['metadata']['namespace']}/rayclusters/{name_of(cluster)}/status"
            await self._cluster.merge("rayclusters", path, {"status": status})

    def _runs(self, cluster: Object) -> bool:
        """Whether every pod of a cluster is there and ready."""
        wanted = 1 + sum(map(_hosts, cluster["spec"].get("workerGroupSpecs") or []))
        pods = [*self._members(cluster, "head"), *self._members(cluster, "worker")]
        return len(pods) == wanted and all(is_true(pod, "Ready") for pod in pods)

    def _members(self, cluster: Object, kind: str) -> list[dict[str, Any]]:
        pods = self._cluster.all("pods", cluster["metadata"]["namespace"])
        return [pod for pod in pods if _label(pod, CLUSTER) == name_of(cluster) and _label(pod, NODE_TYPE) == kind]

    def _find(self, collection: str, beside: Object, name: str) -> dict[str, Any] | None:
        return self._cluster.find(collection, beside["metadata"]["namespace"], name)


def _staying(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in found if "deletionTimestamp" not in each["metadata"]]


def _label(obj: Object, name: str) -> str:
    return str((obj["metadata"].get("labels") or {}).get(name, ""))


def _hosts(group: Object) -> int:
    return int(group.get("replicas", 0)) * int(group.get("numOfHosts", 1))


def _is_outdated(service: Object, cluster: Object) -> bool:
    """Whether a new cluster is to take the place of this one."""
    if (service["spec"].get("upgradeStrategy") or {}).get("type") == "None":
        return False
    return bool(cluster["metadata"]["annotations"].get(HASH) != objects.spec_hash(service))


def _ready(service: Object, serves: bool) -> tuple[str, str, str]:
    if serves:
        return "True", "NonZeroServeEndpoints", "Number of serve endpoints is greater than 0"
    before = (service.get("status") or {}).get("conditions") or []
    if any(each["type"] == "Ready" and each["reason"] != "Initializing" for each in before):
        return "False", "ZeroServeEndpoints", "Number of serve endpoints dropped to 0"
    return "False", "Initializing", "RayService is initializing"


def _differs(before: Object, wanted: Object) -> bool:
    """Whether a merge of this status would change it."""
    for field, value in wanted.items():
        if isinstance(value, dict):
            if _differs(before.get(field) or {}, value):
                return True
        elif before.get(field) != value and not (value in (None, "") and field not in before):
            return True
    return False
