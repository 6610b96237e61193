"""Architectures read from configurations: numbers of parameters as published, and families computed by hand."""

from typing import Any

import pytest

from planner.architecture import Architecture, AttentionCache, ConfigError, LatentCache, StateCache, architecture
from planner.catalog.models import model as catalog_model
from planner.catalog.models import model_ids
from planner.model import Model, load
from tests.unit.planner.cases import configs

HIDDEN, HEADS, DIM, WIDE, ROWS = 64, 4, 16, 256, 128
OUTSIDE = 2 * ROWS * HIDDEN
"""Embedding and head."""
DENSE = 3 * HIDDEN * WIDE
FULL = 4 * HIDDEN * HEADS * DIM
"""Attention with a key and value head for each head."""
NORMS = 2 * HIDDEN
UNKNOWN_FAMILIES = {"meta-llama/Llama-3.2-11B-Vision"}
"""Read as decoders, with a warning."""


def config(model_type: str = "llama", layers: int = 2, **changes: Any) -> dict[str, Any]:
    """A small model's configuration."""
    sizes = {"hidden_size": HIDDEN, "num_attention_heads": HEADS, "intermediate_size": WIDE, "vocab_size": ROWS}
    return {"model_type": model_type, "num_hidden_layers": layers, "max_position_embeddings": 1024, **sizes, **changes}


def parameters(facts: Architecture) -> int:
    """Numbers in the checkpoint: what the engine keeps twice is counted once."""
    doubled = sum(weight.elements for layer in facts.layers for weight in layer.weights if weight.name.endswith(".absorbed"))
    kept = sum(
        weight.elements
        for weight in (
            *facts.embedding,
            *facts.encoder,
            *(() if facts.tied else facts.head),
            *(weight for layer in facts.layers for weight in layer.weights),
        )
    )
    return kept - doubled


def checkpoint_bytes(model: Model) -> float:
    """Bytes in the checkpoint: without rotary tables and the padding of experts."""
    facts = model.architecture
    outside = [*facts.embedding, *facts.encoder, *(() if facts.tied else facts.head)]
    inside = sum(layer.replicated + layer.tensor + layer.expert + sum(size for _, size in layer.kv) for layer in model.layers)
    return inside + sum(weight.elements for weight in outside) * model.dtype_bits / 8


def caches(model_type: str, layers: int, **changes: Any) -> list[Any]:
    return [layer.cache for layer in architecture(config(model_type, layers, **changes)).layers]


@pytest.mark.parametrize("name", [name for name, facts in configs().items() if facts.get("num_params")])
def test_parameters_are_as_many_as_published_for_the_models_of_the_cases(name: str) -> None:
    assert parameters(architecture(configs()[name])) == pytest.approx(configs()[name]["num_params"], rel=1e-3)


def test_parameters_are_as_many_as_published_for_the_catalogue() -> None:
    compared = 0
    for name in model_ids():
        entry = catalog_model(name)
        if entry.parameters and name not in UNKNOWN_FAMILIES:
            facts = architecture(entry.config)
            assert parameters(facts) == pytest.approx(entry.parameters, rel=1e-3), name
            compared += 1
    assert compared >= 80


@pytest.mark.parametrize(
    ("name", "total_size"),
    [
        ("meta-llama/Llama-3.1-8B", 16_060_522_496),
        ("meta-llama/Llama-3.1-70B", 141_107_412_992),
        ("mistralai/Mixtral-8x7B-v0.1", 93_405_585_408),
        ("Qwen/Qwen3-30B-A3B", 61_064_245_248),
        ("openai/gpt-oss-20b", 13_761_264_768),
    ],
)
def test_bytes_are_those_in_the_index_of_the_checkpoint(name: str, total_size: int) -> None:
    # `metadata.total_size` of the repository's model.safetensors.index.json.
    assert checkpoint_bytes(load(catalog_model(name).config)) == pytest.approx(total_size, rel=1e-3)


def test_a_dense_decoder_by_hand() -> None:
    facts = architecture(config())
    assert facts.parameters() == 2 * (FULL + DENSE + NORMS) + OUTSIDE
    assert facts.layers[0].cache == AttentionCache(HEADS, DIM, DIM)
    assert not facts.warnings
    grouped = architecture(config(num_key_value_heads=2))
    assert facts.parameters() - grouped.parameters() == 2 * 2 * HIDDEN * 2 * DIM, "two of four heads less for keys and for values"
    single = architecture(config(multi_query=True))
    assert single.layers[0].cache == AttentionCache(1, DIM, DIM)


