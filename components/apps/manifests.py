"""The Kubernetes objects of an app. Pure functions; names of other objects may be outputs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import pulumi

from planner.autoscaling import windows

from ..base import selector
from ..pods import on_pool, resources, restricted_container, restricted_pod, scratch
from ..routing import load_balancers
from ..scaling.groups import Targets
from ..scaling.manifests import horizontal_pod_autoscaler
from ..serving.invariants import MOST_REPLICAS
from ..types import NodePool, TaintEffect
from .config import AppConfig
from .groups import AppProbes, KeyAs

CONTAINER = "app"
_PRE_STOP_SECONDS = 10
"""Until endpoints and load balancers have dropped a pod that stops."""
_SCRATCH = {"tmp": "/tmp"}  # noqa: S108 - a path inside the container
_SECRETS = "/run/secrets"
_STARTUP_PERIOD = 2
_IDLE_SECONDS = 3600
"""Longest silence within an answer, as before models: an app that waits for a model says nothing meanwhile."""
_SCALE_DOWN_SECONDS = 300
"""How long a replica must have been too many: what Kubernetes takes by default (kubernetes.io, "Horizontal Pod Autoscaling",
stabilization window). Unlike a model's, another one is there within a minute."""


@dataclass(frozen=True)
class Around:
    """What an app's pods use that others made."""

    config_map: pulumi.Input[str]
    service_account: pulumi.Input[str]


def environment(config: AppConfig) -> dict[str, pulumi.Input[str]]:
    """Its variables, without what is secret."""
    told: dict[str, pulumi.Input[str]] = {
        # Nothing else can be written to, and the user has no home.
        "HOME": _SCRATCH["tmp"],
        "PORT": str(config.port),
    }
    for api in config.calls:
        told |= api.variables()
    files = {f"{name}_FILE": path for name, path in _files(config).items()}
    return {**told, **files, **config.environment}


def pod(config: AppConfig, around: Around, labels: Mapping[str, str]) -> dict[str, Any]:
    """The pod template."""
    volumes, mounts = _volumes(config)
    spec: dict[str, Any] = {
        "serviceAccountName": around.service_account,
        **_placed(config, labels),
        "terminationGracePeriodSeconds": _PRE_STOP_SECONDS + config.stop_seconds,
        # The image's own user may be root, or have a name, of which the kubelet cannot tell that it is not.
        "securityContext": restricted_pod() | {"runAsUser": config.user, "runAsGroup": config.user, "fsGroup": config.user},
        "containers": [_container(config, around, mounts)],
        "volumes": volumes,
    }
    if config.priority_class_name is not None:
        spec["priorityClassName"] = config.priority_class_name
    return {"metadata": {"labels": dict(labels)}, "spec": spec}


def annotations(config: AppConfig) -> dict[str, str]:
    """What the Deployment notes of its autoscaler. Without a change of its own it would keep that one's number of replicas, when
    the autoscaler goes."""
    return {MOST_REPLICAS: str(config.scaling.max_replicas)} if config.scaling else {}


def deployment(config: AppConfig, template: Mapping[str, Any]) -> dict[str, Any]:
    """Spec of the Deployment: a new replica is ready before an old one goes."""
    return {
        **({} if config.scaling else {"replicas": config.fixed_replicas}),
        "progressDeadlineSeconds": config.deadline_seconds,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": selector(template["metadata"]["labels"])},
        "template": template,
    }


def service(config: AppConfig, match: Mapping[str, str]) -> dict[str, Any]:
    """Spec of the Service; a load balancer where one is asked for."""
    ports = [{"name": "http", "port": config.service_port, "targetPort": config.port, "protocol": "TCP"}]
    common = {"selector": dict(match), "ports": ports}
    if config.load_balancer is None:
        return {"type": "ClusterIP", **common}
    balancer = config.load_balancer
    return {**load_balancers.spec(on_aws=balancer.on_aws, source_ranges=balancer.source_ranges), **common}


def service_annotations(config: AppConfig) -> dict[str, str]:
    """What the Service says to whoever makes its load balancer."""
    balancer = config.load_balancer
    if balancer is None:
        return {}
    return load_balancers.annotations(
        on_aws=balancer.on_aws,
        internal=balancer.internal,
        ports=[config.service_port],
        idle_seconds=_IDLE_SECONDS,
        certificate_arn=balancer.certificate_arn,
        ready=(config.port, config.probes.readiness) if config.probes.readiness else None,
    )


