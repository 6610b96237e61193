"""The DaemonSet of a vendor's device plugin. Pure functions; names of other objects may be outputs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pulumi

from ..base import selector
from ..types import NodePool
from .placing import affinity, runtime_class, tolerations
from .profiles import HostPath, Plugin

OFFERS = "llm-platform/offers"
"""Annotation of a plugin's pods: the resources it makes nodes offer."""
_SOCKETS = HostPath(path="/var/lib/kubelet/device-plugins")
"""Where the kubelet meets device plugins (Kubernetes, "Device Plugins")."""
_CONFIG = "config"
_LEAST_PRIVILEGE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_DISK_MIB = 128


def plugin_spec(
    plugin: Plugin,
    pools: Sequence[NodePool],
    resources: Sequence[str],
    pod_labels: Mapping[str, str],
    *,
    service_account: pulumi.Input[str] | None = None,
    config_map: pulumi.Input[str] | None = None,
) -> dict[str, Any]:
    """Spec of the DaemonSet that offers `resources` on the nodes of `pools`."""
    paths = list({path.path: path for path in (_SOCKETS, *plugin.host_paths)}.values())
    pod: dict[str, Any] = {
        "priorityClassName": "system-node-critical",
        "automountServiceAccountToken": service_account is not None,
        "enableServiceLinks": False,
        "affinity": affinity(pools),
        "tolerations": tolerations(pools),
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(plugin, paths)],
        "volumes": [_volume(path) for path in paths],
    }
    if service_account is not None:
        pod["serviceAccountName"] = service_account
    if plugin.config is not None:
        pod["volumes"] += [{"name": _CONFIG, "configMap": {"name": config_map}}]
    if found := runtime_class(pools):
        pod["runtimeClassName"] = found
    return {
        "selector": {"matchLabels": selector(dict(pod_labels))},
        # Pods that have their devices keep them while the plugin restarts.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}},
        "template": {
            "metadata": {"labels": dict(pod_labels), "annotations": {OFFERS: ",".join(resources)}},
            "spec": pod,
        },
    }


def config_data(plugin: Plugin) -> dict[str, str]:
    """Content of the plugin's ConfigMap; empty where it reads no file."""
    if plugin.config is None:
        return {}
    return {PurePosixPath(plugin.config.path).name: json.dumps(plugin.config.content, indent=1, sort_keys=True)}


def cluster_rules(plugin: Plugin) -> list[dict[str, Any]]:
    """Rules of the plugin's ClusterRole."""
    return [{"apiGroups": [""], "resources": list(rule.resources), "verbs": list(rule.verbs)} for rule in plugin.rules]


def _container(plugin: Plugin, paths: Sequence[HostPath]) -> dict[str, Any]:
    memory = f"{plugin.resources.memory_mib}Mi"
    fixed = {"memory": memory, "ephemeral-storage": f"{_DISK_MIB}Mi"}
    container: dict[str, Any] = {
        "name": "device-plugin",
        "image": plugin.image,
        "securityContext": _security(plugin),
        "resources": {"requests": {"cpu": plugin.resources.cpu, **fixed}, "limits": fixed},
        "volumeMounts": [_mount(path) for path in paths],
    }
    if plugin.args:
        container["args"] = list(plugin.args)
    if environment := _environment(plugin):
        container["env"] = environment
    if plugin.config is not None:
        directory = str(PurePosixPath(plugin.config.path).parent)
        container["volumeMounts"] += [{"name": _CONFIG, "mountPath": directory, "readOnly": True}]
    return container


def _security(plugin: Plugin) -> dict[str, Any]:
    if plugin.privileged:
        return {"privileged": True}
    found = {**_LEAST_PRIVILEGE, "readOnlyRootFilesystem": plugin.read_only_root}
    return found | ({"seLinuxOptions": {"type": plugin.se_linux_type}} if plugin.se_linux_type else {})


def _environment(plugin: Plugin) -> list[dict[str, Any]]:
    own = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    return [{"name": key, "value": value} for key, value in sorted(plugin.env.items())] + ([own] if plugin.node_name else [])


def _name(path: HostPath) -> str:
    return path.path.strip("/").replace("/", "-").replace(".", "-").replace("_", "-").lower()


def _volume(path: HostPath) -> dict[str, Any]:
    return {"name": _name(path), "hostPath": {"path": path.path} | ({"type": "DirectoryOrCreate"} if path.create else {})}


def _mount(path: HostPath) -> dict[str, Any]:
    return {"name": _name(path), "mountPath": path.path} | ({"readOnly": True} if path.read_only else {})
