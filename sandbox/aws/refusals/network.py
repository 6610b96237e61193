"""EC2's refusals: networks, and launch templates. Codes: EC2 user guide, "Error codes for the Amazon EC2 API"."""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from sandbox.aws import eks
from sandbox.aws.backends import Backends
from sandbox.aws.refusals.errors import Parameters, RefusalError, Rule

_USER_DATA_BYTES = 16384
"""EC2 user guide, "Run commands when you launch an EC2 instance": of the raw text, before base64."""


def _in_use(what: str, identifier: str, users: Iterator[str]) -> None:
    if next(users, None) is not None:
        raise RefusalError("DependencyViolation", f"The {what} '{identifier}' has dependencies and cannot be deleted.")


def _delete_security_group(aws: Backends, given: Parameters) -> None:
    identifier = given.get("GroupId")
    group = aws.ec2.get_security_group_from_id(identifier) if identifier else None
    if group is None:
        return
    if group.name == "default":
        message = f'the specified group: "{identifier}" name: "default" cannot be deleted by a user'
        raise RefusalError("CannotDelete", message)
    if next(_users_of_group(aws, group), None) is not None:
        raise RefusalError("DependencyViolation", f"resource {identifier} has a dependent object")


def _users_of_group(aws: Backends, group: Any) -> Iterator[str]:
    for groups in aws.ec2.groups.values():
        for other in groups.values():
            rules = (*other.ingress_rules, *other.egress_rules)
            if other.id != group.id and any(rule.source_group.get("GroupId") == group.id for rule in rules):
                yield f"a rule of {other.id}"
    yield from (eni.id for eni in aws.ec2.enis.values() if any(used.id == group.id for used in eni.group_set))
    yield from (endpoint.id for endpoint in _endpoints(aws) if group.id in endpoint.security_group_ids)
    for target in aws.efs.mount_targets_by_id.values():
        if group.id in (target.security_groups or ()):
            yield target.mount_target_id
    for system in aws.fsx.file_systems.values():
        if group.id in (system.security_group_ids or ()):
            yield system.file_system_id
    yield from eks.users_of(group.id)


def _delete_subnet(aws: Backends, given: Parameters) -> None:
    _in_use("subnet", given["SubnetId"], _users_of_subnet(aws, given["SubnetId"]))


def _users_of_subnet(aws: Backends, identifier: str) -> Iterator[str]:
    # Interfaces stand for instances, NAT gateways and mount targets too: moto makes one for each.
    yield from (eni.id for eni in aws.ec2.enis.values() if eni.subnet.id == identifier)
    yield from (endpoint.id for endpoint in _endpoints(aws) if identifier in (endpoint.subnet_ids or ()))
    yield from (system.file_system_id for system in aws.fsx.file_systems.values() if identifier in (system.subnet_ids or ()))
    yield from eks.users_of(identifier)


def _delete_vpc(aws: Backends, given: Parameters) -> None:
    vpc = aws.ec2.get_vpc(given["VpcId"])

    def left() -> Iterator[str]:
        yield from (gateway.id for gateway in aws.ec2.internet_gateways.values() if gateway.vpc and gateway.vpc.id == vpc.id)
        yield from (gateway.id for gateway in aws.ec2.egress_only_internet_gateways.values() if gateway.vpc_id == vpc.id)
        yield from (endpoint.id for endpoint in _endpoints(aws) if endpoint.vpc_id == vpc.id)
        yield from (group.id for group in aws.ec2.groups[vpc.id].values() if group.name != "default")

    _in_use("vpc", vpc.id, left())


def _delete_route_table(aws: Backends, given: Parameters) -> None:
    table = aws.ec2.get_route_table(given["RouteTableId"])
    _in_use("routeTable", table.id, (association for association in [table.main_association_id] if association))


def _detach_internet_gateway(aws: Backends, given: Parameters) -> None:
    vpc = given["VpcId"]
    if any(address.eni is not None and address.eni.subnet.vpc_id == vpc for address in aws.ec2.addresses):
        raise RefusalError(
            "DependencyViolation",
            f"Network {vpc} has some mapped public address(es). "
            "Please unmap those public address(es) before detaching the gateway.",
        )


