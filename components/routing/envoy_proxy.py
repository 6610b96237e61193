"""The proxies of a gateway that Envoy Gateway runs: what they are made of, and the Service before them. Pure.

What is said of Envoy Gateway is in envoyproxy/gateway v1.9.0, in internal/infrastructure/kubernetes/proxy where no path is named.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..charts import placed
from ..image_lock import locked
from . import load_balancers
from .config import GatewayConfig

IMAGE: Final = locked("docker.io/envoyproxy/envoy:distroless-v1.39.0")
"""What Envoy Gateway 1.9.0 starts (api/v1alpha1/shared_types.go, `DefaultEnvoyProxyImage`), with its digest where it is known."""
READY: Final = (19003, "/ready")
"""Port and path of the proxies that answer while they take connections (internal/xds/bootstrap); no listener is there."""
CLIENT_HEADER: Final = "x-llm-client"
"""Name of the client whose API key a request had; what clients say in it themselves is thrown away."""
_CPU: Final = "250m"
_MEMORY_MIB: Final = 1024
_BODIES: Final = 8
"""Longest requests a proxy holds at a time beside what it needs anyway; near four fifths of its memory Envoy refuses further ones
itself (resource.go, `calculateMaxHeapSizeBytes`; internal/xds/bootstrap, `overload_manager`)."""
_LONGEST_DRAIN_SECONDS: Final = 600
"""How long a proxy that has to go waits for answers in progress: well within the 15 minutes that an update of an EKS node group
waits for pods to leave (AWS EKS user guide, "Understand each phase of node updates")."""
_LEAST_DRAIN_SECONDS: Final = 60
"""So long it takes new connections still: load balancers learn late that it goes."""


def proxy_labels(name: str) -> dict[str, str]:
    """Labels of the proxies of the gateway `name`, whatever namespace they are in."""
    return {"app.kubernetes.io/name": "envoy", "gateway.envoyproxy.io/owning-gateway-name": name}


def envoy_proxy(config: GatewayConfig, name: str, ports: Sequence[int]) -> dict[str, Any]:
    """Spec of the EnvoyProxy of the gateway `name`, whose Service listens on `ports`."""
    drain = max(_LEAST_DRAIN_SECONDS, min(config.request_seconds, _LONGEST_DRAIN_SECONDS))
    return {
        "provider": {
            "type": "Kubernetes",
            "kubernetes": {
                "envoyDeployment": _deployment(config, name),
                "envoyService": _service(config, ports),
                "envoyPDB": {
                    "maxUnavailable": 1,
                    "patch": {"type": "StrategicMerge", "value": {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}},
                },
            },
        },
        "shutdown": {"drainTimeout": f"{drain}s", "minDrainDuration": f"{_LEAST_DRAIN_SECONDS}s"},
        "telemetry": {"accessLog": {"settings": [_access_log()]}},
    }


def _deployment(config: GatewayConfig, name: str) -> dict[str, Any]:
    memory = f"{_MEMORY_MIB + _BODIES * config.body_mib}Mi"
    spread = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": proxy_labels(name)},
    }
    pod: dict[str, Any] = {
        **placed(config.system_labels, proxy_labels(name)),
        "topologySpreadConstraints": [spread],
        # Containers meet Pod Security *restricted* as Envoy Gateway makes them. Their root cannot be read-only: the one that
        # drains writes a file when it is done (internal/cmd/envoy/shutdown_manager.go).
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    if config.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in config.image_pull_secrets]
    container: dict[str, Any] = {"resources": {"requests": {"cpu": _CPU, "memory": memory}, "limits": {"memory": memory}}}
    if config.gateway_class is None:
        # A controller of the cluster's own starts the Envoy that it was made for.
        container["image"] = IMAGE
    return {
        "replicas": config.replicas,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "pod": pod,
        "container": container,
    }


def _service(config: GatewayConfig, ports: Sequence[int]) -> dict[str, Any]:
    said = load_balancers.annotations(
        on_aws=config.on_aws, internal=config.internal, ports=ports, idle_seconds=config.idle_seconds, ready=READY
    )
    spec = load_balancers.spec(on_aws=config.on_aws, source_ranges=config.source_ranges)
    return spec | ({"annotations": said} if said else {})


def _access_log() -> dict[str, Any]:
    """Who asked for what and how it went: no bodies, no keys, and paths without what comes after `?`."""
    fields: Mapping[str, str] = {
        "time": "%START_TIME%",
        "client": f"%REQ({CLIENT_HEADER.upper()})%",
        "address": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "host": "%REQ(:AUTHORITY)%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "received": "%BYTES_RECEIVED%",
        "sent": "%BYTES_SENT%",
        "milliseconds": "%DURATION%",
        "route": "%ROUTE_NAME%",
        "server": "%UPSTREAM_HOST%",
    }
    sink = {"type": "File", "file": {"path": "/dev/stdout"}}
    return {"format": {"type": "JSON", "json": dict(fields)}, "sinks": [sink]}
