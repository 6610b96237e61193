"""The objects of an autoscaler. Pure functions; names of other objects may be outputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from planner.autoscaling import Windows

from .groups import ScheduleConfig, Targets
from .queries import Trigger

FAILURES = 3
"""Polls without an answer before the fallback holds."""


def behavior(windows: Windows) -> dict[str, Any]:
    """How fast it may be, up and down."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [{"type": "Pods", "value": windows.scale_up_step, "periodSeconds": windows.scale_up_period}],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": windows.scale_down_seconds,
            "selectPolicy": "Max",
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": windows.scale_down_period}],
        },
    }


def horizontal_pod_autoscaler(
    target: Mapping[str, pulumi.Input[str]], least: int, most: int, targets: Targets, windows: Windows
) -> dict[str, Any]:
    """Spec of a HorizontalPodAutoscaler."""
    metrics: list[dict[str, Any]] = []
    if targets.cpu is not None:
        wanted = {"type": "Utilization", "averageUtilization": round(targets.cpu * 100)}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": wanted}})
    if targets.metric is not None:
        wanted = {"type": "AverageValue", "averageValue": number(targets.metric.average)}
        metrics.append({"type": "Pods", "pods": {"metric": {"name": targets.metric.name}, "target": wanted}})
    return {
        "scaleTargetRef": dict(target),
        "minReplicas": least,
        "maxReplicas": most,
        "metrics": metrics,
        "behavior": behavior(windows),
    }


def scaled_object(
    target: Mapping[str, pulumi.Input[str]],
    least: int,
    most: int,
    *,
    triggers: pulumi.Input[Sequence[Mapping[str, Any]]],
    windows: Windows,
    fallback_replicas: int,
    polling_seconds: int,
) -> dict[str, Any]:
    """Spec of a ScaledObject.

    Nothing is restored when it goes: how many servers there are then is the stack's to say, and the count from before would come
    from a time nobody remembers.
    """
    return {
        "scaleTargetRef": dict(target),
        "minReplicaCount": least,
        "maxReplicaCount": most,
        "pollingInterval": polling_seconds,
        "cooldownPeriod": windows.cooldown_seconds,
        "initialCooldownPeriod": windows.cooldown_seconds,
        "fallback": {"failureThreshold": FAILURES, "replicas": fallback_replicas, "behavior": "currentReplicasIfHigher"},
        "advanced": {
            "restoreToOriginalReplicaCount": False,
            "horizontalPodAutoscalerConfig": {"behavior": behavior(windows)},
        },
        "triggers": triggers,
    }


def prometheus_trigger(trigger: Trigger, address: str) -> dict[str, Any]:
    """A question to the Prometheus at `address`."""
    return {
        "type": "prometheus",
        "name": trigger.name,
        "metricType": "AverageValue" if trigger.average else "Value",
        "metadata": {
            "serverAddress": address,
            "query": trigger.query,
            "threshold": number(trigger.threshold),
            "ignoreNullValues": "false",
        },
    }


def cron_trigger(name: str, schedule: ScheduleConfig) -> dict[str, Any]:
    """Servers at least in between two times."""
    return {
        "type": "cron",
        "name": name,
        "metadata": {
            "timezone": schedule.timezone,
            "start": schedule.start,
            "end": schedule.end,
            "desiredReplicas": str(schedule.replicas),
        },
    }


def number(value: float) -> str:
    """As short as it can be: `4`, `0.8`."""
    return f"{value:g}"
