"""Models everybody runs: plausible plans, and numbers others published that no constant was fitted to."""

from functools import cache

import pytest

from planner.activation import GIB
from planner.capacity import Workload, offers, search
from planner.catalog.hardware import accelerator
from planner.catalog.models import model as catalog_model
from planner.kv_cache import Layout, layout
from planner.memory import Fit, fit
from planner.model import Model, load
from planner.options import Options, device
from planner.parallelism import with_tensor_size

IN_FLIGHT = 8192


@cache
def model(name: str, quantize: str | None = None) -> Model:
    return load(catalog_model(name).config, quantize, name=name)


def cache_layout(name: str, tensor: int, bits: float) -> Layout:
    caches = [cached for stored in model(name).layers if (cached := stored.layer.cache)]
    return layout(caches, tensor, bits, IN_FLIGHT)


def planned(name: str, gpu: str, tensor: int, length: int | None = None, quantize: str | None = None) -> Fit:
    found = model(name, quantize)
    return fit(found, device(accelerator(gpu)), with_tensor_size(found, Options(max_model_len=length), tensor))


def test_weights_of_gpt_oss_120b_are_those_of_a_published_start_which_failed() -> None:
    # vllm-project/vllm#33155: one H100, vLLM 0.14.1, which then ran out of memory, as 0.10 had done (vllm-project/vllm#23278).
    found = fit(model("openai/gpt-oss-120b"), device(accelerator("H100")), Options(vllm_version="0.14.1"))
    assert found.terms.weights_gib == pytest.approx(64.38, rel=0.01)
    assert not found.fits


def test_weights_of_deepseek_r1_are_those_of_a_published_start() -> None:
    # HabanaAI/vllm-fork#809: FP8 on 8 ranks, 79.41 GiB loaded on each.
    assert planned("deepseek-ai/DeepSeek-R1", "H200", 8).terms.weights_gib == pytest.approx(79.41, rel=0.01)


def test_weights_of_llama_405b_in_fp8_are_those_of_a_published_start() -> None:
    # vllm-project/vllm#6746: 8 H100, 57.752 GiB on each.
    found = planned("meta-llama/Meta-Llama-3.1-405B-Instruct-FP8", "H100", 8, 4096)
    assert found.terms.weights_gib == pytest.approx(57.752, rel=0.02)


def test_a_request_of_qwen3_coder_480b_needs_what_vllm_refused_it_for() -> None:
    # vllm-project/recipes#12: 62 layers with 8 heads of 128; 262144 tokens need 62.00 GiB.
    found = cache_layout("Qwen/Qwen3-Coder-480B-A35B-Instruct", 1, 16)
    assert found.request_bytes(262_144) == 62 * GIB
    assert cache_layout("Qwen/Qwen3-Coder-480B-A35B-Instruct", 8, 16).request_bytes(262_144) == 62 * GIB / 8


def test_pages_of_a_hybrid_model_are_those_its_log_prints() -> None:
    # Qwen3.8-27B is built like Qwen3.5-27B: 16 layers of attention among 48 gated delta nets. With an 8-bit cache:
    # noonghunna/club-3090#1047 "Setting attention block size to 1568 tokens", with padding of 0.13 %;
    # mitchross/talos-argocd-proxmox#1995, two ranks with 4.99 GiB each: 2.31 requests of 131072 tokens.
    one, two = (cache_layout("Qwen/Qwen3.5-27B", tensor, 8) for tensor in (1, 2))
    for found in (one, two):
        assert {group.block_tokens for group in found.groups} == {1568}
        assert [bool(group.state_pages) for group in found.groups] == [False, True, True, True]
    state = (10240 * 3 * 2 + 48 * 128 * 128 * 4) / 1568 / (4 * 512) - 1
    assert -0.0015 < state < -0.0012
    held = two.capacity(4.99 * GIB, 131_072, tokens_from_concurrency=True)
    assert held.concurrency == pytest.approx(2.31, abs=0.005)