def test_key_value_heads_are_replicated_when_there_are_more_ranks_than_heads() -> None:
    model = load(config(layers=1, num_key_value_heads=2, max_position_embeddings=None))
    head = 2 * HIDDEN * DIM
    for ranks, heads in ((1, 2), (2, 1), (4, 1)):
        divided = (2 * HIDDEN * HEADS * DIM + DENSE + OUTSIDE) / ranks
        expected = divided + heads * head + NORMS
        assert model.rank_bytes(range(1), ranks, ranks, encoder=True) == 2 * expected


def test_a_tied_head_is_one_matrix_that_the_first_and_last_stage_hold() -> None:
    tied, untied = (load(config(layers=4, tie_word_embeddings=tied, max_position_embeddings=None)) for tied in (True, False))
    assert untied.architecture.parameters() - tied.architecture.parameters() == ROWS * HIDDEN
    layer = FULL + DENSE + NORMS
    for model in (tied, untied):
        first, middle, last = ([stage, model.rank_bytes(stage, 1, 1, encoder=True)] for stage in model.stages(3))
        assert [first[0], middle[0], last[0]] == [range(1), range(1, 3), range(3, 4)], "what does not divide goes before the last"
        assert first[1] == last[1] == 2 * (layer + ROWS * HIDDEN)
        assert middle[1] == 2 * 2 * layer
    assert architecture(config("gemma")).tied
    assert not architecture(config("llama")).tied


def test_biases_are_where_the_family_has_them() -> None:
    plain, biased = (architecture(config(family, 1, num_key_value_heads=2)).parameters() for family in ("qwen3", "qwen2"))
    assert biased - plain == HEADS * DIM + 2 * 2 * DIM
    assert architecture(config("qwen2", 1, attention_bias=False, num_key_value_heads=2)).parameters() == plain


def test_latent_attention_by_hand() -> None:
    latent, rope, nope, value, query = 16, 8, 12, 10, 24
    facts = architecture(
        config(
            "deepseek_v3",
            1,
            kv_lora_rank=latent,
            qk_rope_head_dim=rope,
            qk_nope_head_dim=nope,
            v_head_dim=value,
            q_lora_rank=query,
        )
    )
    down = (latent + rope) * HIDDEN + query * HIDDEN
    up = HEADS * (nope + value) * latent + HEADS * (nope + rope) * query + HIDDEN * HEADS * value
    assert parameters(facts) == down + up + DENSE + NORMS + OUTSIDE
    cache = facts.layers[0].cache
    assert isinstance(cache, LatentCache)
    assert (cache.latent_dim, cache.rope_dim, cache.index_dim) == (latent, rope, 0)
    model = load(config("deepseek_v3", 1, kv_lora_rank=latent, q_lora_rank=query, max_position_embeddings=None))
    shrinks = model.rank_bytes(range(1), 2, 2, encoder=True)
    assert shrinks > model.rank_bytes(range(1), 1, 1, encoder=True) / 2, (
        "projections into the latent space are whole on every rank"
    )


def test_an_indexer_of_sparse_attention_is_counted_where_a_layer_has_its_own() -> None:
    changes = {"kv_lora_rank": 16, "q_lora_rank": 24, "index_head_dim": 8, "index_n_heads": 2}
    own, shared = (caches("deepseek_v32", 1, indexer_types=[kind], **changes)[0] for kind in ("full", "shared"))
    assert (own.index_dim, shared.index_dim) == (8, 0)


def test_routed_and_shared_experts_by_hand() -> None:
    experts = {"n_routed_experts": 8, "moe_intermediate_size": 32, "n_shared_experts": 2, "num_experts_per_tok": 2}
    facts = architecture(config("deepseek_v3", 2, first_k_dense_replace=1, **experts))
    sparse = 8 * 3 * HIDDEN * 32 + 3 * HIDDEN * 2 * 32 + 8 * HIDDEN
    assert facts.parameters() == 2 * (FULL + NORMS) + DENSE + sparse + OUTSIDE
    assert [layer.expert_width for layer in facts.layers] == [0, 32]
    model = load(config("deepseek_v3", 1, max_position_embeddings=None, **experts))
    together, apart = (model.rank_bytes(range(1), 2, ranks, encoder=True) for ranks in (2, 4))
    assert together - apart == 2 * 8 * 3 * HIDDEN * 32 / 4, (
        "expert parallelism over four ranks leaves each a quarter in place of a half"
    )


