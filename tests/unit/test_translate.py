"""TGI's launches on vLLM: every argument has a verdict, every entry is one a stack file takes, and no secret is told."""

import json
import re
import string
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.__main__ import main
from planner.catalog.hardware import accelerator
from planner.model import load
from planner.options import device
from planner.profiles import tuned
from planner.request import RequestError
from planner.tgi.command import options
from planner.tgi.launcher import Elsewhere, Flag, SecretRef, flags, lacking, newest, oldest, release
from planner.tgi.parts import Adapter, Given, Kind, Translation, changes, verdicts
from planner.tgi.sources import Launch, from_command, from_env_file, from_manifest
from planner.tgi.translation import PROFILE, translate
from settings.models import ModelSettings
from settings.planning import _options as options_of_a_stack

COMMIT = "0123456789abcdef0123456789abcdef01234567"
KNOWN = Given(source="meta-llama/Meta-Llama-3-8B-Instruct", revision=COMMIT, node_pool="l4")

# What TGI 3.3.4 prints of its arguments when it starts (a public log of 2025-07-04), in its order.
_PRINTED = """
model_id revision validation_workers sharded num_shard quantize speculate dtype kv_cache_dtype trust_remote_code
max_concurrent_requests max_best_of max_stop_sequences max_top_n_tokens max_input_tokens max_input_length
max_total_tokens waiting_served_ratio max_batch_prefill_tokens max_batch_total_tokens max_waiting_tokens max_batch_size
cuda_graphs hostname port prometheus_port shard_uds_path master_addr master_port huggingface_hub_cache
weights_cache_override disable_custom_kernels cuda_memory_fraction rope_scaling rope_factor json_output otlp_endpoint
otlp_service_name cors_allow_origin api_key watermark_gamma watermark_delta ngrok ngrok_authtoken ngrok_edge
tokenizer_config_path disable_grammar_support env max_client_batch_size lora_adapters usage_stats payload_limit
enable_prefill_logprobs graceful_termination_timeout
"""

# The Deployment of the guide this platform realises.
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: tgi-llama3-8b, namespace: ml-serving}
spec:
  replicas: 1
  template:
    spec:
      tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
      containers:
      - name: tgi
        image: ghcr.io/huggingface/text-generation-inference:2.4.0
        args:
        - --model-id=/model-cache/Llama-3-8B-Instruct
        - --port=8080
        - --max-total-tokens=8192
        - --max-input-tokens=4096
        - --max-batch-prefill-tokens=16384
        - --num-shard=1
        resources: {limits: {nvidia.com/gpu: "1"}}
        readinessProbe: {httpGet: {path: /health, port: 8080}, initialDelaySeconds: 120, periodSeconds: 10}
        volumeMounts: [{name: model-cache, mountPath: /model-cache}, {name: shm, mountPath: /dev/shm}]
      volumes:
      - {name: model-cache, persistentVolumeClaim: {claimName: model-cache-pvc}}
      - {name: shm, emptyDir: {medium: Memory, sizeLimit: 8Gi}}
