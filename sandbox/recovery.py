"""What an engine that was killed leaves behind: a lock, and creations nobody knows the end of.

A lock whose process is gone is removed. A creation that was under way is looked up in the cluster: an object that is there and
was made by Pulumi is taken into the state, so that the next `up` finds it instead of making another; one that is not there is
forgotten.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from pulumi import automation

from sandbox.errors import SandboxError
from sandbox.providers.kubernetes.client import Cluster, parse_kubeconfig
from sandbox.providers.kubernetes.objects import Type

_MANAGER = "pulumi-kubernetes"
"""How the field managers of the Kubernetes provider begin, the official one's and the emulation's."""


def recover(stack: automation.Stack, state: Path, kubeconfig: Path, output: Callable[[str], Any]) -> None:
    """Make the recorded state whole again. Raises SandboxError when another engine really is at work."""
    _remove_dead_lock(stack, state)
    pending = (stack.export_stack().deployment or {}).get("pending_operations") or []
    creations = [operation["resource"] for operation in pending if operation["type"] == "creating"]
    if not creations:
        return
    found = asyncio.run(_find(creations, kubeconfig.read_text()))
    output(f"an earlier run was interrupted: {len(found)} of {len(creations)} objects it was making are there and taken over\n")
    adopt = [word for pair in found.items() for identity in pair for word in ("--import-pending-creates", identity)]
    flags = ["--stack", stack.name, "--yes", "--non-interactive", "--skip-preview", "--suppress-outputs"]
    workspace = stack.workspace
    # What is not taken over by the first flags is cleared by the last.
    command = ["refresh", *flags, *adopt, "--clear-pending-creates"]
    workspace.pulumi_command.run(command, workspace.work_dir, workspace.env_vars, output)


def _remove_dead_lock(stack: automation.Stack, state: Path) -> None:
    for lock in state.glob(f".pulumi/locks/**/{stack.name}/*.json"):
        pid = json.loads(lock.read_text()).get("pid", 0)
        if pid and psutil.pid_exists(pid) and "pulumi" in psutil.Process(pid).name():
            raise SandboxError(
                f"an engine (process {pid}) still works on the stack {stack.name}; "
                f"wait until it ends, or end it with `kill {pid}`"
            )
        lock.unlink()


async def _find(creations: Sequence[dict[str, Any]], kubeconfig: str) -> dict[str, str]:
    """The identifiers of those objects that are in the cluster, by URN."""
    cluster = Cluster(parse_kubeconfig(kubeconfig))
    found = {}
    for resource in creations:
        wanted = resource.get("inputs") or {}
        if not str(resource["type"]).startswith("kubernetes:") or not wanted.get("metadata", {}).get("name"):
            continue
        kind = await cluster.kind(Type(wanted["apiVersion"], wanted["kind"]))
        live = await cluster.get(kind, wanted) if kind else None
        if kind and live and any(entry.get("manager", "").startswith(_MANAGER) for entry in live["metadata"]["managedFields"]):
            metadata = live["metadata"]
            found[resource["urn"]] = f"{metadata['namespace']}/{metadata['name']}" if kind.namespaced else metadata["name"]
    return found
