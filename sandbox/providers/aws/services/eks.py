"""EKS clusters, and waiting for updates, which EKS makes one at a time."""

import time
from collections.abc import Mapping
from typing import Any, Final

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services.shapes import (
    ISSUES,
    STATUS,
    Operation,
    ServiceAdapter,
    holds,
    retag,
    tag_values,
    taken,
    when,
    without_none,
)
from sandbox.providers.contract import ProviderError

_UPDATE_WAIT_S: Final = 3600.0  # pulumi-aws's own limit
_POLL_S: Final = 0.2
_SAME: Final = (
    "accessConfig",
    "computeConfig",
    "controlPlaneScalingConfig",
    "deletionProtection",
    "kubeApiServerConfig",
    "kubeControllerManagerConfig",
    "kubeSchedulerConfig",
    "kubernetesNetworkConfig",
    "name",
    "roleArn",
    "storageConfig",
    "upgradePolicy",
    "version",
    "zonalShiftConfig",
)
"""Inputs that EKS calls and shapes the same."""
_REMOTE: Final = ("remoteNodeNetworks", "remotePodNetworks")
_VPC_KINDS: Final = (
    ("endpointPrivateAccess", "endpointPublicAccess", "publicAccessCidrs"),
    ("subnetIds",),
    ("securityGroupIds",),
    ("controlPlaneEgressMode",),
)


class Cluster(ServiceAdapter):
    token = "aws:eks/cluster:Cluster"
    service = "eks"
    replaces = frozenset(
        (
            "accessConfig.bootstrapClusterCreatorAdminPermissions",
            "bootstrapSelfManagedAddons",
            "kubernetesNetworkConfig.ipFamily",
            "kubernetesNetworkConfig.serviceIpv4Cidr",
            "name",
            "roleArn",
        )
    )
    unordered = frozenset(
        (
            "computeConfig.nodePools",
            "enabledClusterLogTypes",
            "encryptionConfig.resources",
            "remoteNetworkConfig.remoteNodeNetworks.cidrs",
            "remoteNetworkConfig.remotePodNetworks.cidrs",
            "vpcConfig.publicAccessCidrs",
            "vpcConfig.securityGroupIds",
            "vpcConfig.subnetIds",
        )
    )
    write_only = frozenset(("bootstrapSelfManagedAddons", "forceUpdateVersion"))
    refused = frozenset(("defaultAddonsToRemoves", "outpostConfig"))
    autoname = ("name", 100)

    def make(self, op: Operation) -> str:
        return str(op.client.create_cluster(**cluster_parameters(op.values), tags=op.tags)["cluster"]["name"])

    def look(self, op: Operation) -> Values:
        cluster = op.client.describe_cluster(name=op.id)["cluster"]
        return {**cluster_values(cluster, op.values), **tag_values(op, cluster.get("tags"))}

    def change(self, op: Operation) -> None:
        live = cluster_values(op.client.describe_cluster(name=op.id)["cluster"], op.old)
        for call, parameters in cluster_updates(without_done(op, live), op.values):
            identity = {"clusterName" if call == "associate_encryption_config" else "name": op.id}
            settle(op.client, getattr(op.client, call)(**identity, **parameters), name=op.id)
        retag_by_arn(op, live["arn"])

    def remove(self, op: Operation) -> None:
        op.client.delete_cluster(name=op.id)


def cluster_parameters(inputs: Values) -> dict[str, Any]:
    """What CreateCluster takes, without tags."""
    parameters = {
        **{name: inputs[name] for name in (*_SAME, "bootstrapSelfManagedAddons") if inputs.get(name) is not None},
        "resourcesVpcConfig": _vpc(inputs["vpcConfig"], *(name for names in _VPC_KINDS for name in names)),
    }
    if "kubernetesNetworkConfig" in parameters:
        parameters["kubernetesNetworkConfig"] = _network(inputs)
    if types := inputs.get("enabledClusterLogTypes"):
        parameters["logging"] = {"clusterLogging": [{"types": types, "enabled": True}]}
    if encryption := inputs.get("encryptionConfig"):
        parameters["encryptionConfig"] = [encryption]
    if remote := inputs.get("remoteNetworkConfig"):
        parameters["remoteNetworkConfig"] = {name: [remote[name]] for name in _REMOTE if remote.get(name)}
    return parameters


def cluster_values(cluster: Mapping[str, Any], state: Values) -> Values:
    """The properties of a cluster as EKS describes it, without tags."""
    logging = cluster.get("logging", {}).get("clusterLogging") or ()
    encryption, remote = cluster.get("encryptionConfig"), cluster.get("remoteNetworkConfig")
    issuer = cluster.get("identity", {}).get("oidc", {}).get("issuer")
    access = cluster.get("accessConfig")
    if access:
        # EKS does not tell who was made an administrator in the beginning.
        bootstrap = (state.get("accessConfig") or {}).get("bootstrapClusterCreatorAdminPermissions")
        access = without_none({"bootstrapClusterCreatorAdminPermissions": bootstrap, **access})
    return {
        **{name: cluster.get(name) for name in _SAME},
        "accessConfig": access,
        "enabledClusterLogTypes": [kind for setup in logging if setup.get("enabled") for kind in setup.get("types", ())],
        "encryptionConfig": encryption[0] if encryption else None,
        "remoteNetworkConfig": remote and {name: remote[name][0] for name in _REMOTE if remote.get(name)},
        "vpcConfig": cluster.get("resourcesVpcConfig"),
        "arn": cluster.get("arn"),
        "certificateAuthority": {"data": cluster.get("certificateAuthority", {}).get("data")},
        "clusterId": cluster.get("id"),
        "createdAt": when(cluster["createdAt"]),
        "endpoint": cluster.get("endpoint"),
        "identities": [{"oidcs": [{"issuer": issuer}]}] if issuer else [],
        "platformVersion": cluster.get("platformVersion"),
        "status": cluster.get("status"),
        STATUS: cluster.get("status"),
        ISSUES: issues(cluster),
    }


