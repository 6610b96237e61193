"""What lies encrypted."""

from collections.abc import Iterator, Mapping
from typing import Any

from policy_pack import s3
from policy_pack.resources import Resource, Stack
from policy_pack.rule import Finding, Level, Rule, Severity, each
from policy_pack.values import as_far_as_known, at

_ENCRYPTIONS = (
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2",
)
_VOLUMES = (
    "aws:ec2/launchTemplate:LaunchTemplate",
    "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass",
    "aws:ebs/volume:Volume",
    "kubernetes:storage.k8s.io/v1:StorageClass",
)


def _on(value: Any) -> bool:
    return str(value).lower() == "true"


def _volumes(resource: Resource) -> Iterator[str]:
    properties = resource.properties
    if resource.type == "aws:ebs/volume:Volume":
        if not _on(at(properties, "encrypted", default=False)):
            yield "the volume is not encrypted"
    elif resource.kind == "StorageClass":
        if at(properties, "provisioner") == "ebs.csi.aws.com" and not _on(at(properties, "parameters", "encrypted")):
            yield "volumes of this class are not encrypted"
    else:
        devices = at(properties, "blockDeviceMappings") or at(properties, "spec", "blockDeviceMappings", default=[])
        for device in devices:
            yield from as_far_as_known(_device, device)


def _device(device: Mapping[str, Any]) -> Iterator[str]:
    if at(device, "ebs") and not _on(at(device, "ebs", "encrypted")):
        yield f"the disk {at(device, 'deviceName', default='of the nodes')} is not encrypted"


def _file_system(resource: Resource) -> Iterator[str]:
    if not _on(at(resource.properties, "encrypted", default=False)):
        yield "the file system is not encrypted, and can never be later"


def _cluster_secrets(resource: Resource) -> Iterator[str]:
    if not at(resource.properties, "encryptionConfig", "provider", "keyArn"):
        yield "Secrets are encrypted with a key of AWS' alone"


def _queue(resource: Resource) -> Iterator[str]:
    # SQS encrypts by itself unless told not to.
    if not at(resource.properties, "kmsMasterKeyId") and not _on(at(resource.properties, "sqsManagedSseEnabled", default=True)):
        yield "messages are not encrypted"


def _logs(resource: Resource) -> Iterator[str]:
    if not at(resource.properties, "kmsKeyId"):
        yield "the logs are encrypted with a key of AWS' alone, which no policy of yours guards"


def _buckets(stack: Stack) -> Iterator[Finding]:
    for bucket in s3.without(stack, stack.of(*_ENCRYPTIONS)):
        yield from as_far_as_known(_by_itself, bucket)


def _by_itself(bucket: Resource) -> Iterator[Finding]:
    if not at(bucket.properties, "serverSideEncryptionConfiguration"):
        yield Finding(bucket, "nothing says how its objects are encrypted")


RULES = (
    Rule(
        id="encrypted-volume",
        title="Disks of nodes and block volumes are encrypted.",
        reason="Snapshots and retired disks hold models, caches and whatever pods wrote.",
        remedy="set encrypted: true and name a key",
        source="https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html#ec2-3",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=each(_volumes, *_VOLUMES),
    ),
    Rule(
        id="encrypted-file-system",
        title="EFS file systems are encrypted.",
        reason="It can be chosen only when the file system is made.",
        remedy="set encrypted: true and name a key",
        source="https://docs.aws.amazon.com/efs/latest/ug/encryption-at-rest.html",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=each(_file_system, "aws:efs/fileSystem:FileSystem"),
    ),
    Rule(
        id="encrypted-bucket",
        title="Buckets state how they encrypt.",
        reason="What is stated stays, whatever the account's default becomes.",
        remedy="add a BucketServerSideEncryptionConfiguration",
        source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-encryption.html",
        severity=Severity.MEDIUM,
        stack=_buckets,
    ),
    Rule(
        id="encrypted-cluster-secrets",
        title="Secrets of a cluster are encrypted with a key of the account's own.",
        reason="Reading the control plane's storage is then not enough, and the key's log says who read.",
        remedy="set encryptionConfig with resources [secrets] and your key",
        source="https://docs.aws.amazon.com/eks/latest/best-practices/data-encryption-and-secrets-management.html",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=each(_cluster_secrets, "aws:eks/cluster:Cluster"),
    ),
    Rule(
        id="encrypted-queue",
        title="Queues are encrypted.",
        reason="Messages name instances, accounts and objects.",
        remedy="remove sqsManagedSseEnabled: false, or name a key in kmsMasterKeyId",
        source="https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-server-side-encryption.html",
        severity=Severity.MEDIUM,
        resource=each(_queue, "aws:sqs/queue:Queue"),
    ),
    Rule(
        id="encrypted-logs",
        title="Logs are encrypted with a key of the account's own.",
        reason="Audit logs of a cluster tell who may do what, and prompts end in logs by accident.",
        remedy="name a key in kmsKeyId",
        source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html",
        severity=Severity.LOW,
        resource=each(_logs, "aws:cloudwatch/logGroup:LogGroup"),
    ),
)
