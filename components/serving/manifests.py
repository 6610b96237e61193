"""The Kubernetes objects of a server. Pure functions; names of other objects may be outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pulumi

from ..base import selector
from ..pods import (
    ENGINE_SCRATCH,
    PROMPTS_LOGGED,
    device_groups,
    on_pool,
    resources,
    restricted_container,
    restricted_pod,
    scratch,
)
from ..storage.layout import MODEL_ROOT
from ..types import NodePool, SecretKey
from .arguments import PORT
from .config import ServerConfig
from .groups import DrainConfig
from .invariants import ENGINE, MODELS, MOST_REPLICAS, START, WEIGHTS
from .lifecycle import rollout
from .probes import probes

FABRIC = "vpc.amazonaws.com/efa"
"""What EFA's device plugin offers (aws/eks-charts, aws-efa-k8s-device-plugin)."""
_HUGE_PAGES_MIB = 5120
"""Huge pages of 2 MiB for libfabric: what AWS's own EFA examples ask for (AWS EKS user guide, node-efa)."""
SCRATCH_MIB = 10240
"""Compiled kernels and graphs take a few GiB at most; the rest are logs."""
API_KEY = "api-key"
"""Name of the volume with the key that clients must send."""
_KEY_DIRECTORY = "/run/secrets/api-key"
_WITH_KEY = 'VLLM_API_KEY="$$(cat {file})" && export VLLM_API_KEY && exec vllm serve "$$@"'
"""The key is a file, so it is in no manifest, no argument and no environment that Kubernetes knows. `$$` is Kubernetes' `$`."""


class Server(Protocol):
    """What the objects of a server follow from, whichever engine answers in it."""

    @property
    def pool(self) -> NodePool: ...
    @property
    def weights_gib(self) -> float: ...
    @property
    def claim_name(self) -> pulumi.Input[str] | None: ...
    @property
    def api_key_secret(self) -> SecretKey | None: ...
    @property
    def drain(self) -> DrainConfig: ...
    @property
    def priority_class_name(self) -> pulumi.Input[str] | None: ...
    @property
    def host_users(self) -> bool | None: ...
    @property
    def predicted_start_seconds(self) -> float | None: ...
    @property
    def replicas(self) -> int: ...
    @property
    def max_replicas(self) -> int | None: ...
    @property
    def most_replicas(self) -> int: ...
    @property
    def scaled(self) -> bool: ...
    @property
    def accelerators(self) -> int: ...
    @property
    def spare_accelerators(self) -> int: ...
    def deadline(self) -> int: ...
    def shared_memory_mib(self) -> int: ...


@dataclass(frozen=True)
class Around:
    """What a server's pod uses that others made."""

    config_map: pulumi.Input[str]
    service_account: pulumi.Input[str]
    init_containers: Sequence[Mapping[str, Any]] = ()
    """What must be true before the engine starts."""


def pod(
    config: ServerConfig, around: Around, arguments: Sequence[pulumi.Input[str]], labels: Mapping[str, str]
) -> dict[str, Any]:
    """The pod template of one node of a replica."""
    volumes, mounts = _volumes(config)
    flagged = {PROMPTS_LOGGED: "true"} if config.log_prompts else {}
    return template(config, around, _engine(config, around, arguments, mounts), volumes, dict(labels) | flagged)


