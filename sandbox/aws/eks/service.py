"""The one EKS of this process: put together, asked about, and ended."""

import threading
from pathlib import Path
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID

from sandbox.aws.eks.access import Access
from sandbox.aws.eks.addons import Addons
from sandbox.aws.eks.cluster_updates import ClusterUpdates
from sandbox.aws.eks.clusters import Clusters
from sandbox.aws.eks.credentials import ROUTE, Credentials
from sandbox.aws.eks.nodegroup_updates import NodegroupUpdates
from sandbox.aws.eks.nodegroups import Nodegroups
from sandbox.aws.eks.pod_identity import PodIdentity
from sandbox.aws.eks.secret_values import ROUTE as SECRETS_ROUTE
from sandbox.aws.eks.secret_values import SecretValues
from sandbox.aws.eks.store import Store
from sandbox.aws.eks.updates import Tags, Updates
from sandbox.aws.eks.versions import Versions
from sandbox.aws.eks.wire import Service
from sandbox.aws.eks.world import World
from sandbox.control_plane import ControlPlane

_JOIN_S = 10.0

_stores: list[Store] = []


def application(home: Path, region: str, endpoint: str = "") -> Service:
    """The API as a WSGI application; everything it starts and writes is under `home`, and its account answers at `endpoint`.

    Control planes of an account process that was killed are ended first: nobody knows their clusters any more.
    """
    _end_planes(home)
    store = Store(home, World(DEFAULT_ACCOUNT_ID, region, endpoint))
    _stores.append(store)
    private = {ROUTE: Credentials(store).issue, SECRETS_ROUTE: SecretValues(store).read}
    classes = (Clusters, ClusterUpdates, Nodegroups, NodegroupUpdates, Addons, Access, PodIdentity, Updates, Tags)
    return Service("eks", store.lock, [Versions(), *(part(store) for part in classes)], private)


def shutdown() -> None:
    """Ends every control plane, with its data: the records of its cluster end with this process."""
    while _stores:
        store = _stores.pop()
        store.close()
        _end_planes(store.home)
        store.join(_JOIN_S)
        _end_planes(store.home)  # one may have been about to start


def users_of(identifier: str) -> list[str]:
    """Which clusters and node groups use a subnet, security group, role (ARN or name), launch template or KMS key, in words."""
    users = []
    for store in _stores:
        with store.lock:
            for cluster in store.clusters.values():
                if identifier in _used(cluster.shape):
                    users.append(f"EKS cluster {cluster.name}")
                for name, group in cluster.nodegroups.items():
                    if identifier in _used(group.shape):
                        users.append(f"EKS node group {name} of cluster {cluster.name}")
    return users


def leaks() -> list[str]:
    """What was left in clusters when they were deleted, in words."""
    return [leak for store in _stores for leak in store.leaks]


def _used(shape: dict[str, Any]) -> set[str]:
    network, template = shape.get("resourcesVpcConfig", {}), shape.get("launchTemplate", {})
    remote = shape.get("remoteAccess", {})
    roles = [shape[member] for member in ("roleArn", "nodeRole") if member in shape]
    groups = [
        *network.get("securityGroupIds", []),
        network.get("clusterSecurityGroupId"),
        *remote.get("sourceSecurityGroups", []),
    ]
    keys = [entry["provider"]["keyArn"] for entry in shape.get("encryptionConfig", [])]
    return {
        *network.get("subnetIds", []),
        *shape.get("subnets", []),
        *(group for group in groups if group),
        *roles,
        *(role.rpartition("/")[2] for role in roles),
        *(template[member] for member in ("id", "name") if member in template),
        *keys,
    }


def _end_planes(home: Path) -> None:
    root = home / "clusters"
    planes = [ControlPlane(record.parent.name, root) for record in root.glob("*/instance.json")]
    threads = [threading.Thread(target=plane.reset) for plane in planes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (home / "clusters.json").unlink(missing_ok=True)
