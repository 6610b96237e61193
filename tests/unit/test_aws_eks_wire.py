"""Our EKS on the wire: what the real client sends, and what a client that is wrong gets."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from werkzeug.serving import make_server
from werkzeug.test import Client

from sandbox.aws.eks.errors import in_use, not_found
from sandbox.aws.eks.wire import ACCESS_KEY, Service

PRINCIPAL = "arn:aws:iam::123456789012:role/people/admin"
POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
MOMENT = datetime(2026, 11, 21, 12, 30, 15, 500000, tzinfo=UTC)


class Part:
    """Handlers that say what they heard."""

    def __init__(self) -> None:
        self.heard: dict[str, Any] = {}

    def describe_cluster(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if parameters["name"] == "missing":
            raise not_found("No cluster found for name: missing.", clusterName="missing")
        return {"cluster": {"name": parameters["name"], "createdAt": MOMENT, "status": "ACTIVE"}}

    def create_cluster(self, parameters: dict[str, Any]) -> dict[str, Any]:
        self.heard = parameters
        return {"cluster": {"name": parameters["name"], "status": "BROKEN"}}

    def list_clusters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        self.heard = parameters
        return {"clusters": [f"c{number}" for number in range(7)]}

    def delete_cluster(self, _parameters: dict[str, Any]) -> dict[str, Any]:
        raise in_use("Cluster has nodegroups attached", nodegroupName="gpu")

    def describe_cluster_versions(self, parameters: dict[str, Any]) -> dict[str, Any]:
        self.heard = parameters
        return {"clusterVersions": [{"clusterVersion": "1.36", "releaseDate": MOMENT}]}

    def disassociate_access_policy(self, parameters: dict[str, Any]) -> dict[str, Any]:
        self.heard = parameters
        return {}

    def create_nodegroup(self, parameters: dict[str, Any]) -> dict[str, Any]:
        self.heard = parameters
        return {"nodegroup": {"colour": "blue"}}

    def describe_access_entry(self, _parameters: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("shape")

    def secret(self, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"heard": parameters, "key": ACCESS_KEY.get()}


@pytest.fixture
def part() -> Part:
    return Part()


@pytest.fixture
def service(part: Part) -> Service:
    return Service("eks", threading.RLock(), [part], {"/_eks/secret": part.secret})


@pytest.fixture
def eks(service: Service) -> Iterator[Any]:
    """The real client against it."""
    server = make_server("127.0.0.1", 0, service, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield boto3.client(
        "eks",
        endpoint_url=f"http://127.0.0.1:{server.port}",
        region_name="us-east-1",
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secret",
        config=Config(retries={"max_attempts": 0}),
    )
    server.shutdown()
    server.server_close()


def test_the_real_client_reads_structures_and_timestamps(eks: Any) -> None:
    cluster = eks.describe_cluster(name="prod")["cluster"]
    assert (cluster["name"], cluster["status"], cluster["createdAt"]) == ("prod", "ACTIVE", MOMENT)


def test_arns_in_paths_arrive_whole_and_the_longest_route_wins(eks: Any, part: Part) -> None:
    eks.disassociate_access_policy(clusterName="prod", principalArn=PRINCIPAL, policyArn=POLICY)
    assert part.heard == {"clusterName": "prod", "principalArn": PRINCIPAL, "policyArn": POLICY}


def test_query_members_get_their_types(eks: Any, part: Part) -> None:
    eks.describe_cluster_versions(clusterVersions=["1.35", "1.36"], includeAll=True, maxResults=5)
    assert part.heard == {"clusterVersions": ["1.35", "1.36"], "includeAll": True, "maxResults": 5}


def test_body_members_arrive_by_the_names_of_the_model(eks: Any, part: Part) -> None:
    with pytest.raises(ClientError, match="is not as its model says"):
        eks.create_cluster(name="prod", roleArn="arn:x", resourcesVpcConfig={"subnetIds": ["subnet-1"]}, tags={"a": "b"})
    assert part.heard.pop("clientRequestToken")
    assert part.heard == {
        "name": "prod",
        "roleArn": "arn:x",
        "resourcesVpcConfig": {"subnetIds": ["subnet-1"]},
        "tags": {"a": "b"},
    }


def test_lists_come_in_pages(eks: Any) -> None:
    pages = list(eks.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 3}))
    assert [page["clusters"] for page in pages] == [["c0", "c1", "c2"], ["c3", "c4", "c5"], ["c6"]]
    with pytest.raises(ClientError, match="'yes' is no nextToken of an earlier answer"):
        eks.list_clusters(nextToken="yes")


@pytest.mark.parametrize(
    ("operation", "parameters", "code", "status", "members"),
    [
        ("describe_cluster", {"name": "missing"}, "ResourceNotFoundException", 404, {"clusterName": "missing"}),
        ("delete_cluster", {"name": "prod"}, "ResourceInUseException", 409, {"nodegroupName": "gpu"}),
        ("list_insights", {"clusterName": "prod"}, "NotImplementedException", 501, {}),
        ("describe_access_entry", {"clusterName": "prod", "principalArn": PRINCIPAL}, "ServerException", 500, {}),
    ],
)
def test_errors_have_code_status_and_members(
    eks: Any, operation: str, parameters: dict[str, Any], code: str, status: int, members: dict[str, str]
) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(eks, operation)(**parameters)
    answer = refused.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert {name: answer[name] for name in members} == members
    if code in ("ResourceNotFoundException", "ResourceInUseException"):
        assert isinstance(refused.value, getattr(eks.exceptions, code))


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/clusters", {"roleArn": "arn:x", "resourcesVpcConfig": {}}, 'Missing required parameter in input: "name"'),
        (
            "/clusters",
            {"name": "a", "roleArn": "b", "resourcesVpcConfig": {}, "colour": 1},
            'Unknown parameter in input: "colour"',
        ),
        ("/clusters", {"name": "a", "roleArn": "b", "resourcesVpcConfig": {"subnets": []}}, 'resourcesVpcConfig: "subnets"'),
        ("/clusters", {"name": 4, "roleArn": "b", "resourcesVpcConfig": {}}, "Invalid type for parameter name"),
        ("/clusters", {"name": "-a", "roleArn": "b", "resourcesVpcConfig": {}}, "Value '-a' at 'name' does not match"),
        ("/clusters", {"name": "a" * 101, "roleArn": "b", "resourcesVpcConfig": {}}, "name is 101 where at most 100 is allowed"),
        (
            "/clusters/a/node-groups",
            {"nodegroupName": "n", "nodeRole": "r", "subnets": [], "amiType": "AL2023_x86"},
            "Value 'AL2023_x86' at 'amiType' is none of AL2_x86_64,",
        ),
        (
            "/clusters/a/node-groups",
            {"nodegroupName": "n", "nodeRole": "r", "subnets": [], "scalingConfig": {"minSize": -1}},
            "Invalid value for parameter scalingConfig.minSize",
        ),
        ("/clusters", [], "The request body is no JSON object."),
    ],
)
def test_what_the_model_forbids_is_refused_before_a_handler_sees_it(
    service: Service, part: Part, path: str, body: Any, sentence: str
) -> None:
    answer = Client(service).post(path, data=json.dumps(body))
    assert answer.status_code == 400
    assert answer.headers["x-amzn-ErrorType"] == "InvalidParameterException"
    assert sentence in json.loads(answer.data)["message"]
    assert part.heard == {}


def test_an_answer_the_model_does_not_know_is_the_rehearsals_own_mistake(service: Service) -> None:
    answer = Client(service).post(
        "/clusters/a/node-groups", data=json.dumps({"nodegroupName": "n", "nodeRole": "r", "subnets": ["s"]})
    )
    assert answer.status_code == 500
    assert 'Unknown parameter in nodegroup: "colour"' in json.loads(answer.data)["message"]


def test_unknown_paths_and_broken_bodies_get_a_sentence(service: Service) -> None:
    client = Client(service)
    assert client.get("/moon").status_code == 404
    assert "eks has no operation at GET /moon" in client.get("/moon").text
    broken = client.post("/clusters", data="{")
    assert (broken.status_code, "is not JSON" in broken.text) == (400, True)


def test_private_routes_know_who_signed(service: Service) -> None:
    scope = "AKIATEST/20261121/us-east-1/eks/aws4_request"
    signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
    answer = Client(service).post("/_eks/secret", data='{"a": 1}', headers=signed)
    assert json.loads(answer.data) == {"heard": {"a": 1}, "key": "AKIATEST"}
    assert ACCESS_KEY.get() == ""
