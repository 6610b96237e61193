"""Where the pods of one group of a LeaderWorkerSet run: together, so that their network is short. Pure."""

from collections.abc import Mapping
from typing import Any

SET_NAME = "leaderworkerset.sigs.k8s.io/name"
"""Label of every pod of every set."""
GROUP_KEY = "leaderworkerset.sigs.k8s.io/group-key"
"""Label that all pods of one group have in common and no other pod has (kubernetes-sigs/lws, pkg/webhooks/pod_webhook.go)."""


def together(template: Mapping[str, Any], topology_key: str) -> dict[str, Any]:
    """A pod template whose pods run where the first pod of their group runs: in one zone, or on one network spine.

    The set's own annotation `exclusive-topology` would keep every other group out of that zone too. The API server turns
    `matchLabelKeys` into the value the pod has, after the controller's webhook has set it. Nobody looks for a zone with room for
    all: the first pod decides, so every zone that the pool has nodes in needs as many free ones as a group has pods.
    """
    term = {
        "topologyKey": topology_key,
        "labelSelector": {"matchExpressions": [{"key": SET_NAME, "operator": "Exists"}]},
        "matchLabelKeys": [GROUP_KEY],
    }
    affinity = dict(template["spec"].get("affinity") or {})
    before = dict(affinity.get("podAffinity") or {})
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity["podAffinity"] = before | {required: [*before.get(required, []), term]}
    return {**template, "spec": {**template["spec"], "affinity": affinity}}
