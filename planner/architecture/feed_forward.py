"""The feed-forward part of a layer: one dense network, or routed experts with what they share."""

from dataclasses import dataclass

from planner.architecture.layers import Shard, Weight
from planner.architecture.mixers import BIASED
from planner.architecture.reading import Config

_UNGATED = BIASED - {"gpt_oss"} | {"nemotron_h", "nemotron", "falcon", "arctic_dense"}
_EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts", "num_routed_experts", "expert_num")
_TOP_K = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "top_k_experts", "moe_topk", "moe_k")


@dataclass(frozen=True, slots=True)
class FeedForward:
    """Weights of a layer's feed-forward part, and what sizes its intermediate results; see `Layer`."""

    weights: tuple[Weight, ...]
    wide: int = 0
    expert_width: int = 0
    experts_per_token: int = 0
    expert_hidden: int = 0
    gated: bool = True


NONE = FeedForward(())


def experts(config: Config) -> int:
    """Routed experts of a sparse layer; 0 in a dense model."""
    count = config.number(*_EXPERTS) or 0
    return 0 if count == 1 else count


def is_sparse(config: Config, index: int) -> bool:
    """Whether layer `index` has routed experts."""
    if not experts(config):
        return False
    if (kind := config.entry("mlp_layer_types", index)) is not None:
        return str(kind) == "sparse"
    frequency = config.get("moe_layer_freq")
    if isinstance(frequency, list):
        return bool(config.entry("moe_layer_freq", index))
    first = config.number("first_k_dense_replace", "moe_layer_start_index", "moe_num_first_k_dense_layers")
    if first is None and config.model_type.startswith("deepseek_v2"):
        first = 1
    if index < (first or 0):
        return False
    dense_layers = config.get("mlp_only_layers")
    if isinstance(dense_layers, list) and index in dense_layers:
        return False
    step = config.number("decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_freq", "moe_layer_interval") or 1
    return (index + 1) % step == 0 if not config.number("first_k_dense_replace") else index % step == 0


def dense(config: Config, intermediate: int | None = None) -> FeedForward:
    """A dense network with a gate (three matrices), or without (two) in families that have none."""
    hidden = config.hidden
    size = intermediate or config.number(
        "dense_intermediate_size",
        "intermediate_size_mlp",
        "intermediate_size",
        "ffn_dim",
        "decoder_ffn_dim",
        "d_ff",
        "n_inner",
        "ffn_hidden_size",
    )
    if size is None:
        size = 4 * hidden
        config.assume(f"intermediate_size is missing; {size} (four times the hidden size) is assumed")
    gated = config.model_type not in _UNGATED
    names = ("gate_proj", "up_proj") if gated else ("up_proj",)
    weights = [Weight(f"mlp.{name}", size, hidden, Shard.TENSOR) for name in names]
    weights.append(Weight("mlp.down_proj", hidden, size, Shard.TENSOR))
    if config.model_type in BIASED:
        weights += [
            Weight("mlp.up_proj.bias", size * len(names), 1, Shard.TENSOR, linear=False),
            Weight("mlp.down_proj.bias", hidden, 1, linear=False),
        ]
    return FeedForward(tuple(weights), wide=(3 if gated else 2) * size, gated=gated)


def sparse(config: Config) -> FeedForward:
    """Routed experts with a router, and the expert all tokens share where there is one."""
    hidden = config.hidden
    count = experts(config)
    size = config.number("moe_intermediate_size", "expert_ffn_hidden_size", "moe_ffn_hidden_size") or config.required(
        "intermediate_size", "ffn_hidden_size"
    )
    gated = config.model_type not in _UNGATED
    latent = config.number("moe_latent_size", "routed_expert_hidden_size")
    inside = latent or hidden
    weights = [
        Weight("mlp.gate", count, hidden, linear=False),
        Weight("mlp.experts.0.up_proj", (2 if gated else 1) * size, inside, Shard.EXPERT, count),
        Weight("mlp.experts.0.down_proj", inside, size, Shard.EXPERT, count),
    ]
    if config.model_type in BIASED:
        weights.append(Weight("mlp.experts.0.bias", 2 * size + inside, 1, Shard.EXPERT, count, linear=False))
    if latent:
        weights += [Weight("mlp.fc1_latent_proj", latent, hidden), Weight("mlp.fc2_latent_proj", hidden, latent)]
    if shared := _shared(config, size):
        weights += [
            Weight("mlp.shared_experts.up_proj", (2 if gated else 1) * shared, hidden, Shard.TENSOR),
            Weight("mlp.shared_experts.down_proj", hidden, shared, Shard.TENSOR),
        ]
    top = config.number(*_TOP_K)
    if top is None:
        top = 8
        config.assume("the number of experts a token visits is missing; 8 are assumed")
    return FeedForward(
        tuple(weights),
        wide=(3 if gated else 2) * shared,
        expert_width=size,
        experts_per_token=min(top, count),
        expert_hidden=inside,
        gated=gated,
    )


def _shared(config: Config, size: int) -> int:
    """Intermediate size of the experts that all tokens visit, together."""
    whole = config.number("moe_shared_expert_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size")
    one = whole or config.number("share_expert_dim") or size
    count = config.number("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")
    match config.model_type:
        case "qwen2_moe" if not whole:
            return config.number("intermediate_size") or 0
        case "llama4" | "llama4_text":
            return config.number("intermediate_size") or size
    if count:
        return one * count
    return whole or config.number("share_expert_dim") or 0
