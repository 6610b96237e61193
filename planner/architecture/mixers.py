"""What mixes tokens in a layer: attention in its forms, and recurrent layers; weights and caches of each.

Shapes follow the checkpoints' modules (transformers 5 modeling files); what is divided among tensor-parallel ranks follows
vLLM 0.33's layers (`vllm/model_executor/layers`).
"""

from dataclasses import dataclass
from math import gcd

from planner.architecture.layers import AttentionCache, Cache, LatentCache, Shard, StateCache, Weight
from planner.architecture.reading import Config

_BIASED_QKV = {"qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl", "qwen2_vl_text", "qwen2_5_vl_text", "qwen", "chatglm"}
BIASED = {"opt", "phi", "gpt2", "gpt_neox", "gptj", "bloom", "starcoder2", "gpt_bigcode", "gpt_oss", "mpt"}
_HALF, _SINGLE = 2, 4


@dataclass(frozen=True, slots=True)
class Mixer:
    """Weights and cache of a layer's token mixer, and the numbers a token needs at once while it passes."""

    weights: tuple[Weight, ...]
    cache: Cache | None
    wide: int = 0


def attention(config: Config, window: int | None, chunk: int | None = None, owns_cache: bool = True) -> Mixer:
    """Attention with a key and value head for each head (MHA), for groups of them (GQA) or one for all (MQA)."""
    hidden = config.hidden
    heads = config.heads
    kv_heads = _kv_heads(config, heads)
    key_dim = head_dim(config, hidden, heads)
    value_dim = config.number("v_head_dim") or key_dim
    shared_value = False
    if window:
        heads = config.number("swa_num_attention_heads") or heads
        kv_heads = config.number("swa_num_key_value_heads") or kv_heads
        key_dim = config.number("swa_head_dim") or key_dim
        value_dim = config.number("swa_v_head_dim") or value_dim
    elif config.number("global_head_dim"):
        key_dim = value_dim = config.required("global_head_dim")
        kv_heads = config.number("num_global_key_value_heads") or kv_heads
        shared_value = config.flag("attention_k_eq_v")
    kv_heads = min(kv_heads, heads)
    gate = 2 if config.flag("attn_output_gate") else 1
    weights = [
        Weight("self_attn.q_proj", gate * heads * key_dim, hidden, Shard.TENSOR),
        Weight("self_attn.o_proj", hidden, heads * value_dim, Shard.TENSOR),
    ]
    if owns_cache:
        weights.append(Weight("self_attn.k_proj", kv_heads * key_dim, hidden, Shard.KV_HEADS, heads=kv_heads))
        if not shared_value:
            weights.append(Weight("self_attn.v_proj", kv_heads * value_dim, hidden, Shard.KV_HEADS, heads=kv_heads))
    everywhere = config.model_type in BIASED
    if config.flag("attention_bias", config.model_type in _BIASED_QKV or everywhere):
        weights.append(_vector("self_attn.q_proj.bias", heads * key_dim, Shard.TENSOR))
        weights.append(
            Weight("self_attn.kv.bias", kv_heads * (key_dim + value_dim), 1, Shard.KV_HEADS, heads=kv_heads, linear=False)
        )
        if everywhere:
            weights.append(_vector("self_attn.o_proj.bias", hidden))
    index = config.section("sparse_attention_config")
    index_dim = index.get("sparse_index_dim") if index.get("use_sparse_attention") else None
    cached_key = key_dim + (index_dim if isinstance(index_dim, int) else 0)
    cache = AttentionCache(kv_heads, cached_key, value_dim, window, chunk) if owns_cache else None
    return Mixer(tuple(weights), cache, 2 * heads * key_dim + kv_heads * (key_dim + value_dim))


