"""What EKS refuses, each with its code and sentence, against moto's real records; nothing is started."""

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from botocore import xform_name
from botocore.loaders import create_loader
from botocore.model import ServiceModel
from moto import mock_aws

from sandbox.aws.eks import addon_catalog, versions
from sandbox.aws.eks.access import Access
from sandbox.aws.eks.addons import Addons
from sandbox.aws.eks.cluster_updates import ClusterUpdates
from sandbox.aws.eks.clusters import Clusters
from sandbox.aws.eks.errors import EksError
from sandbox.aws.eks.nodegroup_updates import NodegroupUpdates
from sandbox.aws.eks.nodegroups import Nodegroups
from sandbox.aws.eks.pod_identity import PodIdentity
from sandbox.aws.eks.store import Cluster, Store
from sandbox.aws.eks.updates import Tags, Updates
from sandbox.aws.eks.versions import Versions
from sandbox.aws.eks.world import World
from tests.aws_eks_support import REGION, Account

ACCOUNT = "123456789012"
PODS = ("sts:AssumeRole", "sts:TagSession")

Settings: TypeAlias = dict[str, Any] | Callable[[Account], dict[str, Any]]
"""Parameters of a table, plain or made from the account's."""


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    """One for all tests: they add to it and take nothing away."""
    with mock_aws():
        yield Account()


@pytest.fixture
def store(tmp_path: Path, account: Account) -> Store:
    """Records as ever; closed, so that nothing runs beside and states stay as a request leaves them."""
    store = Store(tmp_path, World(ACCOUNT, REGION))
    store.close()
    return store


@pytest.fixture
def cluster(store: Store, account: Account) -> Cluster:
    """An active cluster without its control plane."""
    Clusters(store).create_cluster(account.cluster())
    store.clusters["main"].shape["status"] = "ACTIVE"
    return store.clusters["main"]


def settled(settings: Settings, account: Account) -> dict[str, Any]:
    return settings(account) if callable(settings) else settings


