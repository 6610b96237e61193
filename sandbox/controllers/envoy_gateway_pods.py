"""The pods of proxies that Envoy Gateway makes, and what is said of them for each Gateway. Pure.

After envoyproxy/gateway v1.9.0 internal/infrastructure/kubernetes/proxy, without the bootstrap configuration on the command line.
"""

import copy
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from sandbox.controllers.cluster import Object

APP: Final = {
    "app.kubernetes.io/name": "envoy",
    "app.kubernetes.io/component": "proxy",
    "app.kubernetes.io/managed-by": "envoy-gateway",
}
OWNER: Final = "gateway.envoyproxy.io/owning-gateway"
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Installed:
    """What the release says of all proxies."""

    namespace: str
    """Where the controller is."""
    in_gateways: bool = False
    """Whether proxies are beside their Gateway (`deploy.type: GatewayNamespace`) and not beside the controller."""
    shutdown_image: str | None = None
    domain: str = "cluster.local"


@dataclass(frozen=True)
class Wanted:
    """The proxies of one Gateway."""

    name: str
    """By which the objects' names are made: that of the Gateway in its own namespace, else `namespace/name`."""
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner: Manifest
    ports: tuple[tuple[str, int], ...]
    """Name and number."""
    addresses: tuple[str, ...]
    spec: Mapping[str, Any]
    """Of its EnvoyProxy."""
    installed: Installed

    @property
    def object_name(self) -> str:
        return self.name if self.installed.in_gateways else f"envoy-{hashed(self.name)}"

    @property
    def kubernetes(self) -> dict[str, Any]:
        return (self.spec.get("provider") or {}).get("kubernetes") or {}

    @property
    def stable(self) -> dict[str, str]:
        """The labels by which its objects are found, whatever else they are given."""
        own = {key: value for key, value in self.labels.items() if key.startswith(OWNER)}
        return {**self._app, **own}

    @property
    def all_labels(self) -> dict[str, str]:
        return {**self._app, **self.labels}

    @property
    def _app(self) -> dict[str, str]:
        more = {"gateway.networking.k8s.io/gateway-name": self.object_name} if self.installed.in_gateways else {}
        return {**APP, **more}


def hashed(name: str, length: int = 48) -> str:
    """A name of an object's own, with a hash of the whole one."""
    shown = name.replace("/", "-")
    return f"{shown[:length].removesuffix('-') if len(shown) > length else shown}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def account_name(of: Wanted) -> str:
    """The service account of the pods."""
    return (of.kubernetes.get("envoyServiceAccount") or {}).get("name") or of.object_name


def pod_metadata(of: Wanted, pod: Object) -> Manifest:
    """Labels and annotations of the pods."""
    scraped = {"prometheus.io/path": "/stats/prometheus", "prometheus.io/scrape": "true", "prometheus.io/port": "19001"}
    annotations = {**(scraped if _prometheus(of) else {}), **of.annotations, **(pod.get("annotations") or {})}
    labels = {**of.all_labels, **(pod.get("labels") or {})}
    return {"labels": labels, **({"annotations": annotations} if annotations else {})}


def _prometheus(of: Wanted) -> bool:
    metrics = (of.spec.get("telemetry") or {}).get("metrics") or {}
    return not (metrics.get("prometheus") or {}).get("disable")


def pod_spec(of: Wanted, given: Object, pod: Object) -> Manifest:
    """What is in the pods, with what the EnvoyProxy gives its workload and its pods."""
    drain = (of.spec.get("shutdown") or {}).get("drainTimeout")
    found: Manifest = {
        "automountServiceAccountToken": False,
        "containers": _containers(of, given.get("container") or {}),
        "serviceAccountName": account_name(of),
        "terminationGracePeriodSeconds": 360 if drain is None else int(seconds(drain)) + 300,
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "volumes": _by_name(_volumes(of), pod.get("volumes")),
    }
    if given.get("initContainers"):
        found["initContainers"] = given["initContainers"]
    fields = (
        *("securityContext", "affinity", "tolerations", "imagePullSecrets", "nodeSelector"),
        *("topologySpreadConstraints", "priorityClassName"),
    )
    return found | {name: pod[name] for name in fields if pod.get(name)}


