"""The EKS adapters: what they ask of EKS, by EKS's own model, and what they make of its answers."""

from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services import eks
from sandbox.providers.aws.services.eks_access import Addon, addon_parameters, addon_update
from sandbox.providers.aws.services.eks_nodes import NodeGroup, node_group_parameters, node_group_updates, node_group_values
from sandbox.providers.aws.services.shapes import ServiceAdapter
from sandbox.providers.contract import ProviderError
from tests.aws_adapters import sdk_inputs

MODEL = botocore.session.get_session().get_service_model("eks")
KEY = "arn:aws:kms:eu-west-1:123456789012:key/0b1c"
ROLE = "arn:aws:iam::123456789012:role/cluster"

CLUSTER: Values = {
    "accessConfig": {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False},
    "bootstrapSelfManagedAddons": False,
    "computeConfig": {"enabled": True, "nodePools": ["system"], "nodeRoleArn": ROLE},
    "controlPlaneScalingConfig": {"tier": "tier-xl"},
    "deletionProtection": True,
    "enabledClusterLogTypes": ["api", "audit"],
    "encryptionConfig": {"provider": {"keyArn": KEY}, "resources": ["secrets"]},
    "forceUpdateVersion": True,
    "kubeApiServerConfig": {"eventTtl": "2h", "serviceNodePortRange": {"minPort": 30000, "maxPort": 31000}},
    "kubeControllerManagerConfig": {"podGcControllerConfig": {"terminatedPodGcThreshold": 10}},
    "kubeSchedulerConfig": {
        "nodeResourcesFit": {"scoringStrategy": {"type": "MostAllocated", "resources": [{"name": "cpu", "weight": 1}]}}
    },
    "kubernetesNetworkConfig": {
        "elasticLoadBalancing": {"enabled": True},
        "ipFamily": "ipv4",
        "serviceIpv4Cidr": "172.20.0.0/16",
    },
    "name": "prod",
    "remoteNetworkConfig": {"remoteNodeNetworks": {"cidrs": ["10.1.0.0/16"]}, "remotePodNetworks": {"cidrs": ["10.2.0.0/16"]}},
    "roleArn": ROLE,
    "storageConfig": {"blockStorage": {"enabled": True}},
    "upgradePolicy": {"supportType": "STANDARD"},
    "version": "1.35",
    "vpcConfig": {
        "controlPlaneEgressMode": "AWS_MANAGED",
        "endpointPrivateAccess": True,
        "endpointPublicAccess": True,
        "publicAccessCidrs": ["192.0.2.0/24"],
        "securityGroupIds": ["sg-1"],
        "subnetIds": ["subnet-1", "subnet-2"],
    },
    "zonalShiftConfig": {"enabled": True},
}
GROUP: Values = {
    "amiType": "AL2023_x86_64_NVIDIA",
    "capacityType": "SPOT",
    "clusterName": "prod",
    "diskSize": 100,
    "forceUpdateVersion": True,
    "instanceTypes": ["g6.xlarge"],
    "labels": {"a": "1", "b": "2"},
    "launchTemplate": {"id": "lt-1", "version": "1"},
    "nodeGroupName": "gpu",
    "nodeRepairConfig": {
        "enabled": True,
        "maxParallelNodesRepairedCount": 1,
        "maxUnhealthyNodeThresholdPercentage": 30,
        "nodeRepairConfigOverrides": [
            {
                "minRepairWaitTimeMins": 10,
                "nodeMonitoringCondition": "AcceleratedHardwareReady",
                "nodeUnhealthyReason": "NvidiaXID79Error",
                "repairAction": "Replace",
            }
        ],
    },
    "nodeRoleArn": ROLE,
    "releaseVersion": "1.35.0-20260714",
    "remoteAccess": {"ec2SshKey": "key", "sourceSecurityGroupIds": ["sg-1"]},
    "scalingConfig": {"desiredSize": 0, "maxSize": 4, "minSize": 0},
    "subnetIds": ["subnet-1"],
    "taints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "NO_SCHEDULE"}, {"key": "old", "effect": "NO_EXECUTE"}],
    "updateConfig": {"maxUnavailable": 1, "updateStrategy": "MINIMAL"},
    "version": "1.35",
    "warmPoolConfig": {"maxGroupPreparedCapacity": 2, "minSize": 1, "poolState": "STOPPED", "reuseOnScaleIn": True},
}
ADDON: Values = {
    "addonName": "vpc-cni",
    "addonVersion": "v1.20.0-eksbuild.1",
    "clusterName": "prod",
    "configurationValues": '{"enableNetworkPolicy":"true"}',
    "namespaceConfig": {"namespace": "kube-system"},
    "podIdentityAssociations": [{"roleArn": ROLE, "serviceAccount": "aws-node"}],
    "preserve": True,
    "resolveConflictsOnCreate": "OVERWRITE",
    "resolveConflictsOnUpdate": "PRESERVE",
    "serviceAccountRoleArn": ROLE,
}


