"""Launch templates and placement groups."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.ec2.shapes import Ec2Adapter, arn, change_tags, only, tags_of
from sandbox.providers.aws.services.shapes import Operation, camel, pascal, tag_list, tag_map, taken

_DATA: Final = (
    "blockDeviceMappings",
    "capacityReservationSpecification",
    "cpuOptions",
    "creditSpecification",
    "disableApiStop",
    "disableApiTermination",
    "ebsOptimized",
    "enclaveOptions",
    "hibernationOptions",
    "iamInstanceProfile",
    "imageId",
    "instanceInitiatedShutdownBehavior",
    "instanceMarketOptions",
    "instanceType",
    "keyName",
    "maintenanceOptions",
    "metadataOptions",
    "monitoring",
    "networkInterfaces",
    "placement",
    "privateDnsNameOptions",
    "tagSpecifications",
    "userData",
    "vpcSecurityGroupIds",
)
"""What is part of a version of a template."""

_NAMES: Final = {
    "enableResourceNameDnsAaaaRecord": "EnableResourceNameDnsAAAARecord",
    "ipv4AddressCount": "SecondaryPrivateIpAddressCount",
    "securityGroups": "Groups",
    "vpcSecurityGroupIds": "SecurityGroupIds",
}
_WRAPPED: Final = {"ipv4Prefixes": "ipv4Prefix", "ipv6Addresses": "ipv6Address", "ipv6Prefixes": "ipv6Prefix"}
"""Lists of text, which the API has as lists of groups with one text in them."""

_TEXT: Final = frozenset(
    {"associatePublicIpAddress", "associateCarrierIpAddress", "deleteOnTermination", "ebsOptimized", "encrypted", "primaryIpv6"}
)
"""Yes and no, which pulumi-aws has as text here, since a template can leave them open."""


class LaunchTemplate(Ec2Adapter):
    token = "aws:ec2/launchTemplate:LaunchTemplate"
    resource_type = "launch-template"
    replaces = frozenset({"name", "namePrefix"})
    unordered = frozenset({"networkInterfaces.securityGroups", "vpcSecurityGroupIds"})
    write_only = frozenset({"updateDefaultVersion"})
    refused = frozenset(
        {
            "instanceRequirements",
            "kernelId",
            "licenseSpecifications",
            "namePrefix",
            "networkInterfaces.ipv4Addresses",
            "networkPerformanceOptions",
            "ramDiskId",
            "secondaryInterfaces",
            "securityGroupNames",
        }
    )
    autoname = ("name", 128)

    def make(self, op: Operation) -> str:
        described = taken(op.values, {"description": "VersionDescription"})
        answer = op.client.create_launch_template(
            LaunchTemplateName=op.values["name"], LaunchTemplateData=to_api(op.values), **described, **self.tagged(op)
        )
        return str(answer["LaunchTemplate"]["LaunchTemplateId"])

    def look(self, op: Operation) -> Values | None:
        live = only(op.client.describe_launch_templates(LaunchTemplateIds=[op.id]), "LaunchTemplates")
        if not live:
            return None
        versions = op.client.describe_launch_template_versions(LaunchTemplateId=op.id, Versions=["$Latest"])
        latest = only(versions, "LaunchTemplateVersions") or {}
        return {
            "arn": arn(op, f"launch-template/{op.id}"),
            "defaultVersion": live["DefaultVersionNumber"],
            "description": latest.get("VersionDescription") or None,
            "latestVersion": live["LatestVersionNumber"],
            "name": live["LaunchTemplateName"],
            **from_api(latest.get("LaunchTemplateData") or {}),
            **tags_of(op, live),
        }

    def change(self, op: Operation) -> None:
        change_tags(op)
        version = op.values.get("defaultVersion")
        if op.changed("description", *_DATA):
            described = taken(op.values, {"description": "VersionDescription"})
            op.client.create_launch_template_version(LaunchTemplateId=op.id, LaunchTemplateData=to_api(op.values), **described)
        if op.values.get("updateDefaultVersion"):
            live = only(op.client.describe_launch_templates(LaunchTemplateIds=[op.id]), "LaunchTemplates") or {}
            version = live["LatestVersionNumber"]
        if version is not None:
            op.client.modify_launch_template(LaunchTemplateId=op.id, DefaultVersion=str(version))

    def unsettled(self, changed: Collection[str]) -> Collection[str]:
        if {"description", *_DATA} & set(changed):
            return {"latestVersion", "defaultVersion"}
        return {"defaultVersion"} if "updateDefaultVersion" in changed else ()

    def remove(self, op: Operation) -> None:
        op.client.delete_launch_template(LaunchTemplateId=op.id)


class PlacementGroup(Ec2Adapter):
    token = "aws:ec2/placementGroup:PlacementGroup"
    resource_type = "placement-group"
    replaces = frozenset({"name", "partitionCount", "spreadLevel", "strategy"})
    autoname = ("name", 255)

    def make(self, op: Operation) -> str:
        names = {"name": "GroupName", "strategy": "Strategy", "partitionCount": "PartitionCount", "spreadLevel": "SpreadLevel"}
        op.client.create_placement_group(**taken(op.values, names), **self.tagged(op))
        return str(op.values["name"])

    def look(self, op: Operation) -> Values | None:
        live = only(op.client.describe_placement_groups(GroupNames=[op.id]), "PlacementGroups")
        return live and {
            "arn": live.get("GroupArn") or arn(op, f"placement-group/{op.id}"),
            "name": live["GroupName"],
            "partitionCount": live.get("PartitionCount"),
            "placementGroupId": live.get("GroupId"),
            "spreadLevel": live.get("SpreadLevel"),
            "strategy": live["Strategy"],
            **tags_of(op, live),
        }

    def change(self, op: Operation) -> None:
        live = only(op.client.describe_placement_groups(GroupNames=[op.id]), "PlacementGroups") or {}
        change_tags(op, str(live["GroupId"]))

    def remove(self, op: Operation) -> None:
        op.client.delete_placement_group(GroupName=op.id)


def to_api(values: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a version as EC2 takes it."""
    given = {name: values[name] for name in _DATA if values.get(name) is not None}
    data: dict[str, Any] = pascal(_as_api(given), _NAMES)
    for specification in data.get("TagSpecifications", []):
        specification["Tags"] = tag_list(_tags_as_given(values, specification["ResourceType"]))
    return data


