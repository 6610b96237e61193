"""Policies: one text for one meaning, refused when a reviewer would, and none of ours refused."""

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components.security.policies import Conditions, Statement, allow, document, pod_identity_trust, trust
from components.security.scoped import check_scoped
from components.storage import reader_statements, writer_statements
from tests.contracts.examples import EXAMPLES, build
from tests.recorder import record

ACCOUNT = "123456789012"
BUCKET = "arn:aws:s3:::models-1"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/nodes"
ISSUER = "token.actions.githubusercontent.com"
GITHUB = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}"
SAML = f"arn:aws:iam::{ACCOUNT}:saml-provider/company"
COGNITO = "cognito-identity.amazonaws.com"


def federated(provider: str, conditions: Conditions) -> Statement:
    return allow(["sts:AssumeRoleWithWebIdentity"], principals={"Federated": provider}, conditions=conditions)


EVERYBODY: list[tuple[str, str, Conditions]] = [
    (GITHUB, f"{ISSUER}:sub", {}),
    (GITHUB, f"{ISSUER}:sub", {"StringEquals": {f"{ISSUER}:aud": "sts.amazonaws.com"}}),
    (GITHUB, f"{ISSUER}:sub", {"StringEquals": {"other.example.com:sub": "repo:example/llm"}}),
    (GITHUB, f"{ISSUER}:sub", {"StringEqualsIfExists": {f"{ISSUER}:sub": "repo:example/llm"}}),
    *[
        (GITHUB, f"{ISSUER}:sub", {"StringLike": {f"{ISSUER}:sub": sub}})
        for sub in (
            "*",
            "?*",
            "repo:*",
            "rep*",
            "*:ref:refs/heads/main",
            "system:serviceaccount:*:server",
            ["repo:example/llm", "*"],
        )
    ],
    (SAML, "SAML:aud", {}),
    (COGNITO, f"{COGNITO}:aud", {"StringLike": {f"{COGNITO}:amr": "authenticated"}}),
]
"""Trusts in an identity provider that do not say in whom of it, and the condition that would."""


def text(policy: Callable[[], pulumi.Output[str]]) -> str:
    """The text of a policy; outputs exist in a program only."""
    found: list[str] = []
    record(lambda: pulumi.export("policy", policy().apply(found.append)))
    return found[0]


