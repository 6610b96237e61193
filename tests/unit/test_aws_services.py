"""The adapters of all services but EC2, each taken through its whole life in an emulated account."""

import base64
import json
from collections.abc import Iterator
from importlib import import_module

import pytest
from botocore.exceptions import ClientError
from pulumi import _types as sdk_types

from sandbox.providers.aws.adapter import Account, Adapter, Values
from sandbox.providers.aws.services import cloudwatch, efs, fsx, iam, iam_oidc, kms, s3, secretsmanager, sqs, ssm
from sandbox.providers.aws.services.shapes import ServiceAdapter
from sandbox.providers.contract import ProviderError
from tests.aws_adapters import (
    ACCOUNT_ID,
    REGION,
    Example,
    Rehearsed,
    another,
    check_read,
    emulated,
    label,
    sdk_class,
    sdk_inputs,
    settled,
    statement,
    take_through_its_life,
    trust,
)

MODULES = (
    "cloudwatch",
    "efs",
    "eks",
    "eks_access",
    "eks_nodes",
    "fsx",
    "iam",
    "iam_oidc",
    "kms",
    "s3",
    "secretsmanager",
    "sqs",
    "ssm",
)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsed]:
    with emulated(tmp_path_factory.mktemp("accounts")) as account:
        yield account


def key_policy(*actions: str) -> str:
    principal = {"AWS": f"arn:aws:iam::{ACCOUNT_ID}:root"}
    allowed = {"Effect": "Allow", "Principal": principal, "Action": actions, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [allowed]})


def make_role(account: Account) -> str:
    return iam.Role().create(account, {"name": another("role"), "assumeRolePolicy": trust("ec2")})


def make_policy(account: Account) -> str:
    return iam.Policy().create(account, {"name": another("policy"), "policy": statement("s3:GetObject")})


def make_key(account: Account) -> str:
    return kms.Key().create(account, {})


def make_key_for_logs(account: Account) -> str:
    allowed = {"Effect": "Allow", "Principal": {"Service": f"logs.{REGION}.amazonaws.com"}, "Action": "kms:*", "Resource": "*"}
    key = kms.Key().create(account, {"policy": json.dumps({"Version": "2012-10-17", "Statement": [allowed]})})
    return f"arn:aws:kms:{REGION}:{ACCOUNT_ID}:key/{key}"


def make_bucket(account: Account) -> str:
    return s3.Bucket().create(account, {"bucket": another("bucket")})


def make_log_bucket(account: Account) -> str:
    bucket = make_bucket(account)
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    return s3.BucketPolicy().create(account, {"bucket": bucket, "policy": policy})


def make_queue(account: Account) -> str:
    return sqs.Queue().create(account, {"name": another("queue")})


def make_rule(account: Account) -> str:
    return cloudwatch.EventRule().create(account, {"name": another("rule"), "scheduleExpression": "rate(5 minutes)"})


def make_file_system(account: Account) -> str:
    identity = efs.FileSystem().create(account, {"encrypted": True})
    settled(efs.FileSystem(), account, identity, {})
    return identity


