"""One emulated account, tried through boto3 as the provider uses it: life, memory of tokens, faults, refusals, states."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import boto3
import httpx
import psutil
import pytest
from botocore.exceptions import ClientError

from sandbox.aws.account import Account
from sandbox.aws.faults import Fault
from sandbox.errors import SandboxError
from tests.waiting import eventually

pytestmark = pytest.mark.rehearsal

REGION = "us-east-1"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the module's accounts live; none outlives it."""
    root = tmp_path_factory.mktemp("accounts")
    yield root
    for record in root.glob("*/account.json"):
        Account(record.parent.name, root).reset()


@pytest.fixture(scope="module")
def account(root: Path) -> Iterator[Account]:
    """The account most tests share; nothing but it is reachable by boto3's defaults."""
    account = Account("main", root)
    account.start(REGION, {"L-DB2E81BA": 96})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in account.environment().items():
            patch.setenv(name, value)
        yield account


@pytest.fixture
def aws(account: Account) -> Callable[[str], Any]:
    """Clients by service, without tokens."""

    def client(service: str) -> Any:
        return boto3.client(service)

    return client


@pytest.fixture
def net(aws: Callable[[str], Any]) -> "Network":
    """A small network of its own."""
    return Network(aws("ec2"))


class Network:
    """A VPC with an internet gateway, a subnet, and whatever a test adds."""

    def __init__(self, ec2: Any) -> None:
        self.ec2 = ec2
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet = self.add_subnet("10.0.0.0/24", "a")
        self.gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=self.gateway, VpcId=self.vpc)

    def add_subnet(self, block: str, zone: str) -> str:
        made = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=block, AvailabilityZone=f"{REGION}{zone}")
        return str(made["Subnet"]["SubnetId"])

    def add_group(self, name: str) -> str:
        return str(self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)["GroupId"])

    def add_address(self) -> str:
        return str(self.ec2.allocate_address(Domain="vpc")["AllocationId"])

    def add_nat_gateway(self, address: str) -> str:
        return str(self.ec2.create_nat_gateway(SubnetId=self.subnet, AllocationId=address)["NatGateway"]["NatGatewayId"])


def with_token(client: Any, token: str, pid: int) -> Any:
    """The client as the provider's adapters have it."""

    def mark(request: Any, **_kwargs: Any) -> None:
        request.headers["x-sandbox-token"], request.headers["x-sandbox-pid"] = token, str(pid)

    client.meta.events.register("before-sign.*.*", mark)
    return client


def _running_under(directory: Path) -> list[int]:
    found = psutil.process_iter(["pid", "cmdline"])
    return [process.pid for process in found if any(str(directory) in word for word in process.info["cmdline"] or ())]


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


