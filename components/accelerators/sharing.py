"""How NVIDIA's device plugin is told to share GPUs: a configuration by name, and the label with which a node chooses one. Pure.

Form of the configurations and names of the labels: NVIDIA/k8s-device-plugin 0.20.0, README.md, "Configuration Option Details" and
"Shared Access to GPUs"; the label of the MIG manager: NVIDIA/mig-parted, deployments/k8s-mig-manager.
"""

from collections.abc import Iterable
from typing import Any

import yaml

from ..types import NodePool, Sharing, SharingKind

CONFIG_LABEL = "nvidia.com/device-plugin.config"
"""Label of a node with the name of its configuration."""
MIG_LABEL = "nvidia.com/mig.config"
"""Label of a node with the instances that the GPU Operator's MIG manager cuts its GPUs into."""
DEFAULT = "default"
"""Configuration of nodes without the label."""
_GPU = "nvidia.com/gpu"


def config_name(sharing: Sharing | None) -> str:
    """Name of the configuration for GPUs shared so."""
    if sharing is None:
        return DEFAULT
    if sharing.kind is SharingKind.MIG:
        return "mig-mixed"
    return f"{'mps' if sharing.kind is SharingKind.MPS else 'time-slicing'}-{sharing.replicas}"


def sharing_labels(pool: NodePool) -> dict[str, str]:
    """Labels with which the nodes of a pool choose how their GPUs are shared; none for a pool that does not share."""
    sharing = sharing_of(pool)
    if sharing is None:
        return {}
    instances = {MIG_LABEL: f"all-{sharing.profile}"} if sharing.profile else {}
    return {CONFIG_LABEL: config_name(sharing), **instances}


def sharing_of(pool: NodePool) -> Sharing | None:
    """How the accelerators of a pool are shared."""
    return pool.accelerator.sharing if pool.accelerator else None


def kinds(pools: Iterable[NodePool]) -> set[SharingKind]:
    """The kinds of sharing among pools."""
    return {sharing.kind for pool in pools if (sharing := sharing_of(pool))}


def configurations(pools: Iterable[NodePool]) -> dict[str, str]:
    """Every configuration that the pools need, in YAML by name; none when no pool shares."""
    shared = {config_name(sharing): sharing for pool in pools if (sharing := sharing_of(pool))}
    if not shared:
        return {}
    wanted: dict[str, Sharing | None] = {DEFAULT: None, **dict(sorted(shared.items()))}
    return {name: yaml.safe_dump(_configuration(sharing), sort_keys=False) for name, sharing in wanted.items()}


def _configuration(sharing: Sharing | None) -> dict[str, Any]:
    mixed = sharing is not None and sharing.kind is SharingKind.MIG
    found: dict[str, Any] = {"version": "v1", "flags": {"migStrategy": "mixed" if mixed else "none"}}
    if sharing is None or mixed:
        return found
    # The name says to whoever asks for it that it is a part, and asking for two parts would not give twice as much.
    part: dict[str, Any] = {"renameByDefault": True}
    if sharing.kind is SharingKind.TIME_SLICING:
        part["failRequestsGreaterThanOne"] = True
    part["resources"] = [{"name": _GPU, "replicas": sharing.replicas}]
    return {**found, "sharing": {sharing.kind.value: part}}
