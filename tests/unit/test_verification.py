"""A server that is wrong in any one way is found, and told apart from every other way."""

import contextlib
import copy
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.serving import ModelServer
from components.serving.verification import Expectation, ModelVerification, check, expected_metrics
from components.serving.verification import __main__ as command
from components.serving.verification.check import Finding, Patience
from components.serving.verification.jobs import faults_of_jobs
from components.serving.verification.objects import faults_of_pods
from components.types import SecretKeyArgs
from sandbox.errors import SandboxError
from sandbox.stand_in import CommandLine, Misbehaviour, serving
from tests.contracts.examples import POOL
from tests.recorder import Recording, Registration, record

KEY = "sk-of-this-test"
IMPATIENT = Patience(request=0.3, answer=0.3, deadline=1, pause=0.1)
COMMON = ["--port", "0", "--gpu-memory-utilization", "0.92", "--shutdown-timeout", "60"]
GENERATE = ["/models/qwen", "--served-model-name", "qwen", "assistant", *COMMON, "--enable-lora"]
GENERATE += ["--lora-modules", "german=/models/german", "polite=/models/polite"]
EMBED = ["/models/bge", "--served-model-name", "bge", *COMMON, "--runner", "pooling"]
RESOURCES = {
    "requests": {"cpu": "4", "memory": "10240Mi", "nvidia.com/gpu": "1"},
    "limits": {"memory": "10240Mi", "nvidia.com/gpu": "1"},
}


def expectation(args: Sequence[str] = GENERATE, **changes: Any) -> Expectation:
    """What was planned with such a command line."""
    line = CommandLine.read(args, "0.33.0")
    planned = {
        "namespace": "models",
        "service": "qwen",
        "replicas_service": "qwen-replicas",
        "port": 8000,
        "selector": {"app.kubernetes.io/instance": "qwen", "app.kubernetes.io/name": "vllm"},
        "served_names": line.names,
        "adapters": line.adapters,
        "task": "embed" if line.pooling else "generate",
        "needs_key": not line.pooling,
        "engine_version": "0.33.0",
        "metrics": expected_metrics("0.33.0", lora=line.lora, speculative=False),
        "replicas": 1,
        "most_replicas": changes.get("replicas", 1),
        "nodes_per_replica": 1,
        "container": "engine",
        "image": "docker.io/vllm/vllm-openai:v0.33.0",
        "command": (),
        "args": tuple(args),
        "resources": RESOURCES,
        "shared_memory_mib": 2048,
        "revision": "0123456789ab",
    }
    return Expectation.model_validate(planned | changes)


@contextlib.contextmanager
def replica(args: Sequence[str], key: str | None = None, wrong: Misbehaviour | None = None) -> Iterator[str]:
    line = CommandLine.read(args, "0.33.0", [key] if key else [])
    with serving(line, "127.0.0.1", wrong) as port:
        yield f"http://127.0.0.1:{port}"


def ask(expected: Expectation, bases: Sequence[str], key: str | None = None) -> list[Finding]:
    named = {f"replica {number}": base for number, base in enumerate(bases)}
    return check.check_model(expected.model_dump(), named, bases[0] if bases else None, key, IMPATIENT)


def faults(findings: list[Finding]) -> dict[str, list[str]]:
    """What is wrong by check."""
    found: dict[str, list[str]] = {}
    for finding in findings:
        if finding.faults:
            found.setdefault(finding.check, []).extend(finding.faults)
    return found


@pytest.mark.parametrize(("args", "key"), [(GENERATE, KEY), (EMBED, None)], ids=["generate", "embed"])
def test_a_server_as_planned_passes_every_check(args: list[str], key: str | None) -> None:
    with replica(args, key) as one, replica(args, key) as two:
        findings = ask(expectation(args, replicas=2), [one, two], key)
    assert faults(findings) == {}
    assert {finding.where for finding in findings} == {"all replicas", "replica 0", "replica 1", "the Service qwen"}
    assert [f.check for f in findings if f.where == "replica 1"] == [
        *("health", "version", "API key", "models", "answer", "adapters", "unknown model", "metrics")
    ]