def test_families_say_in_their_own_ways_which_layers_have_experts() -> None:
    def sparse(**changes: Any) -> list[bool]:
        facts = architecture(config("qwen3_moe", 4, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, **changes))
        return [bool(layer.expert_width) for layer in facts.layers]

    assert sparse() == [True] * 4
    assert sparse(decoder_sparse_step=2) == [False, True, False, True]
    assert sparse(mlp_only_layers=[0, 3]) == [False, True, True, False]
    assert sparse(mlp_layer_types=["dense", "sparse", "sparse", "dense"]) == [False, True, True, False]
    assert sparse(moe_layer_freq=[0, 1, 1, 1]) == [False, True, True, True]
    assert sparse(mlp_only_layers=1.0) == [True] * 4, "what is no list names no layer"


def test_layers_of_linear_attention_keep_a_state_in_place_of_keys_and_values() -> None:
    linear = {
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_conv_kernel_dim": 4,
        "mamba_ssm_dtype": "float32",
    }
    found = caches("qwen3_next", 8, full_attention_interval=4, num_key_value_heads=2, **linear)
    assert [isinstance(cache, StateCache) for cache in found] == [True, True, True, False] * 2
    assert found[3] == AttentionCache(2, DIM, DIM)
    convolution, state = 3 * (2 * 2 * 8 + 4 * 8) * 2, 4 * 8 * 8 * 4
    assert found[0].bytes(1) == convolution + state
    assert found[0].bytes(2) == (convolution + state) / 2
    named = caches("qwen3_next", 2, layer_types=["full_attention", "linear_attention"], **linear)
    assert [isinstance(cache, StateCache) for cache in named] == [False, True]


def test_a_nemotron_pattern_gives_each_layer_one_part() -> None:
    facts = architecture(
        config(
            "nemotron_h",
            4,
            hybrid_override_pattern="M*E-",
            n_routed_experts=4,
            moe_intermediate_size=32,
            num_experts_per_tok=2,
            mamba_num_heads=4,
            mamba_head_dim=8,
            ssm_state_size=16,
            n_groups=2,
            conv_kernel=4,
        )
    )
    mamba, attention, experts, network = facts.layers
    assert isinstance(mamba.cache, StateCache)
    assert attention.cache == AttentionCache(HEADS, DIM, DIM)
    assert experts.cache is network.cache is None
    inner, convolved = 4 * 8, 4 * 8 + 2 * 2 * 16
    sizes = [sum(weight.elements for weight in layer.weights) - HIDDEN for layer in facts.layers]
    assert sizes == [
        (inner + convolved + 4) * HIDDEN + HIDDEN * inner + convolved * 5,
        FULL,
        4 * 2 * HIDDEN * 32 + 4 * HIDDEN,
        2 * HIDDEN * WIDE,
    ], "its networks have no gate"
    assert caches("nemotron_h", 1, hybrid_override_pattern="?") == [AttentionCache(HEADS, DIM, DIM)], (
        "what is unknown needs the most"
    )
    nano = architecture(configs()["nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4"])
    kinds = [type(layer.cache) for layer in nano.layers]
    assert (kinds.count(AttentionCache), kinds.count(StateCache), kinds.count(type(None))) == (6, 23, 23)


