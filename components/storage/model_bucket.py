"""A private bucket for models, and one for the log of who touched it."""

from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_aws as aws
from pydantic import Field

from ..base import PlatformComponent
from ..cloud import cloud
from ..inputs import InputText, Model, validate
from ..ordering import known_after
from ..security.policies import Statement, document
from .bucket_policies import bucket_statements, log_bucket_statements

_ABORT_UPLOADS_DAYS = 7
"""Parts of uploads that never finished are paid for but in no listing."""


class ModelBucketArgs(TypedDict):
    """Inputs of `ModelBucket`."""

    kms_key_arn: pulumi.Input[str]
    """The key its objects are encrypted with."""
    noncurrent_days: NotRequired[int]
    """Days an object is kept after it was overwritten or deleted; 30 by default."""
    log_days: NotRequired[int]
    """Days the log of accesses is kept; 365 by default."""
    protect: NotRequired[bool]
    """Whether it refuses to be deleted, with or without models in it; true by default."""
    retain: NotRequired[bool]
    """Whether AWS keeps it when the program forgets it; as `protect` when left out."""


class _Config(Model):
    kms_key_arn: InputText
    noncurrent_days: int = Field(30, ge=1, examples=[30])
    log_days: int = Field(365, ge=1, examples=[365])
    protect: bool = True
    retain: bool | None = None


class ModelBucket(PlatformComponent):
    """A versioned, encrypted bucket nobody outside the account reaches."""

    bucket_name: pulumi.Output[str]
    """Name of the bucket, known when all its settings are in force."""
    bucket_arn: pulumi.Output[str]
    """ARN of the bucket, known when all its settings are in force."""

    def __init__(self, name: str, args: ModelBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        config = validate(_Config, args, f"ModelBucket {name}")
        self._config = config
        bucket, logs = self._bucket("models"), self._bucket("logs")
        logs_policy = self._private("logs", logs, log_bucket_statements(logs.arn, bucket.arn, cloud(self).account_id))
        logging = aws.s3.BucketLogging(
            self.child_name("logging"),
            bucket=bucket.bucket,
            target_bucket=logs_policy.bucket,
            target_prefix="access/",
            opts=self.child(),
        )
        settled = [
            # Access logs are only written where S3's own keys encrypt (S3 user guide, "Enabling S3 server access logging").
            self._encrypted("logs", logs, {"sse_algorithm": "AES256"}).bucket,
            self._encrypted("models", bucket, {"sse_algorithm": "aws:kms", "kms_master_key_id": config.kms_key_arn}).bucket,
            self._lifecycle("logs", logs, config.log_days).bucket,
            self._lifecycle("models", bucket).bucket,
            self._private("models", bucket, bucket_statements(bucket.arn, config.kms_key_arn)).bucket,
            logging.bucket,
        ]
        self.bucket_name = known_after(bucket.bucket, *settled)
        self.bucket_arn = known_after(bucket.arn, *settled)
        self.finish()

    def _bucket(self, role: str) -> "aws.s3.Bucket":
        protect = self._config.protect
        return aws.s3.Bucket(
            self.child_name(role),
            # Where deletion is allowed, objects are no reason against it.
            force_destroy=not protect,
            opts=self.child(protect=protect, retain=protect if self._config.retain is None else self._config.retain),
        )

    def _encrypted(
        self, role: str, bucket: "aws.s3.Bucket", default: dict[str, Any]
    ) -> "aws.s3.BucketServerSideEncryptionConfiguration":
        return aws.s3.BucketServerSideEncryptionConfiguration(
            self.child_name(f"{role}-encryption"),
            bucket=bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": default,
                    # One data key for many objects instead of a call to KMS for each.
                    "bucket_key_enabled": default["sse_algorithm"] == "aws:kms",
                }
            ],
            opts=self.child(),
        )

    def _lifecycle(
        self, role: str, bucket: "aws.s3.Bucket", expire_after_days: int | None = None
    ) -> "aws.s3.BucketLifecycleConfiguration":
        versioning = aws.s3.BucketVersioning(
            self.child_name(f"{role}-versioning"),
            bucket=bucket.bucket,
            versioning_configuration={"status": "Enabled"},
            opts=self.child(),
        )
        rules: list[dict[str, Any]] = [
            {
                "id": "unfinished-uploads",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "abort_incomplete_multipart_upload": {"days_after_initiation": _ABORT_UPLOADS_DAYS},
            },
            {
                "id": "old-versions",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "noncurrent_version_expiration": {"noncurrent_days": self._config.noncurrent_days},
            },
        ]
        if expire_after_days is not None:
            rules.append(
                {"id": "expired", "status": "Enabled", "filter": {"prefix": ""}, "expiration": {"days": expire_after_days}}
            )
        return aws.s3.BucketLifecycleConfiguration(
            self.child_name(f"{role}-lifecycle"),
            bucket=versioning.bucket,
            rules=rules,
            opts=self.child(),
        )

    def _private(self, role: str, bucket: "aws.s3.Bucket", statements: list[Statement]) -> "aws.s3.BucketPolicy":
        """Close the bucket. One call after the other: S3 refuses some of them at the same time (OperationAborted)."""
        block = aws.s3.BucketPublicAccessBlock(
            self.child_name(f"{role}-public-access"),
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self.child(),
        )
        ownership = aws.s3.BucketOwnershipControls(
            self.child_name(f"{role}-ownership"),
            bucket=block.bucket,
            rule={"object_ownership": "BucketOwnerEnforced"},
            opts=self.child(),
        )
        return aws.s3.BucketPolicy(
            self.child_name(f"{role}-policy"),
            bucket=ownership.bucket,
            policy=document(*statements),
            opts=self.child(),
        )
