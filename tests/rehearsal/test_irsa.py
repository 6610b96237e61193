"""Roles by the tokens a cluster signs, by the real engine: each for one service account, which names it; switched on and off."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from sandbox.aws.clusters import clusters
from sandbox.control_plane.api import Api
from sandbox.control_plane.pki import Pki
from tests.conftest import ROOT
from tests.rehearsal.project import RehearsedProject

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

PROGRAM = """
import pulumi, pulumi_aws as aws, pulumi_kubernetes as kubernetes
from components.cluster import EksCluster, Network, WorkloadIdentity, flow_log_group
from components.security import EncryptionKey, KeyUse
from components.storage import ModelBucket, ModelBucketAccess

config = pulumi.Config()
cloud = aws.Provider("aws", region="us-east-1")
on_aws = pulumi.ResourceOptions(provider=cloud)
zones = ["us-east-1a", "us-east-1b"]
logs = ["/aws/eks/llm/cluster", flow_log_group("net")]
key = EncryptionKey("key", {"description": "all", "uses": list(KeyUse), "log_groups": logs, "protect": False}, on_aws)
network = Network(
    "net", {"cidr": "10.40.0.0/16", "zones": zones, "kms_key_arn": key.key_arn, "cluster_names": ["llm"]}, on_aws
)
cluster = EksCluster(
    "cluster",
    {
        "cluster_name": "llm",
        "kubernetes_version": "1.35",
        "vpc_id": network.vpc_id,
        "vpc_cidr": network.vpc_cidr,
        "control_plane_subnet_ids": dict(network.control_plane_subnets),
        "node_subnet_ids": dict(network.private_subnets),
        "kms_key_arn": key.key_arn,
        "admin_principals": [config.require("admin")],
        "system_pool": {"instance_types": ["m7g.large"], "min_nodes": 1, "max_nodes": 1},
        "workload_identity": WorkloadIdentity(config.require("identity")),
        "protect": False,
    },
    on_aws,
)
inside = kubernetes.Provider("kubernetes", kubeconfig=cluster.kubeconfig, cluster_identifier=cluster.identifier)
namespace = kubernetes.core.v1.Namespace(
    "models", metadata={"name": "models"}, opts=pulumi.ResourceOptions(provider=inside)
)
bucket = ModelBucket("bucket", {"kms_key_arn": key.key_arn, "protect": False}, on_aws)
provider = cluster.oidc_provider
ModelBucketAccess(
    "qwen",
    {
        **({"oidc_provider": provider} if provider else {"cluster_name": cluster.cluster_name}),
        "namespace_name": namespace.metadata["name"],
        "bucket_arn": bucket.bucket_arn,
        "kms_key_arn": key.key_arn,
        "prefix": "models/qwen",
    },
    pulumi.ResourceOptions(providers={"aws": cloud, "kubernetes": inside}),
)
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[RehearsedProject]:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text().replace("name: llm-platform", "name: other-team"))
    (tmp_path / "__main__.py").write_text(PROGRAM)
    settings = {
        "sandbox:region": "us-east-1",
        "other-team:identity": "irsa",
        "other-team:admin": "arn:aws:iam::123456789012:user/moto",
    }
    (tmp_path / "stacks/Pulumi.irsa.yaml").write_text(yaml.safe_dump({"config": settings}))
    project = RehearsedProject(tmp_path, ROOT, "irsa")
    yield project
    project.run("reset")


def test_each_account_has_the_role_that_trusts_it_and_no_other(project: RehearsedProject) -> None:
    project.succeed("up")
    iam, eks = _client(project, "iam"), _client(project, "eks")
    (listed,) = iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    known = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=listed["Arn"])
    assert known["ClientIDList"] == ["sts.amazonaws.com"]
    issuer = eks.describe_cluster(name="llm")["cluster"]["identity"]["oidc"]["issuer"]
    assert f"https://{known['Url']}" == issuer

    accounts = _accounts(project)
    assert set(accounts) == {"qwen-reader", "qwen-writer"}
    roles = {name: account["annotations"]["eks.amazonaws.com/role-arn"] for name, account in accounts.items()}
    assert len(set(roles.values())) == 2
    for name, arn in roles.items():
        (statement,) = _trust(iam.get_role(RoleName=arn.rpartition("/")[2])["Role"])
        assert statement["Principal"] == {"Federated": listed["Arn"]}
        assert statement["Action"] == ["sts:AssumeRoleWithWebIdentity"]
        assert statement["Condition"] == {
            "StringEquals": {
                f"{known['Url']}:aud": "sts.amazonaws.com",
                f"{known['Url']}:sub": f"system:serviceaccount:models:{name}",
            }
        }
        assert accounts[name]["annotations"]["eks.amazonaws.com/sts-regional-endpoints"] == "true"
    assert project.changes() == {}

    # The agent instead: other accounts and roles, and IAM forgets the cluster's tokens.
    project.edit(lambda config: config.update({"other-team:identity": "podIdentity"}))
    project.succeed("up")
    assert iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == []
    associations = eks.list_pod_identity_associations(clusterName="llm", namespace="models")["associations"]
    given = {each["serviceAccount"] for each in associations}
    assert given == set(_accounts(project))
    told = [key for account in _accounts(project).values() for key in account.get("annotations", {})]
    assert not [key for key in told if key.startswith("eks.amazonaws.com/")]
    project.succeed("down")


def _client(project: RehearsedProject, service: str) -> Any:
    secret = {"aws_access_key_id": "rehearsal", "aws_secret_access_key": "rehearsal"}
    return boto3.client(service, endpoint_url=project.account().endpoint, region_name="us-east-1", **secret)


def _accounts(project: RehearsedProject) -> dict[str, Any]:
    """Metadata of the service accounts of models, by name."""
    kubeconfig = clusters(project.account().home)["llm"]
    server = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    found = Api(server, Pki(kubeconfig.parent / "pki"), "admin").items("/api/v1/namespaces/models/serviceaccounts")
    return {each["metadata"]["name"]: each["metadata"] for each in found if each["metadata"]["name"] != "default"}


def _trust(role: dict[str, Any]) -> list[dict[str, Any]]:
    document = role["AssumeRolePolicyDocument"]
    statements: list[dict[str, Any]] = (json.loads(document) if isinstance(document, str) else document)["Statement"]
    return statements
