"""Controllers by their projects' own Helm charts."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from .base import PlatformComponent

_INSTALL_TIMEOUT = 600


def release(
    owner: PlatformComponent,
    namespace_name: pulumi.Input[str],
    name: str,
    *,
    chart: str,
    version: str,
    values: dict[str, Any],
    repository: str | None = None,
) -> "kubernetes.helm.v3.Release":
    """A release of one chart under a fixed name, whole or not at all."""
    return kubernetes.helm.v3.Release(
        owner.child_name("controller"),
        name=name,
        chart=chart,
        version=version,
        repository_opts=kubernetes.helm.v3.RepositoryOptsArgs(repo=repository) if repository else None,
        namespace=namespace_name,
        atomic=True,
        timeout=_INSTALL_TIMEOUT,
        values=values,
        opts=owner.child(timeout=_INSTALL_TIMEOUT),
    )


def placed(system_labels: Mapping[str, str], pods: Mapping[str, str]) -> dict[str, Any]:
    """Values that put a chart's pods on the nodes with these labels, each on another where that can be."""
    same = {"labelSelector": {"matchLabels": dict(pods)}, "topologyKey": "kubernetes.io/hostname"}
    apart = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": same}]}
    return {"nodeSelector": {"kubernetes.io/os": "linux", **system_labels}, "affinity": {"podAntiAffinity": apart}}
