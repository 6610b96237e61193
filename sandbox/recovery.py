"""What an engine that was killed leaves behind: a lock, and creations nobody knows the end of.

A lock whose process is gone is removed. A creation that was under way is looked up in the cluster: an object that is there and
was made by Pulumi is taken into the state, so that the next `up` finds it instead of making another; one that is not there is
forgotten.
"""

import asyncio
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from pulumi import automation

from sandbox import recorded
from sandbox.errors import SandboxError
from sandbox.project import Project
from sandbox.providers.kubernetes.client import Cluster, parse_kubeconfig
from sandbox.providers.kubernetes.objects import Type

_MANAGER = "pulumi-kubernetes"
"""How the field managers of the Kubernetes provider begin, the official one's and the emulation's."""


def recover(stack: automation.Stack, project: Project, kubeconfigs: Sequence[Path], output: Callable[[str], Any]) -> None:
    """Make the recorded state whole again. Raises SandboxError when another engine really is at work.

    What was being made in AWS is forgotten here: the emulated account remembers it, and answers whoever asks again.
    """
    _remove_dead_lock(stack, project.state)
    if not recorded.deployment(project.checkpoint(stack.name)).get("pending_operations"):
        return
    exported = stack.export_stack()
    deployment = dict(exported.deployment or {})
    pending = deployment.pop("pending_operations", None) or []
    creations = [operation["resource"] for operation in pending if operation["type"] == "creating"]
    if not creations:
        return
    objects = [resource for resource in creations if str(resource["type"]).startswith("kubernetes:")]
    found = [resource for file in kubeconfigs for resource in asyncio.run(_find(objects, file.read_text()))]
    if objects:
        output(f"an earlier run was interrupted: {len(found)} of the {len(objects)} objects it was making are there, taken over")
    # What was to take another's place is there now, so the other one is to go, as the engine notes it between the two.
    taken = {resource["urn"] for resource in found}
    before = [resource | ({"delete": True} if resource["urn"] in taken else {}) for resource in deployment.get("resources", [])]
    # The engine's own `refresh --import-pending-creates` (3.259.0) drops what it is told to import.
    deployment["resources"] = [*before, *found]
    stack.import_stack(automation.Deployment(version=exported.version, deployment=deployment))
    stack.refresh(suppress_outputs=True)


def restore_checkpoint(checkpoint: Path) -> None:
    """Put the last whole checkpoint in the place of one that was being written when the engine was killed.

    The engine writes the beginning of an operation before it begins, so the checkpoint before this one names whatever was made.
    """
    backup = checkpoint.with_name(f"{checkpoint.name}.bak")
    for file in (checkpoint, backup):
        # What the storage library notes beside each file; without it the file is read all the same.
        notes = file.with_name(f"{file.name}.attrs")
        if notes.exists() and not _is_whole(notes):
            notes.unlink()
    if not checkpoint.exists() or _is_whole(checkpoint):
        return
    if backup.exists() and _is_whole(backup):
        shutil.copy(backup, checkpoint)
    else:
        checkpoint.unlink()


def _is_whole(file: Path) -> bool:
    try:
        json.loads(file.read_text())
    except ValueError:
        return False
    return True


def _remove_dead_lock(stack: automation.Stack, state: Path) -> None:
    for lock in state.glob(f".pulumi/locks/**/{stack.name}/*.json"):
        pid = json.loads(lock.read_text()).get("pid", 0)
        if pid and psutil.pid_exists(pid) and "pulumi" in psutil.Process(pid).name():
            raise SandboxError(
                f"an engine (process {pid}) still works on the stack {stack.name}; "
                f"wait until it ends, or end it with `kill {pid}`"
            )
        lock.unlink()


async def _find(creations: Sequence[dict[str, Any]], kubeconfig: str) -> list[dict[str, Any]]:
    """Those of the objects that are in the cluster, as the state records what exists but is not known to be ready."""
    cluster = Cluster(parse_kubeconfig(kubeconfig))
    found = []
    for resource in creations:
        wanted = resource.get("inputs") or {}
        if not wanted.get("metadata", {}).get("name"):
            continue
        kind = await cluster.kind(Type(wanted["apiVersion"], wanted["kind"]))
        live = await cluster.get(kind, wanted) if kind else None
        if kind and live and any(entry.get("manager", "").startswith(_MANAGER) for entry in live["metadata"]["managedFields"]):
            metadata = live["metadata"]
            identity = f"{metadata['namespace']}/{metadata['name']}" if kind.namespaced else metadata["name"]
            unfinished = ["the run that made it was interrupted"]
            found.append(resource | {"id": identity, "outputs": wanted, "initErrors": unfinished})
    return found
