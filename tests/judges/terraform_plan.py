"""What a program registers on AWS, as the JSON that `terraform show` prints of a plan: the language of outside judges.

Pulumi's AWS provider is Terraform's under other names (github.com/pulumi/pulumi-aws, provider/resources.go): tokens for types,
camel case, plurals for lists, and single objects where Terraform has a block that may come once.
"""

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pulumi import _types

from tests.recorder import Registration
from tests.stacks.program import whole

TYPES = {
    "aws:cloudwatch/eventRule:EventRule": "aws_cloudwatch_event_rule",
    "aws:cloudwatch/eventTarget:EventTarget": "aws_cloudwatch_event_target",
    "aws:cloudwatch/logGroup:LogGroup": "aws_cloudwatch_log_group",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "aws_default_security_group",
    "aws:ec2/eip:Eip": "aws_eip",
    "aws:ec2/flowLog:FlowLog": "aws_flow_log",
    "aws:ec2/internetGateway:InternetGateway": "aws_internet_gateway",
    "aws:ec2/launchTemplate:LaunchTemplate": "aws_launch_template",
    "aws:ec2/natGateway:NatGateway": "aws_nat_gateway",
    "aws:ec2/placementGroup:PlacementGroup": "aws_placement_group",
    "aws:ec2/route:Route": "aws_route",
    "aws:ec2/routeTable:RouteTable": "aws_route_table",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "aws_route_table_association",
    "aws:ec2/securityGroup:SecurityGroup": "aws_security_group",
    "aws:ec2/subnet:Subnet": "aws_subnet",
    "aws:ec2/vpc:Vpc": "aws_vpc",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "aws_vpc_endpoint",
    "aws:efs/accessPoint:AccessPoint": "aws_efs_access_point",
    "aws:efs/fileSystem:FileSystem": "aws_efs_file_system",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": "aws_efs_file_system_policy",
    "aws:efs/mountTarget:MountTarget": "aws_efs_mount_target",
    "aws:eks/accessEntry:AccessEntry": "aws_eks_access_entry",
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": "aws_eks_access_policy_association",
    "aws:eks/addon:Addon": "aws_eks_addon",
    "aws:eks/cluster:Cluster": "aws_eks_cluster",
    "aws:eks/nodeGroup:NodeGroup": "aws_eks_node_group",
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": "aws_eks_pod_identity_association",
    "aws:fsx/lustreFileSystem:LustreFileSystem": "aws_fsx_lustre_file_system",
    "aws:iam/policy:Policy": "aws_iam_policy",
    "aws:iam/role:Role": "aws_iam_role",
    "aws:iam/rolePolicy:RolePolicy": "aws_iam_role_policy",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "aws_iam_role_policy_attachment",
    "aws:kms/alias:Alias": "aws_kms_alias",
    "aws:kms/key:Key": "aws_kms_key",
    "aws:s3/bucket:Bucket": "aws_s3_bucket",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "aws_s3_bucket_lifecycle_configuration",
    "aws:s3/bucketLogging:BucketLogging": "aws_s3_bucket_logging",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": "aws_s3_bucket_ownership_controls",
    "aws:s3/bucketPolicy:BucketPolicy": "aws_s3_bucket_policy",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "aws_s3_bucket_public_access_block",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        "aws_s3_bucket_server_side_encryption_configuration"
    ),
    "aws:s3/bucketVersioning:BucketVersioning": "aws_s3_bucket_versioning",
    "aws:sqs/queue:Queue": "aws_sqs_queue",
    "aws:sqs/queuePolicy:QueuePolicy": "aws_sqs_queue_policy",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "aws_vpc_security_group_egress_rule",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "aws_vpc_security_group_ingress_rule",
}
"""Terraform's type of each token (registry.terraform.io/providers/hashicorp/aws)."""

_SINGULAR = {"lifecycle_policies", "rules", "routes", "statements", "taints", "transitions"}
_BLOCKS = {name: re.sub("ies$", "y", name) if name.endswith("ies") else name.removesuffix("s") for name in _SINGULAR}
"""Lists of blocks which Pulumi has in the plural and Terraform does not. Others are plural in both, as `tag_specifications`."""

_LISTS = {"subnet_ids"}
"""Lists of one element, which Pulumi has without the list."""

Json = dict[str, Any]


