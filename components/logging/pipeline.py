"""What the collector reads, drops and delivers: the configuration of Fluent Bit. Pure; names of other objects may be outputs.

Options by docs.fluentbit.io 5.x: "Service", "Tail", "Kubernetes", "Lua", "Loki", "Amazon CloudWatch", "Buffering".
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from .names import COLLECTOR, COLLECTOR_PORT, LOKI_PORT

CONFIG_FILE, SCRIPT_FILE = "fluent-bit.yaml", "records.lua"
CONFIG_DIRECTORY = "/fluent-bit/etc/conf"
LOGS = "/var/log"
"""Where nodes keep what containers write."""
STATE = "/var/fluent-bit/state"
"""Where a node keeps what is not delivered yet; writable on Bottlerocket too (AWS, amazon-cloudwatch-container-insights)."""

Section = dict[str, Any]

_LABELS = {
    "job": "pods",
    "namespace": "$kubernetes['namespace_name']",
    "app": "$kubernetes['labels']['app.kubernetes.io/name']",
    "instance": "$kubernetes['labels']['app.kubernetes.io/instance']",
    "container": "$kubernetes['container_name']",
    "stream": "$stream",
}
"""What has few values: each combination is a stream of its own in Loki."""
_BESIDE = {"pod": "$kubernetes['pod_name']", "node": "$kubernetes['host']"}
"""What has many."""


def to_loki(host: str) -> Section:
    """Deliver to Loki: where a line comes from as labels and beside them, the line as it was written."""
    return {
        "name": "loki",
        "host": host,
        "port": LOKI_PORT,
        "labels": _pairs(_LABELS),
        "structured_metadata": _pairs(_BESIDE),
        # What is left is the text, or the fields of a line in JSON.
        "remove_keys": "kubernetes, stream, time, _p",
        "line_format": "json",
        "drop_single_key": "raw",
        "compress": "gzip",
    }


def to_cloud_watch(region: str, group: str) -> Section:
    """Deliver to a log group that is there already, a stream for each container."""
    return {
        "name": "cloudwatch_logs",
        "region": region,
        "log_group_name": group,
        "log_stream_prefix": "unknown.",
        "log_stream_template": ".".join(f"$kubernetes['{part}_name']" for part in ("namespace", "pod", "container")),
        "auto_create_group": False,
    }


def config(output: Mapping[str, Any], excluded_namespaces: Iterable[str], buffer_mib: int) -> Section:
    """The whole configuration. At most `buffer_mib` of what cannot be delivered wait on a node; the oldest goes first."""
    delivered = {
        **output,
        "alias": "store",
        "match": "*",
        # As long as there is room for it, nothing is given up.
        "retry_limit": "no_limits",
        "storage.total_limit_size": f"{buffer_mib}M",
    }
    filters = [_metadata(), _without_prompts()]
    return {
        "service": _service(),
        "pipeline": {"inputs": [_pods(excluded_namespaces)], "filters": filters, "outputs": [delivered]},
    }


def files(output: Mapping[str, Any], excluded_namespaces: Iterable[str], buffer_mib: int) -> dict[str, str]:
    """The files of the collector by name."""
    text = yaml.safe_dump(config(output, excluded_namespaces, buffer_mib), sort_keys=False, width=1000)
    return {CONFIG_FILE: text, SCRIPT_FILE: (Path(__file__).parent / SCRIPT_FILE).read_text("utf-8")}


def _service() -> Section:
    return {
        "flush": 1,
        "grace": 10,
        "log_level": "info",
        "http_server": True,
        "http_listen": "0.0.0.0",  # noqa: S104 - its metrics are read from outside the pod, by those whom a policy lets in
        "http_port": COLLECTOR_PORT,
        "hot_reload": True,
        "scheduler.base": 2,
        "scheduler.cap": 60,
        "storage.path": f"{STATE}/chunks",
        "storage.sync": "normal",
        "storage.max_chunks_up": 64,
        "storage.backlog.mem_limit": "32M",
        "storage.metrics": True,
        "storage.delete_irrecoverable_chunks": True,
    }


def _pods(excluded_namespaces: Iterable[str]) -> Section:
    # The name of a file is pod_namespace_container-id.log, and none of the three has an underscore. The collector's own are left
    # out: every failure to deliver would be one more line to deliver.
    excluded = [f"*_{namespace}_*" for namespace in sorted(set(excluded_namespaces))] + [f"*_*_{COLLECTOR}-*"]
    return {
        "name": "tail",
        "alias": "pods",
        "tag": "kube.*",
        "path": f"{LOGS}/containers/*.log",
        "exclude_path": ",".join(f"{LOGS}/containers/{pattern}.log" for pattern in excluded),
        "multiline.parser": "cri",
        "read_from_head": True,
        "refresh_interval": 5,
        "rotate_wait": 30,
        "buffer_max_size": "256k",
        "skip_long_lines": True,
        "db": f"{STATE}/offsets.db",
        "storage.type": "filesystem",
    }


def _metadata() -> Section:
    return {
        "name": "kubernetes",
        "match": "kube.*",
        # Under a key of their own, so that no line can say that it comes from another pod.
        "merge_log": True,
        "merge_log_key": "fields",
        "keep_log": False,
        # Pods decide neither how they are read nor whether.
        "k8s-logging.parser": False,
        "k8s-logging.exclude": False,
        "labels": True,
        "annotations": False,
        # Without a limit: a pod of which the API tells more than this would have no labels.
        "buffer_size": 0,
    }


def _without_prompts() -> Section:
    script = f"{CONFIG_DIRECTORY}/{SCRIPT_FILE}"
    return {"name": "lua", "alias": "prompts", "match": "kube.*", "script": script, "call": "without_content"}


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())
