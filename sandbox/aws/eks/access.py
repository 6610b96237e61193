"""Access entries and the access policies associated with them."""

import re
import uuid
from typing import Any

from sandbox.aws.eks import bindings
from sandbox.aws.eks.errors import in_use, invalid_parameter, invalid_request, not_found
from sandbox.aws.eks.store import AccessEntry, Cluster, Store, now
from sandbox.aws.eks.wire import Parameters

CLUSTER_ADMIN = f"{bindings.POLICY_PREFIX}AmazonEKSClusterAdminPolicy"

# Amazon EKS user guide, "Review access policy permissions".
POLICIES = (
    "AmazonEKSAdminPolicy",
    "AmazonEKSAdminViewPolicy",
    "AmazonEKSAutoNodePolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSClusterAdminPolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSEditPolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSNetworkingPolicy",
    "AmazonEKSViewPolicy",
)
_TYPES = ("STANDARD", "EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "EC2", "HYBRID_LINUX", "HYPERPOD_LINUX")
_NODE_GROUPS = {"EC2_LINUX": ["system:nodes"], "EC2_WINDOWS": ["system:nodes", "eks:kube-proxy-windows"], "EC2": ["system:nodes"]}
_RESERVED = ("system:", "eks:", "aws:", "amazon:", "iam:")
_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:(iam|sts)::\d{12}:.+")


class Access:
    """Their operations."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_access_entry(self, parameters: Parameters) -> Parameters:
        """One per principal."""
        cluster = self._cluster(parameters)
        principal = self._principal(parameters)
        kind, groups = parameters.get("type", "STANDARD"), parameters.get("kubernetesGroups", [])
        if kind not in _TYPES:
            raise invalid_parameter(f"The access entry type {kind} is none of {', '.join(_TYPES)}")
        if not self._store.world.has_principal(principal):
            raise invalid_parameter(f"The specified principalArn is invalid: invalid principal {parameters['principalArn']}")
        if principal in cluster.entries:
            raise in_use("The specified access entry resource is already in use on this cluster.", clusterName=cluster.name)
        if kind != "STANDARD" and (groups or "username" in parameters):
            raise invalid_parameter(f"An access entry of type {kind} takes no kubernetesGroups and no username")
        _check_names(groups, parameters.get("username"))
        entry = AccessEntry(new_entry(self._store, cluster, parameters["principalArn"], kind, parameters))
        cluster.entries[principal] = entry
        return {"accessEntry": entry.shape}

    def describe_access_entry(self, parameters: Parameters) -> Parameters:
        """One entry."""
        return {"accessEntry": self._entry(parameters)[1].shape}

    def list_access_entries(self, parameters: Parameters) -> Parameters:
        """The principals, all or those with a policy."""
        policy = parameters.get("associatedPolicyArn")
        entries = self._cluster(parameters).entries.values()
        return {"accessEntries": [entry.shape["principalArn"] for entry in entries if policy is None or policy in entry.policies]}

    def update_access_entry(self, parameters: Parameters) -> Parameters:
        """Other groups, another user name."""
        _, entry = self._entry(parameters)
        if entry.shape["type"] != "STANDARD":
            raise invalid_request(f"An access entry of type {entry.shape['type']} cannot be changed")
        _check_names(parameters.get("kubernetesGroups", []), parameters.get("username"))
        changes = {member: parameters[member] for member in ("kubernetesGroups", "username") if member in parameters}
        entry.shape |= changes | {"modifiedAt": now()}
        return {"accessEntry": entry.shape}

    def delete_access_entry(self, parameters: Parameters) -> Parameters:
        """With its policies."""
        cluster, entry = self._entry(parameters)
        del cluster.entries[self._principal(parameters)]
        if entry.policies:
            bindings.synchronise(cluster)
        return {}

    def associate_access_policy(self, parameters: Parameters) -> Parameters:
        """Gives a principal the rights of a policy; a second time changes the scope."""
        cluster, entry = self._entry(parameters)
        arn, scope = parameters["policyArn"], dict(parameters["accessScope"])
        if not arn.startswith(bindings.POLICY_PREFIX) or arn.removeprefix(bindings.POLICY_PREFIX) not in POLICIES:
            raise invalid_parameter(f"The policyArn {arn} does not exist; ListAccessPolicies tells those that do")
        if entry.shape["type"] not in ("STANDARD", "EC2"):
            raise invalid_request(f"An access entry of type {entry.shape['type']} takes no access policies")
        if scope.get("type") not in ("cluster", "namespace"):
            raise invalid_parameter("accessScope.type is missing; use cluster or namespace")
        if (scope["type"] == "namespace") != bool(scope.get("namespaces")):
            raise invalid_parameter("accessScope.namespaces must be given with type namespace, and only then")
        known = entry.policies.get(arn, {"policyArn": arn, "associatedAt": now()})
        entry.policies[arn] = known | {"accessScope": scope, "modifiedAt": now()}
        bindings.synchronise(cluster)
        return {
            "clusterName": cluster.name,
            "principalArn": entry.shape["principalArn"],
            "associatedAccessPolicy": entry.policies[arn],
        }

    def disassociate_access_policy(self, parameters: Parameters) -> Parameters:
        """Takes the rights away."""
        cluster, entry = self._entry(parameters)
        if entry.policies.pop(parameters["policyArn"], None) is None:
            raise not_found("The specified policyArn could not be found on the access entry.")
        bindings.synchronise(cluster)
        return {}

    def list_associated_access_policies(self, parameters: Parameters) -> Parameters:
        """The policies of one principal."""
        cluster, entry = self._entry(parameters)
        return {
            "clusterName": cluster.name,
            "principalArn": entry.shape["principalArn"],
            "associatedAccessPolicies": list(entry.policies.values()),
        }

    def list_access_policies(self, _parameters: Parameters) -> Parameters:
        """Every policy there is."""
        return {"accessPolicies": [{"name": name, "arn": f"{bindings.POLICY_PREFIX}{name}"} for name in POLICIES]}

    def _cluster(self, parameters: Parameters) -> Cluster:
        cluster = self._store.active_cluster(parameters["clusterName"])
        if cluster.shape["accessConfig"]["authenticationMode"] == "CONFIG_MAP":
            raise invalid_request(
                "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation."
            )
        return cluster

    def _entry(self, parameters: Parameters) -> tuple[Cluster, AccessEntry]:
        cluster = self._cluster(parameters)
        entry = cluster.entries.get(self._principal(parameters))
        if entry is None:
            raise not_found("The specified principalArn could not be found; ListAccessEntries tells those of the cluster.")
        return cluster, entry

    def _principal(self, parameters: Parameters) -> str:
        """The principal's IAM ARN. A session of STS is none, but for the account's own user as moto tells it."""
        arn = parameters["principalArn"]
        if not _PRINCIPAL.fullmatch(arn) or ":assumed-role/" in arn:
            raise invalid_parameter(
                f"The principalArn {arn} is no ARN of an IAM user or role, e.g. arn:aws:iam::123456789012:role/admin"
            )
        return self._store.world.principal(arn)[0]


def new_entry(store: Store, cluster: Cluster, principal: str, kind: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """An access entry as told, with the user name EKS gives where none is wanted."""
    moment = now()
    name = principal.rpartition("/")[2]
    node = "{{EC2PrivateDNSName}}" if kind.startswith("EC2") else "{{SessionName}}"
    role_user = f"arn:aws:sts::{principal.split(':')[4]}:assumed-role/{name}/{{{{SessionName}}}}"
    default = f"system:node:{node}" if kind != "STANDARD" else role_user if ":role/" in principal else principal
    return {
        "clusterName": cluster.name,
        "principalArn": principal,
        "kubernetesGroups": wanted.get("kubernetesGroups", _NODE_GROUPS.get(kind, [])),
        "accessEntryArn": store.arn(
            "access-entry", cluster.name, _kind_of(principal), principal.split(":")[4], name, str(uuid.uuid4())
        ),
        "createdAt": moment,
        "modifiedAt": moment,
        "tags": wanted.get("tags", {}),
        "username": wanted.get("username", default),
        "type": kind,
    }


def bootstrap_entry(store: Store, cluster: Cluster, principal: str, policy: str) -> AccessEntry:
    """The entry EKS makes for the creator of a cluster, with a policy for all of the cluster."""
    entry = AccessEntry(new_entry(store, cluster, principal, "STANDARD", {}), made_by_eks=True)
    entry.policies[policy] = {"policyArn": policy, "accessScope": {"type": "cluster"}, "associatedAt": now(), "modifiedAt": now()}
    return entry


def _kind_of(principal: str) -> str:
    return principal.split(":", 5)[5].partition("/")[0]


def _check_names(groups: list[str], username: str | None) -> None:
    for group in groups:
        if group.startswith(_RESERVED):
            raise invalid_parameter(f"The kubernetes group name {group} is invalid, it cannot start with {', '.join(_RESERVED)}")
    if username is not None and username.startswith(_RESERVED):
        raise invalid_parameter(f"The username {username} is invalid, it cannot start with {', '.join(_RESERVED)}")
