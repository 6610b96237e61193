"""Which parallel sizes a model allows, by hand, and what is said of the others."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog.models import model as catalog_model
from planner.catalog.models import model_ids
from planner.model import Model, load
from planner.options import Options
from planner.parallelism import expert_parallel_needed, fault, tensor_fault, tensor_sizes, with_tensor_size

QWEN3_235B_FP8 = "Qwen/Qwen3-235B-A22B-FP8"


@cache
def model(name: str, quantize: str | None = None) -> Model:
    return load(catalog_model(name).config, quantize, name=name)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            (1, 2, 4, 8, 16, 32),
        ),  # 32 heads, 8 for keys and values: those are copied from 16 on
        ("facebook/opt-13b", (1, 2, 4, 5, 8, 10, 20, 40)),  # 40 heads, all with keys and values of their own
        ("Qwen/Qwen2.5-7B-Instruct", (1, 2, 4, 28)),  # 28 heads; 7 and 14 do not suit 4 key-value heads
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", (1, 2, 4)),  # 18944 / 28 is not whole groups of 128
        ("Qwen/Qwen3-14B-AWQ", (1, 2, 4, 8)),  # 40 heads, 8 for keys and values; 17408 = 136 x 128
        ("Qwen/Qwen3-32B-FP8", (1, 2, 4, 8)),  # 25600 = 200 x 128: not 16 ways
        ("Qwen/Qwen3-32B-FP8-Static-PerTensor", (1, 2, 4, 8, 16, 32, 64)),  # one scale a tensor: no blocks
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", (1, 2, 4, 8, 16)),  # GPTQ, 14336 = 112 x 128
        ("deepseek-ai/DeepSeek-R1", (1, 2, 4, 8, 16)),  # no key-value heads to divide; 18432 = 144 x 128
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", (1, 2, 4, 8, 16)),  # 16 heads, 2 for keys and values, 32 recurrent
        ("google/gemma-3-27b-it", (1, 2, 4, 8, 16, 32)),
    ],
)
def test_tensor_parallel_sizes_by_hand(name: str, sizes: tuple[int, ...]) -> None:
    assert tensor_sizes(model(name), 64) == sizes


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            3,
            "tensor parallelism 3 does not divide the 32 attention heads; use 1, 2, 4, 8, 16 or 32",
        ),
        (
            "Qwen/Qwen2.5-7B-Instruct",
            7,
            "tensor parallelism 7 neither divides the 4 key-value heads nor is a multiple of them; use 1, 2, 4 or 28",
        ),
        (
            "Qwen/Qwen3-32B-FP8",
            16,
            "tensor parallelism 16 cuts the width 25600 into parts that are no multiple of 128, this checkpoint's block; "
            "use 1, 2, 4 or 8",
        ),
        ("Qwen/Qwen2.5-72B-Instruct", 0, "tensor parallelism 0 is not possible; use 1, 2, 4, 8, 16, 32 or 64"),
        ("Qwen/Qwen3-8B", 2, None),
    ],
)
def test_a_size_that_does_not_divide_a_model_is_refused_with_those_that_do(name: str, size: int, sentence: str | None) -> None:
    assert tensor_fault(model(name), size) == sentence


def test_state_heads_of_recurrent_layers_must_be_divided_too() -> None:
    config: dict[str, Any] = {
        "model_type": "nemotron_h",
        "hybrid_override_pattern": "M*-",
        "hidden_size": 768,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "intermediate_size": 1024,
        "vocab_size": 1024,
        "mamba_num_heads": 12,
        "mamba_head_dim": 64,
        "ssm_state_size": 16,
        "n_groups": 4,
        "conv_kernel": 4,
    }
    hybrid = load(config)
    assert tensor_sizes(hybrid, 8) == (1, 2, 4)
    assert tensor_fault(hybrid, 8) == "tensor parallelism 8 does not divide the heads of the recurrent layers; use 1, 2 or 4"


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        (QWEN3_235B_FP8, [8, 16]),  # 1536 / 4 = 3 x 128, 1536 / 8 = 1.5 x 128
        ("Qwen/Qwen3-30B-A3B-FP8", [4, 8, 16]),  # 768 / 2 = 3 x 128
        ("deepseek-ai/DeepSeek-R1", []),  # 2048 / 16 = 128
        ("Qwen/Qwen3-235B-A22B", []),  # 16 bit: no blocks
        ("openai/gpt-oss-120b", []),  # padded instead
        ("Qwen/Qwen3-32B-FP8", []),  # no experts
    ],
)
def test_experts_narrower_than_a_block_of_their_checkpoint_need_expert_parallelism(name: str, needed: list[int]) -> None:
    assert [size for size in (1, 2, 4, 8, 16) if expert_parallel_needed(model(name), size)] == needed
    for size in (1, 2, 4, 8, 16):
        assert with_tensor_size(model(name), Options(), size).enable_expert_parallel == (size in needed)
    assert with_tensor_size(model(name), Options(enable_expert_parallel=True), 2).enable_expert_parallel, "asked for"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            Options(tensor_parallel_size=8),
            "tensor parallelism 8 cuts experts of width 1536 into parts that are no multiple of 128, the block of this "
            "checkpoint; enable expert parallelism or use a smaller size",
        ),
        (Options(tensor_parallel_size=8, enable_expert_parallel=True), None),
        (Options(tensor_parallel_size=4), None),
        (Options(pipeline_parallel_size=94), None),
        (Options(pipeline_parallel_size=95), "pipeline parallelism 95 is more than the 94 layers; use 94 or less"),
        (Options(pipeline_parallel_size=0), "pipeline parallelism 0 is not possible; use 1 or more"),
        (Options(tensor_parallel_size=-1), "tensor parallelism -1 is not possible; use 1 or more"),
        (Options(data_parallel_size=0), "data parallelism 0 is not possible; use 1 or more"),
        (
            Options(tensor_parallel_size=6, pipeline_parallel_size=95),
            "tensor parallelism 6 does not divide the 64 attention heads; use 1, 2, 4, 8, 16, 32 or 64",
        ),
    ],
)
def test_the_first_fault_of_the_parallel_sizes_is_told(options: Options, sentence: str | None) -> None:
    assert fault(model(QWEN3_235B_FP8), options) == sentence


@given(st.sampled_from(model_ids()), st.integers(1, 64))
def test_a_size_that_is_listed_works_and_no_other_does(name: str, size: int) -> None:
    found = model(name)
    assert (size in tensor_sizes(found, 64)) is (tensor_fault(found, size) is None)
    assert 1 in tensor_sizes(found, 1)
    if tensor_fault(found, size) is None:
        assert fault(found, with_tensor_size(found, Options(), size)) is None


def test_a_model_quantized_to_fp8_while_it_loads_has_no_blocks() -> None:
    assert tensor_fault(model("Qwen/Qwen2.5-72B-Instruct", "fp8"), 4) is None
    assert not expert_parallel_needed(model("Qwen/Qwen3-235B-A22B", "fp8"), 8)


def test_experts_of_a_4_bit_checkpoint_are_not_called_fp8() -> None:
    sentence = fault(model("Qwen/Qwen3-30B-A3B", "gptq"), Options(tensor_parallel_size=4))
    assert sentence is not None
    assert "FP8" not in sentence


def test_qwen_72b_awq_runs_on_several_cards() -> None:
    assert tensor_sizes(model("Qwen/Qwen2.5-72B-Instruct-AWQ"), 8) == (1, 2, 4, 8)
