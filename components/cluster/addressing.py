"""Which addresses of a VPC each availability zone gets. Pure.

A zone's place follows from its letter alone, so that another zone never moves the subnets that are there.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .contract import ApiAddress, ApiServer

SERVICE_CIDR = "172.20.0.0/16"
"""Addresses of Kubernetes Services: one of the two ranges EKS itself chooses from (API_KubernetesNetworkConfigRequest)."""

_ZONE = re.compile(r"(?P<region>[a-z]{2}(-[a-z]+)+-\d)(?P<letter>[a-z])")
_LETTERS = "abcdefg"
"""No region has more than six zones (docs.aws.amazon.com/global-infrastructure/latest/regions/aws-availability-zones.html)."""

_LARGEST, _SMALLEST = 16, 20
"""Prefix lengths. AWS takes no larger VPC; in a smaller one a public subnet has less than the /27 a load balancer needs."""

_CONTROL_PLANE_PREFIX = 28
"""EKS wants six addresses a subnet and recommends sixteen (EKS user guide, "Amazon EKS networking requirements")."""

_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))


@dataclass(frozen=True)
class ZoneSubnets:
    """The subnets of one zone, as CIDR blocks."""

    public: str
    """NAT gateways and load balancers that face the internet."""
    private: str
    """Nodes, pods, mount targets and endpoints."""
    control_plane: str
    """Network interfaces of the EKS control plane, apart so that nodes cannot use up their addresses."""


def subnets(cidr: str, zones: Iterable[str]) -> dict[str, ZoneSubnets]:
    """The subnets of each zone; ValueError for what `check_zones` or `check_cidr` refuse.

    An eighth of the VPC is the private subnet of each possible zone. The last eighth is halved into the public subnets and those
    of the control plane, eight places each.
    """
    listed = tuple(zones)
    check_zones(listed)
    check_cidr(cidr)
    *private, rest = ipaddress.IPv4Network(cidr).subnets(prefixlen_diff=3)
    public_half, _ = rest.subnets(prefixlen_diff=1)
    public = tuple(public_half.subnets(prefixlen_diff=3))
    control = tuple(_control_planes(cidr).subnets(new_prefix=_CONTROL_PLANE_PREFIX))
    places = {zone: _LETTERS.index(zone[-1]) for zone in listed}
    return {
        zone: ZoneSubnets(public=str(public[place]), private=str(private[place]), control_plane=str(control[place]))
        for zone, place in places.items()
    }


def eks_api_server(cidr: str) -> ApiServer:
    """Where the API server of an EKS cluster is in such a network.

    EKS keeps the subnets a cluster began with, so it is in any of those that the control plane has in one of the zones.
    """
    inside = str(_control_planes(cidr))
    service = f"{next(ipaddress.IPv4Network(SERVICE_CIDR).hosts())}/32"
    return ApiServer(answers_at=(ApiAddress(inside), ApiAddress(service)), calls_from=(inside,))


def region_of(zone: str) -> str:
    """The region a zone is in; ValueError for what is no availability zone of a region."""
    matched = _ZONE.fullmatch(zone)
    if matched is None:
        raise ValueError(
            f"{zone!r} is not an availability zone (local and wavelength zones have no EKS control plane); use e.g. us-east-1a"
        )
    if matched["letter"] not in _LETTERS:
        raise ValueError(
            f"{zone!r}: no region has a zone {matched['letter']}; use {_LETTERS[0]} to {_LETTERS[-1]}, e.g. {zone[:-1]}a"
        )
    return matched["region"]


def check_zones(zones: Sequence[str]) -> None:
    """Raise ValueError unless there are two or more zones of one region, each once."""
    if len(set(zones)) < 2 or len(set(zones)) < len(zones):
        raise ValueError("EKS needs two different zones or more; use e.g. [us-east-1a, us-east-1b]")
    regions = sorted({region_of(zone) for zone in zones})
    if len(regions) > 1:
        raise ValueError(
            f"a network is in one region, but the zones are in {' and '.join(regions)}; use zones of {regions[0]} only"
        )


def check_cidr(cidr: str, peer_cidrs: Iterable[str] = ()) -> None:
    """Raise ValueError unless `cidr` is private, of a size that works, and apart from the Services and the peers."""
    network = _network(cidr)
    if not any(network.subnet_of(private) for private in _PRIVATE):
        raise ValueError(f"{cidr} is not private, so others on the internet have these addresses; use e.g. 10.40.0.0/16")
    if network.prefixlen < _LARGEST:
        raise ValueError(f"{cidr} is larger than a VPC can be; use /{_LARGEST}, e.g. {network.network_address}/{_LARGEST}")
    if network.prefixlen > _SMALLEST:
        whole = network.supernet(new_prefix=_SMALLEST)
        raise ValueError(
            f"{cidr} is too small to be shared by nodes and pods of all zones; use /{_SMALLEST} or larger, e.g. {whole}"
        )
    if network.overlaps(ipaddress.IPv4Network(SERVICE_CIDR)):
        raise ValueError(f"{cidr} overlaps {SERVICE_CIDR}, the addresses of Kubernetes Services; use e.g. 10.40.0.0/16")
    peers = [_network(peer) for peer in peer_cidrs]
    for peer in peers:
        if network.overlaps(peer):
            raise ValueError(
                f"{cidr} overlaps {peer}, a network it must reach; use a range outside it, e.g. {_beside(network, peers)}"
            )


def _control_planes(cidr: str) -> ipaddress.IPv4Network:
    """The subnets of the control plane in all zones there can be."""
    *_, half = ipaddress.IPv4Network(cidr).subnets(prefixlen_diff=4)
    return next(half.subnets(new_prefix=_CONTROL_PLANE_PREFIX - 3))


def _network(cidr: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(cidr)
    except ValueError:
        pass
    try:
        meant = ipaddress.IPv4Network(cidr, strict=False)
    except ValueError:
        raise ValueError(f"{cidr!r} is not a range of IPv4 addresses; use e.g. 10.40.0.0/16") from None
    raise ValueError(f"{cidr} is an address in a network, not the network; use {meant}")


def _beside(network: ipaddress.IPv4Network, peers: Iterable[ipaddress.IPv4Network]) -> str:
    """A network of the same size that would do."""
    taken = [*peers, ipaddress.IPv4Network(SERVICE_CIDR)]
    free = (
        candidate
        for private in _PRIVATE
        for candidate in private.subnets(new_prefix=network.prefixlen)
        if not any(candidate.overlaps(other) for other in taken)
    )
    return str(next(free, "a smaller one"))
