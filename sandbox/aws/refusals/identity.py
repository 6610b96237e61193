"""IAM's and KMS's refusals. Sizes: IAM user guide, "IAM and AWS STS quotas"; policy documents are counted without white space."""

import json
import re
from typing import Any

from moto.iam.policy_validation import IAMTrustPolicyDocumentValidator

from sandbox.aws.backends import Backends
from sandbox.aws.refusals.errors import Parameters, RefusalError, Rule

_TRUST_POLICY = 2048
_MANAGED_POLICY = 6144
_INLINE_POLICIES = 10240
_POLICIES_PER_ROLE = 10


def _trust_policy(document: str) -> None:
    if _size(document) > _TRUST_POLICY:
        raise RefusalError("LimitExceeded", f"Cannot exceed quota for ACLSizePerRole: {_TRUST_POLICY}")
    IAMTrustPolicyDocumentValidator(document).validate()
    if any(not (statement.get("Principal") or statement.get("NotPrincipal")) for statement in _statements(document)):
        raise RefusalError("MalformedPolicyDocument", "Missing required field Principal")


def _create_role(_aws: Backends, given: Parameters) -> None:
    _trust_policy(given["AssumeRolePolicyDocument"])


def _update_trust_policy(_aws: Backends, given: Parameters) -> None:
    _trust_policy(given["PolicyDocument"])


def _managed_policy(_aws: Backends, given: Parameters) -> None:
    if _size(given["PolicyDocument"]) > _MANAGED_POLICY:
        raise RefusalError("LimitExceeded", f"Cannot exceed quota for PolicySize: {_MANAGED_POLICY}")


def _inline_policy(aws: Backends, given: Parameters) -> None:
    role = aws.iam.get_role(given["RoleName"])
    others = (document for name, document in role.policies.items() if name != given["PolicyName"])
    if sum(map(_size, (given["PolicyDocument"], *others))) > _INLINE_POLICIES:
        raise RefusalError("LimitExceeded", f"Maximum policy size of {_INLINE_POLICIES} bytes exceeded for role {role.name}")


def _attach_policy(aws: Backends, given: Parameters) -> None:
    attached = aws.iam.get_role(given["RoleName"]).managed_policies
    if given["PolicyArn"] not in attached and len(attached) >= _POLICIES_PER_ROLE:
        raise RefusalError("LimitExceeded", f"Cannot exceed quota for PoliciesPerRole: {_POLICIES_PER_ROLE}")


def _delete_policy(aws: Backends, given: Parameters) -> None:
    policy = aws.iam.managed_policies.get(given["PolicyArn"])
    if policy is None:
        return
    if policy.attachment_count > 0:
        raise RefusalError("DeleteConflict", "Cannot delete a policy attached to entities.")
    if len(policy.versions) > 1:
        message = "This policy has more than one version. Before you delete a policy, you must delete the policy's versions."
        raise RefusalError("DeleteConflict", f"{message} The default version is deleted with the policy.")


def _key_policy(_aws: Backends, given: Parameters) -> None:
    """KMS keeps callers from locking everybody out, unless they ask for it."""
    document = given.get("Policy")
    if document is None or given.get("BypassPolicyLockoutSafetyCheck"):
        return
    try:
        statements = _statements(document)
    except (ValueError, KeyError):
        raise RefusalError("MalformedPolicyDocumentException", "Policy contains invalid JSON") from None
    if not any(_lets_change_policy(statement) for statement in statements):
        message = "The new key policy will not allow you to update the key policy in the future."
        raise RefusalError("MalformedPolicyDocumentException", message)


def _lets_change_policy(statement: dict[str, Any]) -> bool:
    """Whether a statement lets anyone, without a condition, change the key's policy."""
    granted = {action.lower() for action in _listed(statement.get("Action", ()))}
    return (
        statement.get("Effect") == "Allow"
        and not statement.get("Condition")
        and bool(statement.get("Principal"))
        and bool(granted & {"*", "kms:*", "kms:put*", "kms:putkeypolicy"})
    )


def _statements(document: str) -> list[dict[str, Any]]:
    return list(_listed(json.loads(document)["Statement"]))


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


def _size(document: str) -> int:
    return len(re.sub(r"\s", "", document))


RULES: dict[tuple[str, str], tuple[Rule, ...]] = {
    ("iam", "AttachRolePolicy"): (_attach_policy,),
    ("iam", "CreatePolicy"): (_managed_policy,),
    ("iam", "CreatePolicyVersion"): (_managed_policy,),
    ("iam", "CreateRole"): (_create_role,),
    ("iam", "DeletePolicy"): (_delete_policy,),
    ("iam", "PutRolePolicy"): (_inline_policy,),
    ("iam", "UpdateAssumeRolePolicy"): (_update_trust_policy,),
    ("kms", "CreateKey"): (_key_policy,),
    ("kms", "PutKeyPolicy"): (_key_policy,),
}
