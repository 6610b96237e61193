"""How many bits a quantization leaves of which weight."""

from collections.abc import Mapping
from typing import Any

import pytest

from planner.activation import GIB
from planner.architecture import Shard, Weight
from planner.catalog.models import model as catalog_model
from planner.model import load, quantized
from planner.module_patterns import ModulePatterns
from planner.quantization import BITS, UnknownQuantizationError, canonical, quantization
from tests.unit.planner import cases

UP = Weight("mlp.up_proj", 64, 64, Shard.TENSOR)
QUERY = Weight("self_attn.q_proj", 64, 64, Shard.TENSOR)
KEY = Weight("self_attn.k_proj", 16, 64, Shard.KV_HEADS, heads=2)
EXPERT = Weight("mlp.experts.0.up_proj", 64, 64, Shard.EXPERT, 8)
SHARED = Weight("mlp.shared_experts.up_proj", 64, 64, Shard.TENSOR)
ROUTER = Weight("mlp.gate", 8, 64, linear=False)
NORM = Weight("norm", 64, 1, linear=False)
NVFP4, FP8_BLOCKS = 4 + 8 / 16, 8 + 32 / 128**2


def bits(checkpoint: Mapping[str, Any], weight: Weight = UP, layer: int = 0) -> float:
    return quantization(checkpoint).weight_bits(weight, layer, 16)


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        ({}, 16),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, 4 + (16 + 4) / 128),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, 4 + (16 + 4) / 64),
        ({"quant_method": "gptq", "bits": 8, "group_size": 32}, 8 + (16 + 8) / 32),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, 4),
        ({"quant_method": "auto-round", "bits": 2, "group_size": 128}, 2 + (16 + 2) / 128),
        ({"quant_method": "fp8"}, 8),
        ({"quant_method": "fbgemm_fp8"}, 8),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, FP8_BLOCKS),
        ({"quant_method": "mxfp8"}, 8 + 8 / 32),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, NVFP4),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, FP8_BLOCKS),
        ({"quant_algo": "NVFP4"}, NVFP4),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4 + 8 / 64 + 32 / (64 * 256)),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 8),
        ({"quant_method": "compressed-tensors"}, 8),
    ],
)
def test_bits_of_a_number_count_what_is_stored_beside_it(checkpoint: Mapping[str, Any], expected: float) -> None:
    assert bits(checkpoint) == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"num_bits": 8, "type": "float", "strategy": "channel"}, 8),
        ({"num_bits": 8, "type": "int", "strategy": "channel"}, 8),
        ({"num_bits": 4, "type": "int", "group_size": 128, "symmetric": True}, 4 + 16 / 128),
        ({"num_bits": 4, "type": "int", "group_size": 128, "symmetric": False}, 4 + (16 + 4) / 128),
        ({"num_bits": 4, "type": "float", "group_size": 16}, NVFP4),
        ({"num_bits": "4"}, 16),
        (None, 16),
    ],
)
def test_bits_of_a_group_of_compressed_tensors(weights: object, expected: float) -> None:
    checkpoint = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}
    assert bits(checkpoint) == expected


def test_a_group_may_name_its_modules() -> None:
    groups = {
        "group_0": {"targets": [r"re:.*self_attn.*"], "weights": {"num_bits": 8}},
        "group_1": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "float", "group_size": 16}},
    }
    checkpoint = {"quant_method": "compressed-tensors", "config_groups": groups}
    assert (bits(checkpoint, QUERY), bits(checkpoint, UP)) == (8, NVFP4)


@pytest.mark.parametrize("weight", [ROUTER, NORM, Weight("self_attn.q_proj.bias", 64, 1, Shard.TENSOR, linear=False)])
@pytest.mark.parametrize("method", sorted(BITS))
def test_routers_norms_and_biases_stay_in_16_bit(method: str, weight: Weight) -> None:
    assert quantization({}, method).weight_bits(weight, 0, 16) == 16


def test_embedding_and_head_stay_in_16_bit_whatever_the_method() -> None:
    plain = load(dict(catalog_model("Qwen/Qwen3-8B").config))
    facts = plain.architecture
    outside = sum(weight.elements for weight in (*facts.embedding, *facts.head)) * 2
    tables = sum(positions * dim for positions, dim in facts.rotary) * 2
    for method, width in (("fp8", 8.0), ("fp8_per_block", BITS["fp8"]), ("awq", BITS["awq"]), ("nvfp4", NVFP4)):
        inside = sum(weight.elements * (width if weight.linear else 16) / 8 for layer in facts.layers for weight in layer.weights)
        assert quantized(plain, method).total_bytes() == pytest.approx(outside + tables + inside)


@pytest.mark.parametrize("key", ["ignore", "modules_to_not_convert", "exclude_modules"])
@pytest.mark.parametrize(
    ("pattern", "skipped"),
    [
        ("lm_head", []),
        ("model.layers.0.mlp.up_proj", [(UP, 0)]),
        ("model.layers.1.self_attn", [(QUERY, 1), (KEY, 1)]),
        ("model.layers.1*", [(UP, 1), (QUERY, 1), (KEY, 1)]),
        ("*self_attn*", [(QUERY, 0), (KEY, 0), (QUERY, 1), (KEY, 1)]),
        ("*.self_attn.q_proj", [(QUERY, 0), (QUERY, 1)]),
        (r"re:.*\.[qk]_proj$", [(QUERY, 0), (KEY, 0), (QUERY, 1), (KEY, 1)]),
        (r"re:.*mlp\.(gate|up)_proj", [(UP, 0), (UP, 1)]),
        ("re:(", []),
        ("up_proj", [(UP, 0), (UP, 1)]),
        ("proj", []),
        ("backbone.layers.1.mixer.up_proj", [(UP, 1)]),
    ],
)
def test_what_a_checkpoint_ignores_stays_in_16_bit(key: str, pattern: str, skipped: list[tuple[Weight, int]]) -> None:
    checkpoint = {"quant_method": "fp8", key: [pattern]}
    found = [(weight, layer) for layer in (0, 1) for weight in (UP, QUERY, KEY) if bits(checkpoint, weight, layer) == 16]
    assert found == skipped or sorted(found, key=repr) == sorted(skipped, key=repr)