WRONG = {
    Misbehaviour.NOT_HEALTHY: (
        "health",
        r"answers /health with 503, so its engine is dead; Kubernetes restarts it; see what .* `kubectl ",
    ),
    Misbehaviour.HANGS: (
        "API key",
        r"did not answer /v1/completions within 0.3 seconds; see .* `kubectl -n models logs -l .* -c engine`",
    ),
    Misbehaviour.DROPS: ("API key", r"did not answer /v1/completions \(.*closed connection without response\)"),
    Misbehaviour.OTHER_VERSION: ("version", r"runs vLLM 0\.1\.0, planned was 0\.33\.0; make engine\.version and engine\.image"),
    Misbehaviour.LISTS_NOTHING: ("models", r"serves nothing, planned was 'assistant', 'qwen'; --served-model-name must"),
    Misbehaviour.OTHER_NAME: ("models", r"serves 'another-model', planned was 'assistant', 'qwen'"),
    Misbehaviour.ADAPTER_MISSING: ("models", r"lacks the adapter 'german'; check --lora-modules"),
    Misbehaviour.ADAPTER_BREAKS: ("adapters", r"answers a request to 'german' with 500 \(CUDA error"),
    Misbehaviour.ANSWERS_WITHOUT_KEY: (
        "API key",
        r"answers a request without the API key with 200 instead of 401; start the engine",
    ),
    Misbehaviour.ANSWERS_WRONG_KEY: ("API key", r"answers a request with a wrong API key with 200 instead of 401"),
    Misbehaviour.REFUSES_KEY: ("API key", r"refuses the API key of the Secret; .* restart its pods"),
    Misbehaviour.FAILS: ("answer", r"answers a request to 'qwen' with 500 \(CUDA error: an illegal memory access"),
    Misbehaviour.GENERATES_NOTHING: ("answer", r"generates nothing for 'qwen'; compare the checkpoint's files"),
    Misbehaviour.NOT_JSON: ("answer", r"answers a request to 'qwen' with something that is not JSON; is there a proxy"),
    Misbehaviour.ANSWERS_AS_ANOTHER: ("answer", r"answers a request to 'qwen' as 'another-model'; clients would get another"),
    Misbehaviour.ANSWERS_ANY_NAME: ("unknown model", r"answers a request to a model that does not exist with 200 instead of 404"),
    Misbehaviour.NO_METRICS_PAGE: ("metrics", r"answers /metrics with 404; dashboards, alerts and scaling have nothing"),
    Misbehaviour.NO_METRICS: ("metrics", r"has none of vLLM's metrics; remove --disable-log-stats"),
    Misbehaviour.METRIC_MISSING: ("metrics", r"lacks the metrics vllm:[a-z_]+, which vLLM 0\.33\.0 has; is the image another"),
    Misbehaviour.METRICS_OF_ANOTHER: (
        "metrics",
        r"names 'another-model' in its metrics, planned was 'qwen'; it must stand first",
    ),
    Misbehaviour.COUNTS_NOTHING: ("metrics", r"has counted no token although it has answered"),
}
"""What a server that serves text with a key can do wrong: the check that finds it, and how its sentence begins."""


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_one_replica_that_is_wrong_is_found_and_named(wrong: Misbehaviour) -> None:
    finder, sentence = WRONG[wrong]
    with replica(GENERATE, KEY) as good, replica(GENERATE, KEY, wrong) as bad:
        found = faults(ask(expectation(replicas=2), [good, bad], KEY))
    assert any(_matches(rf"replica 1 {sentence}", fault) for fault in found[finder]), found
    assert all(fault.startswith("replica 1 ") for told in found.values() for fault in told), found


def _matches(pattern: str, text: str) -> bool:
    return re.match(pattern, text) is not None and "\n" not in text


def test_every_misbehaviour_of_the_stand_in_is_looked_for() -> None:
    assert set(Misbehaviour) == {*WRONG, Misbehaviour.ASKS_FOR_KEY, Misbehaviour.EMBEDS_NOTHING}


@pytest.mark.parametrize(
    ("wrong", "finder", "sentence"),
    [
        (Misbehaviour.ASKS_FOR_KEY, "API key", "asks for an API key although none was planned; remove VLLM_API_KEY"),
        (Misbehaviour.EMBEDS_NOTHING, "answer", r"gives no embedding for 'bge' but \[0\.0, 0\.0"),
    ],
)
def test_what_only_a_server_of_embeddings_without_a_key_does_wrong(wrong: Misbehaviour, finder: str, sentence: str) -> None:
    with replica(EMBED, None, wrong) as base:
        found = faults(ask(expectation(EMBED), [base]))
    assert [fault for fault in found[finder] if _matches(f"replica 0 {sentence}", fault)], found


