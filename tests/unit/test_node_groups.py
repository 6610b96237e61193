"""What managed node groups and their launch templates consist of, and what they refuse to be."""

import datetime
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from syrupy.assertion import SnapshotAssertion

from components.cluster import GpuNodeGroup, SystemNodeGroup
from components.cluster.capacity import Capacity, CapacityKind
from components.cluster.images import ImageFamily
from components.cluster.launch_template import Disk, efa_interfaces, launch_template
from components.inputs import InputError
from planner.catalog import instance_type, instance_types
from tests.contracts.examples import KEY_ARN
from tests.recorder import Recording, record

COMMON: dict[str, Any] = {
    "cluster_name": "llm",
    "kubernetes_version": "1.36",
    "node_role_arn": "arn:aws:iam::123456789012:role/node",
    "subnet_ids": {"us-east-1b": "subnet-b", "us-east-1a": "subnet-a"},
    "security_group_ids": ["sg-nodes"],
    "kms_key_arn": KEY_ARN,
}
SYSTEM = COMMON | {"instance_types": ["m7g.large", "m6g.large"], "min_nodes": 2, "max_nodes": 4}
GPU = COMMON | {"name": "l4", "instance_types": ["g6.xlarge", "g6.2xlarge"], "min_nodes": 1, "max_nodes": 4}
ONE_ZONE = {"us-east-1a": "subnet-a"}
EFA = {
    "instance_types": ["p5.48xlarge"],
    "efa": True,
    "fabric_security_group_id": "sg-fabric",
    "subnet_ids": ONE_ZONE,
}
AL2023 = {"family": ImageFamily.AL2023, "release": "1.36.1-20260714"}
RESERVATION = {"kind": CapacityKind.RESERVATION, "reservation_id": "cr-0123456789abcdef0", "zone": "us-east-1b"}


def block(starts: int = -1, ends: int = 13, **changed: Any) -> dict[str, Any]:
    """A capacity block that starts and ends so many days from today."""
    day = {key: datetime.timedelta(days=days) for key, days in (("starts", starts), ("ends", ends))}
    dates = {key: (datetime.date.today() + delta).isoformat() for key, delta in day.items()}
    return RESERVATION | {"kind": CapacityKind.CAPACITY_BLOCK} | dates | changed


def system(**changed: Any) -> Recording:
    args: Any = SYSTEM | changed
    return made(lambda opts: SystemNodeGroup("system", args, opts))


def gpu(**changed: Any) -> Recording:
    args: Any = GPU | changed
    return made(lambda opts: GpuNodeGroup("gpu", args, opts))


def made(component: Any) -> Recording:
    return record(lambda: component(pulumi.ResourceOptions(providers=[aws.Provider("aws", region="us-east-1")])))


def group(recording: Recording) -> dict[str, Any]:
    return recording.one("aws:eks/nodeGroup:NodeGroup").inputs


