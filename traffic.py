"""What the traffic section of a stack becomes: what makes proxies, certificates and load balancers, the gateway, the routes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from components.routing import (
    CertManager,
    EnvoyGatewayController,
    Gateway,
    IstioController,
    IstioIngress,
    Mesh,
    PrivateCa,
    Route,
)
from components.routing.config import AuthArgs, GatewayArgs, IssuerArgs
from components.routing.controllers import TrafficControllerArgs
from components.routing.envoy_gateway_controller import EnvoyGatewayControllerArgs
from components.routing.istio_controller import IstioControllerArgs
from components.routing.private_ca import ISSUER_KIND
from components.routing.route_config import VersionArgs
from components.serving import ModelServer
from components.serving.tgi import TgiServer
from foundation import Foundation, MadeSecrets, Namespaces
from foundation.entering import load_balancer
from foundation.policies import meshed
from settings.routes import StackRoute, unasked
from settings.sections import Settings
from settings.traffic import RoutingKind, TrafficSettings


@dataclass(frozen=True)
class Entrance:
    """Where clients of a stack come in."""

    gateway: Gateway | None = None
    """None without one."""
    after: Sequence[pulumi.Resource] = field(default_factory=list)
    """What has to outlive everything that a load balancer is made of."""
    certificate_authority: pulumi.Output[str] | None = None
    """Secret with the certificate that clients have to trust, where the authority is the stack's own."""


def enter(config: Settings, below: Foundation, rooms: Namespaces, secrets: MadeSecrets) -> Entrance:
    """What clients come through, and what makes it."""
    after = rooms.load_balancers
    if config.traffic is None or not config.traffic.has_gateway:
        return Entrance(after=after)
    for name in unasked(config):
        pulumi.log.warn(
            f"models.{name}.apiKeySecret: neither the model nor traffic.auth asks for a key, so whoever may connect to the "
            "gateway is answered, pods of the cluster among them; give traffic.auth, or the model a key"
        )
    building = _Building(config, config.traffic, below, rooms, secrets)
    certificates, proxies = building.certificates(), building.proxies(after)
    mesh = building.mesh(proxies)
    issuer, authority = building.issuer(certificates)
    options = pulumi.ResourceOptions(provider=below.provider, depends_on=[*after, *certificates, *proxies])
    gateway = Gateway(config.traffic.gateway_name, building.gateway(issuer), opts=options)
    return Entrance(gateway, [*after, *proxies, *mesh], authority)


def lead(
    config: Settings, below: Foundation, secrets: MadeSecrets, entrance: Entrance, servers: Mapping[str, ModelServer | TgiServer]
) -> dict[str, Route]:
    """The routes. Each waits for the servers of all its versions, so that none gets requests before it answers."""
    if config.traffic is None:
        return {}
    return {
        name: Route(
            name,
            {
                "route_name": name,
                "namespace_name": secrets.namespaces[route.namespace],
                "task": route.task,
                "path": route.path,
                "host": route.host,
                "gateway": entrance.gateway.reference if entrance.gateway else None,
                "load_balancer": None if entrance.gateway else load_balancer(config.traffic, on_aws=below.aws is not None),
                "versions": {version: _version(route, version, servers[version]) for version in route.versions},
                "inference_pool": route.inference_pool,
                "requests_per_minute": route.requests_per_minute,
                "body_mib": config.traffic.body_mib,
                "idle_seconds": config.traffic.idle_seconds,
                "request_seconds": config.traffic.request_seconds,
            },
            opts=pulumi.ResourceOptions(
                provider=below.provider, depends_on=[*entrance.after, *(servers[version] for version in route.versions)]
            ),
        )
        for name, route in config.routes.items()
    }


def _version(route: StackRoute, version: str, server: ModelServer | TgiServer) -> VersionArgs:
    now = route.versions[version]
    return {"weight": now.weight, "headers": dict(now.headers), "pods": dict(server.pods), "endpoint_picker": now.endpoint_picker}


def _in(namespace: str, below: Foundation, secrets: MadeSecrets) -> TrafficControllerArgs:
    return {"namespace_name": secrets.namespaces[namespace], "system_labels": dict(below.system_labels)}


