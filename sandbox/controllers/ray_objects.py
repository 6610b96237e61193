"""The objects KubeRay makes for a RayService, as ray-project/kuberay ray-operator/controllers/ray/common makes them. Pure."""

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

import yaml

from components.quantities import quantity

VERSION: Final = "v1.6.1"
API_VERSION: Final = "ray.io/v1"
CLUSTER: Final = "ray.io/cluster"
NODE_TYPE: Final = "ray.io/node-type"
GROUP: Final = "ray.io/group"
SERVE: Final = "ray.io/serve"
SERVICE: Final = "ray.io/originated-from-cr-name"
HASH: Final = "ray.io/hash-without-replicas-and-workers-to-delete"
_KIND: Final = "ray.io/originated-from-crd"
_FIXED: Final = (CLUSTER, NODE_TYPE, GROUP)
_OVERWRITE: Final = "ray.io/overwrite-container-cmd"
_COMMAND: Final = ["/bin/bash", "-c", "--"]
_WAIT: Final = "until ray health-check --address {address} > /dev/null 2>&1; do sleep 5; done"
_PORTS: Final = {"client": 10001, "gcs-server": 6379, "dashboard": 8265, "metrics": 8080, "serve": 8000}

Object = Mapping[str, Any]


def spec_hash(service: Object) -> str:
    """Changes with everything a cluster is made from but the number of its workers."""
    config = deepcopy(service["spec"]["rayClusterConfig"])
    for group in config.get("workerGroupSpecs") or []:
        for counted in ("replicas", "minReplicas", "maxReplicas", "scaleStrategy"):
            group.pop(counted, None)
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:40]


def ray_cluster(service: Object, name: str) -> dict[str, Any]:
    """The RayCluster of a RayService."""
    config = service["spec"]["rayClusterConfig"]
    annotations = {
        **(service["metadata"].get("annotations") or {}),
        HASH: spec_hash(service),
        "ray.io/num-worker-groups": str(len(config.get("workerGroupSpecs") or [])),
        "ray.io/kuberay-version": VERSION,
    }
    labels = {**(service["metadata"].get("labels") or {}), SERVICE: name_of(service), _KIND: "RayService"}
    metadata = _metadata(name, service, "RayService", labels) | {"annotations": annotations}
    return {"apiVersion": API_VERSION, "kind": "RayCluster", "metadata": metadata, "spec": config}


def token(cluster: Object, text: str) -> dict[str, Any] | None:
    """The Secret with the token of a cluster; None where there is no authentication, or a Secret of the user's own."""
    wanted = cluster["spec"].get("authOptions") or {}
    if wanted.get("mode") != "token" or wanted.get("secretName"):
        return None
    metadata = _metadata(name_of(cluster), cluster, "RayCluster", {CLUSTER: name_of(cluster)})
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"auth_token": text}}


def head_service(cluster: Object) -> dict[str, Any]:
    """Where workers find the head, ready or not."""
    selector = _labels(cluster, "head", "headgroup")
    selector = {key: selector[key] for key in (CLUSTER, NODE_TYPE, "ray.io/identifier")}
    ports = [{"name": key, "port": port, "appProtocol": "tcp"} for key, port in sorted(_ports(cluster).items())]
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": selector, "ports": ports}
    metadata = _metadata(f"{name_of(cluster)}-head-svc", cluster, "RayCluster", selector)
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def services(service: Object, cluster: Object) -> list[dict[str, Any]]:
    """The Services of a RayService, whose selectors move from cluster to cluster: of the head, and of all that serve."""
    labels = {SERVICE: name_of(service), _KIND: "RayService"}
    head = head_service(cluster)
    head["metadata"] = _metadata(f"{name_of(service)}-head-svc", service, "RayService", labels | {NODE_TYPE: "head"})
    ports = [{"name": key, "port": port} for key, port in sorted(_ports(cluster).items()) if key.split("-")[0] == "serve"]
    serve = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(
            f"{name_of(service)}-serve-svc", service, "RayService", labels | {SERVE: f"{name_of(service)}-serve"}
        ),
        "spec": {"selector": {CLUSTER: name_of(cluster), SERVE: "true"}, "ports": ports},
    }
    return [head, serve]


def head_pod(cluster: Object) -> dict[str, Any]:
    group = cluster["spec"]["headGroupSpec"]
    made = _pod(cluster, group, "head", "headgroup")
    made["metadata"]["labels"][SERVE] = "false"  # until its proxy is healthy
    return made


def worker_pod(cluster: Object, group: Object) -> dict[str, Any]:
    made = _pod(cluster, group, "worker", group["groupName"])
    made["metadata"]["labels"][SERVE] = "true"
    engine = made["spec"]["containers"][0]
    waits = {
        "name": "wait-gcs-ready",
        "image": engine["image"],
        "command": _COMMAND,
        "args": [_WAIT.format(address=_address(cluster))],
        "env": engine["env"],
        "volumeMounts": engine["volumeMounts"],
        "resources": {kind: {"cpu": "200m", "memory": "256Mi"} for kind in ("requests", "limits")},
    }
    if "securityContext" in engine:
        waits["securityContext"] = engine["securityContext"]
    made["spec"]["initContainers"] = [*(made["spec"].get("initContainers") or []), waits]
    return made


