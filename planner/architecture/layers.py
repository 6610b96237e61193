"""What a model is made of, as far as memory is concerned: weights that are split in different ways, and caches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import prod
from types import MappingProxyType


class Shard(Enum):
    """How tensor parallelism divides a weight among the ranks."""

    REPLICATED = "replicated"
    """Whole on every rank: norms, routers, the latent projections of MLA."""
    TENSOR = "tensor"
    """Rows or columns divided by the ranks."""
    KV_HEADS = "kv heads"
    """Divided by heads, but never below one head a rank: with more ranks than heads they are replicated."""
    VOCABULARY = "vocabulary"
    """Rows divided after the vocabulary was padded to a multiple of 64."""
    EXPERT = "expert"
    """Routed experts: divided by the tensor ranks, and with expert parallelism by the data-parallel ranks too."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A matrix (or several of one shape) with the name its module has inside a layer of the checkpoint."""

    name: str
    rows: int
    """Output features."""
    columns: int
    """Input features; 1 for a vector."""
    shard: Shard = Shard.REPLICATED
    count: int = 1
    """Matrices of this shape, e.g. one for every expert."""
    heads: int = 1
    """Heads that `Shard.KV_HEADS` divides."""
    linear: bool = True
    """Whether it is a linear layer, which quantization may shrink; norms, biases, convolutions and embeddings are not."""

    @property
    def elements(self) -> int:
        """Numbers in it."""
        return self.rows * self.columns * self.count

    def share(self, tensor: int, experts: int) -> float:
        """Part of it one rank holds, with `tensor` tensor-parallel ranks and `experts` ranks among which experts are divided."""
        match self.shard:
            case Shard.REPLICATED:
                return 1.0
            case Shard.KV_HEADS:
                return max(self.heads // tensor, 1) / self.heads
            case Shard.EXPERT:
                return 1 / experts
            case _:
                return 1 / tensor


@dataclass(frozen=True, slots=True)
class AttentionCache:
    """Keys and values of every token of a request, for `kv_heads` heads of `key_dim` and `value_dim` numbers."""

    kv_heads: int
    key_dim: int
    value_dim: int
    window: int | None = None
    """Tokens a sliding-window layer looks back; None for full attention."""
    chunk: int | None = None
    """Tokens a chunked-local layer looks back."""

    def numbers_per_token(self, tensor: int) -> int:
        """Numbers one rank stores for a token: heads are divided, and replicated where there are fewer heads than ranks."""
        return max(self.kv_heads // tensor, 1) * (self.key_dim + self.value_dim)


@dataclass(frozen=True, slots=True)
class LatentCache:
    """The compressed keys and values of MLA: one vector a token, whole on every rank."""

    latent_dim: int
    rope_dim: int
    index_dim: int = 0
    """Key of a sparse-attention indexer, kept in 8 bit with one float32 scale."""
    compression: int = 1
    """Tokens that share one stored vector."""
    uncompressed: tuple[int, int, int] | None = None
    """KV heads, key and value dimension of the same layer in engines without MLA (vLLM before 0.7)."""


@dataclass(frozen=True, slots=True)
class StateCache:
    """The state of a recurrent layer (Mamba, linear attention): of one size, whatever the context."""

    tensors: tuple[tuple[tuple[int, ...], int], ...]
    """Shape and bytes per number of each part of the state, before it is divided by the ranks."""
    heads: int
    """Ranks must divide this."""

    def bytes(self, tensor: int) -> int:
        """Bytes one rank stores for a request."""
        return sum(-(-prod(shape) // tensor) * size for shape, size in self.tensors)


Cache = AttentionCache | LatentCache | StateCache


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its weights, its cache if it has one, and what a token needs while it passes."""

    weights: tuple[Weight, ...]
    cache: Cache | None
    wide: int = 0
    """Numbers a token needs at once that are divided by the ranks: the up and gate projections and their product."""
    expert_width: int = 0
    """Intermediate size of one routed expert; 0 in a dense layer."""
    experts_per_token: int = 0
    expert_hidden: int = 0
    """Size of what goes into a routed expert: the hidden size, or the latent size where experts work on a projection."""
    gated: bool = True
    """Whether experts have a gate beside the up projection."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model's memory-relevant facts, read from its Hugging Face `config.json`."""

    name: str
    """`model_type` of the configuration."""
    hidden_size: int
    heads: int
    vocabulary: int
    max_positions: int
    """Longest context the model was made for, in tokens; 0 when the configuration does not say."""
    dtype: str
    """Number format of weights that are not quantized: bfloat16, float16 or float32."""
    tied: bool
    """Whether the output head is the embedding."""
    layers: tuple[Layer, ...]
    embedding: tuple[Weight, ...]
    """On the first pipeline stage, and on the last one too when the head is tied to it."""
    head: tuple[Weight, ...]
    """On the last pipeline stage."""
    encoder: tuple[Weight, ...] = ()
    """Vision or audio encoder, on the first stage; absent when the engine runs the language model only."""
    rotary: tuple[tuple[int, int], ...] = ()
    """Positions and dimension of each cosine and sine table, which every rank holds."""
    quantization: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    """`quantization_config` as the checkpoint has it."""
    warnings: tuple[str, ...] = ()
    """What was assumed because the configuration did not say, one sentence each."""

    @property
    def encoders(self) -> frozenset[str]:
        """Which of `vision` and `audio` it has an encoder for whose size is known."""
        return frozenset(weight.name.partition(".")[0] for weight in self.encoder)

    def parameters(self) -> int:
        """Numbers in all weights of the checkpoint, with a tied head counted once."""
        inside = (w for layer in self.layers for w in layer.weights if not w.name.endswith(".absorbed"))
        weights = [*self.embedding, *self.encoder, *inside]
        return sum(w.elements for w in (*weights, *(() if self.tied else self.head)))
