"""The judges of stacks judge: faults put into a program are found, and gone when the program is mended."""

import json
from functools import partial
from pathlib import Path

import pulumi
import pulumi_aws as aws
import pytest
import yaml

from tests.judges import exceptions, policies, programs
from tests.judges.exceptions import Exemption, Finding
from tests.judges.terraform_plan import plan
from tests.recorder import Recording, Registration, record

EXPECTED = {
    ("CKV_AWS_7", "aws_kms_key.key"),
    ("CKV_AWS_24", "aws_vpc_security_group_ingress_rule.ssh"),
    ("CKV_AWS_27", "aws_sqs_queue.queue"),
    ("CKV_AWS_37", "aws_eks_cluster.cluster"),
    ("CKV_AWS_38", "aws_eks_cluster.cluster"),
    ("CKV_AWS_39", "aws_eks_cluster.cluster"),
    ("CKV_AWS_58", "aws_eks_cluster.cluster"),
    ("CKV_AWS_79", "aws_launch_template.template"),
    ("CKV_AWS_145", "aws_s3_bucket.bucket"),
    ("CKV_AWS_338", "aws_cloudwatch_log_group.logs"),
    ("CKV2_AWS_5", "aws_security_group.group"),
    ("CKV2_AWS_6", "aws_s3_bucket.bucket"),
    ("CKV2_AWS_61", "aws_s3_bucket.bucket"),
}
"""Checks that the program fails while it is bad, and passes once it is mended."""

_LOGS = ["api", "audit", "authenticator", "controllerManager", "scheduler"]


def _program(*, mended: bool) -> None:
    provider = aws.Provider("aws", region="us-east-1")
    options = pulumi.ResourceOptions(provider=provider)
    key = aws.kms.Key("key", enable_key_rotation=mended, policy=_policy("kms:Decrypt", mended), opts=options)
    vpc = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=options)
    group = aws.ec2.SecurityGroup("group", vpc_id=vpc.id, description="Of the cluster", opts=options)
    aws.vpc.SecurityGroupIngressRule(
        "ssh",
        security_group_id=group.id,
        cidr_ipv4="10.0.0.0/16" if mended else "0.0.0.0/0",
        ip_protocol="tcp",
        from_port=22,
        to_port=22,
        description="Administrators",
        opts=options,
    )
    # Of the same name as the group, and so with the same id in a recording.
    role = aws.iam.Role("group", assume_role_policy=_policy("sts:AssumeRole", mended), opts=options)
    aws.eks.Cluster(
        "cluster",
        role_arn=role.arn,
        version="1.35",
        enabled_cluster_log_types=_LOGS if mended else _LOGS[:1],
        encryption_config={"provider": {"key_arn": key.arn}, "resources": ["secrets"]} if mended else None,
        vpc_config={
            "subnet_ids": ["subnet-1", "subnet-2"],
            "security_group_ids": [group.id] if mended else [],
            "endpoint_private_access": True,
            "endpoint_public_access": not mended,
            "public_access_cidrs": [] if mended else ["0.0.0.0/0"],
        },
        opts=options,
    )
    aws.ec2.LaunchTemplate(
        "template",
        metadata_options={"http_endpoint": "enabled", "http_tokens": "required" if mended else "optional"},
        opts=options,
    )
    aws.sqs.Queue("queue", sqs_managed_sse_enabled=mended, opts=options)
    aws.cloudwatch.LogGroup("logs", retention_in_days=365 if mended else 30, opts=options)
    bucket = aws.s3.Bucket("bucket", opts=options)
    if mended:
        _mend(bucket, key, options)


def _mend(bucket: aws.s3.Bucket, key: aws.kms.Key, options: pulumi.ResourceOptions) -> None:
    block = aws.s3.BucketPublicAccessBlock(
        "block",
        bucket=bucket.bucket,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=options,
    )
    aws.s3.BucketServerSideEncryptionConfiguration(
        "encryption",
        bucket=bucket.bucket,
        rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms", "kms_master_key_id": key.arn}}],
        opts=options,
    )
    aws.s3.BucketLifecycleConfiguration(
        "lifecycle",
        # Through another resource, as where the order matters.
        bucket=block.bucket,
        rules=[{"id": "old", "status": "Enabled", "filter": {"prefix": ""}, "expiration": {"days": 30}}],
        opts=options,
    )


def _policy(action: str, mended: bool) -> str:
    statement = {"Sid": "Use", "Effect": "Allow", "Principal": {"Service": "eks.amazonaws.com"}, "Action": action}
    if mended:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def recordings() -> dict[str, Recording]:
    return {name: record(partial(_program, mended=mended)) for name, mended in {"bad": False, "mended": True}.items()}


