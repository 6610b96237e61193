"""The role bindings an instance needs beyond those of Kubernetes itself: rbac.yaml."""

from pathlib import Path

import yaml

from sandbox.control_plane.api import Api

_PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}


def can_be_applied(api: Api) -> bool:
    """Whether the API server is ready and has made the namespace that node leases live in."""
    return api.is_there("/readyz") and api.is_there("/api/v1/namespaces/kube-node-lease")


def apply(api: Api) -> None:
    """Applies rbac.yaml.

    Raises SandboxError with what the API server said.
    """
    for manifest in yaml.safe_load_all(Path(__file__).with_name("rbac.yaml").read_text(encoding="utf-8")):
        metadata = manifest["metadata"]
        scope = f"namespaces/{metadata['namespace']}/" if "namespace" in metadata else ""
        path = f"/apis/rbac.authorization.k8s.io/v1/{scope}{_PLURALS[manifest['kind']]}/{metadata['name']}"
        api.apply(path, manifest)
