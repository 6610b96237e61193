"""What an emulated AWS account knows and decides without its process."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from moto import mock_aws

from sandbox.aws.account import Account
from sandbox.aws.backends import Backends
from sandbox.aws.calls import buffer_body, recognise
from sandbox.aws.facts import require_known_quotas
from sandbox.aws.faults import Fault, Faults, kill
from sandbox.aws.inventory import KINDS
from sandbox.aws.seeds import parameter
from sandbox.aws.tokens import Answer, Answers, Question, fingerprint
from sandbox.errors import SandboxError

URN = "urn:pulumi:dev::p::aws:ec2/vpc:Vpc::net"


def sent(service: str, operation: str, **parameters: Any) -> dict[str, Any]:
    """The WSGI environment of the request boto3 would send."""
    caught: list[AWSRequest] = []

    def catch(request: AWSRequest, **_kwargs: Any) -> Any:
        caught.append(request)
        raise InterruptedError

    client = boto3.client(
        service,
        region_name="eu-west-1",
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="rehearsal",
        aws_secret_access_key="rehearsal",
        config=Config(retries={"total_max_attempts": 1}),
    )

    def mark(request: AWSRequest, **_kwargs: Any) -> None:
        request.headers["x-sandbox-token"], request.headers["x-sandbox-pid"] = f"{URN}#2", "77"

    client.meta.events.register("before-sign.*.*", mark)
    client.meta.events.register("before-send.*.*", catch)
    with pytest.raises(InterruptedError):
        getattr(client, operation)(**parameters)
    (request,) = caught
    path, _, query = request.url.removeprefix("http://127.0.0.1:1").partition("?")
    body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
    environ = {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": path or "/",
        "RAW_URI": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
    }
    for name, value in request.headers.items():
        text = value.decode() if isinstance(value, bytes) else value
        key = name.upper().replace("-", "_")
        environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = text
    return environ


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "named", "mutates", "told"),
    [
        (
            "ec2",
            "create_subnet",
            {"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/24"},
            "CreateSubnet",
            True,
            {"CidrBlock": "10.0.0.0/24"},
        ),
        ("iam", "get_role", {"RoleName": "node"}, "GetRole", False, {"RoleName": "node"}),
        ("kms", "schedule_key_deletion", {"KeyId": "k"}, "ScheduleKeyDeletion", True, {"KeyId": "k"}),
        ("s3", "put_bucket_policy", {"Bucket": "weights", "Policy": "{}"}, "PutBucketPolicy", True, {"Bucket": "weights"}),
        ("s3", "head_bucket", {"Bucket": "weights"}, "HeadBucket", False, {"Bucket": "weights"}),
        (
            "efs",
            "create_mount_target",
            {"FileSystemId": "fs-12345678", "SubnetId": "subnet-12345678"},
            "CreateMountTarget",
            True,
            {"SubnetId": "subnet-12345678"},
        ),
        ("eks", "list_clusters", {}, "ListClusters", False, {}),
        (
            "service-quotas",
            "get_service_quota",
            {"ServiceCode": "ec2", "QuotaCode": "L-1"},
            "GetServiceQuota",
            False,
            {"QuotaCode": "L-1"},
        ),
    ],
)
def test_a_call_is_recognised_from_what_boto3_sends(
    service: str, operation: str, parameters: dict[str, str], named: str, mutates: bool, told: dict[str, str]
) -> None:
    environ = sent(service, operation, **parameters)
    buffer_body(environ)
    before = environ["wsgi.input"].getvalue()
    call = recognise(environ)
    assert call is not None
    assert (call.service, call.operation, call.mutates, call.region) == (service, named, mutates, "eu-west-1")
    assert (call.urn, call.token, call.pid) == (URN, f"{URN}#2", 77)
    assert told.items() <= call.parameters.items()
    assert environ["wsgi.input"].read() == before, "the service must still find the body"


def test_an_answer_is_kept_until_its_resource_is_acknowledged() -> None:
    answers, answer = Answers(), Answer(200, (), b"vpc-1")
    question = Question(f"{URN}#1", "ec2", "CreateVpc", "{}")
    answers.keep(URN, question, answer)
    assert answers.find(URN, question) is answer
    for other in ({"token": f"{URN}#2"}, {"operation": "DeleteVpc"}, {"parameters": "other"}):
        assert answers.find(URN, replace(question, **other)) is None
    answers.made(URN, "vpc-1")
    for urn, identity in ((f"{URN}-other", "vpc-1"), (URN, "vpc-0")):
        answers.acknowledge(urn, identity)
        assert answers.find(URN, question) is answer
    answers.acknowledge(URN, "vpc-1")
    assert answers.find(URN, question) is None


def test_what_was_to_replace_a_resource_is_not_forgotten_with_it() -> None:
    answers = Answers()
    question = Question(f"{URN}#1", "ec2", "CreateVpc", "{}")
    answers.keep(URN, question, Answer(200, (), b"vpc-2"))
    answers.acknowledge(URN, "vpc-1")
    assert answers.find(URN, question)


def test_a_repetition_is_known_whatever_token_the_client_made_up_for_it() -> None:
    assert fingerprint({"A": 1, "ClientToken": "x"}) == fingerprint({"ClientToken": "y", "A": 1}) != fingerprint({"A": 2})


def test_faults_strike_the_nth_call_or_the_first_of_each_token() -> None:
    faults = Faults()
    faults.set(Fault(at=2, how="die-after"))
    assert [faults.strike(token) for token in "abc"] == [None, "die-after", None]
    assert faults.counted == 3
    faults.set(Fault(each=True, how="refuse"))
    assert [faults.strike(token) for token in "aabb"] == ["refuse", None, "refuse", None]
    faults.set(None)
    assert (faults.strike("a"), faults.counted) == (None, 1)


@pytest.mark.parametrize(
    "wrong", [{"how": "refuse"}, {"how": "die-after", "each": True}, {"how": "refuse", "each": True, "at": 1}]
)
def test_a_fault_says_which_call(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="say either"):
        Fault(**wrong)


def test_only_the_process_named_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        kill(None)
        kill(child.pid)
        assert child.wait(timeout=10) == -9
    kill(child.pid)
    assert os.getpid() > 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("/aws/service/bottlerocket/aws-k8s-1.36-nvidia/x86_64/1.66.0/image_version", "1.66.0-00000000"),
        ("/aws/service/bottlerocket/aws-k8s-1.37/arm64/latest/image_version", "1.68.0-00000000"),
        ("/aws/service/bottlerocket/aws-k8s-1.37/arm64/1.64.0/image_version", None),  # 1.37 came with 1.66.0
        ("/aws/service/bottlerocket/aws-k8s-1.36/x86_64/1.99.0/image_version", None),
        ("/aws/service/bottlerocket/aws-k8s-1.12/x86_64/latest/image_id", None),
        ("/aws/service/eks/optimized-ami/1.36/amazon-linux-2023/arm64/neuron/recommended/image_id", None),
        ("/mine", None),
    ],
)
def test_public_parameters_are_those_of_releases_that_exist(name: str, value: str | None) -> None:
    assert parameter(name) == value


def test_image_ids_are_of_the_right_form_and_differ_by_what_they_are_for() -> None:
    bottlerocket = "/aws/service/bottlerocket/aws-k8s-1.36-nvidia/x86_64/{}/image_id"
    amazon = "/aws/service/eks/optimized-ami/1.36/amazon-linux-2023/x86_64/nvidia/recommended/image_id"
    latest, newest, older, linux = (
        parameter(name) for name in (*map(bottlerocket.format, ("latest", "1.68.0", "1.67.0")), amazon)
    )
    assert latest == newest
    assert len({newest, older, linux}) == 3
    for image in (newest, older, linux):
        assert image is not None
        assert image.startswith("ami-00000000")
        assert len(image) == len("ami-1234567890abcdef0")


@pytest.mark.parametrize("entry", KINDS, ids=lambda entry: entry[0])
def test_an_account_nobody_used_has_nothing_of_any_kind(entry: Any) -> None:
    _, service, find = entry
    with mock_aws():  # it begins with empty accounts, whatever tests of this process have made
        assert list(find(getattr(Backends("us-east-1"), service))) == []


def test_an_unknown_quota_and_a_bad_name_are_one_sentence() -> None:
    require_known_quotas({"L-DB2E81BA": 96})
    with pytest.raises(SandboxError, match=r"no EC2 quota L-0; use one of .*L-DB2E81BA: Running On-Demand G and VT instances"):
        require_known_quotas({"L-0": 1})
    with pytest.raises(SandboxError, match="no account name"):
        Account("../x", Path("/nowhere"))
