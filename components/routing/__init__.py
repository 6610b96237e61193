"""How clients reach models: gateways, routes, and shares of traffic between versions."""

from components.routing.aws_load_balancer_controller import AwsLoadBalancerController
from components.routing.cert_manager import CertManager
from components.routing.envoy_gateway_controller import EnvoyGatewayController
from components.routing.gateway import Gateway
from components.routing.istio_controller import IstioController
from components.routing.istio_ingress import IstioIngress
from components.routing.mesh import Mesh
from components.routing.private_ca import PrivateCa
from components.routing.route import Route

__all__ = [
    "AwsLoadBalancerController",
    "CertManager",
    "EnvoyGatewayController",
    "Gateway",
    "IstioController",
    "IstioIngress",
    "Mesh",
    "PrivateCa",
    "Route",
]
