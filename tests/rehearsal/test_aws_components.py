"""The network and what holds data on AWS, by the real engine in an emulated account: made, changed without loss, gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = pytest.mark.rehearsal

PROGRAM = """
import pulumi, pulumi_aws as aws
from components.cluster import Network, flow_log_group
from components.security import EncryptionKey, KeyUse, PodIdentity
from components.storage import EfsFileSystem, LustreFileSystem, ModelBucket, writer_statements

config = pulumi.Config()
zones = [f"us-east-1{letter}" for letter in config.require("zones")]
on_aws = pulumi.ResourceOptions(provider=aws.Provider("aws", region="us-east-1", default_tags={"tags": {"team": "other"}}))
kept = {"protect": False}

key = EncryptionKey(
    "key", {"description": "everything", "uses": list(KeyUse), "log_groups": [flow_log_group("net")], **kept}, on_aws
)
encrypted = {"kms_key_arn": key.key_arn, **kept}
network = Network(
    "net",
    {
        "cidr": "10.40.0.0/16",
        "zones": zones,
        "kms_key_arn": key.key_arn,
        "cluster_names": ["llm"],
        "interface_endpoints": config.require("endpoints").split(),
    },
    on_aws,
)
nodes = aws.ec2.SecurityGroup("nodes", vpc_id=network.vpc_id, description="nodes", opts=on_aws)
mounted = {"vpc_id": network.vpc_id, "client_security_group_ids": {"nodes": nodes.id}, **encrypted}
directories = config.require("directories").split()
EfsFileSystem("efs", {"subnet_ids": dict(network.private_subnets), "access_points": directories, **mounted}, on_aws)
place = {"subnet_id": network.private_subnets["us-east-1a"], **mounted}
LustreFileSystem("lustre", {"capacity_gib": config.require_int("gib"), **place}, on_aws)
LustreFileSystem("efa", {"capacity_gib": 4800, "throughput_mb_per_tib": 1000, "efa": True, **place}, on_aws)
bucket = ModelBucket("bucket", encrypted, on_aws)
PodIdentity(
    "server",
    {
        "cluster_name": "llm",
        "statements": writer_statements(bucket.bucket_arn, key.key_arn, "qwen"),
        "managed_policies": ["AmazonEKS_CNI_Policy"],
    },
    on_aws,
)
"""

SETTINGS = {
    "sandbox:region": "us-east-1",
    "other-team:zones": "ab",
    "other-team:endpoints": "sts ecr.api",
    "other-team:directories": "qwen",
    "other-team:gib": "1200",
}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[RehearsedProject]:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text().replace("name: llm-platform", "name: other-team"))
    (tmp_path / "__main__.py").write_text(PROGRAM)
    (tmp_path / "stacks/Pulumi.data.yaml").write_text(yaml.safe_dump({"config": SETTINGS}))
    project = RehearsedProject(tmp_path, ROOT, "data")
    yield project
    project.run("reset")


def test_changes_replace_nothing_and_nothing_is_left(project: RehearsedProject) -> None:
    project.succeed("up")
    project.edit(
        lambda config: config.update(
            {
                "other-team:zones": "abc",
                "other-team:directories": "qwen llama",
                "other-team:gib": "2400",
                "other-team:endpoints": "sts",
            }
        )
    )
    changes = project.changes()
    assert {name: op for name, op in changes.items() if op != "create"} == {
        "LustreFileSystem lustre-file-system": "update",
        "VpcEndpoint net-endpoint-ecr.api": "delete",
        "VpcEndpoint net-endpoint-s3": "update",
        "VpcEndpoint net-endpoint-sts": "update",
    }
    made = {name for name, op in changes.items() if op == "create"}
    assert {name for name in made if "us-east-1c" not in name} == {"AccessPoint efs-access-point-llama"}
    project.succeed("up")
    assert project.changes() == {}
    # The account refuses to delete what is in use, so this proves the order; `down` itself looks for what is left.
    project.succeed("down")
