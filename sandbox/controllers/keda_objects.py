"""What KEDA makes of a ScaledObject: its metrics, its HorizontalPodAutoscaler, what is wrong with it. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandbox.controllers.cluster import Object

FINALIZER: Final = "finalizer.keda.sh"
OWNER: Final = "scaledobject.keda.sh/name"
METRICS: Final = "llm-platform.rehearsal/metrics"
"""Annotation of a ScaledObject with the values of its triggers, as JSON by their names; `"error"` where one cannot be read."""
PAUSED: Final = "autoscaling.keda.sh/paused"
PAUSED_REPLICAS: Final = "autoscaling.keda.sh/paused-replicas"
PAUSED_IN: Final = "autoscaling.keda.sh/paused-scale-in"
PAUSED_OUT: Final = "autoscaling.keda.sh/paused-scale-out"
FORCED: Final = "autoscaling.keda.sh/force-activation"
_EXCLUDED_LABELS: Final = "scaledobject.keda.sh/hpa-excluded-labels"
_RESOURCES: Final = ("cpu", "memory")
_VERSION: Final = "2.20.2"


class InvalidError(Exception):
    """What KEDA says of a ScaledObject that it cannot work with."""


@dataclass(frozen=True)
class Metric:
    """What one trigger asks of the autoscaler; resource metrics have no name and no value here."""

    spec: dict[str, Any]
    name: str = ""
    trigger: str = ""
    target: float = 0.0
    active_above: float = 0.0


def metrics_of(scaled: Object) -> list[Metric]:
    """The metrics of all triggers in their order. Raises InvalidError."""
    triggers = scaled["spec"]["triggers"]
    names = [trigger["name"] for trigger in triggers if trigger.get("name")]
    if twice := next((name for name in names if names.count(name) > 1), None):
        said = f'triggerName "{twice}" is defined multiple times in the ScaledObject/ScaledJob, but it must be unique'
        raise InvalidError(said)
    return [_metric(scaled["metadata"]["name"], number, trigger) for number, trigger in enumerate(triggers)]


def check_replicas(spec: Mapping[str, Any]) -> None:
    """Raises InvalidError for bounds that contradict each other."""
    least, most = (max(1, spec["minReplicaCount"]) if "minReplicaCount" in spec else 0), spec.get("maxReplicaCount", 100)
    if least > most:
        raise InvalidError(f"MinReplicaCount={least} must be less than MaxReplicaCount={most}")
    idle = spec.get("idleReplicaCount")
    if idle is not None and idle >= least:
        raise InvalidError(f"IdleReplicaCount={idle} must be less than MinReplicaCount={least}")


def hpa_name(scaled: Object) -> str:
    """The name of its HorizontalPodAutoscaler."""
    given = ((scaled["spec"].get("advanced") or {}).get("horizontalPodAutoscalerConfig") or {}).get("name")
    return str(given or f"keda-hpa-{scaled['metadata']['name']}")


def target_of(scaled: Object) -> tuple[str, str, str]:
    """(apiVersion, kind, name) of what is scaled."""
    given = scaled["spec"]["scaleTargetRef"]
    return given.get("apiVersion") or "apps/v1", given.get("kind") or "Deployment", given["name"]


def hpa_of(scaled: Object, metrics: list[Metric]) -> dict[str, Any]:
    """The HorizontalPodAutoscaler of a ScaledObject."""
    metadata, spec, name = scaled["metadata"], scaled["spec"], hpa_name(scaled)
    api_version, kind, target = target_of(scaled)
    annotations = metadata.get("annotations") or {}
    excluded = annotations.get(_EXCLUDED_LABELS, "").split(",")
    labels = {
        "app.kubernetes.io/name": name[:63],
        "app.kubernetes.io/version": _VERSION,
        "app.kubernetes.io/part-of": metadata["name"],
        "app.kubernetes.io/managed-by": "keda-operator",
        **{key: value for key, value in (metadata.get("labels") or {}).items() if key not in excluded},
        OWNER: metadata["name"],
    }
    owner = {
        "apiVersion": scaled["apiVersion"],
        "kind": scaled["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    wanted: dict[str, Any] = {
        "minReplicas": spec.get("minReplicaCount") or 1,
        "maxReplicas": spec.get("maxReplicaCount", 100),
        "metrics": sorted((metric.spec for metric in metrics), key=lambda each: str(each["type"])),
        "scaleTargetRef": {"apiVersion": api_version, "kind": kind, "name": target},
    }
    if behavior := _behavior(spec, annotations):
        wanted["behavior"] = behavior
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner],
        },
        "spec": wanted,
    }


def values_of(scaled: Object, metrics: Iterable[Metric]) -> dict[str, Any]:
    """The values of external metrics; what is not told is 0, since nobody asks anything of a rehearsed model."""
    try:
        told = json.loads((scaled["metadata"].get("annotations") or {}).get(METRICS, "{}"))
    except ValueError:
        told = {}
    found = {each.name: told.get(each.trigger, told.get(each.name, 0)) for each in metrics if each.name}
    return {name: value if isinstance(value, int | float) else "error" for name, value in found.items()}


def switched_on(scaled: Object, annotation: str) -> bool:
    """Whether an annotation says so; anything that is not a false of Go counts as true."""
    value = (scaled["metadata"].get("annotations") or {}).get(annotation)
    return value is not None and value not in ("0", "f", "F", "false", "FALSE", "False")


def fallback_value(scaled: Object, metric: Metric, replicas: int, ready: int) -> float:
    """What the autoscaler is told of a metric that cannot be read for too long, so that it asks for the replicas of the fallback.

    `replicas` are those wanted now, `ready` the pods that are ready. Raises InvalidError where there is no such value.
    """
    fallback = scaled["spec"]["fallback"]
    wanted = {
        "currentReplicas": replicas,
        "currentReplicasIfHigher": max(replicas, fallback["replicas"]),
        "currentReplicasIfLower": min(replicas, fallback["replicas"]),
    }.get(fallback.get("behavior", "static"), fallback["replicas"])
    if metric.spec["external"]["target"]["type"] == "AverageValue":
        return float(wanted) * metric.target
    if ready == 0:
        raise InvalidError("error performing fallback")
    return float(wanted) / ready * metric.target


def quantity(value: float) -> str:
    """As Kubernetes writes it."""
    milli = round(value * 1000)
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def _metric(owner: str, number: int, trigger: Mapping[str, Any]) -> Metric:
    kind, given = trigger["type"], trigger.get("metadata") or {}
    if kind in _RESOURCES:
        return Metric(_resource(kind, trigger))
    if kind == "prometheus":
        for name in ("serverAddress", "query", "threshold"):
            if not given.get(name):
                raise InvalidError(f'error parsing prometheus metadata: missing required parameter "{name}" in [triggerMetadata]')
        name, target = "prometheus", _number(given, "threshold")
        above = _number(given, "activationThreshold")
    elif kind == "cron":
        start, end = (_cron(given.get(name, "")) for name in ("start", "end"))
        name, target, above = _normal(f"cron-{given.get('timezone', '')}-{start}-{end}"), 1.0, 0.0
    else:
        raise InvalidError(f"the rehearsal knows triggers of the types prometheus, cron, cpu and memory, not {kind}")
    metric_type = trigger.get("metricType") or "AverageValue"
    if metric_type == "Utilization":
        said = '"Utilization" metric type is unsupported for external metrics, allowed values are "Value" or "AverageValue"'
        raise InvalidError(said)
    full = f"s{number}-{name}"
    field = "averageValue" if metric_type == "AverageValue" else "value"
    external = {
        "metric": {"name": full, "selector": {"matchLabels": {OWNER: owner}}},
        "target": {"type": metric_type, field: quantity(target)},
    }
    return Metric({"type": "External", "external": external}, full, trigger.get("name", ""), target, above)


def _resource(kind: str, trigger: Mapping[str, Any]) -> dict[str, Any]:
    given, metric_type = trigger.get("metadata") or {}, trigger.get("metricType") or "Utilization"
    if not given.get("value"):
        raise InvalidError('error parsing cpu/memory metadata: missing required parameter "value" in [triggerMetadata]')
    target: dict[str, Any] = {"type": metric_type}
    if metric_type == "Utilization":
        target["averageUtilization"] = int(_number(given, "value"))
    else:
        target["averageValue"] = given["value"]
    if container := given.get("containerName"):
        return {"type": "ContainerResource", "containerResource": {"name": kind, "container": container, "target": target}}
    return {"type": "Resource", "resource": {"name": kind, "target": target}}


def _behavior(spec: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any]:
    given = ((spec.get("advanced") or {}).get("horizontalPodAutoscalerConfig") or {}).get("behavior") or {}
    stopped = {"scaleDown": PAUSED_IN, "scaleUp": PAUSED_OUT}
    found = {"metadata": {"annotations": annotations}}
    held = {way: {**given.get(way, {}), "selectPolicy": "Disabled"} for way, name in stopped.items() if switched_on(found, name)}
    return {**given, **held}


def _number(given: Mapping[str, str], name: str) -> float:
    try:
        return float(given.get(name) or 0)
    except ValueError:
        raise InvalidError(f'unable to set param "{name}" value "{given[name]}": it is no number') from None


def _cron(text: str) -> str:
    for old, new in ((" ", ""), ("*", "x"), ("/", "Sl"), ("?", "Qm"), (",", "Cm")):
        text = text.replace(old, new)
    return text


def _normal(text: str) -> str:
    return "".join("-" if letter in "/.:%()" else letter for letter in text)
