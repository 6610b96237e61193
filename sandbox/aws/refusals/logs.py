"""Refusals of CloudWatch Logs (CloudWatch Logs user guide, "Encrypt log data using AWS KMS")."""

import json
import re
from collections.abc import Iterable
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID

from sandbox.aws.backends import Backends
from sandbox.aws.refusals.errors import Parameters, RefusalError, Rule

_NEEDED = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:DescribeKey")
_CONTEXT = "kms:EncryptionContext:aws:logs:arn"


def _key_of_group(aws: Backends, given: Parameters) -> None:
    """The policy of the key has to let CloudWatch Logs use it for this very group."""
    key = given.get("kmsKeyId")
    if key is None:
        return
    region = aws.logs.region_name
    group = f"arn:{aws.logs.partition}:logs:{region}:{DEFAULT_ACCOUNT_ID}:log-group:{given['logGroupName']}"
    found = aws.kms.keys.get(key.rpartition("/")[2])
    statements = _listed(json.loads(found.policy)["Statement"]) if found is not None else []
    granted = [action for each in statements if _serves(each, region, group) for action in _listed(each["Action"])]
    if not all(any(_matches(pattern, action) for pattern in granted) for action in _NEEDED):
        message = f"The specified KMS key does not exist or is not allowed to be used with Arn '{group}'"
        raise RefusalError("AccessDeniedException", message)


def _serves(statement: dict[str, Any], region: str, group: str) -> bool:
    """Whether a statement lets CloudWatch Logs of the region act for the group; conditions but that of the group hold."""
    principal = statement.get("Principal")
    services = _listed(principal.get("Service", ())) if isinstance(principal, dict) else ()
    if statement.get("Effect") != "Allow" or f"logs.{region}.amazonaws.com" not in services:
        return False
    groups = [value for about in statement.get("Condition", {}).values() for value in _listed(about.get(_CONTEXT, ()))]
    return not groups or any(_matches(pattern, group) for pattern in groups)


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.IGNORECASE) is not None


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


RULES: dict[tuple[str, str], tuple[Rule, ...]] = {
    ("logs", "AssociateKmsKey"): (_key_of_group,),
    ("logs", "CreateLogGroup"): (_key_of_group,),
}
