"""Nodes that come and go by Karpenter: its definitions by a real release, its controller simulated on a real control plane."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pulumi_kubernetes as k8s
import pytest
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID

from components.cluster.karpenter_pools import Pool, node_class_spec, node_pool_spec, selector_terms
from sandbox.aws.eks.world import World
from sandbox.aws.karpenter import CLASS_FINALIZER, Simulation
from sandbox.aws.karpenter_account import Account
from sandbox.charts import definitions
from sandbox.control_plane import ControlPlane
from sandbox.control_plane.contents import objects_in
from sandbox.errors import SandboxError
from sandbox.providers.kubernetes.client import ApiError
from sandbox.providers.kubernetes.helm.release import LABEL
from tests.rehearsal.kubernetes_support import Api, StackUnderTest, options
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

REGION = "us-east-1"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CLASSES, CORE = "/apis/karpenter.k8s.aws/v1/ec2nodeclasses", "/apis/karpenter.sh/v1"
RECORD = "/api/v1/namespaces/kube-system/secrets/helm-release-karpenter"
PODS = "/api/v1/namespaces/default/pods"
FROM_TEST = {"fieldManager": "test", "force": "true"}
KEY = f"arn:aws:kms:{REGION}:{DEFAULT_ACCOUNT_ID}:key/0"


class Place:
    """A cluster with Karpenter's definitions and its simulated controller, in a mocked account with a network."""

    def __init__(self, plane: ControlPlane) -> None:
        self.api = Api(plane.kubeconfig)
        ec2, self.iam = boto3.client("ec2", REGION), boto3.client("iam", REGION)
        vpc = ec2.create_vpc(CidrBlock="10.30.0.0/16")["Vpc"]["VpcId"]
        tags = [{"Key": "karpenter.sh/discovery", "Value": "main"}]
        for number, zone in enumerate("ab"):
            made = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.30.{number}.0/24", AvailabilityZone=f"{REGION}{zone}")
            ec2.create_tags(Resources=[made["Subnet"]["SubnetId"]], Tags=tags)
        group = ec2.create_security_group(GroupName="nodes", Description="nodes", VpcId=vpc)["GroupId"]
        ec2.create_tags(Resources=[group], Tags=tags)
        self.iam.create_role(RoleName="node", AssumeRolePolicyDocument="{}")
        self.members = {"node"}
        self.simulation = Simulation(
            connect=plane.connect,
            account=Account(World(DEFAULT_ACCOUNT_ID, REGION), "main"),
            node_lock=threading.Lock(),
            may_join=lambda role: role in self.members,
        )

    def install(self) -> None:
        """Records a release, as the emulated provider does."""
        annotations = {f"{LABEL}-chart": "karpenter-1.14.1"}
        metadata = {"name": "helm-release-karpenter", "labels": {LABEL: "true"}, "annotations": annotations}
        self.api.call("POST", RECORD.rpartition("/")[0], {"metadata": metadata})

    def declare(self, pool: Pool, consolidate_after: str = "2s") -> None:
        """A node class and a NodePool as the component makes them, but for the time that an empty node stays."""
        terms = selector_terms(None, "main")
        of_class = node_class_spec(pool, role="node", subnets=terms, security_groups=terms, key_arn=KEY, tags={})
        of_pool = node_pool_spec(pool, pool.name)
        of_pool["disruption"]["consolidateAfter"] = consolidate_after
        self.make(CLASSES, {"apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "spec": of_class}, pool.name)
        self.make(f"{CORE}/nodepools", {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "spec": of_pool}, pool.name)

    def make(self, path: str, obj: dict[str, Any], name: str) -> None:
        """Creates an object, with the server's full validation."""
        self.api.call("POST", path, {**obj, "metadata": {"name": name}}, fieldValidation="Strict")

    def pod(self, name: str, gpus: int = 1, tolerates: bool = True) -> None:
        """A pod that wants accelerators."""
        container = {"name": "main", "image": "registry.example/app:1", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
        spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 1}
        if tolerates:
            spec["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
        self.make(PODS, {"spec": spec}, name)

    def node_of(self, pod: str) -> str:
        """The node a pod is bound to; empty for none."""
        return str((self.api.find(f"{PODS}/{pod}") or {"spec": {}})["spec"].get("nodeName", ""))

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes Karpenter made."""
        return list(self.api.call("GET", "/api/v1/nodes", labelSelector="karpenter.sh/nodepool")["items"])

    def claims(self) -> list[dict[str, Any]]:
        """The NodeClaims."""
        return list(self.api.call("GET", f"{CORE}/nodeclaims")["items"])

    def lists(self, definition: dict[str, Any]) -> bool:
        """Whether objects of a defined kind can be listed."""
        spec = definition["spec"]
        [version] = [each["name"] for each in spec["versions"] if each["storage"]]
        try:
            return bool(self.api.find(f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"))
        except ApiError:
            return False

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """A node class or a NodePool."""
        return self.api.find(f"{CLASSES if kind == 'class' else f'{CORE}/nodepools'}/{name}")

    def ready(self, kind: str, name: str) -> bool:
        """Whether its condition Ready holds."""
        found = (self.find(kind, name) or {}).get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in found)


def pool(**settings: Any) -> Pool:
    image = {"family": "bottlerocket", "release": "1.66.0"}
    usual = {"name": "l4", "instance_types": ["g6.2xlarge", "g6.xlarge"], "max_nodes": 2, "image": image}
    return Pool.model_validate(usual | settings)


@pytest.fixture
def place(control_plane: ControlPlane) -> Iterator[Place]:
    with mock_aws():
        place = Place(control_plane)
        found = definitions.manifests("karpenter-crd", definitions.known("karpenter-crd")["1.14.1"])
        for manifest in found:
            place.api.call("POST", CRDS, manifest)
        # Each kind is asked for once: its storage is prepared then, and the deletion of a definition wants that done.
        eventually(lambda: all(map(place.lists, found)))
        place.simulation.start()
        yield place
        place.simulation.stop()
        if place.api.find(RECORD):
            place.api.call("DELETE", RECORD)
        for manifest in found:
            place.api.call("DELETE", f"{CRDS}/{manifest['metadata']['name']}")
        eventually(lambda: not place.api.call("GET", CRDS)["items"])


def test_nodes_come_for_pods_and_go_when_they_are_empty(place: Place) -> None:
    place.install()
    place.declare(pool())
    eventually(lambda: place.ready("pool", "l4"))
    assert (place.find("class", "l4") or {})["metadata"]["finalizers"] == [CLASS_FINALIZER]
    profiles = place.iam.list_instance_profiles()["InstanceProfiles"]
    assert [role["RoleName"] for profile in profiles for role in profile["Roles"]] == ["node"]
    assert place.nodes() == []

    place.pod("one")
    eventually(lambda: place.node_of("one"))
    [node] = place.nodes()
    labels = node["metadata"]["labels"]
    assert labels["node.kubernetes.io/instance-type"] == "g6.xlarge"
    assert labels["llm-platform/pool"] == labels["karpenter.sh/nodepool"] == "l4"
    assert labels["karpenter.sh/capacity-type"] == "on-demand"
    assert labels["karpenter.k8s.aws/instance-gpu-name"] == "l4"
    assert labels["topology.kubernetes.io/zone"] in (f"{REGION}a", f"{REGION}b")
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "1"
    assert [taint["key"] for taint in node["spec"]["taints"]] == ["nvidia.com/gpu"]

    place.pod("two")
    eventually(lambda: place.node_of("two"))
    assert len({node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in place.nodes()}) == 2
    eventually(lambda: (place.find("pool", "l4") or {})["status"]["nodes"] == 2)

    place.pod("three")
    eventually(lambda: _events(place, "three"))
    assert "NodePool l4: its limits are reached" in _events(place, "three")[0]
    place.pod("stranger", tolerates=False)
    eventually(lambda: _events(place, "stranger"))
    assert "NodePool l4: its taints are not tolerated" in _events(place, "stranger")[0]
    assert len(place.nodes()) == 2

    place.api.call("DELETE", f"{PODS}/stranger")
    place.api.call("DELETE", f"{PODS}/three")
    kept = place.node_of("two")
    place.api.call("DELETE", f"{PODS}/one")
    eventually(lambda: [node["metadata"]["name"] for node in place.nodes()] == [kept])
    assert place.node_of("two") == kept

    place.api.call("DELETE", f"{CORE}/nodepools/l4", {"propagationPolicy": "Foreground"})
    eventually(lambda: place.find("pool", "l4") is None)
    eventually(lambda: (place.nodes(), place.claims(), place.api.find(f"{PODS}/two")) == ([], [], None))
    place.api.call("DELETE", f"{CLASSES}/l4")
    eventually(lambda: place.find("class", "l4") is None)
    assert place.iam.list_instance_profiles()["InstanceProfiles"] == []


def test_without_the_controller_nothing_comes_and_nothing_goes(place: Place) -> None:
    place.declare(pool())
    place.pod("one")
    time.sleep(3)
    assert place.claims() == []
    assert "status" not in (place.find("class", "l4") or {})

    place.install()
    eventually(lambda: place.node_of("one"))
    place.api.call("DELETE", RECORD)
    time.sleep(1.5)  # the step under way ends
    place.api.call("DELETE", f"{PODS}/one")
    place.api.call("DELETE", f"{CORE}/nodepools/l4")
    place.api.call("DELETE", f"{CLASSES}/l4")
    time.sleep(3)
    assert len(place.claims()) == len(place.nodes()) == 1
    assert "deletionTimestamp" in (place.find("class", "l4") or {})["metadata"]

    place.install()
    eventually(lambda: place.find("class", "l4") is None)
    assert (place.claims(), place.nodes()) == ([], [])


def test_a_node_waits_for_its_device_plugin_and_for_its_access_entry(place: Place) -> None:
    place.install()
    place.members.clear()
    place.declare(pool(image={"family": "al2023", "release": "1.36.1-20260724"}, capacity_types=["spot", "onDemand"]), "600s")
    place.pod("one")
    eventually(lambda: place.claims() and place.claims()[0].get("status"))
    time.sleep(1.5)
    [claim] = place.claims()
    messages = [each["message"] for each in claim["status"]["conditions"] if each["type"] == "Registered"]
    assert messages == ["Node not registered with cluster: it has no access entry for the role node"]
    assert place.nodes() == []

    place.members.add("node")
    eventually(place.nodes)
    time.sleep(3)
    [node] = place.nodes()
    assert node["metadata"]["labels"]["karpenter.sh/capacity-type"] == "spot"
    assert "nvidia.com/gpu" not in node["status"]["allocatable"]
    assert len(place.claims()) == 1, "the pod waits for the plugin, not for one more node"
    place.api.call("DELETE", f"{PODS}/one")
    place.api.call("DELETE", f"{CORE}/nodepools/l4", {"propagationPolicy": "Foreground"})
    eventually(lambda: place.find("pool", "l4") is None)
    place.api.call("DELETE", f"{CLASSES}/l4")
    eventually(lambda: place.find("class", "l4") is None)


def test_a_class_that_selects_nothing_says_so(place: Place) -> None:
    place.install()
    spec = node_class_spec(
        pool(), role="nobody", subnets=[{"id": "subnet-0"}], security_groups=[{"id": "sg-0"}], key_arn=KEY, tags={}
    )
    place.make(CLASSES, {"apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "spec": spec}, "l4")
    eventually(lambda: (place.find("class", "l4") or {}).get("status"))
    told = {each["type"]: each for each in (place.find("class", "l4") or {})["status"]["conditions"]}
    assert told["Ready"]["status"] == "False"
    assert "did not match any Subnets" in told["Ready"]["message"]
    assert "role nobody does not exist" in told["Ready"]["message"]
    place.api.call("DELETE", f"{CLASSES}/l4")
    eventually(lambda: place.find("class", "l4") is None)


def test_a_release_brings_its_definitions_and_takes_them_away(
    control_plane: ControlPlane, pulumi_bin: Path, tmp_path: Path
) -> None:
    api = Api(control_plane.kubeconfig)
    before = _objects(control_plane)
    stack = StackUnderTest(tmp_path, pulumi_bin)
    kubeconfig = control_plane.kubeconfig.read_text()

    def program() -> None:
        provider = k8s.Provider("cluster", kubeconfig=kubeconfig, cluster_identifier="test")
        releases = [
            k8s.helm.v3.Release(name, name=name, chart=chart, version=version, namespace="default", opts=options(provider))
            for name, chart, version in (
                ("crds", "oci://public.ecr.aws/karpenter/karpenter-crd", "1.14.1"),
                ("nfd", "node-feature-discovery", "0.19.0"),
            )
        ]
        terms = selector_terms(None, "main")
        k8s.apiextensions.CustomResource(
            "class",
            api_version="karpenter.k8s.aws/v1",
            kind="EC2NodeClass",
            spec=node_class_spec(pool(), role="node", subnets=terms, security_groups=terms, key_arn=KEY, tags={}),
            opts=options(provider, depends_on=releases),
        )

    made = stack.up(program)
    assert made.succeeded, made.errors
    names = {item["metadata"]["name"] for item in api.call("GET", CRDS)["items"]}
    assert {"nodepools.karpenter.sh", "nodeclaims.karpenter.sh", "ec2nodeclasses.karpenter.k8s.aws"} < names
    assert set(stack.up(program).operations["crds"]) == {"same"}
    gone = stack.destroy()
    assert gone.succeeded, gone.errors
    left = {item["metadata"]["name"] for item in api.call("GET", CRDS)["items"]}
    assert left == {"nodefeatures.nfd.k8s-sigs.io", "nodefeaturegroups.nfd.k8s-sigs.io", "nodefeaturerules.nfd.k8s-sigs.io"}
    eventually(lambda: _objects(control_plane) == before)  # what Helm keeps is nobody's leak
    for name in left:
        api.call("DELETE", f"{CRDS}/{name}")


def _events(place: Place, pod: str) -> list[str]:
    found = place.api.call("GET", "/api/v1/namespaces/default/events", fieldSelector=f"involvedObject.name={pod}")["items"]
    return [event["message"] for event in found if event.get("source", {}).get("component") == "karpenter"]


def _objects(plane: ControlPlane) -> set[str] | None:
    """Everything somebody put into the cluster; None while the server makes up its mind about definitions that have changed."""
    with plane.connect() as connection:
        try:
            return set(objects_in(connection))
        except SandboxError:
            return None
