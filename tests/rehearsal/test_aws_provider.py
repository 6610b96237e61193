"""The emulated AWS provider through the real engine, against an emulated account of the test's own."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pulumi
import pulumi_aws as aws
import pytest

from sandbox.aws.account import Account
from sandbox.aws.faults import Fault
from tests.rehearsal.kubernetes_support import Program, Run, StackUnderTest, options

pytestmark = pytest.mark.rehearsal

REGION = "eu-west-1"
EVERYBODY = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}


class Place:
    """An empty account and a stack of one test."""

    def __init__(self, account: Account, stack: StackUnderTest) -> None:
        self.account = account
        self.stack = stack
        environment = account.environment()
        self.ec2 = self.client("ec2", environment)
        self.ssm = self.client("ssm", environment)

    def client(self, service: str, environment: dict[str, str]) -> Any:
        """A client of the test itself, behind the provider's back."""
        return boto3.client(
            service,
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name=REGION,
            aws_access_key_id="rehearsal",
            aws_secret_access_key="rehearsal",
        )

    def id(self, name: str) -> str:
        return str(self.stack.state()[name]["id"])

    def changed(self, run: Run) -> dict[str, list[str]]:
        """What was done to the resources that were not left as they are."""
        assert run.succeeded, run.errors
        return {name: done for name, done in run.operations.items() if done != ["same"]}


@pytest.fixture
def place(tmp_path: Path, pulumi_bin: Path) -> Iterator[Place]:
    account = Account("provider", tmp_path / "accounts")
    account.start(REGION, {})
    stack = StackUnderTest(tmp_path, pulumi_bin, environment=account.environment())
    yield Place(account, stack)
    account.reset()
    stack.assert_no_error_escaped()


def program(declare: Callable[[pulumi.ResourceOptions], Any], **settings: Any) -> Program:
    def run() -> None:
        provider = aws.Provider("provider", region=REGION, **settings)
        declare(options(provider))

    return run


def network(
    opts: pulumi.ResourceOptions, cidr: str = "10.0.0.0/24", description: str = "first", user_data: str = "", **tags: str
) -> None:
    """A VPC with a way out, and what lies in one."""
    vpc = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", enable_dns_hostnames=True, tags={"Name": "vpc", **tags}, opts=opts)
    gateway = aws.ec2.InternetGateway("gateway", vpc_id=vpc.id, opts=opts)
    subnet = aws.ec2.Subnet("subnet", vpc_id=vpc.id, cidr_block=cidr, availability_zone=f"{REGION}a", opts=opts)
    table = aws.ec2.RouteTable("table", vpc_id=vpc.id, opts=opts)
    route = aws.ec2.Route("route", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.id, opts=opts)
    association = aws.ec2.RouteTableAssociation("association", route_table_id=table.id, subnet_id=subnet.id, opts=opts)
    address = aws.ec2.Eip("address", domain="vpc", opts=opts)
    aws.ec2.NatGateway(
        "nat",
        subnet_id=subnet.id,
        allocation_id=address.id,
        # As in AWS, the address is of one gateway at a time.
        opts=pulumi.ResourceOptions.merge(
            opts, pulumi.ResourceOptions(depends_on=[route, association], delete_before_replace=True)
        ),
    )
    aws.ec2.DefaultSecurityGroup("default", vpc_id=vpc.id, opts=opts)
    group = aws.ec2.SecurityGroup("group", vpc_id=vpc.id, description="nodes", opts=opts)
    aws.vpc.SecurityGroupEgressRule(
        "out", security_group_id=group.id, ip_protocol="-1", cidr_ipv4="0.0.0.0/0", description=description, opts=opts
    )
    policy = json.dumps({"Version": "2012-10-17", "Statement": [EVERYBODY]})
    aws.ec2.VpcEndpoint(
        "endpoint",
        vpc_id=vpc.id,
        service_name=f"com.amazonaws.{REGION}.s3",
        route_table_ids=[table.id],
        policy=policy,
        opts=opts,
    )
    aws.ec2.LaunchTemplate(
        "template",
        user_data=user_data or None,
        update_default_version=True,
        metadata_options={"http_tokens": "required", "http_endpoint": "enabled"},
        vpc_security_group_ids=[group.id],
        opts=opts,
    )
    pulumi.export("nat", pulumi.Output.from_input(address.public_ip))