def test_layers_found_by_a_search_differ_in_heads_and_width() -> None:
    blocks = [
        {"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 6.0}},
        {"attention": {"no_op": True}, "ffn": {"ffn_mult": 1.5}},
        {"attention": {"replace_with_linear": True}, "ffn": {"no_op": True}},
        {"attention": {"n_heads_in_group": 4}, "ffn": {"no_op": True}},
    ]
    facts = architecture(config("nemotron-nas", 4, block_configs=blocks))
    assert [
        layer.cache and layer.cache.kv_heads for layer in facts.layers if not isinstance(layer.cache, (LatentCache, StateCache))
    ] == [
        2,
        None,
        None,
        1,
    ]
    widths = [256, 256]  # int(2 x 6 x 64 / 3) is 256; 64 is rounded up to 256
    sizes = [sum(weight.elements for weight in layer.weights) - NORMS for layer in facts.layers]
    query = 2 * HIDDEN * HEADS * DIM
    assert sizes == [
        query + 2 * HIDDEN * 2 * DIM + 3 * HIDDEN * widths[0],
        3 * HIDDEN * widths[1],
        HIDDEN * HIDDEN,
        query + 2 * HIDDEN * DIM,
    ]


@pytest.mark.parametrize(
    ("family", "changes", "windows"),
    [
        ("gemma2", {"sliding_window": 64}, [64, None] * 3),
        ("gemma3_text", {"sliding_window": 64}, [64] * 5 + [None]),
        ("gpt_oss", {"layer_types": ["sliding_attention", "full_attention"] * 3, "sliding_window": 64}, [64, None] * 3),
        ("mistral", {"sliding_window": 64}, [64] * 6),
        ("mistral", {"sliding_window": None}, [None] * 6),
        ("qwen2", {"sliding_window": 64, "use_sliding_window": False}, [None] * 6),
        ("llama", {"sliding_window": 64}, [None] * 6),
        ("gemma3_text", {"sliding_window": 64, "sliding_window_pattern": 3}, [64, 64, None] * 2),
    ],
)
def test_which_layers_look_back_over_a_window_only(family: str, changes: dict[str, Any], windows: list[int | None]) -> None:
    assert [cache.window for cache in caches(family, 6, **changes)] == windows


def test_layers_with_chunked_attention_and_layers_that_share_a_cache() -> None:
    assert [cache.chunk for cache in caches("llama4_text", 4, attention_chunk_size=32)] == [32, 32, 32, None]
    shared = caches("gemma4_text", 4, num_kv_shared_layers=2)
    assert [cache is None for cache in shared] == [False, False, True, True]


def test_the_language_model_is_read_from_its_section_and_the_encoder_counted_beside_it() -> None:
    vision = {"hidden_size": 32, "depth": 3, "intermediate_size": 96}
    whole = load(
        {"model_type": "qwen3_vl", "text_config": config("qwen3", max_position_embeddings=None), "vision_config": vision}
    )
    text = load(config("qwen3", max_position_embeddings=None))
    encoder = 3 * (4 * 32 * 32 + 2 * 32 * 96) + HIDDEN * 4 * 32
    everything = whole.rank_bytes(range(2), 1, 1, encoder=True)
    assert everything - text.rank_bytes(range(2), 1, 1, encoder=True) == 2 * encoder
    assert everything - whole.rank_bytes(range(2), 1, 1, encoder=False) == 2 * encoder


@pytest.mark.parametrize(
    ("changes", "longest"),
    [
        ({"max_position_embeddings": 32768}, 32768),
        ({"max_position_embeddings": 32768, "rope_scaling": {"type": "linear", "factor": 2.0}}, 65536),
        (
            {
                "max_position_embeddings": 40960,
                "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
            },
            131072,
        ),
        ({"max_position_embeddings": 131072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 131072),
        ({"max_position_embeddings": None, "n_positions": 2048}, 2048),
        ({"max_position_embeddings": None}, 0),
    ],
)
def test_the_longest_context_counts_stretched_positions(changes: dict[str, Any], longest: int) -> None:
    assert architecture(config(**changes)).max_positions == longest


def test_an_unknown_family_is_planned_as_a_decoder_with_a_warning() -> None:
    facts = architecture(config("novel_lm", 2, sliding_window=64))
    assert facts.warnings == ("novel_lm is not a family the planner knows; it is planned as a decoder with full attention",)
    assert facts.parameters() == architecture(config()).parameters()
    bare = architecture({"hidden_size": HIDDEN, "num_attention_heads": HEADS, "num_hidden_layers": 1})
    assert bare.warnings == (
        "unknown is not a family the planner knows; it is planned as a decoder with full attention",
        "intermediate_size is missing; 256 (four times the hidden size) is assumed",
        "vocab_size is missing; 262144 is assumed, the largest in use",
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hidden_size": None}, "hidden_size or n_embd or d_model is missing or not a positive whole number"),
        ({"hidden_size": "4096"}, "hidden_size or n_embd or d_model is missing or not a positive whole number"),
        (
            {"num_hidden_layers": 0},
            "num_hidden_layers or n_layer or n_layers or num_layers or decoder_layers is missing or not a",
        ),
        ({"num_hidden_layers": 5000}, "num_hidden_layers is 5000; no model has more than 1024"),
    ],
)
def test_a_configuration_without_what_decides_memory_is_refused_in_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(config() | changes)
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_what_is_no_mapping_is_refused_with_what_to_give_instead() -> None:
    with pytest.raises(ConfigError, match=r"not a mapping; give the config\.json of a Hugging Face repository"):
        architecture(["hidden_size"])  # type: ignore[arg-type]
