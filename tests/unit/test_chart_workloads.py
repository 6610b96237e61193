"""The workloads of the charts for monitoring, logs and scaling, held against the charts themselves where they are at hand."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.charts import rendering, workloads
from sandbox.providers.kubernetes.helm.charts import CHARTS_ENV, find
from sandbox.providers.kubernetes.helm.values import merge

CHARTS = (
    "kube-prometheus-stack", "grafana", "kube-state-metrics", "prometheus-node-exporter", "dcgm-exporter", "loki", "fluent-bit",
    "keda", "metrics-server",
    "gateway-helm", "cert-manager", "istiod", "gateway", "aws-load-balancer-controller",
)  # fmt: skip
with_charts = pytest.mark.skipif(not os.environ.get(CHARTS_ENV), reason=f"{CHARTS_ENV} names no folder with the charts")


def version(chart: str) -> str:
    [found] = workloads.known(chart)
    return found


def rendered(chart: str, values: dict[str, Any], release: str = "rel") -> dict[tuple[str, str], dict[str, Any]]:
    objects = rendering.objects(chart, workloads.known(chart)[version(chart)], release, "here", values)
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}


def pod(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"]["template"]["spec"]
    return found


@with_charts
@pytest.mark.parametrize("chart", CHARTS)
def test_workloads_are_those_of_the_chart(chart: str) -> None:
    everything = yaml.safe_load((Path(os.environ[CHARTS_ENV]) / "objects.yaml").read_text())
    shown = everything.get(f"{chart}-{version(chart)}") or everything[f"{chart}-v{version(chart)}"]
    theirs = {
        (text.split()[1], text.split()[2].rpartition("/")[2].rstrip(":")): about
        for entry in shown
        if isinstance(entry, dict)
        for text, about in entry.items()
        if text.split()[1] != "Job"
    }
    ours = rendered(chart, {"singleBinary": {"replicas": 1}} if chart == "loki" else {})
    awaited = rendering.awaited(chart, workloads.known(chart)[version(chart)], "rel", {})
    assert awaited == theirs.keys(), "every workload of the chart is made and awaited"
    for name, about in theirs.items():
        containers = pod(ours[name])["containers"]
        assert sorted(container["image"] for container in containers) == sorted(about["images"])
        assert ours[name]["spec"]["template"]["metadata"]["labels"] == about["podLabels"]
        ports = {port["containerPort"] for container in containers for port in container.get("ports", [])}
        assert ports == set(about["ports"])


@with_charts
@pytest.mark.parametrize("chart", CHARTS)
def test_defaults_are_those_of_the_chart(chart: str) -> None:
    known = find(chart, version(chart))
    assert known is not None
    theirs = known.defaults
    for name, sub in workloads.known(chart)[version(chart)].subcharts.items():
        subchart = find(name, sub.version)
        assert subchart is not None
        theirs = theirs | {name: merge(subchart.defaults, theirs[name])}
    found = dict(_differences(workloads.known(chart)[version(chart)].defaults, theirs, ""))
    # Filled in by the templates: the chart's own version, memory from allocatedMemory.
    filled_in = {"chunksCache.resources.limits", "chunksCache.resources.requests"}
    filled_in |= {text.replace("chunks", "results") for text in filled_in}
    assert {path for path in found if not path.endswith(".tag") and path.rpartition(".")[0] not in filled_in} == set(), found
    assert all(not other for path, (_, other) in found.items() if path.endswith(".tag")), found


def _differences(ours: Any, theirs: Any, path: str) -> Iterator[tuple[str, tuple[Any, Any]]]:
    if isinstance(ours, dict):
        for key, value in ours.items():
            yield from _differences(value, (theirs or {}).get(key), f"{path}.{key}".lstrip("."))
    elif ours != theirs:
        yield path, (ours, theirs)


def test_values_of_a_subchart_are_under_its_name() -> None:
    values = {
        "kubeStateMetrics": {"enabled": False},
        "prometheus-node-exporter": {"hostNetwork": False, "tolerations": [], "podLabels": {"part": "ours"}},
        "grafana": {"podLabels": {"part": "ours"}, "image": {"sha": "a" * 64}, "sidecar": {"datasources": {"enabled": False}}},
    }
    made = rendered("kube-prometheus-stack", values, "kube-prometheus-stack")
    assert {name for _, name in made} == {
        "kube-prometheus-stack-operator",
        "prometheus-kube-prometheus-stack-prometheus",
        "alertmanager-kube-prometheus-stack-alertmanager",
        "kube-prometheus-stack-grafana",
        "kube-prometheus-stack-prometheus-node-exporter",
    }
    exporter = made["DaemonSet", "kube-prometheus-stack-prometheus-node-exporter"]
    assert "hostNetwork" not in pod(exporter)
    assert pod(exporter)["hostPID"] is True
    assert "tolerations" not in pod(exporter)
    labels = exporter["spec"]["template"]["metadata"]["labels"]
    assert labels.items() >= {"part": "ours", "jobLabel": "node-exporter", "release": "kube-prometheus-stack"}.items()
    grafana = pod(made["Deployment", "kube-prometheus-stack-grafana"])
    assert [container["name"] for container in grafana["containers"]] == ["grafana", "grafana-sc-dashboard"]
    assert grafana["containers"][0]["image"] == f"docker.io/grafana/grafana:13.2.0@sha256:{'a' * 64}"


def test_claims_come_and_go_as_the_values_say() -> None:
    claim = {"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "50Gi"}}}}
    spec = {"storageSpec": {"volumeClaimTemplate": claim}, "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}
    made = rendered("kube-prometheus-stack", {"prometheus": {"prometheusSpec": spec}})
    prometheus = made["StatefulSet", "prometheus-rel-kube-prometheus-stack-prometheus"]["spec"]
    [template] = prometheus["volumeClaimTemplates"]
    assert template == {"metadata": {"name": "prometheus-rel-kube-prometheus-stack-prometheus-db"}, "spec": claim["spec"]}
    assert prometheus["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Delete"}
    assert "volumeClaimTemplates" not in made["StatefulSet", "alertmanager-rel-kube-prometheus-stack-alertmanager"]["spec"]

    def loki(**persistence: Any) -> dict[str, Any]:
        values = {"singleBinary": {"replicas": 1, "persistence": persistence}}
        return dict(rendered("loki", values)["StatefulSet", "rel-loki"]["spec"])

    assert loki(size="5Gi")["volumeClaimTemplates"][0]["spec"]["resources"]["requests"] == {"storage": "5Gi"}
    assert "persistentVolumeClaimRetentionPolicy" not in loki()
    deleted = loki(enableStatefulSetAutoDeletePVC=True, whenScaled="Retain")["persistentVolumeClaimRetentionPolicy"]
    assert deleted == {"whenDeleted": "Delete", "whenScaled": "Retain"}
    assert "volumeClaimTemplates" not in loki(enabled=False)


def test_an_agent_has_of_its_node_what_the_values_give_it() -> None:
    log, state = {"name": "log", "hostPath": {"path": "/var/log"}}, {"name": "state", "hostPath": {"path": "/var/lib/fluent-bit"}}
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("log", "state", "config")]
    values = {"daemonSetVolumes": [log], "extraVolumes": [state], "daemonSetVolumeMounts": [], "extraVolumeMounts": mounts}
    found = pod(rendered("fluent-bit", {**values, "podSecurityContext": {"runAsUser": 0}})["DaemonSet", "rel-fluent-bit"])
    assert found["volumes"] == [log, state]
    assert [mount["name"] for mount in found["containers"][0]["volumeMounts"]] == ["log", "state"]
    assert found["securityContext"] == {"runAsUser": 0}


def test_keda_is_placed_by_its_own_values_before_those_of_all() -> None:
    values = {
        "nodeSelector": {"pool": "system"},
        "operator": {"nodeSelector": {"pool": "scaling"}},
        "webhooks": {"enabled": False},
    }
    made = rendered("keda", values, "keda")
    assert pod(made["Deployment", "keda-operator"])["nodeSelector"] == {"pool": "scaling"}
    assert pod(made["Deployment", "keda-operator-metrics-apiserver"])["nodeSelector"] == {"pool": "system"}
    assert ("Deployment", "keda-admission-webhooks") not in made
    assert made["APIService", "v1beta1.external.metrics.k8s.io"]["spec"]["service"]["namespace"] == "here"