@pytest.mark.parametrize(
    ("name", "quantize", "gpu", "tensor", "length", "weights", "concurrency"),
    [
        # Weights: bytes of the checkpoint over the ranks. Concurrency: the rest of the budget over a request, by hand.
        ("deepseek-ai/DeepSeek-R1", None, "H200", 8, None, 79.5, (3, 5)),
        ("Qwen/Qwen3-235B-A22B", None, "H100", 8, None, 54.9, (4, 8)),
        ("Qwen/Qwen3-235B-A22B", None, "H200", 8, None, 54.9, (32, 40)),
        ("Qwen/Qwen3-235B-A22B", None, "H200", 4, None, 109.5, (4, 8)),
        ("openai/gpt-oss-120b", None, "H100", 2, None, 32.3, (5, 40)),
        ("meta-llama/Llama-3.3-70B-Instruct", None, "H100", 4, None, 32.9, (3, 4)),
        ("meta-llama/Llama-3.3-70B-Instruct", "fp8", "H100", 2, None, 33.9, (1.4, 2)),
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", None, "H100", 2, None, 33.9, (1.4, 2)),
        ("Qwen/Qwen3-32B-FP8", None, "H100", 1, None, 32.0, (3.3, 4.2)),
        ("Qwen/Qwen3-32B-FP8", None, "L4", 4, None, 8.0, (3, 4.5)),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", None, "L4", 1, None, 5.2, (7, 9)),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", None, "A10G", 1, None, 5.2, (7, 9)),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", None, "RTX-3090", 1, None, 5.2, (8, 9)),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", None, "RTX-4090", 1, None, 5.2, (8, 9)),
    ],
)
def test_known_models_fit_where_they_are_run(
    name: str, quantize: str | None, gpu: str, tensor: int, length: int | None, weights: float, concurrency: tuple[float, float]
) -> None:
    found = planned(name, gpu, tensor, length, quantize)
    assert found.fits, found.reason
    assert found.terms.weights_gib == pytest.approx(weights, rel=0.03)
    assert concurrency[0] <= found.max_concurrency <= concurrency[1]


@pytest.mark.parametrize(
    ("name", "quantize", "gpu", "tensor", "length"),
    [
        ("deepseek-ai/DeepSeek-R1", None, "H100", 8, 1024),
        ("Qwen/Qwen3-235B-A22B", None, "H100", 4, 1024),
        ("meta-llama/Llama-3.3-70B-Instruct", None, "H100", 2, None),
        ("meta-llama/Llama-3.3-70B-Instruct", None, "H100", 1, 1024),
        ("meta-llama/Llama-3.3-70B-Instruct", "fp8", "H100", 1, None),
        ("Qwen/Qwen3-32B-FP8", None, "L4", 1, 1024),
        ("Qwen/Qwen2.5-7B-Instruct", None, "T4", 1, 1024),
    ],
)
def test_known_models_are_refused_where_they_do_not_fit(
    name: str, quantize: str | None, gpu: str, tensor: int, length: int | None
) -> None:
    assert not planned(name, gpu, tensor, length, quantize).fits


@pytest.mark.parametrize(
    ("name", "accelerators", "cheapest"),
    [
        ("deepseek-ai/DeepSeek-R1", ["H100", "H200"], ("p5en.48xlarge", 8, 1)),
        ("deepseek-ai/DeepSeek-R1", ["H100"], ("p5.48xlarge", 8, 2)),
        ("Qwen/Qwen3-235B-A22B", ["H100", "L4"], ("p5.48xlarge", 8, 1)),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", ["L4", "A10G", "H100"], ("g6.xlarge", 1, 1)),
    ],
)
def test_the_cheapest_plan_of_a_known_model_is_the_usual_one(
    name: str, accelerators: list[str], cheapest: tuple[str, int, int]
) -> None:
    best = search(model(name), Workload(), offers(accelerators)).plans[0]
    assert (best.offer.name, best.options.tensor_parallel_size, best.nodes) == cheapest
