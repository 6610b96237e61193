"""Systems Manager: parameters."""

from typing import Final

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services.shapes import (
    Operation,
    ServiceAdapter,
    given,
    retag,
    tag_list,
    tag_map,
    tag_values,
    taken,
)


class Parameter(ServiceAdapter):
    token = "aws:ssm/parameter:Parameter"
    service = "ssm"
    replaces = frozenset(("dataType", "name"))
    write_only = frozenset(("overwrite",))
    secrets = frozenset(("value",))
    refused = frozenset(("arn", "valueWo", "valueWoVersion"))
    autoname = ("name", 2048)

    _described: Final = {
        "allowedPattern": "AllowedPattern",
        "dataType": "DataType",
        "description": "Description",
        "keyId": "KeyId",
        "tier": "Tier",
    }

    def make(self, op: Operation) -> str:
        # Tags and overwriting exclude each other in one call.
        overwrite = bool(op.values.get("overwrite"))
        self._put(op, str(op.values["name"]), overwrite=overwrite)
        if op.tags:
            op.client.add_tags_to_resource(ResourceType="Parameter", ResourceId=op.values["name"], Tags=tag_list(op.tags))
        return str(op.values["name"])

    def look(self, op: Operation) -> Values | None:
        parameter = op.client.get_parameter(Name=op.id, WithDecryption=True)["Parameter"]
        wanted = [{"Key": "Name", "Option": "Equals", "Values": [op.id]}]
        described = op.client.describe_parameters(ParameterFilters=wanted)["Parameters"]
        if not described:
            return None
        tags = op.client.list_tags_for_resource(ResourceType="Parameter", ResourceId=op.id)["TagList"]
        insecure = "insecureValue" in op.values and parameter["Type"] != "SecureString"
        return {
            **given(described[0], self._described),
            **given(parameter, {"name": "Name", "type": "Type", "arn": "ARN", "version": "Version"}),
            "insecureValue" if insecure else "value": parameter["Value"],
            "hasValueWo": False,
            **tag_values(op, tag_map(tags)),
        }

    def change(self, op: Operation) -> None:
        if op.changed(*self._described, "type", "value", "insecureValue"):
            self._put(op, op.id, overwrite=True)
        retag(
            op,
            lambda tags: op.client.add_tags_to_resource(ResourceType="Parameter", ResourceId=op.id, Tags=tag_list(tags)),
            lambda keys: op.client.remove_tags_from_resource(ResourceType="Parameter", ResourceId=op.id, TagKeys=keys),
        )

    def remove(self, op: Operation) -> None:
        op.client.delete_parameter(Name=op.id)

    def _put(self, op: Operation, name: str, *, overwrite: bool) -> None:
        value = op.values.get("value")
        op.client.put_parameter(
            Name=name,
            Type=op.values["type"],
            Value=op.values["insecureValue"] if value is None else value,
            Overwrite=overwrite,
            **taken(op.values, self._described),
        )
