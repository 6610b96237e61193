"""What an EKS cluster consists of, in which order, and what it refuses to be."""

import json
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components.cluster import EksCluster
from components.cluster.eks_security_groups import rules
from components.inputs import InputError
from tests.contracts.examples import KEY_ARN
from tests.recorder import Recording, Registration, record

CLUSTER, ADDON, NODE_GROUP = "aws:eks/cluster:Cluster", "aws:eks/addon:Addon", "aws:eks/nodeGroup:NodeGroup"
ENTRY, ASSOCIATION = "aws:eks/accessEntry:AccessEntry", "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"
INGRESS, EGRESS = (
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
)

ADMIN, PREVIEW = "arn:aws:iam::123456789012:role/platform-admin", "arn:aws:iam::123456789012:role/preview"
ARGS: dict[str, Any] = {
    "cluster_name": "llm",
    "kubernetes_version": "1.36",
    "vpc_id": "vpc-0",
    "vpc_cidr": "10.40.0.0/16",
    "control_plane_subnet_ids": {"us-east-1b": "subnet-y", "us-east-1a": "subnet-x"},
    "node_subnet_ids": {"us-east-1b": "subnet-b", "us-east-1a": "subnet-a"},
    "kms_key_arn": KEY_ARN,
    "admin_principals": [ADMIN],
    "viewer_principals": [PREVIEW],
    "system_pool": {"instance_types": ["m7g.large"], "min_nodes": 2, "max_nodes": 4},
}
EARLY = {"vpc-cni", "kube-proxy", "eks-pod-identity-agent"}
LATE = {"coredns", "aws-ebs-csi-driver", "metrics-server", "eks-node-monitoring-agent"}


def cluster(**changed: Any) -> Recording:
    """A program with one cluster named `c` and something that uses what it yields."""
    args: Any = {key: value for key, value in (ARGS | changed).items() if value is not None}

    def program() -> None:
        made = EksCluster("c", args, pulumi.ResourceOptions(providers=[aws.Provider("aws", region="us-east-1")]))
        for output in ("kubeconfig", "cluster_name", "node_role_arn"):
            aws.ssm.Parameter(output, type="String", value=getattr(made, output))

    return record(program)


def before(recording: Recording, resource: Registration) -> list[Registration]:
    """All that is made before a resource, and deleted after it."""
    known = {each.urn: each for each in recording.resources}
    found: dict[str, Registration] = {}
    waiting = [resource]
    while waiting:
        for urn in waiting.pop().dependencies - found.keys():
            found[urn] = known[urn]
            waiting.append(known[urn])
    return list(found.values())


def user(recording: Recording, output: str) -> Registration:
    """What uses that output."""
    (found,) = (each for each in recording.of("aws:ssm/parameter:Parameter") if each.name == output)
    return found


def addons_of(resources: list[Registration]) -> set[str]:
    return {each.inputs["addonName"] for each in resources if each.type == ADDON}


def outputs(recording: Recording) -> dict[str, Any]:
    return dict(recording.outputs)[recording.one("llm-platform:index:EksCluster").urn]


# --- the control plane ------------------------------------------------------------------------------------------------


def test_the_control_plane_is_private_encrypted_and_logged() -> None:
    made = cluster().one(CLUSTER).inputs
    assert made["accessConfig"] == {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False}
    assert made["bootstrapSelfManagedAddons"] is False
    assert made["encryptionConfig"] == {"provider": {"keyArn": KEY_ARN}, "resources": ["secrets"]}
    assert sorted(made["enabledClusterLogTypes"]) == ["api", "audit", "authenticator", "controllerManager", "scheduler"]
    assert made["vpcConfig"] == {
        "subnetIds": ["subnet-x", "subnet-y"],
        "securityGroupIds": ["c-control-plane-id"],
        "endpointPrivateAccess": True,
        "endpointPublicAccess": False,
    }