def template(
    config: Server,
    around: Around,
    engine: Mapping[str, Any],
    volumes: Sequence[Mapping[str, Any]],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """The pod template around the container that answers."""
    spec: dict[str, Any] = {
        "serviceAccountName": around.service_account,
        **_placed(config.pool, labels),
        "terminationGracePeriodSeconds": config.drain.drain().grace,
        "securityContext": restricted_pod() | device_groups(config.pool),
        "containers": [engine],
        "volumes": list(volumes),
    }
    if around.init_containers:
        spec["initContainers"] = list(around.init_containers)
    if config.priority_class_name is not None:
        spec["priorityClassName"] = config.priority_class_name
    if config.host_users is not None:
        spec["hostUsers"] = config.host_users
    return {"metadata": {"labels": dict(labels)}, "spec": spec}


def engine_of(template: Mapping[str, Any]) -> dict[str, Any]:
    """The container that answers, of a pod template."""
    found: dict[str, Any] = next(container for container in template["spec"]["containers"] if container["name"] == ENGINE)
    return found


def annotations(config: Server) -> dict[str, str]:
    """What a server's numbers were derived from, for people and for `invariants`. Not on its pods: no rollout for a forecast."""
    found = {WEIGHTS: f"{config.weights_gib:.1f}"}
    if config.max_replicas is not None:
        found[MOST_REPLICAS] = str(config.max_replicas)
    if config.predicted_start_seconds is not None:
        found[START] = f"{config.predicted_start_seconds:.0f}"
    return found


def deployment(config: Server, template: Mapping[str, Any]) -> dict[str, Any]:
    """Spec of the Deployment of replicas that fit a node each."""
    return {
        **replicas(config),
        "progressDeadlineSeconds": config.deadline(),
        "strategy": rollout(config.most_replicas, config.accelerators, config.spare_accelerators),
        "selector": {"matchLabels": selector(template["metadata"]["labels"])},
        "template": template,
    }


def replicas(config: Server) -> dict[str, int]:
    """How many replicas there are, where no autoscaler says so: what two set, both would set back."""
    return {} if config.scaled else {"replicas": config.replicas}


def service(match: Mapping[str, str]) -> dict[str, Any]:
    """Spec of the Service clients use."""
    return {"type": "ClusterIP", **_endpoints(match)}


def replicas_service(match: Mapping[str, str]) -> dict[str, Any]:
    """Spec of the Service whose name resolves to every replica that is ready: for checks and metrics of each alone."""
    return {"type": "ClusterIP", "clusterIP": "None", **_endpoints(match)}


def _endpoints(match: Mapping[str, str]) -> dict[str, Any]:
    # By number: the pods of a RayService name their ports otherwise.
    return {
        "selector": dict(match),
        "ports": [{"name": "http", "port": PORT, "targetPort": PORT, "protocol": "TCP"}],
    }


def _placed(pool: NodePool, labels: Mapping[str, str]) -> dict[str, Any]:
    """On the pool's nodes; replicas on different nodes and in different zones where that is possible.

    The same for one replica, so that a second one restarts nothing.
    """
    placed = on_pool(pool)
    if pool.runtime_class_name:
        placed["runtimeClassName"] = pool.runtime_class_name
    same = {"labelSelector": {"matchLabels": selector(dict(labels))}}
    apart = {"weight": 100, "podAffinityTerm": same | {"topologyKey": "kubernetes.io/hostname"}}
    placed["affinity"]["podAntiAffinity"] = {"preferredDuringSchedulingIgnoredDuringExecution": [apart]}
    placed["topologySpreadConstraints"] = [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway", **same}
    ]
    return placed


def _engine(
    config: ServerConfig,
    around: Around,
    arguments: Sequence[pulumi.Input[str]],
    mounts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": ENGINE,
        "image": config.engine().image,
        "args": list(arguments),
        "envFrom": [{"configMapRef": {"name": around.config_map}}],
        # Else the engine guesses the address it listens on for its own processes.
        "env": [{"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        **probes(config.startup()),
        "lifecycle": {"preStop": {"sleep": {"seconds": config.drain.pre_stop}}},
        "securityContext": restricted_container(),
        "resources": _resources(config),
        "volumeMounts": list(mounts),
    }
    if not config.by_ray and (command := config.engine().command):
        container["command"] = list(command)
    if config.api_key_secret:
        container["command"] = ["/bin/sh", "-c", _WITH_KEY.format(file=key_file(config.api_key_secret)), "vllm"]
    return container


def _resources(config: ServerConfig) -> dict[str, Any]:
    if config.pool.accelerator is None:
        raise ValueError(f"pool {config.pool.name} has no accelerators")
    devices = {config.pool.accelerator.offered: config.accelerators_per_node}
    wanted = resources(str(config.cpus()), config.memory_mib(), SCRATCH_MIB, devices)
    if config.nodes > 1 and config.pool.fabric_interfaces:
        fabric = {FABRIC: str(config.pool.fabric_interfaces), "hugepages-2Mi": f"{_HUGE_PAGES_MIB}Mi"}
        for kind in ("requests", "limits"):
            wanted[kind] = wanted[kind] | fabric
    return wanted


def _volumes(config: ServerConfig) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Volumes of every server, and where the engine has them."""
    found, at = mounted(config)
    volumes, mounts = scratch(ENGINE_SCRATCH)
    if compiled := config.compiled():
        volumes, mounts = [*volumes, compiled.volume], [*mounts, compiled.mount]
    return [*found, *volumes], [*at, *mounts]


def mounted(config: Server) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The volumes with the model, with shared memory and with the key that clients must send, and where an engine has them."""
    found: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
    if config.claim_name is not None:
        claim = {"claimName": config.claim_name, "readOnly": True}
        found.append(({"persistentVolumeClaim": claim}, {"name": MODELS, "mountPath": MODEL_ROOT, "readOnly": True}))
    shared_memory = {"medium": "Memory", "sizeLimit": f"{config.shared_memory_mib()}Mi"}
    found.append(({"emptyDir": shared_memory}, {"name": "shared-memory", "mountPath": "/dev/shm"}))  # noqa: S108
    if config.api_key_secret:
        secret = config.api_key_secret
        source = {"secretName": secret.name, "items": [{"key": secret.key, "path": secret.key}], "defaultMode": 0o440}
        found.append(({"secret": source}, {"name": API_KEY, "mountPath": _KEY_DIRECTORY, "readOnly": True}))
    return [{"name": mount["name"], **volume} for volume, mount in found], [mount for _, mount in found]


def key_file(secret: SecretKey) -> str:
    """Where an engine finds the key that clients must send."""
    return f"{_KEY_DIRECTORY}/{secret.key}"
