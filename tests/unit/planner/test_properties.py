"""What holds of every plan, whatever the model, the card and the options; and that no configuration crashes the planner."""

import math
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from planner.architecture import ConfigError
from planner.catalog.models import model as catalog_model
from planner.memory import Fit, fit
from planner.model import Model, load
from planner.options import Device, Options, Speculative
from planner.quantization import UnknownQuantizationError
from tests.unit.planner.cases import configs

CATALOGUE = (
    "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "Qwen/Qwen3-32B-FP8",
    "deepseek-ai/DeepSeek-V3.2",
    "deepseek-ai/DeepSeek-V4-Flash",
    "google/gemma-3-27b-it",
    "google/gemma-4-26B-A4B",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct",
    "moonshotai/Kimi-K3",
    "nvidia/DeepSeek-V3.1-NVFP4",
    "nvidia/Llama-3_3-Nemotron-Super-49B-v1",
    "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4",
    "openai/gpt-oss-120b",
    "MiniMaxAI/MiniMax-M3",
    "XiaomiMiMo/MiMo-V2-Flash",
)
V1 = ("0.8.5", "0.10.1", "0.13.0", "0.17.1", "0.19.0", "0.20.1", "0.21.0", "0.26.0", "0.28.0", "0.33.0", "0.99", "")
V0 = ("0.5.1", "v0.6.4.post1", "0.7.2")
MEMORY_GIB = (14.56, 21.99, 23.52, 31.36, 39.39, 44.4, 47.54, 63.98, 79.19, 93.1, 139.8, 178.4, 191.98, 287.9)
"""Sizes there are, as drivers report them."""
SLOW = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def model(name: str) -> Model:
    return load(configs()[name] if name in configs() else catalog_model(name).config, None, "auto", name)


def card(memory_gib: float, nvlink: bool = True) -> Device:
    return Device(name="card", memory_gib=memory_gib, capability=(9, 0), multiprocessors=132, nvlink=nvlink)


models = st.sampled_from([*configs(), *CATALOGUE]).map(model)
devices = st.builds(card, st.sampled_from(MEMORY_GIB), st.booleans())
speculative = st.sampled_from([None, Speculative(method="ngram", tokens=4), Speculative(method="eagle3", tokens=2)])


def options(versions: tuple[str, ...] = V0 + V1) -> st.SearchStrategy[Options]:
    return st.builds(
        Options,
        tensor_parallel_size=st.sampled_from([1, 2, 4, 8]),
        pipeline_parallel_size=st.sampled_from([1, 1, 2, 3]),
        data_parallel_size=st.sampled_from([1, 1, 2]),
        enable_expert_parallel=st.booleans(),
        max_model_len=st.none() | st.integers(1, 300_000),
        gpu_memory_utilization=st.none() | st.floats(0.1, 0.98),
        max_num_seqs=st.none() | st.integers(1, 1024),
        max_num_batched_tokens=st.none() | st.integers(1024, 16384),
        kv_cache_dtype=st.sampled_from(["auto", "bfloat16", "fp8", "fp8_e4m3", "nvfp4"]),
        enforce_eager=st.booleans(),
        enable_prefix_caching=st.booleans(),
        language_model_only=st.booleans(),
        max_loras=st.sampled_from([0, 0, 4]),
        speculative=speculative,
        vllm_version=st.sampled_from(versions),
    )


def one_stage(chosen: Options) -> bool:
    """With several stages, which one is the fullest depends on the context, and terms are those of that one."""
    return chosen.pipeline_parallel_size == 1


def loaded(config: Any, quantize: str | None = None, dtype: str = "auto") -> Model | str:
    """The model, or the one sentence that refuses it; anything else is a crash."""
    try:
        return load(config, quantize, dtype)
    except (ConfigError, UnknownQuantizationError) as refused:
        sentence = str(refused)
    assert sentence.strip()
    assert "\n" not in sentence
    return sentence


def sound(plan: Fit, memory_gib: float) -> None:
    """What any plan must be, however odd its input."""
    terms = plan.terms
    for number in (terms.weights_gib, terms.non_torch_gib, terms.activation_gib, terms.cuda_graph_gib, plan.request_gib):
        assert math.isfinite(number)
        assert number >= 0
    assert math.isfinite(terms.kv_cache_gib)
    assert terms.kv_cache_gib <= terms.budget_gib <= memory_gib
    assert plan.fits == (plan.reason is None)
    assert plan.kv_cache_tokens >= 0
    assert plan.max_concurrency >= 0
    if plan.fits:
        assert plan.max_model_len_that_fits >= plan.max_model_len
        assert plan.request_gib <= terms.kv_cache_gib
        # The token count of groups with unlike blocks is rounded, concurrency is not.
        assert plan.max_concurrency >= 1 or plan.request_gib == 0


