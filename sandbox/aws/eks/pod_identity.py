"""Pod Identity associations: which role the pods of a service account get."""

import hashlib
import json
import uuid
from typing import Any

from sandbox.aws.eks.errors import in_use, invalid_parameter, invalid_request, not_found
from sandbox.aws.eks.store import Cluster, Store, now
from sandbox.aws.eks.wire import Parameters

_SERVICE, _ACTIONS = "pods.eks.amazonaws.com", ("sts:AssumeRole", "sts:TagSession")
_KEPT = ("targetRoleArn", "policy")
_TOLD_IN_LISTS = ("clusterName", "namespace", "serviceAccount", "associationArn", "associationId", "ownerArn")


class PodIdentity:
    """Their operations."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_pod_identity_association(self, parameters: Parameters) -> Parameters:
        """One per namespace and service account; neither has to exist yet."""
        cluster = self._store.active_cluster(parameters["clusterName"])
        return {"association": associate(self._store, cluster, parameters)}

    def describe_pod_identity_association(self, parameters: Parameters) -> Parameters:
        """One association."""
        return {"association": self._association(parameters)[1]}

    def list_pod_identity_associations(self, parameters: Parameters) -> Parameters:
        """Those of a cluster, of a namespace, or of a service account."""
        found = [
            association
            for association in self._store.cluster(parameters["clusterName"]).associations.values()
            if all(
                parameters.get(member, association[member]) == association[member] for member in ("namespace", "serviceAccount")
            )
        ]
        return {"associations": [{member: one[member] for member in _TOLD_IN_LISTS if member in one} for one in found]}

    def update_pod_identity_association(self, parameters: Parameters) -> Parameters:
        """Another role, target role or policy."""
        _, association = self._owned(parameters)
        changes = {member: parameters[member] for member in ("roleArn", "disableSessionTags", *_KEPT) if member in parameters}
        _check(self._store, association | changes)
        association |= changes | {"modifiedAt": now()}
        return {"association": association}

    def delete_pod_identity_association(self, parameters: Parameters) -> Parameters:
        """Gone at once."""
        cluster, association = self._owned(parameters)
        del cluster.associations[association["associationId"]]
        return {"association": association}

    def _association(self, parameters: Parameters) -> tuple[Cluster, dict[str, Any]]:
        cluster, identity = self._store.cluster(parameters["clusterName"]), parameters["associationId"]
        if identity not in cluster.associations:
            raise not_found(f"Association not found: {identity}", clusterName=cluster.name)
        return cluster, cluster.associations[identity]

    def _owned(self, parameters: Parameters) -> tuple[Cluster, dict[str, Any]]:
        cluster, association = self._association(parameters)
        if owner := association.get("ownerArn"):
            raise invalid_request(f"Association {association['associationId']} is managed by {owner}; change it there")
        return cluster, association


def associate(store: Store, cluster: Cluster, wanted: Parameters, owner: str | None = None) -> dict[str, Any]:
    """Makes an association; `owner` is the ARN of the add-on it is made through. Raises EksError for what EKS refuses."""
    for known in cluster.associations.values():
        if (known["namespace"], known["serviceAccount"]) == (wanted["namespace"], wanted["serviceAccount"]):
            raise in_use(f"Association already exists: {known['associationId']}", clusterName=cluster.name)
    _check(store, wanted)
    identity, moment = f"a-{uuid.uuid4().hex[:17]}", now()
    association = {
        "clusterName": cluster.name,
        "namespace": wanted["namespace"],
        "serviceAccount": wanted["serviceAccount"],
        "roleArn": wanted["roleArn"],
        "associationArn": store.arn("podidentityassociation", cluster.name, identity),
        "associationId": identity,
        "tags": wanted.get("tags", {}),
        "createdAt": moment,
        "modifiedAt": moment,
        "disableSessionTags": wanted.get("disableSessionTags", False),
        **{member: wanted[member] for member in _KEPT if member in wanted},
    }
    if owner:
        association["ownerArn"] = owner
    if "targetRoleArn" in wanted:
        association["externalId"] = hashlib.sha256(association["associationArn"].encode()).hexdigest()[:32]
    cluster.associations[identity] = association
    return association


def dissociate(cluster: Cluster, owner: str) -> None:
    """Deletes the associations made through an add-on."""
    for identity in [identity for identity, known in cluster.associations.items() if known.get("ownerArn") == owner]:
        del cluster.associations[identity]


def _check(store: Store, wanted: dict[str, Any]) -> None:
    store.world.require_role(wanted["roleArn"], _SERVICE, _ACTIONS)
    if "policy" in wanted:
        try:
            json.loads(wanted["policy"])
        except ValueError as error:
            raise invalid_parameter(f"The policy of the association is not JSON: {error}") from error
        if not wanted.get("disableSessionTags"):
            raise invalid_parameter(
                "A policy can be given only with disableSessionTags, for both together are too long for a session"
            )