def judged(statement: Statement) -> str:
    """What is wrong with a statement; nothing when it is accepted."""
    try:
        check_scoped(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    except ValueError as error:
        return str(error)
    return ""


def statements(policy: Callable[[], pulumi.Output[str]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text(policy))["Statement"]
    return found


def test_equal_policies_are_equal_text() -> None:
    def one() -> pulumi.Output[str]:
        bucket = pulumi.Output.from_input(BUCKET)
        return document(allow(["s3:PutObject", "s3:GetObject"], bucket, conditions={"Bool": {"b": "1", "a": "2"}}))

    def other() -> pulumi.Output[str]:
        return document(
            allow(["s3:GetObject", "s3:PutObject", "s3:GetObject"], BUCKET, conditions={"Bool": {"a": "2", "b": "1"}})
        )

    assert text(one) == text(other)
    assert text(one).startswith('{"Statement":[{"Action":["s3:GetObject","s3:PutObject"],"Condition":')


def test_a_service_trusted_with_a_role_uses_it_for_this_account_only() -> None:
    (flows,) = statements(lambda: trust("vpc-flow-logs.amazonaws.com", ACCOUNT, f"arn:aws:ec2:*:{ACCOUNT}:x/*"))
    assert flows["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnLike": {"aws:SourceArn": f"arn:aws:ec2:*:{ACCOUNT}:x/*"},
    }
    (nodes,) = statements(lambda: trust("ec2.amazonaws.com", ACCOUNT))
    assert "Condition" not in nodes
    (pods,) = statements(lambda: pod_identity_trust(ACCOUNT, f"arn:aws:eks:us-east-1:{ACCOUNT}:cluster/llm"))
    assert pods["Action"] == ["sts:AssumeRole", "sts:TagSession"]
    assert pods["Condition"]["ArnEquals"] == {"aws:SourceArn": f"arn:aws:eks:us-east-1:{ACCOUNT}:cluster/llm"}


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (allow(["*"], BUCKET), "* is every action; name those that are used"),
        (allow(["s3:*"], BUCKET), "s3:* is every action of s3; name those that are used"),
        (allow(["ec2:TerminateInstances"], "*"), "ec2:TerminateInstances on * reaches every resource"),
        (allow(["s3:GetObject"], "arn:aws:s3:::*/*"), "s3:GetObject on arn:aws:s3:::*/* reaches every resource"),
        (allow(["ec2:Describe*"], "*"), "ec2:Describe* on * reaches every resource"),
        (allow(["ec2:DescribeImages", "ec2:RunInstances"], "*"), "ec2:RunInstances on *"),
        (
            allow(["ec2:RunInstances"], "*", conditions={"StringEquals": {"aws:RequestedRegion": "us-east-1"}}),
            "reaches every resource",
        ),
        (
            allow(["ec2:RunInstances"], "*", conditions={"StringNotEquals": {"aws:ResourceTag/owner": "x"}}),
            "reaches every resource",
        ),
        (
            allow(["ec2:RunInstances"], "*", conditions={"StringEqualsIfExists": {"aws:ResourceTag/owner": "x"}}),
            "reaches every resource",
        ),
        (allow(["iam:PassRole"], "arn:aws:iam::123456789012:role/nodes"), "add the condition iam:PassedToService"),
        (allow(["iam:Pass*"], "arn:aws:iam::123456789012:role/nodes"), "add the condition iam:PassedToService"),
        ({"Effect": "Allow", "NotAction": ["iam:*"], "Resource": "*"}, "NotAction allows all that is not named"),
        (allow(["s3:GetObject"], BUCKET, principals="*"), "anybody may do it"),
        (allow(["s3:GetObject"], BUCKET, principals={"AWS": ["*"]}), "anybody may do it"),
        (allow(["sts:AssumeRole"], principals={"Service": "eks.amazonaws.com"}), "add the condition aws:SourceAccount"),
        *[
            (allow([action], BUCKET), f"{action} is every action of")
            for action in ("s3:?*", "iam:Create*", "iam:*Role", "iam:P*")
        ],
        *[
            (allow([action], resource), f"{action} on {resource} reaches every {kind}; name the resources")
            for action, resource, kind in (
                ("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:*", "secret"),
                ("ssm:GetParameter", f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/?*", "parameter"),
                ("kms:Decrypt", "arn:aws:kms:*:*:key/*", "key"),
                ("sts:AssumeRole", "arn:aws:iam::*:role/*", "role"),
                ("sts:AssumeRole", "arn:aws:iam::*:role*", "role*"),
                ("logs:PutLogEvents", "arn:aws:logs:*:*:log-group:*:log-stream:*", "log-group"),
                ("ec2:RunInstances", "arn:aws:ec2:us-east-1:*:instance/*", "instance"),
                ("s3:GetObject", "arn:aws:s3:::*/weights/*", "resource"),
                ("s3:GetObject", "?*", "resource"),
                ("s3:GetObject", "arn:aws:*", "resource"),
            )
        ],
        *[
            (allow(["s3:GetObject"], "*", conditions={operator: {key: value}}), "reaches every resource")
            for operator, key, value in (
                ("StringLike", "aws:PrincipalArn", "*"),
                ("StringLike", "aws:ResourceTag/team", ["models", "?*"]),
                ("IpAddress", "aws:SourceIp", "0.0.0.0/0"),
                ("IpAddress", "aws:SourceIp", ["0.0.0.0/1", "128.0.0.0/1"]),
                ("IpAddress", "aws:SourceIp", "::/0"),
                ("ArnLike", "aws:SourceArn", "arn:aws:s3:::*"),
                ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/*"),
            )
        ],
        *[
            (allow(["s3:GetObject"], BUCKET, principals="*", conditions={operator: condition}), "anybody may do it")
            for operator, condition in (
                ("StringLike", {"aws:PrincipalArn": "*"}),
                ("StringEquals", {"s3:prefix": "weights/"}),
                ("StringEquals", {"aws:PrincipalTag/team": "models"}),
                ("Bool", {"aws:PrincipalIsAWSService": "true"}),
            )
        ],
        (allow(["iam:PassRole"], ROLE, conditions={"StringLike": {"iam:PassedToService": "*"}}), "add the condition iam:Passed"),
        *[(federated(provider, conditions), f"add the condition {key}") for provider, key, conditions in EVERYBODY],
    ],
)
def test_what_a_reviewer_refuses(statement: Statement, sentence: str) -> None:
    assert sentence in judged(statement)


@pytest.mark.parametrize(
    "statement",
    [
        allow(["ec2:DescribeImages", "pricing:GetProducts"], "*"),
        allow(["ec2:TerminateInstances"], "*", conditions={"StringEquals": {"aws:ResourceTag/eks:eks-cluster-name": "llm"}}),
        allow(
            ["iam:PassRole"],
            "arn:aws:iam::1:role/nodes",
            conditions={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
        ),
        allow(["sts:AssumeRole"], principals={"Service": "ec2.amazonaws.com"}),
        *[
            allow([action], resource)
            for action, resource in (
                ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:llm/*"),
                ("ssm:GetParameter", "arn:aws:ssm:us-east-1::parameter/aws/service/*"),
                ("logs:PutLogEvents", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:flow-log:*"),
                ("logs:DescribeLogGroups", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:*"),
                (
                    "autoscaling:SetDesiredCapacity",
                    f"arn:aws:autoscaling:us-east-1:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/a",
                ),
                ("ec2:RunInstances", "arn:aws:ec2:us-east-1::image/*"),
                ("sqs:SendMessage", f"arn:aws:sqs:us-east-1:{ACCOUNT}:llm-*"),
                ("s3:GetObject*", f"{BUCKET}/*"),
                ("s3:List*", BUCKET),
                ("kms:GenerateDataKey*", KEY),
            )
        ],
        allow(["s3:GetObject"], BUCKET, principals="*", conditions={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
        allow(["s3:GetObject"], BUCKET, principals="*", conditions={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
        federated(GITHUB, {"StringLike": {f"{ISSUER}:sub": "repo:example/llm:*"}}),
        federated(GITHUB, {"StringLike": {f"{ISSUER}:sub": "system:serviceaccount:models:*"}}),
        federated(SAML, {"StringEquals": {"SAML:aud": "https://signin.aws.amazon.com/saml"}}),
        federated(COGNITO, {"StringEquals": {f"{COGNITO}:aud": "us-east-1:1"}}),
        allow(["kms:PutKeyPolicy"], "*", principals={"AWS": "arn:aws:iam::123456789012:root"}),
        {"Effect": "Deny", "Action": "*", "Resource": "*", "Principal": "*"},
    ],
)
def test_what_a_reviewer_accepts(statement: Statement) -> None:
    assert judged(statement) == ""


def policies(resource: Any) -> list[str]:
    """The policies among a resource's inputs."""
    return [resource.inputs[key] for key in ("policy", "assumeRolePolicy") if key in resource.inputs]


def test_every_policy_of_every_component_is_scoped() -> None:
    judged_policies = 0
    for component in EXAMPLES:
        for resource in record(lambda component=component: build(component)).resources:  # type: ignore[misc]
            for policy in policies(resource):
                check_scoped(policy, grants=resource.type != "aws:ec2/vpcEndpoint:VpcEndpoint")
                judged_policies += 1
    assert judged_policies >= 9


@pytest.mark.parametrize(("allowed", "sid"), [(reader_statements, "ReadObjects"), (writer_statements, "WriteObjects")])
def test_readers_and_writers_reach_their_prefix_only(allowed: Callable[..., list[Statement]], sid: str) -> None:
    found = {statement["Sid"]: statement for statement in statements(lambda: document(*allowed(BUCKET, KEY, "qwen/")))}
    assert found["ListObjects"]["Condition"] == {"StringLike": {"s3:prefix": ["qwen", "qwen/*"]}}
    assert found[sid]["Resource"] == f"{BUCKET}/qwen/*"
    assert not any("Delete" in action for statement in found.values() for action in statement["Action"])
    check_scoped(json.dumps({"Statement": list(found.values())}))
