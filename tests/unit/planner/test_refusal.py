"""What a refusal suggests: three changes that fit when they are planned anew, of different kinds where there are any."""

from dataclasses import replace
from functools import cache
from itertools import product

import pytest

from planner.capacity import Offer
from planner.catalog.hardware import accelerator
from planner.catalog.models import model as catalog_model
from planner.compatibility import check_formats
from planner.memory import fit
from planner.model import Model, load
from planner.options import Options, device
from planner.parallelism import fault
from planner.placement import RefusedError, place
from planner.refusal import Suggestion, suggestions

LONG = Options()
SHORT = Options(max_model_len=2048)
TWO = Options(tensor_parallel_size=2, max_model_len=8192)
FULL = Options(gpu_memory_utilization=0.995, max_model_len=1024)
FULL_WITH_GRAPHS = Options(gpu_memory_utilization=0.99, max_model_len=1024, vllm_version="0.19.0")
MIDDLE = Options(max_model_len=32768)
GRID = [
    *product(
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-32B", "Qwen/Qwen3-32B-FP8", "meta-llama/Llama-3.3-70B-Instruct", "google/gemma-3-27b-it"),
        ("T4", "L4", "A10G", "L40S", "RTX-4090", "A100-80GB", "H100"),
        (LONG, MIDDLE, SHORT, TWO),
    ),
    *product(
        ("Qwen/Qwen3-235B-A22B-FP8", "openai/gpt-oss-120b", "Qwen/Qwen3.5-27B", "deepseek-ai/DeepSeek-R1"),
        ("L4", "L40S", "H100", "MI300X"),
        (LONG, SHORT),
    ),
    *product(("Qwen/Qwen3-8B", "Qwen/Qwen3-32B"), ("H100", "H200", "A100-80GB"), (FULL, FULL_WITH_GRAPHS)),
    *product(
        ("Qwen/Qwen3-32B", "meta-llama/Llama-3.3-70B-Instruct"),
        ("A10G", "A100-80GB"),
        (Options(vllm_version="0.6.4"), Options(vllm_version="0.10.1"), Options(vllm_version="0.19.0")),
    ),
]


@cache
def model(name: str) -> Model:
    return load(catalog_model(name).config, name=name)


@cache
def refused() -> tuple[tuple[str, Model, str, Options, str, tuple[Suggestion, ...]], ...]:
    """Every combination of the grid that memory stands against, with what is suggested on nodes of eight."""
    found = []
    for name, gpu, options in GRID:
        planned, card = model(name), device(accelerator(gpu))
        if fault(planned, options) or check_formats(planned, card, options).refusals:
            continue
        reason = fit(planned, card, options).reason
        if reason is not None:
            found.append((name, planned, gpu, options, reason, suggestions(planned, card, options, 8)))
    return tuple(found)


def test_the_grid_has_refusals_of_every_kind() -> None:
    reasons = [reason for *_, reason, _ in refused()]
    assert len(reasons) > 80
    for start, least in (("no memory is left", 60), ("one request of", 15), ("0.51 driver +", 2), ("the budget of", 4)):
        assert sum(reason.startswith(start) for reason in reasons) >= least, start


def test_there_are_three_suggestions_and_each_fits_when_planned_anew() -> None:
    for name, planned, gpu, options, _, made in refused():
        where = f"{name} on {gpu} with {options}"
        # Where the utilisation itself is too high, few changes that keep it fit.
        least = 1 if options.gpu_memory_utilization else 3
        assert least <= len(made) <= 3, where
        assert len({suggestion.text for suggestion in made}) == len(made), where
        for suggestion in made:
            anew = fit(suggestion.model, suggestion.device, suggestion.options)
            assert anew.fits, f"{where}: {suggestion.text}: {anew.reason}"
            assert anew == suggestion.fit
            assert not check_formats(suggestion.model, suggestion.device, suggestion.options).refusals
            assert (suggestion.model, suggestion.device, suggestion.options) != (planned, device(accelerator(gpu)), options)
            assert suggestion.options.vllm_version == options.vllm_version


def test_a_kind_is_repeated_only_after_one_of_each() -> None:
    for *_, made in refused():
        kinds = [suggestion.kind for suggestion in made]
        assert set(kinds) <= {"context", "batch", "precision", "accelerators", "hardware"}
        different = len(set(kinds))
        assert len(set(kinds[:different])) == different


@pytest.mark.parametrize(
    ("name", "gpu", "options", "texts"),
    [
        (
            "Qwen/Qwen3-8B",
            "L4",
            LONG,
            ["a context of 22528 tokens", "an 8-bit KV cache (kv_cache_dtype fp8)", "tensor parallelism 2"],
        ),
        ("Qwen/Qwen3-32B-FP8", "L4", SHORT, ["tensor parallelism 2", "A100-40GB (39 GiB)", "tensor parallelism 4"]),
        (
            "meta-llama/Llama-3.3-70B-Instruct",
            "H100",
            SHORT,
            ["weights in FP8", "tensor parallelism 2", "2 x A100-80GB (79 GiB)"],
        ),
    ],
)
def test_the_nearest_changes_are_suggested(name: str, gpu: str, options: Options, texts: list[str]) -> None:
    made = next(m for n, _, g, o, _, m in refused() if (n, g, o) == (name, gpu, options))
    assert [suggestion.text for suggestion in made] == texts