class TestLife:
    def test_a_second_start_leaves_the_account_alone_and_a_crash_empties_it(self, root: Path) -> None:
        account = Account("life", root)
        assert account.endpoint is None
        with pytest.raises(SandboxError, match="does not run"):
            account.environment()
        began = time.monotonic()
        first = account.start(REGION, {})
        assert time.monotonic() - began < 10
        assert first.fresh
        assert first.endpoint == account.endpoint
        again = account.start(REGION, {})
        assert (again.fresh, again.pid) == (False, first.pid)
        with pytest.raises(SandboxError, match="runs in us-east-1, not in eu-west-1"):
            account.start("eu-west-1", {})

        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        eventually(lambda: not account.status().running)
        fresh = account.start(REGION, {})
        assert fresh.fresh
        account.reset()
        assert not psutil.pid_exists(fresh.pid or 0) or not account.status().running
        assert not (root / "life").exists()

    def test_a_cluster_holds_its_network_and_ends_with_the_account_however_that_ends(
        self, account: Account, root: Path, binaries: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = Account("clusters", root)
        pid = own.start(REGION, {}).pid
        assert pid is not None
        for name, value in own.environment().items():
            monkeypatch.setenv(name, value)
        ec2, iam, eks = (boto3.client(service) for service in ("ec2", "iam", "eks"))
        network = Network(ec2)
        subnets, group = [network.subnet, network.add_subnet("10.0.1.0/24", "b")], network.add_group("nodes")
        role = iam.create_role(RoleName="cluster", AssumeRolePolicyDocument=json.dumps(TRUST).replace("ec2", "eks"))["Role"][
            "Arn"
        ]
        iam.attach_role_policy(RoleName="cluster", PolicyArn="arn:aws:iam::aws:policy/AmazonEKSClusterPolicy")
        eks.create_cluster(name="prod", roleArn=role, resourcesVpcConfig={"subnetIds": subnets, "securityGroupIds": [group]})
        assert code_of(lambda: ec2.delete_subnet(SubnetId=subnets[1])) == "DependencyViolation"
        assert code_of(lambda: ec2.delete_security_group(GroupId=group)) == "DependencyViolation"
        assert own.inventory()["EKS cluster"] == ["prod"]
        eventually(lambda: eks.describe_cluster(name="prod")["cluster"]["status"] == "ACTIVE")

        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not own.status().running)
        assert _running_under(own.home), "the cluster's processes outlive a killed account"
        assert own.start(REGION, {}).fresh
        assert not _running_under(own.home / "clusters")
        assert own.inventory() == {}
        own.reset()

    def test_what_was_made_is_in_the_inventory_until_it_is_deleted(self, account: Account, aws: Callable[[str], Any]) -> None:
        before = account.inventory()
        ec2, kms, s3 = aws("ec2"), aws("kms"), aws("s3")
        network = Network(ec2)
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        s3.create_bucket(Bucket="weights-0815")
        added = {kind: set(names) - set(before.get(kind, ())) for kind, names in account.inventory().items()}
        assert {kind: names for kind, names in added.items() if names} == {
            "VPC": {network.vpc},
            "subnet": {network.subnet},
            "internet gateway": {network.gateway},
            "key": {key},
            "bucket": {"weights-0815"},
        }
        ec2.detach_internet_gateway(InternetGatewayId=network.gateway, VpcId=network.vpc)
        ec2.delete_internet_gateway(InternetGatewayId=network.gateway)
        ec2.delete_subnet(SubnetId=network.subnet)
        ec2.delete_vpc(VpcId=network.vpc)
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
        s3.delete_bucket(Bucket="weights-0815")
        assert account.inventory() == before


class TestTokens:
    URN = "urn:pulumi:dev::p::aws:ec2/vpc:Vpc::tokens"

    def test_a_repeated_call_is_answered_as_before_until_it_is_acknowledged(
        self, account: Account, aws: Callable[[str], Any]
    ) -> None:
        def create(number: int) -> str:
            client = with_token(boto3.client("ec2"), f"{self.URN}#{number}", 1)
            return str(client.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"])

        first = create(1)
        assert create(1) == first
        assert create(2) != first
        for step in ("made", "acknowledge"):
            body = {"urn": self.URN, "id": first}
            httpx.post(f"{account.endpoint}/_sandbox/{step}", json=body, trust_env=False).raise_for_status()
        assert create(1) != first
        told = [(call["operation"], call["status"], call["replayed"]) for call in account.calls() if call["urn"] == self.URN]
        assert told == [("CreateVpc", 200, replayed) for replayed in (False, True, False, False)]

    def test_a_refused_call_is_not_remembered(self, account: Account) -> None:
        client = with_token(boto3.client("ec2"), f"{self.URN}-refused#1", 1)
        assert code_of(lambda: client.create_vpc(CidrBlock="10.0.0.0/8")) == "InvalidVpc.Range"
        assert client.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]


@pytest.fixture
def broken(account: Account) -> Iterator[Account]:
    yield account
    account.break_down(None)


