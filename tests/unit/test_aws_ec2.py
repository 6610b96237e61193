"""The adapters of EC2, each taken through its whole life in an emulated account."""

import base64
import json
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.validate import validate_parameters
from pulumi import _types as sdk_types

from sandbox.providers.aws.adapter import Account, Values
from sandbox.providers.aws.ec2 import endpoints, launch_templates, network, security_groups
from sandbox.providers.aws.schema import schema
from sandbox.providers.aws.services import cloudwatch, iam, s3
from sandbox.providers.aws.services.shapes import ServiceAdapter
from sandbox.providers.contract import ProviderError
from sandbox.providers.schema import plain
from tests.aws_adapters import (
    ACCOUNT_ID,
    REGION,
    Example,
    Rehearsed,
    another,
    check_read,
    emulated,
    label,
    sdk_inputs,
    settled,
    take_through_its_life,
    trust,
)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsed]:
    with emulated(tmp_path_factory.mktemp("accounts")) as account:
        yield account


def make_vpc(account: Account) -> str:
    return network.Vpc().create(account, {"cidrBlock": "10.0.0.0/16", "enableDnsSupport": True, "enableDnsHostnames": True})


def make_subnet(account: Account) -> str:
    return network.Subnet().create(
        account, {"vpcId": make_vpc(account), "cidrBlock": "10.0.0.0/24", "availabilityZone": f"{REGION}a"}
    )


def make_public_subnet(account: Account) -> str:
    vpc = make_vpc(account)
    gateway = network.InternetGateway().create(account, {"vpcId": vpc})
    subnet = network.Subnet().create(account, {"vpcId": vpc, "cidrBlock": "10.0.0.0/24"})
    table = make_table(account, vpc)
    network.Route().create(account, {"routeTableId": table, "destinationCidrBlock": "0.0.0.0/0", "gatewayId": gateway})
    network.RouteTableAssociation().create(account, {"routeTableId": table, "subnetId": subnet})
    return subnet


def make_address(account: Account) -> str:
    return network.Eip().create(account, {"domain": "vpc"})


def make_table(account: Account, vpc: str = "") -> str:
    return network.RouteTable().create(account, {"vpcId": vpc or make_vpc(account)})


def make_group(account: Account, vpc: str = "") -> str:
    return security_groups.SecurityGroup().create(account, {"name": another("group"), "vpcId": vpc or make_vpc(account)})


def make_log_group(account: Account) -> str:
    name = cloudwatch.LogGroup().create(account, {"name": another("flow")})
    return f"arn:aws:logs:{REGION}:{ACCOUNT_ID}:log-group:{name}"


def make_bucket(account: Account) -> str:
    return f"arn:aws:s3:::{s3.Bucket().create(account, {'bucket': another('flows')})}"


def make_log_role(account: Account) -> str:
    name = iam.Role().create(account, {"name": another("flow"), "assumeRolePolicy": trust("vpc-flow-logs")})
    return f"arn:aws:iam::{ACCOUNT_ID}:role/{name}"


EGRESS = {
    "securityGroupId": "$group",
    "ipProtocol": "tcp",
    "fromPort": 443,
    "toPort": 443,
    "cidrIpv4": "0.0.0.0/0",
    "description": "AWS",
}
USER_DATA = base64.b64encode(b"[settings]").decode()
EVERYBODY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}]}
)

