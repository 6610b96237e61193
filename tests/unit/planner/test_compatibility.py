"""Which number formats, images and drivers a card can run: refusals, warnings, and what is right."""

from functools import cache

import pytest

from planner.catalog.hardware import accelerator
from planner.catalog.models import model as catalog_model
from planner.compatibility import Findings, check_context, check_formats, check_lora, driver_fault
from planner.model import Model, load
from planner.options import Device, Options, device

BF16, FP16 = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-2-7b-hf"
FP8, AWQ, MXFP4 = "Qwen/Qwen3-8B-FP8", "Qwen/Qwen3-8B-AWQ", "openai/gpt-oss-20b"
NVFP4, BNB = "nvidia/Qwen3-235B-A22B-NVFP4", "unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit"
OLD = "0.10.1"

IMAGE = "vLLM 0.33.0's image has no kernels for V100-16GB (compute capability 7.0); use a GPU of 7.5 or later (T4 and newer)"
IN_16_BIT = "multiplies {} weights in 16 bit: it saves memory, not time"
NO_BF16 = "has no bfloat16; the engine runs this model in float16, which some models overflow"
OTHER_VENDOR = "memory on {} is planned by what was measured on NVIDIA GPUs; check the first start's log"
PLUGIN = "bitsandbytes left vLLM's core; the image needs its plugin, or use a checkpoint in awq, gptq or fp8"


@cache
def model(name: str) -> Model:
    return load(catalog_model(name).config, name=name)


@cache
def card(name: str) -> Device:
    return device(accelerator(name))


def found(name: str, gpu: str, version: str = "0.33.0", cache_dtype: str = "auto", dtype: str = "auto") -> Findings:
    return check_formats(model(name), card(gpu), Options(vllm_version=version, kv_cache_dtype=cache_dtype), dtype)


@pytest.mark.parametrize(
    ("name", "gpu", "version", "refused", "warned"),
    [
        # V100: no image of 0.33; older ones run what its kernels can.
        (FP16, "V100", "0.33.0", [IMAGE], []),
        (FP8, "V100", "0.33.0", [IMAGE], [NO_BF16]),
        (FP16, "V100", OLD, [], []),
        (BF16, "V100", OLD, [], [NO_BF16]),
        (FP8, "V100", OLD, ["cannot run fp8"], [NO_BF16]),
        (MXFP4, "V100", OLD, ["cannot run mxfp4"], [NO_BF16]),
        # T4
        (FP16, "T4", "0.33.0", [], []),
        (BF16, "T4", "0.33.0", [], [NO_BF16]),
        (AWQ, "T4", "0.33.0", [], [NO_BF16]),
        (FP8, "T4", "0.33.0", [], [IN_16_BIT.format("fp8"), NO_BF16]),
        (MXFP4, "T4", "0.33.0", ["T4 (compute capability 7.5) cannot run mxfp4; use a checkpoint in float16"], [NO_BF16]),
        # Ampere, Ada
        (BF16, "A100-80GB", "0.33.0", [], []),
        (FP8, "A100-80GB", "0.33.0", [], [IN_16_BIT.format("fp8")]),
        (MXFP4, "A100-80GB", "0.33.0", [], [IN_16_BIT.format("mxfp4")]),
        (FP8, "L4", "0.33.0", [], []),
        (MXFP4, "L4", "0.33.0", [], [IN_16_BIT.format("mxfp4")]),
        # Hopper, Blackwell
        (FP8, "H100", "0.33.0", [], []),
        (MXFP4, "H100", "0.33.0", [], []),
        (NVFP4, "H100", "0.33.0", [], [IN_16_BIT.format("nvfp4")]),
        (NVFP4, "B200", "0.33.0", [], []),
        # Methods that left the core
        (BNB, "H100", "0.33.0", [], [PLUGIN]),
        (BNB, "H100", OLD, [], []),
        # Other vendors
        (BF16, "MI300X", "0.33.0", [], [OTHER_VENDOR.format("MI300X")]),
        (FP8, "MI300X", "0.33.0", [], [OTHER_VENDOR.format("MI300X")]),
        (MXFP4, "MI300X", "0.33.0", ["MI300X has no mxfp4; use a checkpoint in bfloat16"], [OTHER_VENDOR.format("MI300X")]),
        (MXFP4, "MI355X", "0.33.0", [], [OTHER_VENDOR.format("MI355X")]),
        (BF16, "Gaudi2", "0.33.0", [], [OTHER_VENDOR.format("Gaudi2")]),
        (FP8, "Gaudi", "0.33.0", ["Gaudi has no fp8; use"], [OTHER_VENDOR.format("Gaudi")]),
    ],
)
def test_formats_by_card(name: str, gpu: str, version: str, refused: list[str], warned: list[str]) -> None:
    findings = found(name, gpu, version)
    assert len(findings.refusals) == len(refused), findings
    assert len(findings.warnings) == len(warned), findings
    for sentence, part in zip((*findings.refusals, *findings.warnings), (*refused, *warned), strict=True):
        assert part in sentence
        assert "\n" not in sentence


