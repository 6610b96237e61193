"""Clusters of our EKS are real control planes: nodes join them, people reach them, and nothing is left of them."""

import base64
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from botocore.exceptions import ClientError

from sandbox.aws import eks
from sandbox.aws.clusters import clusters
from sandbox.aws.eks import nodegroup_nodes
from sandbox.control_plane import ControlPlane, NodeGroup, nodes
from sandbox.control_plane.api import Api
from sandbox.control_plane.pki import Pki
from tests.aws_eks_support import Served, served
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

AWS = Path(__file__).parents[2] / "sandbox" / "aws" / "bin" / "aws"
MOTO = "arn:aws:sts::123456789012:user/moto"
POLICY = "arn:aws:eks::aws:cluster-access-policy/"
NODE_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly")
PLUGIN_IMAGE = "nvcr.io/nvidia/k8s-device-plugin:v0.17.1"
BUILD = {"AWS_ACCESS_KEY_ID": "rehearsal", "AWS_SECRET_ACCESS_KEY": "rehearsal", "AWS_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory, binaries: Mapping[str, Path]) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("account")) as account:
        account.attach("node", *NODE_POLICIES)
        yield account


@pytest.fixture(scope="module")
def main(account: Served) -> dict[str, Any]:
    """A cluster with what nodes need, as DescribeCluster tells it."""
    account.eks.create_cluster(**account.cluster())
    assert account.eks.describe_cluster(name="main")["cluster"]["status"] == "CREATING"
    account.eks.get_waiter("cluster_active").wait(name="main", WaiterConfig={"Delay": 1})
    for addon in ("vpc-cni", "kube-proxy"):
        account.eks.create_addon(clusterName="main", addonName=addon, resolveConflicts="OVERWRITE")
    eventually(lambda: {status(account, addonName=addon) for addon in ("vpc-cni", "kube-proxy")} == {"ACTIVE"})
    described: dict[str, Any] = account.eks.describe_cluster(name="main")["cluster"]
    return described


@pytest.fixture
def api(account: Served, main: dict[str, Any]) -> Iterator[Api]:
    """The administrator's connection to it."""
    with administrator(account, "main") as api:
        yield api


def administrator(account: Served, cluster: str) -> Api:
    kubeconfig = clusters(account.home)[cluster]
    server = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    return Api(server, Pki(kubeconfig.parent / "pki"), "admin")


def status(account: Served, **named: str) -> str:
    if "addonName" in named:
        return str(account.eks.describe_addon(clusterName="main", **named)["addon"]["status"])
    return str(account.eks.describe_nodegroup(clusterName="main", **named)["nodegroup"]["status"])


def created(account: Served, **settings: Any) -> dict[str, Any]:
    """A node group when it is no longer being created."""
    name = account.eks.create_nodegroup(**account.nodegroup(**settings))["nodegroup"]["nodegroupName"]
    eventually(lambda: status(account, nodegroupName=name) != "CREATING")
    described: dict[str, Any] = account.eks.describe_nodegroup(clusterName="main", nodegroupName=name)["nodegroup"]
    return described


def deleted(account: Served, name: str = "gpu") -> None:
    account.eks.delete_nodegroup(clusterName="main", nodegroupName=name)
    eventually(lambda: name not in account.eks.list_nodegroups(clusterName="main")["nodegroups"])


def finished(account: Served, update: dict[str, Any], **named: str) -> dict[str, Any]:
    """An update when it is no longer in progress."""
    cluster = "main"

    def describe() -> dict[str, Any]:
        described: dict[str, Any] = account.eks.describe_update(name=cluster, updateId=update["id"], **named)["update"]
        return described

    eventually(lambda: describe()["status"] != "InProgress")
    return describe()


def of_group(api: Api, name: str) -> list[dict[str, Any]]:
    return api.items("/api/v1/nodes", selector=f"eks.amazonaws.com/nodegroup={name}")


def token(account: Served, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the stand-in prints."""
    environment = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": account.url, "LLM_PLATFORM_PYTHON": sys.executable} | BUILD
    return subprocess.run([str(AWS), *arguments], env=environment, capture_output=True, text=True, check=False)


def ask(account: Served, cluster: dict[str, Any], path: str, tmp_path: Path, *arguments: str) -> int:
    """The status of GET `path` with a fresh token."""
    made = token(account, "eks", "get-token", "--cluster-name", cluster["name"], *arguments)
    assert made.returncode == 0, made.stderr
    credential = json.loads(made.stdout)["status"]
    (tmp_path / "client").write_text(credential["clientCertificateData"] + credential["clientKeyData"])
    tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificateAuthority"]["data"]).decode())
    tls.load_cert_chain(tmp_path / "client")
    with httpx.Client(verify=tls, trust_env=False) as client:
        return client.get(cluster["endpoint"] + path).status_code


def test_a_cluster_is_a_control_plane_with_a_security_group(account: Served, main: dict[str, Any], api: Api) -> None:
    assert main["endpoint"].startswith("https://127.0.0.1:")
    assert base64.b64decode(main["certificateAuthority"]["data"]).startswith(b"-----BEGIN CERTIFICATE-----")
    group = main["resourcesVpcConfig"]["clusterSecurityGroupId"]
    (described,) = account.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert described["VpcId"] == account.vpc
    assert {"Key": "aws:eks:cluster-name", "Value": "main"} in described["Tags"]
    assert described["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == group
    for used in (group, account.subnets[0], account.cluster_role, "cluster"):
        assert eks.users_of(used) == ["EKS cluster main"]
    assert eks.users_of("subnet-0") == []
    assert api.is_there("/readyz")


def test_nodes_are_as_the_node_group_says(account: Served, api: Api) -> None:
    group = created(
        account,
        nodegroupName="GPU_pool",
        scalingConfig={"minSize": 0, "maxSize": 3, "desiredSize": 3},
        labels={"pool": "gpu"},
        taints=[{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
        releaseVersion="1.35.2-20260714",
        diskSize=200,
    )
    assert group["status"] == "ACTIVE"
    members = eventually(lambda: settled(of_group(api, "GPU_pool")))
    assert len(members) == 3
    assert {node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in members} == {
        f"us-east-1{zone}" for zone in "abc"
    }
    node = members[0]
    expected = {
        "pool": "gpu",
        "eks.amazonaws.com/capacityType": "ON_DEMAND",
        "node.kubernetes.io/instance-type": "g6.xlarge",
        "topology.kubernetes.io/region": "us-east-1",
        "kubernetes.io/arch": "amd64",
    }
    assert expected.items() <= node["metadata"]["labels"].items()
    assert node["spec"]["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    assert node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.35.2-eks-")
    assert node["status"]["capacity"]["ephemeral-storage"] == "200Gi"
    assert "nvidia.com/gpu" not in node["status"]["capacity"]  # the image has no device plugin
    entries = account.eks.list_access_entries(clusterName="main")["accessEntries"]
    assert account.node_role in entries
    deleted(account, "GPU_pool")
    assert of_group(api, "GPU_pool") == []
    assert account.node_role not in account.eks.list_access_entries(clusterName="main")["accessEntries"]


def test_images_with_a_device_plugin_offer_gpus_and_plain_types_have_their_size(account: Served, api: Api) -> None:
    created(account, nodegroupName="bottlerocket", amiType="BOTTLEROCKET_x86_64_NVIDIA")
    (node,) = of_group(api, "bottlerocket")
    assert node["status"]["capacity"]["nvidia.com/gpu"] == "1"
    created(account, nodegroupName="system", instanceTypes=["m7g.xlarge"], amiType="AL2023_ARM_64_STANDARD")
    (node,) = of_group(api, "system")
    assert (node["status"]["capacity"]["cpu"], node["metadata"]["labels"]["kubernetes.io/arch"]) == ("4", "arm64")
    deleted(account, "bottlerocket")
    deleted(account, "system")


def test_a_start_of_the_control_plane_leaves_nodes_of_others_alone(
    account: Served, api: Api, binaries: Mapping[str, Path]
) -> None:
    created(account)
    plane = ControlPlane(clusters(account.home)["main"].parent.name, account.home / "clusters")
    plane.start(binaries, (NodeGroup(name="declared", cpu="2", memory="4Gi"),))
    assert {node.group for node in plane.status().nodes} == {"declared", "gpu"}
    plane.start(binaries, ())
    assert {node.group for node in plane.status().nodes} == {"gpu"}
    deleted(account)


def test_efa_waits_for_its_plugin(account: Served, api: Api) -> None:
    interfaces = [
        {"DeviceIndex": 0, "InterfaceType": "efa"},
        {"DeviceIndex": 1, "NetworkCardIndex": 1, "InterfaceType": "efa-only"},
    ]
    template = account.launch_template(InstanceType="g6.8xlarge", NetworkInterfaces=interfaces)
    parameters = account.nodegroup(nodegroupName="efa", launchTemplate={"id": template, "version": "$Latest"})
    del parameters["instanceTypes"]
    account.eks.create_nodegroup(**parameters)
    eventually(lambda: status(account, nodegroupName="efa") == "ACTIVE")
    assert eks.users_of(template) == ["EKS node group efa of cluster main"]
    (node,) = of_group(api, "efa")
    devices = json.loads(node["metadata"]["annotations"]["sandbox.llm-platform/devices"])
    assert devices == {"vpc.amazonaws.com/efa": 2, "nvidia.com/gpu": 1}
    assert "vpc.amazonaws.com/efa" not in node["status"]["capacity"]
    deleted(account, "efa")


@pytest.mark.parametrize(
    ("policies", "instance", "code", "message"),
    [
        (NODE_POLICIES[1:], "g6.xlarge", "NodeCreationFailure", "Instances failed to join the kubernetes cluster"),
        (NODE_POLICIES[:1], "g6.xlarge", "NodeCreationFailure", "Unhealthy nodes in the kubernetes cluster"),
    ],
)
def test_instances_that_cannot_join_show_as_a_health_issue(
    account: Served, main: dict[str, Any], policies: tuple[str, ...], instance: str, code: str, message: str
) -> None:
    name = f"incapable-{len(policies)}-{message[0].lower()}"
    role = account.role(name, "ec2.amazonaws.com")
    account.attach(name, *policies)
    group = created(account, nodegroupName=name, nodeRole=role)
    assert group["status"] == "CREATE_FAILED"
    assert group["health"]["issues"] == [{"code": code, "message": message, "resourceIds": [role]}]
    with pytest.raises(ClientError, match="ResourceInUseException"):
        account.eks.delete_cluster(name="main")
    deleted(account, name)


def test_add_ons_with_pods_wait_for_nodes_they_may_run_on(account: Served, api: Api) -> None:
    account.eks.create_addon(clusterName="main", addonName="coredns")
    eventually(lambda: status(account, addonName="coredns") == "DEGRADED")
    issues = account.eks.describe_addon(clusterName="main", addonName="coredns")["addon"]["health"]["issues"]
    assert issues[0]["code"] == "InsufficientNumberOfReplicas"
    created(account, taints=[{"key": "nvidia.com/gpu", "effect": "NO_SCHEDULE"}])
    assert status(account, addonName="coredns") == "DEGRADED"
    configuration = json.dumps({"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]})
    update = account.eks.update_addon(clusterName="main", addonName="coredns", configurationValues=configuration)["update"]
    assert finished(account, update, addonName="coredns")["status"] == "Successful"
    assert status(account, addonName="coredns") == "ACTIVE"
    account.eks.delete_addon(clusterName="main", addonName="coredns")
    eventually(lambda: "coredns" not in account.eks.list_addons(clusterName="main")["addons"])
    deleted(account)


def test_size_labels_and_taints_change_in_place(account: Served, api: Api) -> None:
    created(account)
    (first,) = of_group(api, "gpu")
    change = {"scalingConfig": {"desiredSize": 3}, "labels": {"addOrUpdateLabels": {"tier": "gold"}}}
    update = account.eks.update_nodegroup_config(clusterName="main", nodegroupName="gpu", **change)["update"]
    assert status(account, nodegroupName="gpu") == "UPDATING"
    with pytest.raises(ClientError, match="is UPDATING and cannot be updated"):
        account.eks.update_nodegroup_config(clusterName="main", nodegroupName="gpu", **change)
    assert finished(account, update, nodegroupName="gpu")["status"] == "Successful"
    members = of_group(api, "gpu")
    assert [node["metadata"]["labels"]["tier"] for node in members] == ["gold"] * 3
    assert first["metadata"]["uid"] in {node["metadata"]["uid"] for node in members}
    change = {"scalingConfig": {"desiredSize": 0}}
    update = account.eks.update_nodegroup_config(clusterName="main", nodegroupName="gpu", **change)["update"]
    finished(account, update, nodegroupName="gpu")
    assert of_group(api, "gpu") == []
    deleted(account)


def settled(members: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Them, when the node controller has taken its own taints away."""
    keys = [taint["key"] for node in members for taint in node["spec"].get("taints", [])]
    return [] if any(key.startswith("node.kubernetes.io/") for key in keys) else members


def workload(api: Api, name: str, *, guarded: bool) -> None:
    """A Deployment of one pod on a GPU node, that may not be evicted when it is guarded."""
    namespace = f"/api/v1/namespaces/{name}"
    api.apply(namespace, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    eventually(lambda: api.is_there(f"{namespace}/serviceaccounts/default"))
    labels = {"app": name}
    pod = {"containers": [{"name": "main", "image": "registry.example/app:1"}]}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    api.apply(f"/apis/apps/v1/namespaces/{name}/deployments/{name}", manifest)
    if guarded:
        budget = {"minAvailable": 1, "selector": {"matchLabels": labels}}
        manifest = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": budget}
        api.apply(f"/apis/policy/v1/namespaces/{name}/poddisruptionbudgets/{name}", manifest)
    eventually(lambda: any(map(nodes.is_ready, api.items(f"{namespace}/pods"))))


def without(api: Api, namespace: str) -> None:
    api.delete(f"/api/v1/namespaces/{namespace}")
    eventually(lambda: not api.is_there(f"/api/v1/namespaces/{namespace}"))


def test_a_new_release_replaces_every_node_and_moves_the_pods(account: Served, api: Api) -> None:
    created(account, scalingConfig={"minSize": 0, "maxSize": 3, "desiredSize": 2}, releaseVersion="1.35.1-20260101")
    workload(api, "moving", guarded=False)
    before = {node["metadata"]["name"] for node in of_group(api, "gpu")}
    wish = {"releaseVersion": "1.35.3-20260714"}
    update = account.eks.update_nodegroup_version(clusterName="main", nodegroupName="gpu", **wish)["update"]
    assert finished(account, update, nodegroupName="gpu")["status"] == "Successful"
    members = of_group(api, "gpu")
    assert len(members) == 2
    assert before.isdisjoint(node["metadata"]["name"] for node in members)
    assert {node["status"]["nodeInfo"]["kubeletVersion"].partition("-")[0] for node in members} == {"v1.35.3"}
    described = account.eks.describe_nodegroup(clusterName="main", nodegroupName="gpu")["nodegroup"]
    assert (described["status"], described["releaseVersion"]) == ("ACTIVE", "1.35.3-20260714")
    eventually(lambda: any(map(nodes.is_ready, api.items("/api/v1/namespaces/moving/pods"))))
    without(api, "moving")
    deleted(account)


def test_a_pod_that_may_not_leave_fails_the_update_unless_forced(
    account: Served, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodegroup_nodes, "DRAIN_S", 2.0)
    created(account, releaseVersion="1.35.1-20260101")
    workload(api, "guarded", guarded=True)
    (before,) = of_group(api, "gpu")
    wish = {"clusterName": "main", "nodegroupName": "gpu", "releaseVersion": "1.35.3-20260714"}
    failed = finished(account, account.eks.update_nodegroup_version(**wish)["update"], nodegroupName="gpu")
    assert failed["status"] == "Failed"
    assert failed["errors"][0]["errorCode"] == "PodEvictionFailure"
    described = account.eks.describe_nodegroup(clusterName="main", nodegroupName="gpu")["nodegroup"]
    assert (described["status"], described["releaseVersion"]) == ("ACTIVE", "1.35.1-20260101")
    (after,) = of_group(api, "gpu")
    assert (after["metadata"]["uid"], "unschedulable" in after["spec"]) == (before["metadata"]["uid"], False)
    forced = finished(account, account.eks.update_nodegroup_version(**wish, force=True)["update"], nodegroupName="gpu")
    assert forced["status"] == "Successful"
    (after,) = of_group(api, "gpu")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    deleted(account)
    without(api, "guarded")


def test_a_cluster_goes_up_a_version_and_its_nodes_follow_when_told(account: Served, main: dict[str, Any], api: Api) -> None:
    created(account)
    update = account.eks.update_cluster_version(name="main", version="1.36")["update"]
    assert account.eks.describe_cluster(name="main")["cluster"]["status"] == "UPDATING"
    assert finished(account, update)["status"] == "Successful"
    assert account.eks.describe_cluster(name="main")["cluster"]["version"] == "1.36"
    (node,) = of_group(api, "gpu")
    assert node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.35.")
    update = account.eks.update_nodegroup_version(clusterName="main", nodegroupName="gpu", version="1.36")["update"]
    finished(account, update, nodegroupName="gpu")
    (node,) = of_group(api, "gpu")
    assert node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.36.")
    deleted(account)


def test_people_get_the_rights_of_their_access_entry_and_no_others(
    account: Served, main: dict[str, Any], api: Api, tmp_path: Path
) -> None:
    everything, some = "/api/v1/nodes", "/api/v1/namespaces/default/configmaps"
    assert ask(account, main, everything, tmp_path) == 403
    entry = {"clusterName": "main", "principalArn": MOTO}
    account.eks.create_access_entry(**entry)
    assert ask(account, main, everything, tmp_path) == 403
    policy = {"policyArn": f"{POLICY}AmazonEKSClusterAdminPolicy", "accessScope": {"type": "cluster"}}
    account.eks.associate_access_policy(**entry, **policy)
    assert ask(account, main, everything, tmp_path, "--region", "us-east-1", "--output", "json") == 200
    account.eks.disassociate_access_policy(**entry, policyArn=policy["policyArn"])
    assert ask(account, main, everything, tmp_path) == 403
    scoped = {"policyArn": f"{POLICY}AmazonEKSViewPolicy", "accessScope": {"type": "namespace", "namespaces": ["def*"]}}
    account.eks.associate_access_policy(**entry, **scoped)
    assert (ask(account, main, everything, tmp_path), ask(account, main, some, tmp_path)) == (403, 200)
    account.eks.delete_access_entry(**entry)
    assert ask(account, main, some, tmp_path) == 403


def test_a_role_with_a_long_name_can_be_taken_for_the_token(
    account: Served, main: dict[str, Any], api: Api, tmp_path: Path
) -> None:
    role = account.role("administrators-of-the-platform-in-the-account-of-the-rehearsal", "ec2.amazonaws.com")
    entry = {"clusterName": "main", "principalArn": role}
    account.eks.create_access_entry(**entry, kubernetesGroups=["readers"])
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "readers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "readers"}],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/readers"
    api.apply(path, binding)
    assert ask(account, main, "/api/v1/configmaps", tmp_path, "--role-arn", role) == 200
    assert ask(account, main, "/api/v1/secrets", tmp_path, "--role-arn", role) == 403
    api.delete(path)
    account.eks.delete_access_entry(**entry)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("s3", "ls"), "and nothing else"),
        (("eks", "get-token"), "--cluster-name"),
        (("eks", "get-token", "--cluster-name", "nowhere"), "No cluster found for name: nowhere."),
        (("eks", "get-token", "--cluster-name", "main", "--role-arn", "arn:aws:iam::1:role/x"), "cannot be assumed"),
    ],
)
def test_the_stand_in_refuses_what_it_cannot_do_in_one_sentence(
    account: Served, main: dict[str, Any], arguments: tuple[str, ...], sentence: str
) -> None:
    refused = token(account, *arguments)
    assert refused.returncode in (252, 255)
    assert refused.stdout == ""
    assert sentence in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_second_cluster_has_its_own_control_plane_and_tells_what_was_left_in_it(account: Served, main: dict[str, Any]) -> None:
    bootstrap = {"authenticationMode": "API_AND_CONFIG_MAP", "bootstrapClusterCreatorAdminPermissions": True}
    account.eks.create_cluster(**account.cluster(name="Second", accessConfig=bootstrap, bootstrapSelfManagedAddons=True))
    account.eks.get_waiter("cluster_active").wait(name="Second", WaiterConfig={"Delay": 1})
    second = account.eks.describe_cluster(name="Second")["cluster"]
    assert second["endpoint"] != main["endpoint"]
    assert account.eks.list_access_entries(clusterName="Second")["accessEntries"] == ["arn:aws:iam::123456789012:user/moto"]
    account.eks.create_addon(clusterName="Second", addonName="vpc-cni")
    cni = {"clusterName": "Second", "addonName": "vpc-cni"}
    eventually(lambda: account.eks.describe_addon(**cni)["addon"]["status"] == "CREATE_FAILED")
    issues = account.eks.describe_addon(**cni)["addon"]["health"]["issues"]
    assert issues[0]["code"] == "ConfigurationConflict"  # EKS's own vpc-cni is there
    with administrator(account, "Second") as api:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "forgotten"}}
        api.apply("/api/v1/namespaces/forgotten", manifest)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lost"}}
        api.apply("/api/v1/namespaces/default/secrets/lost", secret)
    plane = ControlPlane(clusters(account.home)["Second"].parent.name, account.home / "clusters")
    pids = [process.pid for process in plane.status().processes]
    group = second["resourcesVpcConfig"]["clusterSecurityGroupId"]
    account.eks.delete_cluster(name="Second")
    assert account.eks.describe_cluster(name="Second")["cluster"]["status"] == "DELETING"
    eventually(lambda: "Second" not in account.eks.list_clusters()["clusters"])
    assert eks.leaks() == ["EKS cluster Second: Namespace forgotten", "EKS cluster Second: Secret default/lost"]
    assert list(clusters(account.home)) == ["main"]
    assert not any(pid and psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)
    assert eks.users_of(group) == []
    with pytest.raises(ClientError, match="does not exist"):
        account.ec2.describe_security_groups(GroupIds=[group])


def test_what_a_dead_account_left_is_ended_by_the_next(
    account: Served, main: dict[str, Any], tmp_path: Path, binaries: Mapping[str, Path]
) -> None:
    orphan = ControlPlane("orphan-01234567", tmp_path / "clusters")
    orphan.start(binaries, ())
    pids = [process.pid for process in orphan.status().processes]
    eks.application(tmp_path, "us-east-1")
    assert not any(pid and psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)
    assert orphan.status().state == "stopped"


def test_nothing_is_left_of_a_cluster_that_is_deleted(account: Served, main: dict[str, Any]) -> None:
    """The last test: the cluster of the others goes, after everything they did in it."""
    before = eks.leaks()
    account.eks.delete_cluster(name="main")
    eventually(lambda: not account.eks.list_clusters()["clusters"])
    assert eks.leaks() == before
    assert clusters(account.home) == {}
    assert list((account.home / "clusters").glob("*/instance.json")) == []
    assert eks.users_of(account.subnets[0]) == []