def test_extended_support_is_not_bought_unasked() -> None:
    assert cluster().one(CLUSTER).inputs["upgradePolicy"] == {"supportType": "STANDARD"}


def test_from_outside_it_is_reached_by_the_named_networks_only() -> None:
    made = cluster(public_access_cidrs=["203.0.113.0/24", "198.51.100.0/24"]).one(CLUSTER).inputs["vpcConfig"]
    assert (made["endpointPublicAccess"], made["endpointPrivateAccess"]) == (True, True)
    assert made["publicAccessCidrs"] == ["198.51.100.0/24", "203.0.113.0/24"]


def test_its_logs_are_encrypted_and_end_with_it() -> None:
    recording = cluster(log_retention_days=90)
    logs = recording.one("aws:cloudwatch/logGroup:LogGroup")
    assert logs.inputs == {"name": "/aws/eks/llm/cluster", "retentionInDays": 90, "kmsKeyId": KEY_ARN}
    # EKS would make the group itself, without key and without end, if it came first.
    assert logs in before(recording, recording.one(CLUSTER))
    assert cluster().one("aws:cloudwatch/logGroup:LogGroup").inputs["retentionInDays"] == 365


@pytest.mark.parametrize(("protect", "expected"), [(None, True), (True, True), (False, False)])
def test_protection(protect: bool | None, expected: bool) -> None:
    made = cluster(protect=protect).one(CLUSTER)
    assert (made.protect, made.inputs["deletionProtection"]) == (expected, expected)


def test_what_eks_reads_only_at_creation_changes_nothing_later() -> None:
    assert cluster().one(CLUSTER).ignored == {
        "vpcConfig.subnetIds",
        "bootstrapSelfManagedAddons",
        "accessConfig.bootstrapClusterCreatorAdminPermissions",
    }


def test_its_role_works_for_this_cluster_only() -> None:
    recording = cluster()
    (role,) = (each for each in recording.of("aws:iam/role:Role") if each.name == "c-control-plane")
    (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
    assert statement["Principal"] == {"Service": "eks.amazonaws.com"}
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": "arn:aws:eks:us-east-1:123456789012:cluster/llm"},
    }
    attached = [each for each in before(recording, recording.one(CLUSTER)) if each.type.endswith(":RolePolicyAttachment")]
    assert [each.inputs["policyArn"] for each in attached] == ["arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"]


# --- access -----------------------------------------------------------------------------------------------------------


def test_admins_may_do_everything_and_viewers_read_everything() -> None:
    recording = cluster(admin_principals=[ADMIN, ADMIN.replace("role", "user")])
    granted = {each.inputs["principalArn"]: each.inputs["policyArn"].rpartition("/")[2] for each in recording.of(ASSOCIATION)}
    assert granted == {
        ADMIN: "AmazonEKSClusterAdminPolicy",
        ADMIN.replace("role", "user"): "AmazonEKSClusterAdminPolicy",
        PREVIEW: "AmazonEKSAdminViewPolicy",
    }
    assert {each.inputs["principalArn"] for each in recording.of(ENTRY)} == granted.keys()
    assert all(each.inputs["accessScope"] == {"type": "cluster"} for each in recording.of(ASSOCIATION))


def test_whoever_uses_the_kubeconfig_has_access_and_keeps_it_to_the_end() -> None:
    recording = cluster()
    needed = {each.name for each in before(recording, user(recording, "kubeconfig")) if each.type == ASSOCIATION}
    assert needed == {each.name for each in recording.of(ASSOCIATION)}


def test_the_kubeconfig_is_secret_and_has_no_credential() -> None:
    kubeconfig = outputs(cluster())["kubeconfig"]
    assert isinstance(kubeconfig, dict), "a secret is sent with its signature"
    document = json.loads(kubeconfig["value"])
    assert document["clusters"][0]["cluster"] == {"server": "c-cluster-endpoint", "certificate-authority-data": "Q0E="}
    assert document["users"][0]["user"].keys() == {"exec"}
    assert document["users"][0]["user"]["exec"]["args"][:2] == ["--region", "us-east-1"]


