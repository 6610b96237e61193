"""What Karpenter's controller may do in AWS, and what may write to its queue. Pure.

The six policies of Karpenter 1.14 (aws/karpenter-provider-aws, website/content/en/v1.14/getting-started/
getting-started-with-karpenter/cloudformation.yaml), statement by statement: it makes only what it tags as this cluster's, and
changes only what is tagged so.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..security.policies import Statement, allow, deny_insecure_transport

LONGEST = 6144
"""Characters of a managed policy without white space (IAM user guide, "IAM and AWS STS quotas")."""

INTERRUPTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "health": {"source": "aws.health", "detail-type": "AWS Health Event"},
        "spot": {"source": "aws.ec2", "detail-type": "EC2 Spot Instance Interruption Warning"},
        "rebalance": {"source": "aws.ec2", "detail-type": "EC2 Instance Rebalance Recommendation"},
        "state": {"source": "aws.ec2", "detail-type": "EC2 Instance State-change Notification"},
        "reservation": {"source": "aws.ec2", "detail-type": "EC2 Capacity Reservation Instance Interruption Warning"},
    }
)
"""Events that announce the end of an instance, by what they are of; each goes to the queue by a rule of its own."""

_NODE_POOL = "karpenter.sh/nodepool"
_NODE_CLASS = "karpenter.k8s.aws/ec2nodeclass"
_CLUSTER = "eks:eks-cluster-name"
_REGION = "topology.kubernetes.io/region"
_DISCOVERY = (
    "ec2:DescribeCapacityReservations",
    "ec2:DescribeImages",
    "ec2:DescribeInstances",
    "ec2:DescribeInstanceStatus",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribePlacementGroups",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSpotPriceHistory",
    "ec2:DescribeSubnets",
)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Where and for which cluster."""

    partition: str
    region: str
    account_id: str
    cluster_name: str
    node_role_arn: str
    queue_arn: str

    def ec2(self, *kinds: str, account: str = "*") -> list[str]:
        """ARNs of all resources of EC2 of these kinds; Karpenter narrows them by tags."""
        return [f"arn:{self.partition}:ec2:{self.region}:{account}:{kind}/*" for kind in kinds]

    @property
    def cluster_arn(self) -> str:
        """ARN of the cluster."""
        return f"arn:{self.partition}:eks:{self.region}:{self.account_id}:cluster/{self.cluster_name}"

    @property
    def profiles(self) -> str:
        """ARN of all instance profiles."""
        return f"arn:{self.partition}:iam::{self.account_id}:instance-profile/*"

    @property
    def owned(self) -> str:
        """Tag of what belongs to the cluster."""
        return f"kubernetes.io/cluster/{self.cluster_name}"


def encoded(statements: Sequence[Statement]) -> str:
    """A policy as JSON.

    Raises ValueError when IAM would not take it for its length.
    """
    text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, sort_keys=True, separators=(",", ":"))
    if len(text) > LONGEST:
        raise ValueError(
            f"a policy of Karpenter has {len(text)} characters, and IAM takes {LONGEST}; use a shorter name for the cluster"
        )
    return text


def _node_lifecycle(scope: Scope) -> list[Statement]:
    launch = ["ec2:RunInstances", "ec2:CreateFleet"]
    made = scope.ec2("fleet", "instance", "volume", "network-interface", "launch-template", "spot-instances-request")
    asked = {f"aws:RequestTag/{scope.owned}": "owned", f"aws:RequestTag/{_CLUSTER}": scope.cluster_name}
    asked_pool = {f"aws:RequestTag/{_NODE_POOL}": "*"}
    own = {f"aws:ResourceTag/{scope.owned}": "owned"}
    own_pool = {f"aws:ResourceTag/{_NODE_POOL}": "*"}
    return [
        allow(
            launch,
            [
                *scope.ec2("image", "snapshot", account=""),
                *scope.ec2("security-group", "subnet", "capacity-reservation", "placement-group"),
            ],
            sid="AllowScopedEC2InstanceAccessActions",
        ),
        allow(
            launch,
            scope.ec2("launch-template"),
            conditions={"StringEquals": own, "StringLike": own_pool},
            sid="AllowScopedEC2LaunchTemplateAccessActions",
        ),
        allow(
            [*launch, "ec2:CreateLaunchTemplate"],
            made,
            conditions={"StringEquals": asked, "StringLike": asked_pool},
            sid="AllowScopedEC2InstanceActionsWithTags",
        ),
        allow(
            ["ec2:CreateTags"],
            made,
            conditions={
                "StringEquals": {**asked, "ec2:CreateAction": ["RunInstances", "CreateFleet", "CreateLaunchTemplate"]},
                "StringLike": asked_pool,
            },
            sid="AllowScopedResourceCreationTagging",
        ),
        allow(
            ["ec2:CreateTags"],
            scope.ec2("instance"),
            conditions={
                "StringEquals": own,
                "StringLike": own_pool,
                "StringEqualsIfExists": {f"aws:RequestTag/{_CLUSTER}": scope.cluster_name},
                "ForAllValues:StringEquals": {"aws:TagKeys": [_CLUSTER, "karpenter.sh/nodeclaim", "Name"]},
            },
            sid="AllowScopedResourceTagging",
        ),
        allow(
            ["ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"],
            scope.ec2("instance", "launch-template"),
            conditions={"StringEquals": own, "StringLike": own_pool},
            sid="AllowScopedDeletion",
        ),
    ]


