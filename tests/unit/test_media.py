"""What requests may ask of a server: how much, and media from where."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import settings
from components.inputs import InputError
from components.serving import arguments
from components.serving.arguments import known_flags, vllm_arguments
from components.serving.config import ServerConfig
from components.serving.environment import environment
from components.serving.media import Media
from components.serving.ray_service import engine_settings
from components.serving.screening import engine_variables
from components.versions import VLLM
from planner.stack import ModelPlan
from tests.conftest import ROOT
from tests.contracts.examples import POOL

WHERE = "stacks/Pulumi.models.yaml"
VISION = "Qwen/Qwen3-VL-8B-Instruct"


def _config(**changes: Any) -> ServerConfig:
    base = {"model_name": "qwen", "model_path": "/models/qwen", "weights_gib": 5.2, "namespace_name": "models"}
    return ServerConfig.model_validate(base | {"claim_name": "cache", "pool": POOL, "max_model_len": 8192} | changes)


def _after(words: list[Any], flag: str) -> str:
    return str(words[words.index(flag) + 1])


def test_a_server_takes_text_alone_and_a_bounded_number_of_requests() -> None:
    config = _config(max_num_seqs=256)
    words = vllm_arguments(config)
    assert "--language-model-only" in words
    assert not {"--allowed-media-domains", "--limit-mm-per-prompt", "--override-generation-config"} & set(map(str, words))
    assert _after(words, "--max-num-queued-reqs") == str(256 + 1024)
    found = environment(config)
    assert (found["VLLM_MAX_N_SEQUENCES"], found["VLLM_MAX_COMPLETION_PROMPTS"]) == ("64", "64")
    assert found["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"


def test_limits_can_be_changed() -> None:
    config = _config(limits={"answers": 1, "prompts": 2, "waiting": 3, "output_tokens": 4}, structured_outputs="guidance")
    words = vllm_arguments(config)
    assert json.loads(_after(words, "--structured-outputs-config")) == {"backend": "guidance"}
    # Where the engine chooses its batch, the largest it chooses counts.
    assert _after(words, "--max-num-queued-reqs") == str(1024 + 3)
    assert json.loads(_after(words, "--override-generation-config")) == {"max_new_tokens": 4}
    found = environment(config)
    assert (found["VLLM_MAX_N_SEQUENCES"], found["VLLM_MAX_COMPLETION_PROMPTS"]) == ("1", "2")


def test_an_engine_that_has_no_such_limit_is_not_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    older = known_flags(VLLM) - {"--max-num-queued-reqs"}
    monkeypatch.setattr(arguments, "known_flags", lambda _: older)
    assert "--max-num-queued-reqs" not in vllm_arguments(_config())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limits": {"output_tokens": 9000}}, r"limits\.outputTokens: 9000 tokens are more than the 8192 of maxModelLen"),
        ({"limits": {"output_tokens": 9}, "task": "embed"}, r"limits\.outputTokens: an embedding model generates nothing"),
        ({"media": {"images": 1}, "task": "embed"}, "media: an embedding model generates nothing"),
        ({"media": {"domains": ["example.org"]}}, "no media may be sent; give a number, e.g. images: 4"),
    ],
)
def test_limits_that_limit_nothing(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        _config(**changes)


def test_media_come_from_named_hosts_in_bounded_numbers_and_sizes() -> None:
    media = {"domains": ["upload.wikimedia.org"], "images": 4, "megabytes": 8, "megapixels": 12, "audio_seconds": 30}
    config = _config(media=media)
    words = [str(word) for word in vllm_arguments(config)]
    assert "--language-model-only" not in words
    assert _after(words, "--allowed-media-domains") == "upload.wikimedia.org"
    # A kind that is not named would be allowed 999 times.
    assert json.loads(_after(words, "--limit-mm-per-prompt")) == {"image": 4, "video": 0, "audio": 0}
    found = environment(config)
    assert found["VLLM_MAX_MEDIA_DOWNLOAD_SIZE_MB"] == found["VLLM_MAX_MEDIA_REQUEST_DOWNLOAD_SIZE_MB"] == "8"
    assert (found["VLLM_MAX_IMAGE_PIXELS"], found["VLLM_MAX_AUDIO_DECODE_DURATION_S"]) == ("12000000", "30")
    assert Media.model_validate(media).fetches
    # What the engine does not know it ignores.
    assert {word for word in words if word.startswith("--")} <= known_flags(VLLM)
    assert {name for name in found if name.startswith("VLLM_")} <= engine_variables(VLLM)[0]


def test_without_domains_nothing_is_fetched() -> None:
    config = _config(media={"videos": 1})
    # An empty list would allow every host.
    assert _after(vllm_arguments(config), "--allowed-media-domains") == "none.invalid"
    assert not Media(videos=1).fetches


def test_one_domain_stays_a_list_in_ray_serve() -> None:
    """Of text vLLM would allow every part: `hostname in "upload.wikimedia.org"`."""
    words = [str(word) for word in vllm_arguments(_config(media={"domains": ["upload.wikimedia.org"], "images": 1}))]
    _, _, kwargs = engine_settings(words, VLLM)
    assert kwargs["allowed_media_domains"] == ["upload.wikimedia.org"]
    assert kwargs["limit_mm_per_prompt"] == {"image": 1, "video": 0, "audio": 0}


INTERNAL = [
    "localhost",
    "qwen",
    "qwen.models.svc",
    "qwen.models.svc.cluster.local",
    "qwen.models.svc.corp.example",
    "metadata.google.internal",
    "instance-data.ec2.internal",
    "printer.local",
    "169.254.169.254",
    "169.254.170.23",
    "fd00:ec2::254",
    "[fd00:ec2::254]",
    "127.1",
    "2852039166",
    "0xa9.0xfe.0xa9.0xfe",
    "10.0.0.1",
    "8.8.8.8",
    "*",
    "*.example.org",
    "https://example.org",
    "example.org:443",
    "example.org/x",
    "Example.org",
    "example.org.",
    "user@example.org",
    "",
]


@pytest.mark.parametrize("domain", INTERNAL)
def test_what_is_no_host_of_the_internet_is_refused(domain: str) -> None:
    with pytest.raises(ValidationError, match=r"; (use|name)"):
        Media(domains=(domain,), images=1)


@given(st.ip_addresses().map(str))
def test_no_address_is_a_domain(address: str) -> None:
    with pytest.raises(ValidationError, match="is an address"):
        Media(domains=(address,), images=1)


@pytest.mark.parametrize(
    "domain", ["example.org", "upload.wikimedia.org", "1.example.org", "my-bucket.s3.eu-west-1.amazonaws.com"]
)
def test_hosts_of_the_internet_pass(domain: str) -> None:
    assert Media(domains=(domain,), images=1).domains == (domain,)


def _planned(directory: Path, media: object, source: str = VISION) -> ModelPlan:
    content = yaml.safe_load((ROOT / WHERE).read_text())
    changed = copy.deepcopy(content)
    model = changed["config"]["llm-platform:models"]["qwen3-32b"]
    model |= {"source": source} | ({"media": media} if media else {})
    file = directory / "Pulumi.models.yaml"
    file.write_text(yaml.safe_dump(changed))
    return settings.plan(settings.from_file(file, WHERE), WHERE, directory).models["qwen3-32b"]


def test_the_plan_counts_the_encoder_and_says_what_it_does_not(tmp_path: Path) -> None:
    with_images, text_alone = _planned(tmp_path, {"images": 4}), _planned(tmp_path, None)
    weights = [plan.placement.fit.terms.weights_gib for plan in (with_images, text_alone)]
    assert weights[0] > weights[1] + 0.2
    assert "what the encoder needs while it reads media is not planned" in with_images.summary()["warnings"]
    assert "encoder" not in text_alone.summary().get("warnings", "")


@pytest.mark.parametrize(
    ("media", "source", "key", "encoder"),
    [
        ({"images": 1}, "Qwen/Qwen3-32B-FP8", "images", "vision"),
        ({"images": 1, "audios": 1}, VISION, "audios", "audio"),
    ],
)
def test_media_a_model_cannot_take_are_refused(
    media: dict[str, int], source: str, key: str, encoder: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        _planned(tmp_path, media, source)
    assert str(caught.value) == (
        f"{WHERE}: models.qwen3-32b: media.{key}: the config.json of {source} tells of no {encoder} encoder, or not how large "
        f"it is; leave {key} out, or use a model with one"
    )
