"""The flow log of a network."""

import pulumi
import pulumi_aws as aws

from ..base import PlatformComponent
from ..cloud import Cloud
from ..names import fit
from ..security.policies import allow, document, trust

_ROLE = "flow-log"


def flow_log(
    owner: PlatformComponent,
    here: Cloud,
    vpc_id: pulumi.Input[str],
    retention_days: int,
    kms_key_arn: pulumi.Input[str],
) -> None:
    """Every flow, accepted or not, into a log group of its own (VPC user guide, "IAM role for publishing flow logs")."""
    name = owner.child_name(_ROLE)
    group = aws.cloudwatch.LogGroup(name, retention_in_days=retention_days, kms_key_id=kms_key_arn, opts=owner.child())
    role = aws.iam.Role(
        name,
        assume_role_policy=trust("vpc-flow-logs.amazonaws.com", here.account_id, here.arn("ec2", "vpc-flow-log/*")),
        description="Writes the flow log of a network",
        opts=owner.child(),
    )
    policy = aws.iam.RolePolicy(
        name,
        role=role.name,
        policy=document(
            allow(
                ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                [group.arn, pulumi.Output.concat(group.arn, ":*")],
            ),
            allow(["logs:DescribeLogGroups"], here.arn("logs", "log-group:*")),
        ),
        opts=owner.child(),
    )
    aws.ec2.FlowLog(
        name,
        vpc_id=vpc_id,
        traffic_type="ALL",
        log_destination_type="cloud-watch-logs",
        log_destination=group.arn,
        iam_role_arn=role.arn,
        tags={"Name": name},
        opts=owner.child(depends_on=[policy]),
    )


def flow_log_group(network: str) -> str:
    """Name of the log group of the network of that name, `*` standing for its random suffix, for the key that encrypts it."""
    return f"{fit(network, _ROLE)}-*"
