"""IAM documents: written in one form, and judged as a reviewer would. Pure, except that values may be outputs."""

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pulumi

Statement = dict[str, Any]
"""One statement, with the keys IAM has for it. Values may be outputs."""
Conditions = Mapping[str, Mapping[str, Any]]
"""By operator, then by condition key."""

SECURE_TRANSPORT = "aws:SecureTransport"
ANYBODY = "*"
"""Every principal; only together with conditions that say which."""

UNSCOPABLE = frozenset(
    {
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeLaunchConfigurations",
        "autoscaling:DescribeScalingActivities",
        "cloudwatch:PutMetricData",
        "ec2:DescribeAvailabilityZones",
        "ec2:DescribeCapacityReservations",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstanceTypeOfferings",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribePlacementGroups",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSpotPriceHistory",
        "ec2:DescribeSubnets",
        "ec2:DescribeTags",
        "ec2:DescribeVolumes",
        "ec2:DescribeVpcs",
        "ecr:GetAuthorizationToken",
        "kms:ListAliases",
        "kms:ListKeys",
        "pricing:GetProducts",
        "s3:ListAllMyBuckets",
        "sts:GetCallerIdentity",
    }
)
"""Actions for which IAM takes no resource but `*`: those without a resource type in AWS's service authorization reference
(docs.aws.amazon.com/service-authorization/latest/reference). Only what a platform like this asks for is listed."""

_NOT_NARROWING = frozenset(
    {"aws:multifactorauthpresent", "aws:requestedregion", "aws:securetransport", "s3:tlsversion", "aws:currenttime"}
)
"""Condition keys that say how or where from, not which resource."""

_WITHOUT_SOURCE = frozenset({"ec2.amazonaws.com"})
"""Services that send neither aws:SourceAccount nor aws:SourceArn when they assume a role: only the account's own instances
can be given it, by iam:PassRole."""


def allow(
    actions: Iterable[str],
    resources: pulumi.Input[str] | Sequence[pulumi.Input[str]] | None = None,
    *,
    conditions: Conditions | None = None,
    principals: Mapping[str, Any] | str | None = None,
    sid: str = "",
) -> Statement:
    """A statement that allows. `principals` only in policies of resources, which in trust policies name no resources."""
    return _statement("Allow", actions, resources, conditions, principals, sid)


def deny(
    actions: Iterable[str],
    resources: pulumi.Input[str] | Sequence[pulumi.Input[str]],
    *,
    conditions: Conditions | None = None,
    principals: Mapping[str, Any] | str | None = None,
    sid: str = "",
) -> Statement:
    """A statement that denies, whatever else allows."""
    return _statement("Deny", actions, resources, conditions, principals, sid)


def deny_insecure_transport(actions: Iterable[str], resources: pulumi.Input[str] | Sequence[pulumi.Input[str]]) -> Statement:
    """A statement of a resource's policy that refuses whoever comes without TLS."""
    return deny(
        actions,
        resources,
        principals=ANYBODY,
        conditions={"Bool": {SECURE_TRANSPORT: "false"}},
        sid="DenyInsecureTransport",
    )


def document(*statements: Statement) -> pulumi.Output[str]:
    """The policy as JSON in one fixed form: equal policies are equal text, so that a preview shows no difference."""
    text: pulumi.Output[str] = pulumi.Output.json_dumps(
        {"Version": "2012-10-17", "Statement": list(statements)}, sort_keys=True, separators=(",", ":")
    )
    return text


def trust(service: str, account_id: pulumi.Input[str], source_arn: pulumi.Input[str] | None = None) -> pulumi.Output[str]:
    """Who may assume a role: `service`, on behalf of this account only, and there for what matches `source_arn`.

    Without it another customer could have the service use the role for them (IAM user guide, "The confused deputy problem").
    """
    conditions: dict[str, Mapping[str, Any]] = {}
    if service not in _WITHOUT_SOURCE:
        conditions["StringEquals"] = {"aws:SourceAccount": account_id}
        if source_arn is not None:
            conditions["ArnLike"] = {"aws:SourceArn": source_arn}
    return document(allow(["sts:AssumeRole"], principals={"Service": service}, conditions=conditions))


def pod_identity_trust(account_id: pulumi.Input[str], cluster_arn: pulumi.Input[str]) -> pulumi.Output[str]:
    """Who may assume a role: Pod Identity, for the pods of one cluster (EKS user guide, "Create IAM role with trust policy")."""
    return document(
        allow(
            ["sts:AssumeRole", "sts:TagSession"],
            principals={"Service": "pods.eks.amazonaws.com"},
            conditions={"StringEquals": {"aws:SourceAccount": account_id}, "ArnEquals": {"aws:SourceArn": cluster_arn}},
        )
    )