def make_subnet(account: Account) -> str:
    ec2 = account.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return str(ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"])


def make_group(account: Account) -> str:
    name = another("group")
    return str(account.client("ec2").create_security_group(GroupName=name, Description=name)["GroupId"])


def make_secret(account: Account) -> str:
    return secretsmanager.Secret().create(account, {"name": another("secret")})


EXAMPLES = [
    Example(
        iam.Role(),
        {
            "name": "role",
            "path": "/team/",
            "assumeRolePolicy": trust("eks"),
            "description": "of the cluster",
            "maxSessionDuration": 7200,
            "permissionsBoundary": "$boundary",
            "forceDetachPolicies": True,
            "tags": {"a": "1", "b": "2"},
        },
        {
            "assumeRolePolicy": trust("pods.eks"),
            "description": "of pods",
            "maxSessionDuration": 3600,
            "permissionsBoundary": None,
            "tags": {"b": "3", "c": "4"},
        },
        {"boundary": make_policy},
    ),
    Example(
        iam.Policy(),
        {"name": "policy", "path": "/team/", "description": "read", "policy": statement("s3:GetObject"), "tags": {"a": "1"}},
        {"policy": statement("s3:PutObject"), "tags": {"a": "2"}},
    ),
    Example(
        iam.RolePolicy(),
        {"name": "inline", "role": "$role", "policy": statement("s3:GetObject")},
        {"policy": statement("s3:PutObject")},
        {"role": make_role},
    ),
    Example(
        iam.RolePolicyAttachment(),
        {"role": "$role", "policyArn": "$policy"},
        needs={"role": make_role, "policy": make_policy},
    ),
    Example(
        iam.InstanceProfile(),
        {"name": "profile", "path": "/team/", "role": "$first", "tags": {"a": "1"}},
        {"role": "$second", "tags": {"b": "1"}},
        {"first": make_role, "second": make_role},
    ),
    Example(
        iam.ServiceLinkedRole(),
        {"awsServiceName": "autoscaling.amazonaws.com", "customSuffix": "gpu", "description": "spot", "tags": {"a": "1"}},
        {"description": "spot nodes", "tags": {"a": "2"}},
    ),
    Example(
        iam_oidc.OpenIdConnectProvider(),
        {
            "url": "https://oidc.eks.us-east-1.amazonaws.com/id/EXAMPLE",
            "clientIdLists": ["sts.amazonaws.com"],
            "thumbprintLists": ["9e99a48a9960b14926bb7f3b02e22da2b0ab7280"],
            "tags": {"a": "1"},
        },
        {"thumbprintLists": ["990f4193972f2becf12ddeda5237f9c952f20d9e"], "tags": {"a": "2"}},
    ),
    Example(
        kms.Key(),
        {
            "description": "data",
            "customerMasterKeySpec": "SYMMETRIC_DEFAULT",
            "keyUsage": "ENCRYPT_DECRYPT",
            "multiRegion": False,
            "isEnabled": True,
            "enableKeyRotation": True,
            "policy": key_policy("kms:*"),
            "deletionWindowInDays": 7,
            "bypassPolicyLockoutSafetyCheck": False,
            "tags": {"a": "1"},
        },
        {
            "description": "data of models",
            "enableKeyRotation": False,
            "isEnabled": False,
            "policy": key_policy("kms:Describe*", "kms:PutKeyPolicy"),
            "tags": {"a": "2"},
        },
    ),
    Example(
        kms.Alias(),
        {"name": "alias/data", "targetKeyId": "$first"},
        {"targetKeyId": "$second"},
        {"first": make_key, "second": make_key},
    ),
    Example(
        s3.Bucket(),
        {"bucket": "models", "objectLockEnabled": False, "forceDestroy": True, "tags": {"a": "1"}},
        {"tags": {"b": "2"}},
    ),
    Example(
        s3.BucketVersioning(),
        {"bucket": "$bucket", "versioningConfiguration": {"status": "Enabled"}},
        {"versioningConfiguration": {"status": "Suspended"}},
        {"bucket": make_bucket},
        outlives=True,
    ),
    Example(
        s3.BucketServerSideEncryptionConfiguration(),
        {
            "bucket": "$bucket",
            "rules": [
                {
                    "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": "$key"},
                    "bucketKeyEnabled": True,
                }
            ],
        },
        {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]},
        {"bucket": make_bucket, "key": make_key},
    ),
    Example(
        s3.BucketPublicAccessBlock(),
        {
            "bucket": "$bucket",
            "blockPublicAcls": True,
            "blockPublicPolicy": True,
            "ignorePublicAcls": True,
            "restrictPublicBuckets": True,
            "skipDestroy": False,
        },
        {"ignorePublicAcls": False, "restrictPublicBuckets": None},
        {"bucket": make_bucket},
    ),
    Example(
        s3.BucketOwnershipControls(),
        {"bucket": "$bucket", "rule": {"objectOwnership": "BucketOwnerEnforced"}},
        {"rule": {"objectOwnership": "BucketOwnerPreferred"}},
        {"bucket": make_bucket},
    ),
    Example(
        s3.BucketPolicy(),
        {"bucket": "$bucket", "policy": statement("s3:GetObject")},
        {"policy": statement("s3:PutObject")},
        {"bucket": make_bucket},
    ),
    Example(
        s3.BucketLifecycleConfiguration(),
        {
            "bucket": "$bucket",
            "rules": [
                {
                    "id": "parts",
                    "status": "Enabled",
                    "filter": {"prefix": "models/"},
                    "abortIncompleteMultipartUpload": {"daysAfterInitiation": 3},
                    "noncurrentVersionExpiration": {"noncurrentDays": 30},
                    "noncurrentVersionTransitions": [{"noncurrentDays": 10, "storageClass": "STANDARD_IA"}],
                    "transitions": [{"days": 60, "storageClass": "GLACIER"}],
                }
            ],
        },
        {
            "rules": [
                {
                    "id": "old",
                    "status": "Disabled",
                    "filter": {"and": {"prefix": "old/", "tags": {"kind": "weights"}}},
                    "expiration": {"days": 90},
                },
                {
                    "id": "markers",
                    "status": "Enabled",
                    "filter": {"tag": {"key": "kind", "value": "logs"}},
                    "expiration": {"expiredObjectDeleteMarker": True},
                },
            ]
        },
        {"bucket": make_bucket},
    ),
    Example(
        s3.BucketLogging(),
        {"bucket": "$bucket", "targetBucket": "$bucket", "targetPrefix": "log/"},
        {"targetPrefix": "access/"},
        {"bucket": make_log_bucket},
    ),
    Example(
        sqs.Queue(),
        {
            "name": "interruptions",
            "delaySeconds": 1,
            "kmsMasterKeyId": "alias/aws/sqs",
            "kmsDataKeyReusePeriodSeconds": 600,
            "maxMessageSize": 1024,
            "messageRetentionSeconds": 300,
            "receiveWaitTimeSeconds": 2,
            "visibilityTimeoutSeconds": 60,
            "policy": statement("sqs:SendMessage"),
            "redrivePolicy": "$redrive",
            "tags": {"a": "1"},
        },
        {
            "delaySeconds": None,
            "kmsMasterKeyId": None,
            "kmsDataKeyReusePeriodSeconds": None,
            "maxMessageSize": 2048,
            "messageRetentionSeconds": 600,
            "policy": statement("sqs:*"),
            "receiveWaitTimeSeconds": 3,
            "sqsManagedSseEnabled": True,
            "tags": {"b": "1"},
            "visibilityTimeoutSeconds": 90,
        },
        {
            "redrive": lambda account: json.dumps(
                {
                    "deadLetterTargetArn": sqs.Queue().read(account, make_queue(account), {})["arn"],  # type: ignore[index]
                    "maxReceiveCount": 3,
                }
            )
        },
    ),
    Example(
        sqs.Queue(),
        {
            "name": "ordered.fifo",
            "fifoQueue": True,
            "contentBasedDeduplication": True,
            "deduplicationScope": "messageGroup",
            "fifoThroughputLimit": "perMessageGroupId",
            "sqsManagedSseEnabled": True,
        },
        {"contentBasedDeduplication": False, "deduplicationScope": "queue", "fifoThroughputLimit": "perQueue"},
        name="fifo",
    ),
    Example(
        sqs.QueuePolicy(),
        {"queueUrl": "$queue", "policy": statement("sqs:SendMessage")},
        {"policy": statement("sqs:ReceiveMessage")},
        {"queue": make_queue},
    ),
    Example(
        cloudwatch.EventRule(),
        {
            "name": "spot",
            "description": "interruptions",
            "eventBusName": "default",
            "eventPattern": json.dumps({"source": ["aws.ec2"]}),
            "roleArn": f"arn:aws:iam::{ACCOUNT_ID}:role/events",
            "state": "ENABLED",
            "forceDestroy": False,
            "tags": {"a": "1"},
        },
        {
            "description": "interruptions of spot",
            "eventPattern": None,
            "scheduleExpression": "rate(1 minute)",
            "roleArn": None,
            "state": "DISABLED",
            "tags": {"b": "1"},
        },
    ),
    Example(
        cloudwatch.EventTarget(),
        {
            "rule": "$rule",
            "targetId": "queue",
            "arn": f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:one",
            "eventBusName": "default",
            "deadLetterConfig": {"arn": f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:dead"},
            "inputPath": "$.detail",
            "retryPolicy": {"maximumEventAgeInSeconds": 60, "maximumRetryAttempts": 2},
            "roleArn": f"arn:aws:iam::{ACCOUNT_ID}:role/events",
            "sqsTarget": {"messageGroupId": "one"},
            "forceDestroy": False,
        },
        {
            "arn": f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:two",
            "deadLetterConfig": None,
            "inputPath": None,
            "inputTransformer": {"inputPaths": {"id": "$.detail.id"}, "inputTemplate": '"<id>"'},
            "retryPolicy": {"maximumEventAgeInSeconds": 90, "maximumRetryAttempts": 1},
            "roleArn": None,
            "sqsTarget": None,
        },
        {"rule": make_rule},
    ),
    Example(
        cloudwatch.EventTarget(),
        {"rule": "$rule", "arn": f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:one", "input": json.dumps({"a": 1})},
        {"input": json.dumps({"a": 2})},
        {"rule": make_rule},
        name="unnamed",
    ),
    Example(
        cloudwatch.LogGroup(),
        {
            "name": "/aws/eks/cluster",
            "kmsKeyId": "$key",
            "logGroupClass": "STANDARD",
            "retentionInDays": 7,
            "skipDestroy": False,
            "tags": {"a": "1"},
        },
        {"kmsKeyId": None, "retentionInDays": None, "tags": {"b": "1"}},
        {"key": make_key_for_logs},
    ),
    Example(
        efs.FileSystem(),
        {
            "creationToken": "models",
            "availabilityZoneName": "eu-west-1a",
            "encrypted": True,
            "kmsKeyId": f"arn:aws:kms:{REGION}:{ACCOUNT_ID}:key/one",
            "performanceMode": "generalPurpose",
            "throughputMode": "provisioned",
            "provisionedThroughputInMibps": 128,
            "lifecyclePolicies": [{"transitionToIa": "AFTER_30_DAYS"}, {"transitionToPrimaryStorageClass": "AFTER_1_ACCESS"}],
            "tags": {"Name": "models"},
        },
        {
            "lifecyclePolicies": [{"transitionToArchive": "AFTER_90_DAYS"}],
            "provisionedThroughputInMibps": None,
            "tags": {"Name": "weights"},
            "throughputMode": "elastic",
        },
    ),
    Example(
        efs.FileSystemPolicy(),
        {"fileSystemId": "$system", "policy": statement("elasticfilesystem:*"), "bypassPolicyLockoutSafetyCheck": True},
        {"policy": statement("elasticfilesystem:ClientMount")},
        {"system": make_file_system},
    ),
    Example(
        efs.BackupPolicy(),
        {"fileSystemId": "$system", "backupPolicy": {"status": "ENABLED"}},
        {"backupPolicy": {"status": "DISABLED"}},
        {"system": make_file_system},
        outlives=True,
    ),
    Example(
        efs.MountTarget(),
        {"fileSystemId": "$system", "subnetId": "$subnet", "ipAddress": "10.0.0.9", "securityGroups": ["$first"]},
        {"securityGroups": ["$second"]},
        {
            "system": make_file_system,
            "subnet": make_subnet,
            "first": make_group,
            "second": make_group,
        },
    ),
    Example(
        efs.AccessPoint(),
        {
            "fileSystemId": "$system",
            "posixUser": {"uid": 1000, "gid": 1000, "secondaryGids": [2000]},
            "rootDirectory": {"path": "/models", "creationInfo": {"ownerUid": 1000, "ownerGid": 1000, "permissions": "0750"}},
            "tags": {"a": "1"},
        },
        {"tags": {"a": "2"}},
        {"system": make_file_system},
    ),
    Example(
        fsx.LustreFileSystem(),
        {
            "subnetIds": "$subnet",
            "securityGroupIds": ["$group"],
            "deploymentType": "PERSISTENT_2",
            "storageCapacity": 1200,
            "storageType": "SSD",
            "perUnitStorageThroughput": 250,
            "dataCompressionType": "LZ4",
            "kmsKeyId": f"arn:aws:kms:{REGION}:{ACCOUNT_ID}:key/one",
            "automaticBackupRetentionDays": 0,
            "copyTagsToBackups": False,
            "dailyAutomaticBackupStartTime": "03:00",
            "efaEnabled": True,
            "logConfiguration": {
                "level": "WARN_ERROR",
                "destination": f"arn:aws:logs:{REGION}:{ACCOUNT_ID}:log-group:/aws/fsx/l",
            },
            "metadataConfiguration": {"mode": "USER_PROVISIONED", "iops": 6000},
            "rootSquashConfiguration": {"rootSquash": "365534:65534", "noSquashNids": ["10.0.1.6@tcp"]},
            "weeklyMaintenanceStartTime": "1:05:00",
            "skipFinalBackup": True,
            "finalBackupTags": {"a": "1"},
            "tags": {"a": "1"},
        },
        {
            "automaticBackupRetentionDays": 7,
            "dataCompressionType": "NONE",
            "storageCapacity": 2400,
            "tags": {"a": "2"},
            "weeklyMaintenanceStartTime": "2:06:00",
        },
        {"subnet": make_subnet, "group": make_group},
    ),
    Example(
        fsx.LustreFileSystem(),
        {
            "subnetIds": "$subnet",
            "deploymentType": "PERSISTENT_2",
            "storageType": "INTELLIGENT_TIERING",
            "throughputCapacity": 4000,
            "dataReadCacheConfiguration": {"sizingMode": "USER_PROVISIONED", "size": 64},
        },
        needs={"subnet": make_subnet},
        name="tiering",
    ),
    Example(
        fsx.LustreFileSystem(),
        {
            "subnetIds": "$subnet",
            "deploymentType": "PERSISTENT_1",
            "storageCapacity": 6000,
            "storageType": "HDD",
            "driveCacheType": "READ",
        },
        needs={"subnet": make_subnet},
        name="drives",
    ),
    Example(
        ssm.Parameter(),
        {
            "name": "/platform/token",
            "type": "SecureString",
            "value": "first",
            "description": "a token",
            "allowedPattern": "[a-z]+",
            "dataType": "text",
            "keyId": "alias/aws/ssm",
            "tier": "Standard",
            "overwrite": False,
            "tags": {"a": "1"},
        },
        {"value": "second", "description": "another", "allowedPattern": "[a-z]*", "tier": "Advanced", "tags": {"b": "1"}},
    ),
    Example(
        ssm.Parameter(),
        {"name": "/platform/release", "type": "String", "insecureValue": "1.36.0"},
        {"insecureValue": "1.36.1"},
        name="plain",
    ),
    Example(
        secretsmanager.Secret(),
        {
            "name": "hub",
            "description": "token of the model hub",
            "kmsKeyId": "alias/models",
            "policy": statement("secretsmanager:GetSecretValue"),
            "recoveryWindowInDays": 0,
            "tags": {"a": "1"},
        },
        {"description": "token", "kmsKeyId": "alias/hub", "policy": None, "tags": {"a": "2"}},
    ),
    Example(
        secretsmanager.SecretVersion(),
        {"secretId": "$secret", "secretString": "hf_first", "versionStages": ["AWSCURRENT", "blue"]},
        {"versionStages": ["AWSCURRENT", "green"]},
        {"secret": make_secret},
        outlives=True,
    ),
    Example(
        secretsmanager.SecretVersion(),
        {"secretId": "$secret", "secretBinary": base64.b64encode(b"\0\1").decode()},
        needs={"secret": make_secret},
        outlives=True,
        name="binary",
    ),
]


def adapters() -> list[type[Adapter]]:
    found = (vars(import_module(f"sandbox.providers.aws.services.{name}")).values() for name in MODULES)
    types = {item for items in found for item in items if isinstance(item, type) and issubclass(item, Adapter)}
    return sorted((item for item in types if "token" in vars(item)), key=lambda item: item.token)


@pytest.mark.parametrize("example", EXAMPLES, ids=label)
def test_a_resource_is_made_read_changed_and_deleted(example: Example, account: Rehearsed) -> None:
    take_through_its_life(example, account)


def test_every_input_of_pulumi_aws_is_kept_or_refused() -> None:
    used: dict[str, set[str]] = {}
    for example in EXAMPLES:
        used.setdefault(example.adapter.token, set()).update(example.inputs, example.changed)
    for token, names in used.items():
        adapter = next(item for item in adapters() if item.token == token)
        assert issubclass(adapter, ServiceAdapter)
        refused = {path for path in adapter.refused if "." not in path}
        assert sdk_inputs(adapter) - {"region"} == names | refused, token
        assert not names & refused


@pytest.mark.parametrize("adapter", adapters(), ids=lambda adapter: adapter.token)
def test_an_adapter_names_what_pulumi_aws_has(adapter: type[ServiceAdapter]) -> None:
    inputs = sdk_inputs(adapter)
    paths = adapter.replaces | adapter.unordered | adapter.documents | adapter.write_only | adapter.refused
    assert {path.partition(".")[0] for path in paths} <= inputs
    assert adapter.secrets <= sdk_types.resource_types(sdk_class(adapter)).keys()
    assert adapter.autoname is None or adapter.autoname[0] in inputs
    assert sdk_class(adapter).pulumi_type == adapter.token


def test_a_policy_that_changes_often_keeps_within_its_versions(account: Rehearsed) -> None:
    adapter, inputs = iam.Policy(), {"name": another("policy"), "policy": statement("s3:Get0")}
    identity = adapter.create(account, inputs)
    for number in range(1, 8):
        changed = {**inputs, "policy": statement(f"s3:Get{number}")}
        adapter.update(account, identity, inputs, changed)
        inputs = changed
    assert len(account.client("iam").list_policy_versions(PolicyArn=identity)["Versions"]) == 5
    check_read(adapter, inputs, adapter.read(account, identity, inputs))
    adapter.delete(account, identity, inputs)
    assert adapter.read(account, identity, inputs) is None


def test_a_bucket_with_objects_goes_only_by_force(account: Rehearsed) -> None:
    bucket = make_bucket(account)
    client = account.client("s3")
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(2):
        client.put_object(Bucket=bucket, Key="model", Body=b"weights")
    client.delete_object(Bucket=bucket, Key="model")
    adapter = s3.Bucket()
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        adapter.delete(account, bucket, {})
    adapter.delete(account, bucket, {"forceDestroy": True})
    assert adapter.read(account, bucket, {}) is None


def test_versioning_that_was_suspended_stays_with_the_bucket(account: Rehearsed) -> None:
    adapter, bucket = s3.BucketVersioning(), make_bucket(account)
    inputs = {"bucket": bucket, "versioningConfiguration": {"status": "Enabled"}}
    adapter.delete(account, adapter.create(account, inputs), inputs)
    assert account.client("s3").get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"


def test_a_role_with_policies_goes_only_by_force(account: Rehearsed) -> None:
    role, policy = make_role(account), make_policy(account)
    iam.RolePolicyAttachment().create(account, {"role": role, "policyArn": policy})
    iam.RolePolicy().create(account, {"role": role, "name": "inline", "policy": statement("s3:GetObject")})
    iam.InstanceProfile().create(account, {"name": another("profile"), "role": role})
    adapter = iam.Role()
    with pytest.raises(ClientError, match="DeleteConflict"):
        adapter.delete(account, role, {})
    adapter.delete(account, role, {"forceDetachPolicies": True})
    assert adapter.read(account, role, {}) is None


def test_a_deleted_key_waits_for_its_window(account: Rehearsed) -> None:
    key = make_key(account)
    kms.Key().delete(account, key, {"deletionWindowInDays": 7})
    found = account.client("kms").describe_key(KeyId=key)["KeyMetadata"]
    assert found["KeyState"] == "PendingDeletion"
    assert (found["DeletionDate"] - found["CreationDate"]).days in (6, 7)


def test_a_rule_with_targets_goes_by_force(account: Rehearsed) -> None:
    rule = make_rule(account)
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:one"
    identity = cloudwatch.EventTarget().create(account, {"rule": rule, "arn": queue})
    assert cloudwatch.EventTarget().create(account, {"rule": rule, "arn": queue}) == identity
    cloudwatch.EventRule().delete(account, rule, {"forceDestroy": True})
    assert cloudwatch.EventRule().read(account, rule, {}) is None


def test_a_log_group_may_be_left_behind(account: Rehearsed) -> None:
    adapter, inputs = cloudwatch.LogGroup(), {"name": another("log"), "skipDestroy": True}
    identity = adapter.create(account, inputs)
    adapter.delete(account, identity, inputs)
    assert adapter.read(account, identity, inputs) is not None


def test_tags_of_the_provider_are_not_those_of_the_resource(account: Rehearsed) -> None:
    tags = {"team": "ml", "kind": "gpu"}
    role = iam.Role().create(account, {"name": another("role"), "assumeRolePolicy": trust("ec2"), "tagsAll": tags})
    found = iam.Role().read(account, role, {"tags": {"kind": "gpu"}})
    assert found is not None
    assert (found["tags"], found["tagsAll"]) == ({"kind": "gpu"}, tags)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"acl": "private"}, "does not keep `acl`: leave it out"),
        ({"region": "us-east-1"}, "leave `region` out or at eu-west-1"),
    ],
)
def test_what_the_account_cannot_keep_is_refused(inputs: Values, sentence: str, account: Rehearsed) -> None:
    bucket = another("bucket")
    with pytest.raises(ProviderError, match=sentence):
        s3.Bucket().create(account, {"bucket": bucket, **inputs})
    assert s3.Bucket().read(account, bucket, {}) is None


