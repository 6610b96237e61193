"""Questions as they come from outside: what is answered, what is refused in a sentence, and that none crashes the planner."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from planner.catalog.models import model as catalog_model
from planner.request import ANSWER, KEYS, RequestError, answer, answer_line, unknown_keys

KEYS_OF_AN_ANSWER = [
    "fits",
    "reason",
    "weights_gib",
    "non_torch_gib",
    "activation_gib",
    "cuda_graph_gib",
    "kv_cache_gib",
    "kv_cache_tokens",
    "max_concurrency",
    "max_model_len_that_fits",
]
QWEN = {"model": "Qwen/Qwen3-8B", "gpu": "L4"}
SHORT = QWEN | {"max_model_len": 8192}
TINY = {
    "model_type": "llama",
    "hidden_size": 512,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "num_hidden_layers": 4,
    "intermediate_size": 1024,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
}


def refusal(**changes: Any) -> str:
    with pytest.raises(RequestError) as error:
        answer(QWEN | changes)
    return str(error.value)


def sound(line: str) -> dict[str, Any]:
    """The answer to a line, which has every key and reads back from JSON as it is."""
    found = answer_line(line)
    assert list(found) == KEYS_OF_AN_ANSWER
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["fits"] is (found["reason"] is None)
    assert found["reason"] is None or "\n" not in found["reason"]
    return found


def test_an_answer_has_the_documented_keys_in_order() -> None:
    assert list(ANSWER) == KEYS_OF_AN_ANSWER
    fits, refused = answer(SHORT).json(), answer(QWEN).json()
    assert list(fits) == list(refused) == KEYS_OF_AN_ANSWER
    assert (fits["fits"], fits["reason"]) == (True, None)
    assert refused["fits"] is False
    assert refused["reason"].startswith("one request of 40960 tokens needs 5.62 GiB of KV cache and ")
    assert refused["reason"].endswith(f"; {refused['max_model_len_that_fits']} tokens fit")
    assert refused["kv_cache_tokens"] > 0, "numbers are told of what does not fit, too"


def test_every_option_of_a_question_counts() -> None:
    plain = answer(SHORT).json()
    for change in (
        {"tensor_parallel_size": 2},
        {"pipeline_parallel_size": 2},
        {"max_model_len": 4096},
        {"gpu_memory_utilization": 0.8},
        {"max_num_seqs": 8},
        {"max_num_batched_tokens": 16384},
        {"kv_cache_dtype": "fp8"},
        {"quantization": "fp8"},
        {"dtype": "float32"},
        {"vllm_version": "0.10.1"},
        {"enforce_eager": True},
        {"gpu_memory_gib": 40.0},
        {"gpu": "T4"},
        {"model": "Qwen/Qwen3-4B"},
        {"config": TINY},
    ):
        assert answer(SHORT | change).json() != plain, change
    for unset in KEYS:
        assert answer(SHORT | {unset: SHORT.get(unset)}).json() == plain, "null is the same as leaving it out"


@pytest.mark.parametrize("gpu", ["l4", "NVIDIA-L4", "nvidia l4 24gb", "Tesla L4"])
def test_a_card_may_be_spelled_in_any_usual_way(gpu: str) -> None:
    assert answer(SHORT | {"gpu": gpu}).device.name == "L4"


def test_memory_replaces_that_of_a_card_or_stands_for_one_that_is_unknown() -> None:
    smaller = answer(SHORT | {"gpu_memory_gib": 20.5})
    assert (smaller.device.name, smaller.device.memory_gib) == ("L4", 20.5)
    unknown = answer(SHORT | {"gpu": "Quantum-9000", "gpu_memory_gib": 24})
    assert unknown.device.capability is None
    assert unknown.warnings == ("Quantum-9000 is not in the catalogue; it is planned by its 24 GiB alone",)
    assert answer({"model": "Qwen/Qwen3-8B", "gpu_memory_gib": 24}).device.memory_gib == 24


def test_a_configuration_goes_before_the_catalogue() -> None:
    own = answer({"config": TINY, "model": "me/tiny", "gpu": "T4"})
    assert (own.model.name, len(own.model.layers)) == ("me/tiny", 4)
    same = answer({"config": dict(catalog_model("Qwen/Qwen3-8B").config), "gpu": "L4"})
    assert same.json() == answer(QWEN).json()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": None}, "no model is given; use --model ID from the catalogue or --config FILE"),
        ({"gpu": None}, "no accelerator is given; use --gpu NAME from the catalogue or --gpu-memory-gib X"),
        ({"model": 5}, "model: 5 is not text"),
        ({"gpu": ["L4"]}, "gpu: ['L4'] is not text"),
        ({"max_model_len": "8k"}, "max_model_len: '8k' is not a number"),
        ({"max_model_len": True}, "max_model_len: True is not a number"),
        ({"max_model_len": 1.5}, "max_model_len: 1.5 is not a whole number"),
        ({"max_model_len": -1}, "max_model_len: -1 is not possible; use a number above 0 and up to 2.14748e+09"),
        (
            {"max_model_len": 10**400},
            "max_model_len: a number that large is not possible; use a number above 0 and up to 2.14748e+09",
        ),
        ({"max_num_seqs": 0}, "max_num_seqs: 0 is not possible; use a number above 0 and up to 2.14748e+09"),
        ({"max_num_seqs": math.nan}, "max_num_seqs: nan is not a number"),
        ({"gpu_memory_gib": math.inf}, "gpu_memory_gib: inf is not a number"),
        ({"gpu_memory_gib": 5000}, "gpu_memory_gib: 5000 is not possible; use a number above 0 and up to 4096"),
        (
            {"gpu_memory_utilization": 1.5},
            "gpu_memory_utilization: 1.5 is not possible; use a number above 0 and up to 1",
        ),
        ({"enforce_eager": "yes"}, "enforce_eager: 'yes' is neither true nor false"),
        ({"enable_expert_parallel": 1}, "enable_expert_parallel: 1 is neither true nor false"),
        ({"config": []}, "Qwen/Qwen3-8B: the configuration is not a mapping; give the config.json of a Hugging Face repository"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_in_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    assert refusal(**changes) == sentence


def test_what_is_not_in_a_catalogue_is_refused_with_the_nearest() -> None:
    assert refusal(model="Qwen/Qwen3-9B").startswith("Qwen/Qwen3-9B is not in the model catalogue; the nearest are Qwen/")
    assert refusal(gpu="H101").startswith("'H101' is not in the accelerator catalogue; the nearest are H100")
    assert refusal(quantization="int3").startswith("Qwen/Qwen3-8B: 'int3' is not a quantization the planner knows; use one of ")


def test_parallel_sizes_that_are_impossible_are_refused_beside_the_numbers_of_the_nearest_that_works() -> None:
    found = answer(SHORT | {"tensor_parallel_size": 3})
    assert found.reason == "tensor parallelism 3 does not divide the 32 attention heads; use 1, 2, 4, 8, 16 or 32"
    assert found.json()["weights_gib"] == answer(SHORT | {"tensor_parallel_size": 2}).json()["weights_gib"]
    assert found.suggestions() == (), "not memory is what stands against it"
    deep = answer(SHORT | {"pipeline_parallel_size": 37})
    assert deep.reason == "pipeline parallelism 37 is more than the 36 layers; use 36 or less"
    assert not answer(SHORT | {"tensor_parallel_size": 2**31}).json()["fits"], "answered at once, not after trying all sizes"


def test_formats_are_refused_before_memory_and_a_context_beyond_the_model_is_a_warning() -> None:
    assert str(answer({"model": "openai/gpt-oss-120b", "gpu": "T4"}).reason).startswith("T4 (compute capability 7.5) cannot run")
    assert str(answer(SHORT | {"gpu": "T4", "dtype": "bfloat16"}).reason).endswith("has no bfloat16; use --dtype float16")
    stretched = answer(QWEN | {"gpu": "H100", "max_model_len": 50_000})
    assert stretched.reason is None
    assert stretched.warnings == (
        "a context of 50000 tokens exceeds the 40960 positions of the model; use 40960 or less, "
        "unless --hf-overrides stretches them",
    )


def test_a_refusal_by_memory_has_three_suggestions() -> None:
    assert len(answer(QWEN).suggestions()) == 3
    assert answer(SHORT).suggestions() == ()


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("nope", "the line is not JSON: Expecting value at column 1"),
        ('{"model": ', "the line is not JSON: Expecting value at column 11"),
        ("[1, 2]", "a line must be a JSON object such as "),
        ("null", "a line must be a JSON object such as "),
        ("{}", "no model is given; "),
        ('{"gpu": "L4", "model": "nobody/nothing"}', "nobody/nothing is not in the model catalogue"),
        ('{"model": "Qwen/Qwen3-8B", "gpu": "L4", "max_num_seqs": NaN}', "max_num_seqs: nan is not a number"),
        ('{"model": "Qwen/Qwen3-8B", "gpu": "L4", "max_num_seqs": -Infinity}', "max_num_seqs: -inf is not a number"),
        ('{"max_num_seqs": ' + "9" * 5000 + "}", "the line has a number too long or brackets too deep to be read"),
        ("[" * 100_000, "the line has a number too long or brackets too deep to be read"),
        ('{"config": ' * 100_000, "the line has a number too long or brackets too deep to be read"),
    ],
)
def test_a_line_that_cannot_be_answered_says_why(line: str, start: str) -> None:
    found = sound(line)
    assert found["reason"].startswith(start)
    assert found["weights_gib"] is None


def test_unknown_keys_are_named_with_the_nearest_option() -> None:
    assert unknown_keys(SHORT | {"config": {}}) == []
    assert unknown_keys({"tensor_parallel": 2, "colour": "red"}) == [
        "tensor_parallel is not an option and was ignored; did you mean tensor_parallel_size?",
        "colour is not an option and was ignored",
    ]


odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 1, 2, 8, 2**31, 2**31 + 1, 2**63, 10**400, -(10**400), 5e-324, 1e308, 0.5, 0.9, 1.5])
    | st.floats()
    | st.sampled_from(["", "auto", "fp8", "L4", "H100", "MI300X", "0.6.4", "0.10.1", "v0.33.0", "nvfp4", "awq", "mxfp4", "[/x]"])
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
sensible = st.fixed_dictionaries(
    {"gpu": st.sampled_from(["T4", "L4", "H100", "B200", "MI300X"])},
    optional={
        "model": st.sampled_from(["Qwen/Qwen3-8B", "openai/gpt-oss-20b", "deepseek-ai/DeepSeek-R1", "Qwen/Qwen3.5-27B"]),
        "config": st.just(TINY) | st.dictionaries(st.sampled_from(sorted(TINY)), odd, max_size=8).map(lambda c: TINY | c),
    },
)
questions = st.builds(
    lambda good, bad: good | bad, sensible, st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6), odd, max_size=4)
)


@given(questions)
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(QWEN | {"max_model_len": 10**400})
@example(QWEN | {"gpu_memory_gib": 5e-324})
@example(QWEN | {"data_parallel_size": 2**31, "pipeline_parallel_size": 2**31, "tensor_parallel_size": 2**31})
def test_no_object_on_a_line_crashes_the_planner(question: dict[str, Any]) -> None:
    line = json.dumps(question)
    assert sound(line) == answer_line(line)
    unknown_keys(question)


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_text_on_a_line_crashes_the_planner(line: str) -> None:
    sound(line)


@pytest.mark.parametrize("option", ["kv_cache_dtype", "dtype"])
def test_a_number_format_that_does_not_exist_is_refused(option: str) -> None:
    assert refusal(**{option: "banana"})


@pytest.mark.parametrize(("asked", "refused"), [("awq", True), ("mxfp4", False), ("gpt_oss_mxfp4", False), ("none", False)])
def test_a_method_other_than_the_checkpoints_is_a_warning(asked: str, refused: bool) -> None:
    found = answer({"model": "openai/gpt-oss-20b", "gpu": "H100", "quantization": asked})
    assert any("vLLM refuses --quantization awq" in sentence for sentence in found.warnings) is refused
    assert found.model.quantization.method == "mxfp4"
