"""When an engine counts as started, ready and alive. Pure; times in seconds."""

from typing import Any

from planner.cold_start import PROBE_PERIOD

from .arguments import PORT


def probes(startup_seconds: int) -> dict[str, Any]:
    """The three probes. Liveness begins only when the start is over, so a loading model is never killed for loading.

    vLLM listens once the model is loaded, so /health is readiness too; there is no other endpoint for it.
    """
    health = {"httpGet": {"path": "/health", "port": PORT}}
    return {
        "startupProbe": health | {"periodSeconds": PROBE_PERIOD, "failureThreshold": -(-startup_seconds // PROBE_PERIOD)},
        "readinessProbe": health | {"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        "livenessProbe": health | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
    }
