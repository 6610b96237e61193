"""Security groups and their rules, each a resource of its own."""

from collections.abc import Mapping
from typing import Any, ClassVar

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.ec2.shapes import Ec2Adapter, arn, change_tags, only, tags_of
from sandbox.providers.aws.services.shapes import Operation, taken
from sandbox.providers.contract import ProviderError


class _Group(Ec2Adapter):
    write_only = frozenset({"revokeRulesOnDelete"})

    def look(self, op: Operation) -> Values | None:
        live = only(op.client.describe_security_groups(GroupIds=[op.id]), "SecurityGroups")
        return live and {
            "arn": arn(op, f"security-group/{op.id}"),
            "description": live["Description"],
            "name": live["GroupName"],
            "ownerId": live.get("OwnerId"),
            "vpcId": live.get("VpcId"),
            **tags_of(op, live),
        }


class SecurityGroup(_Group):
    token = "aws:ec2/securityGroup:SecurityGroup"
    resource_type = "security-group"
    replaces = frozenset({"description", "name", "namePrefix", "vpcId"})
    refused = frozenset({"egress", "ingress", "namePrefix"})
    autoname = ("name", 255)

    def make(self, op: Operation) -> str:
        names = {"name": "GroupName", "vpcId": "VpcId"}
        description = op.values.get("description", "Managed by Pulumi")
        answer = op.client.create_security_group(**taken(op.values, names), Description=description, **self.tagged(op))
        identity = str(answer["GroupId"])
        # A new group lets everything out; the official provider takes that away.
        _empty(op, identity)
        return identity

    def remove(self, op: Operation) -> None:
        if op.values.get("revokeRulesOnDelete"):
            _empty(op, op.id)
        op.client.delete_security_group(GroupId=op.id)


class DefaultSecurityGroup(_Group):
    """Every VPC has one that cannot be deleted: it is taken over and emptied, and in the end only forgotten."""

    token = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
    needed = frozenset({"vpcId"})
    replaces = frozenset({"vpcId"})
    refused = frozenset({"egress", "ingress"})

    def make(self, op: Operation) -> str:
        named = [{"Name": "vpc-id", "Values": [op.values["vpcId"]]}, {"Name": "group-name", "Values": ["default"]}]
        found = only(op.client.describe_security_groups(Filters=named), "SecurityGroups")
        if not found:
            raise ProviderError(f"{op.values['vpcId']} has no default security group; is it a VPC of this account?")
        identity = str(found["GroupId"])
        _empty(op, identity)
        change_tags(op, identity)
        return identity

    def remove(self, op: Operation) -> None:
        """AWS keeps it."""


class _Rule(Ec2Adapter):
    resource_type = "security-group-rule"
    direction: ClassVar[str]
    # AWS can change the group and the prefix list of a rule, moto cannot.
    replaces = frozenset({"prefixListId", "referencedSecurityGroupId", "securityGroupId"})
    alternatives = frozenset({"cidrIpv4", "prefixListId", "referencedSecurityGroupId"})
    refused = frozenset({"cidrIpv6"})

    def make(self, op: Operation) -> str:
        peers = sorted(name for name in self.alternatives if op.values.get(name) is not None)
        if len(peers) != 1:
            given, possible = " and ".join(peers) or "none", ", ".join(sorted(self.alternatives))
            raise ProviderError(f"{self.token}: a rule names one of {possible}, and this one names {given}: make one for each")
        authorize = getattr(op.client, f"authorize_security_group_{self.direction}")
        answer = authorize(GroupId=op.values["securityGroupId"], IpPermissions=[_permission(op)], **self.tagged(op))
        return str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def look(self, op: Operation) -> Values | None:
        live = only(op.client.describe_security_group_rules(SecurityGroupRuleIds=[op.id]), "SecurityGroupRules")
        if not live:
            return None
        protocol = str(live["IpProtocol"])
        everything = protocol == "-1"
        return {
            "arn": arn(op, f"security-group-rule/{op.id}"),
            "cidrIpv4": live.get("CidrIpv4"),
            "description": live.get("Description") or None,
            "fromPort": None if everything else live.get("FromPort"),
            "ipProtocol": protocol,
            "prefixListId": live.get("PrefixListId"),
            "referencedSecurityGroupId": (live.get("ReferencedGroupInfo") or {}).get("GroupId"),
            "securityGroupId": live["GroupId"],
            "securityGroupRuleId": op.id,
            "toPort": None if everything else live.get("ToPort"),
            **tags_of(op, live),
        }

    def change(self, op: Operation) -> None:
        change_tags(op)
        names = {
            "cidrIpv4": "CidrIpv4",
            "fromPort": "FromPort",
            "ipProtocol": "IpProtocol",
            "prefixListId": "PrefixListId",
            "referencedSecurityGroupId": "ReferencedGroupId",
            "toPort": "ToPort",
        }
        if op.changed("description", *names):
            every_port = {} if op.values["ipProtocol"] in ("tcp", "udp") else {"FromPort": -1, "ToPort": -1}
            changed = {**every_port, **taken(op.values, names), "Description": op.values.get("description") or ""}
            rule = {"SecurityGroupRuleId": op.id, "SecurityGroupRule": changed}
            op.client.modify_security_group_rules(GroupId=op.values["securityGroupId"], SecurityGroupRules=[rule])

    def remove(self, op: Operation) -> None:
        revoke = getattr(op.client, f"revoke_security_group_{self.direction}")
        revoke(GroupId=op.values["securityGroupId"], SecurityGroupRuleIds=[op.id])


class SecurityGroupIngressRule(_Rule):
    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    direction = "ingress"


class SecurityGroupEgressRule(_Rule):
    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    direction = "egress"


def _permission(op: Operation) -> dict[str, Any]:
    values = op.values
    described = {"Description": values["description"]} if values.get("description") else {}
    permission: dict[str, Any] = {"IpProtocol": values["ipProtocol"]}
    permission |= taken(values, {"fromPort": "FromPort", "toPort": "ToPort"})
    if values.get("cidrIpv4"):
        permission["IpRanges"] = [{"CidrIp": values["cidrIpv4"], **described}]
    if values.get("prefixListId"):
        permission["PrefixListIds"] = [{"PrefixListId": values["prefixListId"], **described}]
    if values.get("referencedSecurityGroupId"):
        permission["UserIdGroupPairs"] = [{"GroupId": values["referencedSecurityGroupId"], **described}]
    return permission


def _empty(op: Operation, identity: str) -> None:
    """Take all rules away."""
    live: Mapping[str, Any] = only(op.client.describe_security_groups(GroupIds=[identity]), "SecurityGroups") or {}
    for member, direction in (("IpPermissions", "ingress"), ("IpPermissionsEgress", "egress")):
        if live.get(member):
            getattr(op.client, f"revoke_security_group_{direction}")(GroupId=identity, IpPermissions=live[member])
