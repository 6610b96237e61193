"""Who reaches buckets, and how."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from components.security.policies import SECURE_TRANSPORT
from policy_pack import s3
from policy_pack.resources import Resource, Stack
from policy_pack.rule import Finding, Level, Rule, Severity
from policy_pack.values import as_far_as_known, at, maybe

_BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
_BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
_POLICY = "aws:s3/bucketPolicy:BucketPolicy"


def _private(stack: Stack) -> Iterator[Finding]:
    blocks = stack.of(_BLOCK)
    for block in blocks:
        yield from as_far_as_known(_open, block)
    for bucket in s3.without(stack, blocks):
        yield Finding(bucket, "no public-access block guards it")


def _open(block: Resource) -> Iterator[Finding]:
    missing = [name for name in _BLOCKS if not at(block.properties, name, default=False)]
    if missing:
        yield Finding(block, f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not true")


def _tls_only(stack: Stack) -> Iterator[Finding]:
    for bucket in s3.without(stack, [policy for policy in stack.of(_POLICY) if maybe(_refuses_plain, policy) is not False]):
        yield Finding(bucket, "its policy does not refuse requests without TLS")


def _refuses_plain(policy: Resource) -> bool:
    statements = json.loads(policy_text(policy.properties["policy"]))["Statement"]
    listed = statements if isinstance(statements, list) else [statements]
    return any(
        statement["Effect"] == "Deny"
        and str(at(statement, "Condition", "Bool", SECURE_TRANSPORT)).lower() == "false"
        and statement.get("Principal") in ("*", {"AWS": "*"})
        for statement in listed
    )


def policy_text(value: Any) -> str:
    """A policy as JSON, whichever way it is given. NotKnownYetError while it is not known."""
    return json.dumps(value) if isinstance(value, Mapping) else "".join(value)


RULES = (
    Rule(
        id="bucket-private",
        title="Buckets block public access.",
        reason="One wrong policy or ACL else publishes weights, adapters and logs.",
        remedy="add a BucketPublicAccessBlock with all four set to true",
        source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html",
        severity=Severity.CRITICAL,
        level=Level.MANDATORY,
        stack=_private,
    ),
    Rule(
        id="bucket-tls-only",
        title="Buckets refuse requests without TLS.",
        reason="Weights that are changed on the way run code of whoever changed them.",
        remedy="deny s3:* to everybody under the condition aws:SecureTransport false",
        source="https://docs.aws.amazon.com/securityhub/latest/userguide/s3-controls.html#s3-5",
        severity=Severity.MEDIUM,
        stack=_tls_only,
    ),
)
