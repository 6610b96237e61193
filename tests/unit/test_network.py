"""What a network consists of, and what it refuses to be."""

import json
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from components.cluster import NatGateways, Network, flow_log_group
from components.inputs import InputError
from tests.contracts.examples import KEY_ARN
from tests.recorder import AUTONAME, Recording, Registration, record

ZONES = ["us-east-1a", "us-east-1b", "us-east-1c"]
NEEDED = ["ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth"]


def network(**changed: Any) -> Recording:
    """A program with one network named `net`."""

    def program() -> None:
        args: Any = {
            "cidr": "10.40.0.0/16",
            "zones": ZONES,
            "kms_key_arn": KEY_ARN,
            "cluster_names": ["blue", "green"],
            **changed,
        }
        Network("net", args, pulumi.ResourceOptions(providers=[aws.Provider("aws", region="us-east-1")]))

    return record(program)


def by_name(recording: Recording, token: str) -> dict[str, Registration]:
    return {resource.name: resource for resource in recording.of(token)}


def reached(recording: Recording, resource: Registration) -> set[str]:
    """Names of all that is made before a resource."""
    known = {each.urn: each for each in recording.resources}
    found: dict[str, Registration] = {}
    waiting = [resource]
    while waiting:
        for urn in waiting.pop().dependencies - found.keys():
            found[urn] = known[urn]
            waiting.append(known[urn])
    return {each.name for each in found.values()}


@pytest.mark.parametrize(
    ("choice", "gateways", "used"),
    [
        (NatGateways.SINGLE, {"net-nat-us-east-1a"}, {"net-nat-us-east-1a-id"}),
        (NatGateways.PER_ZONE, {f"net-nat-{zone}" for zone in ZONES}, {f"net-nat-{zone}-id" for zone in ZONES}),
    ],
)
def test_ways_out(choice: NatGateways, gateways: set[str], used: set[str]) -> None:
    made = network(nat_gateways=choice)
    assert by_name(made, "aws:ec2/natGateway:NatGateway").keys() == by_name(made, "aws:ec2/eip:Eip").keys() ^ gateways ^ {
        name.replace("-nat-", "-nat-address-") for name in gateways
    }
    routes = by_name(made, "aws:ec2/route:Route")
    private = {name: route for name, route in routes.items() if "private" in name}
    assert {route.inputs["natGatewayId"] for route in private.values()} == used
    assert len(private) == len(ZONES)


def test_a_network_without_a_way_out_has_every_endpoint_nodes_need() -> None:
    made = network(nat_gateways=NatGateways.NONE, interface_endpoints=NEEDED)
    assert [route.name for route in made.of("aws:ec2/route:Route")] == ["net-public-route"]
    assert made.of("aws:ec2/natGateway:NatGateway") == []
    services = {endpoint.inputs["serviceName"] for endpoint in made.of("aws:ec2/vpcEndpoint:VpcEndpoint")}
    assert services == {f"com.amazonaws.us-east-1.{service}" for service in [*NEEDED, "s3"]}


def test_what_is_put_into_a_private_subnet_waits_for_its_routes_and_endpoints() -> None:
    made = network(interface_endpoints=["sts"])
    association = by_name(made, "aws:ec2/routeTableAssociation:RouteTableAssociation")["net-private-routes-of-us-east-1b"]
    assert {
        "net-private-route-us-east-1b",
        "net-nat-us-east-1b",
        "net-internet",
        "net-endpoint-s3",
        "net-endpoint-sts",
    } <= reached(made, association)
    (_, outputs) = made.outputs[0]
    assert outputs["privateSubnetIds"] == {zone: f"net-private-{zone}-id" for zone in ZONES}


def test_nothing_gets_a_public_address_and_nothing_is_open() -> None:
    made = network(interface_endpoints=["sts"])
    assert {subnet.inputs["mapPublicIpOnLaunch"] for subnet in made.of("aws:ec2/subnet:Subnet")} == {False}
    default = made.one("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
    assert default.inputs.keys() == {"vpcId", "tags"}
    rule = made.one("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    assert (rule.inputs["cidrIpv4"], rule.inputs["fromPort"], rule.inputs["toPort"]) == ("10.40.0.0/16", 443, 443)
    assert made.of("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule") == []


def test_controllers_find_subnets_by_tag() -> None:
    tags = {name: subnet.inputs["tags"] for name, subnet in by_name(network(), "aws:ec2/subnet:Subnet").items()}
    shared = {"kubernetes.io/cluster/blue": "shared", "kubernetes.io/cluster/green": "shared"}
    private, public, control = (f"net-{role}-us-east-1a" for role in ("private", "public", "control-plane"))
    assert tags[private] == {"Name": private, "kubernetes.io/role/internal-elb": "1", "karpenter.sh/discovery": "blue", **shared}
    assert tags[public] == {"Name": public, "kubernetes.io/role/elb": "1", **shared}
    assert tags[control] == {"Name": control}


def test_the_key_can_name_the_log_group_beforehand() -> None:
    group = network().one("aws:cloudwatch/logGroup:LogGroup")
    pattern = flow_log_group("net")
    assert f"{group.name}{AUTONAME}".startswith(pattern.removesuffix("*"))
    assert pattern.endswith("-*")
    assert group.inputs["kmsKeyId"] == KEY_ARN
    assert group.inputs["retentionInDays"] == 365


def test_the_way_to_s3_leads_to_own_buckets_and_to_registries() -> None:
    made = network(readable_buckets=["mirror"])
    endpoint = by_name(made, "aws:ec2/vpcEndpoint:VpcEndpoint")["net-endpoint-s3"]
    own, others = json.loads(endpoint.inputs["policy"])["Statement"]
    assert own["Condition"] == {"StringEquals": {"aws:ResourceAccount": "123456789012"}}
    assert others["Action"] == ["s3:GetObject"]
    assert {"arn:aws:s3:::prod-us-east-1-starport-layer-bucket/*", "arn:aws:s3:::mirror/*"} <= set(others["Resource"])


def test_a_zone_more_changes_no_subnet() -> None:
    def blocks(zones: list[str]) -> dict[str, str]:
        return {subnet.name: subnet.inputs["cidrBlock"] for subnet in network(zones=zones).of("aws:ec2/subnet:Subnet")}

    assert blocks(ZONES[1:]).items() <= blocks(ZONES).items()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"nat_gateways": NatGateways.NONE, "interface_endpoints": ["ecr.api", "eks"]},
            "natGateways: none leaves nodes no way to ec2, ecr.dkr, eks-auth; add these to interface_endpoints, or use single",
        ),
        ({"interface_endpoints": ["sts", "sts"]}, "sts is named twice"),
        ({"interface_endpoints": ["s3"]}, "s3 has a gateway endpoint already"),
        ({"interface_endpoints": ["com.amazonaws.us-east-1.STS"]}, "is not the short name of a service; use e.g. ecr.api"),
        ({"peer_cidrs": ["10.40.128.0/17"]}, "10.40.0.0/16 overlaps 10.40.128.0/17"),
        ({"zones": ["us-east-1a", "eu-west-1a"]}, "a network is in one region"),
    ],
)
def test_networks_that_cannot_work(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        network(**changed)
    assert sentence in str(refused.value)
    assert str(refused.value).startswith("Network net: ")
