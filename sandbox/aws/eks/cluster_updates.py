"""Changes of a cluster that exists: one kind at a time, as EKS wants them."""

import json
from dataclasses import dataclass
from typing import Any

from sandbox.aws.eks import versions
from sandbox.aws.eks.clusters import check_auto_mode, check_network, logging_setup
from sandbox.aws.eks.errors import in_use, invalid_parameter, invalid_request
from sandbox.aws.eks.kms import encryption
from sandbox.aws.eks.store import Cluster, Store, Update, new_update
from sandbox.aws.eks.wire import Parameters

_MODES = ["CONFIG_MAP", "API_AND_CONFIG_MAP", "API"]
"""Authentication modes, in the only direction a cluster can go."""


@dataclass(frozen=True)
class _Kind:
    """One kind of update: the members of UpdateClusterConfig it is made of, and of those only these parts."""

    update: str
    members: tuple[str, ...]
    parts: tuple[str, ...] = ()


_KINDS = (
    _Kind(
        "EndpointAccessUpdate", ("resourcesVpcConfig",), ("endpointPublicAccess", "endpointPrivateAccess", "publicAccessCidrs")
    ),
    _Kind("VpcConfigUpdate", ("resourcesVpcConfig",), ("subnetIds", "securityGroupIds")),
    _Kind("ControlPlaneEgressUpdate", ("resourcesVpcConfig",), ("controlPlaneEgressMode",)),
    _Kind("LoggingUpdate", ("logging",)),
    _Kind("AccessConfigUpdate", ("accessConfig",)),
    _Kind("UpgradePolicyUpdate", ("upgradePolicy",)),
    _Kind("ZonalShiftConfigUpdate", ("zonalShiftConfig",)),
    _Kind("AutoModeUpdate", ("computeConfig", "kubernetesNetworkConfig", "storageConfig")),
    _Kind("RemoteNetworkConfigUpdate", ("remoteNetworkConfig",)),
    _Kind("DeletionProtectionUpdate", ("deletionProtection",)),
    _Kind("ControlPlaneScalingConfigUpdate", ("controlPlaneScalingConfig",)),
    _Kind("ControlPlaneComponentConfigUpdate", ("kubeApiServerConfig", "kubeSchedulerConfig", "kubeControllerManagerConfig")),
)

# Update parameters as the API names them, where that is not the member's name with a capital.
_TOLD = {
    "subnetIds": "Subnets",
    "securityGroupIds": "SecurityGroups",
    "logging": "ClusterLogging",
    "controlPlaneScalingConfig": "UpdatedTier",
}


