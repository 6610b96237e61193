"""EKS node groups."""

from typing import Any, Final

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services.eks import issues, retag_by_arn, settle, without_done
from sandbox.providers.aws.services.shapes import ISSUES, STATUS, Operation, ServiceAdapter, given, tag_values, taken

_NAMES: Final = {
    "amiType": "amiType",
    "capacityType": "capacityType",
    "clusterName": "clusterName",
    "diskSize": "diskSize",
    "instanceTypes": "instanceTypes",
    "labels": "labels",
    "launchTemplate": "launchTemplate",
    "nodeGroupName": "nodegroupName",
    "nodeRepairConfig": "nodeRepairConfig",
    "nodeRoleArn": "nodeRole",
    "releaseVersion": "releaseVersion",
    "scalingConfig": "scalingConfig",
    "subnetIds": "subnets",
    "taints": "taints",
    "updateConfig": "updateConfig",
    "version": "version",
}
_ACCESS: Final = {"ec2SshKey": "ec2SshKey", "sourceSecurityGroupIds": "sourceSecurityGroups"}


class NodeGroup(ServiceAdapter):
    token = "aws:eks/nodeGroup:NodeGroup"
    service = "eks"
    replaces = frozenset(
        (
            "amiType",
            "capacityType",
            "clusterName",
            "diskSize",
            "instanceTypes",
            "launchTemplate.id",
            "launchTemplate.name",
            "nodeGroupName",
            "nodeRoleArn",
            "remoteAccess",
            "subnetIds",
        )
    )
    unordered = frozenset(("remoteAccess.sourceSecurityGroupIds", "subnetIds", "taints"))
    write_only = frozenset(("forceUpdateVersion",))
    refused = frozenset(("nodeGroupNamePrefix",))
    autoname = ("nodeGroupName", 63)

    def make(self, op: Operation) -> str:
        group = op.client.create_nodegroup(**node_group_parameters(op.values), tags=op.tags)["nodegroup"]
        return f"{group['clusterName']}:{group['nodegroupName']}"

    def look(self, op: Operation) -> Values:
        group = op.client.describe_nodegroup(**_of(op.id))["nodegroup"]
        return {**node_group_values(group), **tag_values(op, group.get("tags"))}

    def change(self, op: Operation) -> None:
        cluster, _, name = op.id.partition(":")
        live = node_group_values(op.client.describe_nodegroup(**_of(op.id))["nodegroup"])
        for call, parameters in node_group_updates(without_done(op, live), op.values):
            answer = getattr(op.client, call)(**_of(op.id), **parameters)
            settle(op.client, answer, name=cluster, nodegroupName=name)
        retag_by_arn(op, live["arn"])

    def remove(self, op: Operation) -> None:
        op.client.delete_nodegroup(**_of(op.id))


def node_group_parameters(inputs: Values) -> dict[str, Any]:
    """What CreateNodegroup takes, without tags."""
    parameters = taken(inputs, _NAMES)
    if access := inputs.get("remoteAccess"):
        parameters["remoteAccess"] = taken(access, _ACCESS)
    if pool := inputs.get("warmPoolConfig"):
        parameters["warmPoolConfig"] = _pool(pool)
    return parameters


def node_group_values(group: dict[str, Any]) -> Values:
    """The properties of a node group as EKS describes it, without tags."""
    access, resources = group.get("remoteAccess"), group.get("resources")
    groups = [given(each, {"name": "name"}) for each in (resources or {}).get("autoScalingGroups") or ()]
    return {
        **given(group, _NAMES),
        "remoteAccess": access and given(access, _ACCESS),
        "warmPoolConfig": _given_pool(group.get("warmPoolConfig")),
        "arn": group.get("nodegroupArn"),
        "resources": [{"autoscalingGroups": groups, "remoteAccessSecurityGroupId": resources.get("remoteAccessSecurityGroup")}]
        if resources
        else [],
        "status": group.get("status"),
        STATUS: group.get("status"),
        ISSUES: issues(group),
    }


def node_group_updates(old: Values, new: Values) -> list[tuple[str, dict[str, Any]]]:
    """The calls from one set of inputs to another and their parameters: first what replaces nodes, then what does not."""

    def changed(*names: str) -> bool:
        return any(old.get(name) != new.get(name) for name in names)

    calls: list[tuple[str, dict[str, Any]]] = []
    if changed("launchTemplate", "releaseVersion", "version"):
        versions = {name: name for name in ("releaseVersion", "version") if changed(name)}
        names = {"launchTemplate": "launchTemplate", "forceUpdateVersion": "force", **versions}
        calls.append(("update_nodegroup_version", taken(new, names)))
    config = {
        name: new[name] for name in ("nodeRepairConfig", "scalingConfig", "updateConfig") if changed(name) and new.get(name)
    }
    if changed("nodeRepairConfig") and not new.get("nodeRepairConfig"):
        config["nodeRepairConfig"] = {"enabled": False}
    if changed("warmPoolConfig"):
        config["warmPoolConfig"] = _pool(new.get("warmPoolConfig"))
    if changed("labels"):
        config["labels"] = _labels(old.get("labels") or {}, new.get("labels") or {})
    if changed("taints") and (taints := _taints(old.get("taints") or [], new.get("taints") or [])):
        config["taints"] = taints
    if config:
        calls.append(("update_nodegroup_config", config))
    return calls


def _pool(pool: Values | None) -> dict[str, Any]:
    """A warm pool for EKS, which has a switch where pulumi-aws has its being there."""
    return {"enabled": True, **pool} if pool else {"enabled": False}


def _given_pool(pool: dict[str, Any] | None) -> Values | None:
    return {name: value for name, value in pool.items() if name != "enabled"} if pool and pool.get("enabled") else None


def _labels(old: dict[str, str], new: dict[str, str]) -> dict[str, Any]:
    added = {name: value for name, value in new.items() if old.get(name) != value}
    removed = sorted(old.keys() - new.keys())
    return {**({"addOrUpdateLabels": added} if added else {}), **({"removeLabels": removed} if removed else {})}


def _taints(old: list[Values], new: list[Values]) -> dict[str, Any]:
    """A taint is known by its key and effect; only its value can be updated."""
    kept = {(taint["key"], taint["effect"]) for taint in new}
    added = [taint for taint in new if taint not in old]
    removed = [taint for taint in old if (taint["key"], taint["effect"]) not in kept]
    return {**({"addOrUpdateTaints": added} if added else {}), **({"removeTaints": removed} if removed else {})}


def _of(identity: str) -> dict[str, str]:
    cluster, _, name = identity.partition(":")
    return {"clusterName": cluster, "nodegroupName": name}
