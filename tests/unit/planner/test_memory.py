"""A plan's terms by hand: what each option adds, which stage decides, and what a refusal says."""

from dataclasses import replace

import pytest

from planner.activation import GIB
from planner.engine import NEWEST, engine
from planner.memory import fit
from planner.model import Model, load
from planner.options import Device, Options, Speculative, device
from tests.unit.planner.cases import configs

H100 = Device(name="H100", memory_gib=79.19, capability=(9, 0), multiprocessors=132, nvlink=True)
A10 = Device(name="A10", memory_gib=21.99, capability=(8, 6), multiprocessors=72, nvlink=False)
AT_0_19 = Options(max_model_len=8192, gpu_memory_utilization=0.95, vllm_version="0.19.0")


def model(name: str, quantize: str | None = None) -> Model:
    return load(configs()[name], quantize)


@pytest.fixture(scope="module")
def llama() -> Model:
    return model("meta-llama/Llama-3.1-8B")


def test_what_is_left_of_the_budget_is_the_cache(llama: Model) -> None:
    for version in ("0.19.0", NEWEST):
        terms = fit(llama, H100, replace(AT_0_19, vllm_version=version)).terms
        graphs = terms.cuda_graph_gib if terms.cuda_graphs_inside_budget else 0
        used = terms.weights_gib + terms.non_torch_gib + terms.activation_gib + graphs
        assert terms.kv_cache_gib == pytest.approx(79.19 * 0.95 - used)
        assert terms.outside_gib == pytest.approx(79.19 * 0.05 - terms.context_gib - (terms.cuda_graph_gib - graphs))


def test_versions_differ_in_what_they_charge_to_the_budget() -> None:
    assert [engine(version).cuda_graphs_inside_budget for version in ("0.19.1", "0.20.0", "v0.21.0rc1", "")] == [
        False,
        True,
        True,
        True,
    ]
    assert [engine(version).gpu_memory_utilization for version in ("0.6.0", "0.19.0", "0.20.0")] == [0.9, 0.9, 0.92]
    assert [engine(version).mla for version in ("0.6.6", "0.7.0", "0.7.1")] == [False, False, True]
    assert engine("nightly") == replace(engine(NEWEST), version="nightly")
    assert all(engine(version).sources for version in ("0.1", NEWEST))


@pytest.mark.parametrize(
    ("version", "memory", "a100", "length", "expected"),
    [
        ("0.19.0", 79.19, False, 8192, (8192, 1024)),
        ("0.19.0", 79.15, True, 8192, (2048, 256)),
        ("0.19.0", 47.5, False, 8192, (2048, 256)),
        ("0.33.0", 178.4, False, 8192, (16384, 1024)),
        ("0.27.0", 178.4, False, 8192, (8192, 1024)),
        ("0.6.4", 79.19, False, 20000, (20000, 256)),
        ("0.6.4", 79.19, False, 40000, (2048, 256)),
        ("0.6.4", 79.19, False, 512, (2048, 256)),
    ],
)
def test_default_batches_by_card_and_version(
    version: str, memory: float, a100: bool, length: int, expected: tuple[int, int]
) -> None:
    assert engine(version).batch_defaults(memory, a100, length) == expected


def test_the_sampler_of_a_full_batch_decides_the_peak_of_a_model_with_a_large_vocabulary(llama: Model) -> None:
    many, few = (fit(llama, H100, replace(AT_0_19, max_num_seqs=sequences)).terms.activation_gib for sequences in (1024, 512))
    assert many - few == pytest.approx(512 * 128256 * 14 / GIB)
    longer = fit(llama, H100, replace(AT_0_19, max_model_len=32768)).terms
    assert longer.activation_gib == many, "it does not depend on the context"


def test_before_chunked_prefill_a_start_profiles_a_whole_prompt(llama: Model) -> None:
    options = replace(AT_0_19, vllm_version="0.6.4", max_num_seqs=16)
    lengths = (8192, 16384, 32768, 40000)
    peaks = [fit(llama, H100, replace(options, max_model_len=length)).terms.activation_gib for length in lengths]
    assert peaks[0] < peaks[1] < peaks[2]
    assert peaks[3] < peaks[0]


