"""Updates as they are told, and the tags of everything that has an ARN."""

from typing import Any

from sandbox.aws.eks.errors import EksError, not_found
from sandbox.aws.eks.store import Store
from sandbox.aws.eks.wire import Parameters

_MAX_TAGS = 50


class Updates:
    """Looking after updates in progress and done."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe_update(self, parameters: Parameters) -> Parameters:
        """One update of a cluster, or of a node group or add-on of it that is named as well."""
        update = self._store.cluster(parameters["name"]).updates.get(parameters["updateId"])
        named = (parameters.get("nodegroupName"), parameters.get("addonName"))
        if update is None or named != (update.nodegroup, update.addon):
            raise not_found(f"No update found for ID: {parameters['updateId']}")
        return {"update": update.shape}

    def list_updates(self, parameters: Parameters) -> Parameters:
        """The ids of all updates of a cluster itself, or of one node group or add-on."""
        named = (parameters.get("nodegroupName"), parameters.get("addonName"))
        updates = self._store.cluster(parameters["name"]).updates
        return {"updateIds": [identity for identity, update in updates.items() if (update.nodegroup, update.addon) == named]}


class Tags:
    """Tagging."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list_tags_for_resource(self, parameters: Parameters) -> Parameters:
        """The tags of one resource."""
        return {"tags": self._tags(parameters["resourceArn"])}

    def tag_resource(self, parameters: Parameters) -> Parameters:
        """Adds and replaces tags."""
        tags = self._tags(parameters["resourceArn"])
        if len(tags | parameters["tags"]) > _MAX_TAGS:
            raise EksError("BadRequestException", f"More than {_MAX_TAGS} tags on {parameters['resourceArn']}")
        tags |= parameters["tags"]
        return {}

    def untag_resource(self, parameters: Parameters) -> Parameters:
        """Removes tags; those that are not there need no removal."""
        tags = self._tags(parameters["resourceArn"])
        for key in parameters["tagKeys"]:
            tags.pop(key, None)
        return {}

    def _tags(self, arn: str) -> dict[str, str]:
        for cluster in self._store.clusters.values():
            resources: list[dict[str, Any]] = [
                cluster.shape,
                *(group.shape for group in cluster.nodegroups.values()),
                *cluster.addons.values(),
                *(entry.shape for entry in cluster.entries.values()),
                *cluster.associations.values(),
            ]
            for shape in resources:
                if arn in (shape.get(name) for name in ("arn", "nodegroupArn", "addonArn", "accessEntryArn", "associationArn")):
                    tags: dict[str, str] = shape["tags"]
                    return tags
        raise EksError("NotFoundException", f"No resource found for ARN: {arn}")