class TestFaults:
    SERVICES: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "ec2": lambda ec2: ec2.create_vpc(CidrBlock="10.7.0.0/16"),
        "efs": lambda efs: efs.create_file_system(CreationToken="fault"),
        "eks": lambda eks: eks.delete_cluster(name="none"),
        "iam": lambda iam: iam.create_role(RoleName="fault", AssumeRolePolicyDocument=json.dumps(TRUST)),
        "kms": lambda kms: kms.create_key(),
        "s3": lambda s3: s3.create_bucket(Bucket="fault-4711"),
        "sqs": lambda sqs: sqs.create_queue(QueueName="fault"),
    }

    @pytest.mark.parametrize("service", SERVICES)
    def test_the_first_attempt_of_each_token_is_refused_in_the_words_of_each_service(self, broken: Account, service: str) -> None:
        before = broken.inventory()
        broken.break_down(Fault(each=True, how="refuse"))
        client = with_token(boto3.client(service), f"fault-{service}#1", 1)
        assert code_of(lambda: self.SERVICES[service](client)) == "RehearsedFault"
        assert broken.inventory() == before, "a refused call does nothing"
        assert broken.counted() == 1
        if service == "eks":
            assert code_of(lambda: self.SERVICES[service](client)) == "ResourceNotFoundException"
        else:
            self.SERVICES[service](client)
            assert broken.inventory() != before

    @pytest.mark.parametrize(("how", "made"), [("die-before", 0), ("die-after", 1)])
    def test_the_caller_dies_around_the_nth_call_and_the_next_run_makes_it_once(
        self, broken: Account, how: Any, made: int
    ) -> None:
        program = (
            "import boto3, os, sys\n"
            "client = boto3.client('ec2')\n"
            "def mark(request, **_):\n"
            "    request.headers['x-sandbox-token'], request.headers['x-sandbox-pid'] = mark.token, str(os.getpid())\n"
            "client.meta.events.register('before-sign.*.*', mark)\n"
            "for number in (1, 2):\n"
            f"    mark.token = f'{how}#{{number}}'\n"
            "    client.create_vpc(CidrBlock='10.6.0.0/16')\n"
        )
        vpcs = len(broken.inventory().get("VPC", ()))
        broken.break_down(Fault(at=2, how=how))
        died = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
        assert died.returncode == -signal.SIGKILL
        assert len(broken.inventory()["VPC"]) == vpcs + 1 + made
        assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
        assert len(broken.inventory()["VPC"]) == vpcs + 2
        assert broken.counted() == 2 + (2 - 1 - made), "answers given again are no new calls"

    def test_a_fault_that_makes_no_sense_is_refused(self, account: Account) -> None:
        answer = httpx.post(f"{account.endpoint}/_sandbox/faults", json={"at": 0, "how": "refuse"}, trust_env=False)
        assert answer.status_code == 400


def _referenced(net: Network) -> Callable[[], Any]:
    used, user = net.add_group("used"), net.add_group("user")
    rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": used}]}
    net.ec2.authorize_security_group_ingress(GroupId=user, IpPermissions=[rule])
    return lambda: net.ec2.delete_security_group(GroupId=used)


def _of_an_endpoint(net: Network) -> Callable[[], Any]:
    group = net.add_group("endpoint")
    net.ec2.create_vpc_endpoint(
        VpcId=net.vpc,
        ServiceName=f"com.amazonaws.{REGION}.sts",
        VpcEndpointType="Interface",
        SubnetIds=[net.subnet],
        SecurityGroupIds=[group],
    )
    return lambda: net.ec2.delete_security_group(GroupId=group)


def _default_group(net: Network) -> Callable[[], Any]:
    groups = net.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [net.vpc]}])["SecurityGroups"]
    return lambda: net.ec2.delete_security_group(GroupId=groups[0]["GroupId"])


def _duplicate_rule(net: Network) -> Callable[[], Any]:
    group = net.add_group("twice")
    rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}
    net.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    return lambda: net.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])


def _subnet_of_a_nat_gateway(net: Network) -> Callable[[], Any]:
    net.add_nat_gateway(net.add_address())
    return lambda: net.ec2.delete_subnet(SubnetId=net.subnet)


def _gateway_with_addresses(net: Network) -> Callable[[], Any]:
    net.add_nat_gateway(net.add_address())
    return lambda: net.ec2.detach_internet_gateway(InternetGatewayId=net.gateway, VpcId=net.vpc)