class ClusterUpdates:
    """Their operations."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def update_cluster_config(self, parameters: Parameters) -> Parameters:
        """One kind of change per call."""
        cluster = self._store.idle_cluster(parameters["name"])
        asked = [(kind, edits) for kind in _KINDS if (edits := _edits(kind, parameters))]
        if len(asked) != 1:
            what = f": asked are {', '.join(kind.update for kind, _ in asked)}" if asked else ": none is asked"
            raise invalid_parameter(f"Only one type of update can be allowed{what}")
        kind, edits = asked[0]
        if kind.update == "LoggingUpdate":
            edits = {"logging": _logging(cluster, edits["logging"])}
        changed = {member: _merged(cluster.shape.get(member), value) for member, value in edits.items()}
        if all(cluster.shape.get(member) == value for member, value in changed.items()):
            raise invalid_parameter(
                f"No changes needed: cluster {cluster.name} is already at the desired configuration {json.dumps(edits)}"
            )
        self._check(cluster, kind, changed)
        return {"update": self._begin(cluster, kind.update, _told(edits, kind), changed).shape}

    def update_cluster_version(self, parameters: Parameters) -> Parameters:
        """To the next minor version."""
        cluster, wanted = self._store.idle_cluster(parameters["name"]), parameters["version"]
        versions.require(wanted)
        own = cluster.shape["version"]
        if versions.minor(wanted) != versions.minor(own) + 1:
            raise invalid_parameter(f"Unsupported Kubernetes minor version update from {own} to {wanted}")
        behind = [
            name
            for name, group in cluster.nodegroups.items()
            if versions.minor(wanted) - versions.minor(group.shape["version"]) > versions.MAX_SKEW
        ]
        if behind and not parameters.get("force"):
            raise invalid_request(
                f"Nodegroups {', '.join(behind)} must be updated before the cluster can be at {wanted}: "
                f"nodes may be at most {versions.MAX_SKEW} minor versions older"
            )
        told = {"Version": wanted, "PlatformVersion": versions.PLATFORM_VERSION}
        return {"update": self._begin(cluster, "VersionUpdate", told, {"version": wanted}).shape}

    def associate_encryption_config(self, parameters: Parameters) -> Parameters:
        """Once; it cannot be taken back."""
        cluster = self._store.idle_cluster(parameters["clusterName"])
        if "encryptionConfig" in cluster.shape:
            raise in_use(f"Cluster {cluster.name} has an encryption configuration already, which cannot be changed")
        wanted = encryption(self._store.world, parameters["encryptionConfig"])
        told = {"EncryptionConfig": json.dumps(wanted)}
        return {"update": self._begin(cluster, "AssociateEncryptionConfig", told, {"encryptionConfig": wanted}).shape}

    def _begin(self, cluster: Cluster, kind: str, told: dict[str, str], changed: dict[str, Any]) -> Update:
        update = new_update(cluster, kind, told)
        cluster.shape["status"] = "UPDATING"
        self._store.later(lambda: self._finish(cluster, changed, update))
        return update

    def _finish(self, cluster: Cluster, changed: dict[str, Any], update: Update) -> None:
        store = self._store
        with store.lock:
            cluster.shape |= changed | {"status": "ACTIVE"}
            update.shape["status"] = "Successful"

    def _check(self, cluster: Cluster, kind: _Kind, changed: dict[str, Any]) -> None:
        match kind.update:
            case "EndpointAccessUpdate" | "VpcConfigUpdate" | "ControlPlaneEgressUpdate":
                network = changed["resourcesVpcConfig"]
                vpc = check_network(self._store, network)
                zones = {subnet.availability_zone for subnet in self._store.world.subnets(network["subnetIds"])}
                if vpc.id != network["vpcId"]:
                    raise invalid_parameter(f"Subnets specified must belong to the VPC {network['vpcId']} of the cluster")
                if not zones <= cluster.zones:
                    raise invalid_parameter(
                        "Subnets specified must belong to the availability zones of the cluster's creation, "
                        f"{', '.join(sorted(cluster.zones))}; "
                        f"{', '.join(sorted(zones - cluster.zones))} is none of them"
                    )
            case "AccessConfigUpdate":
                old, new = (
                    _MODES.index(config["authenticationMode"])
                    for config in (cluster.shape["accessConfig"], changed["accessConfig"])
                )
                if new != old + 1:
                    raise invalid_parameter(f"Unsupported authentication mode update from {_MODES[old]} to {_MODES[new]}")
            case "AutoModeUpdate":
                check_auto_mode(cluster.shape | changed, cluster.self_managed)


def _edits(kind: _Kind, parameters: Parameters) -> dict[str, Any]:
    found = {member: parameters[member] for member in kind.members if member in parameters}
    if not kind.parts:
        return found
    cut = {member: {part: value[part] for part in kind.parts if part in value} for member, value in found.items()}
    return {member: value for member, value in cut.items() if value}


def _merged(old: Any, new: Any) -> Any:
    return {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new


def _logging(cluster: Cluster, wanted: dict[str, Any]) -> dict[str, Any]:
    """Types that are not mentioned stay as they are."""
    enabled = {kind for setup in cluster.shape["logging"]["clusterLogging"] if setup["enabled"] for kind in setup["types"]}
    for setup in wanted.get("clusterLogging", []):
        enabled = enabled | set(setup["types"]) if setup.get("enabled") else enabled - set(setup["types"])
    return {"clusterLogging": logging_setup(enabled)}


def _told(edits: dict[str, Any], kind: _Kind) -> dict[str, str]:
    """The edits as parameters of the update."""
    flat = edits if not kind.parts else {part: value for edit in edits.values() for part, value in edit.items()}
    if kind.update == "AccessConfigUpdate":
        flat = edits["accessConfig"]
    return {
        _TOLD.get(member, member[0].upper() + member[1:]): value if isinstance(value, str) else json.dumps(value)
        for member, value in flat.items()
    }
