"""Keys, roles of pods, and what holds data on AWS: encrypted, closed, and kept."""

import json
import re
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components.base import PlatformComponent
from components.inputs import InputError
from components.security import EncryptionKey, KeyUse, PodIdentity
from components.security.policies import allow
from components.storage import EfsFileSystem, LustreFileSystem, ModelBucket
from components.storage.lustre_limits import check_capacity
from tests.contracts.examples import KEY_ARN
from tests.recorder import Recording, record

CLIENTS = {"nodes": "sg-nodes", "servers": "sg-servers"}
EFS = {
    "kms_key_arn": KEY_ARN,
    "vpc_id": "vpc-0",
    "subnet_ids": {"us-east-1a": "subnet-a", "us-east-1b": "subnet-b"},
    "client_security_group_ids": CLIENTS,
    "access_points": ["qwen", "llama"],
}
LUSTRE = {
    "kms_key_arn": KEY_ARN,
    "vpc_id": "vpc-0",
    "subnet_id": "subnet-a",
    "client_security_group_ids": CLIENTS,
    "capacity_gib": 1200,
}
INGRESS, EGRESS = (f"aws:vpc/securityGroup{way}Rule:SecurityGroup{way}Rule" for way in ("Ingress", "Egress"))


def made(component: type[PlatformComponent], args: dict[str, Any]) -> Recording:
    """A program with one component named `it`."""

    def program() -> None:
        options = pulumi.ResourceOptions(providers=[aws.Provider("aws", region="us-east-1")])
        component("it", args, options)  # type: ignore[call-arg, arg-type]

    return record(program)


def outputs(recording: Recording) -> dict[str, Any]:
    return recording.outputs[0][1]


def key_policy(uses: list[KeyUse], log_groups: list[str]) -> dict[str, Any]:
    recording = made(EncryptionKey, {"description": "test", "uses": uses, "log_groups": log_groups})
    policy = json.loads(recording.one("aws:kms/key:Key").inputs["policy"])
    return {statement["Sid"]: statement for statement in policy["Statement"]}


def test_a_key_serves_what_it_was_made_for_and_nothing_else() -> None:
    statements = key_policy([KeyUse.EFS, KeyUse.LOGS], ["/aws/eks/llm/cluster", "net-flow-log-*"])
    assert statements.keys() == {"AccountAdministers", "EfsUse", "EfsGrants", "LogGroups"}
    assert statements["EfsUse"]["Condition"]["StringEquals"] == {
        "kms:CallerAccount": "123456789012",
        "kms:ViaService": "elasticfilesystem.us-east-1.amazonaws.com",
    }
    assert statements["LogGroups"]["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"] == [
        "arn:aws:logs:us-east-1:123456789012:log-group:/aws/eks/llm/cluster",
        "arn:aws:logs:us-east-1:123456789012:log-group:net-flow-log-*",
    ]


def test_whoever_administers_a_key_cannot_use_it() -> None:
    administration = key_policy([KeyUse.EFS], [])["AccountAdministers"]
    assert "kms:PutKeyPolicy" in administration["Action"], "without it nobody could ever change the policy"
    for action in ("kms:Decrypt", "kms:Encrypt", "kms:CreateGrant", "kms:GenerateDataKey", "kms:*"):
        assert action not in administration["Action"]