def test_a_cluster_made_anew_is_another_one() -> None:
    found = outputs(cluster())
    assert found["identifier"] == f"{found['clusterArn']}@c-cluster-createdAt"


# --- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_systems", "more"), [([], set()), (["efs", "lustre"], {"aws-efs-csi-driver", "aws-fsx-csi-driver"})]
)
def test_add_ons_that_nodes_need_come_before_them_and_the_others_after(file_systems: list[str], more: set[str]) -> None:
    recording = cluster(file_systems=file_systems)
    group = recording.one(NODE_GROUP)
    assert addons_of(before(recording, group)) == EARLY
    after = [each for each in recording.of(ADDON) if group in before(recording, each)]
    assert addons_of(after) == LATE | more
    assert addons_of(recording.of(ADDON)) == EARLY | LATE | more


def test_whoever_uses_the_kubeconfig_waits_for_nodes_and_all_add_ons() -> None:
    recording = cluster(file_systems=["efs"])
    needed = before(recording, user(recording, "kubeconfig"))
    assert recording.one(NODE_GROUP) in needed
    assert addons_of(needed) == addons_of(recording.of(ADDON))


def test_whoever_makes_nodes_waits_for_what_lets_them_join() -> None:
    recording = cluster()
    assert addons_of(before(recording, user(recording, "cluster_name"))) == EARLY
    policies = {
        each.inputs["policyArn"].rpartition("/")[2]
        for each in before(recording, user(recording, "node_role_arn"))
        if each.type.endswith(":RolePolicyAttachment")
    }
    assert policies == {
        "AmazonEKSWorkerNodeMinimalPolicy",
        "AmazonEC2ContainerRegistryPullOnly",
        "AmazonSSMManagedInstanceCore",
    }
    assert {each.name for each in before(recording, recording.one(NODE_GROUP))} >= {f"c-node-{policy}" for policy in policies}


def test_an_add_on_that_calls_aws_waits_for_its_own_permissions() -> None:
    recording = cluster(file_systems=["efs"])
    roles = {each.outputs["arn"]: each for each in recording.of("aws:iam/role:Role")}
    permitted = {}
    for addon in recording.of(ADDON):
        for association in addon.inputs.get("podIdentityAssociations", ()):
            identity = roles[association["roleArn"]].parent
            own = [each for each in before(recording, addon) if each.parent == identity and "policyArn" in each.inputs]
            permitted[addon.inputs["addonName"]] = [each.inputs["policyArn"].partition(":policy/")[2] for each in own]
    assert permitted == {
        "vpc-cni": ["AmazonEKS_CNI_Policy"],
        "aws-ebs-csi-driver": ["AmazonEBSCSIDriverPolicyV2"],
        "aws-efs-csi-driver": ["service-role/AmazonEFSCSIDriverPolicy"],
    }


def test_versions_of_add_ons_are_those_stated_and_changes_of_others_are_kept() -> None:
    recording = cluster(addon_versions={"coredns": "v1.12.4-eksbuild.1"})
    versions = {each.inputs["addonName"]: each.inputs.get("addonVersion") for each in recording.of(ADDON)}
    assert {name: version for name, version in versions.items() if version} == {"coredns": "v1.12.4-eksbuild.1"}
    modes = {(each.inputs["resolveConflictsOnCreate"], each.inputs["resolveConflictsOnUpdate"]) for each in recording.of(ADDON)}
    assert modes == {("OVERWRITE", "PRESERVE")}


# --- security groups --------------------------------------------------------------------------------------------------


