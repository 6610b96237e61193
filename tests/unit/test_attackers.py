"""An attacker who may edit a stack file: what each row tries is refused with its key, before anything is made.

Every spelling of every refused flag is in test_screening.py; who reaches what over the network, in the tests of policies.
"""

import copy
from typing import Any

import pytest
import yaml

import settings
from components.inputs import InputError
from tests.conftest import ROOT

WHERE = "stacks/Pulumi.models.yaml"
MODEL = "qwen3-32b"
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz012345"
ARGUMENTS, VARIABLES = "extraArguments", "environment"

ATTACKS: list[tuple[str, str, object, str]] = [
    ("code of the model's repository", ARGUMENTS, ["--trust-remote-code"], "code from the model's repository would run"),
    ("the same, abbreviated", ARGUMENTS, ["--trust_rem"], "code from the model's repository would run"),
    ("the same, hidden in a variable", ARGUMENTS, ["--seed", "$(FLAGS)"], "contains $(…)"),
    ("the same, hidden in a file", ARGUMENTS, ["--config", "/mnt/models/flags.yaml"], "a file can hold any flag"),
    ("the same, behind a checked flag", ARGUMENTS, ["--seed 1 --trust-remote-code"], "a flag and its value in one entry"),
    ("a class by its name", ARGUMENTS, ["--worker-extension-cls", "evil.Worker"], "replaces a part of the engine"),
    (
        "a parser from the model's volume",
        ARGUMENTS,
        ["--tool-parser-plugin", "/mnt/models/p.py"],
        "replaces a part of the engine",
    ),
    ("a connector by its module", ARGUMENTS, ["--kv-transfer-config.kv_connector_module_path", "evil"], "replaces a part"),
    ("a tier by its module", ARGUMENTS, ["--kv-transfer-config", '{"a": [{"module_path": "evil"}]}'], "replaces a part"),
    ("a compiler by its name", ARGUMENTS, ["-cc.backend=evil.compile"], "replaces a part of the engine"),
    ("another model as a draft", ARGUMENTS, ["--spec-model", "evil/model", "--spec-method", "custom_class"], "use speculative"),
    ("pickled weights", ARGUMENTS, ["--load-format", "pt"], "pickles run code when loaded"),
    ("adapters of clients", VARIABLES, {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}, "load an adapter from any path"),
    ("development endpoints", VARIABLES, {"VLLM_SERVER_DEV_MODE": "1"}, "runs any method of the workers"),
    ("weights by request", ARGUMENTS, ["--weight-transfer-config", "{}"], "change the engine and its weights"),
    ("unpickling", VARIABLES, {"VLLM_ALLOW_INSECURE_SERIALIZATION": "1"}, "unpickle what its processes receive"),
    ("plugins", VARIABLES, {"VLLM_PLUGINS": "evil"}, "a plugin's routes may replace those of the API"),
    ("a library before all others", VARIABLES, {"LD_PRELOAD": "/mnt/models/evil.so"}, "run code that its image does not run"),
    ("a library of a profiler", VARIABLES, {"CUDA_INJECTION64_PATH": "/mnt/models/evil.so"}, "run code that its image does not"),
    ("a plugin of NCCL", VARIABLES, {"NCCL_NET_PLUGIN": "/mnt/models/evil.so"}, "by a path it makes the engine run code"),
    ("another compiler", VARIABLES, {"CC": "/mnt/models/evil"}, "would run another program for it"),
    ("other programs", VARIABLES, {"PATH": "/mnt/models"}, "would run another program for it"),
    ("unpickling in PyTorch", VARIABLES, {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}, "pickled weights, which run code"),
    ("compiled code from the model's volume", VARIABLES, {"TRITON_CACHE_DIR": "/mnt/models"}, "leave it out, since what engines"),
    ("the same, by a flag", ARGUMENTS, ["-cc.cache_dir", "/mnt/models"], "is loaded again unchecked"),
    ("another authority for TLS", VARIABLES, {"REQUESTS_CA_BUNDLE": "/mnt/models/ca.pem"}, "add the certificate to an image"),
    ("prompts in logs, by PyTorch", VARIABLES, {"TORCH_LOGS": "+vllm.entrypoints"}, "use VLLM_LOGGING_LEVEL"),
    ("an open Ray", VARIABLES, {"RAY_AUTH_MODE": "disabled"}, "everybody who reaches Ray's ports could run code"),
    ("a variable nobody knows", VARIABLES, {"SOME_LIBRARY_HOOK": "/mnt/models/evil.so"}, "is not among the variables that only"),
    ("code by the model's configuration", ARGUMENTS, ["--hf-overrides", '{"auto_map": {"A": "b"}}'], "code from the model's"),
    ("endless answers", ARGUMENTS, ["--max-logprobs", "-1"], "up to the whole vocabulary"),
    (
        "traces to strangers",
        ARGUMENTS,
        ["--otlp-traces-endpoint=http://evil.example.org"],
        "would leave the cluster in clear text",
    ),
    ("a password for a proxy", VARIABLES, {"https_proxy": "http://a:b@proxy:3128"}, "reads the name and password in it"),
    ("the old engine, which unpickles", VARIABLES, {"VLLM_USE_V1": "0"}, "vLLM 0.33.0 has no VLLM_USE_V1"),
    ("assertions off", VARIABLES, {"PYTHONOPTIMIZE": "1"}, "checks that protect against malicious models are assertions"),
    ("a variable within a variable", VARIABLES, {"PREFIX": "$(TOKEN)"}, "contains $(…)"),
    ("a token in the environment", VARIABLES, {"HF_TOKEN": TOKEN}, "name the Secret in tokenSecret"),
    ("a token under another name", VARIABLES, {"GREETING": TOKEN}, "looks like a secret"),
    ("a key in the arguments", ARGUMENTS, ["--api-key", TOKEN], "everybody who may read the pod reads the key"),
    ("media from anywhere", ARGUMENTS, ["--no-language-model-only"], "is set by this platform; use media"),
    ("media from the metadata", ARGUMENTS, ["--allowed-media-domains=169.254.169.254"], "use media.domains"),
    ("media from the metadata, by the setting", "media", {"images": 1, "domains": ["169.254.169.254"]}, "is an address"),
    ("the same, as one number", "media", {"images": 1, "domains": ["0xa9fea9fe"]}, "is an address"),
    ("media from a Service", "media", {"images": 1, "domains": ["grafana.monitoring.svc.cluster.local"]}, "leads inside"),
    ("media from a Service, by its short name", "media", {"images": 1, "domains": ["grafana"]}, "leads inside"),
    ("media from every host", "media", {"images": 1, "domains": ["*"]}, "is a pattern"),
    (
        "media from the server's own files",
        ARGUMENTS,
        ["--allowed-local-media-path", "/"],
        "requests could read files of the server",
    ),
    ("redirects past the domains", VARIABLES, {"VLLM_MEDIA_URL_ALLOW_REDIRECTS": "1"}, "a redirect leads past the domains"),
    (
        "another fetcher of media",
        VARIABLES,
        {"VLLM_MEDIA_CONNECTOR": "evil"},
        "replaces the code that checks where media come from",
    ),
    ("prompts in logs", VARIABLES, {"VLLM_LOGGING_LEVEL": "debug"}, "requests to /v1/messages would stand in the logs"),
    ("prompts in logs, by a flag", ARGUMENTS, ["--logging-config.log_level", "DEBUG"], "would stand in the logs"),
    ("prompts in logs, by a file", VARIABLES, {"VLLM_LOGGING_CONFIG_PATH": "/tmp/x.json"}, "can have prompts logged"),  # noqa: S108
    ("prompts to strangers", VARIABLES, {"VLLM_NO_USAGE_STATS": "0"}, "servers report nothing"),
    ("any number of answers", VARIABLES, {"VLLM_MAX_N_SEQUENCES": "999999"}, "use limits.answers"),
    ("an endless queue", "limits", {"waiting": 10**9}, "use 1048576 or less"),
    ("endless expressions", VARIABLES, {"VLLM_REGEX_COMPILATION_TIMEOUT_S": "0"}, "0 takes the limit away"),
    ("a backend that expressions stop", ARGUMENTS, ["--structured-outputs-config.backend", "outlines"], "can stop this backend"),
    (
        "the backend auto, by any key",
        ARGUMENTS,
        ["--structured-outputs-config.disable_fallback", "true"],
        "use structuredOutputs",
    ),
    ("a cache with an open port", ARGUMENTS, ["--kv-transfer-config.kv_connector=LMCacheMPConnector"], "unpickle what anybody"),
    (
        "peers that requests name",
        ARGUMENTS,
        ["--kv-transfer-config", '{"secondary_tiers": [{"type": "p2p"}]}'],
        "names the hosts",
    ),
    ("a connector nobody reviewed", ARGUMENTS, ["--kv-transfer-config.kv_connector=Mooncake"], "nobody reviewed this one"),
    ("everybody's accelerators", VARIABLES, {"NVIDIA_VISIBLE_DEVICES": "all"}, "given to other pods"),
    ("another identity", VARIABLES, {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/admin"}, "act as somebody else"),
    ("another bucket", VARIABLES, {"AWS_ENDPOINT_URL_S3": "https://evil.example.org"}, "take the model from somewhere else"),
    ("another hub", VARIABLES, {"VLLM_USE_MODELSCOPE": "True"}, "another hub than the one it was reviewed on"),
    ("weights that can be moved", "revision", "main", "anything else can be moved"),
    ("an engine that can be moved", "engine", {"image": "vllm/vllm-openai:latest"}, "latest moves"),
    ("an engine with known holes", "engine", {"version": "0.32.0"}, "CVE-2026-115912 (a caller makes workers unpickle"),
]


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / WHERE).read_text())["config"]
    return content


@pytest.mark.parametrize(("key", "value", "words"), [each[1:] for each in ATTACKS], ids=[each[0] for each in ATTACKS])
def test_it_is_refused_with_its_key(key: str, value: object, words: str, stack: dict[str, Any]) -> None:
    attacked = copy.deepcopy(stack)
    attacked["llm-platform:models"][MODEL][key] = value
    with pytest.raises(InputError) as caught:
        settings.from_config(attacked, WHERE)
    sentence = str(caught.value)
    assert sentence.startswith(f"{WHERE}: models.{MODEL}.{key}")
    assert words in sentence
    assert "; " in sentence
    assert "\n" not in sentence
    assert TOKEN not in sentence


def test_without_them_the_stack_is_accepted(stack: dict[str, Any]) -> None:
    assert MODEL in settings.from_config(stack, WHERE).models