"""


def _of(text: str, environment: dict[str, Any] | None = None, known: Given = KNOWN) -> Translation:
    return translate(from_command(text.split(), environment), known)


def _about(made: Translation, kind: Kind) -> dict[str, str]:
    return {finding.about: finding.sentence for finding in made.of(kind)}


def _accepted(made: Translation) -> ModelSettings:
    assert not made.of(Kind.MISSING), made.of(Kind.MISSING)
    return ModelSettings.model_validate(dict(made.entry))


# The tables


def test_the_table_has_the_arguments_that_tgi_itself_prints_and_those_that_came_later() -> None:
    of_then = {name for name, flag in flags().items() if release(flag.since or oldest()) <= release("3.3.4")}
    assert of_then == {f"--{name.replace('_', '-')}" for name in _PRINTED.split()}
    assert set(flags()) - of_then == {"--max-image-fetch-size"}


def test_every_argument_has_exactly_one_verdict() -> None:
    told = [name for verdict in ("translated", "dropped", "refused") for name in verdicts()[verdict]]
    assert sorted(told) == sorted(flags())
    assert set(verdicts()["quantize"]["checkpoint"]) | set(verdicts()["quantize"]["refused"]) | {"fp8"} == set(
        flags()["--quantize"].values
    )


def test_what_the_table_says_an_argument_becomes_is_a_setting_of_a_model() -> None:
    keys = {field.alias for field in ModelSettings.model_fields.values()}
    for settings_of in verdicts()["translated"].values():
        for path in settings_of.split(" and "):
            assert path.partition(".")[0] in keys, path


_EXAMPLES = {
    "--model-id": "meta-llama/Llama-3.1-8B-Instruct",
    "--revision": COMMIT,
    "--sharded": "false",
    "--quantize": "fp8",
    "--dtype": "bfloat16",
    "--kv-cache-dtype": "fp8_e5m2",
    "--max-batch-prefill-tokens": "4096",
    "--cuda-graphs": "0",
    "--cuda-memory-fraction": "0.8",
    "--lora-adapters": "predibase/customer_support",
}


@pytest.mark.parametrize("flag", [name for name in verdicts()["translated"] if name != "--api-key"])
def test_an_argument_that_is_translated_changes_the_entry_or_is_told_why_not(flag: str) -> None:
    plain = _of("--max-total-tokens 8192", known=Given())
    made = _of(f"--max-total-tokens 8192 {flag} {_EXAMPLES.get(flag, '7')}", known=Given())
    assert made.entry != plain.entry or set(made.findings) - set(plain.findings)


def test_a_flag_of_a_later_release_is_lacking_in_an_earlier_one() -> None:
    assert lacking(["--port", "--graceful-termination-timeout"], "3.0.1") == ["--graceful-termination-timeout"]
    assert lacking(list(flags()), newest()) == []
    assert lacking(["--swap-space"], newest()) == ["--swap-space"]


# The example of the guide


def test_the_manifest_of_the_guide_becomes_an_entry_that_a_stack_takes() -> None:
    made = translate(from_manifest(MANIFEST), KNOWN)
    assert made.name == "llama3-8b"
    assert made.entry == {
        "source": "meta-llama/Meta-Llama-3-8B-Instruct",
        "revision": COMMIT,
        "nodePool": "l4",
        "parallelism": {"tensor": 1},
        "maxModelLen": 8192,
        "maxNumBatchedTokens": 16384,
    }
    assert set(_about(made, Kind.DROPPED)) == {"--port"}
    assert "8191 tokens long instead of 4096" in _about(made, Kind.CHANGED)["--max-input-tokens"]
    assert _accepted(made).parallelism.tensor == 1


def test_what_tgi_does_not_know_is_asked_for() -> None:
    made = translate(from_manifest(MANIFEST))
    assert set(_about(made, Kind.MISSING)) == {"source", "revision", "nodePool"}
    assert "/model-cache/Llama-3-8B-Instruct" in _about(made, Kind.MISSING)["source"]
    assert "source" not in made.entry


# Single arguments


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--num-shard 4", {"parallelism": {"tensor": 4}}),
        ("--sharded false", {"parallelism": {"tensor": 1}}),
        ("--max-batch-size 32", {"maxNumSeqs": 32}),
        ("--max-concurrent-requests 40", {"maxNumSeqs": 40, "limits": {"waiting": 1}}),
        ("--max-concurrent-requests 300", {"limits": {"waiting": 172}}),
        ("--max-concurrent-requests 300 --max-batch-size 100", {"maxNumSeqs": 100, "limits": {"waiting": 200}}),
        ("--cuda-memory-fraction 0.8", {"gpuMemoryUtilization": 0.8}),
        ("--cuda-memory-fraction 1.0", {}),
        ("--cuda-graphs 0", {"enforceEager": True}),
        ("--dtype bfloat16", {"dtype": "bfloat16"}),
        ("--kv-cache-dtype fp8_e4m3fn", {"kvCacheDtype": "fp8"}),
        ("--quantize fp8", {"quantization": "fp8"}),
        ("--quantize awq", {}),
        ("--speculate 4", {"speculative": {"method": "ngram", "tokens": 4}}),
        ("--speculate 0", {}),
        ("--max-client-batch-size 16", {"limits": {"prompts": 16}}),
        ("--graceful-termination-timeout 45", {"drain": {"shutdownTimeout": 45}}),
        ("--trust-remote-code=false --ngrok=false", {}),
    ],
)
def test_what_becomes_of_an_argument(words: str, expected: dict[str, Any]) -> None:
    made = _of(f"--max-total-tokens 8192 {words}")
    fixed = {"source": KNOWN.source, "revision": COMMIT, "nodePool": "l4", "maxModelLen": 8192}
    assert made.entry == fixed | expected
    _accepted(made)


@pytest.mark.parametrize(
    ("words", "about", "why"),
    [
        ("--trust-remote-code", "--trust-remote-code", "runs code"),
        ("--quantize eetq", "--quantize eetq", "use quantization fp8"),
        ("--quantize exl2", "--quantize exl2", "no EXL2"),
        ("--quantize bitsandbytes-nf4", "--quantize bitsandbytes-nf4", "AWQ or GPTQ"),
        ("--rope-scaling dynamic", "--rope-scaling", "config.json"),
        ("--watermark-gamma 0.5", "--watermark-gamma", "marks no text"),
        ("--ngrok", "--ngrok", "past the gateway"),
        ("--tokenizer-config-path /etc/template.json", "--tokenizer-config-path", "repository"),
    ],
)
def test_what_cannot_be_had_is_told_with_its_reason(words: str, about: str, why: str) -> None:
    made = _of(f"--max-total-tokens 8192 {words}")
    assert why in _about(made, Kind.REFUSED)[about]
    _accepted(made)


def test_the_context_that_nobody_asked_for_is_what_that_release_takes() -> None:
    old = Launch(arguments={}, variables={}, version="2.4.0")
    assert translate(old, KNOWN).entry["maxModelLen"] == 4096
    short = load({"architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "num_hidden_layers": 2, "num_attention_heads": 16,
                  "intermediate_size": 4096, "vocab_size": 32000, "max_position_embeddings": 2048})  # fmt: skip
    known = Given(model=short, longest=100_000)
    assert translate(old, known).entry["maxModelLen"] == 2048
    new = Launch(arguments={}, variables={}, version="3.3.7")
    assert "maxModelLen" in _about(translate(new, KNOWN), Kind.MISSING)
    assert translate(new, known).entry["maxModelLen"] == 2048
    assert translate(new, Given(model=short, longest=1024)).entry["maxModelLen"] == 1024


def test_a_checkpoint_that_is_quantized_is_not_quantized_again() -> None:
    config = {"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1,
              "intermediate_size": 64, "vocab_size": 64, "quantization_config": {"quant_method": "fp8"}}  # fmt: skip
    made = _of("--quantize fp8 --max-total-tokens 64", known=Given(model=load(config)))
    assert "quantization" not in made.entry
    assert "--quantize" in _about(made, Kind.DROPPED)


def test_adapters_are_named_so_that_clients_can_ask_for_them() -> None:
    text = f"--max-total-tokens 64 --lora-adapters predibase/dbpedia,org/tone@{COMMIT},local=/data/local"
    made = _of(text)
    missing = _about(made, Kind.MISSING)
    assert "revision and its rank" in missing["lora.adapters.dbpedia"]
    assert "its rank" in missing["lora.adapters.tone"]
    assert "revision" not in missing["lora.adapters.tone"]
    assert "directory" in missing["lora.adapters.local.source"]
    assert "instead of predibase/dbpedia" in _about(made, Kind.CHANGED)["lora.adapters.dbpedia"]
    facts = {"dbpedia": Adapter(revision=COMMIT, rank=8), "tone": Adapter(revision=COMMIT, rank=100)}
    whole = _of(text.rpartition(",")[0], known=Given(source=KNOWN.source, revision=COMMIT, node_pool="l4", adapters=facts))
    lora = _accepted(whole).lora
    assert lora is not None
    assert lora.max_rank == 128
    assert {name: adapter.rank for name, adapter in lora.adapters.items()} == {"dbpedia": 8, "tone": 100}


# Where arguments come from


def test_the_command_line_goes_before_the_environment() -> None:
    launch = from_command(["--max-total-tokens", "100"], {"MAX_TOTAL_TOKENS": "200", "MAX_INPUT_LENGTH": "50"})
    assert (launch.count("--max-total-tokens"), launch.count("--max-input-length")) == (100, 50)


@pytest.mark.parametrize(
    "words",
    [
        ["--num-shard", "2", "-p", "80"],
        ["--num-shard=2", "-p80"],
        ["text-generation-launcher", "--num-shard", "2", "--port=80"],
        [
            "sudo",
            "docker",
            "run",
            "--gpus",
            "all",
            "-e",
            "NUM_SHARD=2",
            "--env=PORT=80",
            "ghcr.io/huggingface/text-generation-inference:3.0.1",
        ],
        ["docker", "run", "-p", "8080:80", "tgi:3.0.1", "--num-shard", "2", "--port", "80"],
    ],
)
def test_forms_of_a_command_line(words: list[str]) -> None:
    launch = from_command(words)
    assert (launch.count("--num-shard"), launch.count("--port")) == (2, 80)
    assert launch.version == (None if words[0].startswith(("-", "text")) else "3.0.1")


def test_variables_of_sagemaker_are_those_of_the_launcher() -> None:
    launch = from_command([], {"HF_MODEL_ID": "a/b", "SM_NUM_GPUS": "4", "NUM_SHARD": "2"})
    assert launch.text("--model-id") == "a/b"
    assert launch.count("--num-shard") == 2


def test_a_script_in_a_container_is_read_with_its_variables() -> None:
    manifest = yaml.safe_load(MANIFEST)
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container.pop("args")
    container["command"] = [
        "/bin/sh",
        "-c",
        "sleep 1 && text-generation-launcher --model-id $MODEL --max-total-tokens ${TOTAL} && echo done",
    ]
    container["env"] = [
        {"name": "MODEL", "value": "org/model"},
        {"name": "TOTAL", "valueFrom": {"configMapKeyRef": {"name": "tgi", "key": "total"}}},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hugging-face", "key": "token"}}},
        {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "tgi", "key": "key"}}},
    ]
    config_map = {"kind": "ConfigMap", "metadata": {"name": "tgi"}, "data": {"total": "2048"}}
    container["resources"] = {"limits": {"nvidia.com/gpu": 2}}
    manifest["spec"]["replicas"] = 3
    made = translate(from_manifest(yaml.safe_dump_all([config_map, manifest])), Given(revision=COMMIT, node_pool="l4"))
    entry = _accepted(made)
    assert (entry.source, entry.max_model_len, entry.replicas, entry.parallelism.tensor) == ("org/model", 2048, 3, 2)
    assert entry.token_secret
    assert (entry.token_secret.name, entry.token_secret.key) == ("hugging-face", "token")
    assert entry.api_key_secret
    assert (entry.api_key_secret.name, entry.api_key_secret.key) == ("tgi", "key")


def test_accelerators_that_stay_unused_are_told() -> None:
    manifest = MANIFEST.replace('nvidia.com/gpu: "1"', 'nvidia.com/gpu: "4"')
    assert "has 4 accelerators and TGI uses 1" in _about(translate(from_manifest(manifest)), Kind.CHANGED)["parallelism.tensor"]


def test_what_lies_where_nobody_can_read_it_is_asked_for() -> None:
    container: dict[str, object] = {
        "image": "ghcr.io/huggingface/text-generation-inference:2.4.0",
        "args": ["--max-total-tokens", "$(TOTAL)"],
    }
    container["envFrom"] = [{"configMapRef": {"name": "theirs"}}, {"secretRef": {"name": "keys"}}]
    pod = {"kind": "Pod", "metadata": {"name": "tgi"}, "spec": {"containers": [container]}}
    missing = _about(translate(from_manifest(json.dumps({"kind": "List", "items": [pod]}))), Kind.MISSING)
    assert {"--max-total-tokens", "ConfigMap theirs", "Secret keys"} <= set(missing)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--max-total-token", "1"], "--max-total-token is no argument of TGI's launcher; did you mean --max-total-tokens?"),
        (["--num-shard"], "--num-shard has no value"),
        (["--num-shard", "two"], "--num-shard: 'two' is not a whole number"),
        (["--quantize", "int4"], "--quantize: 'int4' is not known to TGI; it takes awq"),
        (["serve"], "a word is no argument"),
        (["docker", "run", "nginx"], "names no image of text-generation-inference"),
        (["docker", "run", "--env-file", "x", "tgi:1.0.0"], "give it to this command"),
    ],
)
def test_what_tgi_would_not_start_with_is_refused_in_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(RequestError) as error:
        from_command(words)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "is not YAML (line 1)"),
        ("kind: Service", "has no containers"),
        (f"{MANIFEST}\n---{MANIFEST}", "has 2 containers"),
    ],
)
def test_a_manifest_without_one_server_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(RequestError) as error:
        from_manifest(text)
    assert sentence in str(error.value)


def test_a_file_with_variables() -> None:
    text = "# TGI\nexport MODEL_ID='a/b'\n\nNUM_SHARD=2\nPREFIX_CACHING=0\nFOO=bar\n"
    made = translate(from_command([], from_env_file(text)), KNOWN)
    assert made.entry["parallelism"] == {"tensor": 2}
    assert made.entry["prefixCaching"] is False
    assert set(_about(made, Kind.DROPPED)) == {"FOO"}
    with pytest.raises(RequestError, match="line 2"):
        from_env_file("A=1\nnonsense\n")


# Whatever is given

_TEXT = st.text(string.ascii_letters + string.digits + "/._-@=,", min_size=1, max_size=20).filter(
    lambda text: not text.startswith("-")
)
_SECRET = "hf_correcthorsebatterystaple"


def _values(flag: Flag) -> st.SearchStrategy[str]:
    if flag.secret:
        return st.just(_SECRET)
    if flag.values:
        return st.sampled_from(flag.values)
    if flag.kind in ("switch", "bool"):
        return st.sampled_from(["true", "false"])
    if flag.kind == "count":
        return st.integers(1, 5000).map(str)
    if flag.kind == "number":
        return st.floats(0.01, 4).map(lambda number: f"{number:.3f}")
    return _TEXT


_ARGUMENTS = st.fixed_dictionaries({}, optional={name: _values(flag) for name, flag in flags().items()})


@settings(deadline=None)
@given(_ARGUMENTS, st.booleans())
def test_nothing_that_is_given_gets_lost_and_no_secret_is_told(arguments: dict[str, str], as_variables: bool) -> None:
    if as_variables:
        environment = {flags()[name].variable: value for name, value in arguments.items() if name != "--env"}
        launch = from_command([], {**environment, "HF_TOKEN": _SECRET})
    else:
        launch = from_command([f"{name}={value}" for name, value in arguments.items()], {"HF_TOKEN": _SECRET})
    made = translate(launch, Given(source="a/b", revision=COMMIT, node_pool="l4", max_model_len=4096))
    assert _SECRET not in repr(made)
    assert _SECRET not in repr(launch)
    told = {finding.about.partition(" ")[0] for finding in made.findings}
    for name, value in arguments.items():
        verdict = next(key for key in ("translated", "dropped", "refused") if name in verdicts()[key])
        if verdict == "dropped" or (verdict == "refused" and value != "false"):
            assert name in told or (as_variables and name == "--env")
    if not made.of(Kind.MISSING) or {found.about for found in made.of(Kind.MISSING)} <= {
        "apiKeySecret",
        "tokenSecret",
        "parallelism.tensor",
    }:
        ModelSettings.model_validate(dict(made.entry))


def test_secrets_in_secrets_keep_their_place_and_others_are_asked_for() -> None:
    kept = translate(Launch(arguments={"--api-key": SecretRef("keys", "tgi")}, variables={}), KNOWN)
    assert kept.entry["apiKeySecret"] == {"name": "keys", "key": "tgi"}
    asked = translate(
        Launch(arguments={"--api-key": Elsewhere("Secret x")}, variables={"HF_TOKEN": SecretRef("a.b", "k")}), KNOWN
    )
    assert set(_about(asked, Kind.MISSING)) == {"apiKeySecret", "tokenSecret", "maxModelLen"}


# The memory plan


@pytest.mark.parametrize(
    "words",
    [
        "--max-total-tokens 8192",
        "--max-total-tokens 8192 --max-batch-prefill-tokens 16384 --max-batch-size 64 --dtype bfloat16 --cuda-graphs 0",
        "--max-total-tokens 4096 --kv-cache-dtype fp8_e4m3fn --speculate 3 --cuda-memory-fraction 0.8",
    ],
)
def test_the_memory_of_an_entry_is_planned_as_a_stack_would(words: str) -> None:
    made = _of(words, {"PREFIX_CACHING": "false"})
    assert options(made.entry) == tuned(options_of_a_stack(_accepted(made), Path()), PROFILE)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["planner", "translate", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def test_the_command_prints_an_entry_that_can_be_put_into_a_stack_file(run: Run, tmp_path: Path) -> None:
    manifest = tmp_path / "tgi.yaml"
    manifest.write_text(MANIFEST)
    known = ["--source", str(KNOWN.source), "--revision", COMMIT, "--node-pool", "l4"]
    code, out, err = run("--manifest", str(manifest), *known, "--gpu", "L4")
    assert (code, err) == (0, "")
    entry = yaml.safe_load(out.split("\n\n")[0])["llama3-8b"]
    assert ModelSettings.model_validate(entry).max_model_len == 8192
    assert "it fits on 1 x L4" in out
    for sentence in changes():
        assert sentence in out


def test_the_command_answers_in_json_and_says_what_does_not_fit(run: Run) -> None:
    launch = ["--model-id", "meta-llama/Meta-Llama-3-70B-Instruct", "--max-total-tokens=8192", "--num-shard=1"]
    code, out, _ = run("--gpu", "L4", "--json", "--", *launch)
    found = json.loads(out)
    assert code == 0
    assert found["memory"] is None
    assert "does not fit" in found["no_memory_plan"]
    assert [each["about"] for each in found["missing"]] == ["revision", "nodePool"]


def test_what_tgi_3_would_choose_is_chosen_for_the_accelerator(run: Run) -> None:
    _, out, _ = run("--gpu", "L4", "--json", "--", "--model-id", "meta-llama/Llama-3.1-8B-Instruct")
    found = json.loads(out)
    assert found["memory"]["max_model_len"] == found["entry"]["maxModelLen"] < 131072
    assert device(accelerator("L4")).memory_gib == pytest.approx(sum(found["memory"]["memory_gib"].values()), abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "nothing to translate"),
        (["--manifest", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["--manifest", "x", "--env", "y"], "give it alone"),
        (["--source", "llama", "--", "--num-shard", "1"], "--source llama: is no repository"),
        (["--adapter", "a=1:2", "--", "--num-shard", "1"], "--adapter a: give its name"),
        (["--gpu", "L5", "--", "--num-shard", "1"], "L5"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(run: Run, arguments: list[str], sentence: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_the_page_shows_what_the_command_prints(run: Run, root: Path, tmp_path: Path) -> None:
    page = (root / "docs/migrating-from-tgi.md").read_text()
    manifest = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0]
    (tmp_path / "tgi.yaml").write_text(manifest)
    command, shown = re.findall(r"```\n\$ python -m planner translate (.*?[^\\])\n(.*?)```", page, re.DOTALL)[0]
    words = command.replace("\\\n", " ").replace("tgi.yaml", str(tmp_path / "tgi.yaml")).split()
    code, out, _ = run(*words)
    assert code == 0
    lines = out.splitlines()
    assert [line for line in shown.splitlines() if line.strip() != "…" and line not in lines] == []
    told = sum(len(verdicts()[verdict]) for verdict in ("translated", "dropped", "refused"))
    assert f"has all {told}, each with its reason" in page
