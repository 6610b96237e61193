"""How clients reach models: gateways, routes, and shares of traffic between versions."""

from .aws_load_balancer_controller import AwsLoadBalancerController, AwsLoadBalancerControllerArgs
from .cert_manager import CertManager
from .config import GatewayArgs, Implementation
from .controllers import TrafficControllerArgs
from .envoy_gateway_controller import EnvoyGatewayController, EnvoyGatewayControllerArgs
from .gateway import Gateway
from .istio_controller import IstioController, IstioControllerArgs
from .istio_ingress import IstioIngress, IstioIngressArgs
from .mesh import Mesh, MeshArgs
from .private_ca import PrivateCa, PrivateCaArgs
from .route import Route
from .route_config import RouteArgs

__all__ = [
    "AwsLoadBalancerController",
    "AwsLoadBalancerControllerArgs",
    "CertManager",
    "EnvoyGatewayController",
    "EnvoyGatewayControllerArgs",
    "Gateway",
    "GatewayArgs",
    "Implementation",
    "IstioController",
    "IstioControllerArgs",
    "IstioIngress",
    "IstioIngressArgs",
    "Mesh",
    "MeshArgs",
    "PrivateCa",
    "PrivateCaArgs",
    "Route",
    "RouteArgs",
    "TrafficControllerArgs",
]
