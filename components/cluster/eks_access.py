"""Who may use an EKS cluster: the principals of its access entries. Pure."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pulumi

from ..inputs import Matching

PrincipalArn = Annotated[
    str,
    Matching(
        pattern=r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+",
        what="the ARN of an IAM role or user (a session's ARN, with sts and assumed-role in it, names no principal)",
        example="arn:aws:iam::123456789012:role/platform-admin",
    ),
]
"""ARN of an IAM role or user."""

ADMIN, VIEWER = "AmazonEKSClusterAdminPolicy", "AmazonEKSAdminViewPolicy"
"""Access policies (docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html): everything, and reading everything.

The viewer is for previews: it reads all objects, secrets among them, since a preview compares them.
"""


def principal_key(arn: str) -> str:
    """What tells an entry from the others of its cluster: the part of the ARN that says who, e.g. `role/platform-admin`."""
    return arn.split(":", 5)[5]


_RESERVED = ("system:", "eks:", "aws:", "amazon:", "iam:")
"""Beginnings of groups that EKS keeps to itself (docs.aws.amazon.com/eks/latest/APIReference/API_CreateAccessEntry.html)."""


def check_principals(
    admins: tuple[str, ...], viewers: tuple[str, ...], tenants: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Raise ValueError unless somebody can administer the cluster and nobody is named twice.

    `tenants` are the groups of those who deploy for a tenant, by principal.
    """
    if not admins:
        raise ValueError(
            "adminPrincipals: nobody is named, so nobody could reach the cluster; "
            "name the role that deploys, e.g. arn:aws:iam::123456789012:role/platform-admin"
        )
    of_tenants = tenants or {}
    named = [*admins, *viewers, *of_tenants]
    for number, arn in enumerate(named):
        key = "tenantPrincipals" if number >= len(admins) + len(viewers) else "viewerPrincipals"
        if arn in named[:number]:
            raise ValueError(f"{key}: {arn} is named twice; a principal has one entry, so name it once")
        if principal_key(arn) in map(principal_key, named[:number]):
            raise ValueError(f"{key}: {arn} has the name of a principal of another account; give one of the two another name")
    for arn, groups in of_tenants.items():
        for group in groups:
            if group.startswith(_RESERVED):
                raise ValueError(
                    f"tenantPrincipals: {arn} cannot be in {group}, since EKS keeps groups that begin with "
                    f"{', '.join(_RESERVED)}; use e.g. llm-platform:research"
                )


def check_public_access(cidrs: tuple[str, ...]) -> None:
    """Raise ValueError unless every entry is a network, and none is everybody."""
    for cidr in cidrs:
        try:
            network = ipaddress.ip_network(cidr)
        except ValueError:
            raise ValueError(f"publicAccessCidrs: {cidr!r} is not a network; use e.g. 203.0.113.0/24") from None
        if network.prefixlen == 0:
            raise ValueError(
                f"publicAccessCidrs: {cidr} is the whole internet; name the networks of those who work with the cluster, "
                "e.g. 203.0.113.0/24, or none to keep the API private"
            )


def eks_kubeconfig(
    name: pulumi.Input[str], endpoint: pulumi.Input[str], authority: pulumi.Input[str], region: pulumi.Input[str]
) -> dict[str, Any]:
    """A kubeconfig without any credential: `aws eks get-token` makes one of those of whoever uses it, for a quarter of an hour.

    `authority` is the certificate of the cluster's authority in base64.
    """
    command = ["--region", region, "eks", "get-token", "--cluster-name", name, "--output", "json"]
    user = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "aws", "args": command, "interactiveMode": "Never"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "eks",
        "contexts": [{"name": "eks", "context": {"cluster": "eks", "user": "eks"}}],
        "clusters": [{"name": "eks", "cluster": {"server": endpoint, "certificate-authority-data": authority}}],
        "users": [{"name": "eks", "user": {"exec": user}}],
    }
