"""Servers with TGI: their command line, their pods, and what they refuse."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from components.base import labels, selector
from components.inputs import InputError
from components.serving.invariants import DRAIN, broken
from components.serving.lifecycle import disruption_budget
from components.serving.manifests import Around, deployment
from components.serving.tgi import TgiServer
from components.serving.tgi.arguments import OWNED, REFUSED, TUNING, check_flags, tgi_arguments
from components.serving.tgi.config import ServerConfig
from components.serving.tgi.image import REPOSITORY, TGI, check_text_alone
from components.serving.tgi.manifests import HOME, environment, server_annotations, tgi_pod
from components.types import NodePool, NodePoolArgs
from planner.drain import SPOT_NOTICE, check_drain
from planner.tgi.launcher import flags, from_words, newest, oldest, release
from planner.tgi.sources import from_command
from planner.tgi.translation import translate
from tests.contracts.examples import POOL
from tests.recorder import Recording, record

OWN_IMAGE = "registry.example.com/tgi:3.3.7-1"
WIDE: NodePoolArgs = {**POOL, "accelerator": {"per_node": 4}, "max_nodes": 2}


def _args(**changes: Any) -> Any:
    base = {
        "model_name": "llama3-8b",
        "model_path": "/models/meta-llama--Meta-Llama-3-8B-Instruct/0123",
        "weights_gib": 15.0,
        "namespace_name": "models",
        "claim_name": "cache",
        "pool": POOL,
        "max_total_tokens": 8192,
    }
    return base | changes


def _config(**changes: Any) -> ServerConfig:
    return ServerConfig.model_validate(_args(**changes))


def _server(**changes: Any) -> dict[str, Any]:
    """The Deployment of a server."""
    config = _config(**changes)
    common = labels("tgi", config.model_name, "model-server", config.engine_version)
    pod = tgi_pod(config, Around(config_map="environment", service_account="account"), tgi_arguments(config), common)
    metadata = {"name": "llama3-8b", "annotations": server_annotations(config)}
    return {"kind": "Deployment", "metadata": metadata, "spec": deployment(config, pod)}


def _engine(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = _server(**changes)["spec"]["template"]["spec"]["containers"][0]
    return found


def _recorded(**changes: Any) -> Recording:
    def program() -> None:
        TgiServer("llama", _args(**changes))

    return record(program)


def _refused(**changes: Any) -> str:
    with pytest.raises(InputError) as error:
        _recorded(**changes)
    return str(error.value)


# The command line

_FULL = {
    "max_input_tokens": 4096,
    "max_batch_prefill_tokens": 16384,
    "max_batch_total_tokens": 60000,
    "max_batch_size": 64,
    "max_concurrent_requests": 128,
    "shards": 2,
    "quantize": "awq",
    "kv_cache_dtype": "fp8_e4m3fn",
    "speculate": 3,
    "cuda_memory_fraction": 0.9,
    "json_logs": True,
    "pool": WIDE,
}


@pytest.mark.parametrize(("version", "image"), [(TGI, None), (oldest(), None), (newest(), OWN_IMAGE)])
def test_every_argument_is_one_of_the_release_and_the_launcher_would_take_it(version: str, image: str | None) -> None:
    words = [str(word) for word in tgi_arguments(_config(engine_version=version, image=image, **_FULL))]
    read = from_words(words, {})
    check_flags(list(read), version)
    assert (
        read.items()
        >= {
            "--model-id": "/models/meta-llama--Meta-Llama-3-8B-Instruct/0123",
            "--hostname": "0.0.0.0",  # noqa: S104 - the pod's own addresses
            "--port": "8000",
            "--num-shard": "2",
            "--max-total-tokens": "8192",
            "--max-input-tokens": "4096",
            "--max-batch-prefill-tokens": "16384",
            "--quantize": "awq",
            "--usage-stats": "off",
            "--json-output": "true",
        }.items()
    )
    assert ("--graceful-termination-timeout" in read) is (version == newest())


def test_what_the_component_decides_and_refuses_are_arguments_of_the_launcher() -> None:
    assert not (set(OWNED) | set(REFUSED)) - set(flags())
    assert not set(OWNED) & set(REFUSED)
    assert not TUNING & {variable for flag in flags().values() for variable in flag.variables}


def test_a_server_is_translated_back_to_what_it_was_made_of() -> None:
    words = [str(word) for word in tgi_arguments(_config(**_FULL))]
    entry = translate(from_command(words)).entry
    assert entry["parallelism"] == {"tensor": 2}
    assert entry["maxModelLen"] == 8192
    assert entry["maxNumBatchedTokens"] == 16384
    assert entry["maxNumSeqs"] == 64
    assert entry["gpuMemoryUtilization"] == 0.9


def test_the_image_that_starts_as_any_user_is_the_default() -> None:
    assert _engine()["image"] == f"{REPOSITORY}:{TGI}"
    assert _engine(engine_version=newest(), image=OWN_IMAGE)["image"] == OWN_IMAGE


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"engine_version": "3.3.7"}, "image: ghcr.io/huggingface/text-generation-inference:3.3.7 starts as root alone"),
        ({"engine_version": "3.3.7", "image": f"{REPOSITORY}:3.3.7"}, "name an image of your own that others may start"),
        ({"image": f"{REPOSITORY}:2.4.0"}, "is TGI 2.4.0, and the engine's version is 3.0.1"),
        ({"image": f"{REPOSITORY}:latest"}, f"moves: a pod that restarts may run another engine; use e.g. {REPOSITORY}:{TGI}"),
        ({"engine_version": "1.4.0"}, "the arguments of TGI 1.4.0 are unknown; use one of 2.4.0 to 3.3.7"),
        ({"pool": {**POOL, "accelerator": {"resource": "amd.com/gpu", "per_node": 1}}}, "not for amd.com/gpu; name one for it"),
        ({"shards": 2}, "parallelism.tensor: 2 accelerators must share a node"),
        ({"max_input_tokens": 8192}, "leave none for an answer; use 4096"),
        ({"max_batch_total_tokens": 4096}, "holds no request of 8192 tokens"),
        ({"quantize": "int4"}, "quantize: 'int4' is not known to TGI; it takes awq"),
        ({"quantize": "awq", "dtype": "float16"}, "either dtype or quantize"),
        ({"quantize": "exl2", "shards": 2, "pool": WIDE}, "does not divide exl2"),
        ({"drain": {"shutdown_timeout": 30}}, "TGI 3.0.1 always gives requests in flight 90 s"),
        ({"replicas": 2, "max_replicas": 4}, "leaves their number to an autoscaler"),
        ({"model_name": "vllm"}, "use e.g. qwen2-5-7b"),
        ({"priority_class_name": "system-node-critical"}, "is for what nodes and clusters cannot be without"),
        ({"extra_arguments": ["--trust-remote-code"]}, "--trust-remote-code is refused: code from the model's repository"),
        ({"extra_arguments": ["--ngrok"]}, "--ngrok is refused: a tunnel"),
        ({"extra_arguments": ["-p", "80"]}, "--port is decided by the Service of the model"),
        ({"extra_arguments": ["--api-key=x"]}, "--api-key is decided by api_key_secret"),
        (
            {"extra_arguments": ["--payload-limit", "9"]},
            "TGI 3.0.1 does not know --payload-limit (--payload-limit came with 3.1.0)",
        ),
        ({"extra_arguments": ["--otlp-endpoint", "$(SECRET)"]}, "a secret or leads to a variable"),
        ({"extra_arguments": ["--swap-space", "4"]}, "--swap-space is no argument of TGI's launcher"),
        ({"environment": {"MAX_TOTAL_TOKENS": "9"}}, "MAX_TOTAL_TOKENS stands for --max-total-tokens"),
        ({"environment": {"HF_TOKEN": "hf_correcthorsebattery"}}, "environment: HF_TOKEN is not among"),
        ({"environment": {"LOG_LEVEL": "debug"}}, "environment: LOG_LEVEL is not among"),
    ],
)
def test_what_cannot_run_is_refused_in_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    told = _refused(**changes)
    assert sentence in told
    assert told.startswith("TgiServer llama: ")
    assert "correcthorse" not in told


def test_what_only_tunes_may_be_added() -> None:
    config = _config(environment={"PREFIX_CACHING": "0", "NCCL_DEBUG": "WARN"}, extra_arguments=["--max-best-of", "1"])
    assert environment(config)["PREFIX_CACHING"] == "0"
    assert tgi_arguments(config)[-2:] == ["--max-best-of", "1"]


@pytest.mark.parametrize(("version", "refused"), [(TGI, True), ("3.3.6", True), ("3.3.7", False)])
def test_models_that_take_images_are_refused_on_releases_that_fetch_any(version: str, refused: bool) -> None:
    check_text_alone(frozenset(), version, "meta-llama/Llama-3.1-8B")
    if refused:
        with pytest.raises(ValueError, match="CVE-2026-0599"):
            check_text_alone(frozenset({"vision"}), version, "Qwen/Qwen2.5-VL-7B-Instruct")
    else:
        check_text_alone(frozenset({"vision"}), version, "Qwen/Qwen2.5-VL-7B-Instruct")


# Pods


def test_a_server(snapshot: SnapshotAssertion) -> None:
    server = _server(api_key_secret={"name": "tgi", "key": "api-key"}, cache_directories=["/models/x"], **_FULL)
    assert server == snapshot
    assert environment(_config()) == snapshot(name="environment")


def test_the_pod_meets_pod_security_restricted_and_writes_to_volumes_only() -> None:
    pod = _server()["spec"]["template"]["spec"]
    engine = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert engine["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    written = {mount["mountPath"] for mount in engine["volumeMounts"] if not mount.get("readOnly")}
    # The router saves the tokenizer below where it runs, the shards make a socket, the hub's client looks for its cache.
    for path in (engine["workingDir"], "/tmp", "/dev/shm", environment(_config())["HF_HOME"], environment(_config())["HOME"]):  # noqa: S108
        assert any(path == root or path.startswith(f"{root}/") for root in written), path
    assert {mount["name"] for mount in engine["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert engine["workingDir"] == HOME


def test_the_key_is_in_no_object_and_the_launcher_does_not_log_it() -> None:
    with_key = _config(api_key_secret={"name": "tgi", "key": "api-key"})
    engine = _engine(api_key_secret={"name": "tgi", "key": "api-key"})
    assert "--api-key" not in engine["args"]
    assert "API_KEY" not in environment(with_key)
    # At `info` it prints its arguments.
    assert environment(with_key)["LOG_LEVEL"] == "warn"
    assert environment(_config())["LOG_LEVEL"] == "info"
    script = engine["command"][2]
    assert script.startswith('API_KEY="$$(cat /run/secrets/api-key/api-key)"')
    assert script.endswith('exec text-generation-launcher "$$@"')


def test_it_stays_offline_and_reports_nothing() -> None:
    wanted = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    assert environment(_config()).items() >= wanted.items()
    words = tgi_arguments(_config())
    assert words[words.index("--usage-stats") + 1] == "off"


@pytest.mark.parametrize(
    ("version", "image", "given", "seconds"),
    [
        (TGI, None, {}, 90),
        ("3.1.1", OWN_IMAGE, {"shutdown_timeout": 90}, 90),
        ("3.3.7", OWN_IMAGE, {}, 60),
        ("3.3.7", OWN_IMAGE, {"shutdown_timeout": 30}, 30),
    ],
)
@pytest.mark.parametrize("spot", [False, True])
def test_a_stop_leaves_the_time_that_the_release_takes(
    version: str, image: str | None, given: dict[str, int], seconds: int, spot: bool
) -> None:
    pool = {**POOL, "interruptible": spot}
    server = _server(engine_version=version, image=image, drain=given, pool=pool)
    pod = server["spec"]["template"]["spec"]
    stop = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert server["metadata"]["annotations"][DRAIN] == str(seconds)
    assert check_drain(stop, seconds, 20, pod["terminationGracePeriodSeconds"], spot) is None
    assert not spot or pod["terminationGracePeriodSeconds"] <= SPOT_NOTICE
    words = pod["containers"][0]["args"]
    told = words[words.index("--graceful-termination-timeout") + 1] if release(version) >= (3, 2, 2) else "90"
    assert told == str(seconds)


@given(
    shards=st.sampled_from([1, 2, 4]),
    replicas=st.integers(1, 2),
    spare=st.integers(0, 4),
    weights=st.floats(0.5, 300),
    predicted=st.none() | st.floats(0, 300),
)
def test_its_objects_hold_together(shards: int, replicas: int, spare: int, weights: float, predicted: float | None) -> None:
    pool = NodePool.model_validate({**WIDE, "max_nodes": 4})
    server = _server(
        pool=pool.args(),
        shards=shards,
        replicas=replicas,
        spare_accelerators=spare,
        weights_gib=weights,
        predicted_start_seconds=predicted,
    )
    assert broken([server], [pool]) == []


def test_replicas_belong_to_an_autoscaler_where_there_is_one() -> None:
    assert "replicas" not in _server(max_replicas=3)["spec"]
    assert _server(replicas=2, pool={**POOL, "max_nodes": 2})["spec"]["replicas"] == 2
    assert disruption_budget({}, 1)["maxUnavailable"] == 1


# The component


def test_a_route_finds_it_as_it_finds_a_server_of_vllm() -> None:
    recording = _recorded()
    services = {each.inputs["metadata"]["name"]: each.inputs for each in recording.of("kubernetes:core/v1:Service")}
    assert set(services) == {"llama3-8b", "llama3-8b-replicas"}
    endpoint = services["llama3-8b"]["spec"]
    assert endpoint["ports"] == [{"name": "http", "port": 8000, "targetPort": 8000, "protocol": "TCP"}]
    [server] = recording.of("kubernetes:apps/v1:Deployment")
    template = server.inputs["spec"]["template"]["metadata"]["labels"]
    assert endpoint["selector"].items() <= template.items()
    assert endpoint["selector"]["app.kubernetes.io/part-of"] == "llm-platform"
    assert selector(template)["app.kubernetes.io/name"] == "tgi"
    [(_, outputs)] = recording.outputs
    assert outputs["url"] == "http://llama3-8b.models.svc:8000/v1"
    assert outputs["arguments"][:2] == ["--model-id", "/models/meta-llama--Meta-Llama-3-8B-Instruct/0123"]
    assert set(outputs) == {"url", "arguments", "serverName"}


def test_what_runs_checks_its_files_before_it_starts() -> None:
    recording = _recorded(cache_directories=["/models/x"])
    [server] = recording.of("kubernetes:apps/v1:Deployment")
    [check] = server.inputs["spec"]["template"]["spec"]["initContainers"]
    assert check["args"] == ["/models/x"]
    assert check["image"] == f"{REPOSITORY}:{TGI}"


def test_it_takes_the_account_that_reads_the_bucket() -> None:
    recording = _recorded(service_account_name="reader")
    [server] = recording.of("kubernetes:apps/v1:Deployment")
    assert server.inputs["spec"]["template"]["spec"]["serviceAccountName"] == "reader"
    assert recording.of("kubernetes:core/v1:ServiceAccount") == []
    assert len(_recorded().of("kubernetes:core/v1:ServiceAccount")) == 1