def applications(service: Object) -> list[str]:
    """Names of the applications Ray Serve is to run; none for a text that has none."""
    found = yaml.safe_load(service["spec"].get("serveConfigV2") or "") or {}
    return [str(each.get("name", "default")) for each in found.get("applications") or []]


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _pod(cluster: Object, group: Object, kind: str, group_name: str) -> dict[str, Any]:
    template = deepcopy(dict(group["template"]))
    metadata = _metadata("", cluster, "RayCluster", {})
    del metadata["name"]
    given = template.get("metadata") or {}
    labels = given.get("labels") or {}
    prefix = name_of(cluster) if kind == "head" else f"{name_of(cluster)}-{group_name}"
    metadata |= {
        "generateName": f"{prefix[:50]}-{kind}-",
        "labels": _labels(cluster, kind, group_name) | {key: text for key, text in labels.items() if key not in _FIXED},
        "annotations": given.get("annotations") or {},
    }
    spec = template["spec"]
    engine = spec["containers"][0]
    start = _start(cluster, group, kind, engine)
    engine["env"] = [*(engine.get("env") or []), *_environment(cluster, kind, start)]
    if metadata["annotations"].get(_OVERWRITE) != "true":
        before = " ".join([*engine.get("command", []), *engine.get("args", [])])
        engine["command"] = _COMMAND
        engine["args"] = [f"{before} && {start}" if before else start]
    ports = engine.get("ports") or []
    if all(port.get("name") != "metrics" for port in ports):
        engine["ports"] = [*ports, {"name": "metrics", "containerPort": _PORTS["metrics"]}]
    mounts = engine.get("volumeMounts") or []
    if all(mount["mountPath"] != "/dev/shm" for mount in mounts):  # noqa: S108 - a path inside the container
        spec["volumes"] = [*(spec.get("volumes") or []), {"name": "shared-mem", "emptyDir": {"medium": "Memory"}}]
        mounts = [*mounts, {"name": "shared-mem", "mountPath": "/dev/shm"}]  # noqa: S108 - as above
    engine["volumeMounts"] = mounts
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _labels(cluster: Object, kind: str, group: str) -> dict[str, str]:
    return {
        "ray.io/is-ray-node": "yes",
        CLUSTER: name_of(cluster),
        NODE_TYPE: kind,
        GROUP: group,
        "ray.io/identifier": f"{name_of(cluster)}-{kind}"[:63],
        "app.kubernetes.io/name": "kuberay",
        "app.kubernetes.io/created-by": "kuberay-operator",
    }


def _environment(cluster: Object, kind: str, start: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": "RAY_CLUSTER_NAME", "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{CLUSTER}']"}}},
        {"name": "KUBERAY_GEN_RAY_START_CMD", "value": start},
        {"name": "RAY_PORT", "value": "6379"},
        {"name": "RAY_ADDRESS", "value": "127.0.0.1:6379" if kind == "head" else _address(cluster)},
    ]
    if kind == "worker":
        found.append({"name": "FQ_RAY_IP", "value": _address(cluster).partition(":")[0]})
    wanted = cluster["spec"].get("authOptions") or {}
    if wanted.get("mode") == "token":
        secret = {"name": wanted.get("secretName") or name_of(cluster), "key": "auth_token"}
        found += [
            {"name": "RAY_AUTH_MODE", "value": "token"},
            {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": secret}},
        ]
    return found


def _start(cluster: Object, group: Object, kind: str, engine: Object) -> str:
    resources = engine.get("resources") or {}
    limits = resources.get("limits") or {}
    cpu = limits.get("cpu") or (resources.get("requests") or {}).get("cpu")
    parameters = {**(group.get("rayStartParams") or {})}
    parameters.setdefault("block", "true")
    parameters.setdefault("metrics-export-port", str(_PORTS["metrics"]))
    parameters.setdefault("dashboard-agent-listen-port", "52365")
    if kind == "head":
        parameters.setdefault("dashboard-host", "0.0.0.0")  # noqa: S104 - inside the simulated pod
    else:
        parameters.setdefault("address", _address(cluster))
    if cpu:
        parameters.setdefault("num-cpus", _whole(cpu))
    if memory := limits.get("memory"):
        parameters.setdefault("memory", _whole(memory))
    if gpus := next((limits[key] for key in sorted(limits) if key.endswith("gpu")), None):
        parameters.setdefault("num-gpus", str(gpus))
    words = " ".join(f"--{key}" if value == "true" else f"--{key}={value}" for key, value in sorted(parameters.items()))
    return f"ulimit -n 65536; ray start {'--head ' if kind == 'head' else ''}{words}"


def _whole(amount: object) -> str:
    return str(int(quantity(str(amount)).to_integral_value(rounding="ROUND_CEILING")))


def _address(cluster: Object) -> str:
    return f"{name_of(cluster)}-head-svc.{cluster['metadata']['namespace']}.svc.cluster.local:6379"


def _ports(cluster: Object) -> dict[str, int]:
    given = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0].get("ports") or []
    named = {str(port.get("name") or f"{port['containerPort']}-port"): int(port["containerPort"]) for port in given}
    return {"metrics": _PORTS["metrics"], **named} if named else dict(_PORTS)


def _metadata(name: str, owner: Object, kind: str, labels: Mapping[str, str]) -> dict[str, Any]:
    reference = {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": name_of(owner),
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    namespace = owner["metadata"]["namespace"]
    return {"name": name, "namespace": namespace, "labels": dict(labels), "ownerReferences": [reference]}
