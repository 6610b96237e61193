"""Who may use an EKS cluster: the principals of its access entries. Pure."""

from typing import Annotated

from components.inputs import Matching

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


def check_principals(admins: tuple[str, ...], viewers: tuple[str, ...]) -> None:
    """Raise ValueError unless somebody can administer the cluster and nobody is named twice."""
    if not admins:
        raise ValueError(
            "adminPrincipals: nobody is named, so nobody could reach the cluster; "
            "name the role that deploys, e.g. arn:aws:iam::123456789012:role/platform-admin"
        )
    named = [*admins, *viewers]
    for number, arn in enumerate(named):
        if arn in named[:number]:
            raise ValueError(f"viewerPrincipals: {arn} is named twice; a principal has one entry, so name it once")
