"""What the policy of a key says: who administers it, and which services may use it for what. Pure; values may be outputs."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

import pulumi

from ..cloud import Cloud
from .policies import ANYBODY, Statement, allow


class KeyUse(StrEnum):
    """What a key encrypts."""

    CLUSTER_SECRETS = "clusterSecrets"
    """Secrets of EKS clusters."""
    VOLUMES = "volumes"
    """EBS volumes of nodes and of claims."""
    LOGS = "logs"
    """CloudWatch log groups."""
    QUEUES = "queues"
    """SQS queues, those that EventBridge writes to among them."""
    BUCKETS = "buckets"
    """S3 buckets."""
    EFS = "efs"
    """EFS file systems."""
    LUSTRE = "lustre"
    """FSx for Lustre file systems."""


_THE_KEY = "*"
"""In its own policy a key has no other name."""

_ADMINISTRATION = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListAliases",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RetireGrant",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
)
"""Everything but using the key."""

_USE = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*")

_THROUGH_SERVICE = {
    KeyUse.VOLUMES: "ec2",
    KeyUse.QUEUES: "sqs",
    KeyUse.EFS: "elasticfilesystem",
    KeyUse.LUSTRE: "fsx",
}
"""Services whose own permission is enough, as with the keys AWS manages for them (KMS developer guide, "AWS managed keys");
names of kms:ViaService."""

_AUTO_SCALING = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"


def key_statements(cloud: Cloud, uses: Iterable[KeyUse], log_groups: Iterable[str]) -> list[Statement]:
    """The statements of the policy; `log_groups` are names of log groups, with `*` for what is not known."""
    root = {"AWS": pulumi.Output.format("arn:{0}:iam::{1}:root", cloud.partition, cloud.account_id)}
    statements = [allow(_ADMINISTRATION, _THE_KEY, principals=root, sid="AccountAdministers")]
    for use in sorted(set(uses)):
        if use in _THROUGH_SERVICE:
            statements += _through(cloud, use, _THROUGH_SERVICE[use], {"AWS": ANYBODY})
    if KeyUse.BUCKETS in uses:
        # Reading models takes a permission on the key too, so that a mistake in a bucket's policy opens nothing.
        statements += _through(cloud, KeyUse.BUCKETS, "s3", root)
    if KeyUse.CLUSTER_SECRETS in uses:
        # EKS calls with the credentials of whoever makes the cluster, later by a grant (EKS user guide, "Encrypt Kubernetes
        # secrets with KMS"), so IAM says who may.
        statements += _used(KeyUse.CLUSTER_SECRETS, root, {"kms:CallerAccount": cloud.account_id})
    if KeyUse.VOLUMES in uses:
        statements += _auto_scaling(cloud)
    if KeyUse.QUEUES in uses:
        statements.append(_events(cloud))
    if KeyUse.LOGS in uses:
        statements.append(_logs(cloud, log_groups))
    return statements


def check_uses(uses: Iterable[KeyUse], log_groups: Iterable[str]) -> None:
    """Raise ValueError when log groups are named but not encrypted, or the other way round."""
    if (KeyUse.LOGS in uses) != bool(tuple(log_groups)):
        raise ValueError(
            "uses with logs and log_groups go together, since a key serves named log groups only; "
            "give both, e.g. logs and /aws/eks/llm-prod/cluster"
        )


def _through(cloud: Cloud, use: KeyUse, service: str, principals: Mapping[str, pulumi.Input[str]]) -> list[Statement]:
    """Use by callers of this account through one service."""
    through = {
        "kms:CallerAccount": cloud.account_id,
        "kms:ViaService": pulumi.Output.format("{0}.{1}.amazonaws.com", service, cloud.region),
    }
    return _used(use, principals, through)


def _used(use: KeyUse, principals: Mapping[str, pulumi.Input[str]], equal: Mapping[str, pulumi.Input[str]]) -> list[Statement]:
    """Use where these condition keys are equal, and grants that AWS's services give themselves."""
    name = use.value[0].upper() + use.value[1:]
    for_aws = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    return [
        allow(_USE, _THE_KEY, principals=principals, conditions={"StringEquals": equal}, sid=f"{name}Use"),
        allow(
            ["kms:CreateGrant"],
            _THE_KEY,
            principals=principals,
            conditions={"StringEquals": equal, **for_aws},
            sid=f"{name}Grants",
        ),
    ]


def _auto_scaling(cloud: Cloud) -> list[Statement]:
    """Managed node groups start instances through Auto Scaling, whose role has to reach the key of their volumes itself
    (EC2 Auto Scaling user guide, "Required AWS KMS key policy for use with encrypted volumes").

    The role is named in a condition: KMS refuses principals that do not exist, and in a new account it does not yet.
    """
    role = pulumi.Output.format("arn:{0}:iam::{1}:{2}", cloud.partition, cloud.account_id, _AUTO_SCALING)
    is_role = {"ArnEquals": {"aws:PrincipalArn": role}, "StringEquals": {"kms:CallerAccount": cloud.account_id}}
    for_aws = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    everybody = {"AWS": ANYBODY}
    return [
        allow(_USE, _THE_KEY, principals=everybody, conditions=is_role, sid="AutoScalingUse"),
        allow(["kms:CreateGrant"], _THE_KEY, principals=everybody, conditions={**is_role, **for_aws}, sid="AutoScalingGrants"),
    ]


def _events(cloud: Cloud) -> Statement:
    """EventBridge writes to encrypted queues (SQS developer guide, "Configure KMS permissions for AWS services")."""
    return allow(
        ["kms:Decrypt", "kms:GenerateDataKey"],
        _THE_KEY,
        principals={"Service": "events.amazonaws.com"},
        conditions={
            "StringEquals": {"aws:SourceAccount": cloud.account_id},
            "ArnLike": {"aws:SourceArn": cloud.arn("events", "rule/*")},
        },
        sid="EventsToQueues",
    )


def _logs(cloud: Cloud, log_groups: Iterable[str]) -> Statement:
    """CloudWatch Logs encrypts named groups (CloudWatch Logs user guide, "Encrypt log data using AWS KMS")."""
    return allow(
        ["kms:Decrypt*", "kms:Describe*", "kms:Encrypt*", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
        _THE_KEY,
        principals={"Service": pulumi.Output.format("logs.{0}.amazonaws.com", cloud.region)},
        conditions={
            "ArnLike": {
                "kms:EncryptionContext:aws:logs:arn": [cloud.arn("logs", f"log-group:{name}") for name in sorted(set(log_groups))]
            }
        },
        sid="LogGroups",
    )
