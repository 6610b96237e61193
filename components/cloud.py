"""The AWS account a component works in, asked of its provider.

Types of pulumi-aws stand in quotes in annotations: it loads its modules, half a second each, when they are first looked at.
"""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws


@dataclass(frozen=True)
class Cloud:
    """Partition, account and region; parts of every ARN."""

    partition: pulumi.Output[str]
    account_id: pulumi.Output[str]
    region: pulumi.Output[str]

    def arn(self, service: str, resource: pulumi.Input[str]) -> pulumi.Output[str]:
        """ARN of a resource of this account and region."""
        return pulumi.Output.format("arn:{0}:{1}:{2}:{3}:{4}", self.partition, service, self.region, self.account_id, resource)

    def managed_policy(self, name: str) -> pulumi.Output[str]:
        """ARN of a policy that AWS manages, e.g. `AmazonEKSClusterPolicy` or `service-role/AmazonEFSCSIDriverPolicy`."""
        return pulumi.Output.format("arn:{0}:iam::aws:policy/{1}", self.partition, name)


def cloud(component: pulumi.ComponentResource) -> Cloud:
    """The account of the `aws` provider that a component's children use."""
    options = pulumi.InvokeOutputOptions(parent=component)
    return Cloud(
        partition=aws.get_partition_output(opts=options).partition,
        account_id=aws.get_caller_identity_output(opts=options).account_id,
        region=aws.get_region_output(opts=options).region,
    )