def cluster_updates(old: Values, new: Values) -> list[tuple[str, dict[str, Any]]]:
    """The calls from one set of inputs to another and their parameters, in order: EKS takes one kind of change at a time.

    Raises:
        ProviderError: the secrets' encryption is changed or taken away, which EKS cannot do.
    """

    def changed(*names: str) -> bool:
        return any(old.get(name) != new.get(name) for name in names)

    config: list[dict[str, Any]] = []
    if changed("accessConfig") and new.get("accessConfig"):
        config.append({"accessConfig": taken(new["accessConfig"], {"authenticationMode": "authenticationMode"})})
    auto_mode = ("computeConfig", "kubernetesNetworkConfig", "storageConfig")
    if changed(*auto_mode):
        config.append({name: new[name] for name in ("computeConfig", "storageConfig") if new.get(name)})
        if new.get("kubernetesNetworkConfig"):
            config[-1]["kubernetesNetworkConfig"] = _network(new, "elasticLoadBalancing")
    if changed("enabledClusterLogTypes"):
        wanted = set(new.get("enabledClusterLogTypes") or ())
        off = sorted(set(old.get("enabledClusterLogTypes") or ()) - wanted)
        setups = [{"types": sorted(wanted), "enabled": True}, {"types": off, "enabled": False}]
        config.append({"logging": {"clusterLogging": [setup for setup in setups if setup["types"]]}})
    if changed("remoteNetworkConfig"):
        remote = new.get("remoteNetworkConfig") or {}
        config.append({"remoteNetworkConfig": {name: [remote[name]] if remote.get(name) else [] for name in _REMOTE}})
    for names in _VPC_KINDS:
        if any((old.get("vpcConfig") or {}).get(name) != new["vpcConfig"].get(name) for name in names):
            config.append({"resourcesVpcConfig": _vpc(new["vpcConfig"], *names)})
    for name in (
        "controlPlaneScalingConfig",
        "deletionProtection",
        "kubeApiServerConfig",
        "kubeControllerManagerConfig",
        "kubeSchedulerConfig",
        "upgradePolicy",
        "zonalShiftConfig",
    ):
        if changed(name):
            config.append({name: _default(name) if new.get(name) is None else new[name]})
    calls: list[tuple[str, dict[str, Any]]] = []
    if changed("version") and new.get("version"):
        calls.append(("update_cluster_version", {"version": new["version"], **taken(new, {"forceUpdateVersion": "force"})}))
    calls += [("update_cluster_config", parameters) for parameters in config]
    if changed("encryptionConfig"):
        if old.get("encryptionConfig"):
            # pulumi-aws would make another cluster for this; nothing here may ever do that.
            raise ProviderError("EKS neither changes nor removes the encryption of a cluster: leave `encryptionConfig` as it was")
        calls.append(("associate_encryption_config", {"encryptionConfig": [new["encryptionConfig"]]}))
    return calls


def settle(eks: Any, answer: Mapping[str, Any], **of: str) -> None:
    """Wait until an update has gone through; EKS refuses the next one before.

    Raises:
        ProviderError: it failed, was cancelled, or is not through in time.
    """
    update, end = answer["update"], time.monotonic() + _UPDATE_WAIT_S
    while update["status"] == "InProgress" and time.monotonic() < end:
        time.sleep(_POLL_S)
        update = eks.describe_update(updateId=update["id"], **of)["update"]
    if update["status"] != "Successful":
        errors = update.get("errors") or [{"errorCode": "no reason", "errorMessage": "EKS gave none"}]
        reasons = "; ".join(f"{error['errorCode']}: {error['errorMessage']}" for error in errors)
        raise ProviderError(f"the {update['type']} of {', '.join(of.values())} is {update['status']}: {reasons}")


def without_done(op: Operation, live: Values) -> Values:
    """The inputs to change from, without what an interrupted update has done already: EKS refuses a change to what is."""
    done = {name: wanted for name, wanted in op.values.items() if name in live and holds(live[name], wanted)}
    return {**op.old, **done}


def issues(thing: Mapping[str, Any]) -> str | None:
    """What EKS says is wrong with something."""
    found = thing.get("health", {}).get("issues") or ()
    return "; ".join(f"{issue.get('code')}: {issue.get('message')}" for issue in found) or None


def retag_by_arn(op: Operation, arn: str) -> None:
    """Bring the tags of something up to date."""
    retag(
        op,
        lambda tags: op.client.tag_resource(resourceArn=arn, tags=tags),
        lambda keys: op.client.untag_resource(resourceArn=arn, tagKeys=keys),
    )


def _vpc(config: Values, *names: str) -> dict[str, Any]:
    return {name: config[name] for name in names if config.get(name) is not None}


def _network(inputs: Values, *names: str) -> dict[str, Any]:
    """The Kubernetes network without what EKS assigns itself."""
    config = inputs["kubernetesNetworkConfig"]
    wanted = names or ("elasticLoadBalancing", "ipFamily", "serviceIpv4Cidr")
    return {name: config[name] for name in wanted if config.get(name) is not None}


def _default(name: str) -> Any:
    """What a setting is again when it is given no more."""
    return {
        "controlPlaneScalingConfig": {"tier": "standard"},
        "deletionProtection": False,
        "upgradePolicy": {"supportType": "EXTENDED"},
        "zonalShiftConfig": {"enabled": False},
    }.get(name, {})