def test_the_fullest_pipeline_stage_decides(llama: Model) -> None:
    plans = {stages: fit(llama, H100, replace(AT_0_19, pipeline_parallel_size=stages)) for stages in (1, 2, 4)}
    # Two ends each hold half of the layers and one of embedding and head; the last one samples besides.
    assert plans[2].terms.weights_gib == pytest.approx(7.5, abs=0.02)
    assert plans[4].terms.weights_gib == pytest.approx(4.25, abs=0.02)
    assert plans[1].kv_cache_tokens < plans[2].kv_cache_tokens < plans[4].kv_cache_tokens
    assert [len(stage) for stage in llama.stages(5)] == [6, 6, 7, 7, 6]


def test_the_longest_context_that_fits_is_that_of_the_stage_with_the_least_room() -> None:
    # The first stage keeps windows and the second whole contexts: which of them is fuller depends on the context.
    layers = ["sliding_attention"] * 4 + ["full_attention"] * 4
    planned = load(
        dict(configs()["meta-llama/Llama-3.1-8B"]) | {"num_hidden_layers": 8, "layer_types": layers, "sliding_window": 128}
    )
    options = Options(pipeline_parallel_size=2, max_num_batched_tokens=512, max_num_seqs=8)
    card = replace(A10, memory_gib=5.0)
    longest = fit(planned, card, replace(options, max_model_len=16)).max_model_len_that_fits
    there = fit(planned, card, replace(options, max_model_len=longest))
    assert there.request_gib <= there.terms.kv_cache_gib, there.reason


def test_experts_are_divided_among_the_data_parallel_ranks_with_expert_parallelism() -> None:
    mixtral = model("mistralai/Mixtral-8x7B-v0.1")
    experts = 32 * 8 * 3 * 4096 * 14336 * 2 / GIB
    options = replace(AT_0_19, tensor_parallel_size=2, data_parallel_size=4)
    apart, together = (
        fit(mixtral, H100, replace(options, enable_expert_parallel=parallel)).terms.weights_gib for parallel in (True, False)
    )
    assert together - apart == pytest.approx(experts / 2 - experts / 8)


def test_mxfp4_experts_are_padded_and_their_buffers_must_fit_outside_the_budget() -> None:
    planned = model("openai/gpt-oss-20b", "mxfp4")
    padding = 24 * 32 * 3 * 2880 * (3072 - 2880) * 4.25 / 8 / GIB
    whole = planned.rank_bytes(range(24), 1, 1, encoder=True) / GIB
    bare = whole - padding
    outside = sum(weight.elements for weight in (*planned.architecture.embedding, *planned.architecture.head)) * 2
    tables = sum(positions * dim * 2 for positions, dim in planned.architecture.rotary)
    inside = sum(layer.replicated + layer.tensor + layer.expert + sum(size for _, size in layer.kv) for layer in planned.layers)
    assert bare == pytest.approx((outside + inside + tables) / GIB, rel=1e-3)
    assert not fit(planned, H100, AT_0_19).fits
    assert fit(planned, H100, replace(AT_0_19, gpu_memory_utilization=0.9)).fits


def test_adapters_take_slots_of_their_rank(llama: Model) -> None:
    plain, adapted = (fit(llama, H100, replace(AT_0_19, max_loras=loras)) for loras in (0, 4))
    # Rows and columns of every projection of a layer, and of the head; 4 slots of rank 16 in 16 bit.
    projections = 2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336)
    expected = (32 * projections + 4096 + 128256) * 4 * 16 * 2 / GIB
    assert adapted.terms.weights_gib - plain.terms.weights_gib == pytest.approx(expected)
    assert adapted.kv_cache_tokens < plain.kv_cache_tokens