def test_a_pattern_of_layer_1_is_none_of_layer_10() -> None:
    patterns = ModulePatterns(("model.layers.1.mlp.up_proj", "model.layers.12.self_attn.q_proj"))
    assert [layer for layer in range(20) if patterns.match("mlp.up_proj", layer)] == [1]
    assert [layer for layer in range(20) if patterns.match("self_attn.q_proj", layer)] == [12]


def test_mxfp4_shrinks_experts_only() -> None:
    for scheme in (quantization({"quant_method": "mxfp4"}), quantization({}, "gpt_oss_mxfp4")):
        assert scheme.weight_bits(EXPERT, 0, 16) == 4.25
        assert [scheme.weight_bits(weight, 0, 16) for weight in (UP, QUERY, SHARED, ROUTER)] == [16] * 4


def test_experts_may_have_a_format_of_their_own() -> None:
    scheme = quantization({"quant_method": "fp8", "weight_block_size": [128, 128]}, None, "fp4")
    assert scheme.weight_bits(EXPERT, 0, 16) == 4.25
    assert scheme.weight_bits(SHARED, 0, 16) == scheme.weight_bits(QUERY, 0, 16) == FP8_BLOCKS


def test_a_checkpoint_that_mixes_algorithms_has_bits_by_module() -> None:
    layers = {
        "backbone.layers.0.mixer.experts.0.up_proj": {"quant_algo": "NVFP4"},
        "backbone.layers.1.mixer.q_proj": {"quant_algo": "FP8"},
        "backbone.layers.2.mixer.q_proj": {"quant_algo": "unheard-of"},
    }
    mixed = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers}
    assert bits(mixed, EXPERT, 0) == NVFP4
    assert bits(mixed, QUERY, 1) == FP8_BLOCKS
    further = {"quant_method": "fp8", "ignore": ["*experts*"], "quantized_layers": layers, "weight_block_size": [128, 128]}
    assert bits(further, EXPERT, 0) == NVFP4
    assert bits(further, EXPERT, 1) == FP8_BLOCKS, "what an FP8 checkpoint left to the second pass and that passed over stays FP8"


def test_what_the_checkpoint_declares_goes_before_what_is_requested() -> None:
    assert quantization({"quant_method": "awq"}, "fp8").method == "awq"
    assert quantization({}, "fp8").method == "fp8"
    for nothing in (None, "", "none", "auto"):
        scheme = quantization({}, nothing)
        assert (scheme.method, scheme.bits, scheme.number_format) == (None, 16, "16 bit")


@pytest.mark.parametrize(
    ("written", "method"),
    [("awq_marlin", "awq"), ("GPTQ_Marlin", "gptq"), ("modelopt NVFP4", "nvfp4"), ("modelopt_fp4", "nvfp4"), (" fp8 ", "fp8")],
)
def test_spellings_of_a_method(written: str, method: str) -> None:
    assert canonical(written) == method


@pytest.mark.parametrize("written", ["int3", "fp9", "marlin24", " ", "awqq"])
def test_an_unknown_method_is_refused_with_the_known_ones(written: str) -> None:
    with pytest.raises(
        UnknownQuantizationError, match="is not a quantization the planner knows; use one of awq, bitsandbytes,"
    ) as refused:
        canonical(written)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("checkpoint", "cache"),
    [
        ({"kv_cache_scheme": {"num_bits": 8, "type": "float"}}, "fp8"),
        ({"kv_cache_quant_algo": "FP8"}, "fp8"),
        ({"kv_cache_scheme": None}, None),
        ({"kv_cache_scheme": {"num_bits": 4}}, None),
        ({"kv_cache_quant_algo": 8}, None),
    ],
)
def test_the_cache_format_a_checkpoint_asks_for(checkpoint: Mapping[str, Any], cache: str | None) -> None:
    assert quantization({"quant_method": "modelopt", "quant_algo": "FP8", **checkpoint}).kv_cache == cache


@pytest.mark.parametrize(
    "name",
    [
        "24g-qwen25-32b-awq-1024",
        "a100-80-qwq-32b-awq",
        "h100-emp-llama33-70b-fp8-tp2",
        "h100-emp-llama33-70b-fp8-tp1",
        "h100-v019-meta-llama-llama-3-tp1pp1dp1-8192-qfp8",
        "h100-v019-w4a16-redhatai-lla-tp1pp1dp1-8192-dtf16",
        "llama31-70b-w8a8-u098",
        "t4-llama31-8b-bnb4",
    ],
)
def test_quantized_weights_are_as_large_as_logs_print_them(name: str) -> None:
    case = next(case for case in cases.cases() if case.id == name)
    for planned in (cases.model(case), cases.own_model(case)):
        if planned is not None:
            found = planned.rank_bytes(range(len(planned.layers)), case.tp, case.tp, encoder=True) / GIB
            assert found == pytest.approx(case.weights_gib, rel=0.01)
