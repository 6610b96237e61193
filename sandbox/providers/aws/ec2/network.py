"""VPCs, subnets, gateways and routes."""

from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from sandbox.providers.aws.adapter import Values
from sandbox.providers.aws.ec2.shapes import Ec2Adapter, arn, change_tags, only, tags_of
from sandbox.providers.aws.services.shapes import STATUS, Operation, taken


class Vpc(Ec2Adapter):
    token = "aws:ec2/vpc:Vpc"
    resource_type = "vpc"
    replaces = frozenset({"cidrBlock", "instanceTenancy"})
    refused = frozenset(
        {
            "assignGeneratedIpv6CidrBlock",
            "enableNetworkAddressUsageMetrics",
            "ipv4IpamPoolId",
            "ipv4NetmaskLength",
            "ipv6CidrBlock",
            "ipv6CidrBlockNetworkBorderGroup",
            "ipv6IpamPoolId",
            "ipv6NetmaskLength",
        }
    )

    _defaults: Final = {"enableDnsSupport": True}
    """Of the official provider; it leaves other attributes to AWS where the program says nothing."""

    def make(self, op: Operation) -> str:
        names = {"cidrBlock": "CidrBlock", "instanceTenancy": "InstanceTenancy"}
        identity = str(op.client.create_vpc(**taken(op.values, names), **self.tagged(op))["Vpc"]["VpcId"])
        self._attributes(op, identity, {"enableDnsHostnames": False, "enableDnsSupport": True})
        return identity

    def look(self, op: Operation) -> Values | None:
        live = only(op.client.describe_vpcs(VpcIds=[op.id]), "Vpcs")
        if not live:
            return None
        of_this = [{"Name": "vpc-id", "Values": [op.id]}]
        group = only(
            op.client.describe_security_groups(Filters=[*of_this, {"Name": "group-name", "Values": ["default"]}]),
            "SecurityGroups",
        )
        main = [*of_this, {"Name": "association.main", "Values": ["true"]}]
        table = only(op.client.describe_route_tables(Filters=main), "RouteTables")
        acl = only(op.client.describe_network_acls(Filters=[*of_this, {"Name": "default", "Values": ["true"]}]), "NetworkAcls")
        return {
            "arn": arn(op, f"vpc/{op.id}"),
            "cidrBlock": live["CidrBlock"],
            "dhcpOptionsId": live.get("DhcpOptionsId"),
            "instanceTenancy": live.get("InstanceTenancy", "default"),
            "ownerId": live.get("OwnerId"),
            "defaultSecurityGroupId": group and group["GroupId"],
            "mainRouteTableId": table and table["RouteTableId"],
            "defaultRouteTableId": table and table["RouteTableId"],
            "defaultNetworkAclId": acl and acl["NetworkAclId"],
            **{name: self._attribute(op, name) for name in ("enableDnsHostnames", "enableDnsSupport")},
            **tags_of(op, live),
        }

    def change(self, op: Operation) -> None:
        change_tags(op)
        self._attributes(op, op.id, op.old)

    def remove(self, op: Operation) -> None:
        op.client.delete_vpc(VpcId=op.id)

    def _attribute(self, op: Operation, name: str) -> bool:
        title = name[0].upper() + name[1:]
        return bool(op.client.describe_vpc_attribute(VpcId=op.id, Attribute=name)[title]["Value"])

    def _attributes(self, op: Operation, identity: str, before: Mapping[str, Any]) -> None:
        for name in ("enableDnsSupport", "enableDnsHostnames"):
            wanted, was = (values.get(name, self._defaults.get(name)) for values in (op.values, before))
            if wanted is not None and wanted != was:
                op.client.modify_vpc_attribute(VpcId=identity, **{name[0].upper() + name[1:]: {"Value": wanted}})


