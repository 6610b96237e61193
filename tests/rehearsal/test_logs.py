"""Both stores of logs by the real engine: they come up, take new settings without a restart, and leave nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pulumi
import pulumi_kubernetes as k8s
import pytest
import yaml

from components.logging import LogCollector, LogStore, log_group
from components.logging.pipeline import CONFIG_FILE
from sandbox.aws.clusters import clusters
from sandbox.control_plane import ControlPlane, NodeGroup
from sandbox.control_plane.api import Api as ClusterApi
from sandbox.control_plane.pki import Pki
from tests.conftest import ROOT
from tests.rehearsal.kubernetes_support import Api, Program, Run, StackUnderTest, options
from tests.rehearsal.project import RehearsedProject
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
GROUPS = [
    NodeGroup(name="system", cpu=8, memory="32Gi", labels={"pool": "system"}),
    NodeGroup.model_validate({"name": "gpu", "cpu": 8, "memory": "32Gi", "labels": {"pool": "gpu"}, "taints": [TAINT]}),
]
LEVELS = {"monitoring": "restricted", "node-agents": "privileged"}
COLLECTORS = "/api/v1/namespaces/node-agents/pods"
SETTINGS = "/api/v1/namespaces/node-agents/configmaps/log-collector"


def program(plane: ControlPlane, excluded: list[str]) -> Program:
    def run() -> None:
        provider = k8s.Provider("cluster", kubeconfig=plane.kubeconfig.read_text(), cluster_identifier="test")
        disks = k8s.storage.v1.StorageClass(
            "disks",
            metadata={"name": "disks"},
            provisioner="ebs.csi.aws.com",
            volume_binding_mode="WaitForFirstConsumer",
            opts=options(provider),
        )
        places = {
            name: k8s.core.v1.Namespace(
                name, metadata={"name": name, "labels": {"pod-security.kubernetes.io/enforce": level}}, opts=options(provider)
            ).metadata["name"]
            for name, level in LEVELS.items()
        }
        inside = pulumi.ResourceOptions(providers={"kubernetes": provider})
        LogStore(
            "loki",
            {
                "namespace_name": places["monitoring"],
                "storage_class_name": disks.metadata["name"],
                "system_labels": {"pool": "system"},
            },
            inside,
        )
        LogCollector(
            "logs",
            {"namespace_name": places["node-agents"], "loki_host": "loki.monitoring.svc", "excluded_namespaces": excluded},
            inside,
        )

    return run


def done(run: Run) -> Run:
    assert run.succeeded, run.errors
    return run


def changes(run: Run) -> dict[str, list[str]]:
    return {name: what for name, what in run.operations.items() if what != ["same"]}


def test_loki_and_its_collectors_come_up_and_leave_nothing(stack: StackUnderTest, control_plane: ControlPlane) -> None:
    api = Api(control_plane.kubeconfig)
    done(stack.up(program(control_plane, [])))

    def collectors() -> dict[str, str]:
        pods = api.call("GET", COLLECTORS)["items"]
        return {pod["spec"]["nodeName"]: pod["metadata"]["uid"] for pod in pods if _is_ready(pod)}

    eventually(lambda: collectors().keys() == {"system-0", "gpu-0"})
    before = collectors()
    (pod, *_) = api.call("GET", COLLECTORS)["items"]
    assert {each["name"]: each.get("hostPath", {}).get("path") for each in pod["spec"]["volumes"]}.items() >= {
        ("logs", "/var/log"),
        ("state", "/var/fluent-bit/state"),
    }
    (claim,) = api.call("GET", "/api/v1/namespaces/monitoring/persistentvolumeclaims")["items"]
    assert (claim["status"]["phase"], claim["spec"]["resources"]["requests"]) == ("Bound", {"storage": "50Gi"})
    assert changes(done(stack.up(program(control_plane, [])))) == {}

    # Other settings are one other object, and no collector restarts.
    told = changes(done(stack.up(program(control_plane, ["kube-system"]))))
    assert told.keys() == {"logs-settings"}
    assert "*_kube-system_*" in api.call("GET", SETTINGS)["data"][CONFIG_FILE]
    assert collectors() == before

    done(stack.destroy())
    eventually(lambda: api.call("GET", "/api/v1/persistentvolumeclaims")["items"] == [])
    assert api.call("GET", "/apis/apps/v1/daemonsets")["items"] == []


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))


PROGRAM = """
import pulumi, pulumi_aws as aws, pulumi_kubernetes as kubernetes
from components.cluster import EksCluster, Network, flow_log_group
from components.logging import LogCollector, log_group
from components.security import EncryptionKey, KeyUse

