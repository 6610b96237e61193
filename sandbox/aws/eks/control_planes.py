"""The real control plane behind a cluster: started with it, looked through for what is left, and ended with it."""

import base64
import hashlib
import json

from sandbox.aws.eks import bindings
from sandbox.aws.eks.store import Cluster, Store
from sandbox.aws.karpenter import Simulation
from sandbox.aws.karpenter_account import Account
from sandbox.control_plane.contents import objects_in
from sandbox.control_plane.files import private_directory, write_private
from sandbox.errors import SandboxError
from sandbox.toolchain import REHEARSAL, ensure


def start(store: Store, cluster: Cluster, role_arn: str) -> None:
    """Makes a cluster ACTIVE, or FAILED with the reason among its health issues."""
    try:
        cluster.plane.start(ensure(REHEARSAL), ())
        with cluster.plane.connect() as api:
            cluster.baseline = frozenset(objects_in(api))
    except (SandboxError, OSError) as error:
        with store.lock:
            issue = {"code": "InternalFailure", "message": str(error), "resourceIds": [role_arn]}
            cluster.shape["health"]["issues"].append(issue)
            cluster.shape["status"] = "FAILED"
        return
    with store.lock:
        network = cluster.shape["resourcesVpcConfig"]
        network["clusterSecurityGroupId"] = _security_group(store, cluster)
        cluster.shape["endpoint"] = cluster.plane.server
        authority = base64.b64encode(cluster.plane.pki.certificate("ca").read_bytes()).decode()
        cluster.shape["certificateAuthority"] = {"data": authority}
        bindings.synchronise(cluster)
        cluster.shape["status"] = "ACTIVE"
        cluster.karpenter = Simulation(
            connect=cluster.plane.connect,
            account=Account(store.world, cluster.name),
            node_lock=cluster.node_lock,
            may_join=lambda role: any(arn.endswith(f":role/{role}") for arn in list(cluster.entries)),
        )
        cluster.karpenter.start()
        write_index(store)


def delete(store: Store, cluster: Cluster) -> None:
    """Ends a cluster; what somebody left in it goes into the store's leaks."""
    if cluster.karpenter:
        cluster.karpenter.stop()
    left = _left_behind(cluster)
    cluster.plane.reset()
    with store.lock:
        store.leaks += [f"EKS cluster {cluster.name}: {object_}" for object_ in left]
        if group := cluster.shape["resourcesVpcConfig"].get("clusterSecurityGroupId"):
            store.world.delete_security_group(group)
        del store.clusters[cluster.name]
        write_index(store)


def write_index(store: Store) -> None:
    """clusters.json: the administrator's kubeconfig of every cluster that has one."""
    index = {name: str(cluster.plane.kubeconfig) for name, cluster in store.clusters.items() if "endpoint" in cluster.shape}
    write_private(private_directory(store.home) / "clusters.json", json.dumps(index, indent=2) + "\n")


def _left_behind(cluster: Cluster) -> list[str]:
    """The objects beyond those of a fresh cluster; an API server that does not answer has nothing to tell."""
    if "endpoint" not in cluster.shape:
        return []
    try:
        with cluster.plane.connect() as api:
            return sorted(set(objects_in(api)) - cluster.baseline)
    except SandboxError as error:
        return [f"cannot be looked through: {error}"]


def _security_group(store: Store, cluster: Cluster) -> str:
    """The group EKS makes for the control plane and managed nodes of a cluster."""
    suffix = int(hashlib.sha256(cluster.shape["arn"].encode()).hexdigest()[:8], 16)
    name = f"eks-cluster-sg-{cluster.name}-{suffix}"
    return store.world.create_security_group(
        name,
        "EKS created security group applied to ENI that is attached to EKS Control Plane master nodes, "
        "as well as any managed workloads.",
        cluster.shape["resourcesVpcConfig"]["vpcId"],
        {"Name": name, f"kubernetes.io/cluster/{cluster.name}": "owned", "aws:eks:cluster-name": cluster.name},
    )