EXAMPLES = [
    Example(
        network.Vpc(),
        {
            "cidrBlock": "10.1.0.0/16",
            "instanceTenancy": "default",
            "enableDnsSupport": True,
            "enableDnsHostnames": True,
            "tags": {"Name": "a"},
        },
        {"enableDnsHostnames": False, "tags": {"Name": "b"}},
    ),
    Example(
        network.Subnet(),
        {
            "vpcId": "$vpc",
            "cidrBlock": "10.0.1.0/24",
            "availabilityZone": f"{REGION}b",
            "mapPublicIpOnLaunch": False,
            "tags": {"a": "1"},
        },
        {"mapPublicIpOnLaunch": True, "tags": {"b": "1"}},
        {"vpc": make_vpc},
    ),
    Example(
        network.InternetGateway(),
        {"vpcId": "$first", "tags": {"a": "1"}},
        {"vpcId": "$second"},
        {"first": make_vpc, "second": make_vpc},
    ),
    Example(network.Eip(), {"domain": "vpc", "tags": {"a": "1"}}, {"tags": {"a": "2"}}),
    Example(
        network.NatGateway(),
        {"subnetId": "$subnet", "allocationId": "$address", "connectivityType": "public", "tags": {"a": "1"}},
        {"tags": {"a": "2"}},
        {"subnet": make_public_subnet, "address": make_address},
    ),
    Example(
        network.NatGateway(),
        {"subnetId": "$subnet", "connectivityType": "private"},
        needs={"subnet": make_subnet},
        name="private",
    ),
    Example(network.RouteTable(), {"vpcId": "$vpc", "tags": {"a": "1"}}, {"tags": {"a": "2"}}, {"vpc": make_vpc}),
    Example(
        network.RouteTableAssociation(),
        {"routeTableId": "$table", "subnetId": "$subnet"},
        needs={"subnet": make_subnet, "table": make_table},
    ),
    Example(
        security_groups.SecurityGroup(),
        {"name": "nodes", "description": "nodes", "vpcId": "$vpc", "revokeRulesOnDelete": True, "tags": {"a": "1"}},
        {"tags": {"a": "2"}},
        {"vpc": make_vpc},
    ),
    Example(
        security_groups.DefaultSecurityGroup(),
        {"vpcId": "$vpc", "revokeRulesOnDelete": False, "tags": {"a": "1"}},
        {"tags": {"a": "2"}},
        {"vpc": make_vpc},
        outlives=True,
    ),
    Example(
        security_groups.SecurityGroupIngressRule(),
        {"securityGroupId": "$group", "ipProtocol": "tcp", "fromPort": 53, "toPort": 53, "referencedSecurityGroupId": "$group"},
        {"fromPort": 8443, "toPort": 8443, "description": "webhooks", "tags": {"a": "2"}},
        {"group": make_group},
        name="group",
    ),
    Example(
        security_groups.SecurityGroupIngressRule(),
        {"securityGroupId": "$group", "ipProtocol": "-1", "cidrIpv4": "10.0.0.0/16", "description": "inside", "tags": {"a": "1"}},
        {"cidrIpv4": "10.1.0.0/16", "description": None, "tags": {"b": "1"}},
        {"group": make_group},
        name="range",
    ),
    Example(
        security_groups.SecurityGroupIngressRule(),
        {"securityGroupId": "$group", "ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "prefixListId": "pl-12345678"},
        {"toPort": 444},
        {"group": make_group},
        name="list",
    ),
    Example(
        security_groups.SecurityGroupEgressRule(),
        {"securityGroupId": "$group", "ipProtocol": "udp", "fromPort": 53, "toPort": 53, "referencedSecurityGroupId": "$group"},
        {"tags": {"a": "1"}},
        {"group": make_group},
        name="group",
    ),
    Example(
        security_groups.SecurityGroupEgressRule(),
        {"securityGroupId": "$group", "ipProtocol": "-1", "prefixListId": "pl-12345678"},
        needs={"group": make_group},
        name="list",
    ),
    Example(
        security_groups.SecurityGroupIngressRule(),
        {"securityGroupId": "$group", "ipProtocol": "-1", "referencedSecurityGroupId": "$group", "description": "all"},
        needs={"group": make_group},
        name="all",
    ),
    Example(
        security_groups.SecurityGroupEgressRule(),
        EGRESS,
        {"cidrIpv4": "10.0.0.0/8", "fromPort": 988, "toPort": 1023},
        {"group": make_group},
    ),
    Example(
        endpoints.VpcEndpoint(),
        {
            "vpcId": "$vpc",
            "serviceName": f"com.amazonaws.{REGION}.s3",
            "vpcEndpointType": "Gateway",
            "policy": EVERYBODY,
            "tags": {"a": "1"},
        },
        {"policy": EVERYBODY.replace("GetObject", "ListBucket"), "tags": {"a": "2"}},
        {"vpc": make_vpc},
        name="gateway",
    ),
    Example(
        endpoints.FlowLog(),
        {
            "vpcId": "$vpc",
            "trafficType": "ALL",
            "logDestination": "$group",
            "logDestinationType": "cloud-watch-logs",
            "iamRoleArn": "$role",
            "maxAggregationInterval": 60,
            "tags": {"a": "1"},
        },
        {"tags": {"a": "2"}},
        {"vpc": make_vpc, "group": make_log_group, "role": make_log_role},
    ),
    Example(
        endpoints.FlowLog(),
        {
            "subnetId": "$subnet",
            "trafficType": "REJECT",
            "logDestination": "$bucket",
            "logDestinationType": "s3",
            "logFormat": "${srcaddr} ${dstaddr} ${action}",
        },
        needs={"subnet": make_subnet, "bucket": make_bucket},
        name="subnet",
    ),
    Example(
        launch_templates.LaunchTemplate(),
        {
            "name": "gpu",
            "description": "first",
            "blockDeviceMappings": [
                {
                    "deviceName": "/dev/xvdb",
                    "ebs": {
                        "encrypted": "true",
                        "deleteOnTermination": "true",
                        "volumeSize": 200,
                        "volumeType": "gp3",
                        "iops": 6000,
                        "throughput": 600,
                    },
                }
            ],
            "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
            "monitoring": {"enabled": True},
            "networkInterfaces": [
                {
                    "deviceIndex": 0,
                    "networkCardIndex": 0,
                    "interfaceType": "efa",
                    "associatePublicIpAddress": "false",
                    "securityGroups": ["sg-2", "sg-1"],
                }
            ],
            "tagSpecifications": [{"resourceType": "instance", "tags": {"Name": "gpu", "some-key": "x"}}],
            "updateDefaultVersion": True,
            "tags": {"a": "1"},
        },
        {
            "description": "second",
            "networkInterfaces": None,
            "vpcSecurityGroupIds": ["sg-1"],
            "userData": USER_DATA,
            "capacityReservationSpecification": {"capacityReservationTarget": {"capacityReservationId": "cr-0123456789abcdef0"}},
            "instanceMarketOptions": {"marketType": "capacity-block"},
            "placement": {"groupName": "fabric"},
            "tags": {"a": "2"},
        },
    ),
    Example(
        launch_templates.LaunchTemplate(),
        {
            "name": "everything",
            "cpuOptions": {"coreCount": 4, "threadsPerCore": 2},
            "creditSpecification": {"cpuCredits": "standard"},
            "defaultVersion": 1,
            "disableApiStop": True,
            "disableApiTermination": True,
            "ebsOptimized": "true",
            "enclaveOptions": {"enabled": True},
            "hibernationOptions": {"configured": False},
            "iamInstanceProfile": {"name": "nodes"},
            "imageId": "ami-12345678",
            "instanceInitiatedShutdownBehavior": "terminate",
            "instanceMarketOptions": {
                "marketType": "spot",
                "spotOptions": {"maxPrice": "1.5", "spotInstanceType": "one-time", "validUntil": "2030-01-01T00:00:00Z"},
            },
            "instanceType": "p5.48xlarge",
            "keyName": "admins",
            "maintenanceOptions": {"autoRecovery": "default"},
            "networkInterfaces": [
                {"deviceIndex": 0, "interfaceType": "interface", "ipv6Addresses": ["2001:db8::1"], "ipv4AddressCount": 3},
                {"deviceIndex": 1, "interfaceType": "efa-only", "networkCardIndex": 1, "ipv4Prefixes": ["10.0.0.0/28"]},
            ],
            "privateDnsNameOptions": {"hostnameType": "resource-name", "enableResourceNameDnsAaaaRecord": True},
        },
        {"cpuOptions": None, "ebsOptimized": "false", "instanceType": "p5e.48xlarge", "keyName": None},
        name="everything",
    ),
    Example(
        launch_templates.PlacementGroup(),
        {"name": "partitions", "strategy": "partition", "partitionCount": 3},
        name="partitions",
    ),
    Example(launch_templates.PlacementGroup(), {"name": "racks", "strategy": "spread", "spreadLevel": "rack"}, name="racks"),
    Example(
        launch_templates.PlacementGroup(), {"name": "fabric", "strategy": "cluster", "tags": {"a": "1"}}, {"tags": {"a": "2"}}
    ),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=label)
def test_a_life(example: Example, account: Rehearsed) -> None:
    take_through_its_life(example, account)


def test_a_route_is_changed_in_place(account: Rehearsed) -> None:
    subnet, vpc = make_public_subnet(account), make_vpc(account)
    gateway = network.InternetGateway().create(account, {"vpcId": vpc})
    nat = network.NatGateway().create(account, {"subnetId": subnet, "allocationId": make_address(account)})
    route, inputs = network.Route(), {"routeTableId": make_table(account, vpc), "destinationCidrBlock": "0.0.0.0/0"}
    before, after = {**inputs, "gatewayId": gateway}, {**inputs, "natGatewayId": nat}
    identity = route.create(account, before)
    check_read(route, before, route.read(account, identity, before))
    route.update(account, identity, before, after)
    found = check_read(route, after, route.read(account, identity, before))
    assert "gatewayId" not in found
    route.delete(account, identity, found)
    assert route.read(account, identity, found) is None


def test_an_interface_endpoint_follows_its_subnets_and_groups(account: Rehearsed) -> None:
    vpc = make_vpc(account)
    subnets = [
        network.Subnet().create(
            account, {"vpcId": vpc, "cidrBlock": f"10.0.{number}.0/24", "availabilityZone": f"{REGION}{zone}"}
        )
        for number, zone in enumerate("ab")
    ]
    endpoint, groups = endpoints.VpcEndpoint(), [make_group(account, vpc) for _ in range(2)]
    inputs = {
        "vpcId": vpc,
        "serviceName": f"com.amazonaws.{REGION}.sts",
        "vpcEndpointType": "Interface",
        "subnetIds": subnets[:1],
        "securityGroupIds": groups[:1],
        "privateDnsEnabled": True,
    }
    changed = {**inputs, "subnetIds": subnets, "securityGroupIds": groups[1:]}
    identity = endpoint.create(account, inputs)
    found = check_read(endpoint, inputs, settled(endpoint, account, identity, inputs))
    assert len(found["networkInterfaceIds"]) == 1
    assert found["dnsEntries"]
    endpoint.update(account, identity, inputs, changed)
    found = check_read(endpoint, changed, settled(endpoint, account, identity, inputs))
    with pytest.raises(ProviderError, match="does not change `privateDnsEnabled`"):
        endpoint.update(account, identity, changed, {**changed, "privateDnsEnabled": False})
    endpoint.delete(account, identity, found)
    assert settled(endpoint, account, identity, found) is None


def test_a_gateway_endpoint_follows_its_route_tables(account: Rehearsed) -> None:
    vpc = make_vpc(account)
    tables = [make_table(account, vpc) for _ in range(2)]
    endpoint = endpoints.VpcEndpoint()
    inputs = {"vpcId": vpc, "serviceName": f"com.amazonaws.{REGION}.s3", "routeTableIds": tables[:1]}
    identity = endpoint.create(account, inputs)
    endpoint.update(account, identity, inputs, {**inputs, "routeTableIds": tables[1:]})
    found = check_read(endpoint, {**inputs, "routeTableIds": tables[1:]}, settled(endpoint, account, identity, inputs))
    assert found["vpcEndpointType"] == "Gateway"
    assert found["prefixListId"].startswith("pl-")
    assert "52.216.0.0/15" in found["cidrBlocks"]
    endpoint.delete(account, identity, found)
    assert settled(endpoint, account, identity, found) is None


def filled_in(kind: Any, path: str = "") -> Any:
    """Some value of a type of the SDK, with everything in it that is not refused."""
    kind = plain(kind)
    arguments = typing.get_args(kind)
    if isinstance(kind, type) and sdk_types.is_input_type(kind):
        members = {name: (item, f"{path}.{name}") for name, item in sdk_types.input_type_types(kind).items()}
        return {name: filled_in(*member) for name, member in members.items() if member[1] not in REFUSED}
    if arguments:
        return {"own-name": "a"} if issubclass(typing.get_origin(kind), Mapping) else [filled_in(arguments[0], path)]
    return {bool: True, int: 1}.get(kind, "true" if path.rpartition(".")[2] in YES_OR_NO else "2030-01-01T00:00:00Z")


REFUSED = launch_templates.LaunchTemplate.refused
YES_OR_NO = {
    "associateCarrierIpAddress",
    "associatePublicIpAddress",
    "deleteOnTermination",
    "ebsOptimized",
    "encrypted",
    "primaryIpv6",
}
"""What pulumi-aws has as text and EC2 as a boolean."""


def test_a_template_is_valid_for_the_api_and_comes_back_as_it_was(account: Rehearsed) -> None:
    known = schema(launch_templates.LaunchTemplate.token).inputs
    outside = {"defaultVersion", "description", "name", "region", "tags", "updateDefaultVersion"}
    inputs = {name: filled_in(kind, name) for name, kind in known.items() if name not in outside | REFUSED}
    model = account.client("ec2").meta.service_model.operation_model("CreateLaunchTemplate")
    data = launch_templates.to_api(inputs)
    validate_parameters(data, model.input_shape.members["LaunchTemplateData"])
    assert launch_templates.from_api(data) == inputs


def test_a_new_version_of_a_template_becomes_the_default(account: Rehearsed) -> None:
    template, inputs = launch_templates.LaunchTemplate(), {"name": another("template"), "updateDefaultVersion": True}
    identity = template.create(account, inputs)
    template.update(account, identity, inputs, {**inputs, "userData": USER_DATA})
    found = template.read(account, identity, inputs)
    assert found
    assert (found["latestVersion"], found["defaultVersion"], found["userData"]) == (2, 2, USER_DATA)


def test_the_newest_version_becomes_the_default_when_that_is_asked_for(account: Rehearsed) -> None:
    template, inputs = launch_templates.LaunchTemplate(), {"name": another("template")}
    identity = template.create(account, inputs)
    template.update(account, identity, inputs, {**inputs, "userData": USER_DATA})
    follows = {**inputs, "userData": USER_DATA, "updateDefaultVersion": True}
    template.update(account, identity, {**inputs, "userData": USER_DATA}, follows)
    found = template.read(account, identity, inputs)
    assert found
    assert (found["latestVersion"], found["defaultVersion"]) == (2, 2)
    assert set(template.unsettled({"updateDefaultVersion"})) == {"defaultVersion"}


def test_resolving_names_is_the_default_of_a_network(account: Rehearsed) -> None:
    vpc, inputs = network.Vpc(), {"cidrBlock": "10.0.0.0/16"}
    without = {**inputs, "enableDnsSupport": False}
    identity = vpc.create(account, without)
    vpc.update(account, identity, without, inputs)
    found = vpc.read(account, identity, inputs)
    assert found
    assert found["enableDnsSupport"]


def test_a_gateway_that_somebody_detached_can_be_deleted(account: Rehearsed) -> None:
    gateway, inputs = network.InternetGateway(), {"vpcId": make_vpc(account)}
    identity = gateway.create(account, inputs)
    account.client("ec2").detach_internet_gateway(InternetGatewayId=identity, VpcId=inputs["vpcId"])
    gateway.delete(account, identity, inputs)
    assert gateway.read(account, identity, inputs) is None


@pytest.mark.parametrize(
    ("adapter", "inputs", "sentence"),
    [
        (network.NatGateway(), {}, "`subnetId` is missing"),
        (network.Route(), {"routeTableId": "rtb-1"}, "`destinationCidrBlock` is missing"),
        (network.RouteTableAssociation(), {"routeTableId": "rtb-1"}, "`subnetId` is missing"),
        (endpoints.VpcEndpoint(), {"vpcId": "vpc-1"}, "`serviceName` is missing"),
        (security_groups.DefaultSecurityGroup(), {}, "`vpcId` is missing"),
        (security_groups.SecurityGroupEgressRule(), {"securityGroupId": "sg-1", "ipProtocol": "-1"}, "this one names none"),
        (security_groups.SecurityGroupIngressRule(), {**EGRESS, "prefixListId": "pl-1"}, "names cidrIpv4 and prefixListId"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_missing_is_named(adapter: ServiceAdapter, inputs: Values, sentence: str, account: Rehearsed) -> None:
    with pytest.raises(ProviderError, match=sentence):
        adapter.create(account, inputs)


def test_a_new_group_lets_nothing_out(account: Rehearsed) -> None:
    (live,) = account.client("ec2").describe_security_groups(GroupIds=[make_group(account)])["SecurityGroups"]
    assert live["IpPermissionsEgress"] == []


_ADAPTERS: list[type[ServiceAdapter]] = sorted({type(example.adapter) for example in EXAMPLES}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("adapter", _ADAPTERS, ids=lambda adapter: adapter.__name__)
def test_every_input_of_pulumi_aws_is_kept_or_refused(adapter: type[ServiceAdapter]) -> None:
    lives = [example for example in EXAMPLES if type(example.adapter) is adapter]
    used = {name for example in lives for name in (*example.inputs, *example.changed)} | IN_OTHER_TESTS.get(adapter.token, set())
    refused = {path for path in adapter.refused if "." not in path}
    assert sdk_inputs(adapter) - {"region"} == used | refused
    assert not used & refused


IN_OTHER_TESTS = {endpoints.VpcEndpoint.token: {"privateDnsEnabled", "routeTableIds", "securityGroupIds", "subnetIds"}}
