"""The objects the controller of LeaderWorkerSets makes, as kubernetes-sigs/lws pkg/controllers makes them. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

API_VERSION = "leaderworkerset.x-k8s.io/v1"
_PREFIX = "leaderworkerset.sigs.k8s.io"
NAME = f"{_PREFIX}/name"
GROUP_INDEX = f"{_PREFIX}/group-index"
WORKER_INDEX = f"{_PREFIX}/worker-index"
GROUP_KEY = f"{_PREFIX}/group-key"
REVISION = f"{_PREFIX}/template-revision-hash"
REPLICAS = f"{_PREFIX}/replicas"
LEADER_NAME = f"{_PREFIX}/leader-name"
EXCLUSIVE = f"{_PREFIX}/exclusive-topology"
_SIZE = f"{_PREFIX}/size"
_SUBDOMAIN = f"{_PREFIX}/subdomainPolicy"

Object = Mapping[str, Any]


def replicas_of(lws: Object) -> int:
    return int(lws["spec"].get("replicas", 1))


def size_of(lws: Object) -> int:
    return int(lws["spec"]["leaderWorkerTemplate"].get("size", 1))


def label(obj: Object, name: str) -> str:
    return str((obj["metadata"].get("labels") or {}).get(name, ""))


def limits(lws: Object) -> tuple[int, int, int]:
    """`maxSurge`, `maxUnavailable` and `partition` of the rollout, as numbers of groups."""
    wanted = (lws["spec"].get("rolloutStrategy") or {}).get("rollingUpdateConfiguration") or {}
    replicas = replicas_of(lws)
    surge = min(_scaled(wanted.get("maxSurge", 0), replicas, round_up=True), replicas)
    return surge, _scaled(wanted.get("maxUnavailable", 1), replicas, round_up=False), int(wanted.get("partition", 0))


def revision(lws: Object, number: int) -> dict[str, Any]:
    """The record of what the pods of a set are made from; its key changes with them and with nothing else."""
    data = {"spec": {"leaderWorkerTemplate": lws["spec"]["leaderWorkerTemplate"], "networkConfig": _network(lws["spec"])}}
    key = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:10]
    metadata = _metadata(f"{name_of(lws)[:220]}-{key}-{number}", lws, {NAME: name_of(lws), REVISION: key})
    return {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "data": data, "revision": number}


def leader_set(lws: Object, key: str, partition: int, replicas: int) -> dict[str, Any]:
    """The StatefulSet of the leaders, one for each group."""
    spec, name = lws["spec"]["leaderWorkerTemplate"], name_of(lws)
    surge, unavailable, _ = limits(lws)
    annotations = {_SIZE: str(size_of(lws))}
    if topology := (lws["metadata"].get("annotations") or {}).get(EXCLUSIVE):
        annotations[EXCLUSIVE] = topology
    if _network(lws["spec"])["subdomainPolicy"] == "UniquePerReplica":
        annotations[_SUBDOMAIN] = "UniquePerReplica"
    template = _with(
        spec.get("leaderTemplate") or spec["workerTemplate"], {WORKER_INDEX: "0", NAME: name, REVISION: key}, annotations
    )
    metadata = _metadata(name, lws, {NAME: name, REVISION: key})
    metadata["annotations"] = {REPLICAS: str(replicas_of(lws))}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata,
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "podManagementPolicy": "Parallel",
            "template": template,
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": max(1, unavailable + surge), "partition": partition},
            },
            "selector": {"matchLabels": {NAME: name, WORKER_INDEX: "0"}},
            **_claims(spec),
        },
    }


def worker_set(lws: Object, leader: Object, made_from: Object, node_selector: Mapping[str, str]) -> dict[str, Any]:
    """The StatefulSet of the workers of one group, from the revision its leader was made from."""
    spec, network = made_from["data"]["spec"]["leaderWorkerTemplate"], made_from["data"]["spec"]["networkConfig"]
    selector = {
        GROUP_INDEX: label(leader, GROUP_INDEX),
        NAME: name_of(lws),
        GROUP_KEY: label(leader, GROUP_KEY),
    }
    labels = selector | {REVISION: label(leader, REVISION)}
    annotations = {_SIZE: str(size_of(lws)), LEADER_NAME: name_of(leader)}
    template = _with(spec["workerTemplate"], labels, annotations)
    if node_selector:
        template["spec"]["nodeSelector"] = {**(template["spec"].get("nodeSelector") or {}), **node_selector}
    shared = network["subdomainPolicy"] == "Shared"
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(name_of(leader), leader, labels, of="Pod"),
        "spec": {
            "serviceName": name_of(lws) if shared else name_of(leader),
            "replicas": size_of(lws) - 1,
            "podManagementPolicy": "Parallel",
            "ordinals": {"start": 1},
            "template": template,
            "selector": {"matchLabels": selector},
            **_claims(spec),
        },
    }


def services(lws: Object, leaders: Sequence[Object]) -> list[dict[str, Any]]:
    """Headless Services that name every pod, ready or not: one, or one for each group."""
    name = name_of(lws)
    if _network(lws["spec"])["subdomainPolicy"] == "Shared":
        return [_service(_metadata(name, lws, {NAME: name}), {NAME: name})]
    return [
        _service(
            _metadata(name_of(leader), leader, {NAME: name}, of="Pod"), {NAME: name, GROUP_INDEX: label(leader, GROUP_INDEX)}
        )
        for leader in leaders
    ]


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _service(metadata: dict[str, Any], selector: dict[str, str]) -> dict[str, Any]:
    spec = {"clusterIP": "None", "selector": selector, "publishNotReadyAddresses": True}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _metadata(name: str, owner: Object, labels: dict[str, str], of: str = "LeaderWorkerSet") -> dict[str, Any]:
    reference = {
        "apiVersion": API_VERSION if of == "LeaderWorkerSet" else "v1",
        "kind": of,
        "name": name_of(owner),
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {"name": name, "namespace": owner["metadata"]["namespace"], "labels": labels, "ownerReferences": [reference]}


def _with(template: Object, labels: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, Any]:
    made = deepcopy(dict(template))
    metadata = made.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
    return made


def _claims(spec: Object) -> dict[str, Any]:
    return {name: spec[name] for name in ("volumeClaimTemplates", "persistentVolumeClaimRetentionPolicy") if spec.get(name)}


def _network(spec: Object) -> dict[str, Any]:
    """The chart's webhook writes the default into the set; here it is only read so."""
    return {"subdomainPolicy": "Shared", **(spec.get("networkConfig") or {})}


def _scaled(value: int | str, of: int, *, round_up: bool) -> int:
    if isinstance(value, int) or not re.fullmatch(r"\d+%", value):
        return int(value)
    share = int(value[:-1]) * of
    return -(-share // 100) if round_up else share // 100
