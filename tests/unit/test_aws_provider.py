"""The core of the emulated AWS provider: what it refuses, what it sees as a difference, whose account it touches."""

import asyncio
import copy
import json
import socket
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.providers.aws import functions, settings
from sandbox.providers.aws.adapter import Account, Adapter, Values
from sandbox.providers.aws.diffing import diff, drifted
from sandbox.providers.aws.provider import AwsProvider, adapters
from sandbox.providers.aws.schema import faults, schema
from sandbox.providers.contract import ChangeKind, InitFailedError, ProviderError, Request
from sandbox.providers.engine import Engine
from sandbox.providers.properties import UNKNOWN, Properties

ADD, DELETE, UPDATE = ChangeKind.ADD, ChangeKind.DELETE, ChangeKind.UPDATE
VPC, GROUP, TEMPLATE = "aws:ec2/vpc:Vpc", "aws:eks/nodeGroup:NodeGroup", "aws:ec2/launchTemplate:LaunchTemplate"
REQUIRED = "is required and missing"
SCALING = {"desiredSize": 1, "maxSize": 2, "minSize": 0}
NODE_GROUP = {"clusterName": "c", "nodeRoleArn": "arn", "subnetIds": ["subnet-1"], "scalingConfig": SCALING}
ACCOUNT = Account("eu-west-1", "123456789012", "aws", {}, "")
JSON = st.recursive(
    st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=1), inner, max_size=3),
    max_leaves=10,
)
BAGS = st.dictionaries(st.text("abc", min_size=1, max_size=1), JSON, max_size=3)


class Sample(Adapter):
    """A type with one input of every kind; `network` replaces when its `id` is another, `range` when it gives way to `peer`."""

    token = "aws:sample/sample:Sample"
    replaces = frozenset({"name", "network.id"})
    alternatives = frozenset({"range", "peer"})
    unordered = frozenset({"groups", "rules.groups"})
    documents = frozenset({"policy"})


@pytest.mark.parametrize(
    ("token", "inputs", "wrong"),
    [
        (VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"any": "name"}}, []),
        (VPC, {"cidrBlock": UNKNOWN, "tags": {"a": UNKNOWN}}, []),
        (VPC, {"cidrBlok": "10.0.0.0/16"}, [("cidrBlok", "is not a property pulumi-aws has here; did you mean cidrBlock?")]),
        (VPC, {"enableDnsSupport": "true"}, [("enableDnsSupport", "has to be true or false, not 'true'")]),
        (VPC, {"ipv4NetmaskLength": True}, [("ipv4NetmaskLength", "has to be a whole number, not True")]),
        (VPC, {"cidrBlock": 10}, [("cidrBlock", "has to be text, not 10")]),
        (VPC, {"tags": ["a"]}, [("tags", "has to be a map, not ['a']")]),
        (VPC, {"tags": {"a": 1}}, [("tags.a", "has to be text, not 1")]),
        (GROUP, NODE_GROUP, []),
        (GROUP, {**NODE_GROUP, "subnetIds": UNKNOWN}, []),
        (GROUP, {**NODE_GROUP, "subnetIds": "subnet-1"}, [("subnetIds", "has to be a list, not 'subnet-1'")]),
        (GROUP, {**NODE_GROUP, "subnetIds": ["subnet-1", 2]}, [("subnetIds[1]", "has to be text, not 2")]),
        (GROUP, {**NODE_GROUP, "scalingConfig": 3}, [("scalingConfig", "has to be a group of properties, not 3")]),
        (
            GROUP,
            {**NODE_GROUP, "scalingConfig": {**SCALING, "minimumSize": 1}},
            [("scalingConfig.minimumSize", "is not a property pulumi-aws has here; did you mean minSize?")],
        ),
        (
            GROUP,
            {**NODE_GROUP, "taints": [{"key": "a", "effect": "NO_SCHEDULE", "zzz": 1}]},
            [("taints[0].zzz", "is not a property pulumi-aws has here; known are effect, key, value")],
        ),
        (GROUP, {"nodeRoleArn": "arn", "scalingConfig": SCALING}, [("clusterName", "is required and missing")]),
        (GROUP, {**NODE_GROUP, "scalingConfig": {"minSize": 0, "maxSize": 1}}, [("scalingConfig.desiredSize", REQUIRED)]),
        (GROUP, {**NODE_GROUP, "taints": [{"key": "a"}, UNKNOWN]}, [("taints[0].effect", REQUIRED)]),
        (
            TEMPLATE,
            {"blockDeviceMappings": [{"ebs": {"volumeSize": "200"}}]},
            [("blockDeviceMappings[0].ebs.volumeSize", "has to be a whole number, not '200'")],
        ),
    ],
)
def test_what_is_wrong_with_inputs_is_said_with_its_path(token: str, inputs: Values, wrong: list[tuple[str, str]]) -> None:
    found = [fault for fault in faults(token, inputs) if fault[0] != "subnetIds" or "missing" not in fault[1]]
    assert found == wrong