def test_what_proposes_tokens_takes_weights_and_a_layer_of_cache(llama: Model) -> None:
    plain, lookup, head, draft = (
        fit(llama, H100, replace(AT_0_19, speculative=speculative))
        for speculative in (
            None,
            Speculative(method="ngram", tokens=4),
            Speculative(method="eagle", tokens=3),
            Speculative(method="draft_model", tokens=3, draft=model("meta-llama/Llama-3.2-1B")),
        )
    )
    assert lookup == plain, "looking prompts up takes no memory of the accelerator"
    layer, projection = 218_112_000, 2 * 4096**2
    assert head.terms.weights_gib - plain.terms.weights_gib == pytest.approx((layer + projection) * 2 / GIB, rel=1e-3)
    tokens = head.terms.kv_cache_gib * GIB / (33 * 4096)
    assert head.kv_cache_tokens == pytest.approx(tokens, abs=16)
    assert draft.terms.weights_gib - plain.terms.weights_gib == pytest.approx(1_235_814_400 * 2 / GIB, rel=0.02)


def test_a_model_without_any_cache_may_have_a_head_that_proposes_tokens() -> None:
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256, "vocab_size": 128}
    planned = load({"model_type": "nemotron_h", "hybrid_override_pattern": "--", **sizes})
    assert fit(planned, A10, Options(speculative=Speculative(method="eagle"))).fits


def test_without_graphs_their_memory_is_free_and_without_images_the_encoder_is_not_loaded(llama: Model) -> None:
    eager, captured = (fit(llama, H100, Options(max_model_len=8192, enforce_eager=eager)).terms for eager in (True, False))
    assert eager.cuda_graph_gib == 0
    assert eager.kv_cache_gib - captured.kv_cache_gib == pytest.approx(captured.cuda_graph_gib)
    vision = {"hidden_size": 1024, "depth": 24, "intermediate_size": 4096}
    seeing = load(dict(configs()["Qwen/Qwen3-8B"]) | {"vision_config": vision})
    images, text = (fit(seeing, H100, replace(AT_0_19, language_model_only=only)).terms for only in (False, True))
    assert images.weights_gib - text.weights_gib == pytest.approx((24 * (4 * 1024**2 + 2 * 4096 * 1024) + 4096 * 4096) * 2 / GIB)


@pytest.mark.parametrize(
    ("card", "options", "start"),
    [
        (A10, Options(max_model_len=131072), "one request of 131072 tokens needs 16.00 GiB of KV cache and "),
        (
            replace(A10, memory_gib=14.56),
            Options(max_model_len=512),
            "no memory is left for the KV cache: 14.99 weights + 0.25 non-torch",
        ),
        (
            H100,
            Options(gpu_memory_utilization=0.999, max_model_len=512),
            "the budget of 79.11 GiB is not free at start: the driver holds",
        ),
        (
            H100,
            replace(AT_0_19, gpu_memory_utilization=0.99),
            "0.51 driver + 0.93 CUDA graphs + 0.00 kernels' buffers need 0.64 GiB more than",
        ),
    ],
)
def test_a_refusal_names_the_broken_inequality_in_numbers(llama: Model, card: Device, options: Options, start: str) -> None:
    plan = fit(llama, card, options)
    assert not plan.fits
    assert plan.reason is not None
    assert plan.reason.startswith(start), plan.reason
    assert "\n" not in plan.reason


def test_the_longest_context_in_a_refusal_fits(llama: Model) -> None:
    refused = fit(llama, A10, Options(max_model_len=131072))
    longest = refused.max_model_len_that_fits
    assert refused.reason is not None
    assert refused.reason.endswith(f"; {longest} tokens fit")
    assert fit(llama, A10, Options(max_model_len=longest)).fits
    assert not fit(llama, A10, Options(max_model_len=longest + 1)).fits


def test_a_card_known_by_its_memory_only_is_planned_by_its_size() -> None:
    large, small = device(memory_gib=80.0), device(memory_gib=24.0)
    assert (large.large, large.nvlink, small.large, small.nvlink) == (True, True, False, False)
    assert large.capability is None
    assert device().memory_gib == 0
    assert not fit(model("Qwen/Qwen3-0.6B"), device(), Options()).fits
