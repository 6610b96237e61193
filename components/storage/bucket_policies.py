"""Who may do what in a model bucket: its own policy, and what to give to readers and writers. Pure; values may be outputs."""

import pulumi

from ..security.policies import ANYBODY, Statement, allow, deny, deny_insecure_transport


def bucket_statements(bucket_arn: pulumi.Input[str], key_arn: pulumi.Input[str]) -> list[Statement]:
    """Statements of the bucket's policy: TLS only, and nothing encrypted with another key than the bucket's.

    Requests that name no encryption get the bucket's own; those that name another are refused.
    """
    objects = _objects(bucket_arn, "")
    algorithm, key = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
    return [
        deny_insecure_transport(["s3:*"], [bucket_arn, objects]),
        deny(
            ["s3:PutObject"],
            objects,
            principals=ANYBODY,
            conditions={"Null": {algorithm: "false"}, "StringNotEquals": {algorithm: "aws:kms"}},
            sid="DenyOtherEncryption",
        ),
        deny(
            ["s3:PutObject"],
            objects,
            principals=ANYBODY,
            conditions={"Null": {key: "false"}, "ArnNotEquals": {key: key_arn}},
            sid="DenyOtherKeys",
        ),
    ]


def log_bucket_statements(
    log_bucket_arn: pulumi.Input[str], source_arn: pulumi.Input[str], account_id: pulumi.Input[str]
) -> list[Statement]:
    """Statements of the policy of the bucket that gets the access logs of `source_arn`.

    S3 user guide, "Permissions for log delivery".
    """
    objects = _objects(log_bucket_arn, "")
    return [
        deny_insecure_transport(["s3:*"], [log_bucket_arn, objects]),
        allow(
            ["s3:PutObject"],
            objects,
            principals={"Service": "logging.s3.amazonaws.com"},
            conditions={"StringEquals": {"aws:SourceAccount": account_id}, "ArnLike": {"aws:SourceArn": source_arn}},
            sid="LogDelivery",
        ),
    ]


def reader_statements(bucket_arn: pulumi.Input[str], key_arn: pulumi.Input[str], prefix: str = "") -> list[Statement]:
    """What lets a role read the objects below `prefix`, e.g. `models/qwen`; all of them when it is empty."""
    return [
        _list(bucket_arn, prefix),
        allow(["s3:GetObject"], _objects(bucket_arn, prefix), sid="ReadObjects"),
        _use_key(bucket_arn, key_arn, ["kms:Decrypt"], "DecryptObjects"),
    ]


def writer_statements(bucket_arn: pulumi.Input[str], key_arn: pulumi.Input[str], prefix: str = "") -> list[Statement]:
    """What lets a role read and write the objects below `prefix`, but delete none."""
    actions = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
    return [
        _list(bucket_arn, prefix),
        allow(actions, _objects(bucket_arn, prefix), sid="WriteObjects"),
        # The parts of a large upload are decrypted when it is completed (S3 user guide, "Multipart upload API and permissions").
        _use_key(bucket_arn, key_arn, ["kms:Decrypt", "kms:GenerateDataKey"], "EncryptObjects"),
    ]


def _list(bucket_arn: pulumi.Input[str], prefix: str) -> Statement:
    below = prefix.strip("/")
    conditions = {"StringLike": {"s3:prefix": [below, f"{below}/*"]}} if below else None
    return allow(["s3:ListBucket"], bucket_arn, conditions=conditions, sid="ListObjects")


def _use_key(bucket_arn: pulumi.Input[str], key_arn: pulumi.Input[str], actions: list[str], sid: str) -> Statement:
    # With a bucket key the context names the bucket, without one the object (S3 user guide, "Reducing the cost of SSE-KMS").
    context = {"kms:EncryptionContext:aws:s3:arn": [bucket_arn, _objects(bucket_arn, "")]}
    return allow(actions, key_arn, conditions={"ArnLike": context}, sid=sid)


def _objects(bucket_arn: pulumi.Input[str], prefix: str) -> pulumi.Output[str]:
    below = prefix.strip("/")
    return pulumi.Output.concat(bucket_arn, f"/{below}/*" if below else "/*")
