"""Changes of a managed node group that exists: its size, labels and taints in place, its image and template node by node."""

import json
from collections.abc import Callable
from typing import Any

from sandbox.aws.eks import nodegroup_rules as rules
from sandbox.aws.eks import versions
from sandbox.aws.eks.errors import invalid_parameter
from sandbox.aws.eks.nodegroup_nodes import Fleet
from sandbox.aws.eks.nodegroups import idle_nodegroup
from sandbox.aws.eks.store import Cluster, Nodegroup, Store, Update, new_update, now
from sandbox.aws.eks.wire import Parameters
from sandbox.errors import SandboxError


class NodegroupUpdates:
    """Their operations."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def update_nodegroup_config(self, parameters: Parameters) -> Parameters:
        """Size, labels, taints and settings; nodes stay, but for those that are too many."""
        cluster = self._store.active_cluster(parameters["clusterName"])
        group = idle_nodegroup(cluster, parameters["nodegroupName"])
        changed = self._changed(group.shape, parameters)
        update = self._begin(cluster, group, "ConfigUpdate", _told(parameters))
        group.shape |= changed
        fleet = Fleet(self._store, cluster, group)

        def work() -> list[str]:
            if changed.keys() & {"labels", "taints"}:
                fleet.refresh()
            fleet.scale()
            return []

        self._store.later(lambda: self._finish(group, update, work))
        return {"update": update.shape}

    def update_nodegroup_version(self, parameters: Parameters) -> Parameters:
        """Another Kubernetes version, image release or launch template version: every node is replaced."""
        cluster = self._store.active_cluster(parameters["clusterName"])
        group = idle_nodegroup(cluster, parameters["nodegroupName"])
        changed, template = self._version(cluster, group, parameters)
        told = {
            member: changed[name]
            for member, name in (("Version", "version"), ("ReleaseVersion", "releaseVersion"))
            if name in changed
        }
        if "launchTemplate" in changed:
            told |= {
                "LaunchTemplateName": changed["launchTemplate"]["name"],
                "LaunchTemplateVersion": changed["launchTemplate"]["version"],
            }
        update = self._begin(cluster, group, "VersionUpdate", told)
        before = {member: group.shape[member] for member in changed if member in group.shape}
        old_template = group.template
        group.shape |= changed
        group.template = template
        fleet = Fleet(self._store, cluster, group)

        def work() -> list[str]:
            stuck = fleet.replace(parameters.get("force", False))
            if stuck:
                with self._store.lock:
                    group.shape |= before
                    group.template = old_template
            return stuck

        self._store.later(lambda: self._finish(group, update, work))
        return {"update": update.shape}

    def _changed(self, shape: dict[str, Any], parameters: Parameters) -> dict[str, Any]:
        """The members of the node group that change, checked."""
        changed: dict[str, Any] = {}
        if "scalingConfig" in parameters:
            changed["scalingConfig"] = shape["scalingConfig"] | parameters["scalingConfig"]
            rules.check_scaling(changed["scalingConfig"])
        if labels := parameters.get("labels"):
            added, removed = labels.get("addOrUpdateLabels", {}), labels.get("removeLabels", [])
            rules.check_labels(added)
            changed["labels"] = {key: value for key, value in (shape["labels"] | added).items() if key not in removed}
        if taints := parameters.get("taints"):
            changed["taints"] = _with_taints(shape["taints"], taints)
            rules.check_taints(changed["taints"])
        if "updateConfig" in parameters:
            rules.check_update_config(parameters["updateConfig"])
            changed["updateConfig"] = parameters["updateConfig"]
        if "nodeRepairConfig" in parameters:
            rules.check_node_repair(parameters["nodeRepairConfig"])
            changed["nodeRepairConfig"] = {"enabled": shape["nodeRepairConfig"]["enabled"], **parameters["nodeRepairConfig"]}
        if "warmPoolConfig" in parameters:
            changed["warmPoolConfig"] = shape.get("warmPoolConfig", {}) | parameters["warmPoolConfig"]
        return changed

    def _version(self, cluster: Cluster, group: Nodegroup, parameters: Parameters) -> tuple[dict[str, Any], dict[str, Any]]:
        """What changes, and the data of the launch template from then on; without any wish, the newest image of the version."""
        shape, template = group.shape, group.template
        changed: dict[str, Any] = {}
        if "launchTemplate" in parameters:
            if "launchTemplate" not in shape:
                raise invalid_parameter(
                    f"Node group {shape['nodegroupName']} was created without a launch template, so it cannot be updated to one"
                )
            told, template = self._store.world.launch_template(shape["launchTemplate"] | parameters["launchTemplate"])
            if told["id"] != shape["launchTemplate"]["id"]:
                raise invalid_parameter(
                    "A node group cannot change to another launch template, only to another version of its own"
                )
            rules.check_template({}, template)
            rules.check_custom_ami(parameters, template, shape["amiType"])
            if ("InstanceType" in template) == ("instanceTypes" in shape):
                raise invalid_parameter(
                    "Instance type must be given in the launch template or in instanceTypes, in one of both always"
                )
            changed["launchTemplate"] = told
            if "ImageId" in template:
                changed["releaseVersion"] = template["ImageId"]
        instances = shape.get("instanceTypes") or [template["InstanceType"]]
        version = parameters.get("version", shape["version"])
        rules.check_version(cluster, version)
        if versions.minor(version) < versions.minor(shape["version"]):
            raise invalid_parameter(f"Nodegroup Kubernetes version cannot go down from {shape['version']} to {version}")
        rules.check_ami(shape["amiType"], version, {name: self._store.world.instance_size(name) for name in instances})
        if shape["amiType"] != "CUSTOM" and (
            "launchTemplate" not in parameters or parameters.keys() & {"version", "releaseVersion"}
        ):
            release = parameters.get("releaseVersion", versions.release_version(shape["amiType"], version))
            rules.check_release(shape["amiType"], version, release)
            changed |= {"version": version, "releaseVersion": release}
        return changed, template

    def _begin(self, cluster: Cluster, group: Nodegroup, kind: str, told: dict[str, str]) -> Update:
        group.shape["status"] = "UPDATING"
        return new_update(cluster, kind, told, nodegroup=group.shape["nodegroupName"])

    def _finish(self, group: Nodegroup, update: Update, work: Callable[[], list[str]]) -> None:
        """Does the work, and says how it went: which pods stood in the way, or why it could not be done."""
        try:
            stuck = work()
            error = (
                ("PodEvictionFailure", "Reached max retries while trying to evict pods from nodes in node group", stuck)
                if stuck
                else None
            )
        except SandboxError as failure:
            error = ("Unknown", str(failure), [])
        with self._store.lock:
            update.shape["status"] = "Failed" if error else "Successful"
            if error:
                update.shape["errors"] = [{"errorCode": error[0], "errorMessage": error[1], "resourceIds": error[2]}]
            group.shape |= {"status": "ACTIVE", "modifiedAt": now()}


def _with_taints(old: list[dict[str, str]], wanted: dict[str, list[dict[str, str]]]) -> list[dict[str, str]]:
    """Taints are the same when key and effect are."""
    taints = {(taint["key"], taint["effect"]): taint for taint in old}
    taints |= {(taint["key"], taint["effect"]): taint for taint in wanted.get("addOrUpdateTaints", [])}
    for taint in wanted.get("removeTaints", []):
        taints.pop((taint["key"], taint["effect"]), None)
    return list(taints.values())


def _told(parameters: Parameters) -> dict[str, str]:
    """The wishes as parameters of the update."""
    scaling, update = parameters.get("scalingConfig", {}), parameters.get("updateConfig", {})
    flat = {
        **{name[0].upper() + name[1:]: scaling[name] for name in scaling},
        **{name[0].upper() + name[1:]: update[name] for name in update},
        **{verb: parameters["labels"][member] for verb, member in _LABELS if member in parameters.get("labels", {})},
        **{verb: parameters["taints"][member] for verb, member in _TAINTS if member in parameters.get("taints", {})},
        **({"NodeRepairConfig": parameters["nodeRepairConfig"]} if "nodeRepairConfig" in parameters else {}),
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in flat.items()}


_LABELS = (("LabelsToAdd", "addOrUpdateLabels"), ("LabelsToRemove", "removeLabels"))
_TAINTS = (("TaintsToAdd", "addOrUpdateTaints"), ("TaintsToRemove", "removeTaints"))
