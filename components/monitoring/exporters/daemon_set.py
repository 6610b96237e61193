"""The DaemonSet of a vendor's exporter. Pure functions; names of other objects may be outputs."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pulumi

from ...accelerators.placing import affinity, runtime_class, tolerations
from ...accelerators.profiles import Exporter, HostPath
from ...base import selector
from ...types import NodePool

CONTAINER = "exporter"
_POD_RESOURCES = HostPath(path="/var/lib/kubelet/pod-resources", read_only=True)
"""Where the kubelet says which pod has which device (Kubernetes, "Device Plugins", "Monitoring device plugin resources")."""
_CONFIG = "config"
_DISK = "128Mi"


def exporter_spec(
    exporter: Exporter,
    pools: Sequence[NodePool],
    pod_labels: Mapping[str, str],
    *,
    service_account: pulumi.Input[str],
    config_map: pulumi.Input[str] | None,
) -> dict[str, Any]:
    """Spec of the DaemonSet of `exporter` on the nodes of `pools`."""
    paths = (_POD_RESOURCES, *exporter.host_paths)
    pod: dict[str, Any] = {
        "priorityClassName": "system-node-critical",
        "serviceAccountName": service_account,
        "automountServiceAccountToken": bool(exporter.rules),
        "enableServiceLinks": False,
        "affinity": affinity(pools),
        "tolerations": tolerations(pools),
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(exporter, paths)],
        "volumes": [_volume(path) for path in paths],
    }
    if exporter.config is not None:
        pod["volumes"] += [{"name": _CONFIG, "configMap": {"name": config_map}}]
    if found := runtime_class(pools):
        pod["runtimeClassName"] = found
    return {
        "selector": {"matchLabels": selector(dict(pod_labels))},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}},
        "template": {"metadata": {"labels": dict(pod_labels)}, "spec": pod},
    }


def _container(exporter: Exporter, paths: Sequence[HostPath]) -> dict[str, Any]:
    fixed = {"memory": f"{exporter.resources.memory_mib}Mi", "ephemeral-storage": _DISK}
    answers = {"tcpSocket": {"port": exporter.port}}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": exporter.image,
        "ports": [{"name": "metrics", "containerPort": exporter.port}],
        "securityContext": _security(exporter),
        "resources": {"requests": {"cpu": exporter.resources.cpu, **fixed}, "limits": fixed},
        "readinessProbe": {**answers, "periodSeconds": 10},
        "livenessProbe": {**answers, "initialDelaySeconds": 60, "periodSeconds": 20, "failureThreshold": 6},
        "volumeMounts": [_mount(path) for path in paths],
    }
    if exporter.command:
        container["command"] = list(exporter.command)
    if exporter.args:
        container["args"] = list(exporter.args)
    if environment := _environment(exporter):
        container["env"] = environment
    if exporter.config is not None:
        directory = str(PurePosixPath(exporter.config.path).parent)
        container["volumeMounts"] += [{"name": _CONFIG, "mountPath": directory, "readOnly": True}]
    return container


def _security(exporter: Exporter) -> dict[str, Any]:
    if exporter.privileged:
        return {"privileged": True}
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def _environment(exporter: Exporter) -> list[dict[str, Any]]:
    """Fields of the pod come first: other values may name them as $(NAME)."""
    fields = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in sorted(exporter.pod_env.items())]
    return [*fields, *({"name": name, "value": value} for name, value in sorted(exporter.env.items()))]


def _name(path: HostPath) -> str:
    return path.path.strip("/").replace("/", "-").lower()


def _volume(path: HostPath) -> dict[str, Any]:
    kind = "DirectoryOrCreate" if path.create else "Directory"
    return {"name": _name(path), "hostPath": {"path": path.path, "type": kind}}


def _mount(path: HostPath) -> dict[str, Any]:
    return {"name": _name(path), "mountPath": path.path} | ({"readOnly": True} if path.read_only else {})
