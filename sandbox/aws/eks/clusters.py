"""Clusters: made with a control plane of their own, told, and deleted with it."""

import hashlib
import ipaddress
import re
import uuid
from pathlib import Path
from typing import Any

from sandbox.aws.eks import control_planes, versions
from sandbox.aws.eks.access import CLUSTER_ADMIN, bootstrap_entry
from sandbox.aws.eks.errors import in_use, invalid_parameter, invalid_request
from sandbox.aws.eks.kms import encryption
from sandbox.aws.eks.store import Cluster, Store, now
from sandbox.aws.eks.wire import ACCESS_KEY, Parameters
from sandbox.control_plane import ControlPlane

LOG_TYPES = ["api", "audit", "authenticator", "controllerManager", "scheduler"]

_KEPT = (
    "outpostConfig",
    "remoteNetworkConfig",
    "computeConfig",
    "storageConfig",
    "kubeApiServerConfig",
    "kubeSchedulerConfig",
    "kubeControllerManagerConfig",
)
_SERVICE_RANGES = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_MAX_PUBLIC_CIDRS = 40


class Clusters:
    """Their operations."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_cluster(self, parameters: Parameters) -> Parameters:
        """Checks everything EKS checks at once, and makes the rest happen in a while."""
        store, name = self._store, parameters["name"]
        if name in store.clusters:
            raise in_use(f"Cluster already exists with name: {name}", clusterName=name)
        version = parameters.get("version", versions.default_version())
        versions.require(version)
        role = store.world.require_role(parameters["roleArn"], "eks.amazonaws.com")
        subnets = store.world.subnets(parameters["resourcesVpcConfig"].get("subnetIds", []))
        vpc = check_network(store, parameters["resourcesVpcConfig"])
        check_auto_mode(parameters, parameters.get("bootstrapSelfManagedAddons", True))
        _check_access(parameters.get("accessConfig", {}))
        cluster = Cluster(
            shape=self._shape(parameters, version, vpc),
            plane=ControlPlane(
                _plane_name(store.home, name),
                store.home / "clusters",
                (f"--account={store.world.endpoint}", f"--cluster={name}"),
            ),
            self_managed=parameters.get("bootstrapSelfManagedAddons", True),
            zones=frozenset(subnet.availability_zone for subnet in subnets),
        )
        if "encryptionConfig" in parameters:
            cluster.shape["encryptionConfig"] = encryption(store.world, parameters["encryptionConfig"])
        store.clusters[name] = cluster
        if cluster.shape["accessConfig"]["bootstrapClusterCreatorAdminPermissions"]:
            principal = store.world.caller(ACCESS_KEY.get())[0]
            cluster.entries[principal] = bootstrap_entry(store, cluster, principal, CLUSTER_ADMIN)
        store.later(lambda: control_planes.start(store, cluster, role.arn))
        return {"cluster": cluster.shape}

    def describe_cluster(self, parameters: Parameters) -> Parameters:
        """One cluster."""
        return {"cluster": self._store.cluster(parameters["name"]).shape}

    def list_clusters(self, _parameters: Parameters) -> Parameters:
        """The names of all."""
        return {"clusters": sorted(self._store.clusters)}

    def delete_cluster(self, parameters: Parameters) -> Parameters:
        """Refused while something stands in the way; the control plane goes in a while."""
        store, cluster = self._store, self._store.cluster(parameters["name"])
        name = cluster.name
        if cluster.shape["deletionProtection"]:
            raise invalid_request(
                f"Cluster {name} has deletion protection enabled; disable it with UpdateClusterConfig first.",
                clusterName=name,
            )
        if cluster.nodegroups:
            raise in_use("Cluster has nodegroups attached", clusterName=name, nodegroupName=next(iter(cluster.nodegroups)))
        if cluster.shape["status"] in ("CREATING", "UPDATING", "DELETING"):
            raise in_use(f"Cluster {name} is {cluster.shape['status']}; wait until that is over.", clusterName=name)
        cluster.shape["status"] = "DELETING"
        store.later(lambda: control_planes.delete(store, cluster))
        return {"cluster": cluster.shape}

    def _shape(self, parameters: Parameters, version: str, vpc: Any) -> dict[str, Any]:
        """The cluster as told while it is made, with the defaults EKS documents."""
        name, network = parameters["name"], parameters["resourcesVpcConfig"]
        enabled = {
            kind
            for setup in parameters.get("logging", {}).get("clusterLogging", [])
            if setup.get("enabled")
            for kind in setup["types"]
        }
        return {
            "name": name,
            "arn": self._store.arn("cluster", name),
            "createdAt": now(),
            "version": version,
            "roleArn": parameters["roleArn"],
            "resourcesVpcConfig": {
                "securityGroupIds": [],
                "endpointPublicAccess": True,
                "endpointPrivateAccess": False,
                "publicAccessCidrs": ["0.0.0.0/0"],
                **network,
                "vpcId": vpc.id,
            },
            "kubernetesNetworkConfig": _kubernetes_network(parameters.get("kubernetesNetworkConfig", {}), vpc),
            "logging": {"clusterLogging": logging_setup(enabled)},
            "identity": {
                "oidc": {"issuer": f"https://oidc.eks.{self._store.world.region}.amazonaws.com/id/{uuid.uuid4().hex.upper()}"}
            },
            "status": "CREATING",
            "platformVersion": versions.PLATFORM_VERSION,
            "tags": parameters.get("tags", {}),
            "health": {"issues": []},
            "accessConfig": {
                "authenticationMode": "CONFIG_MAP",
                "bootstrapClusterCreatorAdminPermissions": True,
                **parameters.get("accessConfig", {}),
            },
            "upgradePolicy": {"supportType": "EXTENDED", **parameters.get("upgradePolicy", {})},
            "zonalShiftConfig": {"enabled": False, **parameters.get("zonalShiftConfig", {})},
            "deletionProtection": parameters.get("deletionProtection", False),
            "controlPlaneScalingConfig": {"tier": "standard", **parameters.get("controlPlaneScalingConfig", {})},
            **{member: parameters[member] for member in _KEPT if member in parameters},
        }


def check_network(store: Store, network: dict[str, Any]) -> Any:
    """The VPC of a valid VPC configuration. Raises EksError for one that EKS refuses."""
    subnets = store.world.subnets(network.get("subnetIds", []))
    if len({subnet.availability_zone for subnet in subnets}) < 2:
        raise invalid_parameter("Subnets specified must be in at least two different AZs")
    if len({subnet.vpc_id for subnet in subnets}) > 1:
        raise invalid_parameter("Subnets specified must belong to the same VPC")
    store.world.require_security_groups(network.get("securityGroupIds", []), subnets[0].vpc_id)
    if not network.get("endpointPublicAccess", True) and not network.get("endpointPrivateAccess", False):
        raise invalid_parameter("Private and public endpoint access cannot be false")
    cidrs = network.get("publicAccessCidrs", [])
    if len(cidrs) > _MAX_PUBLIC_CIDRS:
        raise invalid_parameter(f"publicAccessCidrs has {len(cidrs)} blocks where at most {_MAX_PUBLIC_CIDRS} are allowed")
    for cidr in cidrs:
        try:
            block = ipaddress.ip_network(cidr)
        except ValueError as error:
            raise invalid_parameter(f"The following CIDRs are invalid in publicAccessCidrs: [{cidr}]") from error
        if block.version == 4 and block.prefixlen and any(block.subnet_of(ipaddress.IPv4Network(own)) for own in _SERVICE_RANGES):
            raise invalid_parameter(f"The following CIDRs are not allowed in publicAccessCidrs: [{cidr}]")
    return subnets[0].ec2_backend.get_vpc(subnets[0].vpc_id)


def check_auto_mode(configuration: dict[str, Any], self_managed: bool) -> None:
    """Raises EksError unless the three parts of Auto Mode are all on or all off, and its needs are met."""
    parts = {
        "computeConfig": configuration.get("computeConfig", {}).get("enabled", False),
        "kubernetesNetworkConfig.elasticLoadBalancing": configuration.get("kubernetesNetworkConfig", {})
        .get("elasticLoadBalancing", {})
        .get("enabled", False),
        "storageConfig.blockStorage": configuration.get("storageConfig", {}).get("blockStorage", {}).get("enabled", False),
    }
    if len(set(parts.values())) > 1:
        raise invalid_parameter(
            f"For EKS Auto Mode, {', '.join(parts)} must all be enabled or all disabled; "
            f"enabled are only {', '.join(name for name, enabled in parts.items() if enabled)}"
        )
    if any(parts.values()) and self_managed:
        raise invalid_parameter("When EKS Auto Mode is enabled, bootstrapSelfManagedAddons must be set to false")


def _check_access(config: dict[str, Any]) -> None:
    if config.get("authenticationMode", "CONFIG_MAP") == "CONFIG_MAP" and not config.get(
        "bootstrapClusterCreatorAdminPermissions", True
    ):
        raise invalid_parameter(
            "bootstrapClusterCreatorAdminPermissions must be true if cluster authentication mode is set to CONFIG_MAP"
        )


def logging_setup(enabled: set[str]) -> list[dict[str, Any]]:
    """Control plane logging as told: the types that are on, and those that are off."""
    on = [kind for kind in LOG_TYPES if kind in enabled]
    off = [kind for kind in LOG_TYPES if kind not in enabled]
    return [{"types": types, "enabled": state} for types, state in ((on, True), (off, False)) if types]


def _kubernetes_network(wanted: dict[str, Any], vpc: Any) -> dict[str, Any]:
    """Services get an own range that may not lie in the VPC; without a wish, the one of two that does not."""
    vpc_block = ipaddress.ip_network(vpc.cidr_block)
    if "serviceIpv4Cidr" in wanted:
        try:
            block = ipaddress.IPv4Network(wanted["serviceIpv4Cidr"])
        except ValueError as error:
            raise invalid_parameter(f"serviceIpv4Cidr {wanted['serviceIpv4Cidr']} is no IPv4 block: {error}") from error
        if not 12 <= block.prefixlen <= 24 or not any(block.subnet_of(ipaddress.IPv4Network(own)) for own in _SERVICE_RANGES):
            raise invalid_parameter(
                f"serviceIpv4Cidr {block} must be within one of {', '.join(_SERVICE_RANGES)} and between /24 and /12, "
                "e.g. 172.20.0.0/16"
            )
        if block.overlaps(vpc_block):
            raise invalid_parameter(f"serviceIpv4Cidr {block} overlaps the block {vpc_block} of the VPC; use e.g. 172.20.0.0/16")
    chosen = "172.20.0.0/16" if vpc_block.overlaps(ipaddress.ip_network("10.0.0.0/8")) else "10.100.0.0/16"
    return {"serviceIpv4Cidr": chosen, "ipFamily": "ipv4", "elasticLoadBalancing": {"enabled": False}, **wanted}


def _plane_name(home: Path, cluster: str) -> str:
    """A name the control plane accepts, different for every cluster of every account on this machine."""
    short = re.sub(r"[^a-z0-9]+", "-", cluster.lower()).strip("-")[:27].strip("-") or "cluster"
    return f"{short}-{hashlib.sha256(f'{home.resolve()}/{cluster}'.encode()).hexdigest()[:8]}"