def template(recording: Recording) -> dict[str, Any]:
    return recording.one("aws:ec2/launchTemplate:LaunchTemplate").inputs


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Warnings while the test runs."""
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda message, **_: told.append(message))
    return told


# --- both kinds -------------------------------------------------------------------------------------------------------


def test_a_system_node_group_as_reviewed(snapshot: SnapshotAssertion) -> None:
    recording = system()
    assert [(each.type, each.name, each.inputs) for each in recording.resources if each.on_aws] == snapshot


def test_a_gpu_node_group_as_reviewed(snapshot: SnapshotAssertion) -> None:
    recording = gpu(labels={"team": "ml"}, max_unavailable=2)
    assert [(each.type, each.name, each.inputs) for each in recording.resources if each.on_aws] == snapshot


@pytest.mark.parametrize("make", [system, gpu])
def test_every_instance_is_closed_to_its_pods_and_encrypted(make: Any) -> None:
    found = template(make())
    assert found["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
        "instanceMetadataTags": "disabled",
    }
    assert found["monitoring"] == {"enabled": True}
    disks = [each["ebs"] for each in found["blockDeviceMappings"]]
    assert disks
    assert all((each["encrypted"], each["kmsKeyId"], each["volumeType"]) == ("true", KEY_ARN, "gp3") for each in disks)


@pytest.mark.parametrize("make", [system, gpu])
def test_no_node_has_a_public_address_whatever_its_subnet_gives(make: Any) -> None:
    found = template(make())
    (interface,) = found["networkInterfaces"]
    assert (interface["deviceIndex"], interface["associatePublicIpAddress"]) == (0, "false")
    assert interface["securityGroups"] == ["sg-nodes"]
    # EC2 takes the groups in one place only, and EKS no subnet in a template.
    assert "vpcSecurityGroupIds" not in found
    assert "subnetId" not in interface


@pytest.mark.parametrize("make", [system, gpu])
def test_a_group_that_must_be_replaced_is_made_before_the_old_one_goes(make: Any) -> None:
    found = group(make())
    assert not {"nodeGroupName", "nodeGroupNamePrefix"} & found.keys()


@pytest.mark.parametrize("make", [system, gpu])
def test_whoever_scales_it_later_is_not_overruled(make: Any) -> None:
    assert make().one("aws:eks/nodeGroup:NodeGroup").ignored == {"scalingConfig.desiredSize"}


@pytest.mark.parametrize("make", [system, gpu])
def test_broken_nodes_are_repaired(make: Any) -> None:
    assert group(make())["nodeRepairConfig"] == {"enabled": True}


@pytest.mark.parametrize("make", [system, gpu])
def test_the_image_changes_only_with_its_release(make: Any) -> None:
    found = group(make())
    assert (found["version"], found["releaseVersion"]) == ("1.36", "1.66.0-5d9ac849")
    pinned = group(make(image=AL2023))
    assert (pinned["version"], pinned["releaseVersion"]) == ("1.36", "1.36.1-20260714")


@pytest.mark.parametrize("make", [system, gpu])
def test_a_new_version_of_the_template_reaches_the_nodes(make: Any) -> None:
    recording = make()
    launch = recording.one("aws:ec2/launchTemplate:LaunchTemplate")
    assert group(recording)["launchTemplate"] == {"id": launch.outputs["id"], "version": "1"}
    assert template(recording)["updateDefaultVersion"] is True


@pytest.mark.parametrize("make", [system, gpu])
def test_a_release_of_another_version_of_kubernetes_is_refused(make: Any) -> None:
    with pytest.raises(InputError, match=r"image.release: 1.36.1-20260714 is not a release for Kubernetes 1.37"):
        make(image=AL2023, kubernetes_version="1.37")


def test_the_pools_of_a_cluster_are_told_apart_by_one_label() -> None:
    assert group(system())["labels"] == {"llm-platform/pool": "system"}
    assert "taints" not in group(system()) or group(system())["taints"] == []
    found = group(gpu(labels={"llm-platform/pool": "other", "team": "ml"}))
    assert found["labels"] == {"llm-platform/pool": "l4", "team": "ml"}


# --- sizes and ways of buying -----------------------------------------------------------------------------------------


def test_a_pool_may_have_no_nodes() -> None:
    assert group(gpu(min_nodes=0))["scalingConfig"] == {"minSize": 0, "desiredSize": 0, "maxSize": 4}
    assert group(gpu())["scalingConfig"] == {"minSize": 1, "desiredSize": 1, "maxSize": 4}


def test_on_demand_by_default(warnings: list[str]) -> None:
    assert group(gpu())["capacityType"] == "ON_DEMAND"
    assert warnings == []


def test_spot(warnings: list[str]) -> None:
    assert group(gpu(capacity={"kind": CapacityKind.SPOT}))["capacityType"] == "SPOT"
    assert warnings == []
    gpu(capacity={"kind": CapacityKind.SPOT}, instance_types=["g6.xlarge"])
    assert warnings == ["spot capacity of one instance type is often interrupted; name several in instanceTypes"]


def test_a_reservation_is_used_where_it_is() -> None:
    recording = gpu(capacity=RESERVATION, instance_types=["g6.xlarge"])
    assert group(recording)["subnetIds"] == ["subnet-b"]
    assert (group(recording)["capacityType"], group(recording)["instanceTypes"]) == ("ON_DEMAND", ["g6.xlarge"])
    target = {"capacityReservationTarget": {"capacityReservationId": "cr-0123456789abcdef0"}}
    assert template(recording)["capacityReservationSpecification"] == target
    assert "instanceMarketOptions" not in template(recording)


def test_a_block_is_of_the_type_in_the_template(warnings: list[str]) -> None:
    recording = gpu(capacity=block(), instance_types=["p5.48xlarge"])
    assert group(recording)["capacityType"] == "CAPACITY_BLOCK"
    assert group(recording)["subnetIds"] == ["subnet-b"]
    assert "instanceTypes" not in group(recording)
    assert template(recording)["instanceType"] == "p5.48xlarge"
    assert template(recording)["instanceMarketOptions"] == {"marketType": "capacity-block"}
    # No fewest number: it would stand against EKS emptying the group before the block ends.
    assert group(recording)["scalingConfig"] == {"minSize": 0, "desiredSize": 1, "maxSize": 4}
    assert warnings == []


def test_the_day_a_block_begins_asks_for_no_size_that_eks_refuses() -> None:
    before, after = (group(gpu(capacity=block(starts=day), instance_types=["p5.48xlarge"]))["scalingConfig"] for day in (2, -1))
    # The desired size is ignored once the group is there: what is sent is the old one with the new limits.
    assert after["minSize"] <= before["desiredSize"] <= after["maxSize"]


@pytest.mark.parametrize(
    ("capacity", "strategy"),
    [
        ({"kind": CapacityKind.ON_DEMAND}, "DEFAULT"),
        ({"kind": CapacityKind.SPOT}, "DEFAULT"),
        (RESERVATION, "MINIMAL"),
        (block(), "MINIMAL"),
    ],
)
def test_an_update_needs_no_instance_beyond_what_is_reserved(capacity: dict[str, Any], strategy: str) -> None:
    found = group(gpu(capacity=capacity, instance_types=["p5.48xlarge"]))["updateConfig"]
    assert found == {"maxUnavailable": 1, "updateStrategy": strategy}


def test_before_a_block_begins_its_pool_has_no_nodes(warnings: list[str]) -> None:
    recording = gpu(capacity=block(starts=2), instance_types=["p5.48xlarge"])
    assert group(recording)["scalingConfig"] == {"minSize": 0, "desiredSize": 0, "maxSize": 4}
    (warning,) = warnings
    assert warning.startswith("the capacity block begins on ")


@pytest.mark.parametrize(
    ("today", "expected"),
    [("2026-11-30", "begins on 2026-12-01"), ("2026-12-01", None), ("2026-12-14", None)],
)
def test_the_days_of_a_block(today: str, expected: str | None) -> None:
    capacity = Capacity.model_validate(block() | {"starts": "2026-12-01", "ends": "2026-12-14"})
    told = capacity.check_dates(datetime.date.fromisoformat(today))
    assert told is None if expected is None else told is not None and expected in told


@pytest.mark.parametrize("written", ["2026-12-01", "2026-12-01 00:00:00 +0000 UTC", datetime.date(2026, 12, 1)])
def test_days_may_be_written_with_and_without_quotes(written: Any) -> None:
    # The second is what Pulumi makes of `starts: 2026-12-01` in a stack file.
    assert Capacity.model_validate(block() | {"starts": written, "ends": "2026-12-14"}).starts == datetime.date(2026, 12, 1)


def test_a_block_that_is_over_is_refused() -> None:
    capacity = Capacity.model_validate(block() | {"starts": "2026-12-01", "ends": "2026-12-14"})
    with pytest.raises(ValueError, match="the block ended on 2026-12-14, and with it its instances"):
        capacity.check_dates(datetime.date(2026, 12, 15))


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (
            {"capacity": RESERVATION | {"zone": "us-east-1f"}, "instance_types": ["g6.xlarge"]},
            "us-east-1f is not a zone of the pool; it may use us-east-1a, us-east-1b",
        ),
        ({"capacity": {"kind": "reservation"}}, "reservation needs reservationId and zone"),
        ({"capacity": {"reservation_id": "cr-0123456789abcdef0", "zone": "us-east-1a"}}, "onDemand has no reservation"),
        ({"capacity": RESERVATION | {"reservation_id": "block-1"}}, "'block-1' is not the id of a capacity reservation"),
        ({"capacity": RESERVATION | {"kind": "capacityBlock"}}, "starts and ends belong to kind: capacityBlock"),
        ({"capacity": block(starts=3, ends=2)}, "is not after starts"),
        ({"capacity": block()}, "instanceTypes: a reservation and a capacity block are of one type; name that one"),
        ({"capacity": RESERVATION}, "instanceTypes: a reservation and a capacity block are of one type; name that one"),
        ({"capacity": block(starts=-9, ends=-1), "instance_types": ["p5.48xlarge"]}, "capacity.ends: the block ended on "),
        ({"disk": {"size_gib": 20, "iops": 10001, "throughput_mibps": 125}}, "disk: iops: 10001 needs sizeGib: 21 or more"),
        ({"disk": {"iops": 3000, "throughput_mibps": 1000}}, "disk: throughputMibps: 1000 needs iops: 4000 or more"),
        ({"min_nodes": 5}, "minNodes: 5 is more than maxNodes: 4; raise maxNodes"),
        ({"instance_types": ["g6.xlarge", "g6.12xlarge"]}, "g6.12xlarge has 4 x L4 (x86_64) and g6.xlarge 1 x L4 (x86_64)"),
        ({"instance_types": ["g6f.large"]}, "g6f.large has a fraction of a GPU"),
        ({"instance_types": ["g6.tiny"]}, "g6.tiny"),
        ({"instance_types": ["inf2.xlarge"]}, "EKS has no bottlerocket image for inf2.xlarge"),
        ({"instance_types": ["g6.xlarge"], "efa": True, "fabric_security_group_id": "sg-0"}, "efa: g6.xlarge has no EFA; use"),
        ({"instance_types": ["p5.48xlarge"], "efa": True, "subnet_ids": ONE_ZONE}, "efa needs fabric_security_group_id"),
        (
            EFA | {"subnet_ids": COMMON["subnet_ids"]},
            "zones: nodes with EFA are side by side in one zone; use e.g. zones: [us-east-1a]",
        ),
    ],
)
def test_pools_that_cannot_work_are_refused_in_one_sentence(changed: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError) as refused:
        gpu(**changed)
    assert fault in str(refused.value)
    assert str(refused.value).startswith("GpuNodeGroup gpu: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"min_nodes": 5}, "minNodes: 5 is more than maxNodes: 4"),
        ({"min_nodes": 0}, "0 is not allowed; use 1 or more"),
        ({"instance_types": ["m7g.large", "m7i.large"]}, "do not run one image"),
    ],
)
def test_system_nodes_that_cannot_work_are_refused(changed: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError) as refused:
        system(**changed)
    assert fault in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "tags"),
    [
        ({"instance_types": ["g6.12xlarge"]}, {"k8s.io/cluster-autoscaler/node-template/resources/nvidia.com/gpu": "4"}),
        (
            {"instance_types": ["inf2.24xlarge"], "image": AL2023},
            {"k8s.io/cluster-autoscaler/node-template/resources/aws.amazon.com/neuron": "6"},
        ),
    ],
)
def test_an_autoscaler_knows_what_a_node_would_have_before_there_is_one(changed: dict[str, Any], tags: dict[str, str]) -> None:
    assert group(gpu(min_nodes=0, **changed))["tags"] == tags
    assert not group(system()).get("tags")


# --- accelerators -----------------------------------------------------------------------------------------------------


def test_only_pods_that_want_accelerators_come() -> None:
    assert group(gpu())["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}]
    chosen = [{"key": "team", "effect": "NoExecute"}]
    assert group(gpu(taints=chosen))["taints"] == [{"key": "team", "effect": "NO_EXECUTE"}]
    assert not group(gpu(taints=[])).get("taints")


def test_the_pool_as_workloads_know_it() -> None:
    def program() -> None:
        args: Any = GPU | {"instance_types": ["g6.12xlarge"], "labels": {"team": "ml"}}
        pool = GpuNodeGroup("gpu", args, pulumi.ResourceOptions(providers=[aws.Provider("aws", region="us-east-1")])).pool
        assert (pool.name, pool.max_nodes, pool.labels) == ("l4", 4, {"llm-platform/pool": "l4"})
        assert pool.accelerator is not None
        assert (pool.accelerator.product, pool.accelerator.resource, pool.accelerator.per_node) == ("L4", "nvidia.com/gpu", 4)
        assert pool.capacity() == 16
        assert pool.tolerations() == [{"key": "nvidia.com/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"}]

    record(program)


@pytest.mark.parametrize(
    ("changed", "builtin", "path"),
    [
        ({}, True, "/mnt/llm-platform/models"),
        ({"image": AL2023}, False, "/mnt/k8s-disks/0/models"),
        ({"instance_types": ["g5g.xlarge"]}, True, "/var/lib/llm-platform/models"),
    ],
)
def test_what_workloads_must_know_of_its_nodes(changed: dict[str, Any], builtin: bool, path: str) -> None:
    def program() -> None:
        args: Any = GPU | changed
        made = GpuNodeGroup("gpu", args, pulumi.ResourceOptions(providers=[aws.Provider("aws", region="us-east-1")]))
        assert (made.pool.ships_device_plugin, made.cache_path) == (builtin, path)

    record(program)


def test_efa_joins_all_its_cards_in_one_placement_group() -> None:
    recording = gpu(**EFA)
    found = template(recording)
    assert "vpcSecurityGroupIds" not in found
    interfaces = found["networkInterfaces"]
    assert {tuple(each["securityGroups"]) for each in interfaces} == {("sg-nodes", "sg-fabric")}
    assert [each["networkCardIndex"] for each in interfaces] == [0, *range(32)]
    assert all(each["associatePublicIpAddress"] == "false" and "subnetId" not in each for each in interfaces)
    placement = recording.one("aws:ec2/placementGroup:PlacementGroup")
    assert placement.inputs["strategy"] == "cluster"
    assert found["placement"] == {"groupName": placement.outputs["name"]}


def test_without_efa_there_is_neither() -> None:
    recording = gpu(instance_types=["p5.48xlarge"], fabric_security_group_id="sg-fabric")
    (interface,) = template(recording)["networkInterfaces"]
    assert interface["securityGroups"] == ["sg-nodes"]
    assert "interfaceType" not in interface
    assert "placement" not in template(recording)


def test_efa_in_the_zone_of_a_reservation_may_be_given_every_subnet() -> None:
    recording = gpu(**(EFA | {"capacity": RESERVATION, "subnet_ids": COMMON["subnet_ids"]}))
    assert group(recording)["subnetIds"] == ["subnet-b"]


# --- the launch template by itself ------------------------------------------------------------------------------------


def kinds(*names: str) -> list[tuple[int, int, str]]:
    return [
        (each["network_card_index"], each["device_index"], each["interface_type"])
        for each in efa_interfaces([instance_type(name) for name in names])
    ]


def test_only_the_first_interface_has_an_address() -> None:
    # As AWS lays them out: EC2 user guide, efa-acc-inst-types, and EKS user guide, device-management-efa (p6-b200).
    assert kinds("g6.8xlarge") == [(0, 0, "interface"), (0, 1, "efa-only")]
    fabric = [(0, 1, "efa-only"), *((card, 0, "efa-only") for card in range(1, 8))]
    assert kinds("p6-b200.48xlarge") == [(0, 0, "interface"), *fabric]


def test_where_the_first_card_has_no_efa_there_is_one_card_more() -> None:
    # 17 network cards and 16 EFA interfaces (aws/aws-parallelcluster#7143).
    first, *others = kinds("p6-b300.48xlarge")
    assert first == (0, 0, "interface")
    assert others == [(card, 0, "efa-only") for card in range(1, 17)]


def test_types_that_differ_get_what_all_have() -> None:
    assert len(kinds("p5.48xlarge", "p5en.48xlarge")) == 1 + 16


def test_every_type_gets_as_many_efa_interfaces_as_it_can_have() -> None:
    for name, found in instance_types().items():
        if found.efa_max_interfaces:
            assert len([kind for *_, kind in kinds(name) if kind.startswith("efa")]) == found.efa_max_interfaces, name


@pytest.mark.parametrize(
    ("family", "devices"),
    [(ImageFamily.BOTTLEROCKET, ["/dev/xvda", "/dev/xvdb"]), (ImageFamily.AL2023, ["/dev/xvda"])],
)
def test_the_volume_for_images_and_pods_has_the_size(family: ImageFamily, devices: list[str]) -> None:
    found = launch_template("node", family=family, disk=Disk(size_gib=500), kms_key_arn=KEY_ARN, security_groups=["sg-0"])
    disks = found["block_device_mappings"]
    assert [each["device_name"] for each in disks] == devices
    assert (disks[-1]["ebs"]["volume_size"], disks[-1]["ebs"]["throughput"], disks[-1]["ebs"]["iops"]) == (500, 600, 6000)
    # The system volume of Bottlerocket keeps the size of its snapshot.
    assert all("volume_size" not in each["ebs"] for each in disks[:-1])


@pytest.mark.parametrize(("size", "iops", "throughput"), [(20, 10000, 125), (20, 3000, 750), (160, 80000, 2000)])
def test_volumes_that_can_just_be_had(size: int, iops: int, throughput: int) -> None:
    assert Disk(size_gib=size, iops=iops, throughput_mibps=throughput).iops == iops


def test_what_is_launched_has_a_name() -> None:
    arguments = launch_template("node", family=ImageFamily.AL2023, disk=Disk(), kms_key_arn=KEY_ARN, security_groups=["sg-0"])
    named = {each["resource_type"]: each["tags"] for each in arguments["tag_specifications"]}
    assert named == {kind: {"Name": "node"} for kind in ("instance", "volume", "network-interface")}