def _iam_integration(scope: Scope) -> list[Statement]:
    own = {f"aws:ResourceTag/{scope.owned}": "owned", f"aws:ResourceTag/{_REGION}": scope.region}
    asked = {
        f"aws:RequestTag/{scope.owned}": "owned",
        f"aws:RequestTag/{_CLUSTER}": scope.cluster_name,
        f"aws:RequestTag/{_REGION}": scope.region,
    }
    own_class, asked_class = {f"aws:ResourceTag/{_NODE_CLASS}": "*"}, {f"aws:RequestTag/{_NODE_CLASS}": "*"}
    return [
        allow(
            ["iam:PassRole"],
            scope.node_role_arn,
            conditions={"StringEquals": {"iam:PassedToService": ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"]}},
            sid="AllowPassingInstanceRole",
        ),
        allow(
            ["iam:CreateInstanceProfile"],
            scope.profiles,
            conditions={"StringEquals": asked, "StringLike": asked_class},
            sid="AllowScopedInstanceProfileCreationActions",
        ),
        allow(
            ["iam:TagInstanceProfile"],
            scope.profiles,
            conditions={"StringEquals": own | asked, "StringLike": own_class | asked_class},
            sid="AllowScopedInstanceProfileTagActions",
        ),
        allow(
            ["iam:AddRoleToInstanceProfile", "iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile"],
            scope.profiles,
            conditions={"StringEquals": own, "StringLike": own_class},
            sid="AllowScopedInstanceProfileActions",
        ),
    ]


def _eks_integration(scope: Scope) -> list[Statement]:
    return [allow(["eks:DescribeCluster"], scope.cluster_arn, sid="AllowAPIServerEndpointDiscovery")]


def _interruption(scope: Scope) -> list[Statement]:
    actions = ["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"]
    return [allow(actions, scope.queue_arn, sid="AllowInterruptionQueueActions")]


def _zonal_shift(scope: Scope) -> list[Statement]:
    named = {"StringEquals": {"arc-zonal-shift:ResourceIdentifier": scope.cluster_arn}}
    return [allow(["arc-zonal-shift:GetManagedResource"], "*", conditions=named, sid="AllowZonalShiftStatusReadOnly")]


def _resource_discovery(scope: Scope) -> list[Statement]:
    return [
        allow(
            _DISCOVERY,
            "*",
            conditions={"StringEquals": {"aws:RequestedRegion": scope.region}},
            sid="AllowRegionalReadActions",
        ),
        allow(
            ["ssm:GetParameter"],
            f"arn:{scope.partition}:ssm:{scope.region}::parameter/aws/service/*",
            sid="AllowSSMReadActions",
        ),
        allow(["pricing:GetProducts"], "*", sid="AllowPricingReadActions"),
        allow(["iam:ListInstanceProfiles"], scope.profiles, sid="AllowInstanceProfileListAction"),
        allow(["iam:GetInstanceProfile"], scope.profiles, sid="AllowInstanceProfileReadActions"),
    ]


POLICIES: Mapping[str, Callable[[Scope], list[Statement]]] = MappingProxyType(
    {
        "node-lifecycle": _node_lifecycle,
        "iam-integration": _iam_integration,
        "eks-integration": _eks_integration,
        "interruption": _interruption,
        "zonal-shift": _zonal_shift,
        "resource-discovery": _resource_discovery,
    }
)
"""The policies of the controller by their role: one alone would be too long for IAM."""


def queue_statements(queue_arn: Any, rule_arns: Sequence[Any]) -> list[Statement]:
    """Who may use the queue: EventBridge writes to it, from the rules of this cluster only, and nobody without TLS.

    The values may be outputs.
    """
    return [
        allow(
            ["sqs:SendMessage"],
            queue_arn,
            principals={"Service": "events.amazonaws.com"},
            conditions={"ArnEquals": {"aws:SourceArn": rule_arns}},
            sid="EventsOfInterruptions",
        ),
        deny_insecure_transport(["sqs:*"], queue_arn),
    ]