def test_a_replica_that_does_not_listen_is_one_sentence() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = faults(ask(expectation(), [f"http://127.0.0.1:{unused.getsockname()[1]}"], KEY))
    assert len(found["health"]) == 1
    assert _matches(
        r"replica 0 did not answer /health \(.*refused\); see what the engine wrote with `kubectl", found["health"][0]
    )
    assert set(found) == {"health", "models"}  # of the Service, which leads there too


def test_a_missing_replica_and_a_service_that_leads_nowhere_are_found() -> None:
    with replica(GENERATE, KEY) as base:
        found = ask(expectation(replicas=2), [base], KEY)
    assert faults(found) == {
        "number": [
            "qwen-replicas leads to 1 ready replicas, planned were 2; see which ones are missing with "
            "`kubectl -n models get pods -l app.kubernetes.io/instance=qwen,app.kubernetes.io/name=vllm`"
        ]
    }
    nowhere = check.check_model(expectation(replicas=0).model_dump(), {}, None, KEY, IMPATIENT)
    assert faults(nowhere) == {"models": ["the Service qwen leads nowhere; see `kubectl -n models describe service qwen`"]}


def test_an_adapter_nobody_planned_is_found() -> None:
    with replica(GENERATE, KEY) as base:
        found = faults(ask(expectation(adapters=("german",)), [base], KEY))
    assert "replica 0 has the adapter 'polite' that nobody planned" in found["models"][0]


def test_a_server_that_becomes_right_in_time_passes() -> None:
    outcomes = [[Finding("a", "b", ("fault",))], [Finding("a", "b", ("fault",))], [Finding("a", "b")]]
    assert check.until_right(lambda: outcomes.pop(0), IMPATIENT) == [Finding("a", "b")]
    assert check.until_right(lambda: [Finding("a", "b", ("fault",))], IMPATIENT)[0].faults == ("fault",)


def test_the_script_runs_alone_and_ends_with_its_verdict(tmp_path: Path) -> None:
    """As the Job runs it: no package of this project in reach, names resolved by the resolver (localhost needs none)."""
    script, planned, key = tmp_path / "check.py", tmp_path / "expectation.json", tmp_path / "key"
    script.write_text(Path(check.__file__).read_text())
    key.write_text(f"{KEY}\n")
    line = CommandLine.read(GENERATE, "0.33.0", [KEY])
    with serving(line, "127.0.0.1") as port:
        expected = json.loads(expectation(port=port).to_json())
        # A name that the machine resolves without a cluster.
        program = (
            "import sys, runpy, socket; real = socket.getaddrinfo; "
            "socket.getaddrinfo = lambda host, *a, **k: real('127.0.0.1' if host.endswith('.models.svc') else host, *a, **k); "
            f"sys.argv = ['check.py', {str(planned)!r}, {str(key)!r}]; runpy.run_path({str(script)!r}, run_name='__main__')"
        )
        planned.write_text(json.dumps(expected))
        good = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path
        )
    assert (good.returncode, good.stderr) == (0, "")
    lines = good.stdout.splitlines()
    assert len(lines) == 10
    assert all(text.startswith("ok ") for text in lines)
    assert f"ok     replica 127.0.0.1:{port}: adapters" in lines


