"""What an engine writes of requests, into logs and traces: nothing unless asked, and then flagged. And where a stack says so."""

from typing import Any

import pulumi
import pytest
from pydantic import TypeAdapter, ValidationError

from components.inputs import InputError
from components.logging.retention import CLOUD_WATCH_DAYS
from components.pods import PROMPTS_LOGGED
from components.serving import ModelServer
from components.serving.extras import check_arguments, check_environment
from components.versions import VLLM
from policy_pack.resources import Resource, Stack
from policy_pack.rules import RULES
from settings.logs import LogsSettings, TracesSettings, check_store
from tests.contracts.examples import POOL
from tests.policy_support import violations
from tests.recorder import Recording, record


def _server(**changes: Any) -> Recording:
    args: Any = {
        "model_name": "qwen",
        "model_path": "/models/qwen",
        "weights_gib": 5.2,
        "namespace_name": "models",
        "claim_name": "cache",
        "pool": POOL,
        "max_model_len": 8192,
    }

    def program() -> None:
        ModelServer("qwen", args | changes)

    return record(program)


def _engine(recording: Recording) -> tuple[str, dict[str, str], dict[str, str]]:
    """Arguments, environment and labels of its pods."""
    template = recording.one("kubernetes:apps/v1:Deployment").inputs["spec"]["template"]
    (container,) = [each for each in template["spec"]["containers"] if each["name"] == "engine"]
    return (
        " ".join(container["args"]),
        recording.one("kubernetes:core/v1:ConfigMap").inputs["data"],
        template["metadata"]["labels"],
    )


def test_an_engine_writes_nothing_of_requests_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda text, **_: said.append(text))
    arguments, environment, labels = _engine(_server(json_logs=True))
    assert "--disable-access-log-for-endpoints /health,/metrics" in arguments
    assert '--logging-config {"formatter":"json"}' in arguments
    assert not any(word in arguments for word in ("--enable-log", "--otlp", "--max-log-len"))
    assert not {"VLLM_REQUEST_BODY_LOG_LEVEL", "OTEL_SERVICE_NAME"} & environment.keys()
    assert (PROMPTS_LOGGED in labels, said) == (False, [])


def test_asked_it_does_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda text, **_: said.append(text))
    arguments, environment, labels = _engine(_server(log_prompts=True))
    assert "--enable-log-requests --max-log-len 32768" in arguments
    assert "--enable-log-outputs" not in arguments
    assert environment["VLLM_REQUEST_BODY_LOG_LEVEL"] == "INFO"
    assert labels[PROMPTS_LOGGED] == "true"
    assert [text.partition(",")[0] for text in said] == ["qwen writes what people ask into its log"]
    arguments, _, _ = _engine(_server(log_prompts=True, log_answers=True))
    assert "--enable-log-outputs --disable-log-deltas" in arguments
    with pytest.raises(InputError, match="set logPrompts: true too"):
        _server(log_answers=True)


def test_the_selector_of_a_server_does_not_change_with_what_it_logs() -> None:
    plain, logging = (_server(log_prompts=on).one("kubernetes:apps/v1:Deployment").inputs["spec"] for on in (False, True))
    assert plain["selector"] == logging["selector"]


@pytest.mark.parametrize("flag", ["--enable-log-requests", "--enable-log-outputs", "--enable_log_req"])
def test_no_argument_logs_requests_past_the_flag(flag: str) -> None:
    with pytest.raises(ValueError, match="set logPrompts"):
        check_arguments([flag], VLLM)
    with pytest.raises(ValueError, match="set logPrompts for the model, which flags it"):
        check_environment({"VLLM_REQUEST_BODY_LOG_LEVEL": "INFO"}, VLLM)


def test_spans_go_to_the_collector_and_few_of_them() -> None:
    arguments, environment, _ = _engine(_server(traces={"endpoint": "http://collector.tracing.svc:4317", "sampled": 0.05}))
    assert "--otlp-traces-endpoint http://collector.tracing.svc:4317" in arguments
    assert {key: value for key, value in environment.items() if key.startswith("OTEL_")} == {
        "OTEL_SERVICE_NAME": "qwen",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.05",
    }
    with pytest.raises(ValueError, match=r"is set by this platform; use traces\.endpoint"):
        check_arguments(["--otlp-traces-endpoint", "http://collector.tracing.svc:4317"], VLLM)


# Settings.


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"endpoint": "http://traces.example.com:4317"}, "would leave the cluster in clear text"),
        ({"endpoint": "collector:4317"}, "has no scheme; use e.g."),
        ({"endpoint": "http://collector.tracing.svc"}, "has no port; use e.g."),
        ({"endpoint": "http://collector.tracing.svc:4317"}, "collector is missing;"),
        ({"endpoint": "http://collector.tracing.svc:4317", "collector": {"namespace": "a", "pods": {}}}, "use tracing"),
        (
            {"endpoint": "https://traces.example.com", "collector": {"namespace": "a", "pods": {}}},
            "is not in the cluster; remove it",
        ),
        *(
            ({"endpoint": endpoint}, "is not a URL of http or https with a host and a port up to 65535")
            for endpoint in ("https://", "https://:4317", "https://traces.example.com:99999", "http://collector.tracing.svc:0")
        ),
    ],
)
def test_spans_that_would_not_arrive_are_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TracesSettings.model_validate(given)
    assert sentence in str(caught.value)


def test_spans_reach_what_they_name() -> None:
    collector = {"namespace": "tracing", "pods": {"app": "otel"}}
    inside = TracesSettings.model_validate({"endpoint": "http://collector.tracing.svc:4317", "collector": collector})
    assert (inside.port, inside.args()) == (
        4317,
        {"endpoint": "http://collector.tracing.svc:4317", "protocol": "grpc", "sampled": 0.1},
    )
    assert TracesSettings.model_validate({"endpoint": "https://traces.example.com/v1/traces"}).port == 443


def test_a_store_fits_its_cluster() -> None:
    logs = TypeAdapter(LogsSettings).validate_python({"store": {"kind": "cloudWatch", "retentionDays": 30}})
    check_store(logs, on_eks=True)
    with pytest.raises(ValueError, match=r"^store\.kind: cloudWatch needs .*; use kind: loki$"):
        check_store(logs, on_eks=False)
    check_store(LogsSettings(), on_eks=False)
    with pytest.raises(ValidationError, match="31 is none of them"):
        LogsSettings.model_validate({"store": {"kind": "cloudWatch", "retentionDays": 31}})
    assert list(CLOUD_WATCH_DAYS) == sorted(set(CLOUD_WATCH_DAYS))


def test_the_policy_pack_lets_only_flagged_pods_log_requests() -> None:
    rules = [rule for rule in RULES if rule.id in ("engine-arguments", "engine-environment")]
    container = {
        "image": f"docker.io/vllm/vllm-openai:v{VLLM}",
        "args": ["/models/qwen", "--enable-log-requests"],
        "env": [{"name": "VLLM_REQUEST_BODY_LOG_LEVEL", "value": "INFO"}],
    }
    for labels, objections in (({}, 2), ({PROMPTS_LOGGED: "true"}, 0)):
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        properties = {"kind": "Deployment", "metadata": {"name": "qwen", "namespace": "models"}, "spec": {"template": template}}
        token = "kubernetes:apps/v1:Deployment"
        server = Resource(f"urn:pulumi:stack::project::{token}::qwen", token, "qwen", properties)
        assert sum(len(violations(rule, Stack([server]))) for rule in rules) == objections