def _address_in_use(net: Network) -> Callable[[], Any]:
    address = net.add_address()
    net.add_nat_gateway(address)
    return lambda: net.ec2.release_address(AllocationId=address)


def _address_twice(net: Network) -> Callable[[], Any]:
    address = net.add_address()
    net.add_nat_gateway(address)
    return lambda: net.add_nat_gateway(address)


def _nat_gateway_without_internet(net: Network) -> Callable[[], Any]:
    net.ec2.detach_internet_gateway(InternetGatewayId=net.gateway, VpcId=net.vpc)
    return lambda: net.add_nat_gateway(net.add_address())


def _vpc_with_gateway(net: Network) -> Callable[[], Any]:
    net.ec2.delete_subnet(SubnetId=net.subnet)
    return lambda: net.ec2.delete_vpc(VpcId=net.vpc)


def _vpc_with_group(net: Network) -> Callable[[], Any]:
    net.ec2.delete_subnet(SubnetId=net.subnet)
    net.ec2.detach_internet_gateway(InternetGatewayId=net.gateway, VpcId=net.vpc)
    net.add_group("left")
    return lambda: net.ec2.delete_vpc(VpcId=net.vpc)


def _associated_table(net: Network) -> Callable[[], Any]:
    table = net.ec2.create_route_table(VpcId=net.vpc)["RouteTable"]["RouteTableId"]
    net.ec2.associate_route_table(RouteTableId=table, SubnetId=net.subnet)
    return lambda: net.ec2.delete_route_table(RouteTableId=table)


def _main_table(net: Network) -> Callable[[], Any]:
    tables = net.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [net.vpc]}])["RouteTables"]
    return lambda: net.ec2.delete_route_table(RouteTableId=tables[0]["RouteTableId"])


def _route_to_a_detached_gateway(net: Network) -> Callable[[], Any]:
    table = net.ec2.create_route_table(VpcId=net.vpc)["RouteTable"]["RouteTableId"]
    net.ec2.detach_internet_gateway(InternetGatewayId=net.gateway, VpcId=net.vpc)
    return lambda: net.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=net.gateway)


def _two_endpoint_subnets_in_a_zone(net: Network) -> Callable[[], Any]:
    other = net.add_subnet("10.0.1.0/24", "a")
    return lambda: net.ec2.create_vpc_endpoint(
        VpcId=net.vpc, ServiceName=f"com.amazonaws.{REGION}.sts", VpcEndpointType="Interface", SubnetIds=[net.subnet, other]
    )


def _two_private_names(net: Network) -> Callable[[], Any]:
    def create() -> Any:
        return net.ec2.create_vpc_endpoint(
            VpcId=net.vpc,
            ServiceName=f"com.amazonaws.{REGION}.sts",
            VpcEndpointType="Interface",
            SubnetIds=[net.subnet],
            PrivateDnsEnabled=True,
        )

    create()
    return create


def _launch_template(user_data: str) -> Callable[[Network], Callable[[], Any]]:
    data = {"UserData": user_data}
    return lambda net: lambda: net.ec2.create_launch_template(LaunchTemplateName=f"t-{net.vpc}", LaunchTemplateData=data)