@pytest.mark.parametrize(
    ("gpu", "cache_dtype", "refusal", "warned"),
    [
        ("T4", "fp8", "T4 (compute capability 7.5) cannot keep its KV cache in fp8; use --kv-cache-dtype float16", False),
        (
            "T4",
            "FP8_e5m2",
            "T4 (compute capability 7.5) cannot keep its KV cache in fp8_e5m2; use --kv-cache-dtype float16",
            False,
        ),
        ("A100-80GB", "fp8", None, True),
        ("L4", "fp8", None, False),
        ("H100", "fp8_e4m3", None, False),
        (
            "H100",
            "nvfp4",
            "H100-80GB (compute capability 9.0) cannot keep its KV cache in nvfp4; use --kv-cache-dtype fp8",
            False,
        ),
        ("B200", "nvfp4", None, False),
        ("T4", "auto", None, False),
    ],
)
def test_cache_formats_by_card(gpu: str, cache_dtype: str, refusal: str | None, warned: bool) -> None:
    findings = found(FP16, gpu, cache_dtype=cache_dtype)
    assert findings.refusals == (() if refusal is None else (refusal,))
    assert bool(findings.warnings) is warned
    if warned:
        assert findings.warnings[0].endswith("only with some attention backends; try it before you rely on it")


def test_bfloat16_is_refused_on_old_cards_only_when_it_is_asked_for() -> None:
    assert found(BF16, "T4", dtype="bfloat16").refusals == ("T4 (compute capability 7.5) has no bfloat16; use --dtype float16",)
    assert found(BF16, "T4", dtype="float16") == Findings()
    assert found(BF16, "L4", dtype="bfloat16") == Findings()


def test_a_card_known_by_its_memory_only_is_not_judged() -> None:
    assert check_formats(model(MXFP4), device(memory_gib=24), Options(kv_cache_dtype="nvfp4")) == Findings()


@pytest.mark.parametrize(("cuda", "driver", "needed"), [(13, 550, 580), (13, 575, 580), (12, 470, 525)])
def test_a_driver_older_than_the_image_needs_is_refused(cuda: int, driver: int, needed: int) -> None:
    assert driver_fault(cuda, driver) == (
        f"the image's CUDA {cuda} needs driver R{needed} or later and the nodes have R{driver}; "
        "install a newer driver, or set VLLM_ENABLE_CUDA_COMPATIBILITY=1 on data-centre GPUs"
    )


@pytest.mark.parametrize(("cuda", "driver"), [(13, 580), (13, 590), (12, 525), (12, 580), (99, 1)])
def test_a_driver_new_enough_or_an_unknown_cuda_is_not_refused(cuda: int, driver: int) -> None:
    assert driver_fault(cuda, driver) is None


def test_a_context_beyond_the_models_positions_is_refused_with_the_longest() -> None:
    qwen = model("Qwen/Qwen3-8B")
    assert check_context(qwen, Options(max_model_len=50000)) == (
        "a context of 50000 tokens exceeds the 40960 positions of the model; use 40960 or less"
    )
    assert check_context(qwen, Options(max_model_len=40960)) is None
    assert check_context(qwen, Options()) is None


@pytest.mark.parametrize(
    ("rank", "count", "loras", "max_rank", "sentence"),
    [
        (16, 1, 1, 16, None),
        (8, 4, 4, 64, None),
        (64, 1, 4, 16, "rank 64 exceeds 16, the largest the engine has room for; use a largest rank of 64"),
        (33, 1, 4, 16, "rank 33 exceeds 16, the largest the engine has room for; use a largest rank of 64"),
        (8, 1, 4, 24, "a largest rank of 24 is not one vLLM has; use one of 1, 8, 16, 32, 64, 128, 256, 320, 512"),
    ],
)
def test_adapters_must_suit_the_slots(rank: int, count: int, loras: int, max_rank: int, sentence: str | None) -> None:
    assert check_lora(rank, count, Options(max_loras=loras, max_lora_rank=max_rank)) == sentence


def test_more_adapters_than_slots_are_refused() -> None:
    sentence = check_lora(16, 5, Options(max_loras=4))
    assert sentence is not None
    assert sentence.startswith("5 adapters need as many slots in a batch and there are 4; use ")


def test_the_number_of_adapters_that_is_suggested_fits_the_slots() -> None:
    assert str(check_lora(16, 5, Options(max_loras=4))).endswith("use 4 or fewer adapters or 5 slots")


def test_a_rank_beyond_all_kernels_is_not_answered_with_a_rank_that_is_too_small() -> None:
    assert not str(check_lora(600, 1, Options(max_loras=1, max_lora_rank=512))).endswith("use a largest rank of 512")


@pytest.mark.parametrize("version", ["v0.33.0", "0.34.0", "nightly", ""])
def test_later_versions_are_judged_like_the_newest(version: str) -> None:
    assert found(FP16, "V100", version).refusals


def test_what_is_suggested_for_awq_on_v100_is_not_awq() -> None:
    assert "use a checkpoint in float16 or gptq" in found(AWQ, "V100", OLD).refusals[0]


def test_a_checkpoint_with_an_8_bit_cache_is_refused_on_a_card_that_has_none() -> None:
    config = dict(catalog_model(BF16).config)
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "kv_cache_scheme": {"num_bits": 8, "type": "float"},
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float"}}},
    }
    cached = load(config)
    assert cached.quantization.kv_cache == "fp8"
    assert check_formats(cached, card("T4"), Options()).refusals
