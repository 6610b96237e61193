"""What the stand-in of KEDA makes of a ScaledObject, as kedacore/keda v2.20.2 has it (controllers/keda/hpa.go, pkg/fallback)."""

from typing import Any

import pytest

from sandbox.controllers import keda_objects as objects
from sandbox.controllers.keda_objects import InvalidError

PROMETHEUS = {"type": "prometheus", "metadata": {"serverAddress": "http://prometheus:9090", "query": "up", "threshold": "2.5"}}
NIGHT = {"timezone": "Europe/Berlin", "start": "0 22 * * 1-5", "end": "*/30 6 * * ?", "desiredReplicas": "1"}


def scaled(*triggers: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {
            "name": "qwen",
            "namespace": "models",
            "uid": "1",
            "labels": {"team": "a", "app.kubernetes.io/part-of": "ours"},
            "annotations": annotations or {},
        },
        "spec": {"scaleTargetRef": {"name": "qwen"}, "triggers": list(triggers or (PROMETHEUS,)), **spec},
    }


def hpa(given: dict[str, Any]) -> dict[str, Any]:
    return objects.hpa_of(given, objects.metrics_of(given))


def test_bounds_names_and_labels() -> None:
    made = hpa(scaled(minReplicaCount=0))
    assert made["metadata"]["name"] == "keda-hpa-qwen"
    assert (made["spec"]["minReplicas"], made["spec"]["maxReplicas"]) == (1, 100)
    assert made["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "qwen"}
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/name": "keda-hpa-qwen",
        "app.kubernetes.io/version": "2.20.2",
        "app.kubernetes.io/part-of": "ours",
        "app.kubernetes.io/managed-by": "keda-operator",
        "scaledobject.keda.sh/name": "qwen",
        "team": "a",
    }
    excluded = hpa(scaled(annotations={"scaledobject.keda.sh/hpa-excluded-labels": "team,app.kubernetes.io/part-of"}))
    assert excluded["metadata"]["labels"]["app.kubernetes.io/part-of"] == "qwen"
    assert "team" not in excluded["metadata"]["labels"]


def test_every_kind_of_trigger_has_its_metric() -> None:
    latency = {**PROMETHEUS, "metricType": "Value", "name": "latency"}
    cpu = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}}
    memory = {"type": "memory", "metricType": "AverageValue", "metadata": {"value": "1Gi", "containerName": "engine"}}
    found = hpa(scaled(cpu, PROMETHEUS, latency, {"type": "cron", "metadata": NIGHT}, memory))["spec"]["metrics"]
    selected = {"matchLabels": {"scaledobject.keda.sh/name": "qwen"}}
    container = {"name": "memory", "container": "engine", "target": {"type": "AverageValue", "averageValue": "1Gi"}}
    external = [
        ("s1-prometheus", {"type": "AverageValue", "averageValue": "2500m"}),
        ("s2-prometheus", {"type": "Value", "value": "2500m"}),
        ("s3-cron-Europe-Berlin-022xx1-5-xSl306xxQm", {"type": "AverageValue", "averageValue": "1"}),
    ]
    assert found == [
        {"type": "ContainerResource", "containerResource": container},
        *(
            {"type": "External", "external": {"metric": {"name": name, "selector": selected}, "target": target}}
            for name, target in external
        ),
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
    ]


def test_a_pause_in_one_direction_disables_that_direction() -> None:
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}, "scaleUp": {"stabilizationWindowSeconds": 0}}
    advanced = {"horizontalPodAutoscalerConfig": {"behavior": behavior}}
    assert hpa(scaled(advanced=advanced))["spec"]["behavior"] == behavior
    held = hpa(scaled(advanced=advanced, annotations={objects.PAUSED_IN: "true", objects.PAUSED_OUT: "false"}))
    assert held["spec"]["behavior"] == {
        "scaleDown": {"stabilizationWindowSeconds": 60, "selectPolicy": "Disabled"},
        "scaleUp": {"stabilizationWindowSeconds": 0},
    }


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ({**PROMETHEUS, "metadata": {**PROMETHEUS["metadata"], "threshold": ""}}, 'missing required parameter "threshold"'),  # type: ignore[dict-item]
        ({**PROMETHEUS, "metadata": {**PROMETHEUS["metadata"], "threshold": "many"}}, 'value "many": it is no number'),  # type: ignore[dict-item]
        ({**PROMETHEUS, "metricType": "Utilization"}, '"Utilization" metric type is unsupported'),
        ({"type": "cpu"}, 'missing required parameter "value"'),
        ({"type": "kafka"}, "not kafka"),
    ],
)
def test_what_a_trigger_lacks_is_told(trigger: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        objects.metrics_of(scaled(trigger))


def test_triggers_of_one_name_are_refused() -> None:
    named = {**PROMETHEUS, "name": "waiting"}
    with pytest.raises(InvalidError, match='"waiting" is defined multiple times'):
        objects.metrics_of(scaled(named, named))


def test_values_are_told_by_trigger_or_metric() -> None:
    given = scaled({**PROMETHEUS, "name": "waiting"}, PROMETHEUS, PROMETHEUS)
    given["metadata"]["annotations"] = {objects.METRICS: '{"waiting": 7, "s1-prometheus": "error"}'}
    metrics = objects.metrics_of(given)
    assert objects.values_of(given, metrics) == {"s0-prometheus": 7, "s1-prometheus": "error", "s2-prometheus": 0}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"minReplicaCount": 3, "maxReplicaCount": 2}, "MinReplicaCount=3 must be less than MaxReplicaCount=2"),
        ({"minReplicaCount": 2, "idleReplicaCount": 2}, "IdleReplicaCount=2 must be less than MinReplicaCount=2"),
        ({"idleReplicaCount": 0}, "IdleReplicaCount=0 must be less than MinReplicaCount=0"),
    ],
)
def test_bounds_that_contradict_each_other_are_refused(spec: dict[str, int], said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        objects.check_replicas(spec)


@pytest.mark.parametrize(
    ("metric_type", "behavior", "expected"),
    [
        ("AverageValue", "static", 4 * 2.5),
        ("AverageValue", "currentReplicas", 6 * 2.5),
        ("AverageValue", "currentReplicasIfLower", 4 * 2.5),
        ("Value", "currentReplicasIfHigher", 6 / 3 * 2.5),
    ],
)
def test_the_fallback_is_a_value_that_asks_for_its_replicas(metric_type: str, behavior: str, expected: float) -> None:
    given = scaled(
        {**PROMETHEUS, "metricType": metric_type}, fallback={"failureThreshold": 1, "replicas": 4, "behavior": behavior}
    )
    [metric] = objects.metrics_of(given)
    assert objects.fallback_value(given, metric, replicas=6, ready=3) == expected
    if metric_type == "Value":
        with pytest.raises(InvalidError, match="error performing fallback"):
            objects.fallback_value(given, metric, replicas=6, ready=0)
