"""What the AWS Load Balancer Controller may do in AWS, where it makes Network Load Balancers for Services alone. Pure; values may
be outputs.

The project's own policy (kubernetes-sigs/aws-load-balancer-controller docs/install/iam_policy.json) without what is for Ingress,
Gateway API, web firewalls, Shield and Cognito, and narrower: where that one asks whether there is a tag with the name of a
cluster, this one asks for the name of the one.
"""

from collections.abc import Sequence

import pulumi

from ..cloud import Cloud
from ..security.policies import Conditions, Statement, allow

_TAG = "elbv2.k8s.aws/cluster"
"""Tag of all that the controller makes, with the name of its cluster (docs/guide/service/annotations.md, "AWS Resource Tags")."""
_LINKED = "elasticloadbalancing.amazonaws.com"
_READS = (
    "ec2:DescribeAccountAttributes",
    "ec2:DescribeAddresses",
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeInstances",
    "ec2:DescribeInternetGateways",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeTags",
    "ec2:DescribeVpcPeeringConnections",
    "ec2:DescribeVpcs",
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
)
"""None of them takes a resource (AWS service authorization reference)."""


def controller_statements(
    here: Cloud,
    cluster_name: pulumi.Input[str],
    vpc_id: pulumi.Input[str],
    security_group_ids: Sequence[pulumi.Input[str]],
) -> list[Statement]:
    """Its rights: it reads what there is, makes what it tags as this cluster's, and changes only what is tagged so.

    Beside its own security groups it changes those named: nodes let through what comes from its load balancers.
    """
    asked: Conditions = {"StringEquals": {f"aws:RequestTag/{_TAG}": cluster_name}}
    own: Conditions = {"StringEquals": {f"aws:ResourceTag/{_TAG}": cluster_name}}
    kept: Conditions = {**own, "Null": {f"aws:RequestTag/{_TAG}": "true"}}
    """Of its own, and what the tag says stays."""
    groups = here.arn("ec2", "security-group/*")
    vpc = here.arn("ec2", pulumi.Output.concat("vpc/", vpc_id))
    balancers, targets, listeners = (
        here.arn("elasticloadbalancing", kind) for kind in ("loadbalancer/net/*/*", "targetgroup/*/*", "listener/net/*/*/*")
    )
    linked = pulumi.Output.format("arn:{0}:iam::{1}:role/aws-service-role/{2}/*", here.partition, here.account_id, _LINKED)
    return [
        allow(
            ["iam:CreateServiceLinkedRole"],
            linked,
            conditions={"StringEquals": {"iam:AWSServiceName": _LINKED}},
            sid="CreateServiceLinkedRole",
        ),
        allow(_READS, "*", sid="Read"),
        allow(["ec2:GetSecurityGroupsForVpc"], vpc, sid="ReadVpc"),
        allow(["ec2:CreateSecurityGroup"], vpc, sid="CreateSecurityGroupInVpc"),
        allow(["ec2:CreateSecurityGroup"], groups, conditions=asked, sid="CreateSecurityGroup"),
        allow(
            ["ec2:CreateTags"],
            groups,
            conditions={"StringEquals": {**asked["StringEquals"], "ec2:CreateAction": "CreateSecurityGroup"}},
            sid="TagNewSecurityGroup",
        ),
        allow(["ec2:CreateTags", "ec2:DeleteTags"], groups, conditions=kept, sid="TagSecurityGroup"),
        allow(
            ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress", "ec2:DeleteSecurityGroup"],
            groups,
            conditions=own,
            sid="ChangeSecurityGroup",
        ),
        allow(
            ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"],
            [here.arn("ec2", pulumi.Output.concat("security-group/", group)) for group in security_group_ids],
            sid="OpenNodes",
        ),
        allow(["elasticloadbalancing:CreateLoadBalancer"], balancers, conditions=asked, sid="CreateLoadBalancer"),
        allow(["elasticloadbalancing:CreateTargetGroup"], targets, conditions=asked, sid="CreateTargetGroup"),
        allow(["elasticloadbalancing:CreateListener"], balancers, conditions=own, sid="CreateListener"),
        allow(
            ["elasticloadbalancing:AddTags"],
            [balancers, targets, listeners],
            conditions={
                "StringEquals": {
                    **asked["StringEquals"],
                    "elasticloadbalancing:CreateAction": ["CreateLoadBalancer", "CreateTargetGroup", "CreateListener"],
                }
            },
            sid="TagNew",
        ),
        allow(
            ["elasticloadbalancing:AddTags", "elasticloadbalancing:RemoveTags"],
            [balancers, targets, listeners],
            conditions=kept,
            sid="Tag",
        ),
        allow(
            [
                "elasticloadbalancing:DeleteLoadBalancer",
                "elasticloadbalancing:ModifyCapacityReservation",
                "elasticloadbalancing:ModifyLoadBalancerAttributes",
                "elasticloadbalancing:SetIpAddressType",
                "elasticloadbalancing:SetSecurityGroups",
                "elasticloadbalancing:SetSubnets",
            ],
            balancers,
            conditions=own,
            sid="ChangeLoadBalancer",
        ),
        allow(
            [
                "elasticloadbalancing:DeleteTargetGroup",
                "elasticloadbalancing:DeregisterTargets",
                "elasticloadbalancing:ModifyTargetGroup",
                "elasticloadbalancing:ModifyTargetGroupAttributes",
                "elasticloadbalancing:RegisterTargets",
            ],
            targets,
            conditions=own,
            sid="ChangeTargetGroup",
        ),
        allow(
            [
                "elasticloadbalancing:AddListenerCertificates",
                "elasticloadbalancing:DeleteListener",
                "elasticloadbalancing:ModifyListener",
                "elasticloadbalancing:ModifyListenerAttributes",
                "elasticloadbalancing:RemoveListenerCertificates",
            ],
            listeners,
            conditions=own,
            sid="ChangeListener",
        ),
    ]