@given(models, devices, options())
@SLOW
def test_a_plan_is_sound_and_the_same_each_time(planned: Model, device: Device, chosen: Options) -> None:
    plan = fit(planned, device, chosen)
    sound(plan, device.memory_gib)
    assert fit(planned, device, chosen) == plan


@given(models, devices, options(V1), st.integers(1, 262_144), st.integers(1, 262_144))
@SLOW
def test_more_context_never_needs_less_memory_nor_lets_a_longer_one_fit(
    planned: Model, device: Device, chosen: Options, one: int, other: int
) -> None:
    # From 0.8 on; before, a start profiles a whole prompt up to 32k, and above that, with chunked prefill, needs less.
    limit = planned.architecture.max_positions or 262_144
    shorter, longer = sorted((min(one, limit), min(other, limit)))
    less, more = (fit(planned, device, replace(chosen, max_model_len=length)) for length in (shorter, longer))
    if one_stage(chosen):
        assert more.request_gib >= less.request_gib
        assert more.terms.kv_cache_gib == less.terms.kv_cache_gib
    assert more.max_model_len_that_fits <= less.max_model_len_that_fits
    assert less.fits or not more.fits, f"{longer} tokens fit and {shorter} do not: {less.reason}"


@given(models, devices, options(V1))
@SLOW
def test_the_longest_context_that_fits_does_fit_and_no_longer_one_does(planned: Model, device: Device, chosen: Options) -> None:
    chosen = replace(chosen, pipeline_parallel_size=1)
    longest = fit(planned, device, replace(chosen, max_model_len=1)).max_model_len_that_fits
    limit = planned.architecture.max_positions
    if longest:
        there = fit(planned, device, replace(chosen, max_model_len=longest))
        assert there.request_gib <= there.terms.kv_cache_gib, there.reason
    if longest < limit:
        beyond = fit(planned, device, replace(chosen, max_model_len=longest + 1))
        assert beyond.request_gib > beyond.terms.kv_cache_gib
        assert not beyond.fits


@given(models, devices, options(), st.booleans())
@SLOW
def test_more_tensor_parallelism_never_increases_weights_per_gpu(
    planned: Model, device: Device, chosen: Options, eight: bool
) -> None:
    few = chosen.tensor_parallel_size
    many = 8 * few if eight else 2 * few
    plans = [fit(planned, device, replace(chosen, tensor_parallel_size=size, speculative=None)) for size in (few, many)]
    stages = planned.stages(chosen.pipeline_parallel_size)
    for stage in stages:
        before, after = (planned.rank_bytes(stage, size, size, encoder=True) for size in (few, many))
        assert after <= before
    if len(stages) == 1:
        assert plans[1].terms.weights_gib <= plans[0].terms.weights_gib


@given(models, st.data(), options(), st.booleans())
@SLOW
def test_a_plan_that_fits_still_fits_on_a_bigger_gpu(planned: Model, data: st.DataObject, chosen: Options, nvlink: bool) -> None:
    index = data.draw(st.integers(0, len(MEMORY_GIB) - 2))
    bigger = data.draw(st.integers(index + 1, len(MEMORY_GIB) - 1))
    fixed = replace(
        chosen, gpu_memory_utilization=chosen.gpu_memory_utilization or 0.9, max_model_len=chosen.max_model_len or 4096
    )
    before = fit(planned, card(MEMORY_GIB[index], nvlink), fixed)
    same = replace(fixed, max_num_seqs=before.max_num_seqs, max_num_batched_tokens=before.max_num_batched_tokens)
    after = fit(planned, card(MEMORY_GIB[bigger], nvlink), same)
    assert after.fits or not before.fits, after.reason
    assert after.max_model_len_that_fits >= before.max_model_len_that_fits


@given(models, devices, options(), st.sampled_from(["bfloat16", "float16"]), st.sampled_from(["fp8", "fp8_e4m3", "fp8_e5m2"]))
@SLOW
def test_a_cache_in_8_bit_never_holds_less_than_one_in_16_bit(
    planned: Model, device: Device, chosen: Options, wide: str, narrow: str
) -> None:
    in_16, in_8 = (fit(planned, device, replace(chosen, kv_cache_dtype=dtype)) for dtype in (wide, narrow))
    if one_stage(chosen):
        assert in_8.terms.kv_cache_gib == in_16.terms.kv_cache_gib
        assert in_8.kv_cache_tokens >= in_16.kv_cache_tokens
    # Tokens that old versions print depend on how a stage groups its layers; what it holds does not.
    assert in_8.max_concurrency >= in_16.max_concurrency
    assert in_8.max_model_len_that_fits >= in_16.max_model_len_that_fits
    assert in_8.fits or not in_16.fits