def _containers(of: Wanted, given: Object) -> list[Manifest]:
    envoy, shutdown = (copy.deepcopy(_template()[name]) for name in ("envoy", "shutdown"))
    config = of.spec.get("shutdown") or {}
    drain = seconds(config["drainTimeout"]) if config.get("drainTimeout") else None
    if given.get("imageRepository"):
        envoy["image"] = f"{given['imageRepository']}:{envoy['image'].rpartition(':')[2]}"
    elif given.get("image"):
        envoy["image"] = given["image"]
    for name in ("resources", "securityContext"):
        if given.get(name) is not None:
            envoy[name] = given[name]
    if given.get("securityContext") is not None:
        shutdown["securityContext"] = given["securityContext"]
    envoy["env"] = _by_name(envoy["env"], given.get("env"))
    if of.installed.in_gateways:
        envoy["volumeMounts"].append({"name": "sa-token", "mountPath": "/var/run/secrets/token", "readOnly": True})
    envoy["volumeMounts"] = _by_name(envoy["volumeMounts"], given.get("volumeMounts"))
    if not _prometheus(of):
        envoy["ports"] = [port for port in envoy["ports"] if port["name"] != "metrics"]
    envoy["args"] = _arguments(of, 60 if drain is None else drain)
    if drain is not None:
        shutdown["args"].append(f"--ready-timeout={drain + 10:.0f}s")
    if of.installed.shutdown_image:
        shutdown["image"] = of.installed.shutdown_image
    shutdown["lifecycle"]["preStop"]["exec"]["command"] += _shutdown(config, drain)
    return [envoy, shutdown]


def _shutdown(config: Object, drain: float | None) -> Iterator[str]:
    if delay := config.get("healthCheckFailureDelay"):
        yield f"--health-check-failure-delay={delay}"
    if drain is not None:
        yield f"--drain-timeout={drain:.0f}s"
    if least := config.get("minDrainDuration"):
        yield f"--min-drain-duration={seconds(least):.0f}s"


def _arguments(of: Wanted, drain: float) -> list[str]:
    levels = (of.spec.get("logging") or {}).get("level") or {}
    components = sorted(f"{name}:{level}" for name, level in levels.items() if name != "default" and level)
    found = ["--service-cluster", f"{of.namespace}/{of.name}" if of.installed.in_gateways else of.name]
    found += ["--service-node", "$(ENVOY_POD_NAME)", "--log-level", levels.get("default") or "warn"]
    found += ["--cpuset-threads", "--drain-strategy", "immediate"]
    if of.spec.get("concurrency") is not None:
        found += ["--concurrency", str(of.spec["concurrency"])]
    found += ["--component-log-level", ",".join(components) or "misc:error", "--drain-time-s", f"{drain:.0f}"]
    return [*found, *(of.spec.get("extraArgs") or [])]


def _volumes(of: Wanted) -> list[Manifest]:
    def from_map(name: str, *keys: str) -> Manifest:
        items = [{"key": key, "path": key} for key in keys]
        return {"name": name, "configMap": {"name": of.object_name, "items": items, "defaultMode": 420, "optional": False}}

    if not of.installed.in_gateways:
        certificates = {"name": "certs", "secret": {"secretName": "envoy", "defaultMode": 420}}
        return [certificates, from_map("sds", "xds-trusted-ca.json", "xds-certificate.json")]
    audience = f"envoy-gateway.{of.installed.namespace}.svc.{of.installed.domain}"
    token = {"path": "sa-token", "audience": audience, "expirationSeconds": 3600}
    return [
        {"name": "sa-token", "projected": {"sources": [{"serviceAccountToken": token}], "defaultMode": 420}},
        from_map("certs", "ca.crt"),
        from_map("sds", "xds-trusted-ca.json", "xds_service_account_token.json"),
    ]


def _by_name(base: list[Manifest], more: Iterable[Manifest] | None) -> list[Manifest]:
    return list(({each["name"]: each for each in base} | {each["name"]: each for each in more or []}).values())


def seconds(duration: str) -> float:
    """A duration of Gateway API: hours, minutes, seconds and milliseconds."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|h|m|s)", duration))


@cache
def _template() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("envoy_gateway_pod.yaml").read_text("utf-8"))
    return loaded