def pod(**changes: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """A ready pod as planned, as an API server writes it."""
    made: dict[str, Any] = {
        "metadata": {"name": "qwen-0", "labels": {}},
        "spec": {
            "containers": [
                {
                    "name": "engine",
                    "image": "docker.io/vllm/vllm-openai:v0.33.0",
                    "args": list(GENERATE),
                    # The API server writes quantities in its own form.
                    "resources": {
                        "requests": {"cpu": "4", "memory": "10Gi", "nvidia.com/gpu": "1"},
                        "limits": {"memory": "10Gi", "nvidia.com/gpu": "1"},
                    },
                    "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108
                }
            ],
            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    for change in changes.values():
        change(made)
    return copy.deepcopy(made)


def _engine(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["spec"]["containers"][0]
    return found


def test_pods_as_planned_have_no_fault_and_others_do_not_count() -> None:
    leaving = pod(change=lambda made: made["metadata"].update(deletionTimestamp="2026-11-21T00:00:00Z"))
    ended = pod(change=lambda made: made["status"].update(phase="Failed"))
    assert faults_of_pods(expectation(), [pod(), leaving, ended]) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda p: p["status"]["conditions"][0].update(status="False"), "pod qwen-0 is not ready; "),
        (lambda p: _engine(p).update(name="other"), "pod qwen-0 has no container 'engine' but other; "),
        (lambda p: _engine(p).update(image="vllm:nightly"), "pod qwen-0 runs the image vllm:nightly, planned was docker.io/"),
        (lambda p: _engine(p).update(command=["sh"]), "pod qwen-0 has 'sh' in its command, planned was nothing; "),
        (
            lambda p: _engine(p)["args"].__setitem__(7, "0.5"),
            "pod qwen-0 has '0.5' after --gpu-memory-utilization in its arguments, planned was '0.92'; ",
        ),
        (
            lambda p: _engine(p)["args"].pop(),
            "pod qwen-0 has nothing after --lora-modules in its arguments, planned was 'polite=/models/polite'; ",
        ),
        (
            lambda p: _engine(p)["args"].append("--enforce-eager"),
            "pod qwen-0 has '--enforce-eager' in its arguments, planned was nothing; ",
        ),
        (
            lambda p: _engine(p)["resources"]["limits"].pop("nvidia.com/gpu"),
            "pod qwen-0 limits no nvidia.com/gpu, planned was 1; ",
        ),
        (
            lambda p: _engine(p)["resources"]["requests"].update(memory="8Gi"),
            "pod qwen-0 requests 8Gi memory, planned was 10240Mi; ",
        ),
        (lambda p: _engine(p)["resources"]["limits"].update(cpu="4"), "pod qwen-0 limits 4 cpu, planned was none; "),
        (
            lambda p: p["spec"]["volumes"][0]["emptyDir"].pop("medium"),
            "pod qwen-0 has no memory volume at /dev/shm, planned were 2048 MiB",
        ),
        (
            lambda p: p["spec"]["volumes"][0]["emptyDir"].update(sizeLimit="1Gi"),
            "pod qwen-0 has 1Gi of /dev/shm, planned were 2048 MiB",
        ),
    ],
)
def test_a_pod_that_is_not_as_planned_is_one_sentence(change: Callable[[dict[str, Any]], None], sentence: str) -> None:
    (fault,) = faults_of_pods(expectation(), [pod(change=change)])
    assert fault.startswith(sentence)


def test_pods_are_counted_by_replica_and_node_and_only_leaders_have_the_planned_arguments() -> None:
    def placed(index: str) -> dict[str, Any]:
        made = pod(change=lambda p: p["metadata"]["labels"].update({"leaderworkerset.sigs.k8s.io/worker-index": index}))
        if index != "0":
            _engine(made)["args"] = ["--headless"]
        return made

    expected = expectation(replicas=2, nodes_per_replica=2)
    group = [placed("0"), placed("1")]
    assert faults_of_pods(expected, [*group, *group]) == []
    (fault,) = faults_of_pods(expected, [*group, placed("0")])
    assert fault.startswith("qwen has 3 pods, planned were 4; ")


def job(created: str, **conditions: str) -> dict[str, Any]:
    told = [{"type": kind, "status": "True", "reason": reason} for kind, reason in conditions.items()]
    return {"metadata": {"name": f"check-{created}", "creationTimestamp": created}, "status": {"conditions": told}}


def test_the_newest_job_decides() -> None:
    expected = expectation()
    passed, failed = (
        job("2026-11-21T02:00:00Z", Complete="CompletionsReached"),
        job("2026-11-21T01:00:00Z", Failed="PodFailurePolicy"),
    )
    assert faults_of_jobs("qwen", expected, [passed, failed]) == []
    (fault,) = faults_of_jobs("qwen", expected, [failed])
    assert "did not pass its check (PodFailurePolicy); every fault is a line of `kubectl -n models logs job/check-" in fault
    assert "has not ended" in faults_of_jobs("qwen", expected, [passed, job("2026-11-21T03:00:00Z")])[0]
    assert "no Job has checked qwen" in faults_of_jobs("qwen", expected, [])[0]


def test_the_command_for_real_clusters_reads_what_kubectl_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = {"pods": [pod()], "jobs": [job("2026-11-21T02:00:00Z", Complete="CompletionsReached")]}
    (tmp_path / "objects.json").write_text(json.dumps({kind: {"items": found} for kind, found in objects.items()}))
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        f"#!{sys.executable}\nimport json, sys\nkind = sys.argv[sys.argv.index('get') + 1]\n"
        f"assert sys.argv[1:5] == ['--context', 'prod', '-n', 'models'], sys.argv\n"
        f"print(json.dumps(json.load(open({str(tmp_path / 'objects.json')!r}))[kind]))\n"
    )
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps({"qwen": expectation().to_json()}))
    assert command.main([str(outputs), "--context", "prod"]) == 0
    outputs.write_text(json.dumps({"qwen": expectation(image="docker.io/vllm/vllm-openai:v0.34.0").to_json()}))
    assert command.main([str(outputs), "--context", "prod"]) == 1
    assert "planned was docker.io/vllm/vllm-openai:v0.34.0" in capsys.readouterr().err
    kubectl.unlink()
    assert command.main([str(outputs)]) == 1
    assert "kubectl is not on PATH" in capsys.readouterr().err
    outputs.write_text("[]")
    assert command.main([str(outputs)]) == 1
    assert "holds no models; write it with `pulumi stack output verification --json`" in capsys.readouterr().err
    outputs.write_text('{"qwen": "{}"}')
    assert command.main([str(outputs)]) == 1
    assert "this is no expectation of a model (namespace: " in capsys.readouterr().err