@pytest.mark.parametrize(("adapter", "inputs"), [(eks.Cluster, CLUSTER), (NodeGroup, GROUP), (Addon, ADDON)])
def test_every_input_of_pulumi_aws_is_used_or_refused(adapter: type[ServiceAdapter], inputs: Values) -> None:
    assert sdk_inputs(adapter) == {*inputs, *adapter.refused, "region", "tags"}


def check_valid(operation: str, parameters: dict[str, Any]) -> None:
    report = ParamValidator().validate(parameters, MODEL.operation_model(operation).input_shape)
    assert not report.has_errors(), report.generate_report()


def cluster_calls(**changes: Any) -> list[tuple[str, dict[str, Any]]]:
    """The calls for changes of the cluster; every one is valid."""
    calls = eks.cluster_updates(CLUSTER, {**CLUSTER, **changes})
    names = {
        "update_cluster_config": ("UpdateClusterConfig", "name"),
        "update_cluster_version": ("UpdateClusterVersion", "name"),
        "associate_encryption_config": ("AssociateEncryptionConfig", "clusterName"),
    }
    for call, parameters in calls:
        operation, name = names[call]
        check_valid(operation, {name: "prod", **parameters})
    return calls


def test_a_cluster_with_everything_is_valid() -> None:
    parameters = eks.cluster_parameters(CLUSTER)
    check_valid("CreateCluster", parameters)
    assert parameters["resourcesVpcConfig"] == CLUSTER["vpcConfig"]
    assert parameters["logging"] == {"clusterLogging": [{"types": ["api", "audit"], "enabled": True}]}
    assert parameters["encryptionConfig"] == [CLUSTER["encryptionConfig"]]
    assert parameters["remoteNetworkConfig"]["remoteNodeNetworks"] == [{"cidrs": ["10.1.0.0/16"]}]


@pytest.mark.parametrize(
    ("name", "value", "parameters"),
    [
        (
            "accessConfig",
            {"authenticationMode": "API_AND_CONFIG_MAP"},
            {"accessConfig": {"authenticationMode": "API_AND_CONFIG_MAP"}},
        ),
        ("controlPlaneScalingConfig", None, {"controlPlaneScalingConfig": {"tier": "standard"}}),
        ("deletionProtection", False, {"deletionProtection": False}),
        ("kubeApiServerConfig", {"eventTtl": "1h"}, {"kubeApiServerConfig": {"eventTtl": "1h"}}),
        ("upgradePolicy", {"supportType": "EXTENDED"}, {"upgradePolicy": {"supportType": "EXTENDED"}}),
        ("zonalShiftConfig", {"enabled": False}, {"zonalShiftConfig": {"enabled": False}}),
        (
            "enabledClusterLogTypes",
            ["audit", "scheduler"],
            {
                "logging": {
                    "clusterLogging": [
                        {"types": ["audit", "scheduler"], "enabled": True},
                        {"types": ["api"], "enabled": False},
                    ]
                }
            },
        ),
        ("enabledClusterLogTypes", None, {"logging": {"clusterLogging": [{"types": ["api", "audit"], "enabled": False}]}}),
        ("remoteNetworkConfig", None, {"remoteNetworkConfig": {"remoteNodeNetworks": [], "remotePodNetworks": []}}),
        (
            "storageConfig",
            {"blockStorage": {"enabled": False}},
            {
                "computeConfig": CLUSTER["computeConfig"],
                "kubernetesNetworkConfig": {"elasticLoadBalancing": {"enabled": True}},
                "storageConfig": {"blockStorage": {"enabled": False}},
            },
        ),
    ],
)
def test_a_setting_of_a_cluster_changes_by_one_call(name: str, value: Any, parameters: dict[str, Any]) -> None:
    assert cluster_calls(**{name: value}) == [("update_cluster_config", parameters)]


def test_a_cluster_is_upgraded_before_anything_else_and_its_network_changes_by_kinds() -> None:
    network = {**CLUSTER["vpcConfig"], "subnetIds": ["subnet-1"], "securityGroupIds": [], "endpointPublicAccess": False}
    access = {name: network[name] for name in ("endpointPrivateAccess", "endpointPublicAccess", "publicAccessCidrs")}
    assert cluster_calls(version="1.36", vpcConfig=network) == [
        ("update_cluster_version", {"version": "1.36", "force": True}),
        ("update_cluster_config", {"resourcesVpcConfig": access}),
        ("update_cluster_config", {"resourcesVpcConfig": {"subnetIds": ["subnet-1"]}}),
        ("update_cluster_config", {"resourcesVpcConfig": {"securityGroupIds": []}}),
    ]
    assert cluster_calls() == []


