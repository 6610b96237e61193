"""The Kubernetes objects of model caches. Pure functions; names of other objects may be outputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from ..pods import ENGINE_UID, NO_DEVICES, on_pool, resources, restricted_container
from ..types import NodePool
from . import layout

MODEL_ROOT = layout.MODEL_ROOT

_INSTALL_DIRECTORY = "install -d -m 0770 -o {uid} -g 0 {directory}"

ON_ONE_NODE, ON_MANY_NODES, READ_BY_MANY = "ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"

REPLACED = [
    "spec.capacity",
    "spec.accessModes",
    "spec.mountOptions",
    "spec.nodeAffinity",
    "spec.hostPath",
    "spec.csi",
    "spec.nfs",
]
"""Parts of a PersistentVolume with which it is another volume over the same data: claims cannot grow on a volume nobody
provisions, and the source of a volume is immutable."""


def volume_spec(access: str, size_gib: int, storage_class: str, mount_options: Sequence[str] = ()) -> dict[str, Any]:
    """What the specs of all our PersistentVolumes share. The data outlives the volume.

    `size_gib` is nominal (neither a directory nor a shared file system has a quota) but decides which claims fit. The class
    exists nowhere: it only keeps the claims of others away from this volume.
    """
    spec: dict[str, Any] = {
        "capacity": {"storage": f"{size_gib}Gi"},
        "accessModes": [access],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": storage_class,
        "volumeMode": "Filesystem",
    }
    return spec | ({"mountOptions": list(mount_options)} if mount_options else {})


def host_path_source(path: str, pool: NodePool) -> dict[str, Any]:
    """The part of a PersistentVolume's spec for a directory on the disk of the pool's node."""
    return {"hostPath": {"path": path, "type": "Directory"}, "nodeAffinity": {"required": pool.node_affinity()}}


def csi_source(driver: str, handle: pulumi.Input[str], attributes: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    """The part of a PersistentVolume's spec for a file system that a CSI driver mounts."""
    found = {"driver": driver, "volumeHandle": handle}
    return {"csi": found | ({"volumeAttributes": dict(attributes)} if attributes else {})}


def nfs_source(server: str, path: str) -> dict[str, Any]:
    """The part of a PersistentVolume's spec for a directory that an NFS server exports."""
    return {"nfs": {"server": server, "path": path}}


def claim_spec(
    access: str, size_gib: int, storage_class: pulumi.Input[str], volume_name: pulumi.Input[str] | None = None
) -> dict[str, Any]:
    """Spec of the claim of exactly that volume, or of one the class provisions."""
    spec: dict[str, Any] = {
        "accessModes": [access],
        "resources": {"requests": {"storage": f"{size_gib}Gi"}},
        "storageClassName": storage_class,
        "volumeMode": "Filesystem",
    }
    return spec | ({"volumeName": volume_name} if volume_name is not None else {})


def prepare_directory_job(path: str, image: str, pool: NodePool, pod_labels: Mapping[str, str]) -> dict[str, Any]:
    """Spec of the Job that makes the directory on the node, owned by the engine's user.

    The kubelet creates missing hostPath directories for root only, and `fsGroup` does not reach hostPath volumes. So one short
    root container, in a namespace that allows it, does this and nothing else.
    """
    parent, _, directory = path.rstrip("/").rpartition("/")
    volume = {"hostPath": {"path": parent or "/", "type": "DirectoryOrCreate"}}
    return _prepare_job(f"/host/{directory}", volume, image, pod_labels, on_pool(pool))


def prepare_root_job(claim_name: pulumi.Input[str], image: str, pod_labels: Mapping[str, str]) -> dict[str, Any]:
    """Spec of the Job that gives the root of a file system to the engine's user; a new one of Lustre is root's alone."""
    volume = {"persistentVolumeClaim": {"claimName": claim_name}}
    anywhere = {"automountServiceAccountToken": False, "enableServiceLinks": False}
    return _prepare_job("/host", volume, image, pod_labels, anywhere)


def _prepare_job(
    directory: str, volume: Mapping[str, Any], image: str, pod_labels: Mapping[str, str], placed: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "backoffLimit": 3,
        "template": {
            "metadata": {"labels": dict(pod_labels)},
            "spec": {
                "restartPolicy": "Never",
                **placed,
                "securityContext": {"runAsUser": 0, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {
                        "name": "prepare",
                        "image": image,
                        "command": _INSTALL_DIRECTORY.format(uid=ENGINE_UID, directory=directory).split(),
                        "env": [NO_DEVICES],
                        "securityContext": restricted_container()
                        | {"capabilities": {"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER"]}},
                        "resources": resources("100m", 64, 64),
                        "volumeMounts": [{"name": "parent", "mountPath": "/host"}],
                    }
                ],
                "volumes": [{"name": "parent", **volume}],
            },
        },
    }
