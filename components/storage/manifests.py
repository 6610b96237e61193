"""The Kubernetes objects of the model cache and the download. Pure functions; names of other objects may be outputs."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components.pods import (
    ENGINE_HOME,
    ENGINE_SCRATCH,
    ENGINE_UID,
    on_pool,
    resources,
    restricted_container,
    restricted_pod,
    scratch,
)
from components.types import NodePool

MODEL_ROOT = "/models"
"""Where every pod mounts a model cache."""

DOWNLOAD_PATTERNS = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")
"""Weights, configuration and tokenizer. Pickled weights and Python files run code when loaded, so they are never fetched."""

_INSTALL_DIRECTORY = "install -d -m 0770 -o {uid} -g 0 {directory}"


def model_directory(source: str, revision: str) -> str:
    """Directory of one revision of a model below `MODEL_ROOT`; another revision never overwrites it."""
    return f"{MODEL_ROOT}/{source.replace('/', '--')}/{revision}"


ON_ONE_NODE, ON_MANY_NODES = "ReadWriteOnce", "ReadWriteMany"


def volume_spec(access: str, size_gib: int, storage_class: str) -> dict[str, Any]:
    """What the specs of all our PersistentVolumes share. The data outlives the volume.

    `size_gib` is nominal (neither a directory nor a shared file system has a quota) but decides which claims fit. The class
    exists nowhere: it only keeps the claims of others away from this volume.
    """
    return {
        "capacity": {"storage": f"{size_gib}Gi"},
        "accessModes": [access],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": storage_class,
        "volumeMode": "Filesystem",
    }


def host_path_source(path: str, pool: NodePool) -> dict[str, Any]:
    """The part of a PersistentVolume's spec for a directory on the disk of the pool's node."""
    return {"hostPath": {"path": path, "type": "Directory"}, "nodeAffinity": {"required": pool.node_affinity()}}


def csi_source(driver: str, handle: pulumi.Input[str], attributes: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    """The part of a PersistentVolume's spec for a file system that a CSI driver mounts."""
    found = {"driver": driver, "volumeHandle": handle}
    return {"csi": found | ({"volumeAttributes": dict(attributes)} if attributes else {})}


def claim_spec(volume_name: pulumi.Input[str], access: str, size_gib: int, storage_class: str) -> dict[str, Any]:
    """Spec of the claim of exactly that volume."""
    return {
        "accessModes": [access],
        "resources": {"requests": {"storage": f"{size_gib}Gi"}},
        "storageClassName": storage_class,
        "volumeMode": "Filesystem",
        "volumeName": volume_name,
    }


def prepare_job(path: str, image: str, pool: NodePool, pod_labels: Mapping[str, str]) -> dict[str, Any]:
    """Spec of the Job that makes the directory on the node, owned by the engine's user.

    The kubelet creates missing hostPath directories for root only, and `fsGroup` does not reach hostPath volumes. So one short
    root container, in a namespace that allows it, does this and nothing else.
    """
    parent, _, directory = path.rstrip("/").rpartition("/")
    mounted = f"/host/{directory}"
    return {
        "backoffLimit": 3,
        "template": {
            "metadata": {"labels": dict(pod_labels)},
            "spec": {
                "restartPolicy": "Never",
                **on_pool(pool),
                "securityContext": {"runAsUser": 0, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {
                        "name": "prepare",
                        "image": image,
                        "command": _INSTALL_DIRECTORY.format(uid=ENGINE_UID, directory=mounted).split(),
                        "securityContext": restricted_container()
                        | {"capabilities": {"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER"]}},
                        "resources": resources("100m", 64, 64),
                        "volumeMounts": [{"name": "parent", "mountPath": "/host"}],
                    }
                ],
                "volumes": [{"name": "parent", "hostPath": {"path": parent or "/", "type": "DirectoryOrCreate"}}],
            },
        },
    }


def download_job(
    *,
    source: str,
    revision: str,
    image: str,
    claim_name: pulumi.Input[str],
    service_account: pulumi.Input[str],
    pool: NodePool,
    pod_labels: Mapping[str, str],
) -> dict[str, Any]:
    """Spec of the Job that fetches one pinned revision into the cache. It runs in the engine's image: the node needs that anyway.

    An interrupted download resumes: finished files are kept in the cache and checked by their hash.
    """
    volumes, mounts = scratch(ENGINE_SCRATCH)
    include = [word for pattern in DOWNLOAD_PATTERNS for word in ("--include", pattern)]
    return {
        "backoffLimit": 6,
        "template": {
            "metadata": {"labels": dict(pod_labels)},
            "spec": {
                "restartPolicy": "OnFailure",
                "serviceAccountName": service_account,
                **on_pool(pool),
                "securityContext": restricted_pod(),
                "containers": [
                    {
                        "name": "download",
                        "image": image,
                        "command": ["hf", "download", source],
                        "args": ["--revision", revision, "--local-dir", model_directory(source, revision), *include],
                        "env": [
                            {"name": "HOME", "value": ENGINE_HOME},
                            {"name": "HF_HUB_DISABLE_TELEMETRY", "value": "1"},
                        ],
                        "securityContext": restricted_container(),
                        "resources": resources("1", 4096, 1024),
                        "volumeMounts": [{"name": "models", "mountPath": MODEL_ROOT}, *mounts],
                    }
                ],
                "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": claim_name}}, *volumes],
            },
        },
    }