def test_the_encryption_of_a_cluster_is_added_and_never_changed() -> None:
    plain = {**CLUSTER, "encryptionConfig": None}
    wanted = {"encryptionConfig": [CLUSTER["encryptionConfig"]]}
    check_valid("AssociateEncryptionConfig", {"clusterName": "prod", **wanted})
    assert eks.cluster_updates(plain, CLUSTER) == [("associate_encryption_config", wanted)]
    with pytest.raises(ProviderError, match="leave `encryptionConfig` as it was"):
        eks.cluster_updates(CLUSTER, plain)


def test_a_node_group_with_everything_is_valid_and_comes_back() -> None:
    parameters = node_group_parameters(GROUP)
    check_valid("CreateNodegroup", parameters)
    assert parameters["warmPoolConfig"]["enabled"] is True
    values = node_group_values(parameters)
    assert {name: values[name] for name in GROUP if name != "forceUpdateVersion"} == {
        name: value for name, value in GROUP.items() if name != "forceUpdateVersion"
    }


def group_calls(**changes: Any) -> list[tuple[str, dict[str, Any]]]:
    calls = node_group_updates(GROUP, {**GROUP, **changes})
    names = {"update_nodegroup_config": "UpdateNodegroupConfig", "update_nodegroup_version": "UpdateNodegroupVersion"}
    for call, parameters in calls:
        check_valid(names[call], {"clusterName": "prod", "nodegroupName": "gpu", **parameters})
    return calls


@pytest.mark.parametrize(
    ("changes", "parameters"),
    [
        ({"version": "1.36"}, {"launchTemplate": {"id": "lt-1", "version": "1"}, "version": "1.36", "force": True}),
        (
            {"launchTemplate": {"id": "lt-1", "version": "2"}},
            {"launchTemplate": {"id": "lt-1", "version": "2"}, "force": True},
        ),
        (
            {"releaseVersion": "1.35.0-20260724", "forceUpdateVersion": None},
            {"launchTemplate": {"id": "lt-1", "version": "1"}, "releaseVersion": "1.35.0-20260724"},
        ),
    ],
)
def test_a_node_group_gets_new_nodes_by_one_call(changes: Values, parameters: dict[str, Any]) -> None:
    assert group_calls(**changes) == [("update_nodegroup_version", parameters)]


@pytest.mark.parametrize(
    ("changes", "parameters"),
    [
        ({"labels": {"b": "3"}}, {"labels": {"addOrUpdateLabels": {"b": "3"}, "removeLabels": ["a"]}}),
        (
            {"taints": [{"key": "nvidia.com/gpu", "value": "no", "effect": "NO_SCHEDULE"}]},
            {
                "taints": {
                    "addOrUpdateTaints": [{"key": "nvidia.com/gpu", "value": "no", "effect": "NO_SCHEDULE"}],
                    "removeTaints": [{"key": "old", "effect": "NO_EXECUTE"}],
                }
            },
        ),
        (
            {"scalingConfig": {"desiredSize": 2, "maxSize": 4, "minSize": 0}, "updateConfig": {"maxUnavailablePercentage": 50}},
            {
                "scalingConfig": {"desiredSize": 2, "maxSize": 4, "minSize": 0},
                "updateConfig": {"maxUnavailablePercentage": 50},
            },
        ),
        ({"nodeRepairConfig": None}, {"nodeRepairConfig": {"enabled": False}}),
        ({"warmPoolConfig": None}, {"warmPoolConfig": {"enabled": False}}),
        ({"warmPoolConfig": {"minSize": 2}}, {"warmPoolConfig": {"enabled": True, "minSize": 2}}),
    ],
)
def test_a_node_group_is_reconfigured_without_new_nodes(changes: Values, parameters: dict[str, Any]) -> None:
    assert group_calls(**changes) == [("update_nodegroup_config", parameters)]


def test_a_node_group_with_taints_in_another_order_is_the_same() -> None:
    assert group_calls(taints=GROUP["taints"][::-1]) == []


def test_an_addon_is_made_with_everything() -> None:
    parameters = addon_parameters(ADDON)
    check_valid("CreateAddon", parameters)
    assert parameters["resolveConflicts"] == "OVERWRITE"


@pytest.mark.parametrize(
    ("changes", "parameters"),
    [
        ({"preserve": False, "resolveConflictsOnUpdate": "NONE"}, {}),
        ({"addonVersion": "v1.21.0-eksbuild.1"}, {"addonVersion": "v1.21.0-eksbuild.1"}),
        ({"configurationValues": None}, {"configurationValues": "{}"}),
        ({"podIdentityAssociations": None}, {"podIdentityAssociations": []}),
    ],
)
def test_an_addon_is_updated_with_its_role_and_its_conflicts_resolved(changes: Values, parameters: dict[str, Any]) -> None:
    update = addon_update(ADDON, {**ADDON, **changes})
    check_valid("UpdateAddon", {"clusterName": "prod", "addonName": "vpc-cni", **update})
    always = {"resolveConflicts": "PRESERVE", "serviceAccountRoleArn": ROLE}
    assert update == ({**parameters, **always} if parameters else {})
