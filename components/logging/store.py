"""Loki in one process: where logs are kept and searched inside the cluster, by its project's own Helm chart."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field

from ..base import PlatformComponent
from ..charts import release
from ..inputs import InputText, Model, validate
from ..ordering import known_after
from ..versions import LOKI_CHART
from .names import LOKI, LOKI_PORT

_CHART = "oci://ghcr.io/grafana-community/helm-charts/loki"
_RETENTION_CHECKED = "10m"
_MEMORY_MIB = 1024


class LogStoreArgs(TypedDict):
    """Inputs of `LogStore`."""

    namespace_name: pulumi.Input[str]
    """Namespace it runs in; *restricted* suffices."""
    retention_days: NotRequired[int]
    """Days until a line is deleted; 14 by default."""
    storage_gib: NotRequired[int]
    """Size of its volume in GiB; 50 by default. Loki deletes by age alone: a volume that fills up takes no more logs."""
    storage_class_name: NotRequired[pulumi.Input[str] | None]
    """Storage class of the volume; the cluster's default when left out."""
    system_labels: NotRequired[dict[str, str]]
    """Labels of the nodes it runs on; any Linux node by default."""


class _Config(Model):
    namespace_name: InputText
    retention_days: int = Field(14, ge=1, le=3650, examples=[14])
    storage_gib: int = Field(50, ge=1, le=16384, examples=[50])
    storage_class_name: InputText | None = None
    system_labels: Mapping[str, str] = Field(default_factory=dict)


class LogStore(PlatformComponent):
    """Keeps logs on a volume of its own for as many days as asked, and goes with it.

    It asks nobody who they are: there is one tenant, and network policies let only the collector write and only Grafana read.
    """

    url: pulumi.Output[str]
    """Where logs are sent and asked for inside the cluster, known once it runs."""
    chart_version: pulumi.Output[str]
    """Version of the chart, known at the same time."""

    def __init__(self, name: str, args: LogStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"LogStore {name}")
        made = release(
            self,
            config.namespace_name,
            LOKI,
            chart=_CHART,
            version=LOKI_CHART,
            values=loki_values(
                config.retention_days, config.storage_gib, config.storage_class_name, system_labels=config.system_labels
            ),
        )
        self.url = known_after(pulumi.Output.format("http://{0}.{1}.svc:{2}", LOKI, made.namespace, LOKI_PORT), made.version)
        self.chart_version = made.version
        self.finish()


def loki_values(
    retention_days: int,
    storage_gib: int,
    storage_class_name: pulumi.Input[str] | None = None,
    *,
    system_labels: Mapping[str, str],
) -> dict[str, Any]:
    """Values of the chart loki: one pod and its volume, and none of what larger ones need (caches, gateway, canary, ruler)."""
    off = ("chunksCache", "resultsCache", "gateway", "lokiCanary", "ruler", "test")
    return {
        "deploymentMode": "Monolithic",
        "loki": _configuration(retention_days),
        "singleBinary": {
            "replicas": 1,
            # Would read ConfigMaps and Secrets of the cluster for rules, of which there are none.
            "sidecar": False,
            # Of one pod it would only keep its node from being drained.
            "podDisruptionBudget": {"enabled": False},
            "persistence": {
                "enabled": True,
                "size": f"{storage_gib}Gi",
                **({"storageClass": storage_class_name} if storage_class_name is not None else {}),
                "enableStatefulSetAutoDeletePVC": True,
                "whenDeleted": "Delete",
                "whenScaled": "Retain",
            },
            "nodeSelector": {"kubernetes.io/os": "linux", **system_labels},
            "resources": {
                "requests": {"cpu": "100m", "memory": f"{_MEMORY_MIB}Mi"},
                "limits": {"memory": f"{_MEMORY_MIB}Mi"},
            },
        },
        "sidecar": {"rules": {"enabled": False}},
        "serviceAccount": {"automountServiceAccountToken": False},
        "defaults": {"automountServiceAccountToken": False, "enableServiceLinks": False},
        "rbac": {"namespaced": True},
        **{part: {"enabled": False} for part in off},
    }


def _configuration(retention_days: int) -> dict[str, Any]:
    """Loki's own settings (grafana.com/docs/loki, "Configuration")."""
    return {
        "auth_enabled": False,
        "analytics": {"reporting_enabled": False},
        # One process knows itself: it neither looks for others nor stops because it finds none.
        "commonConfig": {"replication_factor": 1, "ring": {"kvstore": {"store": "inmemory"}}},
        "memberlistConfig": {"abort_if_cluster_join_fails": False},
        "storage": {"type": "filesystem"},
        "schemaConfig": {
            "configs": [
                {
                    "from": "2024-04-01",
                    "store": "tsdb",
                    "object_store": "filesystem",
                    "schema": "v13",
                    "index": {"prefix": "index_", "period": "24h"},
                }
            ]
        },
        "compactor": {
            "retention_enabled": True,
            "delete_request_store": "filesystem",
            "compaction_interval": _RETENTION_CHECKED,
        },
        "limits_config": {
            "retention_period": f"{retention_days * 24}h",
            # Longer lines are cut instead of refused with the whole batch they came in.
            "max_line_size_truncate": True,
            # For one tenant that is the whole cluster.
            "ingestion_rate_mb": 16,
            "ingestion_burst_size_mb": 32,
        },
    }