def check_scoped(policy: str, *, grants: bool = True) -> None:
    """Raise ValueError, a sentence for every fault, when a policy allows more than it names.

    `policy` is its JSON. In a key's policy `*` as a resource is the key itself, so there it is no fault. `grants` is false for
    the policy of a VPC endpoint, which only limits what others grant, so that anybody may stand in it.
    """
    statements = [statement for statement in _listed(json.loads(policy)["Statement"]) if statement["Effect"] == "Allow"]
    faults = [fault for statement in statements for fault in _faults(statement, grants)]
    if faults:
        raise ValueError("\n".join(faults))


def _statement(
    effect: str,
    actions: Iterable[str],
    resources: pulumi.Input[str] | Sequence[pulumi.Input[str]] | None,
    conditions: Conditions | None,
    principals: Mapping[str, Any] | str | None,
    sid: str,
) -> Statement:
    found = {
        "Sid": sid,
        "Effect": effect,
        "Principal": principals,
        "Action": sorted(set(actions)),
        "Resource": resources,
        "Condition": conditions,
    }
    # An output has no truth of its own, so it is told from the empty values first.
    return {key: value for key, value in found.items() if isinstance(value, pulumi.Output) or value}


def _faults(statement: Mapping[str, Any], grants: bool) -> list[str]:
    where = f"statement {statement['Sid']}" if "Sid" in statement else f"the statement on {_named(statement.get('Action', ()))}"
    inverted = [key for key in ("NotAction", "NotResource", "NotPrincipal") if key in statement]
    if inverted:
        return [f"{where}: {inverted[0]} allows all that is not named; name what is allowed instead"]
    found = [*_action_faults(statement), *_resource_faults(statement), *(_principal_faults(statement) if grants else ())]
    return [f"{where}: {fault}" for fault in found]


def _action_faults(statement: Mapping[str, Any]) -> Iterable[str]:
    for action in _listed(statement["Action"]):
        service, _, operation = action.partition(":")
        if not operation or not operation.strip("*"):
            yield f"{action} is every action{f' of {service}' if operation else ''}; name those that are used"
        if fnmatch.fnmatchcase("iam:passrole", action.lower()) and "iam:passedtoservice" not in _condition_keys(statement):
            yield f"{action} lets the role be passed to any service; add the condition iam:PassedToService"


def _resource_faults(statement: Mapping[str, Any]) -> Iterable[str]:
    everything = [resource for resource in _listed(statement.get("Resource", ())) if _is_everything(resource)]
    if not everything or _condition_keys(statement) - _NOT_NARROWING:
        return
    actions = _listed(statement["Action"])
    if "Principal" in statement and all(action.startswith("kms:") for action in actions):
        return
    scopable = [action for action in actions if action not in UNSCOPABLE]
    if scopable:
        yield f"{_named(scopable)} on {everything[0]} reaches every resource; name the resources or add a condition on them"


def _principal_faults(statement: Mapping[str, Any]) -> Iterable[str]:
    principals = statement.get("Principal")
    if principals is None:
        return
    keys = _condition_keys(statement) - _NOT_NARROWING
    by_kind = principals if isinstance(principals, Mapping) else {"AWS": principals}
    if ANYBODY in _listed(by_kind.get("AWS", ())) and not keys:
        yield "anybody may do it; name the principals or add a condition on them"
    for service in _listed(by_kind.get("Service", ())):
        if not keys and service not in _WITHOUT_SOURCE:
            yield f"{service} may do it on behalf of any account; add the condition aws:SourceAccount"


def _is_everything(resource: str) -> bool:
    return not resource.strip("*") or (resource.startswith("arn:") and not resource.split(":", 5)[-1].strip("*/"))


def _condition_keys(statement: Mapping[str, Any]) -> set[str]:
    """The condition keys that must have a stated value, in lower case: IAM reads them in any."""
    return {
        key.lower()
        for operator, tests in statement.get("Condition", {}).items()
        # These hold for values nobody named, or without the key.
        if not (re.search("Not|Null", operator) or operator.endswith("IfExists") or operator.startswith("ForAllValues"))
        for key in tests
    }


def _named(actions: Any) -> str:
    listed = _listed(actions)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]
