"""What Prometheus reads of what leads clients to models. Pure."""

from collections.abc import Iterator

from ..monitoring.targets import Target
from . import (
    aws_load_balancer_controller,
    cert_manager,
    envoy_gateway_controller,
    istio_controller,
    istio_ingress,
)
from .config import Implementation
from .envoy_proxy import proxy_labels

STATS = "/stats/prometheus"
"""Path of the metrics of proxies (envoyproxy/gateway internal/xds/bootstrap; istio.io/docs, "Application Requirements")."""
_ENVOY_GATEWAY_PORT, _ISTIO_PROXY_PORT, _ISTIOD_PORT = 19001, 15090, 15014
_CERT_MANAGER_PORT, _AWS_PORT = 9402, 8080
_CONTROLLERS = 2
_KEPT = (
    "envoy_http_downstream_(rq|cx)_.*",
    "envoy_cluster_upstream_(rq|cx)_.*",
    "envoy_cluster_membership_.*",
    "envoy_server_.*",
)
"""Of a proxy of Envoy Gateway, which has hundreds of series for each version of each route; Istio's leave most out themselves."""


def gateway_targets(
    implementation: Implementation, name: str, namespace: str, controllers: str, *, replicas: int = 2, routes: int = 1
) -> Iterator[Target]:
    """The proxies of the gateway `name` and their controller; `routes` decides how much there is to read."""
    kept: tuple[str, ...]
    if implementation is Implementation.ISTIO:
        pods, port, kept, controller = istio_ingress.PODS, _ISTIO_PROXY_PORT, (), istio_controller.PODS
        yield Target(name="istiod", namespaces=[controllers], pods=controller, port=_ISTIOD_PORT, replicas=_CONTROLLERS)
    elif implementation is Implementation.ENVOY_GATEWAY:
        pods, port, kept, controller = proxy_labels(name), _ENVOY_GATEWAY_PORT, _KEPT, envoy_gateway_controller.PODS
        yield Target(name="envoy-gateway", namespaces=[namespace], pods=controller, port=port, replicas=_CONTROLLERS)
    else:
        return
    yield Target(
        name="gateway",
        namespaces=[namespace],
        pods=pods,
        port=port,
        path=STATS,
        keep=kept,
        series_per_pod=1_000 + 300 * routes,
        replicas=replicas,
    )


def cert_manager_target(namespace: str) -> Target:
    """cert-manager: when certificates expire, and which are not what they should be."""
    return Target(
        name="cert-manager",
        namespaces=[namespace],
        pods=cert_manager.CONTROLLER,
        port=_CERT_MANAGER_PORT,
        replicas=_CONTROLLERS,
    )


def aws_load_balancer_target(namespace: str) -> Target:
    """The AWS Load Balancer Controller: what AWS refuses it, and how long it takes."""
    return Target(
        name="aws-load-balancer-controller",
        namespaces=[namespace],
        pods=aws_load_balancer_controller.PODS,
        port=_AWS_PORT,
        replicas=_CONTROLLERS,
    )