NETWORK_REFUSALS: dict[str, tuple[Callable[[Network], Callable[[], Any]], str]] = {
    "a group another group's rule names": (_referenced, "DependencyViolation"),
    "a group of an endpoint": (_of_an_endpoint, "DependencyViolation"),
    "a default group": (_default_group, "CannotDelete"),
    "a rule twice": (_duplicate_rule, "InvalidPermission.Duplicate"),
    "a NAT gateway's subnet": (_subnet_of_a_nat_gateway, "DependencyViolation"),
    "a gateway with public addresses behind it": (_gateway_with_addresses, "DependencyViolation"),
    "an address in use": (_address_in_use, "InvalidIPAddress.InUse"),
    "an address for two NAT gateways": (_address_twice, "Resource.AlreadyAssociated"),
    "a NAT gateway without internet": (_nat_gateway_without_internet, "Gateway.NotAttached"),
    "a network with a gateway": (_vpc_with_gateway, "DependencyViolation"),
    "a network with a group": (_vpc_with_group, "DependencyViolation"),
    "a table with associations": (_associated_table, "DependencyViolation"),
    "a main table": (_main_table, "DependencyViolation"),
    "a route to a detached gateway": (_route_to_a_detached_gateway, "InvalidParameterValue"),
    "an overlapping subnet": (lambda net: lambda: net.add_subnet("10.0.0.128/25", "b"), "InvalidSubnet.Conflict"),
    "a subnet outside its network": (lambda net: lambda: net.add_subnet("10.1.0.0/24", "b"), "InvalidSubnet.Range"),
    "two subnets of an endpoint in one zone": (_two_endpoint_subnets_in_a_zone, "DuplicateSubnetsInSameZone"),
    "two endpoints with one private name": (_two_private_names, "InvalidParameter"),
    "user data that is no base64": (_launch_template("#!/bin/sh"), "InvalidUserData.Malformed"),
    "user data of 16 KiB and a byte": (_launch_template(base64.b64encode(b"a" * 16385).decode()), "InvalidParameterValue"),
}


@pytest.mark.parametrize("what", NETWORK_REFUSALS)
def test_networks_are_refused_as_by_ec2(net: Network, what: str) -> None:
    prepare, code = NETWORK_REFUSALS[what]
    assert code_of(prepare(net)) == code


def _policy(statement: dict[str, Any] | str, padding: int = 0) -> str:
    if isinstance(statement, str):
        return statement
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | ({"Sid": "a" * padding} if padding else {})]})


_GET = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
_ASSUME = {"Effect": "Allow", "Action": "sts:AssumeRole"}
_EC2 = {"Principal": {"Service": "ec2.amazonaws.com"}}
_ROOT = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Resource": "*"}


