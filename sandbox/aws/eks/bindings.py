"""Access policies as role bindings: what an access entry may do in its cluster.

EKS decides beside RBAC; here the same rights are bindings to a group of each entry's own, which its certificates carry.
"""

import hashlib
from fnmatch import fnmatchcase
from typing import Any

from sandbox.aws.eks.store import AccessEntry, Cluster
from sandbox.control_plane.contents import OWN_LABEL

POLICY_PREFIX = "arn:aws:eks::aws:cluster-access-policy/"

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_SELECTOR = f"{OWN_LABEL}=eks"
_LABELS = {OWN_LABEL: "eks"}
_VIEW_ALL = "sandbox:eks:admin-view"

_ROLES = {
    "AmazonEKSClusterAdminPolicy": "cluster-admin",
    "AmazonEKSAdminPolicy": "admin",
    "AmazonEKSEditPolicy": "edit",
    "AmazonEKSViewPolicy": "view",
    "AmazonEKSAdminViewPolicy": _VIEW_ALL,
}
"""Policies of people by the cluster role with their rights; the other policies are for EKS's own components."""


def group_of(principal: str) -> str:
    """The Kubernetes group of an access entry's own."""
    return f"sandbox:eks:entry:{hashlib.sha256(principal.encode()).hexdigest()[:16]}"


def synchronise(cluster: Cluster) -> None:
    """Makes the bindings in the cluster those of its access entries; namespaces that do not exist yet come next time.

    Raises SandboxError with what the API server said.
    """
    with cluster.plane.connect() as api:
        namespaces = [item["metadata"]["name"] for item in api.items("/api/v1/namespaces")]
        wanted = {
            path: manifest
            for principal, entry in cluster.entries.items()
            for path, manifest in _bindings(principal, entry, namespaces)
        }
        wanted[f"{_RBAC}/clusterroles/{_VIEW_ALL}"] = _view_all()
        there = {
            _path(kind, item["metadata"].get("namespace"), item["metadata"]["name"])
            for kind in ("clusterrolebindings", "rolebindings")
            for item in api.items(f"{_RBAC}/{kind}", selector=_SELECTOR)
        }
        for path in there - wanted.keys():
            api.delete(path)
        for path, manifest in wanted.items():
            api.apply(path, manifest)


def _bindings(principal: str, entry: AccessEntry, namespaces: list[str]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for arn, association in entry.policies.items():
        role = _ROLES.get(arn.removeprefix(POLICY_PREFIX))
        scope = association["accessScope"]
        if role is None:
            continue
        name = f"{group_of(principal)}:{arn.removeprefix(POLICY_PREFIX)}"
        if scope["type"] == "cluster":
            found.append((_path("clusterrolebindings", None, name), _manifest("ClusterRoleBinding", name, role, principal)))
            continue
        for namespace in namespaces:
            if any(fnmatchcase(namespace, pattern) for pattern in scope["namespaces"]):
                found.append((_path("rolebindings", namespace, name), _manifest("RoleBinding", name, role, principal)))
    return found


def _manifest(kind: str, name: str, role: str, principal: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": _LABELS, "annotations": {"sandbox.llm-platform/principal": principal}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group_of(principal)}],
    }


def _view_all() -> dict[str, Any]:
    """AmazonEKSAdminViewPolicy shows every resource, Secrets too."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": _VIEW_ALL, "labels": _LABELS},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}],
    }


def _path(kind: str, namespace: str | None, name: str) -> str:
    return f"{_RBAC}/namespaces/{namespace}/{kind}/{name}" if namespace else f"{_RBAC}/{kind}/{name}"