@pytest.mark.parametrize("token", ["aws:ec2/vpc:Vcp", "aws:nothing/vpc:Vpc", "vpc"])
def test_a_type_the_sdk_does_not_have_is_refused(token: str) -> None:
    with pytest.raises(ProviderError, match="is not a resource type of pulumi-aws"):
        schema(token)


def test_a_type_has_one_adapter() -> None:
    kept = {type(adapter) for adapter in adapters().values()}
    made = {kind for kind in _subclasses(Adapter) if kind.__module__.startswith("sandbox.") and "token" in vars(kind)}
    assert made == kept, "of two adapters with one token, one would be lost"


def _subclasses(kind: type[Adapter]) -> set[type[Adapter]]:
    return {kind, *(deeper for below in kind.__subclasses__() for deeper in _subclasses(below))}


def test_every_adapter_is_for_a_type_of_the_sdk() -> None:
    for token, adapter in adapters().items():
        known = schema(token)
        named = adapter.replaces | adapter.unordered | adapter.documents | adapter.write_only
        assert {path.partition(".")[0] for path in named} <= known.inputs.keys(), token
        assert adapter.secrets <= known.outputs, token


@pytest.mark.parametrize(
    ("old", "new", "changes", "replaces"),
    [
        ({"a": 1}, {"a": 1}, {}, []),
        ({"a": None}, {}, {}, []),
        ({}, {"a": 1}, {"a": ADD}, []),
        ({"a": 1}, {}, {"a": DELETE}, []),
        ({"a": 1}, {"a": UNKNOWN}, {"a": UPDATE}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a.c": UPDATE}, []),
        ({"tags": {"x.y": "1"}}, {"tags": {}}, {'tags["x.y"]': DELETE}, []),
        ({"name": "a"}, {"name": "b"}, {"name": UPDATE}, ["name"]),
        ({"name": "a"}, {"name": UNKNOWN}, {"name": UPDATE}, ["name"]),
        ({"network": {"id": "a", "size": 1}}, {"network": {"id": "a", "size": 2}}, {"network.size": UPDATE}, []),
        ({"network": {"id": "a"}}, {"network": {"id": "b"}}, {"network.id": UPDATE}, ["network.id"]),
        ({}, {"network": {"id": "a"}}, {"network": ADD}, ["network"]),
        ({}, {"network": {"size": 1}}, {"network": ADD}, []),
        ({"network": {"id": "a"}}, {"network": UNKNOWN}, {"network": UPDATE}, ["network"]),
        ({"range": "a"}, {"range": "b"}, {"range": UPDATE}, []),
        ({"range": "a"}, {"peer": "b"}, {"peer": ADD, "range": DELETE}, ["peer", "range"]),
        ({"groups": ["a", "b"]}, {"groups": ["b", "a"]}, {}, []),
        ({"groups": ["a", "b"]}, {"groups": ["b", "c"]}, {"groups[0]": UPDATE, "groups[1]": UPDATE}, []),
        ({"groups": ["a"]}, {"groups": ["a", UNKNOWN]}, {"groups": UPDATE}, []),
        ({"rules": [{"groups": ["a", "b"]}]}, {"rules": [{"groups": ["b", "a"]}]}, {}, []),
        ({"zones": ["a", "b"]}, {"zones": ["b", "a"]}, {"zones[0]": UPDATE, "zones[1]": UPDATE}, []),
        ({"zones": ["a"]}, {"zones": ["a", "b"]}, {"zones": UPDATE}, []),
        ({"policy": '{"a": 1, "b": 2}'}, {"policy": '{"b":2,"a":1}'}, {}, []),
        ({"policy": '{"a": 1}'}, {"policy": '{"a": 2}'}, {"policy": UPDATE}, []),
        ({"policy": "no JSON"}, {"policy": "{"}, {"policy": UPDATE}, []),
    ],
)
def test_a_difference(old: Values, new: Values, changes: dict[str, ChangeKind], replaces: list[str]) -> None:
    found = diff(Sample(), old, new)
    assert (found.changes, list(found.replaces)) == (changes, replaces)


@given(BAGS)
def test_nothing_differs_from_itself(values: Values) -> None:
    assert diff(Sample(), values, copy.deepcopy(values)).changes == {}


@given(BAGS, BAGS)
def test_differences_mirror_each_other(old: Values, new: Values) -> None:
    mirrored = {ADD: DELETE, DELETE: ADD, UPDATE: UPDATE}
    assert {path: mirrored[kind] for path, kind in diff(Sample(), new, old).changes.items()} == diff(Sample(), old, new).changes


@given(BAGS)
def test_what_is_as_it_was_given_has_not_drifted(values: Values) -> None:
    for name, value in values.items():
        assert drifted(Sample(), name, value, copy.deepcopy(value)) == value


@pytest.mark.parametrize(
    ("name", "was", "live", "now"),
    [
        ("a", 1, 2, 2),
        ("a", 1, None, None),
        ("a", {"b": 1}, {"b": 1, "c": 2}, {"b": 1}),
        ("a", {"b": 1}, {"b": 2, "c": 2}, {"b": 2}),
        ("a", {"b": 1, "c": 2}, {"b": 1}, {"b": 1}),
        ("a", [{"b": 1}], [{"b": 1, "c": 2}], [{"b": 1}]),
        ("a", [1], [1, 2], [1, 2]),
        ("tags", {"b": "1"}, {"b": "1", "theirs": "2"}, {"b": "1", "theirs": "2"}),
        ("groups", ["a", "b"], ["b", "a"], ["a", "b"]),
        ("groups", ["a", "b"], ["c", "a"], ["c", "a"]),
        ("policy", '{"a": 1}', '{"a":1}', '{"a": 1}'),
        ("policy", '{"a": 1}', '{"a":2}', '{"a":2}'),
    ],
)
def test_drift_is_told_for_what_was_given(name: str, was: Any, live: Any, now: Any) -> None:
    assert drifted(Sample(), name, was, live) == now


def request(**values: Any) -> Request:
    return Request("urn:pulumi:dev::p::pulumi:providers:aws::provider", inputs=Properties(values))


def test_an_unknown_setting_is_refused() -> None:
    assert settings.check(request(region="eu-west-1", defaultTags="{}", version="7")).failures == ()
    assert settings.check(request(regoin="eu-west-1")).failures == (("regoin", "is not a setting of the aws provider"),)
    assert settings.check(request(ignoreTags="{}")).failures == (("ignoreTags", "is not emulated: leave it out"),)


@pytest.mark.parametrize(
    ("old", "new", "changes", "replaces"),
    [
        ({"region": "a"}, {"region": "a"}, [], []),
        ({"region": "a"}, {"region": "b"}, ["region"], ["region"]),
        ({"region": "a"}, {"region": UNKNOWN}, ["region"], ["region"]),
        ({"region": "a"}, {"region": "a", "defaultTags": "{}"}, ["defaultTags"], []),
    ],
)
def test_another_region_is_another_provider(old: Values, new: Values, changes: list[str], replaces: list[str]) -> None:
    found = settings.diff(Request("", inputs=Properties(new), state=Properties(old)))
    assert (list(found.changes), list(found.replaces)) == (changes, replaces)


def test_settings_are_read_from_text_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "cn-north-1")
    found = settings.read({"defaultTags": '{"tags": {"team": "ml"}}', "allowedAccountIds": '["1"]'})
    assert (found.region, found.partition) == ("cn-north-1", "aws-cn")
    assert (found.default_tags, found.allowed, found.forbidden) == ({"team": "ml"}, ("1",), ())
    assert settings.read({"region": "us-gov-west-1"}).partition == "aws-us-gov"
    assert settings.read({"region": "eu-west-1"}).partition == "aws"


