"""What a managed node group does in the background: instances come, join or fail to, and go."""

from typing import TypeAlias

from sandbox.aws.eks.access import new_entry
from sandbox.aws.eks.addons import is_active
from sandbox.aws.eks.nodegroup_nodes import DRAIN_S, Fleet
from sandbox.aws.eks.store import SETTLE_S, AccessEntry, Cluster, Nodegroup, Store, now
from sandbox.errors import SandboxError

_JOIN_S = 10 * SETTLE_S
"""How long instances try to join; EKS gives them 15 minutes (user guide, troubleshooting)."""

Obstacle: TypeAlias = tuple[str, str, list[str]]

_WORKER = {"AmazonEKSWorkerNodePolicy", "AmazonEKSWorkerNodeMinimalPolicy"}
_PULL = {
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonEC2ContainerRegistryReadOnly",
    "AmazonEC2ContainerRegistryPowerUser",
    "AmazonEC2ContainerRegistryFullAccess",
}


def create(store: Store, cluster: Cluster, group: Nodegroup) -> None:
    """Makes a node group ACTIVE, or CREATE_FAILED with the reason among its health issues."""
    try:
        with store.lock:
            _enter(store, cluster, group.shape["nodeRole"])
        joins = store.wait_until(lambda: _obstacle(store, cluster, group) is None or _is_going(group), _JOIN_S)
        with store.lock:
            obstacle = None if joins else _obstacle(store, cluster, group)
        if not obstacle and not _is_going(group):
            Fleet(store, cluster, group).scale()
    except SandboxError as error:
        obstacle = ("InternalFailure", str(error), [])
    with store.lock:
        group.is_working = False
        if not _is_going(group):
            code, message, about = obstacle or ("", "", [])
            group.shape["health"]["issues"] = [{"code": code, "message": message, "resourceIds": about}] if obstacle else []
            group.shape |= {"status": "CREATE_FAILED" if obstacle else "ACTIVE", "modifiedAt": now()}


def delete(store: Store, cluster: Cluster, group: Nodegroup) -> None:
    """Drains and removes the nodes, and forgets the group and what EKS made for it."""
    store.wait_until(lambda: not group.is_working, 2 * DRAIN_S)
    Fleet(store, cluster, group).empty()
    with store.lock:
        role = group.shape["nodeRole"]
        del cluster.nodegroups[group.shape["nodegroupName"]]
        entry = cluster.entries.get(role)
        if entry and entry.made_by_eks and all(other.shape["nodeRole"] != role for other in cluster.nodegroups.values()):
            del cluster.entries[role]


def _enter(store: Store, cluster: Cluster, role: str) -> None:
    """EKS gives the role of managed nodes its access entry, unless there is one."""
    if cluster.shape["accessConfig"]["authenticationMode"] != "CONFIG_MAP" and role not in cluster.entries:
        cluster.entries[role] = AccessEntry(new_entry(store, cluster, role, "EC2_LINUX", {}), made_by_eks=True)


def _obstacle(store: Store, cluster: Cluster, group: Nodegroup) -> Obstacle | None:
    """Why instances do not become nodes now: code, message and what it is about."""
    shape = group.shape
    if not shape["scalingConfig"]["desiredSize"]:
        return None
    role = store.world.role(shape["nodeRole"])
    if role is None:
        return "IamNodeRoleNotFound", f"The node role {shape['nodeRole']} does not exist", [shape["nodeRole"]]
    entry = cluster.entries.get(shape["nodeRole"])
    attached = {arn.removeprefix("arn:aws:iam::aws:policy/") for arn in role.managed_policies}
    if not attached & _WORKER or (entry and entry.shape["type"] not in ("EC2_LINUX", "EC2_WINDOWS")):
        return "NodeCreationFailure", "Instances failed to join the kubernetes cluster", [shape["nodeRole"]]
    if not Fleet(store, cluster, group).zones():
        instance = group.instance_type
        return (
            "AsgInstanceLaunchFailures",
            f"Could not launch instances. Your requested instance type ({instance}) is not supported "
            "in the Availability Zones of the subnets.",
            shape["subnets"],
        )
    if not attached & _PULL or not _has_network(cluster):
        return "NodeCreationFailure", "Unhealthy nodes in the kubernetes cluster", [shape["nodeRole"]]
    return None


def _has_network(cluster: Cluster) -> bool:
    """Nodes are ready only with a network plugin and kube-proxy: from EKS itself, as add-ons, or built into Auto Mode."""
    return cluster.self_managed or cluster.is_automatic or all(is_active(cluster, addon) for addon in ("vpc-cni", "kube-proxy"))


def _is_going(group: Nodegroup) -> bool:
    return bool(group.shape["status"] == "DELETING")
