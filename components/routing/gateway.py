"""Where clients come in: proxies behind a load balancer, with a certificate and a check of who asks."""

from collections.abc import Callable, Mapping
from typing import Final

import pulumi

from ..base import PlatformComponent
from ..inputs import InputError, validate
from ..names import DNS_LABEL_MAX, fit
from ..ordering import known_after
from . import envoy_gateway, gateway_api, istio
from .config import GatewayArgs, GatewayConfig, GatewayRefArgs, Implementation
from .features import check_features, of_gateway
from .objects import Object, make

_OBJECTS: Final[Mapping[Implementation, Callable[[GatewayConfig, str], dict[str, Object]]]] = {
    Implementation.ENVOY_GATEWAY: envoy_gateway.gateway_objects,
    Implementation.GATEWAY_API: gateway_api.gateway_objects,
    Implementation.ISTIO: istio.gateway_objects,
}


class Gateway(PlatformComponent):
    """Takes requests for the hosts of routes, and hands them on as the routes say."""

    gateway_name: pulumi.Output[str]
    """Its name, known once it takes requests under its policies."""
    namespace_name: pulumi.Output[str]
    """Its namespace."""

    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        where = f"Gateway {name}"
        self._config = config = validate(GatewayConfig, args, where)
        try:
            check_features(config.implementation, of_gateway(config))
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
        if config.auth is not None and not config.tls:
            pulumi.log.warn(
                "what clients show this gateway goes there in clear text, which whoever is on the way reads; give it "
                "tls_secret_name or an issuer",
                resource=self,
            )
        objects = _OBJECTS[config.implementation](config, fit(name, limit=DNS_LABEL_MAX))
        made = make(self, objects)
        in_force = [child.metadata["name"] for role, child in made.items() if objects[role]["kind"] != "Certificate"]
        self.gateway_name = known_after(objects["gateway"]["metadata"]["name"], *in_force)
        self.namespace_name = pulumi.Output.from_input(config.namespace_name)
        self.finish()

    @property
    def reference(self) -> GatewayRefArgs:
        """What routes name it by; they are made once it takes requests."""
        return {
            "name": self.gateway_name,
            "namespace_name": self.namespace_name,
            "implementation": self._config.implementation,
            "tls": self._config.tls,
            "mesh_mtls": self._config.mesh_mtls,
        }
