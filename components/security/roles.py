"""What those who deploy into a namespace may do there. Pure."""

from collections.abc import Iterable
from typing import Any

_SEE = ["get", "list", "watch"]
_MANAGE = [*_SEE, "create", "update", "patch", "delete"]

_MANAGED = {
    "": ["configmaps", "persistentvolumeclaims", "services"],
    "apps": ["deployments", "statefulsets"],
    "autoscaling": ["horizontalpodautoscalers"],
    "batch": ["cronjobs", "jobs"],
    "policy": ["poddisruptionbudgets"],
}
_SEEN = {
    "": ["events", "limitranges", "pods", "pods/log", "resourcequotas"],
    "apps": ["controllerrevisions", "replicasets"],
    "events.k8s.io": ["events"],
}
"""Neither Secrets nor a way into a running container; nothing that gives rights or opens the network.

No pods by hand either: what no controller keeps is lost with its node.
"""


def deployer_rules() -> list[dict[str, Any]]:
    """Rules of the Role of those who deploy."""
    return [
        {"apiGroups": [group], "resources": resources, "verbs": verbs}
        for granted, verbs in ((_MANAGED, _MANAGE), (_SEEN, _SEE))
        for group, resources in granted.items()
    ]


def groups(names: Iterable[str]) -> list[dict[str, str]]:
    """Subjects of a RoleBinding."""
    return [{"kind": "Group", "name": name, "apiGroup": "rbac.authorization.k8s.io"} for name in names]
