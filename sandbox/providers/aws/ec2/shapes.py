"""What the adapters of EC2 share: tags, and resources that are told in lists."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.services.shapes import Operation, ServiceAdapter, retag, tag_list, tag_map, tag_values


class Ec2Adapter(ServiceAdapter):
    """A resource type of EC2."""

    service = "ec2"
    resource_type: ClassVar[str] = ""
    """Its name in tag specifications; empty for what has no tags."""

    def tagged(self, op: Operation) -> dict[str, Any]:
        """The parameter that tags it from the beginning."""
        return {"TagSpecifications": [{"ResourceType": self.resource_type, "Tags": tag_list(op.tags)}]} if op.tags else {}

    def change(self, op: Operation) -> None:
        change_tags(op)


def change_tags(op: Operation, identity: str = "") -> None:
    """Bring the tags to those that are wanted."""
    resource = [identity or op.id]
    retag(
        op,
        lambda tags: op.client.create_tags(Resources=resource, Tags=tag_list(tags)),
        lambda keys: op.client.delete_tags(Resources=resource, Tags=[{"Key": key} for key in keys]),
    )


def tags_of(op: Operation, live: Mapping[str, Any]) -> Values:
    """`tags` and `tagsAll` of something as it is."""
    return tag_values(op, tag_map(live.get("Tags")))


def only(answer: Mapping[str, Any], member: str, among: Callable[[Values], bool] = lambda _: True) -> Values | None:
    """The one item of a list in an answer; None when there is none."""
    found: list[Values] = answer.get(member) or []
    return next(filter(among, found), None)


def arn(op: Operation, resource: str) -> str:
    """ARN of something of EC2."""
    account = op.account
    return f"arn:{account.partition}:ec2:{account.region}:{account.account_id}:{resource}"
