"""How a server starts and stops, and how one version follows another. Pure functions, all times in seconds."""

from typing import Any

from components.serving.arguments import PORT
from planner.cold_start import PROBE_PERIOD
from planner.drain import Drain

DRAIN = Drain()
"""Time to leave the endpoints, for requests in flight, and to free the accelerators; it fits the 120 s of a spot interruption."""


def probes(startup_seconds: int) -> dict[str, Any]:
    """The three probes. Liveness begins only when the start is over, so a loading model is never killed for loading."""
    health = {"httpGet": {"path": "/health", "port": PORT}}
    return {
        "startupProbe": health | {"periodSeconds": PROBE_PERIOD, "failureThreshold": -(-startup_seconds // PROBE_PERIOD)},
        "readinessProbe": health | {"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        "livenessProbe": health | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
    }


def rollout(accelerators: int, spare_accelerators: int) -> dict[str, Any]:
    """Deployment strategy: the new replica first where the pool has room for it, else the old one must make room."""
    if spare_accelerators >= accelerators:
        return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return {"type": "Recreate"}
