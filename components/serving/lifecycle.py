"""How long a server may take to start and to stop, and how one version follows another. Pure functions, all times in seconds."""

from typing import Any

from components.serving.arguments import PORT
from components.serving.config import ServerConfig

PROPAGATION_SECONDS = 10
"""Between the order to stop and the engine's SIGTERM: endpoints and gateways must have dropped the pod by then."""

DRAIN_SECONDS = 60
"""For requests in flight after SIGTERM (`--shutdown-timeout`); on spot capacity the whole stop must fit into 120 s."""

TEARDOWN_SECONDS = 20
"""For the engine to free the accelerator after the drain."""

GRACE_SECONDS = PROPAGATION_SECONDS + DRAIN_SECONDS + TEARDOWN_SECONDS

_IMAGE_PULL_SECONDS = 1800
_SHORTEST_START = 360
_PROBE_PERIOD = 10


def startup_seconds(weights_gib: float) -> int:
    """Seconds from container start until the engine must answer.

    A straight line through the two budgets practice has settled on, 360 s for 7B and 1260 s for 70B parameters in 16 bit
    (13 and 130 GiB of weights), and never less than the first.
    """
    return max(_SHORTEST_START, round(_SHORTEST_START + (weights_gib - 13) * (1260 - 360) / (130 - 13)))


def deadline_seconds(weights_gib: float) -> int:
    """Seconds until a rollout counts as failed: pulling an image of more than 10 GB onto a fresh node, then the start."""
    return _IMAGE_PULL_SECONDS + startup_seconds(weights_gib)


def probes(weights_gib: float) -> dict[str, Any]:
    """The three probes. Liveness begins only when the start is over, so a loading model is never killed for loading."""
    health = {"httpGet": {"path": "/health", "port": PORT}}
    return {
        "startupProbe": health
        | {"periodSeconds": _PROBE_PERIOD, "failureThreshold": -(-startup_seconds(weights_gib) // _PROBE_PERIOD)},
        "readinessProbe": health | {"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        "livenessProbe": health | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
    }


def rollout(accelerators: int, spare_accelerators: int) -> dict[str, Any]:
    """Deployment strategy: the new replica first where the pool has room for it, else the old one must make room."""
    if spare_accelerators >= accelerators:
        return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return {"type": "Recreate"}


def plan(config: ServerConfig) -> dict[str, Any]:
    """What follows from the inputs, for people: counts, MiB and seconds."""
    resource = config.pool.accelerator.resource if config.pool.accelerator else "none"
    return {
        "pool": config.pool.name,
        "replicas": config.replicas,
        "accelerators": f"{config.accelerators} x {resource} a replica",
        "memoryMib": config.memory_mib(),
        "startupSeconds": startup_seconds(config.weights_gib),
        "stopSeconds": GRACE_SECONDS,
        "rollout": rollout(config.accelerators, config.spare_accelerators)["type"],
    }