def test_volumes_of_managed_node_groups_open_with_the_role_of_auto_scaling() -> None:
    statements = key_policy([KeyUse.VOLUMES], [])
    for sid in ("AutoScalingUse", "AutoScalingGrants"):
        assert statements[sid]["Condition"]["ArnEquals"]["aws:PrincipalArn"] == (
            "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
        )
    assert statements["AutoScalingGrants"]["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


def test_a_key_rotates_and_refuses_to_go() -> None:
    key = made(EncryptionKey, {"description": "test", "uses": [KeyUse.EFS]}).one("aws:kms/key:Key")
    assert key.inputs["enableKeyRotation"] is True
    assert key.inputs["deletionWindowInDays"] == 30
    assert key.protect


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({"uses": [KeyUse.LOGS]}, "give both, e.g. logs and /aws/eks/llm-prod/cluster"),
        ({"uses": [KeyUse.EFS], "log_groups": ["x"]}, "give both, e.g. logs and /aws/eks/llm-prod/cluster"),
    ],
)
def test_logs_and_log_groups_go_together(args: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        made(EncryptionKey, {"description": "test", **args})


def test_pods_of_one_cluster_get_a_role_once_it_can_do_what_it_should() -> None:
    recording = made(
        PodIdentity,
        {
            "cluster_name": "llm",
            "statements": [allow(["s3:GetObject"], "arn:aws:s3:::models/*")],
            "managed_policies": ["service-role/AmazonEFSCSIDriverPolicy"],
            "service_accounts": {"server": {"namespace_name": "models", "service_account_name": "server-1"}},
        },
    )
    (trusted,) = json.loads(recording.one("aws:iam/role:Role").inputs["assumeRolePolicy"])["Statement"]
    assert trusted["Condition"]["ArnEquals"] == {"aws:SourceArn": "arn:aws:eks:us-east-1:123456789012:cluster/llm"}
    association = recording.one("aws:eks/podIdentityAssociation:PodIdentityAssociation")
    assert (association.inputs["namespace"], association.inputs["serviceAccount"]) == ("models", "server-1")
    (policy,) = recording.of("aws:iam/rolePolicy:RolePolicy")
    (attachment,) = recording.of("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
    assert attachment.inputs["policyArn"] == "arn:aws:iam::aws:policy/service-role/AmazonEFSCSIDriverPolicy"
    assert {policy.urn, attachment.urn} <= association.dependencies
    assert outputs(recording)["roleArn"] == association.inputs["roleArn"]


def test_pods_get_no_role_that_reaches_everything() -> None:
    with pytest.raises(Exception, match=r"s3:GetObject on \* reaches every resource"):
        made(PodIdentity, {"cluster_name": "llm", "statements": [allow(["s3:GetObject"], "*")]})


def test_both_buckets_are_closed_and_only_models_have_a_key_of_ours() -> None:
    recording = made(ModelBucket, {"kms_key_arn": KEY_ARN})
    names = {"it-models-bucket", "it-logs-bucket"}
    for token in (
        "bucketPublicAccessBlock:BucketPublicAccessBlock",
        "bucketOwnershipControls:BucketOwnershipControls",
        "bucketVersioning:BucketVersioning",
        "bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "bucketPolicy:BucketPolicy",
    ):
        assert {part.inputs["bucket"] for part in recording.of(f"aws:s3/{token}")} == names, token
    for block in recording.of("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"):
        assert {key: value for key, value in block.inputs.items() if key != "bucket"} == dict.fromkeys(
            ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True
        )
    encryption = {
        part.inputs["bucket"]: part.inputs["rules"][0]["applyServerSideEncryptionByDefault"]
        for part in recording.of("aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration")
    }
    assert encryption == {
        "it-models-bucket": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": KEY_ARN},
        "it-logs-bucket": {"sseAlgorithm": "AES256"},
    }
    for policy in recording.of("aws:s3/bucketPolicy:BucketPolicy"):
        denied = [s for s in json.loads(policy.inputs["policy"])["Statement"] if s["Sid"] == "DenyInsecureTransport"]
        assert denied[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_a_put_that_names_no_encryption_gets_the_buckets_own() -> None:
    recording = made(ModelBucket, {"kms_key_arn": KEY_ARN})
    (policy,) = (p for p in recording.of("aws:s3/bucketPolicy:BucketPolicy") if "models" in p.name)
    puts = [s for s in json.loads(policy.inputs["policy"])["Statement"] if s["Action"] == ["s3:PutObject"]]
    assert len(puts) == 2
    # An operator with Not holds where the key is absent too, so without this every put of that kind would be denied.
    assert all(list(statement["Condition"]["Null"].values()) == ["false"] for statement in puts)


@pytest.mark.parametrize(
    ("component", "args", "token"),
    [
        (ModelBucket, {"kms_key_arn": KEY_ARN}, "aws:s3/bucket:Bucket"),
        (EfsFileSystem, EFS, "aws:efs/fileSystem:FileSystem"),
        (LustreFileSystem, LUSTRE, "aws:fsx/lustreFileSystem:LustreFileSystem"),
    ],
)
@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({}, (True, True)),
        ({"protect": False}, (False, False)),
        ({"retain": False}, (True, False)),
        ({"protect": False, "retain": True}, (False, True)),
    ],
)
def test_data_is_kept_unless_asked_otherwise(
    component: type[PlatformComponent], args: dict[str, Any], token: str, asked: dict[str, bool], kept: tuple[bool, bool]
) -> None:
    holders = made(component, args | asked).of(token)
    assert {(holder.protect, holder.retain) for holder in holders} == {kept}
    if component is ModelBucket:
        assert {holder.inputs["forceDestroy"] for holder in holders} == {not kept[0]}


def test_efs_is_mounted_by_its_clients_and_by_directory_only() -> None:
    recording = made(EfsFileSystem, EFS)
    system = recording.one("aws:efs/fileSystem:FileSystem").inputs
    assert (system["encrypted"], system["kmsKeyId"], system["throughputMode"]) == (True, KEY_ARN, "elastic")
    rules = recording.of(INGRESS)
    assert {rule.inputs["referencedSecurityGroupId"] for rule in rules} == set(CLIENTS.values())
    assert {(rule.inputs["fromPort"], rule.inputs["toPort"], rule.inputs["ipProtocol"]) for rule in rules} == {
        (2049, 2049, "tcp")
    }
    assert all("cidrIpv4" not in rule.inputs and rule.inputs["description"] for rule in rules)
    assert recording.of(EGRESS) == []
    targets = recording.of("aws:efs/mountTarget:MountTarget")
    assert {target.inputs["subnetId"] for target in targets} == {"subnet-a", "subnet-b"}
    points = {point.inputs["rootDirectory"]["path"]: point.inputs for point in recording.of("aws:efs/accessPoint:AccessPoint")}
    assert points.keys() == {"/models/qwen", "/models/llama"}
    assert all(point["posixUser"] == {"uid": 2000, "gid": 0} for point in points.values())
    assert outputs(recording)["accessPointIds"] == {key: f"it-access-point-{key}-id" for key in ("qwen", "llama")}
    statements = json.loads(recording.one("aws:efs/fileSystemPolicy:FileSystemPolicy").inputs["policy"])["Statement"]
    allowed = [statement for statement in statements if statement["Effect"] == "Allow"]
    assert [statement["Action"] for statement in allowed] == [["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]]


def test_lustre_talks_both_ways_with_its_clients_and_itself() -> None:
    recording = made(LustreFileSystem, LUSTRE)
    own = "it-group-id"
    ports = {(988, 988), (1018, 1023)}

    def traffic(token: str) -> set[tuple[str, str, int, int]]:
        return {
            (r.inputs["securityGroupId"], r.inputs["referencedSecurityGroupId"], r.inputs["fromPort"], r.inputs["toPort"])
            for r in recording.of(token)
        }

    peers = [own, *CLIENTS.values()]
    assert traffic(EGRESS) == {(own, peer, *pair) for peer in peers for pair in ports}
    assert traffic(INGRESS) == {(own, peer, *pair) for peer in peers for pair in ports} | {
        (peer, own, *pair) for peer in CLIENTS.values() for pair in ports
    }
    assert {r.inputs["ipProtocol"] for token in (INGRESS, EGRESS) for r in recording.of(token)} == {"tcp"}


def test_lustre_with_efa_lets_all_traffic_through_between_named_groups_only() -> None:
    recording = made(LustreFileSystem, LUSTRE | {"efa": True, "capacity_gib": 19200})
    rules = [*recording.of(INGRESS), *recording.of(EGRESS)]
    assert {rule.inputs["ipProtocol"] for rule in rules} == {"-1"}
    assert all(rule.inputs["referencedSecurityGroupId"] and "cidrIpv4" not in rule.inputs for rule in rules)


@pytest.mark.parametrize(
    ("capacity", "throughput", "efa", "sentence"),
    [
        (1000, 250, False, "1000 GiB is not sold, only 1200 and multiples of 2400; use 1200"),
        (3600, 250, False, "use 4800"),
        (0, 250, False, "use 1200"),
        (1200, 300, False, "throughput 300 MB/s per TiB is not sold; use 125, 250, 500, 1000"),
        (2400, 250, True, "2400 GiB with EFA at 250 MB/s per TiB is not sold: a server holds 19200 GiB; use 19200"),
    ],
)
def test_sizes_fsx_does_not_sell(capacity: int, throughput: int, efa: bool, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        check_capacity(capacity, throughput, efa)


@pytest.mark.parametrize(("capacity", "throughput", "efa"), [(1200, 125, False), (7200, 500, False), (9600, 1000, True)])
def test_sizes_fsx_sells(capacity: int, throughput: int, efa: bool) -> None:
    check_capacity(capacity, throughput, efa)
