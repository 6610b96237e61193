"""Managed node groups: created, told, changed and deleted."""

import uuid
from typing import Any

from sandbox.aws.eks import nodegroup_rules as rules
from sandbox.aws.eks import versions
from sandbox.aws.eks.errors import in_use, not_found
from sandbox.aws.eks.nodegroup_work import create, delete
from sandbox.aws.eks.store import Cluster, Nodegroup, Store, now
from sandbox.aws.eks.wire import Parameters
from sandbox.aws.eks.world import InstanceSize

_KEPT = ("remoteAccess", "warmPoolConfig")


class Nodegroups:
    """Their operations, but for updates."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_nodegroup(self, parameters: Parameters) -> Parameters:
        """Checks what EKS checks at once; what it finds out later becomes a health issue."""
        store, cluster = self._store, self._store.active_cluster(parameters["clusterName"])
        name = parameters["nodegroupName"]
        if name in cluster.nodegroups:
            raise in_use(f"NodeGroup already exists with name {name} and cluster name {cluster.name}", nodegroupName=name)
        rules.check_group_count(cluster)
        rules.check_role(store.world, parameters["nodeRole"])
        rules.check_subnets(store.world, cluster, parameters["subnets"])
        group = self._group(cluster, parameters)
        cluster.nodegroups[name] = group
        store.later(lambda: create(store, cluster, group))
        return {"nodegroup": group.shape}

    def describe_nodegroup(self, parameters: Parameters) -> Parameters:
        """One node group."""
        return {"nodegroup": nodegroup(self._store.cluster(parameters["clusterName"]), parameters["nodegroupName"]).shape}

    def list_nodegroups(self, parameters: Parameters) -> Parameters:
        """The names of all of a cluster."""
        return {"nodegroups": sorted(self._store.cluster(parameters["clusterName"]).nodegroups)}

    def delete_nodegroup(self, parameters: Parameters) -> Parameters:
        """Its nodes are drained and go in a while."""
        store, cluster = self._store, self._store.cluster(parameters["clusterName"])
        group = nodegroup(cluster, parameters["nodegroupName"])
        if group.shape["status"] in ("UPDATING", "DELETING"):
            raise in_use(f"Nodegroup {group.shape['nodegroupName']} is {group.shape['status']}; wait until that is over.")
        group.shape["status"] = "DELETING"
        store.later(lambda: delete(store, cluster, group))
        return {"nodegroup": group.shape}

    def _group(self, cluster: Cluster, parameters: Parameters) -> Nodegroup:
        world = self._store.world
        template_shape, template = (
            world.launch_template(parameters["launchTemplate"]) if "launchTemplate" in parameters else ({}, {})
        )
        if template_shape:
            rules.check_template(parameters, template)
        instances = parameters.get("instanceTypes") or [template.get("InstanceType", rules.DEFAULT_INSTANCE)]
        ami = parameters.get("amiType", "CUSTOM" if "ImageId" in template else default_ami(world.instance_size(instances[0])))
        rules.check_custom_ami(parameters, template, ami)
        version = parameters.get("version", cluster.shape["version"])
        rules.check_version(cluster, version)
        sizes = {instance: world.instance_size(instance) for instance in instances}
        rules.check_ami(ami, version, sizes)
        capacity = parameters.get("capacityType", "ON_DEMAND")
        rules.check_capacity(capacity, template, parameters["subnets"], sizes)
        if "releaseVersion" in parameters:
            rules.check_release(ami, version, parameters["releaseVersion"])
        scaling = rules.DEFAULT_SCALING | parameters.get("scalingConfig", {})
        rules.check_scaling(scaling)
        rules.check_labels(parameters.get("labels", {}))
        rules.check_taints(parameters.get("taints", []))
        rules.check_update_config(parameters.get("updateConfig", {}))
        rules.check_node_repair(parameters.get("nodeRepairConfig", {}))
        name, moment = parameters["nodegroupName"], now()
        identity = str(uuid.uuid4())
        shape: dict[str, Any] = {
            "nodegroupName": name,
            "nodegroupArn": self._store.arn("nodegroup", cluster.name, name, identity),
            "clusterName": cluster.name,
            "version": version,
            "createdAt": moment,
            "modifiedAt": moment,
            "status": "CREATING",
            "capacityType": capacity,
            "scalingConfig": scaling,
            "subnets": parameters["subnets"],
            "amiType": ami,
            "nodeRole": parameters["nodeRole"],
            "labels": parameters.get("labels", {}),
            "taints": parameters.get("taints", []),
            "resources": {"autoScalingGroups": [{"name": f"eks-{name}-{identity}"}]},
            "health": {"issues": []},
            "updateConfig": parameters.get("updateConfig") or {"maxUnavailable": 1},
            "nodeRepairConfig": {"enabled": False, **parameters.get("nodeRepairConfig", {})},
            "tags": parameters.get("tags", {}),
            "releaseVersion": template["ImageId"]
            if ami == "CUSTOM"
            else parameters.get("releaseVersion", versions.release_version(ami, version)),
            **{member: parameters[member] for member in _KEPT if member in parameters},
        }
        if "InstanceType" not in template:
            shape["instanceTypes"] = instances
        if template_shape:
            shape["launchTemplate"] = template_shape
        else:
            shape["diskSize"] = parameters.get("diskSize", rules.DEFAULT_DISK_GIB)
        return Nodegroup(shape, template, is_working=True)


def nodegroup(cluster: Cluster, name: str) -> Nodegroup:
    """The node group of that name. Raises EksError when there is none."""
    if name not in cluster.nodegroups:
        raise not_found(f"No node group found for name: {name}.", clusterName=cluster.name, nodegroupName=name)
    return cluster.nodegroups[name]


def idle_nodegroup(cluster: Cluster, name: str) -> Nodegroup:
    """The same, for what changes it. Raises EksError while something else changes it, or when it never came up."""
    group = nodegroup(cluster, name)
    if group.shape["status"] not in ("ACTIVE", "DEGRADED"):
        raise in_use(
            f"Nodegroup {name} is {group.shape['status']} and cannot be updated; wait until it is ACTIVE.", nodegroupName=name
        )
    return group


def default_ami(size: InstanceSize) -> str:
    """The image EKS takes for an instance type where none is asked for."""
    architecture = "ARM_64" if size.architecture == "arm64" else "x86_64"
    return f"AL2023_{architecture}_{ {'nvidia': 'NVIDIA', 'aws': 'NEURON'}.get(size.vendor, 'STANDARD') }"
