"""IAM documents, written in one form. Pure, except that values may be outputs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pulumi

Statement = dict[str, Any]
"""One statement, with the keys IAM has for it. Values may be outputs."""
Conditions = Mapping[str, Mapping[str, Any]]
"""By operator, then by condition key."""

SECURE_TRANSPORT = "aws:SecureTransport"
ANYBODY = "*"
"""Every principal; only together with conditions that say which."""

AWS_AUDIENCE = "sts.amazonaws.com"
"""Whom the tokens of service accounts are meant for that AWS takes (EKS user guide, "IAM roles for service accounts")."""

WITHOUT_SOURCE = frozenset({"ec2.amazonaws.com"})
"""Services that send neither aws:SourceAccount nor aws:SourceArn when they assume a role: only the account's own instances
can be given it, by iam:PassRole."""


def allow(
    actions: Iterable[str],
    resources: pulumi.Input[str] | Sequence[pulumi.Input[str]] | None = None,
    *,
    conditions: Conditions | None = None,
    principals: Mapping[str, Any] | str | None = None,
    sid: str = "",
) -> Statement:
    """A statement that allows. `principals` only in policies of resources, which in trust policies name no resources."""
    return _statement("Allow", actions, resources, conditions, principals, sid)


def deny(
    actions: Iterable[str],
    resources: pulumi.Input[str] | Sequence[pulumi.Input[str]],
    *,
    conditions: Conditions | None = None,
    principals: Mapping[str, Any] | str | None = None,
    sid: str = "",
) -> Statement:
    """A statement that denies, whatever else allows."""
    return _statement("Deny", actions, resources, conditions, principals, sid)


def deny_insecure_transport(actions: Iterable[str], resources: pulumi.Input[str] | Sequence[pulumi.Input[str]]) -> Statement:
    """A statement of a resource's policy that refuses whoever comes without TLS."""
    return deny(
        actions,
        resources,
        principals=ANYBODY,
        conditions={"Bool": {SECURE_TRANSPORT: "false"}},
        sid="DenyInsecureTransport",
    )


def document(*statements: Statement) -> pulumi.Output[str]:
    """The policy as JSON in one fixed form: equal policies are equal text, so that a preview shows no difference."""
    text: pulumi.Output[str] = pulumi.Output.json_dumps(
        {"Version": "2012-10-17", "Statement": list(statements)}, sort_keys=True, separators=(",", ":")
    )
    return text


def trust(service: str, account_id: pulumi.Input[str], source_arn: pulumi.Input[str] | None = None) -> pulumi.Output[str]:
    """Who may assume a role: `service`, on behalf of this account only, and there for what matches `source_arn`.

    Without it another customer could have the service use the role for them (IAM user guide, "The confused deputy problem").
    """
    conditions: dict[str, Mapping[str, Any]] = {}
    if service not in WITHOUT_SOURCE:
        conditions["StringEquals"] = {"aws:SourceAccount": account_id}
        if source_arn is not None:
            conditions["ArnLike"] = {"aws:SourceArn": source_arn}
    return document(allow(["sts:AssumeRole"], principals={"Service": service}, conditions=conditions))


def pod_identity_trust(account_id: pulumi.Input[str], cluster_arn: pulumi.Input[str]) -> pulumi.Output[str]:
    """Who may assume a role: Pod Identity, for the pods of one cluster (EKS user guide, "Create IAM role with trust policy")."""
    return document(
        allow(
            ["sts:AssumeRole", "sts:TagSession"],
            principals={"Service": "pods.eks.amazonaws.com"},
            conditions={"StringEquals": {"aws:SourceAccount": account_id}, "ArnEquals": {"aws:SourceArn": cluster_arn}},
        )
    )


def irsa_trust(
    provider_arn: pulumi.Input[str],
    issuer: pulumi.Input[str],
    namespace_name: pulumi.Input[str],
    service_account: pulumi.Input[str],
) -> pulumi.Output[str]:
    """Who may assume a role: the pods of one service account, by the token their cluster signs for AWS alone.

    Both conditions are needed: without the subject every service account of the cluster could, without the audience every token
    of that one (EKS user guide, "IAM roles for service accounts").
    """

    def written(values: list[str]) -> pulumi.Output[str]:
        provider, signed_by, namespace, account = values
        about = {f"{signed_by}:aud": AWS_AUDIENCE, f"{signed_by}:sub": f"system:serviceaccount:{namespace}:{account}"}
        return document(
            allow(["sts:AssumeRoleWithWebIdentity"], principals={"Federated": provider}, conditions={"StringEquals": about})
        )

    trusted: pulumi.Output[str] = pulumi.Output.all(provider_arn, issuer, namespace_name, service_account).apply(written)
    return trusted


def _statement(
    effect: str,
    actions: Iterable[str],
    resources: pulumi.Input[str] | Sequence[pulumi.Input[str]] | None,
    conditions: Conditions | None,
    principals: Mapping[str, Any] | str | None,
    sid: str,
) -> Statement:
    found = {
        "Sid": sid,
        "Effect": effect,
        "Principal": principals,
        "Action": sorted(set(actions)),
        "Resource": resources,
        "Condition": conditions,
    }
    # An output has no truth of its own, so it is told from the empty values first.
    return {key: value for key, value in found.items() if isinstance(value, pulumi.Output) or value}
