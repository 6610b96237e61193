"""IAM documents judged as a reviewer would: what allows more than it names. Pure."""

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from .policies import ANYBODY, WITHOUT_SOURCE

UNSCOPABLE = frozenset(
    {
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeLaunchConfigurations",
        "autoscaling:DescribeScalingActivities",
        "cloudwatch:PutMetricData",
        "ec2:DescribeAccountAttributes",
        "ec2:DescribeAddresses",
        "ec2:DescribeAvailabilityZones",
        "ec2:DescribeCapacityReservations",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstanceTypeOfferings",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeInstances",
        "ec2:DescribeInternetGateways",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribePlacementGroups",
        "ec2:DescribeRouteTables",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSpotPriceHistory",
        "ec2:DescribeSubnets",
        "ec2:DescribeTags",
        "ec2:DescribeVolumes",
        "ec2:DescribeVpcPeeringConnections",
        "ec2:DescribeVpcs",
        "ecr:GetAuthorizationToken",
        "elasticloadbalancing:DescribeCapacityReservation",
        "elasticloadbalancing:DescribeListenerAttributes",
        "elasticloadbalancing:DescribeListenerCertificates",
        "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeLoadBalancerAttributes",
        "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:DescribeSSLPolicies",
        "elasticloadbalancing:DescribeTags",
        "elasticloadbalancing:DescribeTargetGroupAttributes",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
        "kms:ListAliases",
        "kms:ListKeys",
        "pricing:GetProducts",
        "s3:ListAllMyBuckets",
        "sts:GetCallerIdentity",
    }
)
"""Actions for which IAM takes no resource but `*`: those without a resource type in AWS's service authorization reference
(docs.aws.amazon.com/service-authorization/latest/reference). Only what a platform like this asks for is listed."""

_PARTS = frozenset({"capacity-reservation", "image", "placement-group", "security-group", "snapshot", "subnet"})
_OF_ANY_NAME: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "ec2:CreateFleet": _PARTS,
        "ec2:RunInstances": _PARTS,
        "iam:GetInstanceProfile": frozenset({"instance-profile"}),
    }
)
"""Types that an action only uses or tells of: what is launched is named by the statement on the instance, which IAM asks for
as well (aws/karpenter-provider-aws v1.14, cloudformation.yaml)."""

_TELLING = ("Describe", "List")
"""How actions begin that tell names and settings."""
_CHANGING = (
    *("Add", "Allocate", "Associate", "Attach", "Authorize", "Batch", "Cancel", "Change", "Copy", "Create", "Delete"),
    *("Deregister", "Detach", "Disable", "Disassociate", "Enable", "Execute", "Grant", "Import", "Invoke", "Modify", "Put"),
    *("Register", "Remove", "Replace", "Reset", "Restore", "Revoke", "Run", "Send", "Set", "Start", "Stop", "Tag"),
    *("Terminate", "Untag", "Update", "Upload", "Write"),
)
"""How actions begin that change something; `Create*` is all of one kind."""

_NAME_FIRST = frozenset({"codecommit", "codepipeline", "execute-api", "s3", "sns", "sqs"})
"""Services whose ARNs say what it is by its name, without a type before it."""

_NOT_NARROWING = frozenset(
    {
        *("aws:currenttime", "aws:epochtime", "aws:multifactorauthage", "aws:multifactorauthpresent"),
        *("aws:principalisawsservice", "aws:principaltype", "aws:referer", "aws:requestedregion", "aws:securetransport"),
        *("aws:tokenissuetime", "aws:useragent", "aws:viaawsservice", "s3:tlsversion"),
    }
)
"""Condition keys that say how, when or where from, not which resource or who (IAM user guide, "AWS global condition context
keys")."""

