"""What Karpenter may do, and what its pools become."""

import json
import os
import tomllib
from typing import Any

import pytest

from components.cluster import Karpenter
from components.cluster.karpenter import controller_values
from components.cluster.karpenter_policies import INTERRUPTIONS, LONGEST, POLICIES, Scope, encoded, queue_statements
from components.cluster.karpenter_pools import CapacityType, Pool, node_class_spec, node_pool_spec, selector_terms
from components.inputs import InputError, validate
from components.security.scoped import UNSCOPABLE, check_scoped
from components.versions import KARPENTER
from sandbox.providers.kubernetes.helm.charts import CHARTS_ENV, find
from sandbox.providers.kubernetes.helm.values import problems
from tests.contracts.examples import build
from tests.recorder import Recording, Registration, record

KEY = "arn:aws:kms:us-east-1:123456789012:key/0"
POOL: dict[str, Any] = {
    "name": "l4",
    "instance_types": ["g6.xlarge", "g6.2xlarge"],
    "max_nodes": 3,
    "image": {"family": "bottlerocket", "release": "1.66.0"},
}


def scope(cluster_name: str = "llm") -> Scope:
    return Scope(
        partition="aws",
        region="us-east-1",
        account_id="123456789012",
        cluster_name=cluster_name,
        node_role_arn="arn:aws:iam::123456789012:role/node",
        queue_arn="arn:aws:sqs:us-east-1:123456789012:queue",
    )


def pool(**settings: Any) -> Pool:
    return validate(Pool, POOL | settings, "Karpenter test")


def node_class(of: Pool) -> dict[str, Any]:
    terms = selector_terms(["subnet-0"], "llm")
    return node_class_spec(of, role="node", subnets=terms, security_groups=[{"id": "sg-0"}], key_arn=KEY, tags={"team": "ml"})


# --- permissions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", POLICIES)
def test_every_policy_fits_into_iam_with_the_longest_name_of_a_cluster(key: str) -> None:
    assert len(encoded(POLICIES[key](scope("c" * 100)))) <= LONGEST


@pytest.mark.parametrize("key", POLICIES)
def test_every_statement_is_scoped(key: str) -> None:
    check_scoped(encoded(POLICIES[key](scope())))


def test_one_policy_alone_would_be_too_long() -> None:
    with pytest.raises(ValueError, match=rf"characters, and IAM takes {LONGEST}; use a shorter name"):
        encoded([statement for of in POLICIES.values() for statement in of(scope("c" * 100))])


def test_nothing_is_changed_that_is_not_tagged_as_this_cluster_s() -> None:
    changing = ("ec2:Terminate", "ec2:Delete", "iam:Add", "iam:Remove", "iam:Delete", "iam:Tag", "ec2:CreateTags")
    for of in POLICIES.values():
        for statement in of(scope()):
            if any(action.startswith(changing) for action in statement["Action"]):
                assert "kubernetes.io/cluster/llm" in json.dumps(statement["Condition"]), statement["Sid"]


def test_what_is_on_every_resource_is_for_reading_only() -> None:
    everywhere = [one for of in POLICIES.values() for one in of(scope()) if one["Resource"] == "*" and "Condition" not in one]
    assert {action for one in everywhere for action in one["Action"]} <= UNSCOPABLE


def test_only_its_own_rules_write_to_the_queue_and_only_with_tls() -> None:
    rules = ["arn:aws:events:us-east-1:123456789012:rule/a"]
    allowed, denied = queue_statements(scope().queue_arn, rules)
    assert (allowed["Action"], allowed["Principal"]) == (["sqs:SendMessage"], {"Service": "events.amazonaws.com"})
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": rules}}
    assert denied["Effect"] == "Deny"
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    check_scoped(encoded([allowed, denied]))


# --- pools ------------------------------------------------------------------------------------------------------------