def _attached(iam: Any) -> Callable[[], Any]:
    arn = iam.create_policy(PolicyName="attached", PolicyDocument=json.dumps(ALLOW))["Policy"]["Arn"]
    iam.create_role(RoleName="attached", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.attach_role_policy(RoleName="attached", PolicyArn=arn)
    return lambda: iam.delete_policy(PolicyArn=arn)


def _role_with_policy(iam: Any) -> Callable[[], Any]:
    iam.create_role(RoleName="holder", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(RoleName="holder", PolicyName="p", PolicyDocument=json.dumps(ALLOW))
    return lambda: iam.delete_role(RoleName="holder")


def _inline_in_all(iam: Any) -> Callable[[], Any]:
    iam.create_role(RoleName="full", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(RoleName="full", PolicyName="a", PolicyDocument=_policy(_GET, 9000))
    return lambda: iam.put_role_policy(RoleName="full", PolicyName="b", PolicyDocument=_policy(_GET, 2000))


def _role(trust: dict[str, Any] | str, padding: int = 0, name: str = "r") -> Callable[[Any], Callable[[], Any]]:
    return lambda iam: lambda: iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust, padding))


OTHER_REFUSALS: dict[str, tuple[str, Callable[[Any], Callable[[], Any]], str]] = {
    "an attached policy": ("iam", _attached, "DeleteConflict"),
    "a role with a policy": ("iam", _role_with_policy, "DeleteConflict"),
    "a trust policy that is no JSON": ("iam", _role("{"), "MalformedPolicyDocument"),
    "a trust policy without principal": ("iam", _role(_ASSUME), "MalformedPolicyDocument"),
    "a trust policy with a resource": ("iam", _role(_ASSUME | _EC2 | {"Resource": "*"}), "MalformedPolicyDocument"),
    "a trust policy too long": ("iam", _role(_ASSUME | _EC2, padding=2048), "LimitExceeded"),
    "a role name too long": ("iam", _role(_ASSUME | _EC2, name="a" * 65), "ValidationError"),
    "a policy too long": (
        "iam",
        lambda iam: lambda: iam.create_policy(PolicyName="long", PolicyDocument=_policy(_GET, 6144)),
        "LimitExceeded",
    ),
    "a policy that is no JSON": (
        "iam",
        lambda iam: lambda: iam.create_policy(PolicyName="x", PolicyDocument="{"),
        "MalformedPolicyDocument",
    ),
    "inline policies too long together": ("iam", _inline_in_all, "LimitExceeded"),
    "a key nobody could manage": (
        "kms",
        lambda kms: lambda: kms.create_key(Policy=_policy(_ROOT | {"Action": "kms:Decrypt"})),
        "MalformedPolicyDocumentException",
    ),
    "a mount target of no file system": (
        "efs",
        lambda efs: lambda: efs.create_mount_target(FileSystemId="fs-12345678", SubnetId="subnet-12345678"),
        "FileSystemNotFound",
    ),
    "an FSx file system nobody knows": (
        "fsx",
        lambda fsx: lambda: fsx.describe_file_systems(FileSystemIds=["fs-01234567890123456"]),
        "FileSystemNotFound",
    ),
    "a quota nobody knows": (
        "service-quotas",
        lambda quotas: lambda: quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-00000000"),
        "NoSuchResourceException",
    ),
}


@pytest.mark.parametrize("what", OTHER_REFUSALS)
def test_other_services_refuse_as_aws_does(aws: Callable[[str], Any], what: str) -> None:
    service, prepare, code = OTHER_REFUSALS[what]
    assert code_of(prepare(aws(service))) == code


@pytest.mark.parametrize(
    ("statement", "granted"),
    [
        ({}, False),
        ({"Action": "kms:*"}, True),
        ({"Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": "arn:aws:logs:*:*:log-group:/llm/*"}}}, True),
        ({"Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": "arn:aws:logs:*:*:log-group:/other"}}}, False),
        ({"Action": ["kms:Encrypt*", "kms:Describe*"]}, False),
        ({"Principal": {"Service": "logs.sa-east-1.amazonaws.com"}}, False),
    ],
)
def test_a_log_group_needs_a_key_that_lets_logs_use_it(
    aws: Callable[[str], Any], statement: dict[str, Any], granted: bool
) -> None:
    kms, logs = aws("kms"), aws("logs")
    use = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
    service = {"Service": f"logs.{logs.meta.region_name}.amazonaws.com"}
    serves = {"Effect": "Allow", "Principal": service, "Action": use, "Resource": "*", **statement}
    statements = [_ROOT | {"Action": "kms:*"}, *([serves] if statement else [])]
    key = kms.create_key(Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))["KeyMetadata"]["Arn"]
    if granted:
        logs.create_log_group(logGroupName="/llm/pods", kmsKeyId=key)
        logs.delete_log_group(logGroupName="/llm/pods")
    else:
        assert code_of(lambda: logs.create_log_group(logGroupName="/llm/pods", kmsKeyId=key)) == "AccessDeniedException"


def test_a_bucket_with_objects_stays(aws: Callable[[str], Any]) -> None:
    s3 = aws("s3")
    s3.create_bucket(Bucket="full-4711")
    s3.put_object(Bucket="full-4711", Key="weights/model.safetensors", Body=b"x" * 100_000)
    assert code_of(lambda: s3.delete_bucket(Bucket="full-4711")) == "BucketNotEmpty"
    s3.delete_object(Bucket="full-4711", Key="weights/model.safetensors")
    s3.delete_bucket(Bucket="full-4711")


