"""Who may do what, in AWS and in the cluster."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from components.security.scoped import check_scoped
from policy_pack.resources import Pod, Resource, Stack
from policy_pack.rule import Finding, Level, Rule, Severity, each
from policy_pack.rules.buckets import policy_text
from policy_pack.values import UNKNOWN, as_far_as_known, at, every, listed, maybe

_ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
_DOCUMENTS = {
    "aws:iam/policy:Policy": ("policy",),
    "aws:iam/rolePolicy:RolePolicy": ("policy",),
    "aws:iam/role:Role": ("assumeRolePolicy",),
    "aws:iam/userPolicy:UserPolicy": ("policy",),
    "aws:iam/groupPolicy:GroupPolicy": ("policy",),
    "aws:s3/bucketPolicy:BucketPolicy": ("policy",),
    "aws:sqs/queuePolicy:QueuePolicy": ("policy",),
    "aws:kms/key:Key": ("policy",),
    "aws:efs/fileSystemPolicy:FileSystemPolicy": ("policy",),
    _ENDPOINT: ("policy",),
    "aws:secretsmanager/secretPolicy:SecretPolicy": ("policy",),
}
"""IAM documents by the type of resource that has them."""
_EVERYTHING = re.compile(r"arn:aws[\w-]*:iam::aws:policy/(AdministratorAccess|PowerUserAccess|IAMFullAccess)")
"""Policies of AWS' own that are the account, in every partition: who may write IAM policies gives itself the rest."""


def _scoped(resource: Resource) -> Iterator[str]:
    grants = resource.type != _ENDPOINT
    for key in _DOCUMENTS[resource.type]:
        yield from as_far_as_known(_faults, resource.properties, key, grants)
    for inline in as_far_as_known(listed, resource.properties, "inlinePolicies"):
        yield from as_far_as_known(_faults, inline, "policy", grants)


def _faults(holder: Any, key: str, grants: bool) -> Iterator[str]:
    if document := at(holder, key):
        try:
            check_scoped(policy_text(document), grants=grants)
        except ValueError as error:
            yield from str(error).splitlines()


def _administrator(resource: Resource) -> Iterator[str]:
    for given in (resource.properties.get("policyArn"), *as_far_as_known(listed, resource.properties, "managedPolicyArns")):
        if isinstance(given, str) and _EVERYTHING.fullmatch(given):
            yield f"{given.rpartition('/')[2]} gives everything in the account"


_ROLES = ("Role", "ClusterRole")
_BINDINGS = ("RoleBinding", "ClusterRoleBinding")


def _without_wildcards(resource: Resource) -> Iterator[str]:
    if resource.kind in _ROLES:
        for number, granted in enumerate(at(resource.properties, "rules", default=[])):
            wide = [key for key in ("verbs", "resources", "apiGroups") if maybe(_is_wide, granted, key)]
            if wide:
                yield f"rules[{number}] has * as its {' and '.join(wide)}"
    if resource.kind in _BINDINGS and at(resource.properties, "roleRef", "name") == "cluster-admin":
        yield "it makes somebody administrator of the whole cluster"


def _is_wide(granted: Any, key: str) -> bool:
    return any(value == "*" for value in at(granted, key, default=[]) if value is not UNKNOWN)


def _tokens(stack: Stack) -> Iterator[Finding]:
    subjects = [subject for binding in stack.kinds(*_BINDINGS) for subject in _subjects(binding, stack)]
    accounts = stack.kinds("ServiceAccount")
    for pod in stack.pods:
        yield from as_far_as_known(_mounts, pod, stack, subjects, accounts)


@dataclass(frozen=True)
class _Subject:
    """Whom a binding binds."""

    said: Any
    origins: Sequence[Resource] | None
    """The accounts and namespaces that tell what is not known of it yet; None where it is not known what does."""