def test_a_pool_becomes_a_node_class() -> None:
    spec = node_class(pool())
    assert spec["amiSelectorTerms"] == [{"alias": "bottlerocket@v1.66.0"}]
    assert spec["metadataOptions"] == {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1}
    assert spec["instanceStorePolicy"] == "RAID0"
    system, data = spec["blockDeviceMappings"]
    assert (system["deviceName"], data["deviceName"], data["rootVolume"]) == ("/dev/xvda", "/dev/xvdb", True)
    assert {each["ebs"]["kmsKeyID"] for each in (system, data)} == {KEY}
    assert all(each["ebs"]["encrypted"] and each["ebs"]["volumeType"] == "gp3" for each in (system, data))
    assert data["ebs"]["throughput"] == 600
    assert spec["tags"] == {"Name": "karpenter-l4", "team": "ml"}
    assert "capacityReservationSelectorTerms" not in spec
    settings = tomllib.loads(spec["userData"])["settings"]
    assert settings["container-runtime"] == {"snapshotter": "soci"}
    [(name, bind)] = settings["bootstrap-commands"].items()
    assert name > "000-mount-instance-storage", "Karpenter's own has to come first"
    assert bind["commands"][0][-1] == "/mnt/llm-platform"


def test_al2023_has_one_volume() -> None:
    spec = node_class(pool(image={"family": "al2023", "release": "1.36.1-20260724"}))
    [volume] = spec["blockDeviceMappings"]
    assert (volume["deviceName"], volume["rootVolume"]) == ("/dev/xvda", True)
    assert spec["amiSelectorTerms"] == [{"alias": "al2023@v20260724"}]
    assert "FastImagePull: true" in spec["userData"]
    assert "localStorage" not in spec["userData"], "Karpenter adds it"


def test_without_local_disks_there_is_no_raid() -> None:
    spec = node_class(pool(instance_types=["g5g.xlarge"]))
    assert "instanceStorePolicy" not in spec
    assert "bootstrap-commands" not in spec["userData"]
    requirements = node_pool_spec(pool(instance_types=["g5g.xlarge"]), "c")["template"]["spec"]["requirements"]
    assert {"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]} in requirements


def test_a_pool_becomes_a_node_pool_that_gives_up_empty_nodes_only() -> None:
    spec = node_pool_spec(pool(consolidate_after_seconds=1200, zones=["us-east-1a"], labels={"tier": "a"}), "l4-abc")
    assert spec["disruption"] == {
        "consolidationPolicy": "WhenEmpty",
        "consolidateAfter": "1200s",
        "budgets": [{"nodes": "100%", "reasons": ["Empty"]}, {"nodes": "0", "reasons": ["Drifted", "Underutilized"]}],
    }
    assert spec["limits"] == {"nvidia.com/gpu": "3", "cpu": "24"}
    template = spec["template"]
    assert template["metadata"]["labels"] == {"tier": "a", "llm-platform/pool": "l4"}
    assert template["spec"]["nodeClassRef"] == {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "l4-abc"}
    assert (template["spec"]["expireAfter"], template["spec"]["terminationGracePeriod"]) == ("Never", "1290s")
    assert template["spec"]["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    assert {each["key"]: each["values"] for each in template["spec"]["requirements"]} == {
        "kubernetes.io/os": ["linux"],
        "kubernetes.io/arch": ["amd64"],
        "node.kubernetes.io/instance-type": ["g6.xlarge", "g6.2xlarge"],
        "karpenter.sh/capacity-type": ["on-demand"],
        "topology.kubernetes.io/zone": ["us-east-1a"],
    }


def test_limits_count_accelerators_of_several() -> None:
    assert node_pool_spec(pool(instance_types=["g6.12xlarge"], max_nodes=2), "c")["limits"] == {
        "nvidia.com/gpu": "8",
        "cpu": "96",
    }
    neuron = pool(instance_types=["inf2.xlarge"], image={"family": "al2023", "release": "1.36.1-20260724"})
    assert node_pool_spec(neuron, "c")["limits"] == {"aws.amazon.com/neuron": "3", "cpu": "12"}


def test_reserved_capacity_is_named() -> None:
    both = [CapacityType.ON_DEMAND, CapacityType.RESERVED]
    of = pool(capacity_types=both, reservation_ids=["cr-0123456789"])
    assert node_class(of)["capacityReservationSelectorTerms"] == [{"id": "cr-0123456789"}]
    requirements = {each["key"]: each["values"] for each in node_pool_spec(of, "c")["template"]["spec"]["requirements"]}
    assert requirements["karpenter.sh/capacity-type"] == ["reserved", "on-demand"]


def test_the_contract_of_a_pool() -> None:
    contract = pool().contract()
    assert contract.accelerator is not None
    assert (contract.accelerator.product, contract.accelerator.per_node, contract.max_nodes) == ("L4", 1, 3)
    assert contract.labels == {"llm-platform/pool": "l4"}
    assert contract.tolerations()[0]["key"] == "nvidia.com/gpu"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"instance_types": ["g6.xlarge", "g6.12xlarge"]}, "g6.12xlarge has 4 x L4 (x86_64) and g6.xlarge 1 x L4 (x86_64)"),
        ({"instance_types": ["g6.xlarge", "g5.xlarge"]}, "g5.xlarge has 1 x A10G (x86_64) and g6.xlarge 1 x L4 (x86_64)"),
        ({"instance_types": ["g6.xlrge"]}, "g6.xlrge is not in the instance catalogue; the nearest are g6.xlarge"),
        ({"instance_types": ["g6f.large"]}, "g6f.large has a fraction of a GPU, which no engine uses; use e.g. g6.xlarge"),
        ({"capacity_types": ["reserved"]}, "capacityTypes with reserved and reservationIds go together"),
        ({"reservation_ids": ["cr-0123456789"]}, "capacityTypes with reserved and reservationIds go together"),
        ({"consolidate_after_seconds": 300}, "300 is not allowed; use 600 or more"),
        ({"image": {"family": "al2023", "release": "latest"}}, "'latest' is not a release of the EKS images of AL2023; use e.g."),
        ({"image": {"family": "bottlerocket", "release": "20260724"}}, "is not a release of Bottlerocket; use e.g. 1.66.0"),
    ],
)
def test_pools_that_cannot_work_are_refused_in_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        pool(**settings)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