def latent_attention(config: Config, index: int) -> Mixer:
    """Multi-head latent attention (DeepSeek V2 and after): one compressed vector a token, not divided among ranks."""
    hidden = config.hidden
    heads = config.heads
    latent = config.required("kv_lora_rank")
    rope = config.number("qk_rope_head_dim") or 64
    nope = config.number("qk_nope_head_dim") or 128
    value = config.number("v_head_dim") or 128
    query_rank = config.number("q_lora_rank")
    expand = heads * (nope + value)
    weights = [
        Weight("self_attn.kv_a_proj_with_mqa", latent + rope, hidden),
        Weight("self_attn.kv_b_proj", expand, latent, Shard.TENSOR),
        # The engine keeps both halves of kv_b_proj once more, in 16 bit (mla_attention.py, process_weights_after_loading).
        Weight("self_attn.kv_b_proj.absorbed", expand, latent, Shard.TENSOR, linear=False),
        Weight("self_attn.o_proj", hidden, heads * value, Shard.TENSOR),
    ]
    if query_rank:
        weights.append(Weight("self_attn.q_a_proj", query_rank, hidden))
        weights.append(Weight("self_attn.q_b_proj", heads * (nope + rope), query_rank, Shard.TENSOR))
    else:
        weights.append(Weight("self_attn.q_proj", heads * (nope + rope), hidden, Shard.TENSOR))
    if config.flag("mla_use_output_gate"):
        weights.append(Weight("self_attn.g_proj", heads * value, hidden, Shard.TENSOR))
    index_dim = config.number("index_head_dim") or 0
    if index_dim and config.entry("indexer_types", index) != "shared":
        weights += _indexer(config, hidden, query_rank or hidden, index_dim)
    else:
        index_dim = 0
    # Engines without MLA pad keys and values to the next power of two they have kernels for.
    padded = _padded(max(nope + rope, value))
    cache = LatentCache(latent, rope, index_dim, uncompressed=(heads, padded, padded))
    return Mixer(tuple(weights), cache, heads * (2 * (nope + rope) + value))