class Subnet(Ec2Adapter):
    token = "aws:ec2/subnet:Subnet"
    resource_type = "subnet"
    replaces = frozenset({"availabilityZone", "availabilityZoneId", "cidrBlock", "vpcId"})
    refused = frozenset(
        {
            "assignIpv6AddressOnCreation",
            "availabilityZoneId",
            "customerOwnedIpv4Pool",
            "enableDns64",
            "enableLniAtDeviceIndex",
            "enableResourceNameDnsARecordOnLaunch",
            "enableResourceNameDnsAaaaRecordOnLaunch",
            "ipv4IpamPoolId",
            "ipv4NetmaskLength",
            "ipv6CidrBlock",
            "ipv6IpamPoolId",
            "ipv6Native",
            "ipv6NetmaskLength",
            "mapCustomerOwnedIpOnLaunch",
            "outpostArn",
            "privateDnsHostnameTypeOnLaunch",
        }
    )

    def make(self, op: Operation) -> str:
        names = {"vpcId": "VpcId", "cidrBlock": "CidrBlock", "availabilityZone": "AvailabilityZone"}
        identity = str(op.client.create_subnet(**taken(op.values, names), **self.tagged(op))["Subnet"]["SubnetId"])
        if op.values.get("mapPublicIpOnLaunch"):
            self._map_public_ip(op, identity)
        return identity

    def look(self, op: Operation) -> Values | None:
        live = only(op.client.describe_subnets(SubnetIds=[op.id]), "Subnets")
        return live and {
            "arn": live.get("SubnetArn") or arn(op, f"subnet/{op.id}"),
            "availabilityZone": live["AvailabilityZone"],
            "availabilityZoneId": live.get("AvailabilityZoneId"),
            "cidrBlock": live["CidrBlock"],
            "mapPublicIpOnLaunch": live.get("MapPublicIpOnLaunch", False),
            "ownerId": live.get("OwnerId"),
            "vpcId": live["VpcId"],
            **tags_of(op, live),
        }

    def change(self, op: Operation) -> None:
        change_tags(op)
        if op.changed("mapPublicIpOnLaunch"):
            self._map_public_ip(op, op.id)

    def remove(self, op: Operation) -> None:
        op.client.delete_subnet(SubnetId=op.id)

    def _map_public_ip(self, op: Operation, identity: str) -> None:
        value = {"Value": bool(op.values.get("mapPublicIpOnLaunch"))}
        op.client.modify_subnet_attribute(SubnetId=identity, MapPublicIpOnLaunch=value)


class InternetGateway(Ec2Adapter):
    token = "aws:ec2/internetGateway:InternetGateway"
    resource_type = "internet-gateway"

    def make(self, op: Operation) -> str:
        identity = str(op.client.create_internet_gateway(**self.tagged(op))["InternetGateway"]["InternetGatewayId"])
        if op.values.get("vpcId"):
            op.client.attach_internet_gateway(InternetGatewayId=identity, VpcId=op.values["vpcId"])
        return identity

    def look(self, op: Operation) -> Values | None:
        live = only(op.client.describe_internet_gateways(InternetGatewayIds=[op.id]), "InternetGateways")
        if not live:
            return None
        attached = only(live, "Attachments")
        return {
            "arn": arn(op, f"internet-gateway/{op.id}"),
            "ownerId": live.get("OwnerId"),
            "vpcId": attached and attached["VpcId"],
            **tags_of(op, live),
        }

    def change(self, op: Operation) -> None:
        change_tags(op)
        if op.changed("vpcId"):
            if op.old.get("vpcId"):
                _detach(op, op.old["vpcId"])
            if op.values.get("vpcId"):
                op.client.attach_internet_gateway(InternetGatewayId=op.id, VpcId=op.values["vpcId"])

    def remove(self, op: Operation) -> None:
        if op.values.get("vpcId"):
            _detach(op, op.values["vpcId"])
        op.client.delete_internet_gateway(InternetGatewayId=op.id)


def _detach(op: Operation, vpc: str) -> None:
    try:
        op.client.detach_internet_gateway(InternetGatewayId=op.id, VpcId=vpc)
    except ClientError as error:
        if error.response["Error"]["Code"] != "Gateway.NotAttached":  # somebody else has done it
            raise


class Eip(Ec2Adapter):
    token = "aws:ec2/eip:Eip"
    resource_type = "elastic-ip"
    replaces = frozenset({"domain"})
    refused = frozenset(
        {
            "address",
            "associateWithPrivateIp",
            "customerOwnedIpv4Pool",
            "instance",
            "ipamPoolId",
            "networkBorderGroup",
            "networkInterface",
            "publicIpv4Pool",
        }
    )

    def make(self, op: Operation) -> str:
        return str(op.client.allocate_address(Domain=op.values.get("domain", "vpc"), **self.tagged(op))["AllocationId"])

    def look(self, op: Operation) -> Values | None:
        live = only(op.client.describe_addresses(AllocationIds=[op.id]), "Addresses")
        return live and {
            "allocationId": op.id,
            "arn": arn(op, f"elastic-ip/{op.id}"),
            "associationId": live.get("AssociationId"),
            "domain": live.get("Domain", "vpc"),
            "publicIp": live["PublicIp"],
            **tags_of(op, live),
        }

    def remove(self, op: Operation) -> None:
        op.client.release_address(AllocationId=op.id)