def test_an_input_inside_a_list_is_refused(account: Rehearsed) -> None:
    rules = [{"id": "a", "status": "Enabled"}, {"id": "b", "status": "Enabled", "expiration": {"date": "2030-01-01T00:00:00Z"}}]
    with pytest.raises(ProviderError, match=r"`rules\.expiration\.date`"):
        s3.BucketLifecycleConfiguration().create(account, {"bucket": make_bucket(account), "rules": rules})


def test_a_resource_is_waited_for_until_it_is_ready_or_failed() -> None:
    adapter = efs.FileSystem()
    assert adapter.pending(None) is None
    assert adapter.pending({"__status": "available"}) is None
    assert adapter.pending({"__status": "creating"}) == "the FileSystem is creating"
    with pytest.raises(ProviderError, match="the FileSystem is MISCONFIGURED: no network"):
        adapter.pending({"__status": "MISCONFIGURED", "__issues": "no network"})


def test_tokens_are_taken_over_https_from_each_signer_once(account: Account) -> None:
    adapter = iam_oidc.OpenIdConnectProvider()
    inputs: Values = {"clientIdLists": ["sts.amazonaws.com"]}
    with pytest.raises(ProviderError, match="the URL must begin with https://"):
        adapter.create(account, {"url": "http://oidc.example.org", **inputs})
    inputs["url"] = "https://oidc.example.org/id/A"
    identity = adapter.create(account, inputs)
    with pytest.raises(ClientError, match="EntityAlreadyExists"):
        adapter.create(account, inputs)
    with pytest.raises(ProviderError, match="does not change `clientIdLists`"):
        adapter.update(account, identity, inputs, {**inputs, "clientIdLists": ["other"]})