def test_a_network_comes_changes_and_goes(place: Place) -> None:
    before = place.account.inventory()
    preview = place.stack.preview(program(network))
    assert preview.succeeded, preview.errors
    assert place.account.inventory() == before, "a preview makes nothing"

    made = place.stack.up(program(network))
    assert made.succeeded, made.errors
    assert place.changed(place.stack.preview(program(network))) == {}
    assert set(place.stack.refresh(program(network)).outcomes.values()) <= {"same", "refresh"}
    assert place.changed(place.stack.preview(program(network))) == {}

    changed = program(lambda opts: network(opts, description="second", user_data="W3NldHRpbmdzXQ==", team="ml"))
    first = {name: place.id(name) for name in ("vpc", "out", "template")}
    run = place.stack.up(changed)
    assert place.changed(run) == {"vpc": ["update"], "out": ["update"], "template": ["update"]}
    assert run.changed == {"vpc": ["tags.team"], "out": ["description"], "template": ["userData"]}
    assert {name: place.id(name) for name in first} == first
    assert place.stack.state()["template"]["outputs"]["latestVersion"] == 2
    assert place.changed(place.stack.preview(changed)) == {}

    old = place.id("subnet")
    moved = program(lambda opts: network(opts, "10.0.1.0/24", description="second", user_data="W3NldHRpbmdzXQ==", team="ml"))
    run = place.stack.up(moved)
    replaced = {name for name, done in place.changed(run).items() if "replace" in done}
    assert replaced == {"subnet", "association", "nat"}
    assert run.replaced_for["subnet"] == ["cidrBlock"]
    assert place.id("subnet") != old
    assert place.changed(place.stack.preview(moved)) == {}

    gone = place.stack.destroy()
    assert gone.succeeded, gone.errors
    assert place.account.inventory() == before


def one_group(opts: pulumi.ResourceOptions) -> None:
    vpc = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", tags={"Name": "vpc"}, opts=opts)
    table = aws.ec2.RouteTable("table", vpc_id=vpc.id, opts=opts)
    gateway = aws.ec2.InternetGateway("gateway", vpc_id=vpc.id, opts=opts)
    aws.ec2.Route("route", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.id, opts=opts)
    group = aws.ec2.SecurityGroup("group", vpc_id=vpc.id, description="nodes", opts=opts)
    aws.vpc.SecurityGroupIngressRule(
        "in", security_group_id=group.id, ip_protocol="tcp", from_port=443, to_port=443, cidr_ipv4="10.0.0.0/8", opts=opts
    )


def test_a_refresh_sees_what_others_did(place: Place) -> None:
    declared = program(one_group)
    assert place.stack.up(declared).succeeded
    vpc, table, group, rule = (place.id(name) for name in ("vpc", "table", "group", "in"))
    place.ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": "theirs"}, {"Key": "more", "Value": "1"}])
    place.ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    wider = {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 443, "CidrIpv4": "10.0.0.0/8"}
    changes = [{"SecurityGroupRuleId": rule, "SecurityGroupRule": wider}]
    place.ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=changes)

    found = place.stack.refresh(declared)
    assert found.succeeded, found.errors
    assert {name: found.outcomes[name] for name in ("vpc", "route", "in", "group")} == {
        "vpc": "update",
        "route": "delete",
        "in": "update",
        "group": "same",
    }
    repaired = place.stack.up(declared)
    assert place.changed(repaired) == {"vpc": ["update"], "route": ["create"], "in": ["update"]}
    assert repaired.changed == {"vpc": ["tags.Name", "tags.more"], "in": ["fromPort"]}
    (live,) = place.ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]
    assert live["Tags"] == [{"Key": "Name", "Value": "vpc"}]
    (live,) = place.ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule])["SecurityGroupRules"]
    assert (live["FromPort"], live["ToPort"]) == (443, 443)


@pytest.mark.long
def test_default_tags_reach_everything_that_has_tags(place: Place) -> None:
    def tagged(owner: str) -> Program:
        return program(one_group, default_tags={"tags": {"owner": owner, "Name": "default"}})

    assert place.stack.up(tagged("a")).succeeded
    outputs = place.stack.state()["vpc"]["outputs"]
    assert (outputs["tags"], outputs["tagsAll"]) == ({"Name": "vpc"}, {"Name": "vpc", "owner": "a"})
    assert place.changed(place.stack.preview(tagged("a"))) == {}
    run = place.stack.up(tagged("b"))
    assert place.changed(run).keys() == {"provider", "vpc", "table", "gateway", "group", "in"}
    (live,) = place.ec2.describe_internet_gateways(InternetGatewayIds=[place.id("gateway")])["InternetGateways"]
    assert sorted((tag["Key"], tag["Value"]) for tag in live["Tags"]) == [("Name", "default"), ("owner", "b")]
    assert place.changed(place.stack.preview(tagged("b"))) == {}


