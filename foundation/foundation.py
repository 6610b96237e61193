"""What the platform is built on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi_kubernetes as kubernetes

from components.cluster import ClusterContract
from components.storage import CsiVolumeArgs


@dataclass(frozen=True)
class Foundation:
    """A cluster and what lies around it."""

    cluster: ClusterContract
    provider: kubernetes.Provider
    cache_paths: Mapping[str, str] = field(default_factory=dict)
    """By pool the directory of a node below which model caches belong."""
    volumes: Mapping[str, CsiVolumeArgs] = field(default_factory=dict)
    """By model the shared file system its cache lies on; the others lie on a node's disk."""
    exports: Mapping[str, Any] = field(default_factory=dict)
    """What else may be worth knowing."""