def from_api(data: Mapping[str, Any]) -> Values:
    """The data of a version as pulumi-aws has it."""
    specifications = [
        {"resourceType": one["ResourceType"], "tags": tag_map(one.get("Tags"))}
        for one in data.get("TagSpecifications") or []
        if one["ResourceType"] != "launch-template"  # moto tells the template's own tags here too
    ]
    found: Values = _as_pulumi(camel({name: value for name, value in data.items() if name != "TagSpecifications"}, _NAMES))
    return {**found, **({"tagSpecifications": specifications} if specifications else {})}


def _tags_as_given(values: Mapping[str, Any], resource_type: str) -> dict[str, str]:
    """Tags have names of their own, which must not be taken for properties."""
    return next((one.get("tags") or {} for one in values["tagSpecifications"] if one["resourceType"] == resource_type), {})


def _as_api(value: Any) -> Any:
    """Values in the forms of the API, still under Pulumi's names."""
    if isinstance(value, Mapping):
        return {key: _item_as_api(key, item) for key, item in value.items()}
    return [_as_api(item) for item in value] if isinstance(value, list) else value


def _item_as_api(key: str, item: Any) -> Any:
    if key in _WRAPPED:
        return [{_WRAPPED[key]: text} for text in item]
    return item == "true" if key in _TEXT else _as_api(item)


def _as_pulumi(value: Any) -> Any:
    """The opposite of `_as_api`."""
    if isinstance(value, Mapping):
        return {key: _item_as_pulumi(key, item) for key, item in value.items()}
    return [_as_pulumi(item) for item in value] if isinstance(value, list) else value


def _item_as_pulumi(key: str, item: Any) -> Any:
    if key in _WRAPPED:
        return [one[_WRAPPED[key]] for one in item]
    return str(item).lower() if key in _TEXT else _as_pulumi(item)
