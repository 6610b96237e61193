"""What is said to be left of a stack in AWS."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from typer.testing import CliRunner

from report.__main__ import app
from report.leaks import left
from tests.conftest import ROOT

CLUSTER = "llm-prod"
OURS = {"llm-platform/cluster": CLUSTER}
OWNED = {f"kubernetes.io/cluster/{CLUSTER}": "owned"}


@pytest.fixture(autouse=True)
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.Session(region_name="us-east-1")


def _tags(tags: dict[str, str], of: str = "") -> Any:
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    return [{"ResourceType": of, "Tags": listed}] if of else listed


def _instance(session: Any, tags: dict[str, str]) -> str:
    ec2 = session.client("ec2")
    (image, *_) = ec2.describe_images(Owners=["amazon"])["Images"]
    tagged = _tags(tags, "instance")
    (made,) = ec2.run_instances(ImageId=image["ImageId"], MinCount=1, MaxCount=1, TagSpecifications=tagged)["Instances"]
    return str(made["InstanceId"])


def test_an_account_without_the_stack_has_nothing_of_it(session: Any) -> None:
    session.client("ec2").create_volume(AvailabilityZone="us-east-1a", Size=1, TagSpecifications=_tags({"team": "ml"}, "volume"))
    session.client("logs").create_log_group(logGroupName="/aws/eks/another/cluster")
    assert left(session, CLUSTER) == []


def test_what_controllers_have_made_is_leaked_and_what_holds_models_is_kept(session: Any) -> None:
    ec2 = session.client("ec2")
    ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, TagSpecifications=_tags(OWNED, "volume"))
    balancers = _tags({"elbv2.k8s.aws/cluster": CLUSTER}, "security-group")
    ec2.create_security_group(GroupName="k8s-traffic", Description="of a gateway", TagSpecifications=balancers)
    _instance(session, {"eks:eks-cluster-name": CLUSTER})
    session.client("logs").create_log_group(logGroupName=f"/aws/eks/{CLUSTER}/cluster")
    session.client("s3").create_bucket(Bucket="models")
    session.client("s3").put_bucket_tagging(Bucket="models", Tagging={"TagSet": _tags(OURS)})
    session.client("kms").create_key(Tags=[{"TagKey": key, "TagValue": value} for key, value in OURS.items()])
    found = left(session, CLUSTER)
    assert [(each.kind, each.leaked) for each in found] == [
        ("EBS volume", True),
        ("instance", True),
        ("log group", True),
        ("security group", True),
        ("bucket", False),
        ("key", False),
    ]


def test_an_instance_that_has_ended_is_not_left(session: Any) -> None:
    session.client("ec2").terminate_instances(InstanceIds=[_instance(session, OWNED)])
    assert left(session, CLUSTER) == []


def test_the_command_leaves_out_what_the_state_knows(session: Any, tmp_path: Path) -> None:
    name = yaml.safe_load((ROOT / "stacks/Pulumi.prod.yaml").read_text())["config"]["llm-platform:cluster"]["name"]
    group = f"/aws/eks/{name}/cluster"
    session.client("logs").create_log_group(logGroupName=group)
    asked = CliRunner().invoke(app, ["leaks", "prod", "--json"])
    (found,) = json.loads(asked.stdout)
    assert (asked.exit_code, found["kind"]) == (1, "log group")

    state = tmp_path / "state.json"
    state.write_text(json.dumps({"deployment": {"resources": [{"outputs": {"arn": found["arn"]}}]}}))
    asked = CliRunner().invoke(app, ["leaks", "prod", "--state", str(state)])
    assert (asked.exit_code, asked.stdout) == (0, "prod: nothing is left\n")


def test_a_stack_without_aws_is_told_so() -> None:
    asked = CliRunner().invoke(app, ["leaks", "local"])
    assert "the stack makes nothing in AWS" in str(asked.exception)