class _Building:
    def __init__(
        self, config: Settings, traffic: TrafficSettings, below: Foundation, rooms: Namespaces, secrets: MadeSecrets
    ) -> None:
        self._config, self._traffic, self._below, self._rooms = config, traffic, below, rooms
        self._secrets, self._space = secrets, config.namespaces.gateway
        self._on_cluster = pulumi.ResourceOptions(provider=below.provider)
        self._front = _in(self._space, below, secrets)

    @property
    def _control(self) -> TrafficControllerArgs:
        """Where controllers run; a stack that needs none has no such namespace."""
        return _in(self._config.namespaces.controllers, self._below, self._secrets)

    def certificates(self) -> list[pulumi.Resource]:
        """What makes them, where the cluster does not bring it."""
        if not self._config.makes_cert_manager:
            return []
        return [CertManager("cert-manager", self._control, opts=self._on_cluster)]

    def issuer(self, after: Sequence[pulumi.Resource]) -> tuple[IssuerArgs | None, pulumi.Output[str] | None]:
        """Who signs the certificate, and the Secret of an authority of the stack's own."""
        tls = self._traffic.tls
        if tls is None or tls.secret:
            return None, None
        if tls.issuer:
            return {"name": tls.issuer.name, "kind": tls.issuer.kind}, None
        authority = PrivateCa(
            "models",
            {"namespace_name": self._rooms.names[self._space]},
            opts=pulumi.ResourceOptions(provider=self._below.provider, depends_on=list(after)),
        )
        return {"name": authority.issuer_name, "kind": ISSUER_KIND}, authority.secret_name

    def proxies(self, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
        """What makes proxies, and on Istio the proxies themselves."""
        options = pulumi.ResourceOptions(provider=self._below.provider, depends_on=list(after))
        if self._traffic.kind is RoutingKind.ISTIO:
            mesh = self._traffic.mesh
            told: IstioControllerArgs = {**self._control, "ztunnel_namespace_name": mesh.ztunnel if mesh else None}
            control = IstioController("istio", told, opts=options)
            behind = pulumi.ResourceOptions(provider=self._below.provider, depends_on=[*after, control])
            traffic = self._traffic
            ingress = IstioIngress(
                "gateway",
                {
                    "namespace_name": self._secrets.namespaces[self._space],
                    "system_labels": dict(self._below.system_labels),
                    "replicas": traffic.replicas,
                    "internal": traffic.internal,
                    "on_aws": self._below.aws is not None,
                    "source_ranges": list(traffic.source_ranges),
                    "idle_seconds": traffic.idle_seconds,
                    "in_mesh": mesh is not None,
                    "image_pull_secrets": self._secrets.image_pull(self._space),
                },
                opts=behind,
            )
            return [control, ingress]
        if not self._traffic.own_proxies:
            return []
        args: EnvoyGatewayControllerArgs = {
            **self._front,
            "watched_namespace_names": self._models(),
        }
        return [EnvoyGatewayController("envoy-gateway", args, opts=options)]

    def mesh(self, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
        """What makes namespaces part of the mesh: those of clients first, or models would refuse them for a while."""
        config, names = self._config, self._rooms.names
        inside, serving = meshed(config, names), {*map(config.namespace_of, config.models)}
        made: list[pulumi.Resource] = [*after]
        for has_servers in (False, True):
            options = pulumi.ResourceOptions(provider=self._below.provider, depends_on=[*made])
            made += [
                Mesh(name, {"namespace_name": names[name], "has_servers": has_servers}, opts=options)
                for name in inside
                if (name in serving) is has_servers
            ]
        return made[len(after) :]

    def gateway(self, issuer: IssuerArgs | None) -> GatewayArgs:
        """Where clients connect."""
        traffic, found = self._traffic, self._config.routes
        return {
            "namespace_name": self._secrets.namespaces[self._space],
            "model_namespaces": self._models(),
            "hosts": sorted({route.host for route in found.values() if route.host}),
            "implementation": traffic.realised_by,
            "gateway_class": traffic.gateway_class,
            "tls_secret_name": traffic.tls.secret if traffic.tls else None,
            "issuer": issuer,
            "internal": traffic.internal,
            "on_aws": self._below.aws is not None,
            "source_ranges": list(traffic.source_ranges),
            "replicas": traffic.replicas,
            "auth": self._auth(),
            "body_mib": traffic.body_mib,
            "requests_per_minute": traffic.requests_per_minute,
            "idle_seconds": traffic.idle_seconds,
            "request_seconds": traffic.request_seconds,
            "system_labels": self._below.system_labels,
            "image_pull_secrets": self._secrets.image_pull(self._space),
            "mesh_mtls": traffic.mesh is not None,
        }

    def _models(self) -> list[pulumi.Input[str]]:
        """Namespaces of routes and their models."""
        spaces = sorted({route.namespace for route in self._config.routes.values()})
        return [self._rooms.names[space] for space in spaces]

    def _auth(self) -> AuthArgs | None:
        auth = self._traffic.auth
        if auth is None:
            return None
        if auth.jwt:
            jwt = auth.jwt
            return {"jwt": {"issuer": jwt.issuer, "jwks_uri": jwt.jwks_uri, "audiences": list(jwt.audiences)}}
        name = str(auth.api_keys)
        return {"api_key_secret_name": self._secrets.names.get((self._space, name), name)}
