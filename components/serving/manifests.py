"""The Kubernetes objects of a server. Pure functions; names of other objects may be outputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.base import selector
from components.pods import ENGINE_HOME, ENGINE_SCRATCH, on_pool, resources, restricted_container, restricted_pod, scratch
from components.serving.arguments import PORT
from components.serving.config import ServerConfig
from components.serving.lifecycle import DRAIN, probes, rollout
from components.storage.manifests import MODEL_ROOT
from planner.host import cpus

_SCRATCH_MIB = 10240
"""Compiled kernels and graphs take a few GiB at most; the rest are logs."""


def environment(config: ServerConfig) -> dict[str, str]:
    """Environment of the engine: it writes to volumes only, reads models from the cache only, reports nothing, caps requests."""
    return {
        "HOME": ENGINE_HOME,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CACHE_ROOT": f"{ENGINE_HOME}/.cache/vllm",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(max(config.startup(), 600)),
        # One request must not fan out without bound (CVE-2026-34756), nor follow a redirect inside the cluster.
        "VLLM_MAX_N_SEQUENCES": "64",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        # Empty: load no plugin that happens to be installed.
        "VLLM_PLUGINS": "",
    }


def deployment(
    config: ServerConfig,
    *,
    image: str,
    arguments: Sequence[pulumi.Input[str]],
    config_map: pulumi.Input[str],
    service_account: pulumi.Input[str],
    common: Mapping[str, str],
) -> dict[str, Any]:
    """Spec of the Deployment."""
    if config.pool.accelerator is None:
        raise ValueError(f"pool {config.pool.name} has no accelerators")
    volumes, mounts = scratch(ENGINE_SCRATCH)
    shared_memory = {"medium": "Memory", "sizeLimit": f"{config.shared_memory_mib()}Mi"}
    match = selector(dict(common))
    return {
        "replicas": config.replicas,
        "progressDeadlineSeconds": config.deadline(),
        "strategy": rollout(config.accelerators, config.spare_accelerators),
        "selector": {"matchLabels": match},
        "template": {
            "metadata": {"labels": dict(common)},
            "spec": {
                "serviceAccountName": service_account,
                **on_pool(config.pool),
                "terminationGracePeriodSeconds": DRAIN.grace,
                "securityContext": restricted_pod(),
                "containers": [
                    {
                        "name": "engine",
                        "image": image,
                        "args": list(arguments),
                        "envFrom": [{"configMapRef": {"name": config_map}}],
                        # Else the engine guesses the address it listens on for its own processes.
                        "env": [{"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                        **probes(config.startup()),
                        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN.pre_stop}}},
                        "securityContext": restricted_container(),
                        "resources": resources(
                            str(cpus(config.accelerators)),
                            config.memory_mib(),
                            _SCRATCH_MIB,
                            {config.pool.accelerator.resource: config.accelerators},
                        ),
                        "volumeMounts": [
                            {"name": "models", "mountPath": MODEL_ROOT, "readOnly": True},
                            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108
                            *mounts,
                        ],
                    }
                ],
                "volumes": [
                    {"name": "models", "persistentVolumeClaim": {"claimName": config.claim_name, "readOnly": True}},
                    {"name": "shared-memory", "emptyDir": shared_memory},
                    *volumes,
                ],
            },
        },
    }


def service(common: Mapping[str, str]) -> dict[str, Any]:
    """Spec of the Service."""
    return {
        "type": "ClusterIP",
        "selector": selector(dict(common)),
        "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
    }
