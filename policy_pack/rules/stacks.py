"""What a stack as a whole owes."""

from collections.abc import Iterator, Mapping
from typing import Any

from policy_pack.pools import pools
from policy_pack.resources import Resource, Stack
from policy_pack.rule import Finding, Level, Rule, Severity
from policy_pack.rules.pods import accelerators
from policy_pack.values import maybe

_BUDGETS = ("aws:budgets/budget:Budget",)
_DATA = {
    "aws:efs/fileSystem:FileSystem": "models and caches",
    "aws:fsx/lustreFileSystem:LustreFileSystem": "models and caches",
    "aws:s3/bucket:Bucket": "its objects",
    "aws:s3/bucketV2:BucketV2": "its objects",
    "aws:kms/key:Key": "whatever it encrypted",
    "aws:eks/cluster:Cluster": "everything that runs in it",
    "aws:ebs/volume:Volume": "what is on it",
    "aws:rds/instance:Instance": "its tables",
    "aws:dynamodb/table:Table": "its items",
}
"""Types whose deletion loses something, and what."""
_PLATFORM, _BUDGET = "llm-platform:aws", "llm-platform:budget"


def _protected(stack: Stack) -> Iterator[Finding]:
    said = stack.config.get(_PLATFORM)
    if isinstance(said, Mapping) and said.get("protect") is False:  # a stack that comes and goes, and says so
        return
    for resource in stack.of(*_DATA):
        if not resource.protect:
            yield Finding(resource, f"a change that deletes it also loses {_DATA[resource.type]}")


def _budgeted(stack: Stack) -> Iterator[Finding]:
    if stack.config.get(_BUDGET) or stack.of(*_BUDGETS):
        return
    for resource in _costly(stack):
        yield Finding(resource, "it uses accelerators, and nothing says what the stack may cost")
        return


def _costly(stack: Stack) -> Iterator[Resource]:
    yield from (pool.resource for pool in pools(stack) if pool.accelerators)
    for pod in stack.pods:
        if any(maybe(_asks, container) for _, container in pod.containers):
            yield pod.owner


def _asks(container: Mapping[str, Any]) -> bool:
    return bool(accelerators(container))


RULES = (
    Rule(
        id="data-protected",
        title="What holds data is protected from deletion.",
        reason="A renamed resource or a removed line is enough to delete weights, caches and keys.",
        remedy="set protect=True; a stack of this platform that comes and goes says aws.protect: false",
        source="https://www.pulumi.com/docs/iac/concepts/options/protect/",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        stack=_protected,
    ),
    Rule(
        id="budget-stated",
        title="A stack with accelerators says what it may cost.",
        reason="One more replica of a large model costs thousands a month, and nobody sees it in a preview.",
        remedy="add llm-platform:budget: {usdPerMonth: …}, or an aws:budgets/budget:Budget",
        source="https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-managing-costs.html",
        severity=Severity.MEDIUM,
        stack=_budgeted,
    ),
)