@pytest.mark.parametrize(
    ("allowed", "forbidden", "admitted"),
    [((), (), True), (("1",), (), True), (("2",), (), False), ((), ("1",), False), ((), ("2",), True)],
)
def test_only_an_allowed_account_is_touched(allowed: tuple[str, ...], forbidden: tuple[str, ...], admitted: bool) -> None:
    given = settings.Settings(allowed=allowed, forbidden=forbidden)
    if admitted:
        settings.admit(given, "1")
        return
    with pytest.raises(ProviderError, match="are of account 1, which the provider's settings do not allow"):
        settings.admit(given, "1")


POLICY = "aws:iam/getPolicyDocument:getPolicyDocument"


def test_a_policy_document_is_written_as_the_official_provider_does() -> None:
    statement = {
        "sid": "Read",
        "actions": ["s3:GetObject", "s3:ListBucket"],
        "resources": ["*"],
        "principals": [{"type": "Service", "identifiers": ["ec2.amazonaws.com"]}],
        "conditions": [{"test": "StringEquals", "variable": "aws:RequestedRegion", "values": ["eu-west-1"]}],
    }
    assert functions.call(ACCOUNT, POLICY, {"statements": [statement]})["minifiedJson"] == (
        '{"Version":"2012-10-17","Statement":[{"Sid":"Read","Effect":"Allow","Action":["s3:ListBucket","s3:GetObject"],'
        '"Resource":"*","Principal":{"Service":"ec2.amazonaws.com"},'
        '"Condition":{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}}]}'
    )