def test_an_expectation_survives_being_written() -> None:
    assert Expectation.from_json(expectation().to_json()) == expectation()


def test_metrics_are_those_of_the_version_as_the_wire_has_them() -> None:
    plain = expected_metrics("0.33.0", lora=False, speculative=False)
    assert {"vllm:kv_cache_usage_perc", "vllm:prompt_tokens_total", "vllm:time_to_first_token_seconds_count"} <= set(plain)
    assert "vllm:iteration_tokens_total_count" in plain  # a histogram despite its name
    assert {*expected_metrics("0.33.0", lora=True, speculative=True)} - {*plain} == {
        "vllm:lora_requests_info",
        *(
            f"vllm:spec_decode_num_{what}_total"
            for what in ("drafts", "draft_tokens", "accepted_tokens", "accepted_tokens_per_pos")
        ),
    }
    with pytest.raises(ValueError, match=r"the metrics of vLLM 0\.1\.0 are not recorded; use one of 0\.33\.0"):
        expected_metrics("0.1.0", lora=False, speculative=False)


def test_every_engine_with_recorded_flags_has_recorded_metrics(root: Path) -> None:
    engines = root / "components/serving/engines"
    versions = {file.stem.removesuffix("-metrics") for file in engines.glob("vllm-*-metrics.yaml")}
    assert versions == {file.stem for file in engines.glob("vllm-*[0-9].yaml")}
    for version in versions:
        groups = yaml.safe_load((engines / f"{version}-metrics.yaml").read_text())
        assert all(kind in ("gauge", "counter", "histogram") for group in groups.values() for kind in group.values())


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["/models/a", "--swap-space", "4"], r"vLLM 0\.33\.0 does not know --swap-space"),
        (["/models/a", "--lora-modules", "a=/b"], "--lora-modules needs --enable-lora"),
    ],
)
def test_a_stand_in_ends_where_the_engine_would(args: list[str], sentence: str) -> None:
    with pytest.raises(SandboxError, match=sentence):
        CommandLine.read(args, "0.33.0")


def test_a_stand_in_reads_a_command_line_as_the_engine_does() -> None:
    line = CommandLine.read(
        ["/models/a", "--served_model_name=b", "--port=9000", "--enable-lora", "--lora-modules", '{"name": "c", "path": "/c"}'],
        "0.33.0",
    )
    assert (line.names, line.port, line.adapters) == (("b",), 9000, ("c",))
    assert CommandLine.read(["--model", "/models/a", "--api-key", "k1", "k2"], "0.33.0").keys == ("k1", "k2")
    assert CommandLine.read(["/models/a"], "0.33.0").names == ("/models/a",)