def test_every_rule_is_made_between_the_groups_it_is_of() -> None:
    recording = cluster()
    made = {each.name: each for each in [*recording.of(INGRESS), *recording.of(EGRESS)]}
    assert made.keys() == {f"c-{rule.key}" for rule in rules()}
    networks = {"internet": "0.0.0.0/0", "vpc": "10.40.0.0/16"}
    for rule in rules():
        found = made[f"c-{rule.key}"]
        assert found.type == (INGRESS if rule.direction == "ingress" else EGRESS)
        assert found.inputs["securityGroupId"] == f"c-{rule.group}-id"
        peer = {"cidrIpv4": networks[rule.peer]} if rule.peer in networks else {"referencedSecurityGroupId": f"c-{rule.peer}-id"}
        assert peer.items() <= found.inputs.items()
        # EC2 refuses ports where the rule is of all protocols.
        ports = {} if rule.protocol == "-1" else {"fromPort": rule.from_port, "toPort": rule.to_port}
        assert {key: found.inputs[key] for key in ("fromPort", "toPort") if key in found.inputs} == ports


def test_karpenter_finds_one_group() -> None:
    groups = {each.name: each.inputs["tags"] for each in cluster().of("aws:ec2/securityGroup:SecurityGroup")}
    assert groups.keys() == {"c-control-plane", "c-nodes", "c-fabric"}
    assert [name for name, tags in groups.items() if "karpenter.sh/discovery" in tags] == ["c-nodes"]
    assert groups["c-nodes"]["karpenter.sh/discovery"] == "llm"


def test_nodes_keep_their_connections_until_they_are_gone() -> None:
    # Rules that nothing waits for are the first to be deleted, and nodes without them neither drain nor give volumes back.
    recording = cluster()
    waited_for = {each.name for each in before(recording, recording.one(NODE_GROUP))}
    assert {f"c-{rule.key}" for rule in rules() if rule.group != "fabric"} <= waited_for


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"admin_principals": []}, "adminPrincipals: nobody is named, so nobody could reach the cluster"),
        ({"viewer_principals": [ADMIN]}, f"viewerPrincipals: {ADMIN} is named twice"),
        ({"admin_principals": ["arn:aws:iam::123456789012:root"]}, "is not the ARN of an IAM role or user"),
        ({"public_access_cidrs": ["0.0.0.0/0"]}, "publicAccessCidrs: 0.0.0.0/0 is the whole internet"),
        ({"file_systems": ["nfs"]}, "fileSystems: 'nfs' is not known"),
        ({"addon_versions": {"cilium": "v1"}}, "addonVersions: cilium is no add-on of this cluster"),
        ({"control_plane_subnet_ids": {"us-east-1a": "subnet-x"}}, "control_plane_subnet_ids"),
        ({"node_subnet_ids": {"us-east-1a": "subnet-a"}}, "node_subnet_ids"),
        ({"cluster_name": "LLM"}, "'LLM' is not"),
        ({"kubernetes_version": "1.36.1"}, "'1.36.1' is not"),
        ({"system_pool": ARGS["system_pool"] | {"min_nodes": 0}}, "system_pool.min_nodes: 0 is not allowed; use 1 or more"),
    ],
)
def test_clusters_that_cannot_work_are_refused_in_one_sentence(changed: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError) as refused:
        cluster(**changed)
    assert str(refused.value).startswith("EksCluster c: ")
    assert fault in str(refused.value)
    assert "\n" not in str(refused.value)


def test_two_clusters_of_one_stack_share_no_name() -> None:
    def program() -> None:
        options = pulumi.ResourceOptions(providers=[aws.Provider("aws", region="us-east-1")])
        for number in ("one", "two"):
            EksCluster(number, {**ARGS, "cluster_name": f"llm-{number}"}, options)  # type: ignore[typeddict-item]

    made = [each for each in record(program).resources if each.type.startswith("aws:")]
    assert len({each.urn for each in made}) == len(made)
    # Names that are contracts, not given by the provider: the cluster's and its log group's.
    named = [(each.type, each.inputs["name"]) for each in made if "name" in each.inputs]
    assert len(set(named)) == len(named) == 4
