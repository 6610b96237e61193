"""How clients reach models: gateways, routes, and shares of traffic between versions."""

from .aws_load_balancer_controller import AwsLoadBalancerController
from .cert_manager import CertManager
from .envoy_gateway_controller import EnvoyGatewayController
from .gateway import Gateway
from .istio_controller import IstioController
from .istio_ingress import IstioIngress
from .mesh import Mesh
from .private_ca import PrivateCa
from .route import Route

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
