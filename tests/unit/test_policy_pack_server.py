"""The policy pack as the engine calls it: a process of its own, gRPC, the wire format of properties."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
import yaml
from google.protobuf import empty_pb2, json_format, struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime import proto, rpc
from pulumi.runtime.proto import analyzer_pb2_grpc

from policy_pack.rules import RULES
from policy_pack.server import NAME, VERSION
from tests.conftest import ROOT

POD = "kubernetes:core/v1:Pod"
URN = f"urn:pulumi:stack::team::{POD}::pod"


@pytest.fixture
def pack(tmp_path: Path) -> Iterator[Any]:
    """The pack, started as the language host and the analyzer start it: in a directory where another `components` lies."""
    (tmp_path / "components").mkdir()
    (tmp_path / "components" / "__init__.py").write_text("raise ImportError('the components of another team')")
    command = [sys.executable, str(ROOT / "policy_pack"), "127.0.0.1:1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = analyzer_pb2_grpc.AnalyzerStub(channel)
            stub.Handshake(proto.AnalyzerHandshakeRequest(engine_address="127.0.0.1:1"))
            yield stub
        process.terminate()


def _properties(**values: Any) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    json_format.ParseDict({"kind": "Pod", **values}, struct)
    return struct


def _said(answer: Any) -> list[tuple[str, str, int]]:
    return [(each.policyName, each.message.partition("\n")[2], each.enforcementLevel) for each in answer.diagnostics]


def _secret(value: Any) -> dict[str, Any]:
    return {rpc._special_sig_key: rpc._special_secret_sig, "value": value}


SIZES = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}
IMAGES = [rpc.UNKNOWN, "docker.io/library/tool:latest"]
MOVING = _properties(spec={"containers": [{"image": image, "resources": SIZES} for image in IMAGES]})
SENTENCE = (
    "docker.io/library/tool:latest moves: a pod that restarts may run another engine; "
    "name the release, e.g. docker.io/vllm/vllm-openai:v0.33.0"
)


def test_without_a_setting_each_rule_has_its_own_level(pack: Any) -> None:
    pack.ConfigureStack(proto.AnalyzerStackConfigureRequest(stack="prod", project="team", config={"team:size": "3"}))
    info = pack.GetAnalyzerInfo(empty_pb2.Empty())
    assert (info.name, info.version) == (NAME, VERSION)
    assert yaml.safe_load((ROOT / "policy_pack/PulumiPolicy.yaml").read_text())["version"] == VERSION
    assert {policy.name: proto.EnforcementLevel.Name(policy.enforcementLevel).lower() for policy in info.policies} == {
        rule.id: rule.level.value for rule in RULES
    }
    answer = pack.Analyze(proto.AnalyzeRequest(type=POD, urn=URN, name="pod", properties=MOVING))
    assert _said(answer) == [("image-pinned", SENTENCE, proto.MANDATORY)]
    assert answer.diagnostics[0].urn == URN


def test_the_stack_says_what_a_violation_does(pack: Any) -> None:
    said = '{"enforcement": "mandatory", "exceptions": {"image-pinned": "until March"}}'
    pack.ConfigureStack(proto.AnalyzerStackConfigureRequest(stack="prod", project="team", config={"llm-platform:policies": said}))
    levels = {policy.name: policy.enforcementLevel for policy in pack.GetAnalyzerInfo(empty_pb2.Empty()).policies}
    assert levels["image-pinned"] == proto.ADVISORY
    assert levels["image-digest"] == proto.MANDATORY
    answer = pack.Analyze(proto.AnalyzeRequest(type=POD, urn=URN, name="pod", properties=MOVING))
    assert _said(answer) == [("image-pinned", f"{SENTENCE} (excepted here: until March)", proto.ADVISORY)]


def test_a_pack_configuration_has_the_last_word(pack: Any) -> None:
    """What `--policy-pack-config` names: the engine hands over a level for every rule."""
    chosen = {"image-pinned": proto.PolicyConfig(enforcementLevel=proto.DISABLED)}
    pack.Configure(proto.ConfigureAnalyzerRequest(policyConfig=chosen))
    assert _said(pack.Analyze(proto.AnalyzeRequest(type=POD, urn=URN, name="pod", properties=MOVING))) == []


def test_a_wrong_section_ends_the_run(pack: Any) -> None:
    request = proto.AnalyzerStackConfigureRequest(
        stack="prod", config={"llm-platform:policies": '{"exceptions": {"image": "x"}}'}
    )
    with pytest.raises(grpc.RpcError) as error:
        pack.ConfigureStack(request)
    assert "the stack prod: llm-platform:policies: exceptions: 'image' is no rule" in error.value.details()


def test_a_whole_stack_with_secrets(pack: Any) -> None:
    containers = [{"image": "docker.io/library/tool:1.0", "env": [{"name": "MODE", "value": _secret("canary-4711")}]}]
    properties = _properties(metadata={"namespace": "models"}, spec={"containers": containers})
    answer = pack.Analyze(proto.AnalyzeRequest(type=POD, urn=URN, name="pod", properties=properties))
    assert "secret-exposed" in [rule for rule, _, _ in _said(answer)]
    resource = proto.AnalyzerResource(type=POD, urn=URN, name="pod", properties=properties)
    whole = pack.AnalyzeStack(proto.AnalyzeStackRequest(resources=[resource]))
    assert {"network-policy-pod", "token-mounted", "image-digest"} <= {rule for rule, _, _ in _said(whole)}
    assert "4711" not in f"{answer}{whole}"


def test_what_no_provider_can_answer_yet_is_judged_as_it_was_asked_for(pack: Any) -> None:
    """In the preview of a new cluster its objects have no properties at the end, and asked for they had."""
    pack.Analyze(proto.AnalyzeRequest(type=POD, urn=URN, name="pod", properties=MOVING))
    answer = pack.AnalyzeStack(proto.AnalyzeStackRequest(resources=[proto.AnalyzerResource(type=POD, urn=URN, name="pod")]))
    assert "image-digest" in [rule for rule, _, _ in _said(answer)]


def test_what_no_provider_would_take_ends_no_preview(pack: Any) -> None:
    properties = _properties(spec={"containers": 7})
    said = _said(pack.Analyze(proto.AnalyzeRequest(type=POD, urn=URN, name="pod", properties=properties)))
    assert (
        "image-pinned",
        "the rule could not be asked (TypeError); name the release, e.g. docker.io/vllm/vllm-openai:v0.33.0",
        0,
    ) in said
    assert {level for _, _, level in said} == {proto.ADVISORY}
