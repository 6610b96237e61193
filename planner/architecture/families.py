"""Which kinds of layers a family of models stacks, read from its configuration."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from planner.architecture import feed_forward, mixers
from planner.architecture.feed_forward import FeedForward
from planner.architecture.layers import Architecture, Layer, Shard, Weight
from planner.architecture.mixers import Mixer
from planner.architecture.reading import Config, ConfigError

_MOST_LAYERS = 1024
_TIED = {"gemma", "gemma2", "gemma3", "gemma3_text", "gemma4", "gemma4_text", "cohere", "cohere2", "opt", "gpt2", "bloom"}
_WINDOW_EVERYWHERE = {"mistral", "phi3", "starcoder2"}
_WINDOW_PATTERN = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "gpt_oss": 2, "cohere2": 4, "olmo3": 4, "exaone4": 4}
_LEARNED_POSITIONS = {"opt", "gpt2", "gpt_bigcode"}
_NO_ROTARY = _LEARNED_POSITIONS | {"bloom", "mpt", "nemotron_h"}
_FOUR_NORMS = {"gemma2", "gemma3", "gemma3_text", "gemma4", "gemma4_text"}
_KNOWN = (
    {
        "llama",
        "llama4",
        "llama4_text",
        "mistral",
        "mistral3",
        "mixtral",
        "granite",
        "granitemoe",
        "granitemoehybrid",
        "phi",
        "phi3",
    }
    | {"qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next", "qwen3_vl_text", "qwen3_vl_moe_text", "qwen2_vl", "qwen2_5_vl"}
    | {"qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text", "gemma", "gemma2", "gemma3", "gemma3_text", "gemma4"}
    | {"gemma4_text", "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4", "deepseek_ref", "kimi_k2", "kimi_linear"}
    | {"glm_moe_dsa", "glm4", "glm4_moe", "gpt_oss", "minimax_m2", "minimax_m3", "mimo", "mimo_v2_flash", "step3p7", "nemotron_h"}
    | {"nemotron-nas", "nemotron", "opt", "gpt2", "gpt_neox", "bloom", "mpt", "starcoder2", "cohere", "cohere2", "olmo2", "olmo3"}
    | {"exaone4", "internlm2", "smollm3", "stablelm", "seed_oss", "ernie4_5", "ernie4_5_moe", "hunyuan_v1_moe", "jamba"}
    | {"mamba", "mamba2", "falcon_mamba"}
)
_PATTERN = {"M": "mamba", "*": "attention", "E": "moe", "-": "mlp"}


def architecture(config: Mapping[str, Any]) -> Architecture:
    """The architecture that a `config.json` describes.

    A family the planner does not know is read as a decoder with full attention, which needs the most cache; a warning says so.
    Raises ConfigError when the hidden size or the layers are missing.
    """
    c = Config(config)
    hidden = c.hidden
    heads = 1 if _is_mamba(c) else c.heads
    if c.model_type not in _KNOWN:
        c.assume(f"{c.model_type} is not a family the planner knows; it is planned as a decoder with full attention")
    layers = _layers(c)
    vocabulary = c.number("vocab_size", "padded_vocab_size")
    if vocabulary is None:
        vocabulary = 262144
        c.assume("vocab_size is missing; 262144 is assumed, the largest in use")
    tied = c.get("tie_word_embeddings")
    positions = _max_positions(c)
    embedding = [Weight("model.embed_tokens", _pad(vocabulary), hidden, Shard.VOCABULARY, linear=False)]
    if c.model_type in _LEARNED_POSITIONS and positions:
        embedding.append(Weight("model.embed_positions", positions, hidden, linear=False))
    if per_layer := c.number("hidden_size_per_layer_input"):
        rows = c.number("vocab_size_per_layer_input") or vocabulary
        embedding.append(Weight("model.embed_tokens_per_layer", rows, per_layer * len(layers), Shard.VOCABULARY, linear=False))
    return Architecture(
        name=c.model_type,
        hidden_size=hidden,
        heads=heads,
        vocabulary=_pad(vocabulary),
        max_positions=positions,
        dtype=_dtype(c),
        tied=tied if isinstance(tied, bool) else c.model_type in _TIED,
        layers=layers,
        embedding=tuple(embedding),
        head=(Weight("lm_head", _pad(vocabulary), hidden, Shard.VOCABULARY, linear=False),),
        encoder=_encoder(c, hidden),
        rotary=_rotary(c, hidden, heads, positions),
        quantization=c.section("quantization_config", "compression_config"),
        warnings=tuple(c.warnings),
    )


def _layers(c: Config) -> tuple[Layer, ...]:
    kinds = _single_part_kinds(c)
    if kinds is not None:
        made: dict[str, Layer] = {}
        for kind in kinds:
            if kind not in made:
                made[kind] = _single_part_layer(c, kind)
        return tuple(made[kind] for kind in kinds)
    blocks = c.get("block_configs")
    if isinstance(blocks, list) and blocks:
        return tuple(_searched_layer(c, block) for block in blocks[:_MOST_LAYERS])
    count = c.layer_count
    if count > _MOST_LAYERS:
        raise ConfigError(f"num_hidden_layers is {count}; no model has more than {_MOST_LAYERS}")
    known: dict[object, Layer] = {}
    layers = []
    for index in range(count):
        key = (_mixer_key(c, index, count), feed_forward.is_sparse(c, index))
        if key not in known:
            known[key] = _layer(c, index, count, sparse=key[1])
        layers.append(known[key])
    return tuple(layers)


def _layer(c: Config, index: int, count: int, *, sparse: bool) -> Layer:
    mixer = _mixer(c, index, count)
    network = feed_forward.NONE if _is_mamba(c) else feed_forward.sparse(c) if sparse else feed_forward.dense(c)
    if sparse and c.flag("enable_moe_block", c.model_type.startswith("gemma4")):
        beside = feed_forward.dense(c)
        # Experts beside a dense network are a module of their own there, not part of `mlp`.
        renamed = tuple(replace(weight, name=weight.name.removeprefix("mlp.")) for weight in network.weights)
        network = replace(network, weights=renamed + beside.weights, wide=max(network.wide, beside.wide))
    return _joined(c, mixer, network, norms=4 if c.model_type in _FOUR_NORMS else 2)


def _joined(c: Config, mixer: Mixer, network: FeedForward, norms: int) -> Layer:
    hidden = c.hidden
    norm = Weight("norm", norms * hidden, 1, linear=False)
    return Layer(
        weights=(*mixer.weights, *network.weights, norm),
        cache=mixer.cache,
        wide=max(mixer.wide, network.wide),
        expert_width=network.expert_width,
        experts_per_token=network.experts_per_token,
        expert_hidden=network.expert_hidden,
        gated=network.gated,
    )


def _mixer_key(c: Config, index: int, count: int) -> tuple[object, ...]:
    """What decides the token mixer of a layer: its kind, and what else varies from layer to layer."""
    return (
        _kind(c, index, count),
        str(c.entry("indexer_types", index)),
        str(c.entry("compress_ratios", index)),
        _owns_cache(c, index, count),
    )


def _owns_cache(c: Config, index: int, count: int) -> bool:
    """Whether the layer has keys and values of its own: the last ones may share those of a layer before."""
    return index < count - (c.number("num_kv_shared_layers") or 0)


def _mixer(c: Config, index: int, count: int) -> Mixer:
    owns_cache = _owns_cache(c, index, count)
    match _kind(c, index, count):
        case "linear":
            return mixers.delta_attention(c) if c.section("linear_attn_config") else mixers.delta_net(c)
        case "mamba":
            return mixers.mamba(c)
        case "compressed":
            return mixers.compressed_attention(c, index)
        case "latent":
            return mixers.latent_attention(c, index)
        case "sliding":
            return mixers.attention(c, window=c.number("sliding_window", "sliding_window_size"), owns_cache=owns_cache)
        case "chunked":
            return mixers.attention(c, window=None, chunk=c.number("attention_chunk_size"), owns_cache=owns_cache)
        case _:
            return mixers.attention(c, window=None, owns_cache=owns_cache)


def _kind(c: Config, index: int, count: int) -> str:
    """Which token mixer layer `index` has."""
    linear = c.section("linear_attn_config")
    listed = linear.get("kda_layers")
    if isinstance(listed, list):
        return "linear" if index + 1 in listed else "latent" if c.number("kv_lora_rank") else "full"
    named = c.entry("layer_types", index)
    if named is None and c.number("full_attention_interval") and c.number("linear_num_value_heads"):
        named = "full_attention" if (index + 1) % c.required("full_attention_interval") == 0 else "linear_attention"
    if _is_mamba(c):
        return "mamba"
    if named is None and c.number("attn_layer_period") and c.model_type == "jamba":
        here = index % c.required("attn_layer_period") == (c.number("attn_layer_offset") or 0)
        named = "attention" if here else "mamba"
    match named:
        case "linear_attention":
            return "linear"
        case "mamba" | "mamba2":
            return "mamba"
        case "chunked_attention":
            return "chunked"
        case "sliding_attention" if c.number("sliding_window", "sliding_window_size"):
            return "sliding"
    if c.get("compress_ratios") is not None and c.number("o_lora_rank"):
        return "compressed"
    if c.number("kv_lora_rank"):
        return "latent"
    if named is None and _slides(c, index, count):
        return "sliding"
    if named is None and c.number("attention_chunk_size") and c.model_type.startswith("llama4"):
        return "chunked" if (index + 1) % (c.number("no_rope_layer_interval") or 4) else "full"
    return "full"


def _is_mamba(c: Config) -> bool:
    """Whether the model has recurrent layers only, each without a feed-forward part."""
    return bool(c.number("state_size")) and c.number("num_attention_heads") is None


def _slides(c: Config, index: int, count: int) -> bool:
    """Whether a layer of a family that does not list its layers looks back only over a window."""
    if not c.number("sliding_window", "sliding_window_size") or c.get("use_sliding_window") is False:
        return False
    listed = c.entry("hybrid_layer_pattern", index)
    if isinstance(listed, int):
        return listed == 1
    if sliding := c.number("num_sliding_layers"):
        return (index + 1) * sliding // count > index * sliding // count
    pattern = c.number("sliding_window_pattern", "_sliding_window_pattern") or _WINDOW_PATTERN.get(c.model_type)
    if pattern:
        return (index + 1) % pattern != 0
    return c.model_type in _WINDOW_EVERYWHERE


def _single_part_kinds(c: Config) -> list[str] | None:
    """Kinds of the layers of a model whose layers have one part each, mixer or feed-forward (Nemotron-H)."""
    pattern = c.get("hybrid_override_pattern")
    if isinstance(pattern, str) and pattern:
        return [_PATTERN.get(letter, "attention") for letter in pattern.replace("|", "")[:_MOST_LAYERS]]
    listed = c.get("layers_block_type")
    if isinstance(listed, list) and c.model_type == "nemotron_h":
        return [str(kind) for kind in listed[:_MOST_LAYERS]]
    return None


def _single_part_layer(c: Config, kind: str) -> Layer:
    match kind:
        case "mamba":
            mixer, network = mixers.mamba(c), feed_forward.NONE
        case "moe":
            mixer, network = Mixer((), None), feed_forward.sparse(c)
        case "mlp":
            mixer, network = Mixer((), None), feed_forward.dense(c)
        case _:
            mixer, network = mixers.attention(c, window=None), feed_forward.NONE
    return _joined(c, mixer, network, norms=1)


def _searched_layer(c: Config, block: object) -> Layer:
    """A layer of a model whose layers were searched one by one (Nemotron NAS): some have no attention, some a narrow network."""
    block = block if isinstance(block, Mapping) else {}
    attention, network = (part if isinstance(part := block.get(key), Mapping) else {} for key in ("attention", "ffn"))
    hidden = c.hidden
    heads = c.heads
    mixer = Mixer((), None)
    group = attention.get("n_heads_in_group")
    if isinstance(group, int) and group > 0:
        mixer = mixers.attention(_with(c, num_key_value_heads=max(heads // group, 1)), window=None)
    elif attention.get("replace_with_linear"):
        mixer = Mixer((Weight("self_attn.linear_attn", hidden, hidden, Shard.TENSOR),), None)
    multiple = network.get("ffn_mult")
    part = feed_forward.NONE
    if isinstance(multiple, (int, float)) and not network.get("no_op"):
        # Rounded up to a multiple of 256, as in the family's modeling code.
        part = feed_forward.dense(c, -(-int(2 * multiple * hidden / 3) // 256) * 256)
    return _joined(c, mixer, part, norms=2)


def _with(c: Config, **values: int) -> Config:
    changed = Config({**c.top, **c.text, **values})
    changed.warnings = c.warnings
    return changed


def _encoder(c: Config, hidden: int) -> tuple[Weight, ...]:
    """Vision and audio encoders, from their sizes: attention, network and a projection into the language model."""
    parts: list[Weight] = []
    for name in ("vision_config", "audio_config"):
        section = c.top.get(name)
        if not isinstance(section, Mapping):
            continue
        inner = Config(section)
        size, depth = (
            inner.number("hidden_size", "embed_dim", "d_model", "vt_hidden_size"),
            inner.number("depth", "num_hidden_layers", "vt_num_hidden_layers"),
        )
        if not size or not depth:
            c.assume(f"the sizes of {name} are missing; the encoder's weights are not counted")
            continue
        wide = inner.number("intermediate_size", "encoder_ffn_dim", "vt_intermediate_size") or 4 * size
        parts.append(Weight(f"{name.removesuffix('_config')}.attention", 4 * size, size, Shard.TENSOR, depth))
        parts.append(Weight(f"{name.removesuffix('_config')}.mlp", 2 * wide, size, Shard.TENSOR, depth))
        parts.append(Weight(f"{name.removesuffix('_config')}.projector", hidden, 4 * size))
    return tuple(parts)


def _max_positions(c: Config) -> int:
    """Longest context in tokens, with stretched rotary positions counted as in vLLM's `_get_and_verify_max_len`."""
    longest = c.number("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length") or 0
    rope = c.section("rope_parameters", "rope_scaling")
    kind = rope.get("rope_type") or rope.get("type")
    factor, original = rope.get("factor"), rope.get("original_max_position_embeddings")
    if isinstance(factor, (int, float)) and 1 < factor < 4096:
        if kind == "yarn" and isinstance(original, int) and 0 < original < 2**31:
            return max(longest, int(original * factor))
        # Gemma 3 states its context with the factor applied.
        if kind in ("linear", "dynamic") and not c.model_type.startswith("gemma3"):
            return int(longest * factor)
    return longest


def _rotary(c: Config, hidden: int, heads: int, positions: int) -> tuple[tuple[int, int], ...]:
    if c.model_type in _NO_ROTARY or not positions:
        return ()
    dims = {c.number("qk_rope_head_dim") or c.number("rotary_dim") or 0} if c.number("kv_lora_rank") else set()
    if not dims:
        dim = mixers.head_dim(c, hidden, heads)
        dims = {int(dim * c.fraction("partial_rotary_factor", 1.0)), c.number("global_head_dim") or 0}
    tables = [(positions, dim) for dim in sorted(dims) if dim]
    if c.get("rope_local_base_freq", "swa_rope_theta") or c.model_type in ("gemma3", "gemma3_text"):
        tables.append(tables[0])
    return tuple(tables)


def _dtype(c: Config) -> str:
    # The engine loads a float32 checkpoint in 16 bit unless it is told otherwise.
    declared = str(c.get("dtype", "torch_dtype") or "bfloat16").removeprefix("torch.")
    return "float16" if declared in ("float16", "half") else "bfloat16"


def _pad(vocabulary: int) -> int:
    """Rows of embedding and head: the engine pads a vocabulary to a multiple of 64 (vocab_parallel_embedding.py)."""
    return -(-vocabulary // 64) * 64