def autoscaler(config: AppConfig, deployment_name: pulumi.Input[str]) -> dict[str, Any]:
    """Spec of its HorizontalPodAutoscaler. Raises ValueError for an app that is not scaled."""
    scaling = config.scaling
    if scaling is None:
        raise ValueError(f"{config.app_name} has no scaling")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment_name}
    least, most = scaling.min_replicas, scaling.max_replicas
    stops = _PRE_STOP_SECONDS + config.stop_seconds
    pace = windows(config.startup_seconds, least, most, stops, _SCALE_DOWN_SECONDS)
    return horizontal_pod_autoscaler(target, least, most, Targets(cpu=scaling.cpu), pace)


def probes(asked: AppProbes, port: int, startup_seconds: int) -> dict[str, Any]:
    """The three probes; liveness and readiness begin when the start is over."""
    threshold = -(-startup_seconds // _STARTUP_PERIOD)
    return {
        "startupProbe": _asks(asked.startup, port) | {"periodSeconds": _STARTUP_PERIOD, "failureThreshold": threshold},
        "readinessProbe": _asks(asked.readiness, port) | {"periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 3},
        "livenessProbe": _asks(asked.liveness, port) | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
    }


def _asks(path: str | None, port: int) -> dict[str, Any]:
    return {"tcpSocket": {"port": port}} if path is None else {"httpGet": {"path": path, "port": port}}


def _container(config: AppConfig, around: Around, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": config.image,
        "envFrom": [{"configMapRef": {"name": around.config_map}}],
        "ports": [{"name": "http", "containerPort": config.port, "protocol": "TCP"}],
        **probes(config.probes, config.port, config.startup_seconds),
        "lifecycle": {"preStop": {"sleep": {"seconds": _PRE_STOP_SECONDS}}},
        "securityContext": restricted_container(),
        "resources": resources(config.cpu, config.memory_mib, config.disk_mib),
        "volumeMounts": mounts,
    }
    if variables := [*_secret_variables(config)]:
        container["env"] = variables
    for key, words in (("command", config.command), ("args", config.arguments)):
        if words:
            container[key] = list(words)
    return container


def _secret_variables(config: AppConfig) -> Iterator[dict[str, Any]]:
    for variable, secret in config.given().items():
        if secret.key_as is KeyAs.VARIABLE:
            yield {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}}}


def _files(config: AppConfig) -> dict[str, str]:
    """By variable the path of each value that is a file."""
    given = config.given().items()
    return {name: f"{_directory(name)}/{secret.key}" for name, secret in given if secret.key_as is KeyAs.FILE}


def _directory(variable: str) -> str:
    return f"{_SECRETS}/{variable.lower().replace('_', '-')}"


def _volume(variable: str) -> str:
    return f"secret-{variable.lower().replace('_', '-')}"


def _volumes(config: AppConfig) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Volumes of every replica, and where it has them."""
    volumes, mounts = scratch(_SCRATCH)
    for variable in _files(config):
        secret, name = config.given()[variable], _volume(variable)
        items = [{"key": secret.key, "path": secret.key}]
        volumes.append({"name": name, "secret": {"secretName": secret.name, "items": items, "defaultMode": 0o440}})
        mounts.append({"name": name, "mountPath": _directory(variable), "readOnly": True})
    return volumes, mounts


def _placed(config: AppConfig, labels: Mapping[str, str]) -> dict[str, Any]:
    """Where it may run; replicas on different nodes and in different zones where that is possible."""
    placed: dict[str, Any] = {"automountServiceAccountToken": False, "enableServiceLinks": False}
    if config.pool is not None:
        placed |= on_pool(config.pool)
    else:
        placed["nodeSelector"] = {"kubernetes.io/os": "linux", **config.system_labels}
        if terms := _elsewhere(config.avoided_pools):
            placed["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    same = {"labelSelector": {"matchLabels": selector(dict(labels))}}
    placed["topologySpreadConstraints"] = [
        {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", **same}
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]
    return placed


def _elsewhere(pools: Sequence[NodePool]) -> dict[str, Any]:
    """Terms that hold for the nodes of none of the pools, as far as no taint keeps pods away; empty where nothing is to be said.

    A node is of a pool if it has all of its labels. So one of each pool's has to be missing, whichever.
    """
    open_to_all = [pool for pool in pools if all(taint.effect is TaintEffect.PREFER_NO_SCHEDULE for taint in pool.taints)]
    if not open_to_all:
        return {}
    missing = product(*(sorted(pool.labels.items()) for pool in open_to_all))
    return {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]} for key, value in dict.fromkeys(labels)]}
            for labels in dict.fromkeys(missing)
        ]
    }