def plan(resources: Iterable[Registration]) -> Json:
    """The plan that creates these resources; those that are not AWS's are left out. AssertionError for a type without entry."""
    found = [resource for resource in resources if resource.on_aws]
    planned, configured, changes = [], [], []
    for resource, (values, expressions) in zip(found, _written(found), strict=True):
        about = {"address": address(resource), "mode": "managed", "type": _type(resource), "name": _label(resource)}
        planned.append({**about, "values": values})
        changes.append({**about, "change": {"actions": ["create"], "before": None, "after": values, "after_unknown": {}}})
        configured.append({**about, "expressions": expressions})
    return {
        "format_version": "1.2",
        "terraform_version": "1.14.0",
        "planned_values": {"root_module": {"resources": planned}},
        "resource_changes": changes,
        "configuration": {"root_module": {"resources": configured}},
    }


def address(resource: Registration) -> str:
    """What Terraform would call it."""
    return f"{_type(resource)}.{_label(resource)}"


def _written(found: list[Registration]) -> Iterator[tuple[Json, Json]]:
    resources = _Resources(found)
    for resource in found:
        told = {key: resources.told(resource.depends.get(key, ())) for key in resource.inputs}
        parts = [_block({key: whole(value)}, _args(resource.type), told[key]) for key, value in resource.inputs.items()]
        yield (
            {key: value for values, _ in parts for key, value in values.items()},
            {key: value for _, expressions in parts for key, value in expressions.items()},
        )


class _Resources:
    """Which values only the creation of a resource tells: a plan has a reference in their place."""

    def __init__(self, resources: Iterable[Registration]) -> None:
        self._known = {resource.urn: resource for resource in resources}

    def told(self, urns: Iterable[str]) -> dict[str, str]:
        """Reference by value, of these resources and those that they depend on; the nearest where two have the same value."""
        references: dict[str, str] = {}
        waiting, seen = [*sorted(urns)], set()
        while waiting:
            urn = waiting.pop(0)
            if urn in seen or urn not in self._known:
                continue
            seen.add(urn)
            resource = self._known[urn]
            for key, value in resource.outputs.items():
                # What was chosen beforehand is in a plan as it is, except a name, which ties two resources.
                if isinstance(value, str) and (key not in resource.inputs or key == "name"):
                    references.setdefault(value, f"{address(resource)}.{_snake(key)}")
            waiting += sorted({each for found in resource.depends.values() for each in found})
        return references


def _referenced(value: Any, told: Mapping[str, str]) -> list[str]:
    """References in place of a value: its own, or those of a list's elements."""
    elements = value if isinstance(value, list) else [value]
    found = [told[element] for element in elements if isinstance(element, str) and element in told]
    return [reference for each in found for reference in (each, each.rpartition(".")[0])]


def _block(inputs: Mapping[str, Any], args: Any, told: Mapping[str, str]) -> tuple[Json, Json]:
    """Values and expressions of a block from inputs of a resource or of an object in it; `told` are references by value."""
    kinds = _types.input_type_types(args)
    values: Json = {}
    expressions: Json = {}
    for key, value in inputs.items():
        inner, several = _inner(kinds[key])
        name = _BLOCKS.get(_snake(key), _snake(key)) if inner and several else _snake(key)
        if inner:
            blocks = [_block(each, inner, told) for each in (value if several else [value])]
            values[name] = [each for each, _ in blocks]
            expressions[name] = [each for _, each in blocks]
        elif found := _referenced(value, told):
            expressions[name] = {"references": found}
            if isinstance(value, list):
                # Checkov takes one reference of an expression, and as many as there are from values.
                values[name] = [told.get(element, element) for element in value]
        else:
            values[name] = value
            expressions[name] = {"constant_value": value}
        if name in _LISTS and isinstance(values.get(name), str):
            values[name] = [values[name]]
    return values, expressions


def _inner(kind: Any) -> tuple[Any, bool]:
    """The class of the blocks that a property of this type holds, None if it holds none, and whether it may hold several."""
    if isinstance(kind, type) and _types.is_input_type(kind):
        return kind, False
    if isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Sequence):
        (element,) = get_args(kind)
        found = [each for each in (element, *get_args(element)) if isinstance(each, type) and _types.is_input_type(each)]
        return (found[0] if found else None), True
    return None, False


def _args(token: str) -> Any:
    """The SDK's class of a resource's inputs, which knows their types."""
    _, path, name = token.split(":")
    module = importlib.import_module("pulumi_aws." + ".".join(_snake(part) for part in path.split("/")))
    # `BucketVersioningArgs`, for one, is an object in a bucket, and the resource's own are called otherwise.
    return getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")


def _type(resource: Registration) -> str:
    assert resource.type in TYPES, f"no Terraform type is known of {resource.type}; add it to TYPES"
    return TYPES[resource.type]


def _label(resource: Registration) -> str:
    """A name in Terraform, which has others than Pulumi; unique, as names in one program are."""
    return re.sub(r"\W", "_", resource.name)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
