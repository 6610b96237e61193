"""What users may add to an engine: every spelling of what is refused is refused, everything else passes, no value is repeated."""

import json
import re
import string

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from components.secretive import looks_secret
from components.serving.extras import check_environment
from components.serving.screening import (
    Refusal,
    check_engine_version,
    engine_flags,
    engine_variables,
    screen_arguments,
    screen_environment,
)
from components.versions import VLLM
from tests.conftest import ROOT

SERVING = ROOT / "components/serving"
REFUSED = [Refusal.model_validate(each) for each in yaml.safe_load((SERVING / "refused.yaml").read_text())["refused"]]
VARIABLES = yaml.safe_load((SERVING / "variables.yaml").read_text())
OF_USERS = {"NCCL_NET_PLUGIN": "aws-ofi", "https_proxy": "http://proxy.example.com:3128", "AWS_EC2_METADATA_DISABLED": "true"} | {
    "OMP_NUM_THREADS": "8",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    "PYTHONOPTIMIZE": "0",
}
FLAGS = engine_flags(VLLM)
OUTRIGHT = {flag: each for each in REFUSED if not (each.some_pass or each.key) for flag in each.flags}
"""Flags that are refused with any value."""
SOMETIMES = {flag for each in REFUSED for flag in each.flags} - set(OUTRIGHT)
OWNED = {
    "--max-model-len": "maxModelLen",
    "--tensor-parallel-size": "parallelism.tensor",
    "--enable-prefix-caching": "prefixCaching",
    "--port": "a Service",
}
HARMLESS = sorted(
    spelling
    for spelling, flag in FLAGS.items()
    if not set(flag.spellings) & OWNED.keys()
    and (spelling in flag.negative or not set(flag.spellings) & (OUTRIGHT.keys() | SOMETIMES))
)

SECRETS = st.one_of(
    st.builds(
        "{}{}".format,
        st.sampled_from(["hf_", "sk-", "sk-proj-", "ghp_", "glpat-", "nvapi-"]),
        st.text(string.ascii_letters, min_size=16, max_size=40),
    ),
    st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=16, max_size=16).map("AKIA{}".format),
    st.lists(st.sampled_from(["a7", "Qx", "3K", "z9", "T2", "m4"]), min_size=10, max_size=20).map("".join),
)


def refused(extra: list[str], owned: dict[str, str] | None = None) -> str:
    """The one sentence that refuses these arguments."""
    with pytest.raises(ValueError, match=r"; \w") as caught:
        screen_arguments(extra, version=VLLM, owned=owned or {})
    return str(caught.value)


def refused_variable(name: str, value: str, owned: dict[str, str] | None = None) -> str:
    """The one sentence that refuses this variable."""
    with pytest.raises(ValueError, match=r"; \w") as caught:
        screen_environment({name: value}, owned or {})
    return str(caught.value)


@st.composite
def spellings(draw: st.DrawFn, flags: list[str]) -> tuple[str, list[str]]:
    """A flag, and words that vLLM's parser takes for it: aliases, beginnings, underscores, `=`, dots, among other words."""
    flag = draw(st.sampled_from(flags))
    spelling = draw(st.sampled_from([each for each in FLAGS[flag].spellings if each not in FLAGS[flag].negative]))
    if spelling.startswith("--"):
        shortest = next(
            (end for end in range(3, len(spelling)) if sum(each.startswith(spelling[:end]) for each in FLAGS) == 1), len(spelling)
        )
        written = spelling[: draw(st.integers(shortest, len(spelling)))]
        written = "--" + "".join(draw(st.sampled_from("-_")) if char == "-" else char for char in written[2:])
    else:
        written = spelling
    value = draw(st.sampled_from(["1", "x", "/x", "true"]))
    forms = [[written]] if FLAGS[flag].negative else [[written, value], [f"{written}={value}"], [f"{written}.key", value]]
    before, after = draw(st.sampled_from([[], ["--seed", "-1"], ["-O3"]])), draw(st.sampled_from([[], ["--max-logprobs=5"]]))
    return flag, [*before, *draw(st.sampled_from(forms)), *after]


@given(spellings(sorted(OUTRIGHT)))
@example(("--trust-remote-code", ["--trust_rem"]))
@example(("--api-key", ["--api_key=abc"]))
@example(("--config", ["--config", "flags.yaml"]))
def test_every_spelling_of_a_refused_flag_is_refused(case: tuple[str, list[str]]) -> None:
    flag, extra = case
    sentence = refused(extra)
    assert OUTRIGHT[flag].reason in sentence
    assert OUTRIGHT[flag].remedy in sentence