def test_checkov_tells_a_bad_program_from_its_mended_twin(recordings: dict[str, Recording], tmp_path: Path) -> None:
    for name, recording in recordings.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(plan(recording.resources)))
    passed, failed = programs.checkov("terraform_plan", tmp_path)
    assert {(finding.check, finding.resource) for finding in failed if finding.stack == "bad"} >= EXPECTED
    assert {(finding.check, finding.resource) for finding in passed if finding.stack == "mended"} >= EXPECTED


def test_the_judge_of_policies_tells_them_too(recordings: dict[str, Recording]) -> None:
    found = policies.judge("bad", recordings["bad"].resources)
    assert {finding.resource for finding in found} == {"aws_kms_key.key", "aws_iam_role.group"}
    assert policies.judge("mended", recordings["mended"].resources) == set()


def test_a_plan_has_terraforms_names_and_shapes(recordings: dict[str, Recording]) -> None:
    document = plan(recordings["mended"].resources)
    values = {each["address"]: each["values"] for each in document["planned_values"]["root_module"]["resources"]}
    written = {each["address"]: each["expressions"] for each in document["configuration"]["root_module"]["resources"]}
    assert values["aws_launch_template.template"]["metadata_options"] == [{"http_endpoint": "enabled", "http_tokens": "required"}]
    assert values["aws_cloudwatch_log_group.logs"]["retention_in_days"] == 365
    assert "role_arn" not in values["aws_eks_cluster.cluster"]
    assert written["aws_eks_cluster.cluster"]["role_arn"] == {"references": ["aws_iam_role.group.arn", "aws_iam_role.group"]}
    (vpc,) = written["aws_eks_cluster.cluster"]["vpc_config"]
    assert vpc["security_group_ids"] == {"references": ["aws_security_group.group.id", "aws_security_group.group"]}
    assert values["aws_s3_bucket_lifecycle_configuration.lifecycle"]["rule"][0]["expiration"] == [{"days": 30}]
    assert written["aws_s3_bucket_lifecycle_configuration.lifecycle"]["bucket"]["references"][1] == "aws_s3_bucket.bucket"


def test_a_type_without_entry_is_named() -> None:
    unknown = Registration("urn", "aws:rds/instance:Instance", "database", True, "", "", {})
    with pytest.raises(AssertionError, match="aws:rds/instance:Instance; add it to TYPES"):
        plan([unknown])


_FINDINGS = [Finding("dev", "C1", "a.one"), Finding("prod", "C1", "a.two")]


@pytest.mark.parametrize(
    ("exemption", "message"),
    [
        ({}, None),
        ({"stacks": ("dev", "prod")}, None),
        ({"resources": ("a.*",)}, None),
        ({"stacks": ("dev",)}, "findings that nothing explains"),
        ({"resources": ("a.one",)}, "findings that nothing explains"),
        ({"words": "another"}, "findings that nothing explains"),
        ({"stacks": ("dev", "prod", "staging")}, "exceptions that explain nothing"),
        ({"resources": ("a.*", "b.*")}, "exceptions that explain nothing"),
    ],
)
def test_exceptions_explain_neither_too_little_nor_too_much(exemption: dict[str, object], message: str | None) -> None:
    entry = Exemption.model_validate({"check": "C1", "reason": "a reason that is long enough", **exemption})
    if message is None:
        exceptions.check(_FINDINGS, [entry])
        return
    with pytest.raises(AssertionError, match=message):
        exceptions.check(_FINDINGS, [entry])


def test_checkov_judges_each_stack_alone(tmp_path: Path) -> None:
    """The policy of one stack must not hold for the pods of another that has the same names."""
    about = {"namespace": "models", "labels": {"app": "server"}}
    containers = [{"name": "main", "image": "registry.example/server:1"}]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "server", **about}, "spec": {"containers": containers}}
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "server", **about},
        "spec": {"podSelector": {"matchLabels": about["labels"]}, "policyTypes": ["Ingress"]},
    }
    (tmp_path / "open.yaml").write_text(yaml.safe_dump_all([pod]))
    (tmp_path / "closed.yaml").write_text(yaml.safe_dump_all([pod, policy]))
    passed, failed = programs.checkov("kubernetes", tmp_path)
    assert {finding.stack for finding in failed if finding.check == "CKV2_K8S_6"} == {"open"}
    assert {finding.stack for finding in passed if finding.check == "CKV2_K8S_6"} == {"closed"}