def _release_address(aws: Backends, given: Parameters) -> None:
    for address in aws.ec2.addresses:
        if address.allocation_id == given.get("AllocationId") and address.association_id is not None:
            raise RefusalError("InvalidIPAddress.InUse", f"Address {address.public_ip} is in use.")


def _create_nat_gateway(aws: Backends, given: Parameters) -> None:
    subnet = aws.ec2.get_subnet(given["SubnetId"])
    if given.get("ConnectivityType", "public") == "private":
        return
    if not given.get("AllocationId"):
        raise RefusalError("MissingParameter", "The request must contain the parameter AllocationId")
    (address,) = aws.ec2.address_by_allocation([given["AllocationId"]])
    if address.association_id is not None:
        raise RefusalError("Resource.AlreadyAssociated", f"Elastic IP address [{address.allocation_id}] is already associated")
    if not any(gateway.vpc and gateway.vpc.id == subnet.vpc_id for gateway in aws.ec2.internet_gateways.values()):
        raise RefusalError("Gateway.NotAttached", f"Network {subnet.vpc_id} has no Internet gateway attached")


def _create_route(aws: Backends, given: Parameters) -> None:
    gateway = aws.ec2.internet_gateways.get(given.get("GatewayId"))
    table = aws.ec2.get_route_table(given["RouteTableId"])
    if gateway is not None and (gateway.vpc is None or gateway.vpc.id != table.vpc_id):
        message = f"route table {table.id} and network gateway {gateway.id} belong to different networks"
        raise RefusalError("InvalidParameterValue", message)


def _create_vpc_endpoint(aws: Backends, given: Parameters) -> None:
    kind, service, vpc = given.get("VpcEndpointType", "Gateway"), given["ServiceName"], given["VpcId"]
    if kind == "Gateway":
        for table in given.get("RouteTableIds", ()):
            if any(other.service_name == service and table in (other.route_table_ids or ()) for other in _endpoints(aws)):
                raise RefusalError(
                    "RouteAlreadyExists", f"route table {table} already has a route with the prefix list of {service}"
                )
        return
    zones: set[str] = set()
    for subnet in given.get("SubnetIds", ()):
        zone = aws.ec2.get_subnet(subnet).availability_zone
        if zone in zones:
            raise RefusalError(
                "DuplicateSubnetsInSameZone",
                f"Found another VPC endpoint subnet in the availability zone of {subnet}. VPC endpoint subnets should be in "
                "different availability zones supported by the VPC endpoint service.",
            )
        zones.add(zone)
    same = [other for other in _endpoints(aws) if other.service_name == service and other.vpc_id == vpc]
    if given.get("PrivateDnsEnabled") and any(other.private_dns_enabled for other in same):
        raise RefusalError(
            "InvalidParameter",
            f"private-dns-enabled cannot be set because there is already a conflicting DNS domain for {service} in the VPC {vpc}",
        )


def _launch_template(_aws: Backends, given: Parameters) -> None:
    user_data = (given.get("LaunchTemplateData") or {}).get("UserData")
    if user_data is None:
        return
    try:
        text = base64.b64decode(user_data, validate=True)
    except (binascii.Error, ValueError):
        raise RefusalError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from None
    if len(text) > _USER_DATA_BYTES:
        raise RefusalError("InvalidParameterValue", f"User data is limited to {_USER_DATA_BYTES} bytes")


def _endpoints(aws: Backends) -> Iterator[Any]:
    return (endpoint for endpoint in aws.ec2.vpc_end_points.values() if endpoint.state != "deleted")


RULES: dict[tuple[str, str], tuple[Rule, ...]] = {
    ("ec2", "CreateLaunchTemplate"): (_launch_template,),
    ("ec2", "CreateLaunchTemplateVersion"): (_launch_template,),
    ("ec2", "CreateNatGateway"): (_create_nat_gateway,),
    ("ec2", "CreateRoute"): (_create_route,),
    ("ec2", "CreateVpcEndpoint"): (_create_vpc_endpoint,),
    ("ec2", "DeleteRouteTable"): (_delete_route_table,),
    ("ec2", "DeleteSecurityGroup"): (_delete_security_group,),
    ("ec2", "DeleteSubnet"): (_delete_subnet,),
    ("ec2", "DeleteVpc"): (_delete_vpc,),
    ("ec2", "DetachInternetGateway"): (_detach_internet_gateway,),
    ("ec2", "ReleaseAddress"): (_release_address,),
}