@given(spellings(sorted(OWNED)))
@example(("--tensor-parallel-size", ["-tp=2"]))
def test_every_spelling_of_a_flag_the_platform_sets_leads_to_the_setting(case: tuple[str, list[str]]) -> None:
    flag, extra = case
    assert f"is set by this platform; use {OWNED[flag]}" in refused(extra, OWNED)


def test_switching_off_what_the_platform_sets_is_also_its_matter() -> None:
    for word in ("--disable-prefix-caching", "--no-enable-prefix-caching"):
        assert refused([word], OWNED) == f"{word} is set by this platform; use prefixCaching"


def test_every_other_flag_passes() -> None:
    assert len(HARMLESS) > 300
    for spelling in HARMLESS:
        screen_arguments([spelling, *([] if FLAGS[spelling].negative else ["1"])], version=VLLM, owned=OWNED)


def test_the_refused_flags_are_those_of_this_engine() -> None:
    assert (OUTRIGHT.keys() | SOMETIMES) - FLAGS.keys() == set()
    gone = yaml.safe_load((SERVING / "refused.yaml").read_text())["gone"]
    assert gone.keys() & FLAGS.keys() == set()
    named = {name for each in REFUSED for name in each.variables if name.startswith("VLLM_") and "*" not in name}
    assert named - engine_variables(VLLM)[0] == set()
    assert engine_variables(VLLM)[1].keys() & engine_variables(VLLM)[0] == set()


@pytest.mark.parametrize(
    "extra",
    [
        ["--tool-server", "tools:8000,demo"],
        ["--tool-server=demo"],
        ["--load-format", "pt"],
        ["--load_form=AUTO"],
        ["--structured-outputs-config.backend", "outlines"],
        ["--structured-outputs-config", json.dumps({"backend": "lm-format-enforcer"})],
        ["--kv-transfer-config.kv_connector=LMCacheMPConnector"],
        [
            "--kv-transfer-config",
            json.dumps(
                {
                    "kv_connector": "MultiConnector",
                    "kv_connector_extra_config": {"connectors": [{"kv_connector": "P2pNcclConnector"}]},
                }
            ),
        ],
        ["--hf-overrides", json.dumps({"text_config": {"auto_map": {"AutoModel": "evil/model--m.Model"}}})],
        ["--hf-overrides.auto_map.AutoModel", "evil/model--m.Model"],
        ["--hf-overrides.trust_remote_code", "true"],
        ["--compilation-config.inductor_passes.mine", "evil.change"],
        ["-cc", json.dumps({"cache_dir": "/mnt/models"})],
        ["--max-logprobs", "-1"],
        ["--max-logprobs=1000"],
        ["--otlp-traces-endpoint", "http://traces.example.com:4317"],
        ["--otlp-traces-endpoint", "traces.example.com:4317"],
        ["--otlp-traces-endpoint", "http://collector.monitoring.svc:80@example.com"],
        ["--otlp-traces-endpoint", "http://example.com/collector.monitoring.svc"],
    ],
)
def test_values_that_are_refused(extra: list[str]) -> None:
    assert " is refused: " in refused(extra)