def compressed_attention(config: Config, index: int) -> Mixer:
    """Attention of DeepSeek V4: one shared key-value head, compressed over tokens by the layer's ratio, and a raw window."""
    hidden = config.hidden
    heads = config.heads
    dim = config.required("head_dim")
    query_rank = config.required("q_lora_rank")
    groups = config.number("o_groups") or 1
    output_rank = config.required("o_lora_rank")
    rope = config.number("qk_rope_head_dim") or 64
    ratio = config.entry("compress_ratios", index)
    ratio = ratio if isinstance(ratio, int) and ratio > 0 else 0
    weights = [
        Weight("self_attn.wq_a", query_rank, hidden),
        Weight("self_attn.wq_b", heads * dim, query_rank, Shard.TENSOR),
        Weight("self_attn.wkv", dim, hidden),
        Weight("self_attn.wo_a", output_rank, heads * dim // groups, Shard.TENSOR, count=groups),
        Weight("self_attn.wo_b", hidden, groups * output_rank, Shard.TENSOR),
    ]
    if ratio:
        weights.append(Weight("self_attn.compressor", 2 * dim * (2 if ratio == 4 else 1), hidden, linear=False))
    index_dim = config.number("index_head_dim") or 0
    if ratio == 4 and index_dim:
        weights += _indexer(config, hidden, query_rank, index_dim)
    else:
        index_dim = 0
    config.assume(
        "DeepSeek V4's cache of raw and compressed tokens is planned as if raw tokens were never dropped by short requests"
    )
    cache = (
        LatentCache(dim - rope, rope, index_dim, compression=max(ratio, 1))
        if ratio
        else AttentionCache(1, dim, 0, config.number("sliding_window") or 128)
    )
    return Mixer(tuple(weights), cache, 2 * heads * dim)


def delta_net(config: Config) -> Mixer:
    """Gated delta net (Qwen3-Next, Qwen3.5): a matrix of fixed size per value head in place of keys and values."""
    hidden = config.hidden
    key_heads = config.required("linear_num_key_heads")
    value_heads = config.required("linear_num_value_heads")
    key_dim = config.required("linear_key_head_dim")
    value_dim = config.required("linear_value_head_dim")
    kernel = config.number("linear_conv_kernel_dim") or 4
    keys, values = key_heads * key_dim, value_heads * value_dim
    convolved = 2 * keys + values
    weights = (
        Weight("linear_attn.in_proj_qkv", convolved, hidden, Shard.TENSOR),
        Weight("linear_attn.in_proj_z", values, hidden, Shard.TENSOR),
        Weight("linear_attn.in_proj_ba", 2 * value_heads, hidden, Shard.TENSOR, linear=False),
        Weight("linear_attn.out_proj", hidden, values, Shard.TENSOR),
        Weight("linear_attn.conv1d", convolved, kernel, Shard.TENSOR, linear=False),
    )
    state = StateCache(
        (((kernel - 1, convolved), _HALF), ((value_heads, key_dim, value_dim), _state_bytes(config))),
        heads=gcd(key_heads, value_heads),
    )
    return Mixer(weights, state, 2 * (convolved + values))


def delta_attention(config: Config) -> Mixer:
    """Kimi delta attention (Kimi Linear, Kimi K3)."""
    section = config.section("linear_attn_config")
    hidden = config.hidden
    heads = _section_number(section, "num_heads", 32)
    dim = _section_number(section, "head_dim", 128)
    kernel = _section_number(section, "short_conv_kernel_size", 4)
    inner = heads * dim
    gate_rank = inner if section.get("use_full_rank_gate") else dim
    weights = [
        Weight("self_attn.qkv_proj", 3 * inner, hidden, Shard.TENSOR),
        Weight("self_attn.f_a_proj", dim, hidden),
        Weight("self_attn.f_b_proj", inner, dim, Shard.TENSOR),
        Weight("self_attn.b_proj", heads, hidden, Shard.TENSOR, linear=False),
        Weight("self_attn.o_proj", hidden, inner, Shard.TENSOR),
        Weight("self_attn.conv1d", 3 * inner, kernel, Shard.TENSOR, linear=False),
    ]
    if gate_rank == inner:
        weights.append(Weight("self_attn.g_proj", inner, hidden, Shard.TENSOR))
    else:
        weights += [Weight("self_attn.g_a_proj", dim, hidden), Weight("self_attn.g_b_proj", inner, dim, Shard.TENSOR)]
    state = StateCache((((kernel - 1, 3 * inner), _HALF), ((heads, dim, dim), _SINGLE)), heads=heads)
    return Mixer(tuple(weights), state, 5 * inner)


def mamba(config: Config) -> Mixer:
    """A Mamba-2 layer, or Mamba-1 where the configuration has no heads for it."""
    hidden = config.hidden
    heads = config.number("mamba_num_heads", "mamba_n_heads")
    state = config.number("ssm_state_size", "mamba_d_state", "state_size") or 16
    kernel = config.number("conv_kernel", "mamba_d_conv", "mamba_conv_kernel") or 4
    inner = (config.number("expand", "mamba_expand") or 2) * hidden
    if heads is None:
        rank = config.number("time_step_rank", "mamba_dt_rank") or -(-hidden // 16)
        first_kind = (
            Weight("mixer.in_proj", 2 * inner, hidden, Shard.TENSOR),
            Weight("mixer.x_proj", rank + 2 * state, inner, Shard.TENSOR),
            Weight("mixer.dt_proj", inner, rank, Shard.TENSOR),
            Weight("mixer.out_proj", hidden, inner, Shard.TENSOR),
            Weight("mixer.conv1d", inner, kernel + state, Shard.TENSOR, linear=False),
        )
        cache = StateCache((((kernel - 1, inner), _HALF), ((inner, state), _state_bytes(config))), heads=inner)
        return Mixer(first_kind, cache, 4 * inner)
    dim = config.number("mamba_head_dim", "mamba_d_head") or max(inner // heads, 1)
    groups = config.number("n_groups", "mamba_n_groups") or 1
    inner = heads * dim
    convolved = inner + 2 * groups * state
    weights = (
        Weight("mixer.in_proj", inner + convolved + heads, hidden, Shard.TENSOR),
        Weight("mixer.out_proj", hidden, inner, Shard.TENSOR),
        Weight("mixer.conv1d", convolved, kernel + 1, Shard.TENSOR, linear=False),
    )
    cache = StateCache((((kernel - 1, convolved), _HALF), ((heads, dim, state), _state_bytes(config))), heads=heads)
    return Mixer(weights, cache, 2 * (inner + convolved))


def head_dim(config: Config, hidden: int, heads: int) -> int:
    """Numbers in one head."""
    return config.number("head_dim", "attention_head_dim") or max(hidden // heads, 1)


def _kv_heads(config: Config, heads: int) -> int:
    if config.flag("multi_query") and not config.flag("new_decoder_architecture"):
        return 1
    return config.number("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num") or heads


def _indexer(config: Config, hidden: int, query: int, dim: int) -> list[Weight]:
    heads = config.number("index_n_heads") or 64
    return [
        Weight("self_attn.indexer.wq_b", heads * dim, query),
        Weight("self_attn.indexer.wk", dim, hidden),
        Weight("self_attn.indexer.weights_proj", heads, hidden, linear=False),
    ]


def _state_bytes(config: Config) -> int:
    declared = str(config.get("mamba_ssm_cache_dtype", "mamba_ssm_dtype") or "")
    return _SINGLE if "float32" in declared else _HALF


def _section_number(section: object, key: str, default: int) -> int:
    value = section.get(key) if hasattr(section, "get") else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default


def _padded(dim: int) -> int:
    return next((size for size in (64, 80, 96, 112, 128, 256) if size >= dim), dim)


def _vector(name: str, size: int, shard: Shard = Shard.REPLICATED) -> Weight:
    return Weight(name, size, 1, shard, linear=False)