def _recorded(replicas: int = 1, *, key: bool = True) -> Recording:
    """A server and its verification."""
    secret: SecretKeyArgs | None = {"name": "keys", "key": "first"} if key else None

    def program() -> None:
        server = ModelServer(
            "qwen",
            {
                "model_name": "qwen",
                "aliases": ["assistant"],
                "model_path": "/models/qwen",
                "weights_gib": 5.2,
                "namespace_name": "models",
                "claim_name": "cache",
                "pool": POOL,
                "max_model_len": 8192,
                "replicas": replicas,
                "lora": {"adapters": {"polite": {"path": "/models/p", "rank": 8}, "german": {"path": "/models/g", "rank": 8}}},
                "api_key_secret": secret,
            },
        )
        ModelVerification(
            "qwen",
            {
                "model_name": "qwen",
                "namespace_name": "models",
                "expectation": server.expectation,
                "pool": POOL,
                "api_key_secret": secret,
            },
        )

    return record(program)


def _files(recording: Recording) -> dict[str, Any]:
    (found,) = [each for each in recording.of("kubernetes:core/v1:ConfigMap") if "check.py" in each.inputs["data"]]
    return dict(found.inputs)


def test_the_expectation_is_made_from_the_inputs_of_the_server() -> None:
    recording = _recorded(replicas=2)
    expected = Expectation.from_json(_files(recording)["data"]["expectation.json"])
    spec = recording.one("kubernetes:apps/v1:Deployment").inputs["spec"]
    engine = spec["template"]["spec"]["containers"][0]
    assert (expected.served_names, expected.adapters) == (("qwen", "assistant"), ("german", "polite"))
    assert (expected.image, list(expected.args), list(expected.command)) == (engine["image"], engine["args"], engine["command"])
    assert (expected.replicas, expected.nodes_per_replica, expected.needs_key) == (2, 1, True)
    assert expected.selector == spec["selector"]["matchLabels"]
    services = {service.inputs["metadata"]["name"]: service for service in recording.of("kubernetes:core/v1:Service")}
    assert {expected.service, expected.replicas_service} == set(services)
    assert expected.revision != Expectation.from_json(_files(_recorded(key=False))["data"]["expectation.json"]).revision
    # The pods as the cluster has them then: nothing is wrong with them.
    live = {"metadata": {"name": "qwen-0"}, "spec": spec["template"]["spec"], "status": pod()["status"]}
    assert faults_of_pods(expected, [live, live]) == []


def test_the_job_runs_after_the_server_and_has_what_it_needs_and_no_more() -> None:
    recording = _recorded()
    job = recording.one("kubernetes:batch/v1:Job")
    assert _files(recording)["immutable"] is True
    after = _upstream(recording, job)
    assert recording.one("kubernetes:apps/v1:Deployment").urn in after
    assert {service.urn for service in recording.of("kubernetes:core/v1:Service")} <= after
    spec = job.inputs["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["command"] == [
        *("python3", "/verification/check.py", "/verification/expectation.json"),
        "/run/secrets/api-key/first",
    ]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False
    (beside,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    server = recording.one("kubernetes:apps/v1:Deployment").inputs["spec"]["selector"]["matchLabels"]
    assert beside == {"labelSelector": {"matchLabels": server}, "topologyKey": "kubernetes.io/hostname"}
    assert set(container["resources"]["limits"]) == {"memory", "ephemeral-storage"}
    assert job.inputs["metadata"].get("name") is None
    without = _recorded(key=False).one("kubernetes:batch/v1:Job").inputs["spec"]["template"]["spec"]
    assert [volume["name"] for volume in without["volumes"]] == ["files"]
    assert len(without["containers"][0]["command"]) == 3


def _upstream(recording: Recording, registration: Registration) -> set[str]:
    """Everything that must be there before a resource is."""
    by_urn = {each.urn: each for each in recording.resources}
    found: set[str] = set()
    left = list(registration.dependencies)
    while left:
        urn = left.pop()
        if urn not in found:
            found.add(urn)
            left += by_urn[urn].dependencies
    return found