@pytest.mark.parametrize(
    "extra",
    [
        ["--tool-server", "tools.example.com:8000"],
        ["--load-format", "runai_streamer"],
        ["--structured-outputs-config.backend", "xgrammar"],
        ["--structured-outputs-config", json.dumps({"reasoning_parser": "outlines"})],
        ["--kv-transfer-config", json.dumps({"kv_connector": "NixlConnector", "kv_role": "kv_both"})],
        ["--hf-overrides", json.dumps({"architectures": ["Qwen3VLMoeForConditionalGeneration"]})],
        ["--tokenizer-revision", "b25037543e9394b818fdfca67ab2a00ecc7dd641"],
        ["-O3", "-cc.cudagraph_mode=PIECEWISE", "--cudagraph-capture-sizes", "1", "2", "4"],
        ["--no-trust-remote-code", "--disable-log-requests", "--no-enable-log-outputs"],
        ["--max-logprobs", "20"],
        ["--otlp-traces-endpoint", "http://collector.monitoring.svc:4317"],
        ["--otlp-traces-endpoint", "grpc://collector.monitoring.svc.cluster.local:4317"],
        ["--otlp-traces-endpoint", "collector:4317"],
        ["--otlp-traces-endpoint", "https://traces.example.com/v1/traces"],
    ],
)
def test_values_that_pass(extra: list[str]) -> None:
    screen_arguments(extra, version=VLLM, owned=OWNED)


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--max-logprob", "5"], None),
        (["--maxx-logprobs", "5"], "vLLM 0.33.0 has no flag --maxx-logprobs; did you mean --max-logprobs?"),
        (["--swap-space", "4"], "vLLM 0.33.0 has no --swap-space; use kvOffloadingGib"),
        (["--xyz"], "vLLM 0.33.0 has no flag --xyz; vllm serve --help=all lists its flags"),
        (["-tp2"], "vLLM 0.33.0 has no flag -tp2; did you mean -tp?"),
        (["--conf", "x"], "--conf could mean --config or --config-format; write it in full"),
        (["--async-scheduling=True"], "--async-scheduling takes no value; write --async-scheduling or --no-async-scheduling"),
        (["hello"], "Argument 1 is neither a flag nor the value of one; begin with a flag, e.g. --seed"),
        (["--seed", "1", "--", "x"], "Argument 3 is neither a flag nor the value of one; begin with a flag, e.g. --seed"),
        (["@flags.txt"], "Argument 1 is a file of arguments, which vLLM does not read; write the arguments themselves"),
        (["--seed 1"], "Argument 1 holds a flag and its value in one entry; write two entries"),
        # The parser gives the last word to --load-format: it takes "-0.5" for a key, and a key takes the one word behind it.
        (
            ["--load-format", "--hf-overrides.a", "b", "pt"],
            "A key of --hf-overrides takes one value; write e.g. --compilation-config.mode 3",
        ),
        (
            ["--load-format", "--hf-overrides.a", "--seed", "pt"],
            "A key of --hf-overrides takes one value; write e.g. --compilation-config.mode 3",
        ),
        (
            ["--load-format", "-0.5", "--seed", "pt"],
            "Argument 2 would be taken for a flag; write it behind an equals sign, e.g. --watermark=-0.5",
        ),
        (["--seed=1", "2"], "Argument 2 is neither a flag nor the value of one; begin with a flag, e.g. --seed"),
        # Kubernetes expands variables in arguments: the flag would be hidden in one.
        (["$(FLAGS)"], "Argument 1 contains $(…), which Kubernetes would replace after this check; write the flag itself"),
        (["--seed", "$(X)"], "--seed contains $(…), which Kubernetes would replace after this check; write the value itself"),
    ],
)
def test_what_the_parser_would_not_take_or_nobody_could_check(extra: list[str], sentence: str | None) -> None:
    if sentence is None:
        screen_arguments(extra, version=VLLM, owned={})
    else:
        assert refused(extra) == sentence


def test_an_engine_without_a_table_takes_nothing() -> None:
    screen_arguments([], version="0.12.0", owned=OWNED)
    screen_environment({}, OWNED, version="0.12.0")
    with pytest.raises(ValueError, match=r"no table of what vLLM 0\.12\.0 knows"):
        screen_arguments(["--seed", "1"], version="0.12.0", owned={})


@given(SECRETS, st.sampled_from(["{}", "Bearer {}", '{{"key": "{}"}}', "https://u:{}@example.com"]))
def test_no_sentence_repeats_what_looks_like_a_secret(secret: str, form: str) -> None:
    value = form.format(secret)
    assert looks_secret(value)
    for extra in (
        ["--chat-template", value],
        [f"--otlp-traces-endpoint={value}"],
        ["--hf-overrides.key", value],
        ["--hf-token", value],
        [value],
        [f"--{secret}"],
        [f"--{secret}={value}"],
        [f"-{secret}", value],
        ["--seed", "1", value],
        ["--async-scheduling", value],
    ):
        assert secret not in refused(extra)
    for name in ("ANYTHING", "VLLM_LOGGING_PREFIX", "VLLM_UNKNOWN", "HF_TOKEN", secret, secret.replace("-", "_")):
        assert secret not in refused_variable(name, value)


@given(
    st.sampled_from([(name, each) for each in REFUSED for name in each.variables]),
    st.sampled_from(["1", "true", "/x", "$(X)", "0"]),
)
def test_refused_variables_are_refused(case: tuple[str, Refusal], value: str) -> None:
    pattern, refusal = case
    name = pattern.replace("*", "ANY")
    if not refusal.meets(value):
        assert value in refusal.harmless or (refusal.values and value not in refusal.values) or refusal.form
        return
    assert refused_variable(name, value) == refusal.sentence(name)


