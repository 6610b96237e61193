from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog.hardware import accelerator
from planner.catalog.models import model as catalogued
from planner.model import Model, load
from planner.options import Device, Options, device
from planner.throughput import Throughput, throughput

LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"
LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"
QWEN_MOE = "Qwen/Qwen3-30B-A3B"


@cache
def model(name: str) -> Model:
    return load(catalogued(name).config, name=name)


@cache
def card(name: str) -> Device:
    return device(accelerator(name))


def planned(name: str, gpu: str, batch: int, context: int, **sizes: int) -> Throughput:
    result = throughput(model(name), card(gpu), Options(**sizes), batch=batch, mean_context=context)  # type: ignore[arg-type]
    assert result is not None
    return result


@pytest.mark.parametrize(
    ("name", "gpu", "tensor", "batch", "context", "measured"),
    [
        # "vLLM throughput-latency sweep on NVIDIA A100": 1024 + 128 tokens, 75 tokens/s alone, 6.6 times as many with 8 requests.
        (LLAMA_8B, "A100-40GB", 1, 1, 1088, 75),
        (LLAMA_8B, "A100-40GB", 1, 8, 1088, 495),
        # tenstorrent/tt-inference-server#340, vLLM on an A100, 128 + 128 tokens, one request.
        ("Qwen/Qwen3-1.7B", "A100-80GB", 1, 1, 192, 215.3),
        (QWEN_MOE, "A100-80GB", 1, 1, 192, 103.9),
        # vllm-project/vllm#2192: 64 sequences of 256 + 256 tokens in 14.57 s, less about 3 s for the prompts.
        (LLAMA_70B, "A100-80GB", 4, 64, 384, 64 * 256 / 11.6),
    ],
)
def test_published_runs_lie_in_the_range(name: str, gpu: str, tensor: int, batch: int, context: int, measured: float) -> None:
    result = planned(name, gpu, batch, context, tensor_parallel_size=tensor)
    assert result.decode_tokens_per_s_low <= measured <= result.decode_tokens_per_s_high
    assert result.decode_tokens_per_s_high < 4 * result.decode_tokens_per_s_low


@given(st.sampled_from([LLAMA_8B, QWEN_MOE]), st.integers(1, 512), st.integers(16, 32768))
def test_larger_batches_make_more_tokens_and_longer_contexts_fewer(name: str, batch: int, context: int) -> None:
    result = planned(name, "H100-80GB", batch, context)
    assert planned(name, "H100-80GB", batch * 2, context).decode_tokens_per_s_low >= result.decode_tokens_per_s_low
    assert planned(name, "H100-80GB", batch, context * 2).decode_tokens_per_s_low <= result.decode_tokens_per_s_low
    assert result.decode_tokens_per_s_low < result.decode_tokens_per_s_high
    assert result.prefill_tokens_per_s_low < result.prefill_tokens_per_s_high


def test_a_batch_visits_more_experts_than_a_token() -> None:
    """A token alone reads 8 of 128 experts; 64 tokens read nearly all, so 64 times the batch is far from 64 times the tokens."""
    alone, together = planned(QWEN_MOE, "H200", 1, 512), planned(QWEN_MOE, "H200", 64, 512)
    read = [next(row.value for row in result.derived if row.name == "bytes of a step") for result in (alone, together)]
    assert read[0] == pytest.approx(2 * 3.03, rel=0.1)  # GB: about 3.3 B active parameters less the embedding, in 16 bit
    tied = planned("Qwen/Qwen3-1.7B", "H200", 1, 16)  # a tied embedding is read once, as the head
    assert tied.derived[2].value == pytest.approx(model("Qwen/Qwen3-1.7B").total_bytes() / 1e9, rel=0.02)
    assert read[1] > 0.9 * model(QWEN_MOE).total_bytes() / 1e9


def test_data_parallel_ranks_add_up_and_pipeline_stages_do_not_lose() -> None:
    one = planned(LLAMA_8B, "H100-80GB", 64, 1024)
    assert planned(LLAMA_8B, "H100-80GB", 128, 1024, data_parallel_size=2).decode_tokens_per_s_high == pytest.approx(
        2 * one.decode_tokens_per_s_high
    )
    staged = planned(LLAMA_8B, "H100-80GB", 128, 1024, pipeline_parallel_size=2)
    assert one.decode_tokens_per_s_low < staged.decode_tokens_per_s_low < 2.2 * one.decode_tokens_per_s_low


def test_what_bounds_a_step() -> None:
    assert planned(LLAMA_8B, "H100-80GB", 1, 512).bound == "memory"
    computing = planned(LLAMA_8B, "T4", 512, 16)
    assert computing.bound == "compute"
    # 8.03 B parameters less the embedding, two operations each, at 65 TFLOPS.
    assert computing.decode_tokens_per_s_high < 0.7 * 65e12 / (2 * 7.5e9)


def test_without_a_rate_in_the_catalogue_there_is_no_throughput() -> None:
    known = card("H100-80GB")
    assert known.accelerator is not None
    options = Options()
    for unknown in (
        device(memory_gib=80.0),
        replace(known, accelerator=replace(known.accelerator, memory_bandwidth_gb_per_s=None)),
        replace(known, accelerator=replace(known.accelerator, bf16_tflops=None)),
    ):
        assert throughput(model(LLAMA_8B), unknown, options, batch=8, mean_context=512) is None


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="use 1 or more of both"):
        throughput(model(LLAMA_8B), card("H100-80GB"), Options(), batch=0, mean_context=512)


def test_every_catalogued_model_has_a_believable_throughput() -> None:
    for name in ("deepseek-ai/DeepSeek-R1", "Qwen/Qwen3-Next-80B-A3B-Instruct", "openai/gpt-oss-120b", "Qwen/Qwen3-32B-FP8"):
        result = planned(name, "H200", 32, 2048, tensor_parallel_size=8)
        assert 200 < result.decode_tokens_per_s_low < result.decode_tokens_per_s_high < 20_000
        assert all(row.formula and row.source for row in result.derived)
