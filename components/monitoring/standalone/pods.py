"""What the pods of the monitoring stack have in common. Pure; names of other objects may be outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from ...base import selector
from ...pods import resources, restricted_container, scratch
from ...types import SecretKey, Taint


@dataclass(frozen=True, kw_only=True)
class Placing:
    """Which nodes pods run on."""

    labels: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Taint] = ()

    def pod(self) -> dict[str, Any]:
        """The same as fields of a pod."""
        found: dict[str, Any] = {"nodeSelector": {"kubernetes.io/os": "linux", **self.labels}}
        if self.tolerations:
            found["tolerations"] = tolerated(self.tolerations)
        return found


def tolerated(taints: Sequence[Taint]) -> list[dict[str, Any]]:
    """Tolerations of these taints."""
    return [{"key": taint.key, "operator": "Equal", "value": taint.value, "effect": taint.effect.value} for taint in taints]


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program of the stack, which has one replica and a pod to itself."""

    image: str
    port: int
    uid: int
    ready: str
    """Path that answers when it can be asked."""
    alive: str
    """Path that answers while it lives."""
    args: Sequence[str]
    cpu: str
    memory_mib: int
    start_seconds: int
    """How long it may take until it can be asked for the first time."""
    stop_seconds: int
    scratch: Mapping[str, str] = field(default_factory=dict)
    """Directories it writes to and may lose, by the names of their volumes."""
    env: Mapping[str, str] = field(default_factory=dict)


_PERIOD = 10
_DISK_MIB = 256


def pod_template(
    name: str,
    program: Program,
    pod_labels: Mapping[str, str],
    *,
    account: pulumi.Input[str],
    placing: Placing,
    volumes: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    uses_api: bool = False,
) -> dict[str, Any]:
    """The template of the program's pod. `volumes` are each a volume and how it is mounted."""
    directories, mounts = scratch(program.scratch)
    directories = [{**each, "emptyDir": {"sizeLimit": f"{_DISK_MIB}Mi"}} for each in directories]
    probe = {"periodSeconds": _PERIOD, "timeoutSeconds": 5}
    ready = {"httpGet": {"path": program.ready, "port": program.port}, **probe}
    container: dict[str, Any] = {
        "name": name,
        "image": program.image,
        "ports": [{"name": "http", "containerPort": program.port}],
        "securityContext": restricted_container(),
        "resources": resources(program.cpu, program.memory_mib, _DISK_MIB * (1 + len(directories))),
        "startupProbe": {**ready, "failureThreshold": program.start_seconds // _PERIOD},
        "readinessProbe": ready,
        "livenessProbe": {"httpGet": {"path": program.alive, "port": program.port}, **probe, "failureThreshold": 6},
        "volumeMounts": [*mounts, *(dict(mount) for _, mount in volumes)],
    }
    # An empty list would be a change again and again: the API server leaves it out.
    if program.args:
        container["args"] = list(program.args)
    if program.env:
        container["env"] = [{"name": key, "value": value} for key, value in sorted(program.env.items())]
    return {
        "metadata": {"labels": dict(pod_labels)},
        "spec": {
            **placing.pod(),
            "serviceAccountName": account,
            "automountServiceAccountToken": uses_api,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": program.stop_seconds,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": program.uid,
                "runAsGroup": program.uid,
                "fsGroup": program.uid,
                # A database of weeks has many files, and none has changed hands.
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [*directories, *(dict(volume) for volume, _ in volumes)],
        },
    }


def service_spec(port: int, pod_labels: Mapping[str, str], *, headless: bool) -> dict[str, Any]:
    """Spec of the Service of a program; a headless one leads to its one pod without an address of its own."""
    return {
        **({"clusterIP": "None"} if headless else {"type": "ClusterIP"}),
        "selector": selector(dict(pod_labels)),
        "ports": [{"name": "http", "port": port, "targetPort": port}],
    }


def claim_spec(gib: int, storage_class_name: pulumi.Input[str] | None) -> dict[str, Any]:
    """Spec of a claim; without a class it is of the cluster's default one."""
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{gib}Gi"}}}
    return spec | ({} if storage_class_name is None else {"storageClassName": storage_class_name})


def claimed(claim_name: pulumi.Input[str], path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The volume of a claim, and where it is mounted."""
    return {"name": "data", "persistentVolumeClaim": {"claimName": claim_name}}, {"name": "data", "mountPath": path}


def configured(
    name: str, config_map: pulumi.Input[str], path: str, items: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A ConfigMap as a directory; `items` are the keys and where each is in it, where that is not by its own name."""
    source: dict[str, Any] = {"name": config_map}
    if items:
        source["items"] = [{"key": key, "path": place} for key, place in items.items()]
    return {"name": name, "configMap": source}, {"name": name, "mountPath": path, "readOnly": True}


def gathered(name: str, config_maps: Sequence[pulumi.Input[str]], path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Several ConfigMaps as one directory."""
    sources = [{"configMap": {"name": each}} for each in config_maps]
    return {"name": name, "projected": {"sources": sources}}, {"name": name, "mountPath": path, "readOnly": True}


def one_value(name: str, secret: SecretKey, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A value of a Secret as a file, which only the program's user and group can read."""
    items = [{"key": secret.key, "path": secret.key}]
    volume = {"name": name, "secret": {"secretName": secret.name, "defaultMode": 0o440, "items": items}}
    return volume, {"name": name, "mountPath": path, "readOnly": True}
