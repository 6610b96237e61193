"""Pieces that every pod of this platform shares. Pure functions over plain Kubernetes objects."""

from collections.abc import Mapping
from typing import Any

from .types import NodePool

ENGINE_HOME = "/home/vllm"
ENGINE_SCRATCH = {"tmp": "/tmp", "home": ENGINE_HOME}  # noqa: S108 - paths inside the container
"""Directories the engine's image writes to, by the name of their volume."""
PROMPTS_LOGGED = "llm-platform/prompts-logged"
"""Label of pods whose engine writes what people ask into its logs; the collector of logs passes on no others' requests."""

ENGINE_UID = 2000
"""User `vllm` of the engine image (vllm-project/vllm docker/Dockerfile); its group 0 owns what the image writes."""


NO_DEVICES = {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}
"""Environment of what runs in the engine's image and computes nothing: NVIDIA's runtime gives containers of such images every
device of the node unless told otherwise (NVIDIA/nvidia-container-toolkit, "GPU Enumeration")."""


def on_pool(pool: NodePool) -> dict[str, Any]:
    """Pod fields that put a pod on the nodes of a pool, without credentials or the environment of other Services.

    Service links would set VLLM_* variables that an engine reads as its own.
    """
    tolerations = pool.tolerations()
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": pool.node_affinity()}},
        # An empty list is not kept by the API server, so it would be a change for ever.
        **({"tolerations": tolerations} if tolerations else {}),
    }


def restricted_pod() -> dict[str, Any]:
    """Pod security context that meets Pod Security *restricted* with the stock engine image."""
    return {
        "runAsNonRoot": True,
        "runAsUser": ENGINE_UID,
        "runAsGroup": 0,
        "fsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def device_groups(pool: NodePool) -> dict[str, Any]:
    """What a pod security context needs beside for device files that only a group may open."""
    card = pool.accelerator
    return {"supplementalGroups": list(card.device_groups)} if card and card.device_groups else {}


def restricted_container() -> dict[str, Any]:
    """Container security context that meets Pod Security *restricted*; the root file system is read-only on top."""
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def resources(cpu: str, memory_mib: int, disk_mib: int, extended: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Requests and limits, equal but for CPU: that has no limit, since throttling would only add latency.

    `disk_mib` is what the pod may write to its scratch directories and logs on the node's own disk.
    """
    fixed = {"memory": f"{memory_mib}Mi", "ephemeral-storage": f"{disk_mib}Mi"}
    fixed |= {key: str(count) for key, count in (extended or {}).items()}
    return {"requests": {"cpu": cpu} | fixed, "limits": fixed}


def scratch(mounts: Mapping[str, str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Writable directories of a pod with a read-only root: volumes and mounts for `{name: path}`."""
    return (
        [{"name": name, "emptyDir": {}} for name in mounts],
        [{"name": name, "mountPath": path} for name, path in mounts.items()],
    )
