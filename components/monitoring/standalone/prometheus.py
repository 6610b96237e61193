"""Prometheus: what it reads, what it evaluates, what it may. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ...versions import PROMETHEUS_IMAGE
from .. import sizing
from ..scrape import kubelet_configs, scrape_config
from ..targets import Target
from .pods import Program

PORT = 9090
DATA, CONFIG, RULES = "/prometheus", "/etc/prometheus/config", "/etc/prometheus/rules"
RELOADS_ITSELF = "--config.auto-reload"
"""Every 30 seconds it looks whether its configuration, or a rule file that names, reads otherwise (prometheus.io/docs,
"Configuration"), so a changed rule is a changed ConfigMap and nothing restarts."""
_UID = 65534
_REPLAY_SECONDS = 900
"""What a full write-ahead log may take to be read again (the operator allows as much: prometheus-operator, pkg/prometheus)."""


def prometheus_config(
    targets: Sequence[Target], *, interval_seconds: int, alertmanager: str, verify_kubelets: bool, labels: Mapping[str, str]
) -> str:
    """The file prometheus.yml. `labels` are on every alert."""
    content: dict[str, Any] = {
        "global": {
            "scrape_interval": f"{interval_seconds}s",
            "scrape_timeout": f"{min(10, interval_seconds)}s",
            "evaluation_interval": f"{interval_seconds}s",
            **({"external_labels": dict(labels)} if labels else {}),
        },
        "rule_files": [f"{RULES}/*.yaml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [*map(scrape_config, targets), *kubelet_configs(verify=verify_kubelets)],
    }
    return yaml.safe_dump(content, sort_keys=False, width=1000)


def rule_file(groups: Sequence[Mapping[str, Any]]) -> str:
    """The file of one family of rules."""
    return yaml.safe_dump({"groups": [dict(group) for group in groups]}, sort_keys=False, width=1000)


def prometheus_program(*, series: int, retention_days: int, storage_gib: int, external_url: str) -> Program:
    """The program. Nobody can write to it or stop it over the network: the flags for that are off by default."""
    return Program(
        image=PROMETHEUS_IMAGE,
        port=PORT,
        uid=_UID,
        ready="/-/ready",
        alive="/-/healthy",
        args=(
            f"--config.file={CONFIG}/prometheus.yml",
            f"--storage.tsdb.path={DATA}",
            f"--storage.tsdb.retention.time={retention_days}d",
            f"--storage.tsdb.retention.size={sizing.retention_size(storage_gib)}",
            RELOADS_ITSELF,
            f"--web.external-url={external_url}",
            # Else it would answer under the path of that URL alone; a proxy before it takes the path away.
            "--web.route-prefix=/",
        ),
        cpu=sizing.cpu(series),
        memory_mib=sizing.memory_mib(series),
        start_seconds=_REPLAY_SECONDS,
        stop_seconds=300,
    )


def node_rules() -> list[dict[str, Any]]:
    """Rules of its ClusterRole: which nodes there are, and what their kubelets count."""
    return [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
    ]


def pod_rules() -> list[dict[str, Any]]:
    """Rules of its Role in a namespace with targets."""
    return [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