def one_vpc(opts: pulumi.ResourceOptions, **inputs: Any) -> None:
    aws.ec2.Vpc("vpc", **{"cidr_block": "10.0.0.0/16", **inputs}, opts=opts)


@pytest.mark.parametrize(
    ("declare", "settings", "parts"),
    [
        (lambda opts: one_vpc(opts, enable_dns_support="yes"), {}, ("enableDnsSupport", "has to be true or false", "'yes'")),
        (lambda opts: one_vpc(opts, cidr_block=None, ipv4_netmask_length=20), {}, ("ipv4NetmaskLength", "leave it out")),
        (lambda opts: one_vpc(opts, cidr_block="10.0.0.0/8"), {}, ("InvalidVpc.Range",)),
        (lambda opts: aws.ec2.Ami("image", opts=opts), {}, ("aws:ec2/ami:Ami is not emulated; known are",)),
        (one_vpc, {"allowed_account_ids": ["111111111111"]}, ("of account 123456789012", "111111111111")),
    ],
    ids=["type", "not-kept", "refused-by-aws", "type-not-emulated", "other-account"],
)
def test_a_mistake_is_one_sentence(
    declare: Callable[[pulumi.ResourceOptions], Any], settings: dict[str, Any], parts: tuple[str, ...], place: Place
) -> None:
    run = place.stack.up(program(declare, **settings))
    assert not run.succeeded
    assert any(all(part in error for part in parts) for error in run.errors), run.errors
    assert "Traceback" not in run.output
    assert ".py" not in run.output
    assert place.account.inventory().get("VPC", []) == []


def test_a_crash_makes_nothing_twice(place: Place) -> None:
    declared = program(one_group)
    crashes = 0
    for at in (1, 3, 2, 4, 1, 2):
        place.account.break_down(Fault(how="die-after", at=at))
        if place.stack.up(declared).succeeded:
            break
        crashes += 1
        for lock in (place.stack.folder / "state").rglob("locks/**/*.json"):
            lock.unlink()
    assert crashes >= 3
    place.account.break_down(None)
    last = place.stack.up(declared)
    assert last.succeeded, last.errors
    assert {kind: len(found) for kind, found in place.account.inventory().items()} == {
        "VPC": 1,
        "route table": 1,
        "internet gateway": 1,
        "security group": 1,
    }
    assert place.changed(place.stack.preview(declared)) == {}


def test_a_replacement_on_demand_is_another_one(place: Place) -> None:
    declared = program(one_group)
    assert place.stack.up(declared).succeeded
    first = place.stack.state()["group"]
    run = place.stack.up(declared, replace=[first["urn"]], target_dependents=True)
    assert "replace" in place.changed(run)["group"]
    assert place.id("group") != first["id"]
    assert place.account.inventory()["security group"] == [place.id("group")]


def test_what_is_there_is_imported_and_looked_up(place: Place) -> None:
    vpc = place.ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]

    def declare(imported: str | None) -> Callable[[pulumi.ResourceOptions], None]:
        def run(opts: pulumi.ResourceOptions) -> None:
            found = aws.ec2.Vpc.get("found", vpc, opts=opts)
            pulumi.export("cidr", found.cidr_block)
            one_vpc(pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(import_=imported)), cidr_block="10.7.0.0/16")

        return run

    run = place.stack.up(program(declare(vpc)))
    assert run.succeeded, run.errors
    assert run.operations["vpc"] == ["import"]
    assert place.stack.state()["rehearsal-test"]["outputs"]["cidr"] == "10.7.0.0/16"
    assert place.changed(place.stack.preview(program(declare(None)))).keys() <= {"found"}


def test_a_secret_is_not_in_the_state(place: Place) -> None:
    def declare(opts: pulumi.ResourceOptions) -> None:
        value = pulumi.Output.secret("hf_unmistakable")
        aws.ssm.Parameter("token", name="/token", type="SecureString", value=value, opts=opts)

    assert place.stack.up(program(declare)).succeeded
    assert "hf_unmistakable" not in place.stack.state_file()
    place.ssm.put_parameter(Name="/token", Value="hf_changed", Type="SecureString", Overwrite=True)
    assert place.stack.refresh(program(declare)).outcomes["token"] == "update"
    assert "hf_changed" not in place.stack.state_file()