# --- the component ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording() -> Recording:
    return record(lambda: build(Karpenter))


def test_all_interruptions_go_to_the_queue(recording: Recording) -> None:
    patterns = [json.loads(rule.inputs["eventPattern"]) for rule in recording.of("aws:cloudwatch/eventRule:EventRule")]
    assert {pattern["detail-type"][0] for pattern in patterns} == {each["detail-type"] for each in INTERRUPTIONS.values()}
    assert len(recording.of("aws:cloudwatch/eventTarget:EventTarget")) == len(INTERRUPTIONS) == 5
    queue = recording.one("aws:sqs/queue:Queue").inputs
    assert (queue["messageRetentionSeconds"], queue["sqsManagedSseEnabled"]) == (300, True)


def test_nodes_may_join_and_addresses_are_not_their_business(recording: Recording) -> None:
    entry = recording.one("aws:eks/accessEntry:AccessEntry").inputs
    assert entry["type"] == "EC2_LINUX"
    attached = [one.inputs["policyArn"] for one in recording.of("aws:iam/rolePolicyAttachment:RolePolicyAttachment")]
    assert not any("CNI" in arn for arn in attached)
    assert len(recording.of("aws:iam/policy:Policy")) == len(POLICIES) == 6


def test_deletion_goes_backwards(recording: Recording) -> None:
    definitions, controller = recording.of("kubernetes:helm.sh/v3:Release")
    assert (definitions.inputs["name"], controller.inputs["name"]) == ("karpenter-crd", "karpenter")
    node_class = recording.one("kubernetes:karpenter.k8s.aws/v1:EC2NodeClass")
    node_pool = recording.one("kubernetes:karpenter.sh/v1:NodePool")
    association = recording.one("aws:eks/podIdentityAssociation:PodIdentityAssociation")
    assert node_class.urn in node_pool.dependencies
    assert controller.urn in node_class.dependencies
    assert {definitions.urn, association.urn, recording.one("aws:eks/accessEntry:AccessEntry").urn} <= controller.dependencies
    attachments = {one.urn for one in _of_controller(recording)}
    assert attachments <= association.dependencies


def test_the_chart_takes_the_values() -> None:
    if not os.environ.get(CHARTS_ENV):
        pytest.skip(f"{CHARTS_ENV} names no directory with facts about charts")
    chart = find("karpenter", KARPENTER)
    assert chart is not None
    assert problems(controller_values("llm", "https://example.com", "queue", {"role": "system"}), chart) == []


def _of_controller(recording: Recording) -> list[Registration]:
    return [one for one in recording.of("aws:iam/rolePolicyAttachment:RolePolicyAttachment") if "controller" in one.name]