class TestStates:
    def test_a_nat_gateway_is_pending_and_deleting_for_a_while_and_then_lets_go(self, net: Network) -> None:
        address = net.add_address()
        gateway = net.add_nat_gateway(address)

        def state() -> str:
            return str(net.ec2.describe_nat_gateways(NatGatewayIds=[gateway])["NatGateways"][0]["State"])

        assert state() == "pending"
        eventually(lambda: state() == "available")
        net.ec2.delete_nat_gateway(NatGatewayId=gateway)
        assert state() == "deleting"
        assert code_of(lambda: net.ec2.delete_subnet(SubnetId=net.subnet)) == "DependencyViolation"
        eventually(lambda: state() == "deleted")
        net.ec2.release_address(AllocationId=address)
        net.ec2.delete_subnet(SubnetId=net.subnet)

    def test_an_interface_endpoint_is_pending_and_deleting_and_then_unknown(self, net: Network) -> None:
        made = net.ec2.create_vpc_endpoint(
            VpcId=net.vpc, ServiceName=f"com.amazonaws.{REGION}.sts", VpcEndpointType="Interface", SubnetIds=[net.subnet]
        )["VpcEndpoint"]
        assert made["State"] == "pending"
        identifier = [made["VpcEndpointId"]]

        def state() -> str:
            return str(net.ec2.describe_vpc_endpoints(VpcEndpointIds=identifier)["VpcEndpoints"][0]["State"])

        eventually(lambda: state() == "available")
        net.ec2.delete_vpc_endpoints(VpcEndpointIds=identifier)
        assert state() == "deleting"
        assert code_of(lambda: eventually(lambda: not state())) == "InvalidVpcEndpointId.NotFound"
        net.ec2.delete_subnet(SubnetId=net.subnet)

    def test_an_efs_file_system_and_its_mount_target_take_their_time(self, aws: Callable[[str], Any], net: Network) -> None:
        efs = aws("efs")
        system = efs.create_file_system(CreationToken="states", Encrypted=True)
        assert system["LifeCycleState"] == "creating"
        identifier = system["FileSystemId"]
        early = code_of(lambda: efs.create_mount_target(FileSystemId=identifier, SubnetId=net.subnet))
        assert early == "IncorrectFileSystemLifeCycleState"

        def state() -> str:
            return str(efs.describe_file_systems(FileSystemId=identifier)["FileSystems"][0]["LifeCycleState"])

        eventually(lambda: state() == "available")
        target = efs.create_mount_target(FileSystemId=identifier, SubnetId=net.subnet)
        assert target["LifeCycleState"] == "creating"
        assert code_of(lambda: efs.create_mount_target(FileSystemId=identifier, SubnetId=net.subnet)) == "MountTargetConflict"
        assert code_of(lambda: efs.delete_file_system(FileSystemId=identifier)) == "FileSystemInUse"
        assert code_of(lambda: net.ec2.delete_subnet(SubnetId=net.subnet)) == "DependencyViolation"
        efs.delete_mount_target(MountTargetId=target["MountTargetId"])
        assert code_of(lambda: efs.delete_file_system(FileSystemId=identifier)) == "FileSystemInUse"
        eventually(lambda: not efs.describe_mount_targets(FileSystemId=identifier)["MountTargets"])
        efs.update_file_system(FileSystemId=identifier, ThroughputMode="elastic")
        efs.put_backup_policy(FileSystemId=identifier, BackupPolicy={"Status": "ENABLED"})
        assert efs.describe_backup_policy(FileSystemId=identifier)["BackupPolicy"]["Status"] == "ENABLED"
        assert efs.describe_file_systems(FileSystemId=identifier)["FileSystems"][0]["ThroughputMode"] == "elastic"
        efs.delete_file_system(FileSystemId=identifier)
        assert state() == "deleting"
        assert code_of(lambda: eventually(lambda: not state())) == "FileSystemNotFound"
        net.ec2.delete_subnet(SubnetId=net.subnet)

    def test_an_fsx_file_system_tells_how_to_mount_it_and_takes_its_time(self, aws: Callable[[str], Any], net: Network) -> None:
        fsx = aws("fsx")
        wanted = {
            "FileSystemType": "LUSTRE",
            "StorageCapacity": 1200,
            "SubnetIds": [net.subnet],
            "LustreConfiguration": {"DeploymentType": "PERSISTENT_2", "PerUnitStorageThroughput": 250},
        }
        assert code_of(lambda: fsx.create_file_system(**wanted | {"StorageCapacity": 1300})) == "BadRequest"
        assert (
            code_of(lambda: fsx.create_file_system(**wanted | {"SubnetIds": ["subnet-12345678901"]})) == "InvalidNetworkSettings"
        )
        made = fsx.create_file_system(**wanted)["FileSystem"]
        identifier = [made["FileSystemId"]]
        assert (made["Lifecycle"], made["VpcId"]) == ("CREATING", net.vpc)
        assert re.fullmatch(r"[a-z0-9]{8}", made["LustreConfiguration"]["MountName"])

        def told() -> dict[str, Any]:
            return dict(fsx.describe_file_systems(FileSystemIds=identifier)["FileSystems"][0])

        eventually(lambda: told()["Lifecycle"] == "AVAILABLE")
        fsx.update_file_system(FileSystemId=identifier[0], StorageCapacity=2400)
        assert told()["StorageCapacity"] == 2400
        assert code_of(lambda: net.ec2.delete_subnet(SubnetId=net.subnet)) == "DependencyViolation"
        assert fsx.delete_file_system(FileSystemId=identifier[0])["Lifecycle"] == "DELETING"
        assert told()["Lifecycle"] == "DELETING"
        assert code_of(lambda: eventually(lambda: not told())) == "FileSystemNotFound"


