"""The project's own judge of IAM documents, over all that a stack has, wherever they stand."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from components.security.scoped import check_scoped
from tests.judges.exceptions import Finding
from tests.judges.terraform_plan import address
from tests.recorder import Registration

LIMITS_ONLY = "aws:ec2/vpcEndpoint:VpcEndpoint"
"""Its policy narrows what others grant."""


def documents(resources: Iterable[Registration]) -> Iterator[tuple[Registration, str]]:
    """Every policy, with the resource it belongs to."""
    for resource in resources:
        if resource.on_aws:
            yield from ((resource, text) for text in _texts(resource.inputs) if _is_policy(text))


def judge(stack: str, resources: Iterable[Registration]) -> set[Finding]:
    """A finding for each fault; its check is the statement."""
    found = set()
    for resource, text in documents(resources):
        try:
            check_scoped(text, grants=resource.type != LIMITS_ONLY)
        except ValueError as error:
            for fault in str(error).splitlines():
                statement, _, words = fault.partition(": ")
                found.add(Finding(stack, statement, address(resource), words))
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _is_policy(text: str) -> bool:
    try:
        content = json.loads(text)
    except ValueError:
        return False
    return isinstance(content, dict) and "Statement" in content
