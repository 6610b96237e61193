"""Policies: one text for one meaning, refused when a reviewer would, and none of ours refused."""

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components.security.policies import Statement, allow, check_scoped, document, pod_identity_trust, trust
from components.storage import reader_statements, writer_statements
from tests.contracts.examples import EXAMPLES, build
from tests.recorder import record

ACCOUNT = "123456789012"
BUCKET = "arn:aws:s3:::models-1"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"


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