class NatGateway(Ec2Adapter):
    token = "aws:ec2/natGateway:NatGateway"
    resource_type = "natgateway"
    needed = frozenset({"subnetId"})
    replaces = frozenset({"allocationId", "connectivityType", "privateIp", "subnetId"})
    refused = frozenset(
        {
            "availabilityMode",
            "availabilityZoneAddresses",
            "privateIp",
            "secondaryAllocationIds",
            "secondaryPrivateIpAddressCount",
            "secondaryPrivateIpAddresses",
            "vpcId",
        }
    )

    def make(self, op: Operation) -> str:
        names = {"subnetId": "SubnetId", "allocationId": "AllocationId", "connectivityType": "ConnectivityType"}
        return str(op.client.create_nat_gateway(**taken(op.values, names), **self.tagged(op))["NatGateway"]["NatGatewayId"])

    def look(self, op: Operation) -> Values | None:
        live = only(op.client.describe_nat_gateways(NatGatewayIds=[op.id]), "NatGateways")
        if not live or live["State"] == "deleted":
            return None
        address = only(live, "NatGatewayAddresses") or {}
        return {
            STATUS: live["State"],
            "allocationId": address.get("AllocationId"),
            "connectivityType": live.get("ConnectivityType", "public"),
            "networkInterfaceId": address.get("NetworkInterfaceId"),
            "privateIp": address.get("PrivateIp"),
            "publicIp": address.get("PublicIp"),
            "subnetId": live["SubnetId"],
            **tags_of(op, live),
        }

    def remove(self, op: Operation) -> None:
        op.client.delete_nat_gateway(NatGatewayId=op.id)


class RouteTable(Ec2Adapter):
    token = "aws:ec2/routeTable:RouteTable"
    resource_type = "route-table"
    replaces = frozenset({"vpcId"})
    refused = frozenset({"propagatingVgws", "routes"})

    def make(self, op: Operation) -> str:
        return str(op.client.create_route_table(VpcId=op.values["vpcId"], **self.tagged(op))["RouteTable"]["RouteTableId"])

    def look(self, op: Operation) -> Values | None:
        live = only(op.client.describe_route_tables(RouteTableIds=[op.id]), "RouteTables")
        return live and {
            "arn": arn(op, f"route-table/{op.id}"),
            "ownerId": live.get("OwnerId"),
            "vpcId": live["VpcId"],
            **tags_of(op, live),
        }

    def remove(self, op: Operation) -> None:
        op.client.delete_route_table(RouteTableId=op.id)


class Route(Ec2Adapter):
    token = "aws:ec2/route:Route"
    replaces = frozenset({"destinationCidrBlock", "destinationIpv6CidrBlock", "destinationPrefixListId", "routeTableId"})
    needed = frozenset({"destinationCidrBlock"})
    refused = frozenset(
        {
            "carrierGatewayId",
            "coreNetworkArn",
            "destinationIpv6CidrBlock",
            "destinationPrefixListId",
            "egressOnlyGatewayId",
            "localGatewayId",
            "networkInterfaceId",
            "odbNetworkArn",
            "transitGatewayId",
            "vpcEndpointId",
            "vpcPeeringConnectionId",
        }
    )
    _targets: Final = {"gatewayId": "GatewayId", "natGatewayId": "NatGatewayId"}

    def make(self, op: Operation) -> str:
        op.client.create_route(**self._where(op.values), **taken(op.values, self._targets))
        return f"{op.values['routeTableId']}_{op.values['destinationCidrBlock']}"

    def look(self, op: Operation) -> Values | None:
        table, _, destination = op.id.partition("_")
        live = only(op.client.describe_route_tables(RouteTableIds=[table]), "RouteTables")
        found = live and only(live, "Routes", lambda route: route.get("DestinationCidrBlock") == destination)
        return found and {
            "routeTableId": table,
            "destinationCidrBlock": destination,
            "origin": found.get("Origin", "CreateRoute"),
            "state": found.get("State", "active"),
            **{ours: found.get(theirs) for ours, theirs in self._targets.items()},
        }

    def change(self, op: Operation) -> None:
        op.client.replace_route(**self._where(op.values), **taken(op.values, self._targets))

    def remove(self, op: Operation) -> None:
        op.client.delete_route(**self._where(op.values))

    def _where(self, values: Values) -> dict[str, str]:
        return {"RouteTableId": values["routeTableId"], "DestinationCidrBlock": values["destinationCidrBlock"]}


class RouteTableAssociation(Ec2Adapter):
    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    replaces = frozenset({"gatewayId", "routeTableId", "subnetId"})
    refused = frozenset({"gatewayId"})
    needed = frozenset({"subnetId"})

    def make(self, op: Operation) -> str:
        answer = op.client.associate_route_table(RouteTableId=op.values["routeTableId"], SubnetId=op.values["subnetId"])
        return str(answer["AssociationId"])

    def look(self, op: Operation) -> Values | None:
        named = [{"Name": "association.route-table-association-id", "Values": [op.id]}]
        table = only(op.client.describe_route_tables(Filters=named), "RouteTables")
        found = table and only(table, "Associations", lambda one: one["RouteTableAssociationId"] == op.id)
        return found and {"routeTableId": found["RouteTableId"], "subnetId": found.get("SubnetId")}

    def remove(self, op: Operation) -> None:
        op.client.disassociate_route_table(AssociationId=op.id)
