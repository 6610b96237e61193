"""What a stack makes in AWS, and what of it has to fit together."""

from dataclasses import dataclass

from components.cluster.addressing import check_cidr, subnets
from components.cluster.eks_access import check_principals, check_public_access
from components.cluster.eks_addons import check_addons
from components.cluster.endpoints import check_endpoints
from components.cluster.images import ami_type, check_release
from components.cluster.network import NatGateways
from settings.aws import AwsSettings, NetworkSettings, StorageSettings
from settings.checking import at, inside
from settings.clusters import EksClusterSettings, ManagedPoolSettings


@dataclass(frozen=True)
class OnEks:
    """The sections of a stack that makes its cluster on EKS."""

    aws: AwsSettings
    network: NetworkSettings
    cluster: EksClusterSettings
    storage: StorageSettings


def check_eks(eks: OnEks) -> None:
    """Raise ValueError for a network, a cluster or zones that AWS would refuse."""
    _check_network(eks.network)
    _check_cluster(eks)
    _check_zones(eks)


def _check_network(network: NetworkSettings) -> None:
    at("network.cidr", check_cidr, network.cidr, network.peer_cidrs)
    at("network.cidr", subnets, network.cidr, network.zones)
    reached = network.nat_gateways is not NatGateways.NONE
    at("network.interfaceEndpoints", check_endpoints, network.interface_endpoints, reached)


def _check_cluster(eks: OnEks) -> None:
    cluster = eks.cluster
    inside("cluster", check_principals, cluster.admin_principals, cluster.viewer_principals)
    inside("cluster", check_public_access, cluster.public_access_cidrs)
    inside("cluster", check_addons, tuple(eks.storage.file_systems()), cluster.addon_versions)
    for name, pool in cluster.node_pools.items():
        at(f"cluster.nodePools.{name}", check_release, pool.image, cluster.kubernetes_version)
        if isinstance(pool, ManagedPoolSettings):
            at(f"cluster.nodePools.{name}", pool.named(name).check_zones, pool.zones or eks.network.zones)
    at("cluster.system", check_release, cluster.system.image, cluster.kubernetes_version)
    at("cluster.system", ami_type, cluster.system.image.family, cluster.system.instance_types)


def _check_zones(eks: OnEks) -> None:
    for zone in eks.network.zones:
        if zone[:-1] != eks.aws.region:
            raise ValueError(f"network.zones: {zone} is not in aws.region {eks.aws.region}; use e.g. {eks.aws.region}a")
    named = {f"cluster.nodePools.{name}.zones": pool.zones or () for name, pool in eks.cluster.node_pools.items()}
    if eks.storage.lustre:
        named["storage.lustre.zone"] = (eks.storage.lustre.zone,)
    for key, zones in named.items():
        for zone in zones:
            if zone not in eks.network.zones:
                raise ValueError(f"{key}: {zone} is not a zone of network.zones; use one of {', '.join(eks.network.zones)}")