def refusal(work: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(EksError) as refused:
        work()
    return refused.value.code, refused.value.message


def other_vpc(account: Account) -> str:
    return account.subnet(account.ec2.create_vpc(CidrBlock="10.30.0.0/16")["Vpc"]["VpcId"], "10.30.0.0/24", "b")


def disabled_key(account: Account) -> str:
    key = account.kms.create_key()["KeyMetadata"]
    account.kms.disable_key(KeyId=key["KeyId"])
    return str(key["Arn"])


def encryption(arn: str) -> list[dict[str, Any]]:
    return [{"resources": ["secrets"], "provider": {"keyArn": arn}}]


# Clusters

CLUSTERS: list[tuple[Settings, str]] = [
    ({"version": "1.30"}, "unsupported Kubernetes version 1.30; offered are 1.31, 1.32, 1.33, 1.34, 1.35, 1.36, 1.37"),
    ({"roleArn": f"arn:aws:iam::{ACCOUNT}:role/nobody"}, "or the trusted entity is not correct: there is none"),
    (lambda a: {"roleArn": a.node_role}, "its trust policy must allow sts:AssumeRole to eks.amazonaws.com"),
    (lambda a: {"resourcesVpcConfig": {"subnetIds": a.subnets[:1]}}, "Subnets specified must be in at least two different AZs"),
    ({"resourcesVpcConfig": {"subnetIds": ["subnet-1"]}}, "The subnet ID 'subnet-1' does not exist"),
    (
        lambda a: {"resourcesVpcConfig": {"subnetIds": a.subnets, "securityGroupIds": ["sg-1"]}},
        "The security group 'sg-1' does not exist",
    ),
    (
        lambda a: {"resourcesVpcConfig": {"subnetIds": [a.subnets[0], other_vpc(a)]}},
        "Subnets specified must belong to the same VPC",
    ),
    (
        lambda a: {"resourcesVpcConfig": {"subnetIds": a.subnets, "endpointPublicAccess": False}},
        "Private and public endpoint access cannot be false",
    ),
    (
        lambda a: {"resourcesVpcConfig": {"subnetIds": a.subnets, "publicAccessCidrs": ["10.1.0.0/16"]}},
        "The following CIDRs are not allowed in publicAccessCidrs: [10.1.0.0/16]",
    ),
    (
        lambda a: {"resourcesVpcConfig": {"subnetIds": a.subnets, "publicAccessCidrs": ["203.0.113.7/24"]}},
        "The following CIDRs are invalid in publicAccessCidrs: [203.0.113.7/24]",
    ),
    (
        {"kubernetesNetworkConfig": {"serviceIpv4Cidr": "10.20.0.0/20"}},
        "serviceIpv4Cidr 10.20.0.0/20 overlaps the block 10.20.0.0/16 of the VPC; use e.g. 172.20.0.0/16",
    ),
    ({"kubernetesNetworkConfig": {"serviceIpv4Cidr": "172.20.0.0/25"}}, "between /24 and /12"),
    ({"encryptionConfig": encryption("arn:aws:kms:us-east-1:1:key/x")}, "does not exist in us-east-1"),
    (lambda a: {"encryptionConfig": encryption(disabled_key(a))}, "is not enabled but Disabled"),
    ({"encryptionConfig": [{"resources": ["pods"]}]}, "the only allowed value is ['secrets']"),
    (
        {"accessConfig": {"authenticationMode": "CONFIG_MAP", "bootstrapClusterCreatorAdminPermissions": False}},
        "bootstrapClusterCreatorAdminPermissions must be true if cluster authentication mode is set to CONFIG_MAP",
    ),
    (
        {"computeConfig": {"enabled": True}},
        "must all be enabled or all disabled; enabled are only computeConfig",
    ),
]


@pytest.mark.parametrize(("settings", "sentence"), CLUSTERS)
def test_a_cluster_is_refused(account: Account, store: Store, settings: Settings, sentence: str) -> None:
    code, message = refusal(lambda: Clusters(store).create_cluster(account.cluster(**settled(settings, account))))
    assert code == "InvalidParameterException"
    assert sentence in message
    assert store.clusters == {}


def test_a_cluster_gets_the_documented_defaults_and_keeps_what_it_is_given(account: Account, store: Store) -> None:
    key = str(account.kms.create_key()["KeyMetadata"]["Arn"])
    given = {
        "encryptionConfig": encryption(key),
        "logging": {"clusterLogging": [{"types": ["audit", "api"], "enabled": True}]},
        "tags": {"team": "llm"},
        "deletionProtection": True,
        "upgradePolicy": {"supportType": "STANDARD"},
        "zonalShiftConfig": {"enabled": True},
        "controlPlaneScalingConfig": {"tier": "tier-xl"},
        "kubeApiServerConfig": {"eventTtl": "2h"},
        "remoteNetworkConfig": {"remoteNodeNetworks": [{"cidrs": ["10.80.0.0/16"]}]},
    }
    told = Clusters(store).create_cluster(account.cluster(**given))["cluster"]
    assert told["logging"]["clusterLogging"] == [
        {"types": ["api", "audit"], "enabled": True},
        {"types": ["authenticator", "controllerManager", "scheduler"], "enabled": False},
    ]
    assert {member: told[member] for member in given if member != "logging"} == {
        member: value for member, value in given.items() if member != "logging"
    }
    assert told["resourcesVpcConfig"] == {
        "subnetIds": account.subnets,
        "securityGroupIds": [],
        "endpointPublicAccess": True,
        "endpointPrivateAccess": True,
        "publicAccessCidrs": ["0.0.0.0/0"],
        "vpcId": account.vpc,
    }
    assert told["kubernetesNetworkConfig"]["serviceIpv4Cidr"] == "172.20.0.0/16"  # the VPC is in 10.0.0.0/8
    assert told["status"] == "CREATING"
    assert "endpoint" not in told
    assert told["identity"]["oidc"]["issuer"].startswith("https://oidc.eks.us-east-1.amazonaws.com/id/")
    plain = Clusters(store).create_cluster(
        {key: value for key, value in account.cluster(name="plain").items() if key != "version"}
    )
    assert plain["cluster"]["version"] == "1.36"
    assert plain["cluster"]["upgradePolicy"] == {"supportType": "EXTENDED"}
    assert refusal(lambda: Clusters(store).create_cluster(account.cluster(name="plain"))) == (
        "ResourceInUseException",
        "Cluster already exists with name: plain",
    )


def test_a_cluster_is_not_deleted_while_something_stands_in_the_way(account: Account, store: Store, cluster: Cluster) -> None:
    def delete() -> dict[str, Any]:
        return Clusters(store).delete_cluster({"name": "main"})

    cluster.shape["deletionProtection"] = True
    assert refusal(delete)[0] == "InvalidRequestException"
    cluster.shape["deletionProtection"] = False
    Nodegroups(store).create_nodegroup(account.nodegroup())
    assert refusal(delete) == ("ResourceInUseException", "Cluster has nodegroups attached")
    cluster.nodegroups.clear()
    cluster.shape["status"] = "UPDATING"
    assert refusal(delete)[0] == "ResourceInUseException"
    cluster.shape["status"] = "ACTIVE"
    assert delete()["cluster"]["status"] == "DELETING"
    assert refusal(lambda: Nodegroups(store).create_nodegroup(account.nodegroup()))[0] == "InvalidRequestException"


# Updates of clusters

UPDATES: list[tuple[dict[str, Any], str]] = [
    ({}, "Only one type of update can be allowed: none is asked"),
    (
        {"deletionProtection": True, "upgradePolicy": {"supportType": "STANDARD"}},
        "Only one type of update can be allowed: asked are UpgradePolicyUpdate, DeletionProtectionUpdate",
    ),
    (
        {"resourcesVpcConfig": {"endpointPublicAccess": False, "subnetIds": []}},
        "Only one type of update can be allowed: asked are EndpointAccessUpdate, VpcConfigUpdate",
    ),
    ({"deletionProtection": False}, "No changes needed: cluster main is already at the desired configuration"),
    ({"logging": {"clusterLogging": [{"types": ["api"], "enabled": False}]}}, "No changes needed"),
    (
        {"accessConfig": {"authenticationMode": "CONFIG_MAP"}},
        "Unsupported authentication mode update from API to CONFIG_MAP",
    ),
    (
        {"resourcesVpcConfig": {"endpointPublicAccess": False, "endpointPrivateAccess": False}},
        "Private and public endpoint access cannot be false",
    ),
]


@pytest.mark.parametrize(("parameters", "sentence"), UPDATES)
def test_a_change_of_a_cluster_is_refused(store: Store, cluster: Cluster, parameters: dict[str, Any], sentence: str) -> None:
    code, message = refusal(lambda: ClusterUpdates(store).update_cluster_config({"name": "main"} | parameters))
    assert code == "InvalidParameterException"
    assert sentence in message
    assert cluster.shape["status"] == "ACTIVE"


def test_new_subnets_must_lie_in_the_zones_of_the_beginning(account: Account, store: Store, cluster: Cluster) -> None:
    elsewhere = account.subnet(account.vpc, "10.20.9.0/24", "d")
    change = {"name": "main", "resourcesVpcConfig": {"subnetIds": [*account.subnets, elsewhere]}}
    message = refusal(lambda: ClusterUpdates(store).update_cluster_config(change))[1]
    assert "availability zones of the cluster's creation, us-east-1a, us-east-1b, us-east-1c; us-east-1d is none" in message
    inside = account.subnet(account.vpc, "10.20.8.0/24", "a")
    change = {"name": "main", "resourcesVpcConfig": {"subnetIds": [*account.subnets, inside]}}
    update = ClusterUpdates(store).update_cluster_config(change)["update"]
    assert (update["type"], update["status"], update["params"][0]["type"]) == ("VpcConfigUpdate", "InProgress", "Subnets")
    assert cluster.shape["status"] == "UPDATING"
    busy = refusal(lambda: ClusterUpdates(store).update_cluster_config({"name": "main", "deletionProtection": True}))
    assert busy == ("ResourceInUseException", "Cluster main has an update in progress.")
    assert Updates(store).list_updates({"name": "main"})["updateIds"] == [update["id"]]


@pytest.mark.parametrize(("start", "mode", "allowed"), [
    ("CONFIG_MAP", "API_AND_CONFIG_MAP", True),
    ("API_AND_CONFIG_MAP", "API", True),
    ("CONFIG_MAP", "API", False),
    ("API", "API_AND_CONFIG_MAP", False),
])  # fmt: skip
def test_the_authentication_mode_goes_one_way(store: Store, cluster: Cluster, start: str, mode: str, allowed: bool) -> None:
    cluster.shape["accessConfig"]["authenticationMode"] = start
    change = {"name": "main", "accessConfig": {"authenticationMode": mode}}
    if allowed:
        assert ClusterUpdates(store).update_cluster_config(change)["update"]["type"] == "AccessConfigUpdate"
    else:
        assert "Unsupported authentication mode update" in refusal(lambda: ClusterUpdates(store).update_cluster_config(change))[1]


@pytest.mark.parametrize(
    ("version", "code", "sentence"),
    [
        ("1.37", "InvalidParameterException", "Unsupported Kubernetes minor version update from 1.35 to 1.37"),
        ("1.34", "InvalidParameterException", "Unsupported Kubernetes minor version update from 1.35 to 1.34"),
        ("1.35", "InvalidParameterException", "Unsupported Kubernetes minor version update from 1.35 to 1.35"),
        ("1.99", "InvalidParameterException", "unsupported Kubernetes version 1.99"),
        ("1.36", "InvalidRequestException", "Nodegroups gpu must be updated before the cluster can be at 1.36"),
    ],
)
def test_an_upgrade_is_refused(account: Account, store: Store, cluster: Cluster, version: str, code: str, sentence: str) -> None:
    Nodegroups(store).create_nodegroup(account.nodegroup(version="1.32"))
    refused = refusal(lambda: ClusterUpdates(store).update_cluster_version({"name": "main", "version": version}))
    assert (refused[0], sentence in refused[1]) == (code, True)


def test_an_upgrade_goes_one_minor_version_up(store: Store, cluster: Cluster) -> None:
    update = ClusterUpdates(store).update_cluster_version({"name": "main", "version": "1.36"})["update"]
    assert (update["type"], update["params"][0]) == ("VersionUpdate", {"type": "Version", "value": "1.36"})


def test_encryption_comes_once(account: Account, store: Store, cluster: Cluster) -> None:
    wanted = {"clusterName": "main", "encryptionConfig": encryption(str(account.kms.create_key()["KeyMetadata"]["Arn"]))}
    assert ClusterUpdates(store).associate_encryption_config(wanted)["update"]["type"] == "AssociateEncryptionConfig"
    cluster.shape |= {"status": "ACTIVE", "encryptionConfig": wanted["encryptionConfig"]}
    assert refusal(lambda: ClusterUpdates(store).associate_encryption_config(wanted))[0] == "ResourceInUseException"


# Node groups

BLOCK = {
    "InstanceType": "p5.48xlarge",
    "InstanceMarketOptions": {"MarketType": "capacity-block"},
    "CapacityReservationSpecification": {"CapacityReservationTarget": {"CapacityReservationId": "cr-0123456789abcdef0"}},
}


def templated(account: Account, data: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """Parameters with a launch template, and with None for what the defaults of the tests give and is not wanted."""
    return {"launchTemplate": {"id": account.launch_template(**data)}} | settings


GROUPS: list[tuple[Settings, str]] = [
    ({"nodeRole": f"arn:aws:iam::{ACCOUNT}:role/nobody"}, "The role with name nobody cannot be found."),
    (
        lambda a: {"nodeRole": a.cluster_role},
        "Following required service principals [ec2.amazonaws.com] were not found in the trust relationships of nodeRole",
    ),
    ({"subnets": []}, "subnets is empty"),
    ({"subnets": ["subnet-1"]}, "The subnet ID 'subnet-1' does not exist"),
    (lambda a: {"subnets": [other_vpc(a)]}, "is not in the VPC"),
    ({"version": "1.36"}, "Nodegroup Kubernetes version 1.36 should not be newer than the cluster's version 1.35"),
    ({"version": "1.31"}, "is more than 3 minor versions older than the cluster's 1.35"),
    ({"instanceTypes": ["g6.tiny"]}, "The following supplied instance types do not exist: [g6.tiny]"),
    ({"instanceTypes": ["m7i.large"]}, "[m7i.large] is not a valid instance type for requested amiType AL2023_x86_64_NVIDIA"),
    ({"amiType": "AL2023_x86_64_STANDARD"}, "[g6.xlarge] is not a valid instance type for requested amiType"),
    ({"amiType": "AL2023_ARM_64_NVIDIA"}, "[g6.xlarge] is not a valid instance type for requested amiType"),
    ({"instanceTypes": ["inf2.xlarge"]}, "[inf2.xlarge] is not a valid instance type for requested amiType"),
    ({"amiType": "AL2_x86_64_GPU"}, "AMI Type AL2_x86_64_GPU is only supported for kubernetes versions 1.32 or earlier"),
    ({"amiType": "CUSTOM"}, "Launch template details can't be null for Custom ami type node group"),
    ({"releaseVersion": "1.34.0-20260714"}, "Requested release version 1.34.0-20260714 is not valid for kubernetes version 1.35"),
    ({"releaseVersion": "latest"}, "releases of AL2023_x86_64_NVIDIA look like 1.36.0-20260714"),
    ({"amiType": "BOTTLEROCKET_x86_64_NVIDIA", "releaseVersion": "1.63.0"}, "look like 1.63.0-0123abcd"),
    (
        {"scalingConfig": {"minSize": 2, "maxSize": 3, "desiredSize": 1}},
        "Minimum capacity 2 can't be greater than desired size 1",
    ),
    (
        {"scalingConfig": {"minSize": 0, "maxSize": 1, "desiredSize": 2}},
        "desired capacity 2 can't be greater than max size 1",
    ),
    ({"scalingConfig": {"minSize": 0, "maxSize": 451, "desiredSize": 0}}, "max size 451 is more than 450 nodes"),
    ({"labels": {"eks.amazonaws.com/pool": "gpu"}}, "cannot contain reserved prefixes"),
    ({"labels": {"node.kubernetes.io/pool": "gpu"}}, "cannot contain reserved prefixes"),
    ({"labels": {"pool": "a b"}}, "Label pool=a b is not a valid Kubernetes label"),
    ({"taints": [{"key": "gpu"}]}, "must have a key and an effect"),
    ({"taints": [{"key": "gpu", "effect": "NO_SCHEDULE"}] * 2}, "Two taints have the same key and effect"),
    ({"taints": [{"key": f"t{n}", "effect": "NO_SCHEDULE"} for n in range(51)]}, "51 taints are more than the 50"),
    (
        {"updateConfig": {"maxUnavailable": 1, "maxUnavailablePercentage": 50}},
        "only one of maxUnavailable, maxUnavailablePercentage is allowed",
    ),
    (
        {"nodeRepairConfig": {"maxUnhealthyNodeThresholdCount": 1, "maxUnhealthyNodeThresholdPercentage": 5}},
        "only one of maxUnhealthyNodeThresholdCount, maxUnhealthyNodeThresholdPercentage is allowed",
    ),
    (
        {"nodeRepairConfig": {"nodeRepairConfigOverrides": [{"repairAction": "Reboot"}]}},
        "nodeRepairConfigOverrides lacks nodeMonitoringCondition, nodeUnhealthyReason, minRepairWaitTimeMins",
    ),
    ({"launchTemplate": {"id": "lt-1"}}, "Launch template lt-1 does not exist"),
    (lambda a: {"launchTemplate": {"id": a.launch_template(UserData=""), "version": "2"}}, "has no version 2"),
    (lambda a: templated(a, {"InstanceType": "g6.xlarge"}), "given in the launch template or in instanceTypes, not in both"),
    (lambda a: templated(a, {}, diskSize=50), "Disk size must be specified within the launch template."),
    (lambda a: templated(a, {}, remoteAccess={}), "Remote access configuration must be specified within the launch template."),
    (lambda a: templated(a, {"IamInstanceProfile": {"Name": "x"}}), "must not specify an IAM instance profile"),
    (lambda a: templated(a, {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": a.subnets[0]}]}), "must not specify a subnet"),
    (lambda a: templated(a, {"InstanceMarketOptions": {"MarketType": "spot"}}), "use capacityType SPOT"),
    (lambda a: templated(a, {"ImageId": "ami-1"}), "You cannot specify an AMI Type other than CUSTOM"),
    (
        lambda a: templated(a, {"ImageId": "ami-1"}, amiType="CUSTOM", releaseVersion="1.35.0-20260714"),
        "You cannot specify the field releaseVersion when using custom AMIs.",
    ),
    ({"capacityType": "CAPACITY_BLOCK"}, "CAPACITY_BLOCK needs capacity-block there, and nothing else does"),
    (
        lambda a: templated(a, {"InstanceMarketOptions": {"MarketType": "capacity-block"}}, capacityType="CAPACITY_BLOCK"),
        "The instance type g6.xlarge cannot be had as CAPACITY_BLOCK; it can as on-demand, spot",
    ),
    (
        lambda a: templated(a, BLOCK, instanceTypes=[], capacityType="CAPACITY_BLOCK"),
        "needs the one subnet in its reservation's zone, not 3",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "sentence"), GROUPS)
def test_a_node_group_is_refused(account: Account, store: Store, cluster: Cluster, settings: Settings, sentence: str) -> None:
    parameters = account.nodegroup(**settled(settings, account))
    if not parameters["instanceTypes"]:
        del parameters["instanceTypes"]
    code, message = refusal(lambda: Nodegroups(store).create_nodegroup(parameters))
    assert code == "InvalidParameterException"
    assert sentence in message
    assert cluster.nodegroups == {}


def test_a_node_group_gets_the_documented_defaults(account: Account, store: Store, cluster: Cluster) -> None:
    told = Nodegroups(store).create_nodegroup(
        {"clusterName": "main", "nodegroupName": "plain", "nodeRole": account.node_role, "subnets": account.subnets}
    )["nodegroup"]
    assert told["scalingConfig"] == {"minSize": 1, "maxSize": 2, "desiredSize": 2}
    assert (told["instanceTypes"], told["amiType"], told["diskSize"]) == (["t3.medium"], "AL2023_x86_64_STANDARD", 20)
    assert (told["version"], told["capacityType"], told["updateConfig"]) == ("1.35", "ON_DEMAND", {"maxUnavailable": 1})
    assert told["releaseVersion"].startswith("1.35.")
    assert refusal(lambda: Nodegroups(store).create_nodegroup(account.nodegroup(nodegroupName="plain"))) == (
        "ResourceInUseException",
        "NodeGroup already exists with name plain and cluster name main",
    )


def test_a_capacity_block_and_a_custom_image_are_taken(account: Account, store: Store, cluster: Cluster) -> None:
    data = BLOCK | {"ImageId": "ami-0123"}
    parameters = account.nodegroup(
        **templated(account, data, amiType="CUSTOM", capacityType="CAPACITY_BLOCK", subnets=account.subnets[:1])
    )
    del parameters["instanceTypes"]
    told = Nodegroups(store).create_nodegroup(parameters)["nodegroup"]
    assert (told["amiType"], told["capacityType"], told["releaseVersion"]) == ("CUSTOM", "CAPACITY_BLOCK", "ami-0123")
    assert cluster.nodegroups["gpu"].instance_type == "p5.48xlarge"
    assert "instanceTypes" not in told  # it is the launch template's
    assert told["launchTemplate"] == {
        "id": parameters["launchTemplate"]["id"],
        "name": told["launchTemplate"]["name"],
        "version": "1",
    }
    assert "diskSize" not in told


def test_changes_of_a_node_group(account: Account, store: Store, cluster: Cluster) -> None:
    Nodegroups(store).create_nodegroup(
        account.nodegroup(labels={"a": "1", "b": "2"}, taints=[{"key": "x", "effect": "NO_EXECUTE"}])
    )
    group, updates = cluster.nodegroups["gpu"], NodegroupUpdates(store)
    change = {"clusterName": "main", "nodegroupName": "gpu", "labels": {"addOrUpdateLabels": {"a": "3"}, "removeLabels": ["b"]}}
    assert refusal(lambda: updates.update_nodegroup_config(change))[0] == "ResourceInUseException"  # it is CREATING
    group.shape["status"] = "ACTIVE"
    taints = {
        "addOrUpdateTaints": [{"key": "y", "effect": "NO_SCHEDULE"}],
        "removeTaints": [{"key": "x", "effect": "NO_EXECUTE"}],
    }
    update = updates.update_nodegroup_config(change | {"taints": taints, "scalingConfig": {"desiredSize": 2}})["update"]
    assert (group.shape["labels"], group.shape["taints"]) == ({"a": "3"}, [{"key": "y", "effect": "NO_SCHEDULE"}])
    assert group.shape["scalingConfig"] == {"minSize": 0, "maxSize": 3, "desiredSize": 2}
    assert {entry["type"] for entry in update["params"]} == {
        "DesiredSize", "LabelsToAdd", "LabelsToRemove", "TaintsToAdd", "TaintsToRemove",
    }  # fmt: skip
    assert Updates(store).list_updates({"name": "main", "nodegroupName": "gpu"})["updateIds"] == [update["id"]]
    assert Updates(store).list_updates({"name": "main"})["updateIds"] == []
    missing = refusal(lambda: Updates(store).describe_update({"name": "main", "updateId": update["id"]}))
    assert missing[0] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"launchTemplate": {"version": "2"}}, "was created without a launch template"),
        ({"version": "1.36"}, "should not be newer than the cluster's version 1.35"),
        ({"version": "1.34"}, "cannot go down from 1.35 to 1.34"),
        ({"releaseVersion": "1.34.0-20260714"}, "is not valid for kubernetes version 1.35"),
    ],
)
def test_a_new_version_of_a_node_group_is_refused(
    account: Account, store: Store, cluster: Cluster, parameters: dict[str, Any], sentence: str
) -> None:
    Nodegroups(store).create_nodegroup(account.nodegroup())
    cluster.nodegroups["gpu"].shape["status"] = "ACTIVE"
    identity = {"clusterName": "main", "nodegroupName": "gpu"}
    code, message = refusal(lambda: NodegroupUpdates(store).update_nodegroup_version(identity | parameters))
    assert (code, sentence in message) == ("InvalidParameterException", True)


def test_the_number_of_node_groups_is_limited(account: Account, store: Store, cluster: Cluster) -> None:
    for number in range(30):
        Nodegroups(store).create_nodegroup(account.nodegroup(nodegroupName=f"g{number}"))
    code, message = refusal(lambda: Nodegroups(store).create_nodegroup(account.nodegroup()))
    assert (code, message) == ("ResourceLimitExceededException", "The cluster main has 30 node groups, which is the limit")


# Add-ons

ADDONS: list[tuple[Settings, str, str]] = [
    ({"addonName": "vpc-cnii"}, "ResourceNotFoundException", "Addon vpc-cnii specified is not supported"),
    ({"addonVersion": "1.20"}, "InvalidParameterException", "Addon version specified is not supported"),
    (
        {"addonName": "kube-proxy", "addonVersion": "v1.36.0-eksbuild.1"},
        "InvalidParameterException",
        "use e.g. v1.35.0-eksbuild.2",
    ),
    ({"configurationValues": "a: b"}, "InvalidParameterException", "is not valid JSON"),
    ({"configurationValues": "[]"}, "InvalidParameterException", "is not a JSON object"),
    (
        {"configurationValues": json.dumps({"enableNetworkPolicy": True, "env": {"WARM_PREFIX_TARGET": 1}})},
        "InvalidParameterException",
        "[$.enableNetworkPolicy: boolean found, string expected, $.env.WARM_PREFIX_TARGET: integer found, string expected]",
    ),
    (
        {"serviceAccountRoleArn": f"arn:aws:iam::{ACCOUNT}:role/nobody"},
        "InvalidParameterException",
        "does not exist",
    ),
    ({"namespaceConfig": {"namespace": "Kube"}}, "InvalidParameterException", "no name of a Kubernetes namespace"),
    (
        lambda a: {"podIdentityAssociations": [{"serviceAccount": "aws-node", "roleArn": a.node_role}]},
        "InvalidParameterException",
        "its trust policy must allow sts:AssumeRole, sts:TagSession to pods.eks.amazonaws.com",
    ),
]


@pytest.mark.parametrize(("settings", "code", "sentence"), ADDONS)
def test_an_add_on_is_refused(
    account: Account, store: Store, cluster: Cluster, settings: Settings, code: str, sentence: str
) -> None:
    parameters = {"clusterName": "main", "addonName": "vpc-cni"} | settled(settings, account)
    refused = refusal(lambda: Addons(store).create_addon(parameters))
    assert (refused[0], sentence in refused[1]) == (code, True)
    assert cluster.addons == {}


def test_an_add_on_makes_the_associations_it_is_given_and_keeps_them_to_itself(
    account: Account, store: Store, cluster: Cluster
) -> None:
    role = account.role("csi", "pods.eks.amazonaws.com", PODS)
    wanted = {"serviceAccount": "ebs-csi-controller-sa", "roleArn": role}
    told = Addons(store).create_addon(
        {"clusterName": "main", "addonName": "aws-ebs-csi-driver", "podIdentityAssociations": [wanted]}
    )
    (listed,) = PodIdentity(store).list_pod_identity_associations({"clusterName": "main"})["associations"]
    assert told["addon"]["podIdentityAssociations"] == [listed["associationArn"]]
    assert (listed["namespace"], listed["ownerArn"]) == ("kube-system", told["addon"]["addonArn"])
    identity = {"clusterName": "main", "associationId": listed["associationId"]}
    assert refusal(lambda: PodIdentity(store).delete_pod_identity_association(identity))[0] == "InvalidRequestException"
    assert refusal(lambda: Addons(store).create_addon({"clusterName": "main", "addonName": "aws-ebs-csi-driver"})) == (
        "ResourceInUseException",
        "Addon already exists.",
    )


def test_add_on_versions_have_a_default_per_kubernetes_version_and_the_schema_says_what_is_checked(store: Store) -> None:
    (found,) = Addons(store).describe_addon_versions({"addonName": "coredns", "kubernetesVersion": "1.36"})["addons"]
    compatible = {one["addonVersion"]: one["compatibilities"][0]["defaultVersion"] for one in found["addonVersions"]}
    assert compatible == {"v1.36.0-eksbuild.2": False, "v1.36.0-eksbuild.1": True}
    told = Addons(store).describe_addon_configuration({"addonName": "vpc-cni", "addonVersion": "v1.36.0-eksbuild.1"})
    schema = json.loads(told["configurationSchema"])
    assert schema["properties"]["env"]["additionalProperties"] == {"type": "string"}
    assert schema["properties"]["nodeAgent"]["properties"]["enablePolicyEventLogs"] == {"type": "string"}
    assert told["podIdentityConfiguration"][0]["serviceAccount"] == "aws-node"
    assert len(addon_catalog.kinds()) == 21


# Access

ENTRIES: list[tuple[Settings, str]] = [
    ({"principalArn": "admin"}, "The principalArn admin is no ARN of an IAM user or role"),
    ({"principalArn": f"arn:aws:sts::{ACCOUNT}:assumed-role/node/me"}, "is no ARN of an IAM user or role"),
    (
        {"principalArn": f"arn:aws:iam::{ACCOUNT}:role/nobody"},
        "The specified principalArn is invalid: invalid principal",
    ),
    (
        {"kubernetesGroups": ["system:masters"]},
        "The kubernetes group name system:masters is invalid, it cannot start with",
    ),
    ({"type": "ROOT"}, "The access entry type ROOT is none of STANDARD"),
    ({"type": "EC2_LINUX", "username": "me"}, "takes no kubernetesGroups and no username"),
]


@pytest.mark.parametrize(("settings", "sentence"), ENTRIES)
def test_an_access_entry_is_refused(account: Account, store: Store, cluster: Cluster, settings: Settings, sentence: str) -> None:
    parameters = {"clusterName": "main", "principalArn": account.node_role} | settled(settings, account)
    code, message = refusal(lambda: Access(store).create_access_entry(parameters))
    assert (code, sentence in message) == ("InvalidParameterException", True)


def test_there_is_one_access_entry_per_principal(account: Account, store: Store, cluster: Cluster) -> None:
    access = Access(store)
    entry = access.create_access_entry({"clusterName": "main", "principalArn": account.node_role})["accessEntry"]
    assert entry["username"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/node/{{{{SessionName}}}}"
    again = refusal(lambda: access.create_access_entry({"clusterName": "main", "principalArn": account.node_role}))
    assert again == ("ResourceInUseException", "The specified access entry resource is already in use on this cluster.")
    # What moto's STS calls its default caller and the IAM user it stands for are one principal.
    moto = {"clusterName": "main", "principalArn": f"arn:aws:sts::{ACCOUNT}:user/moto"}
    access.create_access_entry(moto)
    found = access.describe_access_entry({"clusterName": "main", "principalArn": f"arn:aws:iam::{ACCOUNT}:user/moto"})
    assert found["accessEntry"]["principalArn"] == moto["principalArn"]
    people = str(account.iam.create_user(UserName="somebody")["User"]["Arn"])
    assert access.create_access_entry({"clusterName": "main", "principalArn": people})["accessEntry"]["username"] == people
    other = "arn:aws:iam::999999999999:role/partner"  # whether it exists is known there only
    assert access.create_access_entry({"clusterName": "main", "principalArn": other})
    cluster.shape["accessConfig"]["authenticationMode"] = "CONFIG_MAP"
    assert "must be set to one of [API, API_AND_CONFIG_MAP]" in refusal(lambda: access.create_access_entry(moto))[1]


@pytest.mark.parametrize(
    ("policy", "scope", "sentence"),
    [
        ("arn:aws:iam::aws:policy/AdministratorAccess", {"type": "cluster"}, "ListAccessPolicies tells those that do"),
        ("AmazonEKSMoonPolicy", {"type": "cluster"}, "ListAccessPolicies tells those that do"),
        ("AmazonEKSViewPolicy", {}, "accessScope.type is missing"),
        ("AmazonEKSViewPolicy", {"type": "namespace"}, "accessScope.namespaces must be given with type namespace"),
        ("AmazonEKSViewPolicy", {"type": "cluster", "namespaces": ["a"]}, "and only then"),
    ],
)
def test_an_access_policy_is_refused(
    account: Account, store: Store, cluster: Cluster, policy: str, scope: dict[str, Any], sentence: str
) -> None:
    access = Access(store)
    access.create_access_entry({"clusterName": "main", "principalArn": account.node_role})
    arn = policy if policy.startswith("arn:") else f"arn:aws:eks::aws:cluster-access-policy/{policy}"
    wanted = {"clusterName": "main", "principalArn": account.node_role, "policyArn": arn, "accessScope": scope}
    assert sentence in refusal(lambda: access.associate_access_policy(wanted))[1]


def test_entries_of_nodes_take_no_policies(account: Account, store: Store, cluster: Cluster) -> None:
    access = Access(store)
    access.create_access_entry({"clusterName": "main", "principalArn": account.node_role, "type": "EC2_LINUX"})
    wanted = {
        "clusterName": "main",
        "principalArn": account.node_role,
        "policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",
        "accessScope": {"type": "cluster"},
    }
    assert refusal(lambda: access.associate_access_policy(wanted))[0] == "InvalidRequestException"


# Pod Identity


def test_an_association_is_refused(account: Account, store: Store, cluster: Cluster) -> None:
    identity = PodIdentity(store)
    role = account.role("pods", "pods.eks.amazonaws.com", PODS)
    half = account.role("half", "pods.eks.amazonaws.com")
    wanted = {"clusterName": "main", "namespace": "serving", "serviceAccount": "llama", "roleArn": role}
    assert "sts:TagSession" in refusal(lambda: identity.create_pod_identity_association(wanted | {"roleArn": half}))[1]
    made = identity.create_pod_identity_association(wanted | {"targetRoleArn": account.node_role})["association"]
    assert made["externalId"]
    assert refusal(lambda: identity.create_pod_identity_association(wanted)) == (
        "ResourceInUseException",
        f"Association already exists: {made['associationId']}",
    )
    change = {"clusterName": "main", "associationId": made["associationId"], "policy": "{}"}
    assert "only with disableSessionTags" in refusal(lambda: identity.update_pod_identity_association(change))[1]
    changed = identity.update_pod_identity_association(change | {"disableSessionTags": True})["association"]
    assert (changed["policy"], changed["modifiedAt"] > changed["createdAt"]) == ("{}", True)
    identity.delete_pod_identity_association({"clusterName": "main", "associationId": made["associationId"]})
    assert identity.list_pod_identity_associations({"clusterName": "main"}) == {"associations": []}


# The rest


def test_tags_of_everything_that_has_an_arn(account: Account, store: Store, cluster: Cluster) -> None:
    arn = Nodegroups(store).create_nodegroup(account.nodegroup(tags={"a": "1"}))["nodegroup"]["nodegroupArn"]
    tags = Tags(store)
    tags.tag_resource({"resourceArn": arn, "tags": {"b": "2"}})
    tags.untag_resource({"resourceArn": arn, "tagKeys": ["a", "c"]})
    assert tags.list_tags_for_resource({"resourceArn": arn}) == {"tags": {"b": "2"}}
    tags.tag_resource({"resourceArn": cluster.shape["arn"], "tags": {"c": "3"}})
    assert cluster.shape["tags"] == {"c": "3"}
    assert refusal(lambda: tags.list_tags_for_resource({"resourceArn": "arn:x"}))[0] == "NotFoundException"


def test_versions_are_told_with_their_support() -> None:
    known = versions.versions()
    assert known["1.34"].status(date(2026, 12, 2)) == "standard-support"
    assert known["1.34"].status(date(2026, 12, 3)) == "extended-support"
    assert known["1.34"].status(date(2027, 12, 3)) == "unsupported"
    (default,) = Versions().describe_cluster_versions({"defaultOnly": True})["clusterVersions"]
    assert (default["clusterVersion"], default["versionStatus"]) == ("1.36", "STANDARD_SUPPORT")
    named = Versions().describe_cluster_versions({"clusterVersions": ["1.35", "1.36"]})["clusterVersions"]
    assert [version["clusterVersion"] for version in named] == ["1.36", "1.35"]


def test_every_operation_of_the_platforms_resources_is_served(store: Store) -> None:
    parts = [
        part(store)
        for part in (Clusters, ClusterUpdates, Nodegroups, NodegroupUpdates, Addons, Access, PodIdentity, Updates, Tags)
    ]
    served = {name for part in (Versions(), *parts) for name in dir(part) if not name.startswith("_")}
    model = ServiceModel(create_loader().load_service_model("eks", "service-2"))
    operations = {xform_name(name) for name in model.operation_names}
    assert served <= operations
    kinds = ("cluster", "nodegroup", "addon", "access_entry", "pod_identity_association")
    assert {f"{verb}_{kind}" for verb in ("create", "describe", "delete") for kind in kinds} <= served