_WHO = frozenset(
    {
        *("aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount"),
        *("aws:sourcearn", "aws:sourceip", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourceowner", "aws:sourcevpc"),
        *("aws:sourcevpce", "aws:userid", "elasticfilesystem:accesspointarn", "kms:calleraccount"),
        *("s3:dataaccesspointaccount", "s3:dataaccesspointarn"),
    }
)
"""Condition keys that say who (S3 user guide, 'The meaning of "public"'; KMS' and EFS' own say the same of their callers)."""

_WIDEST = 8
"""Bits of the largest block of addresses that somebody was ever given."""
_SUBJECT_BEGINS = ("organization:", "project_path:", "repo:", "system:serviceaccount:")
"""How all subjects of an issuer begin: Terraform's, GitLab's, GitHub's and Kubernetes'."""


def check_scoped(policy: str, *, grants: bool = True) -> None:
    """Raise ValueError, a sentence for every fault, when a policy allows more than it names.

    `policy` is its JSON. In a key's policy `*` as a resource is the key itself, so there it is no fault. `grants` is false for
    the policy of a VPC endpoint, which only limits what others grant, so that anybody may stand in it.
    """
    statements = [statement for statement in _listed(json.loads(policy)["Statement"]) if statement["Effect"] == "Allow"]
    faults = [fault for statement in statements for fault in _faults(statement, grants)]
    if faults:
        raise ValueError("\n".join(faults))


def _faults(statement: Mapping[str, Any], grants: bool) -> list[str]:
    where = f"statement {statement['Sid']}" if "Sid" in statement else f"the statement on {_named(statement.get('Action', ()))}"
    inverted = [key for key in ("NotAction", "NotResource", "NotPrincipal") if key in statement]
    if inverted:
        return [f"{where}: {inverted[0]} allows all that is not named; name what is allowed instead"]
    keys = _condition_keys(statement)
    found = [*_action_faults(statement, keys), *_resource_faults(statement, keys)]
    found += _principal_faults(statement, keys) if grants else ()
    return [f"{where}: {fault}" for fault in found]


def _action_faults(statement: Mapping[str, Any], keys: set[str]) -> Iterable[str]:
    for action in _listed(statement["Action"]):
        service, _, operation = action.partition(":")
        known = re.split(r"[*?]", operation)[0].lower()
        if _is_wild(operation) or not operation:
            yield f"{action} is every action{f' of {service}' if operation else ''}; name those that are used"
        elif known != operation.lower() and any(verb.lower().startswith(known) for verb in _CHANGING):
            yield f"{action} is every action of {service} that is named so; name those that are used"
        if fnmatchcase("iam:passrole", action.lower()) and "iam:passedtoservice" not in keys:
            yield f"{action} lets the role be passed to any service; add the condition iam:PassedToService"


def _resource_faults(statement: Mapping[str, Any], keys: set[str]) -> Iterable[str]:
    if keys - _NOT_NARROWING:
        return
    actions = _listed(statement["Action"])
    in_policy_of_key = "Principal" in statement and all(action.startswith("kms:") for action in actions)
    for resource in _listed(statement.get("Resource", ())):
        kind = _reach(resource)
        if kind is None or (kind == "" and in_policy_of_key):
            continue
        if scopable := [action for action in actions if not _takes_any(action, kind)]:
            everything = f"{_named(scopable)} on {resource} reaches every {kind or 'resource'}"
            yield f"{everything}; name the resources or add a condition on them"
            return


def _principal_faults(statement: Mapping[str, Any], keys: set[str]) -> Iterable[str]:
    principals = statement.get("Principal")
    if principals is None:
        return
    by_kind = principals if isinstance(principals, Mapping) else {"AWS": principals}
    if ANYBODY in _listed(by_kind.get("AWS", ())) and not keys & _WHO:
        yield "anybody may do it; name the principals or add a condition on them"
    for service in _listed(by_kind.get("Service", ())):
        if not keys - _NOT_NARROWING and service not in WITHOUT_SOURCE:
            yield f"{service} may do it on behalf of any account; add the condition aws:SourceAccount"
    for provider in _listed(by_kind.get("Federated", ())):
        needed = _subject_key(provider)
        if needed.lower() not in keys:
            yield f"everybody whom {provider} knows may do it; add the condition {needed}, with a value that names who"


def _subject_key(provider: str) -> str:
    """The condition key that says whom of those it knows an identity provider means.

    SAML's and Cognito's is the audience: there the provider itself decides who gets which role (IAM user guide, "Available keys
    for SAML-based AWS STS federation"; Amazon Cognito developer guide, "Role trust and permissions").
    """
    if ":saml-provider/" in provider:
        return "SAML:aud"
    issuer = provider.rpartition(":oidc-provider/")[2]
    return f"{issuer}:{'aud' if issuer.startswith('cognito-identity.') else 'sub'}"


def _takes_any(action: str, kind: str) -> bool:
    """Whether a reviewer lets it do so on every resource of a type, or on every resource where `kind` is empty."""
    if action in UNSCOPABLE:
        return True
    return bool(kind) and (action.partition(":")[2].startswith(_TELLING) or kind in _OF_ANY_NAME.get(action, ()))


def _reach(resource: str) -> str | None:
    """The type of which an ARN means every resource, empty where it means every resource there is, None where it names some."""
    fields = resource.split(":", 5)
    if not resource.startswith("arn:") or len(fields) < 6:
        return "" if _is_wild(fields[-1]) else None
    steps = [step for step in re.split("[:/]", fields[5]) if step]
    if all(map(_is_wild, steps)) or (fields[2] in _NAME_FIRST and _is_wild(steps[0])):
        return ""
    if fields[2] in _NAME_FIRST:
        return None
    # Types and names take turns, as in log-group:NAME:log-stream:NAME.
    of_type = _is_wild(steps[-1]) and all(map(_is_wild, steps[1::2]))
    return steps[0] if of_type or (len(steps) == 1 and "*" in steps[0]) else None


def _is_wild(text: str) -> bool:
    return bool(text) and not text.strip("*?")


def _condition_keys(statement: Mapping[str, Any]) -> set[str]:
    """The condition keys that must have a stated value, in lower case: IAM reads them in any."""
    return {
        key.lower()
        for operator, tests in statement.get("Condition", {}).items()
        # These hold for values nobody named, or without the key.
        if not (re.search("Not|Null", operator) or operator.endswith("IfExists") or operator.startswith("ForAllValues"))
        for key, values in tests.items()
        # One of several is enough for the condition to hold.
        if not any(_is_open(key, str(value)) for value in _listed(values))
    }


def _is_open(key: str, value: str) -> bool:
    """Whether a value of a condition holds for everybody."""
    if _is_wild(value):
        return True
    if value.startswith("arn:"):
        account = value.split(":", 5)[4:5]
        return _reach(value) is not None and not "".join(account).strip("*?")
    if key.endswith(":sub"):
        stated = re.split(r"[*?]", value)[0]
        return stated != value and any(begin.startswith(stated) for begin in _SUBJECT_BEGINS)
    try:
        return ipaddress.ip_network(value, strict=False).prefixlen < _WIDEST
    except ValueError:
        return False


def _named(actions: Any) -> str:
    listed = _listed(actions)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]
