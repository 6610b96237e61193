"""Values of the charts that make nodes offer NVIDIA's GPUs. Pure.

Keys: NVIDIA/k8s-device-plugin 0.20.0 and NVIDIA/gpu-operator v26.7.0, values.yaml of their charts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..types import NodePool, SharingKind
from .placing import affinity, runtime_class, tolerations
from .sharing import DEFAULT, configurations, kinds

_LINUX = {"kubernetes.io/os": "linux"}
_RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
CONFIG_MAP = "device-plugin-configs"
"""Name of the ConfigMap of the operator's device plugin."""


def device_plugin_values(
    pools: Sequence[NodePool], *, image: str | None = None, mofed: bool = False, system_labels: Mapping[str, str]
) -> dict[str, Any]:
    """Values of the chart nvidia-device-plugin: the plugin and GPU feature discovery on the nodes of `pools`.

    `image` replaces the chart's; `mofed` gives pods that ask for GPUs the InfiniBand devices too.
    """
    values: dict[str, Any] = {
        "gfd": {"enabled": True},
        # Three releases had it on by default, which took every EFA device away from pods (CHANGELOG.md of 0.19.3).
        "mofedEnabled": mofed,
        "podSecurityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "resources": _RESOURCES,
        "affinity": affinity(pools),
        "tolerations": tolerations(pools),
        "nfd": _feature_discovery(pools, system_labels) | {"priorityClassName": "system-node-critical"},
    }
    if configs := configurations(pools):
        values["config"] = {"map": configs, "default": DEFAULT}
    if SharingKind.MIG not in kinds(pools):
        # Said outright, since with a map of configurations the chart cannot tell and adds SYS_ADMIN (templates/_helpers.tpl).
        values |= {"migStrategy": "none", "deviceListStrategy": "envvar"}
    if found := runtime_class(pools):
        values["runtimeClassName"] = found
    if image is not None:
        repository, _, tag = image.rpartition(":")
        values["image"] = {"repository": repository, "tag": tag}
    return values


def operator_values(
    pools: Sequence[NodePool],
    *,
    driver: bool,
    toolkit: bool,
    containerd_socket: str | None = None,
    mig_manager: bool = True,
    mofed: bool = False,
    system_labels: Mapping[str, str],
) -> dict[str, Any]:
    """Values of the chart gpu-operator.

    Its operands run where its own discovery has found a GPU, and that looks at the nodes of `pools` only. `driver` and `toolkit`
    say whether it installs them, `mig_manager` whether it cuts GPUs; `containerd_socket` is the one of nodes whose containerd is
    not at its usual place.
    """
    shared = kinds(pools)
    configs = configurations(pools)
    values: dict[str, Any] = {
        "driver": {"enabled": driver},
        "toolkit": {"enabled": toolkit},
        # One owner of DCGM for all clusters: monitoring.
        "dcgmExporter": {"enabled": False},
        # For all nodes alike; where a GPU is whole it changes nothing.
        "mig": {"strategy": "mixed" if SharingKind.MIG in shared else "none"},
        "migManager": {"enabled": mig_manager and SharingKind.MIG in shared},
        "devicePlugin": {"env": [{"name": "MOFED_ENABLED", "value": "true" if mofed else "false"}]},
        "daemonsets": {"tolerations": tolerations(pools)},
        "operator": {"nodeSelector": {**_LINUX, **system_labels}},
        "node-feature-discovery": _feature_discovery(pools, system_labels),
    }
    if configs:
        values["devicePlugin"]["config"] = {"create": True, "name": CONFIG_MAP, "default": DEFAULT, "data": configs}
    if toolkit and containerd_socket is not None:
        values["toolkit"]["env"] = [{"name": "CONTAINERD_SOCKET", "value": containerd_socket}]
    if found := runtime_class(pools):
        values["operator"]["runtimeClass"] = found
    return values


def _feature_discovery(pools: Sequence[NodePool], system_labels: Mapping[str, str]) -> dict[str, Any]:
    """Values of the chart node-feature-discovery 0.19.0, below its name."""
    return {
        "worker": {"affinity": affinity(pools), "tolerations": tolerations(pools)},
        "master": {"nodeSelector": {**_LINUX, **system_labels}},
        "gc": {"nodeSelector": {**_LINUX, **system_labels}},
    }
