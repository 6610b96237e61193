"""A route without a gateway: a load balancer for the pods of one version. Pure.

It looks at no request, so whoever may connect reaches every path of the engine. What keeps others out is `source_ranges`, and the
engine's own key where it asks for one.
"""

from typing import Final

from ..names import DNS_LABEL_MAX, fit
from ..serving.arguments import PORT
from . import load_balancers
from .objects import Object, whole
from .route_config import LoadBalancerRouteConfig

HTTP: Final = 80
HTTPS: Final = 443
_READY: Final = (PORT, "/health")
"""Where the engine tells that it answers (vllm-project/vllm, vllm/entrypoints)."""


def route_objects(config: LoadBalancerRouteConfig) -> dict[str, Object]:
    """The Service of a route, by its role."""
    balancer, (version,) = config.load_balancer, config.versions.values()
    port = HTTP if balancer.certificate_arn is None else HTTPS
    said = load_balancers.annotations(
        on_aws=balancer.on_aws,
        internal=balancer.internal,
        ports=[port],
        idle_seconds=config.idle_seconds,
        certificate_arn=balancer.certificate_arn,
        ready=_READY,
    )
    spec = {
        **load_balancers.spec(on_aws=balancer.on_aws, source_ranges=balancer.source_ranges),
        "selector": dict(version.pods),
        "ports": [{"name": "http", "port": port, "targetPort": PORT, "protocol": "TCP"}],
    }
    # Its models' Services have the names of the models, and a route may be called as one.
    name = fit(config.route_name, "load-balancer", limit=DNS_LABEL_MAX)
    return {"service": whole("v1", "Service", name, spec, namespace=config.namespace_name, annotations=said)}
