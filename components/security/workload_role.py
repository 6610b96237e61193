"""What every role for pods has in common, whoever vouches for the pods."""

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from ..base import PlatformComponent
from ..cloud import cloud
from ..inputs import validated
from ..ordering import known_after
from .policies import Statement, document
from .scoped import check_scoped


def workload_role(
    owner: PlatformComponent,
    trusted: pulumi.Input[str],
    about: str,
    statements: Sequence[Statement],
    managed_policies: Sequence[str] = (),
) -> pulumi.Output[str]:
    """The ARN of a role of the owner's, known when it can do what `statements` and AWS's own policies allow.

    `trusted` is the policy that says who may assume it. A statement that reaches more than it names raises ValueError.
    """
    role = aws.iam.Role(owner.child_name("role"), assume_role_policy=trusted, description=about, opts=owner.child())
    allowed: list[pulumi.Output[str]] = []
    if statements:
        inline = aws.iam.RolePolicy(
            owner.child_name("policy"),
            role=role.name,
            policy=validated(document(*statements), check_scoped),
            opts=owner.child(),
        )
        allowed.append(inline.role)
    for policy in managed_policies:
        attachment = aws.iam.RolePolicyAttachment(
            owner.child_name("attachment", policy.rpartition("/")[2]),
            role=role.name,
            policy_arn=cloud(owner).managed_policy(policy),
            opts=owner.child(),
        )
        allowed.append(attachment.role)
    return known_after(role.arn, *allowed)