config = pulumi.Config()
cloud = aws.Provider("aws", region="us-east-1")
on_aws = pulumi.ResourceOptions(provider=cloud)
logs = ["/aws/eks/llm/cluster", flow_log_group("net"), log_group("llm")]
key = EncryptionKey("key", {"description": "all", "uses": list(KeyUse), "log_groups": logs, "protect": False}, on_aws)
zones = ["us-east-1a", "us-east-1b"]
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
        "protect": False,
    },
    on_aws,
)
inside = kubernetes.Provider("kubernetes", kubeconfig=cluster.kubeconfig, cluster_identifier=cluster.identifier)
agents = kubernetes.core.v1.Namespace(
    "node-agents",
    metadata={"name": "node-agents", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
    opts=pulumi.ResourceOptions(provider=inside),
)
LogCollector(
    "logs",
    {
        "namespace_name": agents.metadata["name"],
        "cloud_watch": {"cluster_name": "llm", "kms_key_arn": key.key_arn, "retention_days": config.require_int("days")},
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
        "other-team:admin": "arn:aws:iam::123456789012:user/moto",
        "other-team:days": 30,
    }
    (tmp_path / "stacks/Pulumi.logs.yaml").write_text(yaml.safe_dump({"config": settings}))
    project = RehearsedProject(tmp_path, ROOT, "logs")
    yield project
    project.run("reset")


@pytest.mark.long
def test_cloudwatch_gets_a_group_that_only_the_collectors_write_to(project: RehearsedProject) -> None:
    project.succeed("up")
    (group,) = _groups(project)
    assert (group["retentionInDays"], "kmsKeyId" in group) == (30, True)
    iam, eks = _client(project, "iam"), _client(project, "eks")
    (listed,) = eks.list_pod_identity_associations(clusterName="llm", namespace="node-agents")["associations"]
    assert listed["serviceAccount"] == "fluent-bit"
    known = eks.describe_pod_identity_association(clusterName="llm", associationId=listed["associationId"])["association"]
    role = known["roleArn"].rpartition("/")[2]
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    (statement,) = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert {resource.removesuffix(":*").rpartition(":")[2] for resource in statement["Resource"]} == {log_group("llm")}
    (settings,) = _inside(project, "/api/v1/namespaces/node-agents/configmaps", "log-collector")
    (output,) = yaml.safe_load(settings["data"][CONFIG_FILE])["pipeline"]["outputs"]
    assert (output["region"], output["log_group_name"]) == ("us-east-1", log_group("llm"))
    eventually(lambda: any(_is_ready(pod) for pod in _inside(project, COLLECTORS, "fluent-bit-")))
    assert project.changes() == {}

    project.edit(lambda config: config.update({"other-team:days": 60}))
    assert project.changes() == {"LogGroup logs-pods": "update"}
    project.succeed("up")
    assert [each["retentionInDays"] for each in _groups(project)] == [60]
    project.succeed("down")


def _groups(project: RehearsedProject) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _client(project, "logs").describe_log_groups(logGroupNamePrefix=log_group("llm"))["logGroups"]
    return found


def _client(project: RehearsedProject, service: str) -> Any:
    secret = {"aws_access_key_id": "rehearsal", "aws_secret_access_key": "rehearsal"}
    return boto3.client(service, endpoint_url=project.account().endpoint, region_name="us-east-1", **secret)


def _inside(project: RehearsedProject, collection: str, name: str) -> list[dict[str, Any]]:
    """The objects of the cluster whose names begin so."""
    kubeconfig = clusters(project.account().home)["llm"]
    server = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    found = ClusterApi(server, Pki(kubeconfig.parent / "pki"), "admin").items(collection)
    return [each for each in found if each["metadata"]["name"].startswith(name)]