def _subjects(binding: Resource, stack: Stack) -> Iterator[_Subject]:
    listed = binding.properties.get("subjects")
    given = binding.origins.get("subjects", ())
    origins = [each for each in stack.kinds("ServiceAccount", "Namespace") if each.urn in given] if given else None
    for said in [UNKNOWN] if listed is UNKNOWN else listed or []:
        yield _Subject(said, origins)


def _mounts(pod: Pod, stack: Stack, subjects: Sequence[_Subject], accounts: Sequence[Resource]) -> Iterator[Finding]:
    said = at(pod.spec, "automountServiceAccountToken")
    if said is False:
        return
    place, name = stack.place(pod.owner), str(at(pod.spec, "serviceAccountName", default="default"))
    # What is not known yet may be about this account.
    bound = any(_is_bound(subject, stack, place, name) is not False for subject in subjects)
    if bound or (said is None and any(_is_silent(each, stack, place, name) is not False for each in accounts)):
        return
    yield Finding(pod.owner, f"its pods get a token of the service account {name}, to which no role here is bound")


def _is_bound(subject: _Subject, stack: Stack, place: str, name: str) -> bool | None:
    named = maybe(lambda: bool(at(subject.said, "name") == name))
    here = maybe(lambda: stack.is_same(str(at(subject.said, "namespace", default="")), place))
    if subject.origins is not None and named is None:
        named = None if any(_is_called(each, name) is not False for each in subject.origins) else False
    if subject.origins is not None and here is None:
        here = None if any(_is_there(each, stack, place) is not False for each in subject.origins) else False
    return every((named, here))


def _is_called(found: Resource, name: str) -> bool | None:
    if found.kind != "ServiceAccount":
        return False
    return maybe(lambda: bool(at(found.properties, "metadata", "name", default=found.name) == name))


def _is_there(found: Resource, stack: Stack, place: str) -> bool | None:
    return maybe(lambda: stack.is_same(stack.place(found), place))


def _is_silent(found: Resource, stack: Stack, place: str, name: str) -> bool | None:
    silent = maybe(lambda: at(found.properties, "automountServiceAccountToken") is False)
    return every((_is_there(found, stack, place), _is_called(found, name), silent))


RULES = (
    Rule(
        id="iam-scoped",
        title="IAM policies name actions, resources and principals.",
        reason="A wildcard is what turns one leaked credential into the account.",
        remedy="name what is used, or add a condition on it",
        source="https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html#grant-least-privilege",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=each(_scoped, *_DOCUMENTS),
    ),
    Rule(
        id="iam-administrator",
        title="No role gets everything in the account.",
        reason="Whoever reaches a node or pod with that role owns the account.",
        remedy="attach the policy of the one service that is used",
        source="https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html#iam-1",
        severity=Severity.CRITICAL,
        level=Level.MANDATORY,
        resource=each(
            _administrator,
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
            "aws:iam/userPolicyAttachment:UserPolicyAttachment",
            "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
            "aws:iam/policyAttachment:PolicyAttachment",
            "aws:iam/role:Role",
        ),
    ),
    Rule(
        id="rbac-wildcard",
        title="Roles of the cluster name verbs and resources.",
        reason="A wildcard also covers what is added later: Secrets, exec, tokens, webhooks.",
        remedy="list the verbs, the resources and their API groups",
        source="https://kubernetes.io/docs/concepts/security/rbac-good-practices/#least-privilege",
        severity=Severity.HIGH,
        level=Level.MANDATORY,
        resource=_without_wildcards,
    ),
    Rule(
        id="token-mounted",
        title="Only pods that call the API have a token for it.",
        reason="A server that was broken into else speaks to the API server at once.",
        remedy="set automountServiceAccountToken: false",
        source="https://kubernetes.io/docs/concepts/security/service-accounts/#authenticating-in-k8s",
        severity=Severity.MEDIUM,
        level=Level.MANDATORY,
        stack=_tokens,
    ),
)
