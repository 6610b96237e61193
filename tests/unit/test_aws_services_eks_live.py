"""The EKS adapters against the emulated EKS: a cluster with everything that lives on it."""

import json
from collections.abc import Iterator

import pytest

from sandbox.providers.aws.adapter import Account, Values
from sandbox.providers.aws.services import eks, eks_access, eks_nodes, iam, kms
from tests.aws_adapters import (
    ACCOUNT_ID,
    Example,
    Rehearsed,
    another,
    check_read,
    complete,
    emulated,
    label,
    sdk_inputs,
    settled,
    take_through_its_life,
    trust,
)

pytestmark = pytest.mark.rehearsal

_NODE_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryPullOnly")


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsed]:
    with emulated(tmp_path_factory.mktemp("accounts")) as account:
        yield account


def subnets(account: Account) -> list[str]:
    ec2 = account.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ranges = {"eu-west-1a": "10.0.0.0/24", "eu-west-1b": "10.0.1.0/24"}
    made = [ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone=zone) for zone, cidr in ranges.items()]
    return [str(each["Subnet"]["SubnetId"]) for each in made]


def role_arn(account: Account, service: str, *policies: str) -> str:
    document = json.loads(trust(service))
    if service == "pods.eks":
        document["Statement"][0]["Action"] = ["sts:AssumeRole", "sts:TagSession"]
    name = iam.Role().create(account, {"name": another("role"), "assumeRolePolicy": json.dumps(document)})
    for policy in policies:
        iam.RolePolicyAttachment().create(account, {"role": name, "policyArn": f"arn:aws:iam::aws:policy/{policy}"})
    return f"arn:aws:iam::{ACCOUNT_ID}:role/{name}"


def pod_role(account: Account) -> str:
    return role_arn(account, "pods.eks")


def node_role(account: Account) -> str:
    return role_arn(account, "ec2", *_NODE_POLICIES)


def cluster_inputs(account: Account) -> Values:
    return complete(
        eks.Cluster(),
        {
            "name": "prod",
            "roleArn": role_arn(account, "eks", "AmazonEKSClusterPolicy"),
            "version": "1.35",
            "accessConfig": {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False},
            "bootstrapSelfManagedAddons": True,  # nodes are never ready without the network's add-on
            "deletionProtection": True,
            "enabledClusterLogTypes": ["api", "audit"],
            "upgradePolicy": {"supportType": "STANDARD"},
            "vpcConfig": {
                "subnetIds": subnets(account),
                "endpointPrivateAccess": True,
                "endpointPublicAccess": True,
                "publicAccessCidrs": ["192.0.2.0/24"],
            },
            "zonalShiftConfig": {"enabled": True},
            "tags": {"a": "1"},
        },
    )


@pytest.fixture(scope="module")
def cluster(account: Rehearsed) -> Values:
    """The inputs of a cluster that stands."""
    inputs = cluster_inputs(account)
    assert eks.Cluster().create(account, inputs) == "prod"
    check_read(eks.Cluster(), inputs, settled(eks.Cluster(), account, "prod", inputs))
    return inputs


def cluster_subnet(account: Account) -> str:
    return str(account.client("eks").describe_cluster(name="prod")["cluster"]["resourcesVpcConfig"]["subnetIds"][0])


def entry(account: Account) -> str:
    principal = node_role(account)
    eks_access.AccessEntry().create(account, {"clusterName": "prod", "principalArn": principal})
    return principal


def addon_versions(account: Account, name: str) -> list[str]:
    """Versions for the cluster, the newest first."""
    answer = account.client("eks").describe_addon_versions(addonName=name, kubernetesVersion="1.35")
    return [version["addonVersion"] for version in answer["addons"][0]["addonVersions"]]


