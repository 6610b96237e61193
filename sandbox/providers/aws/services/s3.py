"""S3: buckets, and the parts of their configuration that are resources of their own."""

from typing import Any, ClassVar, Final

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services.shapes import (
    Operation,
    ServiceAdapter,
    camel,
    document,
    pascal,
    tag_list,
    tag_map,
    tag_values,
    without_none,
)

_SPELLED: Final = {"id": "ID", "kmsMasterKeyId": "KMSMasterKeyID", "sseAlgorithm": "SSEAlgorithm"}


class Bucket(ServiceAdapter):
    token = "aws:s3/bucket:Bucket"
    service = "s3"
    replaces = frozenset(("bucket", "objectLockEnabled"))
    write_only = frozenset(("forceDestroy",))
    # Most of these are deprecated for the resources below.
    refused = frozenset(
        (
            "accelerationStatus",
            "acl",
            "bucketNamespace",
            "bucketPrefix",
            "corsRules",
            "grants",
            "lifecycleRules",
            "logging",
            "objectLockConfiguration",
            "policy",
            "replicationConfiguration",
            "requestPayer",
            "serverSideEncryptionConfiguration",
            "versioning",
            "website",
        )
    )
    autoname = ("bucket", 63)

    def make(self, op: Operation) -> str:
        bucket, region = str(op.values["bucket"]), op.account.region
        op.client.create_bucket(
            Bucket=bucket,
            ObjectLockEnabledForBucket=bool(op.values.get("objectLockEnabled")),
            # us-east-1 is the one region that may not be named; docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html.
            **({} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}),
        )
        if op.tags:
            op.client.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tag_list(op.tags)})
        return bucket

    def look(self, op: Operation) -> Values:
        region = op.client.get_bucket_location(Bucket=op.id)["LocationConstraint"] or "us-east-1"
        return {
            "bucket": op.id,
            "objectLockEnabled": _configuration(op.client.get_object_lock_configuration, op.id) is not None,
            "arn": f"arn:{op.account.partition}:s3:::{op.id}",
            "bucketDomainName": f"{op.id}.s3.amazonaws.com",
            "bucketRegion": region,
            "bucketRegionalDomainName": f"{op.id}.s3.{region}.amazonaws.com",
            **tag_values(op, tag_map((_configuration(op.client.get_bucket_tagging, op.id) or {}).get("TagSet"))),
        }

    def change(self, op: Operation) -> None:
        if op.tags:
            op.client.put_bucket_tagging(Bucket=op.id, Tagging={"TagSet": tag_list(op.tags)})
        elif op.changed("tagsAll"):
            op.client.delete_bucket_tagging(Bucket=op.id)

    def remove(self, op: Operation) -> None:
        if op.values.get("forceDestroy"):
            for page in op.client.get_paginator("list_object_versions").paginate(Bucket=op.id):
                versions = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
                objects = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
                if objects:
                    op.client.delete_objects(Bucket=op.id, Delete={"Objects": objects}, BypassGovernanceRetention=True)
        op.client.delete_bucket(Bucket=op.id)


class BucketPart(ServiceAdapter):
    """One part of a bucket's configuration: its ID is the bucket, and it is put as a whole."""

    service = "s3"
    replaces = frozenset(("bucket",))

    call: ClassVar[str]
    """Of `put_…`, `get_…` and `delete_…`."""

    def make(self, op: Operation) -> str:
        self.put(op, str(op.values["bucket"]))
        return str(op.values["bucket"])

    def look(self, op: Operation) -> Values | None:
        values = self.get(getattr(op.client, f"get_{self.call}")(Bucket=op.id), op.values)
        return values and {"bucket": op.id, **values}

    def change(self, op: Operation) -> None:
        self.put(op, op.id)

    def remove(self, op: Operation) -> None:
        getattr(op.client, f"delete_{self.call}")(Bucket=op.id)

    def put(self, op: Operation, bucket: str) -> None:
        getattr(op.client, f"put_{self.call}")(Bucket=bucket, **self.parameters(op.values))

    def parameters(self, inputs: Values) -> Values:
        """What `put_…` takes besides the bucket."""
        raise NotImplementedError

    def get(self, answer: Values, state: Values) -> Values | None:
        """The properties in the answer of `get_…`; None when nothing is configured."""
        raise NotImplementedError


class BucketVersioning(BucketPart):
    token = "aws:s3/bucketVersioning:BucketVersioning"
    call = "bucket_versioning"
    refused = frozenset(("expectedBucketOwner", "mfa", "versioningConfiguration.mfaDelete"))

    def parameters(self, inputs: Values) -> Values:
        return {"VersioningConfiguration": {"Status": inputs["versioningConfiguration"]["status"]}}

    def get(self, answer: Values, state: Values) -> Values | None:
        # Never enabled: AWS says nothing then.
        wanted = (state.get("versioningConfiguration") or {}).get("status")
        status = answer.get("Status") or ("Disabled" if wanted == "Disabled" else None)
        return {"versioningConfiguration": {"status": status}} if status else None

    def put(self, op: Operation, bucket: str) -> None:
        # A new bucket is as it should be, and the API has no word for it.
        if op.values["versioningConfiguration"]["status"] != "Disabled":
            super().put(op, bucket)

    def remove(self, op: Operation) -> None:
        # Versioning cannot be taken away again, only suspended.
        if op.values["versioningConfiguration"]["status"] == "Enabled":
            op.client.put_bucket_versioning(Bucket=op.id, VersioningConfiguration={"Status": "Suspended"})