@pytest.mark.parametrize(
    ("name", "gpu", "options", "texts"),
    [
        # 1.4 TiB of weights in 4 bit: nothing but the largest node holds them, or 8 nodes of large cards.
        ("moonshotai/Kimi-K3", "L4", LONG, ["8 x B300 (268 GiB)"]),
        ("moonshotai/Kimi-K3", "L40S", SHORT, ["8 pipeline stages of 8 x L40S", "8 x B300 (268 GiB)"]),
        # Before 0.7 latent attention is cached uncompressed, 71 times as large.
        ("deepseek-ai/DeepSeek-R1", "L4", Options(vllm_version="0.6.4"), ["8 x B300 (268 GiB)"]),
        ("moonshotai/Kimi-K3", "L4", Options(vllm_version="0.6.4"), []),
    ],
)
def test_the_largest_models_have_fewer(name: str, gpu: str, options: Options, texts: list[str]) -> None:
    made = suggestions(model(name), device(accelerator(gpu)), options, 8)
    assert [suggestion.text for suggestion in made] == texts
    assert all(fit(s.model, s.device, s.options).fits for s in made)


def test_a_single_node_is_never_told_to_use_several() -> None:
    card = device(accelerator("H100"))
    made = suggestions(model("deepseek-ai/DeepSeek-R1"), card, SHORT, 8, several_nodes=False)
    assert made
    assert all(suggestion.options.pipeline_parallel_size == 1 for suggestion in made)


def test_a_refused_model_of_a_stack_is_told_what_fits() -> None:
    pool = Offer(name="l4", device=device(accelerator("L4")), per_node=1, several_nodes=False, max_nodes=1)
    with pytest.raises(RefusedError) as error:
        place(model("Qwen/Qwen3-32B-FP8"), pool, SHORT)
    sentence = str(error.value)
    assert sentence.startswith("Qwen/Qwen3-32B-FP8 does not fit on 1 x L4 with 22.0 GiB each: no memory is left for the KV cache")
    assert sentence.endswith("; what fits: " + ", or ".join(suggestion.text for suggestion in error.value.suggestions))
    assert len(error.value.suggestions) == 3


@pytest.mark.parametrize(
    ("options", "tensor", "sentence"),
    [
        (Options(), 3, "tensor parallelism 3 does not divide the 32 attention heads; use 1, 2, 4, 8, 16 or 32"),
        (
            Options(max_model_len=10**6),
            None,
            "a context of 1000000 tokens exceeds the 40960 positions of the model; use 40960 or less",
        ),
        (
            Options(kv_cache_dtype="nvfp4"),
            None,
            "L4 (compute capability 8.9) cannot keep its KV cache in nvfp4; use --kv-cache-dtype fp8",
        ),
    ],
)
def test_what_is_impossible_is_refused_before_memory_is_looked_at(options: Options, tensor: int | None, sentence: str) -> None:
    pool = Offer(name="l4", device=device(accelerator("L4")), per_node=8)
    with pytest.raises(RefusedError) as error:
        place(model("Qwen/Qwen3-8B"), pool, options, tensor=tensor)
    assert str(error.value) == sentence


def test_the_fewest_accelerators_that_fit_are_taken() -> None:
    pool = Offer(name="l4", device=device(accelerator("L4")), per_node=8)
    assert place(model("Qwen/Qwen3-8B"), pool, SHORT).accelerators == 1
    assert place(model("Qwen/Qwen3-32B-FP8"), pool, Options(max_model_len=32768)).accelerators == 4
    assert place(model("Qwen/Qwen3-8B"), pool, SHORT, tensor=4).accelerators == 4


def test_a_replica_larger_than_a_node_fills_whole_nodes() -> None:
    """Two stages of DeepSeek-R1 in FP8 need both nodes; on the ordinary network that is said, not refused."""
    pool = Offer(name="h100", device=device(accelerator("H100")), per_node=8, max_nodes=2)
    staged = place(model("deepseek-ai/DeepSeek-R1"), pool, Options(max_model_len=8192, pipeline_parallel_size=2))
    assert (staged.options.tensor_parallel_size, staged.nodes, staged.accelerators_per_node) == (8, 2, 8)
    assert any("without a fabric" in warning for warning in staged.warnings)
    assert not place(staged.model, replace(pool, efa=True), staged.options, tensor=8).warnings


@pytest.mark.parametrize(
    ("name", "gpu", "tensor"),
    [
        ("Qwen/Qwen2.5-72B-Instruct", "L40S", 2),
        ("Qwen/Qwen3-235B-A22B", "L40S", 8),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "L4", 2),
    ],
)
def test_suggested_sizes_divide_the_suggested_checkpoint(name: str, gpu: str, tensor: int) -> None:
    made = suggestions(model(name), device(accelerator(gpu)), Options(tensor_parallel_size=tensor), 8)
    assert [found for s in made if (found := fault(s.model, s.options))] == []


def test_a_utilisation_too_high_for_any_card_is_lowered_with_the_other_changes() -> None:
    assert len(suggestions(model("openai/gpt-oss-120b"), device(accelerator("L4")), FULL, 8)) == 3