EXAMPLES = [
    Example(
        eks_nodes.NodeGroup(),
        {
            "clusterName": "prod",
            "nodeGroupName": "system",
            "nodeRoleArn": "$role",
            "subnetIds": ["$subnet"],
            "amiType": "AL2023_x86_64_STANDARD",
            "capacityType": "ON_DEMAND",
            "diskSize": 50,
            "instanceTypes": ["m7i.large"],
            "labels": {"pool": "system"},
            "nodeRepairConfig": {"enabled": True},
            "scalingConfig": {"desiredSize": 1, "maxSize": 2, "minSize": 1},
            "taints": [{"key": "system", "value": "true", "effect": "NO_SCHEDULE"}],
            "updateConfig": {"maxUnavailable": 1},
            "version": "1.35",
            "tags": {"a": "1"},
        },
        {
            "labels": {"pool": "core"},
            "nodeRepairConfig": {"enabled": False},
            "scalingConfig": {"desiredSize": 2, "maxSize": 3, "minSize": 1},
            "taints": [{"key": "core", "value": "true", "effect": "NO_EXECUTE"}],
            "updateConfig": {"maxUnavailablePercentage": 50},
            "tags": {"b": "1"},
        },
        {"role": node_role, "subnet": cluster_subnet},
    ),
    Example(
        eks_access.Addon(),
        {
            "clusterName": "prod",
            "addonName": "vpc-cni",
            "addonVersion": "$older",
            "configurationValues": json.dumps({"enableNetworkPolicy": "true"}),
            "podIdentityAssociations": [{"roleArn": "$first", "serviceAccount": "aws-node"}],
            "preserve": False,
            "resolveConflictsOnCreate": "OVERWRITE",
            "resolveConflictsOnUpdate": "OVERWRITE",
            "tags": {"a": "1"},
        },
        {
            "addonVersion": "$newer",
            "configurationValues": json.dumps({"enableNetworkPolicy": "false"}),
            "podIdentityAssociations": [{"roleArn": "$second", "serviceAccount": "aws-node"}],
            "tags": {"a": "2"},
        },
        {
            "first": pod_role,
            "second": pod_role,
            "older": lambda account: addon_versions(account, "vpc-cni")[-1],
            "newer": lambda account: addon_versions(account, "vpc-cni")[0],
        },
    ),
    Example(
        eks_access.AccessEntry(),
        {
            "clusterName": "prod",
            "principalArn": "$role",
            "kubernetesGroups": ["viewers"],
            "type": "STANDARD",
            "userName": "ops",
            "tags": {"a": "1"},
        },
        {"kubernetesGroups": ["editors"], "userName": "deployer", "tags": {"b": "1"}},
        {"role": node_role},
    ),
    Example(
        eks_access.AccessPolicyAssociation(),
        {
            "clusterName": "prod",
            "principalArn": "$principal",
            "policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",
            "accessScope": {"type": "namespace", "namespaces": ["models"]},
        },
        needs={"principal": entry},
    ),
    Example(
        eks_access.PodIdentityAssociation(),
        {
            "clusterName": "prod",
            "namespace": "models",
            "serviceAccount": "vllm",
            "roleArn": "$first",
            "disableSessionTags": False,
            "targetRoleArn": "$target",
            "tags": {"a": "1"},
        },
        {"roleArn": "$second", "disableSessionTags": True, "targetRoleArn": None, "tags": {"a": "2"}},
        {"first": pod_role, "second": pod_role, "target": pod_role},
    ),
]


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("example", EXAMPLES, ids=label)
def test_what_lives_on_a_cluster_is_made_read_changed_and_deleted(example: Example, account: Rehearsed) -> None:
    assert {*example.inputs, *example.changed} <= sdk_inputs(type(example.adapter))
    take_through_its_life(example, account)


def test_a_cluster_is_changed_one_kind_at_a_time_and_deleted(cluster: Values, account: Rehearsed) -> None:
    adapter = eks.Cluster()
    key = kms.Key().read(account, kms.Key().create(account, {}), {})
    assert key is not None
    changed = {
        **cluster,
        "version": "1.36",
        "enabledClusterLogTypes": ["audit"],
        "encryptionConfig": {"provider": {"keyArn": key["arn"]}, "resources": ["secrets"]},
        "deletionProtection": False,
        "upgradePolicy": {"supportType": "EXTENDED"},
        "vpcConfig": {**cluster["vpcConfig"], "publicAccessCidrs": ["198.51.100.0/24"], "endpointPublicAccess": True},
        "zonalShiftConfig": {"enabled": False},
        "tagsAll": {"team": "ml", "b": "1"},
        "tags": {"b": "1"},
    }
    adapter.update(account, "prod", cluster, changed)
    adapter.update(account, "prod", cluster, changed)  # as after an interruption that kept its success from the state
    state = check_read(adapter, changed, settled(adapter, account, "prod", changed))
    assert state["endpoint"].startswith("https://")
    adapter.delete(account, "prod", state)
    assert settled(adapter, account, "prod", state) is None