class BucketServerSideEncryptionConfiguration(BucketPart):
    token = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    call = "bucket_encryption"
    refused = frozenset(("expectedBucketOwner", "rules.blockedEncryptionTypes"))
    unordered = frozenset(("rules",))

    def parameters(self, inputs: Values) -> Values:
        return {"ServerSideEncryptionConfiguration": {"Rules": pascal(inputs["rules"], _SPELLED)}}

    def get(self, answer: Values, state: Values) -> Values:
        del state
        return {"rules": camel(answer["ServerSideEncryptionConfiguration"]["Rules"], _SPELLED)}


class BucketPublicAccessBlock(BucketPart):
    token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    call = "public_access_block"
    write_only = frozenset(("skipDestroy",))

    _names: Final = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")

    def parameters(self, inputs: Values) -> Values:
        return {"PublicAccessBlockConfiguration": pascal({name: bool(inputs.get(name)) for name in self._names})}

    def get(self, answer: Values, state: Values) -> Values:
        del state
        found: Values = camel(answer["PublicAccessBlockConfiguration"])
        return found

    def remove(self, op: Operation) -> None:
        if not op.values.get("skipDestroy"):
            super().remove(op)


class BucketOwnershipControls(BucketPart):
    token = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    call = "bucket_ownership_controls"

    def parameters(self, inputs: Values) -> Values:
        return {"OwnershipControls": {"Rules": [pascal(inputs["rule"])]}}

    def get(self, answer: Values, state: Values) -> Values:
        del state
        return {"rule": camel(answer["OwnershipControls"]["Rules"][0])}


class BucketPolicy(BucketPart):
    token = "aws:s3/bucketPolicy:BucketPolicy"
    call = "bucket_policy"
    documents = frozenset(("policy",))

    def parameters(self, inputs: Values) -> Values:
        return {"Policy": inputs["policy"]}

    def get(self, answer: Values, state: Values) -> Values:
        return {"policy": document(answer["Policy"], state.get("policy"))}


class BucketLifecycleConfiguration(BucketPart):
    token = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    call = "bucket_lifecycle_configuration"
    refused = frozenset(
        (
            "expectedBucketOwner",
            "rules.expiration.date",
            "rules.filter.and.objectSizeGreaterThan",
            "rules.filter.and.objectSizeLessThan",
            "rules.filter.objectSizeGreaterThan",
            "rules.filter.objectSizeLessThan",
            "rules.noncurrentVersionExpiration.newerNoncurrentVersions",
            "rules.prefix",
            "rules.transitions.date",
            "timeouts",
            "transitionDefaultMinimumObjectSize",
        )
    )
    unordered = frozenset(("rules.transitions", "rules.noncurrentVersionTransitions"))

    def parameters(self, inputs: Values) -> Values:
        return {"LifecycleConfiguration": {"Rules": [_rule(rule) for rule in inputs.get("rules") or ()]}}

    def get(self, answer: Values, state: Values) -> Values:
        del state
        return {"rules": [_rule_values(rule) for rule in answer["Rules"]]}

    def remove(self, op: Operation) -> None:
        op.client.delete_bucket_lifecycle(Bucket=op.id)


class BucketLogging(BucketPart):
    token = "aws:s3/bucketLogging:BucketLogging"
    call = "bucket_logging"
    refused = frozenset(("expectedBucketOwner", "targetGrants", "targetObjectKeyFormat"))

    def parameters(self, inputs: Values) -> Values:
        target = {"TargetBucket": inputs["targetBucket"], "TargetPrefix": inputs["targetPrefix"]}
        return {"BucketLoggingStatus": {"LoggingEnabled": target}}

    def get(self, answer: Values, state: Values) -> Values | None:
        del state
        target = answer.get("LoggingEnabled")
        return target and {"targetBucket": target["TargetBucket"], "targetPrefix": target.get("TargetPrefix", "")}

    def remove(self, op: Operation) -> None:
        op.client.put_bucket_logging(Bucket=op.id, BucketLoggingStatus={})


def _rule(rule: Values) -> dict[str, Any]:
    """A lifecycle rule for the API, which wants a filter even for all objects and writes tags as a list."""
    wanted = dict(rule.get("filter") or {"prefix": ""})
    if both := wanted.get("and"):
        wanted["and"] = {**both, "tags": None}
    translated: dict[str, Any] = pascal({**rule, "filter": wanted}, _SPELLED)
    if both:
        translated["Filter"]["And"]["Tags"] = tag_list(both.get("tags") or {})
    return translated


def _rule_values(rule: dict[str, Any]) -> Values:
    both = rule.get("Filter", {}).get("And")
    values: Values = camel(rule, _SPELLED)
    if both:
        values["filter"]["and"] = without_none({"prefix": both.get("Prefix"), "tags": tag_map(both.get("Tags"))})
    return values


def _configuration(get: Any, bucket: str) -> Values | None:
    """The answer of a `get_…` call on a bucket that exists; None when nothing is configured."""
    try:
        answer: Values = get(Bucket=bucket)
    except get.__self__.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchTagSet", "ObjectLockConfigurationNotFoundError"):
            return None
        raise
    return answer
