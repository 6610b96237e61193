"""Buckets, and the resources that say something about one."""

from policy_pack.resources import Resource, Stack
from policy_pack.values import UNKNOWN

BUCKETS = ("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2")


def without(stack: Stack, about: list[Resource]) -> list[Resource]:
    """The buckets that none of those resources is about, or may be about.

    In the preview of a new bucket nothing about it knows its name, which is an output, but where it will come from.
    """
    return [bucket for bucket in stack.of(*BUCKETS) if not any(_may_be_about(each, bucket) for each in about)]


def _may_be_about(resource: Resource, bucket: Resource) -> bool:
    named = resource.properties.get("bucket")
    if origins := resource.origins.get("bucket"):
        if bucket.urn in origins:
            return True
        if named is UNKNOWN:
            return False
    names = [bucket.properties.get(key) for key in ("bucket", "id")]
    return any(named is UNKNOWN or name is UNKNOWN or name == named for name in names)