@pytest.mark.parametrize(
    ("statement", "written"),
    [
        (
            {"principals": [{"type": "Service", "identifiers": ["x"]}, {"type": "AWS", "identifiers": ["1", "2"]}]},
            {"Principal": {"AWS": ["2", "1"], "Service": "x"}},
        ),
        (
            {"principals": [{"type": "AWS", "identifiers": ["x"]}, {"type": "AWS", "identifiers": ["y"]}]},
            {"Principal": {"AWS": ["x", "y"]}},
        ),
        ({"principals": [{"type": "*", "identifiers": ["*"]}]}, {"Principal": "*"}),
        ({"principals": [{"type": "AWS", "identifiers": ["*"]}]}, {"Principal": {"AWS": "*"}}),
        (
            {
                "conditions": [
                    {"test": "t", "variable": "v", "values": ["b", "a"]},
                    {"test": "t", "variable": "v", "values": ["c"]},
                ]
            },
            {"Condition": {"t": {"v": ["b", "a", "c"]}}},
        ),
        ({"resources": ["b/&{aws:username}", "a", "a"]}, {"Resource": ["b/${aws:username}", "a"]}),
    ],
)
def test_nothing_of_a_statement_is_lost(statement: Values, written: Values) -> None:
    minified = functions.call(ACCOUNT, POLICY, {"statements": [statement]})["minifiedJson"]
    assert minified == json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **written}]}, separators=(",", ":"))


@pytest.mark.parametrize(
    ("token", "args", "sentence"),
    [
        (POLICY, {"statements": [{"sid": "a"}, {"sid": "a"}]}, "two statements of a policy document have the sid a"),
        ("aws:ec2/getVpc:getVpc", {}, "the function aws:ec2/getVpc:getVpc is not emulated; known are"),
        (POLICY, {"overrideJson": "{}"}, "overrideJson is not emulated; known are statements, version"),
        (POLICY, {"region": "us-east-1"}, "the emulated account has one region, eu-west-1"),
    ],
)
def test_a_function_that_is_not_emulated_is_refused(token: str, args: Values, sentence: str) -> None:
    with pytest.raises(ProviderError, match=sentence):
        functions.call(ACCOUNT, token, args)


class Vanishing(Adapter):
    """Is gone as soon as it is made."""

    token = VPC
    autoname = ("name", 20)

    def create(self, account: Account, inputs: Values) -> str:
        return f"{account.account_id}-{inputs['cidrBlock']}"

    def read(self, account: Account, identity: str, state: Values) -> Values | None:
        return None


def operation(**given: Any) -> Request:
    return Request(f"urn:pulumi:dev::p::{VPC}::network", inputs=Properties({"cidrBlock": "10.0.0.0/16"}), **given)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> AwsProvider:
    monkeypatch.setattr("sandbox.providers.aws.provider.adapters", lambda: {VPC: Vanishing()})
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    return AwsProvider(Engine(""))


def test_what_is_gone_at_once_is_not_taken_for_made(provider: AwsProvider) -> None:
    with pytest.raises(InitFailedError, match="network is gone right after it was made") as failed:
        asyncio.run(provider.create_resource(operation()))
    assert failed.value.identity == "-10.0.0.0/16"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"seed": b"\x01\x23\x45\x67"}, "network-0123456"),
        ({"proposed_name": "p-network"}, "p-network"),
        ({"proposed_name": "p-network", "old_inputs": Properties({"name": "before"})}, "before"),
        ({"autonaming": False}, None),
        ({"autonaming": False, "old_inputs": Properties({"name": "before"})}, "before"),
    ],
)
def test_a_name_is_made_as_the_stack_says(provider: AwsProvider, given: dict[str, Any], name: str | None) -> None:
    checked = asyncio.run(provider.check_resource(operation(**given)))
    assert checked.inputs.values.get("name") == name


@pytest.mark.parametrize(
    ("longest", "wanted", "seconds"),
    [(None, 0, 600), (None, 900, 900), (None, 5, 5), ("60", 900, 60), ("60", 5, 5), ("900", 0, 600)],
)
def test_how_long_is_waited(
    provider: AwsProvider, monkeypatch: pytest.MonkeyPatch, longest: str | None, wanted: float, seconds: float
) -> None:
    monkeypatch.delenv("LLM_PLATFORM_AWAIT_SECONDS", raising=False)
    if longest:
        monkeypatch.setenv("LLM_PLATFORM_AWAIT_SECONDS", longest)
    assert provider._deadline(operation(timeout=wanted)) - time.monotonic() == pytest.approx(seconds, abs=1)


def test_an_account_that_is_gone_is_said_in_a_sentence(provider: AwsProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(ProviderError, match="AWS cannot be reached"):
            asyncio.run(provider.diff_resource(operation(id="vpc-1")))
        provider._made.append(("urn", "vpc-1"))
        provider.dismissed()
