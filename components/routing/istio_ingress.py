"""The proxies of Istio that clients come through, and the load balancer before them, by Istio's own Helm chart."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field, model_validator

from ..base import PlatformComponent
from ..charts import placed, release
from ..inputs import InputText, Model, validate
from ..versions import ISTIO
from . import load_balancers
from .config import PRIVATE_RANGES, SourceRange, check_ranges
from .controllers import CONFINED, NON_ROOT
from .istio_controller import REPOSITORY

RELEASE = "istio-ingressgateway"
PODS = {"app": RELEASE, "istio": "ingressgateway"}
"""Labels of the proxies, by the name of the release (chart gateway, templates/_helpers.tpl): what a Gateway of Istio names."""
PORTS = {80: 8080, 443: 8443}
"""By the port of the Service the proxies' own; a Gateway of Istio names the former (istio/istio pilot/pkg/model/gateway.go)."""
READY = (15021, "/healthz/ready")
"""Port and path where a proxy says that it takes connections (istio.io/docs, "Application Requirements")."""
DRAIN_SECONDS = 360
"""How long a proxy that is to go may finish answers it is giving; as long as Envoy Gateway's."""
_QUIET_SECONDS = 60
"""How long it waits for new connections to stop, for load balancers take a while to forget a target."""
_FIELDS = frozenset({"type", "loadBalancerSourceRanges", "externalTrafficPolicy"})
_TYPE = "service.beta.kubernetes.io/aws-load-balancer-type"
"""Leaves a Service to the AWS Load Balancer Controller, as its class does (docs/guide/service/annotations.md)."""
_USER = 1337
"""User of the image (istio/istio pilot/docker/Dockerfile.proxyv2)."""


class IstioIngressArgs(TypedDict):
    """Inputs of `IstioIngress`."""

    namespace_name: pulumi.Input[str]
    """Namespace of the proxies; *baseline* suffices, and *restricted* too."""
    replicas: NotRequired[int]
    """Proxies; 2 by default."""
    tls: NotRequired[bool]
    """Whether it answers on 443 beside 80; true by default."""
    internal: NotRequired[bool]
    """Whether the load balancer has private addresses only; true by default."""
    on_aws: NotRequired[bool]
    """Whether AWS makes it; false by default."""
    source_ranges: NotRequired[list[str]]
    """Ranges that may connect; private addresses by default."""
    idle_seconds: NotRequired[int]
    """Silence after which AWS' load balancer drops a connection, 60 to 6000; 3600 by default."""
    in_mesh: NotRequired[bool]
    """Whether it reaches servers by the tunnels of an ambient mesh; false by default."""
    system_labels: NotRequired[dict[str, str]]
    """Labels of the nodes it runs on; any Linux node by default."""
    image_pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets of the namespace that images are pulled with."""


class IngressConfig(Model):
    """Validated `IstioIngressArgs`."""

    namespace_name: InputText
    replicas: int = Field(2, ge=1, le=100)
    tls: bool = True
    internal: bool = True
    on_aws: bool = False
    source_ranges: tuple[SourceRange, ...] = Field(PRIVATE_RANGES, min_length=1, examples=["[10.0.0.0/8]"])
    idle_seconds: int = Field(3600, ge=1, le=86400)
    in_mesh: bool = False
    system_labels: Mapping[str, str] = Field(default_factory=dict)
    image_pull_secrets: tuple[InputText, ...] = ()

    @model_validator(mode="after")
    def _ranges_fit(self) -> "IngressConfig":
        check_ranges(self.source_ranges, on_aws=self.on_aws)
        return self


class IstioIngress(PlatformComponent):
    """Proxies that do what Gateways of Istio with the selector `PODS` say; a namespace has one set of them. They need
    `IstioController` before them, whose webhook makes their pods what they are."""

    chart_version: pulumi.Output[str]
    """Version of the chart, known once the proxies run."""

    def __init__(self, name: str, args: IstioIngressArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(IngressConfig, args, f"IstioIngress {name}")
        made = release(
            self,
            config.namespace_name,
            RELEASE,
            chart="gateway",
            version=ISTIO,
            values=ingress_values(config),
            repository=REPOSITORY,
        )
        self.chart_version = made.version
        self.finish()


def ingress_values(config: IngressConfig) -> dict[str, Any]:
    """Values of the chart gateway."""
    ports = (80, 443) if config.tls else (80,)
    names = {80: "http2", 443: "https"}
    found: dict[str, Any] = {
        **placed(config.system_labels, PODS),
        "replicaCount": config.replicas,
        "autoscaling": {"enabled": False},
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "securityContext": NON_ROOT,
        "containerSecurityContext": {**CONFINED, "runAsUser": _USER, "runAsGroup": _USER},
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
        "env": {
            # Else it gives answers five seconds to end (istio/istio pilot/cmd/pilot-agent/options).
            "EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true",
            "MINIMUM_DRAIN_DURATION": f"{_QUIET_SECONDS}s",
            **({"ISTIO_META_ENABLE_HBONE": "true"} if config.in_mesh else {}),
        },
        "terminationGracePeriodSeconds": DRAIN_SECONDS,
        "service": {
            **_service(config),
            "annotations": _annotations(config, ports),
            "ports": [{"name": names[port], "port": port, "protocol": "TCP", "targetPort": PORTS[port]} for port in ports],
        },
    }
    if config.replicas > 1:
        found["podDisruptionBudget"] = {"maxUnavailable": 1}
    if config.image_pull_secrets:
        found["imagePullSecrets"] = [{"name": name} for name in config.image_pull_secrets]
    return found


def _service(config: IngressConfig) -> dict[str, Any]:
    """Fields of the Service, as far as the chart's schema (values.schema.json) knows them."""
    wanted = load_balancers.spec(on_aws=config.on_aws, source_ranges=config.source_ranges)
    return {key: value for key, value in wanted.items() if key in _FIELDS}


def _annotations(config: IngressConfig, ports: Sequence[int]) -> dict[str, str]:
    found = load_balancers.annotations(
        on_aws=config.on_aws, internal=config.internal, ports=ports, idle_seconds=config.idle_seconds, ready=READY
    )
    return found | ({_TYPE: "external"} if config.on_aws else {})
