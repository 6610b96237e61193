"""One replica on several nodes: what its pods say to find each other, and the LeaderWorkerSet that keeps them together. Pure."""

from collections.abc import Mapping
from typing import Any

import pulumi

from .arguments import MASTER_PORT
from .config import ServerConfig
from .leader_worker_set import together
from .manifests import API_KEY, engine_of, replicas

LEADER, INDEX = "$(LWS_LEADER_ADDRESS)", "$(LWS_WORKER_INDEX)"
"""Variables that the LeaderWorkerSet controller gives every container (kubernetes-sigs/lws, site/content/en/docs/reference)."""
WORKER_INDEX_LABEL = "leaderworkerset.sigs.k8s.io/worker-index"
"""Label of every pod of a group, by the same controller; the leader's is 0."""
_RPC_PORT = 13345
"""Where data-parallel ranks find the first: the port of vLLM's own examples (docs/serving/data_parallel_deployment.md)."""
_FROM_RANK = 'exec vllm serve "$$@" --data-parallel-start-rank "$$((LWS_WORKER_INDEX * {local}))"'

Words = list[pulumi.Input[str]]


def _leader_words(config: ServerConfig) -> Words:
    """Arguments of the pod that answers, beside those of every server."""
    return [*_common(config), *([] if _by_copies(config) else ["--node-rank", "0"])]


def _worker_words(config: ServerConfig) -> Words:
    """Arguments of the other pods, beside those of every server: they compute and answer nobody."""
    return [*_common(config), "--headless", *([] if _by_copies(config) else ["--node-rank", INDEX])]


def leader_worker_set(config: ServerConfig, template: Mapping[str, Any]) -> dict[str, Any]:
    """Spec of the LeaderWorkerSet. `template` is the pod of a server that needs one node.

    A group lives and dies as one: a rank that restarts alone would wait for the others for ever. The controller makes the
    names of its pods resolve before they are ready, so that the ranks find each other while they start.
    """
    if config.pool.topology_key:
        template = together(template, config.pool.topology_key)
    spare = config.spare_accelerators >= config.parallelism.accelerators
    return {
        **replicas(config),
        "startupPolicy": "LeaderCreated",
        "rolloutStrategy": {
            "type": "RollingUpdate",
            "rollingUpdateConfiguration": {"maxSurge": 1 if spare else 0, "maxUnavailable": 0 if spare else 1},
        },
        "leaderWorkerTemplate": {
            "size": config.nodes,
            "restartPolicy": "RecreateGroupOnPodRestart",
            "leaderTemplate": leader_of(config, template),
            "workerTemplate": _worker(config, template),
        },
    }


def leader_of(config: ServerConfig, template: Mapping[str, Any]) -> dict[str, Any]:
    """The pod that answers for a replica."""
    return _with(template, _leader_words(config)) if config.nodes > 1 else dict(template)


def _by_copies(config: ServerConfig) -> bool:
    """Whether the nodes hold copies of the model, not stages of one."""
    return config.parallelism.data >= config.nodes and config.parallelism.pipeline == 1


def _common(config: ServerConfig) -> Words:
    if _by_copies(config):
        local = config.parallelism.data // config.nodes
        return [
            *("--data-parallel-size-local", str(local)),
            *("--data-parallel-address", LEADER),
            *("--data-parallel-rpc-port", str(_RPC_PORT)),
        ]
    return ["--nnodes", str(config.nodes), "--master-addr", LEADER, "--master-port", str(MASTER_PORT)]


def _worker(config: ServerConfig, template: Mapping[str, Any]) -> dict[str, Any]:
    worker = _with(template, _worker_words(config))
    engine = engine_of(worker)
    # Nothing listens on a worker: what ends a dead one is its group. So nobody shows it a key either.
    for field in ("startupProbe", "readinessProbe", "livenessProbe", "ports", "command"):
        engine.pop(field, None)
    engine["volumeMounts"] = [mount for mount in engine["volumeMounts"] if mount["name"] != API_KEY]
    worker["spec"]["volumes"] = [volume for volume in worker["spec"]["volumes"] if volume["name"] != API_KEY]
    # A worker ends as soon as it is told to, and takes the leader's requests with it: it waits until those are answered.
    waits = config.drain.pre_stop + config.drain.shutdown_timeout
    engine["lifecycle"] = {"preStop": {"sleep": {"seconds": waits}}}
    if command := config.engine().command:
        engine["command"] = list(command)
    if _by_copies(config):
        engine["command"] = ["/bin/sh", "-c", _FROM_RANK.format(local=config.parallelism.data // config.nodes), "vllm"]
    return worker


def _with(template: Mapping[str, Any], words: Words) -> dict[str, Any]:
    changed: dict[str, Any] = {"metadata": dict(template["metadata"]), "spec": dict(template["spec"])}
    changed["spec"]["containers"] = [dict(container) for container in template["spec"]["containers"]]
    engine = engine_of(changed)
    engine["args"] = [*engine["args"], *words]
    return changed
