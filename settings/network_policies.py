"""Who may talk to the pods of a stack from outside it, and where what they need is."""

import ipaddress
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from components.cluster.contract import ApiAddress, ApiServer
from components.inputs import Model
from components.security.network import NetworkDnsArgs
from components.security.network.addresses import NODES_ONLY
from components.security.network.platform_flows import StoreFlows
from components.security.network.policies import Cidr, IpAddress
from components.security.network.surroundings import Peer
from components.types import DnsLabel, LabelValue, QualifiedName

_WRAPPING = (("64:ff9b::", 96), ("2002::", 16))
"""IPv6 addresses with an IPv4 address behind that many bits: NAT64 and 6to4 (RFC 6052, RFC 3056)."""


def _forms(cidr: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """A range under all its names."""
    plain = ipaddress.ip_network(cidr)
    forms = [plain]
    if plain.version == 4:
        for prefix, bits in _WRAPPING:
            first = int(ipaddress.IPv6Address(prefix)) | int(plain.network_address) << (128 - bits - 32)
            forms.append(ipaddress.IPv6Network((first, bits + plain.prefixlen)))
    return forms


def _elsewhere(value: str) -> str:
    whole = ipaddress.ip_network(value)
    for never in NODES_ONLY:
        if any(whole.version == form.version and whole.overlaps(form) for form in _forms(never)):
            raise ValueError(f"{value} has {never} in it, where nodes get their credentials; use its own range, e.g. 10.0.8.0/24")
    return value


Elsewhere = Annotated[Cidr, AfterValidator(_elsewhere)]
"""A range of others, without anything that only nodes may reach."""
Port = Annotated[int, Field(ge=1, le=65535, examples=[443])]


class PeerSettings(Model):
    """Pods of others. Both must hold, and the API server itself says of a namespace what its name is."""

    namespace: DnsLabel = Field(description="Their namespace.", examples=["gateway"])
    pods: Mapping[QualifiedName, LabelValue] = Field(
        description="Labels they have; {} written out is every pod of the namespace.",
        examples=["{app.kubernetes.io/name: gateway}"],
    )

    def peer(self) -> Peer:
        """The same as flows take it."""
        return Peer(self.namespace, self.pods)


def check_peer(setting: str, host: str, peer: PeerSettings | None, *, in_clear_text: bool, lost: str, example: str) -> None:
    """Raise ValueError for a host in the cluster that policies would close off, or one outside with pods.

    `a.b` is either: in clear text a Service, else a name on the internet, unless `peer` says that b is its namespace.
    """
    namespace = peer.namespace if peer else None
    labels = host.split(".")
    if _is_address(host):
        inside, there = not ipaddress.ip_address(host).is_global, namespace
    else:
        inside = len(labels) == 1 or labels[2:3] == ["svc"] or (len(labels) == 2 and (in_clear_text or labels[1] == namespace))
        there = labels[1] if len(labels) > 1 else namespace
    if inside and namespace is None:
        outside = ", or use https where it is on the internet" if len(labels) == 2 else ""
        raise ValueError(
            f"{setting} is missing; policies close every way that is not named, so {lost} would not reach {host} in the cluster: "
            f"give its pods, e.g. {example}{outside}"
        )
    if not inside and namespace is not None:
        raise ValueError(f"{setting}: {host} is not in the cluster; remove it, or use a host such as name.{namespace}.svc")
    if inside and there != namespace:
        raise ValueError(f"{setting}.namespace: {host} is in {there}, not in {namespace}; use {there}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class DnsSettings(Model):
    """Who resolves names in the cluster."""

    namespace: DnsLabel = Field("kube-system", description="Namespace of its pods.")
    pods: Mapping[QualifiedName, LabelValue] = Field(
        default_factory=lambda: {"k8s-app": "kube-dns"}, min_length=1, description="Labels of its pods."
    )
    addresses: tuple[IpAddress, ...] = Field(
        (), description="Caches on the nodes, e.g. of NodeLocal DNSCache.", examples=["[169.254.20.10]"]
    )

    def args(self) -> NetworkDnsArgs:
        """The same as a component takes it."""
        return {"namespace_name": self.namespace, "pods": dict(self.pods), "addresses": list(self.addresses)}


class ApiServerSettings(Model):
    """Where the API server is, for a cluster that does not tell."""

    addresses: tuple[Elsewhere, ...] = Field(
        min_length=1,
        description="Where it answers pods: its own addresses, and the first one of Services.",
        examples=["[10.20.0.11/32, 10.43.0.1/32]"],
    )
    ports: tuple[Port, ...] = Field((443, 6443), min_length=1, description="On which ports.", examples=["[443, 6443]"])
    calls_from: tuple[Elsewhere, ...] = Field(
        (), description="Where its calls of webhooks come from; its addresses when left out.", examples=["[10.20.0.0/24]"]
    )

    def server(self) -> ApiServer:
        """The same as flows take it."""
        answers = tuple(ApiAddress(cidr, port) for cidr in self.addresses for port in self.ports)
        return ApiServer(answers, self.calls_from or self.addresses)


class SecretStoreSettings(Model):
    """Where secrets lie, for External Secrets."""

    pods: PeerSettings | None = Field(
        None, description="Its pods, in the cluster.", examples=["{namespace: vault, pods: {app.kubernetes.io/name: vault}}"]
    )
    addresses: tuple[Elsewhere, ...] = Field((), description="Its addresses, elsewhere.", examples=["[10.20.0.30/32]"])
    port: Port = Field(8200, description="Its port.", examples=[8200])

    @model_validator(mode="after")
    def _somewhere(self) -> "SecretStoreSettings":
        if self.pods is None and not self.addresses:
            raise ValueError("it has to be somewhere; give pods or addresses, e.g. addresses: [10.20.0.30/32]")
        return self


class NetworkPolicySettings(Model):
    """Nothing passes but what the platform needs; here stands who else there is."""

    gateway: PeerSettings | None = Field(
        None, description="Pods that pass on what clients ask.", examples=["{namespace: gateway, pods: {app: gateway}}"]
    )
    scraper: PeerSettings | None = Field(
        None, description="Pods that read metrics.", examples=["{namespace: monitoring, pods: {app: prometheus}}"]
    )
    keda: PeerSettings | None = Field(
        None,
        description="Pods of the operator of a KEDA that the cluster brings; it asks the stack's Prometheus.",
        examples=["{namespace: keda, pods: {app: keda-operator}}"],
    )
    clients: tuple[PeerSettings, ...] = Field((), description="Pods that call every model without the gateway.")
    dns: DnsSettings = Field(default_factory=DnsSettings, description="Who resolves names.")
    mirrors: tuple[Elsewhere, ...] = Field(
        (), description="Private ranges that downloads fetch from; private ones are closed otherwise.", examples=["[10.0.8.0/24]"]
    )
    secret_store: SecretStoreSettings | None = Field(
        None,
        description="Where secrets lie that External Secrets reads; on public addresses on 443, or in AWS, when left out.",
        examples=["{addresses: [10.20.0.30/32], port: 8200}"],
    )
    api_server: ApiServerSettings | None = Field(
        None,
        description="Where the API server is; as the cluster tells when left out, and on any private address if it does not.",
    )

    def store(self, *, uses_identity: bool) -> StoreFlows:
        """Where secrets lie; `uses_identity` where that takes an identity in the cloud."""
        if self.secret_store is None:
            return StoreFlows(uses_identity=uses_identity)
        place = self.secret_store
        return StoreFlows(
            pods=[place.pods.peer()] if place.pods else [],
            cidrs=list(place.addresses) or None,
            port=place.port,
            uses_identity=uses_identity,
        )

    def api_server_of(self, cluster: ApiServer) -> ApiServer:
        """Where the API server is: as is written here, else as the cluster tells."""
        return self.api_server.server() if self.api_server else cluster