@given(st.sampled_from([*configs(), *CATALOGUE]), devices, options(), st.randoms(use_true_random=False))
@SLOW
def test_the_order_of_keys_means_nothing(name: str, device: Device, chosen: Options, shuffle: Any) -> None:
    config = dict(configs()[name] if name in configs() else catalog_model(name).config)
    keys = list(config)
    shuffle.shuffle(keys)
    original = deepcopy(config)
    other = load({key: config[key] for key in keys})
    assert config == original, "reading a configuration leaves it as it was"
    assert other.architecture.warnings == model(name).architecture.warnings
    assert fit(other, device, chosen) == fit(model(name), device, chosen)


def _keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return {str(key) for key in value} | {key for inner in value.values() for key in _keys(inner)}
    return {key for inner in value for key in _keys(inner)} if isinstance(value, list) else set()


SOURCES = {name: dict(catalog_model(name).config) for name in CATALOGUE} | {
    name: dict(facts) for name, facts in configs().items()
}
KEYS = sorted(
    {key for config in SOURCES.values() for key in _keys(config)}
    | {"n_embd", "n_layer", "n_head", "multi_query", "new_decoder_architecture", "d_model", "block_configs", "compression_config"}
    | {"layer_types", "mlp_only_layers", "moe_layer_freq", "linear_attn_config", "kda_layers", "hybrid_override_pattern"}
    | {"layers_block_type", "attn_layer_period", "attn_layer_offset", "use_sliding_window", "num_sliding_layers", "text_config"}
    | {"quantization_config", "config_groups", "quantized_layers", "kv_cache_scheme", "ignore", "targets", "weights", "num_bits"}
    | {
        "vision_config",
        "audio_config",
        "rope_scaling",
        "rope_parameters",
        "factor",
        "original_max_position_embeddings",
        "expert_dtype",
    }
)
numbers = (
    st.integers(-3, 300)
    | st.sampled_from([0, -1, 2**31, 2**40 - 1, 2**63, 10**400, -(10**20), 1e308, -0.0, 0.5, 1.5, math.inf, -math.inf, math.nan])
    | st.floats()
)
WORDS = ("", " ", "auto", "fp8", "awq", "mxfp4", "nvfp4", "modelopt", "compressed-tensors", "llama", "deepseek_v3", "nemotron_h")
texts = st.sampled_from(
    [*WORDS, "M*E-", "re:(", "re:.*", "*", "[", "gemma3 (text)", "full_attention", "sparse", "mamba"]
) | st.text(max_size=8)
odd = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | texts, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def strange_configs(draw: st.DrawFn) -> dict[str, Any]:
    """A model's configuration with some values replaced or removed, at the top or inside a section; or nothing but oddities."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.dictionaries(st.sampled_from(KEYS), odd, max_size=12))
    config = deepcopy(SOURCES[draw(st.sampled_from(sorted(SOURCES)))])
    for _ in range(draw(st.integers(1, 5))):
        place = config
        while sections := [key for key, value in place.items() if isinstance(value, dict)]:
            inside = draw(st.sampled_from([None, *sections]))
            if inside is None:
                break
            place = place[inside]
        present = sorted(str(key) for key in place)
        key = draw(st.sampled_from(present or KEYS) | st.sampled_from(KEYS))
        if draw(st.integers(0, 5)) == 0:
            place.pop(key, None)
        else:
            place[key] = draw(odd)
    return config


@given(strange_configs(), texts, st.sampled_from(["auto", "float32", "int3"]), devices, options())
@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@example({"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}, "", "auto", card(24.0), Options())
def test_no_configuration_crashes_the_planner(
    config: dict[str, Any], quantize: str, dtype: str, device: Device, chosen: Options
) -> None:
    strange = loaded(config, quantize, dtype)
    if isinstance(strange, str):
        return
    assume(chosen.pipeline_parallel_size <= len(strange.layers))
    sound(fit(strange, device, chosen), device.memory_gib)
    assert strange.architecture.parameters() > 0
    assert all("\n" not in sentence for sentence in strange.architecture.warnings)


@given(odd)
@settings(max_examples=200, deadline=None)
def test_what_is_no_configuration_at_all_is_refused_in_a_sentence(value: Any) -> None:
    if not isinstance(loaded(value), str):
        assert {"hidden_size", "n_embd", "d_model"} & _keys(value)
