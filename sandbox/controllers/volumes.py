"""The drivers of storage classes: a claim that waits gets a volume, and a volume that is given back goes.

The part of a CSI driver and its sidecars that the control plane sees (kubernetes-csi/external-provisioner, external-resizer). The
real controller-manager binds, and decides when a volume is released; nothing is ever stored.
"""

from typing import Any, Final

import httpx

from components.quantities import quantity
from sandbox.controllers.cluster import Cluster, Object

_COLLECTIONS: Final = {
    "classes": ("/apis/storage.k8s.io/v1/storageclasses", ""),
    "claims": ("/api/v1/persistentvolumeclaims", ""),
    "volumes": ("/api/v1/persistentvolumes", ""),
    "nodes": ("/api/v1/nodes", ""),
}
_NOBODY: Final = "kubernetes.io/no-provisioner"
_PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
_SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
_ON_ONE_NODE: Final = frozenset({"rancher.io/local-path"})
"""Drivers whose volumes are directories of the node; those of the others can be reached from the node's whole zone."""
_ZONE, _HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"


async def control(client: httpx.AsyncClient) -> None:
    """Works for ever."""
    cluster = Cluster(client, _COLLECTIONS)
    await cluster.run(_Drivers(cluster).step)


class _Drivers:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def step(self) -> None:
        classes = {found["metadata"]["name"]: found for found in self._cluster.all("classes")}
        volumes = {found["metadata"]["name"]: found for found in self._cluster.all("volumes")}
        for claim in self._cluster.all("claims"):
            of = classes.get(claim["spec"].get("storageClassName"))
            if of is None or of["provisioner"] == _NOBODY:
                continue
            volume = volumes.get(claim["spec"].get("volumeName") or _name(claim))
            if volume is None:
                await self._provision(claim, of)
            elif _grown(claim, volume):
                await self._grow(claim, volume)
        for volume in volumes.values():
            if _given_back(volume):
                await self._cluster.delete(f"/api/v1/persistentvolumes/{volume['metadata']['name']}", volume["metadata"]["uid"])

    async def _provision(self, claim: Object, of: Object) -> None:
        chosen = claim["metadata"].get("annotations", {}).get(_SELECTED_NODE)
        if claim["spec"].get("volumeName") or "deletionTimestamp" in claim["metadata"]:
            return
        if chosen is None and of.get("volumeBindingMode") == "WaitForFirstConsumer":
            return  # the scheduler has not said where
        node = self._cluster.find("nodes", "", chosen) if chosen else None
        await self._cluster.create("volumes", "/api/v1/persistentvolumes", volume_for(claim, of, node))

    async def _grow(self, claim: Object, volume: Object) -> None:
        size = {"storage": claim["spec"]["resources"]["requests"]["storage"]}
        where = f"/api/v1/namespaces/{claim['metadata']['namespace']}/persistentvolumeclaims/{claim['metadata']['name']}/status"
        await self._cluster.merge(
            "volumes", f"/api/v1/persistentvolumes/{volume['metadata']['name']}", {"spec": {"capacity": size}}
        )
        await self._cluster.merge("claims", where, {"status": {"capacity": size}})


def volume_for(claim: Object, of: Object, node: Object | None) -> dict[str, Any]:
    """The volume a driver makes for a claim of class `of`, where `node` can reach it."""
    driver, metadata, spec = of["provisioner"], claim["metadata"], claim["spec"]
    volume: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": _name(claim),
            "annotations": {_PROVISIONED_BY: driver},
        },
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": spec.get("volumeMode", "Filesystem"),
            "storageClassName": of["metadata"]["name"],
            "persistentVolumeReclaimPolicy": of.get("reclaimPolicy", "Delete"),
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            **_source(claim, driver),
        },
    }
    if options := of.get("mountOptions"):
        volume["spec"]["mountOptions"] = options
    key = _HOST if driver in _ON_ONE_NODE else _ZONE
    where = node["metadata"].get("labels", {}).get(key) if node else None
    if where:
        term = {"matchExpressions": [{"key": key, "operator": "In", "values": [where]}]}
        volume["spec"]["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
    return volume


def _source(claim: Object, driver: str) -> dict[str, Any]:
    """Where a volume is (rancher/local-path-provisioner, provisioner.go, for directories of a node)."""
    if driver in _ON_ONE_NODE:
        metadata = claim["metadata"]
        path = f"/opt/local-path-provisioner/{_name(claim)}_{metadata['namespace']}_{metadata['name']}"
        return {"hostPath": {"path": path, "type": "DirectoryOrCreate"}}
    return {"csi": {"driver": driver, "volumeHandle": _name(claim)}}


def _name(claim: Object) -> str:
    return f"pvc-{claim['metadata']['uid']}"


def _grown(claim: Object, volume: Object) -> bool:
    wanted = quantity(claim["spec"]["resources"]["requests"]["storage"])
    return claim.get("status", {}).get("phase") == "Bound" and wanted > quantity(volume["spec"]["capacity"]["storage"])


def _given_back(volume: Object) -> bool:
    return (
        _PROVISIONED_BY in volume["metadata"].get("annotations", {})
        and volume.get("status", {}).get("phase") == "Released"
        and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        and "deletionTimestamp" not in volume["metadata"]
    )