def test_harmless_variables_pass() -> None:
    switched_off = {"VLLM_SERVER_DEV_MODE": "0", "VLLM_PLUGINS": "", "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0", "PYTHONOPTIMIZE": "0"}
    of_the_engine = {"VLLM_REQUEST_BODY_LOG_LEVEL": "DEBUG", "VLLM_LOGGING_LEVEL": "INFO", "VLLM_MAX_AUDIO_DECODE_BYTES": "1000"}
    of_others = {"OMP_NUM_THREADS": "8", "NCCL_DEBUG": "INFO", "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0"}
    screen_environment(switched_off | of_the_engine | of_others, {"HF_HOME": "use cache"})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "VLLM_ATTENTION_BACKEND",
            "FLASHINFER",
            "vLLM 0.33.0 has no VLLM_ATTENTION_BACKEND; use the argument --attention-backend",
        ),
        ("VLLM_LOGING_LEVEL", "INFO", "vLLM 0.33.0 has no VLLM_LOGING_LEVEL; did you mean VLLM_LOGGING_LEVEL?"),
        ("VLLM_XYZ", "1", "vLLM 0.33.0 has no VLLM_XYZ; leave it out"),
        ("HF_HOME", "/x", "HF_HOME is set by this platform; use cache"),
        ("PREFIX", "$(NAME)", "PREFIX contains $(…), which Kubernetes would replace after this check; write the value itself"),
    ],
)
def test_variables_that_mislead(name: str, value: str, sentence: str) -> None:
    assert refused_variable(name, value, {"HF_HOME": "use cache"}) == sentence


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "EXA_API_KEY", "S3_ACCESS_KEY_ID", "GITHUB_TOKEN", "DB_PASSWORD"])
def test_a_variable_named_like_a_secret_is_taken_for_one(name: str) -> None:
    assert refused_variable(name, "x").startswith(f"{name} looks like a secret, and everybody who may read pods")


def test_an_engine_with_known_vulnerabilities_runs_only_where_each_is_accepted() -> None:
    assert check_engine_version("0.33.0", ()) is None
    assert check_engine_version("0.34.1", ()) is None
    sentence = check_engine_version("0.31.0", ())
    assert sentence is not None
    assert "PYSEC-2026-4349 (a request brings its own template)" in sentence
    assert "use 0.33.0 or newer" in sentence
    # Fixed in that very release.
    assert "CVE-2026-114051" not in sentence
    assert "CVE-2026-114051" in (check_engine_version("0.30.0", ()) or "")
    advisories = [each["id"] for each in yaml.safe_load((SERVING / "advisories.yaml").read_text())["advisories"]]
    assert check_engine_version("0.31.0", advisories) is None
    assert "GHSA-5r3c-5x4v-8gjh" in (check_engine_version("0.31.0", advisories[:-1]) or "")


def test_every_release_below_the_minimum_has_an_advisory() -> None:
    data = yaml.safe_load((SERVING / "advisories.yaml").read_text())
    assert data["minimum"] == "0.33.0"
    assert all(check_engine_version(f"0.{minor}.0", ()) for minor in range(33))
    assert len({each["id"] for each in data["advisories"]}) == len(data["advisories"])


def test_variables_that_only_tune_pass_and_all_others_are_told_what_to_do_instead() -> None:
    allowed = [name for group in VARIABLES["allowed"] for name in group["variables"]]
    assert len(set(allowed)) == len(allowed) > 150
    check_environment({name.replace("*", "ALL"): "1" for name in allowed if name != "AWS_EC2_METADATA_DISABLED"} | OF_USERS, VLLM)
    assert all(group["source"] for group in VARIABLES["allowed"])


def test_no_allowed_variable_names_a_file_a_cache_or_an_identity() -> None:
    suspicious = re.compile("PATH|FILE|DIR$|HOME|CACHE|_LIB|ENDPOINT|HEADER|ROLE|PROFILE|LOGS|TRACE$|DUMP|_ADDR$|INJECTION")
    # Sizes and switches, whatever they are called.
    known = {
        "CUDA_CACHE_DISABLE",
        "CUDA_CACHE_MAXSIZE",
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES",
        "TORCH_CUDNN_V8_API_LRU_CACHE_LIMIT",
    }
    known |= {"AWS_STS_REGIONAL_ENDPOINTS", "PYTHONSAFEPATH", "UCX_MEMTYPE_CACHE"}
    found = {name for group in VARIABLES["allowed"] for name in group["variables"] if suspicious.search(name)}
    assert found == known


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NCCL_DEBUGG", "did you mean NCCL_DEBUG?"),
        ("NCCL_TOPO_DUMP_FILE", "use VLLM_LOGGING_LEVEL or NCCL_DEBUG"),
        ("NCCL_HOSTID", "set it in an image and name that in engine.image"),
        ("TORCHINDUCTOR_CACHE_DIR", "leave it out, since what engines compile is loaded again"),
        ("XDG_CACHE_HOME", "leave it out, since what engines compile is loaded again"),
        ("HF_HOME", "leave it out, since servers read models from the cache only"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "name the collector in traces.endpoint"),
        ("RAY_ADDRESS", "leave it out, since KubeRay sets what Ray needs"),
    ],
)
def test_what_a_variable_that_may_do_more_is_answered(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"; \w") as caught:
        check_environment({name: "x"}, VLLM)
    assert str(caught.value).startswith(f"{name} is not among the variables that only tune (components/serving/variables.yaml); ")
    assert words in str(caught.value)
