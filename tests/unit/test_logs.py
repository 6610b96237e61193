"""Logs: what the collector is told, what never leaves a node, where it all goes."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from components.inputs import InputError
from components.logging import LogCollector, LogStore, log_group
from components.logging.collector import fluent_bit_values
from components.logging.pipeline import CONFIG_FILE, SCRIPT_FILE, config, files, to_cloud_watch, to_loki
from components.logging.store import loki_values
from components.pods import PROMPTS_LOGGED
from components.versions import FLUENT_BIT_CHART, LOKI_CHART
from sandbox.providers.kubernetes.helm.charts import CHARTS_ENV, find
from sandbox.providers.kubernetes.helm.values import problems
from tests.contracts.examples import KEY_ARN
from tests.lua.interpreter import Lua
from tests.recorder import Recording, record

Record = dict[str, Any]
Line = tuple[str, Record]

OUTPUTS = {"loki": to_loki("loki.monitoring.svc"), "cloudWatch": to_cloud_watch("us-east-1", "/llm-platform/llm/pods")}
SCRIPT = Path(config.__code__.co_filename).parent / SCRIPT_FILE
KNOWN = yaml.safe_load((Path(__file__).parent / "fluent_bit_options.yaml").read_text())


@pytest.mark.parametrize("store", OUTPUTS)
def test_the_collector_is_told(store: str, snapshot: SnapshotAssertion) -> None:
    assert files(OUTPUTS[store], ["kube-system"], 1024)[CONFIG_FILE] == snapshot


@pytest.mark.parametrize("store", OUTPUTS)
def test_fluent_bit_knows_every_option(store: str) -> None:
    """It does not start with one that it does not know."""
    told = config(OUTPUTS[store], ["kube-system"], 1024)
    assert told.keys() == {"service", "pipeline"}
    assert set(told["service"]) <= set(KNOWN["service"])
    pipeline = told["pipeline"]
    assert pipeline.keys() == {"inputs", "filters", "outputs"}
    for kind, of_all in (("inputs", KNOWN["input"]), ("filters", []), ("outputs", KNOWN["output"])):
        for section in pipeline[kind]:
            assert set(section) <= {*KNOWN["any"], *of_all, *KNOWN[section["name"]]}, section["name"]
            assert ("match" in section) == (kind != "inputs")


def test_what_is_left_out_is_not_even_read() -> None:
    (tail,) = config(OUTPUTS["loki"], ["search", "kube-system"], 64)["pipeline"]["inputs"]
    assert tail["exclude_path"].split(",") == [
        f"/var/log/containers/{pattern}.log" for pattern in ("*_kube-system_*", "*_search_*", "*_*_fluent-bit-*")
    ]


def test_a_full_disk_of_a_node_is_not_the_collectors_doing() -> None:
    told = config(OUTPUTS["loki"], [], 256)
    (output,) = told["pipeline"]["outputs"]
    assert (output["storage.total_limit_size"], output["retry_limit"]) == ("256M", "no_limits")
    (tail,) = told["pipeline"]["inputs"]
    mounts = {each["name"]: each for each in fluent_bit_values("settings")["daemonSetVolumeMounts"]}
    assert tail["storage.type"] == "filesystem"
    for path in (told["service"]["storage.path"], tail["db"]):
        assert path.startswith(f"{mounts['state']['mountPath']}/")
    assert mounts["logs"]["readOnly"]


@pytest.mark.skipif(not os.environ.get(CHARTS_ENV), reason=f"{CHARTS_ENV} names no folder with the charts")
@pytest.mark.parametrize(
    ("name", "version", "values"),
    [
        ("loki", LOKI_CHART, loki_values(14, 50, "gp3", system_labels={"role": "system"})),
        ("fluent-bit", FLUENT_BIT_CHART, fluent_bit_values("settings")),
    ],
)
def test_the_charts_take_the_values(name: str, version: str, values: dict[str, Any]) -> None:
    chart = find(name, version)
    assert chart is not None
    assert problems(values, chart) == []


def test_loki_keeps_logs_as_long_as_asked_and_tells_nobody() -> None:
    values = loki_values(30, 100, system_labels={})
    own = values["loki"]
    assert own["limits_config"]["retention_period"] == "720h"
    # Without both the compactor never deletes (grafana.com/docs/loki, "Log retention").
    assert (own["compactor"]["retention_enabled"], own["compactor"]["delete_request_store"]) == (True, "filesystem")
    assert own["analytics"]["reporting_enabled"] is False
    assert values["singleBinary"]["persistence"]["size"] == "100Gi"
    assert not any(values[part]["enabled"] for part in ("chunksCache", "resultsCache", "gateway", "lokiCanary", "ruler", "test"))


# What never leaves a node.

ENGINE = {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/part-of": "llm-platform"}
ASKED = "My salary is 4711 euros"
ACCESS = 'INFO:     10.0.0.7:41000 - "POST /v1/chat/completions HTTP/1.1" 200 OK'
STARTED = "(APIServer pid=1) INFO 11-21 22:00:00 [api_server.py:1] Starting vLLM server"
CONTENT = [
    f"Request chatcmpl-1 JSON body: {{'messages': [{{'content': '{ASKED}'}}]}}",
    f"Request chatcmpl-1 details: prompt: '{ASKED}', prompt_token_ids: [1, 2], prompt_embeds shape: None.",
    f"Received request cmpl-1: prompt: '{ASKED}', params: SamplingParams(n=1)",
    f"Received request chatcmpl-1: params: SamplingParams(stop=['{ASKED}']), lora_request: None.",
    f"Generated response chatcmpl-1: output: '{ASKED}', finish_reason: stop",
    f"response_body={{streaming_complete: content='{ASKED}', chunks=3}}",
    f"Received messages request {{'content': '{ASKED}'}}",
    f"Regex timeout occurred when matching user input: {ASKED}",
]
"""As vLLM 0.33.0 writes it (vllm/entrypoints/serve/utils/request_logger.py and others), and 0.10 and older."""


def _pod(labels: Mapping[str, str], **more: Any) -> Record:
    return {
        "pod_id": "0a1b",
        "pod_name": "p",
        "namespace_name": "models",
        "container_name": "engine",
        "labels": dict(labels),
    } | more


def _text(line: str, pod: Record) -> Record:
    return {"stream": "stdout", "log": line, "kubernetes": pod}


def _json(message: str, pod: Record, name: str = "vllm.entrypoints.serve.utils.request_logger", level: str = "INFO") -> Record:
    return {"stream": "stdout", "fields": {"levelname": level, "name": name, "message": message}, "kubernetes": pod}


def _written(content: str) -> list[Record]:
    """One line of an engine, as the collector may get it."""
    prefix = "(APIServer pid=1) INFO 11-21 22:00:00 [request_logger.py:66] "
    pod, unknown = _pod(ENGINE), {"pod_name": "p", "namespace_name": "models"}
    ray = _pod({"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/part-of": "llm-platform"})
    return [
        *(
            make(content, place)
            for make in (_json, lambda text, place: _text(prefix + text, place))
            for place in (pod, unknown, ray)
        ),
        # JSON that was cut, so that nobody could parse it.
        _text(f'{{"levelname": "INFO", "message": "{content}', pod),
        # A tenant cannot have the platform's label, so the other one says nothing.
        _json(content, _pod({"app.kubernetes.io/name": "vllm", PROMPTS_LOGGED: "true"})),
    ]


@pytest.fixture(scope="session")
def lua(tmp_path_factory: pytest.TempPathFactory) -> Lua:
    return Lua.built(tmp_path_factory.mktemp("lua"))


def _passed(lua: Lua, lines: list[Line]) -> list[bool]:
    return lua.passed(SCRIPT, "without_content", lines)


@pytest.mark.parametrize("content", CONTENT)
def test_no_line_that_tells_what_people_ask_leaves_a_node(lua: Lua, content: str) -> None:
    found = _passed(lua, [(f"kube.{number}", line) for number, line in enumerate(_written(content))])
    assert found == [False] * len(found)


def test_the_rest_of_a_line_that_came_in_parts_does_not_leave_either(lua: Lua) -> None:
    pod = _pod(ENGINE)
    start = _text(f'{{"levelname": "INFO", "message": "Request x JSON body: {ASKED}', pod)
    rest = _text(f'{ASKED} and so on"}}', pod)
    after = _json("Engine 000: Avg prompt throughput: 1.0 tokens/s", pod, name="vllm.v1.metrics.loggers")
    found = _passed(
        lua, [("a", start), ("b", _text(STARTED, pod)), ("a", rest), ("a", rest), ("a", after), ("a", _text(ACCESS, pod))]
    )
    assert found == [False, True, False, False, True, True]


def test_no_debug_line_of_an_engine_leaves_a_node(lua: Lua) -> None:
    pod = _pod(ENGINE)
    lines = [
        _json(ASKED, pod, name="httpx", level="DEBUG"),
        _text(f"(APIServer pid=1) DEBUG 11-21 22:00:00 [x.py:1] {ASKED}", pod),
    ]
    assert _passed(lua, [("a", line) for line in lines]) == [False, False]


def test_everything_else_leaves(lua: Lua) -> None:
    pod, other = _pod(ENGINE), _pod({"app.kubernetes.io/name": "shop"})
    lines = [
        _text(STARTED, pod),
        _text(ACCESS, pod),
        _json("Engine 000: Avg prompt throughput: 1.0 tokens/s", pod, name="vllm.v1.metrics.loggers"),
        _text("NCCL INFO Bootstrap: Using eth0", pod),
        _text("Received request from 10.0.0.7", other),
        _json("Received request 7", other, name="shop.orders"),
        _json("cache miss", other, name="shop.orders", level="DEBUG"),
        {"stream": "stdout", "fields": {"count": 7}, "kubernetes": pod},
    ]
    assert all(_passed(lua, [("a", line) for line in lines]))


def test_a_model_that_says_so_has_its_requests_in_the_logs(lua: Lua) -> None:
    flagged = _pod(ENGINE | {PROMPTS_LOGGED: "true"})
    assert all(_passed(lua, [("a", _json(content, flagged)) for content in CONTENT]))


@pytest.mark.parametrize("store", OUTPUTS)
def test_no_line_says_itself_where_it_comes_from(store: str) -> None:
    """What a container writes stays below one key or is text; where it comes from is read from what the API server told."""
    pipeline = config(OUTPUTS[store], [], 64)["pipeline"]
    (metadata, _) = pipeline["filters"]
    assert (metadata["merge_log"], metadata["merge_log_key"], metadata["keep_log"]) == (True, "fields", False)
    (output,) = pipeline["outputs"]
    said = " ".join(output.get(key, "") for key in ("labels", "structured_metadata", "log_stream_template"))
    assert set(re.findall(r"\$(\w+)", said)) <= {"kubernetes", "stream"}
    assert "$kubernetes['namespace_name']" in said


# Where it goes.


def _collector(**changes: Any) -> Recording:
    args: Any = {
        "namespace_name": "node-agents",
        "cloud_watch": {"cluster_name": "llm", "kms_key_arn": KEY_ARN, "retention_days": 30},
    }

    def program() -> None:
        LogCollector("logs", args | changes)

    return record(program)


def test_the_log_group_is_encrypted_and_only_written_to() -> None:
    recording = _collector()
    group = recording.one("aws:cloudwatch/logGroup:LogGroup").inputs
    assert (group["name"], group["retentionInDays"], group["kmsKeyId"]) == (log_group("llm"), 30, KEY_ARN)
    (statement,) = json.loads(recording.one("aws:iam/rolePolicy:RolePolicy").inputs["policy"])["Statement"]
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    arn = recording.one("aws:cloudwatch/logGroup:LogGroup").outputs["arn"]
    assert statement["Resource"] == [arn, f"{arn}:*"]
    association = recording.one("aws:eks/podIdentityAssociation:PodIdentityAssociation")
    assert (association.inputs["namespace"], association.inputs["serviceAccount"]) == ("node-agents", "fluent-bit")
    release = recording.one("kubernetes:helm.sh/v3:Release")
    assert release.inputs["values"]["serviceAccount"] == {"name": "fluent-bit"}
    assert association.urn in release.dependencies
    told = yaml.safe_load(recording.one("kubernetes:core/v1:ConfigMap").inputs["data"][CONFIG_FILE])
    assert told["pipeline"]["outputs"][0]["log_group_name"] == "/llm-platform/llm/pods"


def test_new_settings_are_one_changed_object() -> None:
    loki = {"loki_host": "loki.monitoring.svc", "cloud_watch": None}
    before, after = _collector(**loki), _collector(**loki, excluded_namespaces=["search"], buffer_mib=64)
    changed = [old.name for old, new in zip(before.resources, after.resources, strict=True) if old.inputs != new.inputs]
    assert changed == ["logs-settings"]
    assert not before.of("aws:cloudwatch/logGroup:LogGroup")
    settings = before.one("kubernetes:core/v1:ConfigMap")
    assert settings.inputs["metadata"]["name"] == "log-collector"
    assert settings.urn in before.one("kubernetes:helm.sh/v3:Release").dependencies


def test_logs_go_to_one_store() -> None:
    for changes in ({"loki_host": "loki.monitoring.svc"}, {"cloud_watch": None}):
        with pytest.raises(InputError, match="give either loki_host or cloud_watch"):
            _collector(**changes)
    with pytest.raises(InputError, match=r"certain numbers of days, and 31 is none of them; use e\.g\. 60"):
        _collector(cloud_watch={"cluster_name": "llm", "kms_key_arn": KEY_ARN, "retention_days": 31})


def test_the_store_is_known_where_it_will_be() -> None:
    def program() -> None:
        LogStore("logs", {"namespace_name": "monitoring"})

    recording = record(program)
    (outputs,) = [outputs for urn, outputs in recording.outputs if urn.endswith("LogStore::logs")]
    assert outputs["url"] == "http://loki.monitoring.svc:3100"