class TestSeeds:
    @pytest.mark.parametrize(
        "name",
        [
            "AmazonEKSClusterPolicy",
            "AmazonEKSWorkerNodeMinimalPolicy",
            "AmazonEKSWorkerNodePolicy",
            "AmazonEC2ContainerRegistryPullOnly",
            "AmazonSSMManagedInstanceCore",
            "AmazonEKS_CNI_Policy",
            "service-role/AmazonEBSCSIDriverPolicy",
            "AmazonEBSCSIDriverPolicyV2",
            "service-role/AmazonEFSCSIDriverPolicy",
            "AmazonFSxFullAccess",
            "AmazonEKSVPCResourceController",
            "CloudWatchAgentServerPolicy",
        ],
    )
    def test_the_policies_of_aws_that_the_platform_attaches_exist(self, aws: Callable[[str], Any], name: str) -> None:
        assert aws("iam").get_policy(PolicyArn=f"arn:aws:iam::aws:policy/{name}")["Policy"]["IsAttachable"]

    def test_quotas_are_the_stacks_and_else_the_rehearsals(self, aws: Callable[[str], Any]) -> None:
        quotas = aws("service-quotas")
        told = quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-DB2E81BA")["Quota"]
        assert (told["Value"], told["QuotaName"]) == (96.0, "Running On-Demand G and VT instances")
        listed = {quota["QuotaCode"]: quota["Value"] for quota in quotas.list_service_quotas(ServiceCode="ec2")["Quotas"]}
        assert listed["L-417A185B"] == 10000.0
        assert listed["L-DB2E81BA"] == 96.0

    def test_every_type_of_the_catalogue_is_offered_somewhere_and_not_everywhere(self, aws: Callable[[str], Any]) -> None:
        def zones(name: str) -> set[str]:
            ec2 = aws("ec2")
            filters = [{"Name": "instance-type", "Values": [name]}]
            offers = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=filters)[
                "InstanceTypeOfferings"
            ]
            return {str(offer["Location"])[-1] for offer in offers}

        assert zones("p4d.24xlarge") == set("abcd")
        assert zones("p3.2xlarge") == set("abcdef")
        assert zones("p5e.48xlarge") == set()

    def test_public_parameters_answer(self, aws: Callable[[str], Any]) -> None:
        ssm = aws("ssm")
        name = "/aws/service/eks/optimized-ami/1.36/amazon-linux-2023/x86_64/nvidia/recommended/{}"
        assert re.fullmatch(r"1\.36\.\d+-\d{8}", ssm.get_parameter(Name=name.format("release_version"))["Parameter"]["Value"])
        assert ssm.get_parameters(Names=[name.format("image_id")])["Parameters"][0]["Value"].startswith("ami-")
        assert code_of(lambda: ssm.get_parameter(Name=name.format("colour"))) == "ParameterNotFound"
