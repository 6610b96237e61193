"""A model as it lies in an accelerator's memory: its architecture with the bytes of every layer by how they are divided."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

from planner.architecture import Architecture, Layer, Shard, Weight, architecture
from planner.quantization import DTYPE_BITS, Quantization, quantization

_MXFP4_MULTIPLE = 256
"""Kernels for MXFP4 experts want a rank's intermediate size in multiples of 256 (vLLM `quantization/mxfp4.py`)."""


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """Bytes of one layer by how ranks divide them."""

    layer: Layer
    replicated: float
    tensor: float
    expert: float
    kv: tuple[tuple[int, float], ...]
    """Heads and bytes of projections that cannot be divided below one head."""

    expert_multiple: int = 1
    """What a rank's part of an expert's width is padded to a multiple of."""

    def rank_bytes(self, tensor: int, experts: int) -> float:
        """Bytes one rank holds, of `tensor` tensor-parallel ranks and of `experts` ranks among which experts are divided."""
        divided = self.tensor / tensor + self.expert / experts * self._expert_padding(tensor)
        return self.replicated + divided + sum(size * max(heads // tensor, 1) / heads for heads, size in self.kv)

    def _expert_padding(self, tensor: int) -> float:
        width = self.layer.expert_width / tensor
        return ceil(width / self.expert_multiple) * self.expert_multiple / width if width else 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """An architecture with its number formats, ready to be planned many times."""

    architecture: Architecture
    quantization: Quantization
    dtype_bits: int
    """Bits of a number that is not quantized."""
    layers: tuple[StoredLayer, ...]
    name: str = ""

    def rank_bytes(self, stage: range, tensor: int, experts: int, *, encoder: bool) -> float:
        """Bytes of weights one tensor-parallel rank of the pipeline stage with layers `stage` holds, rotary tables included."""
        first, last = stage.start == 0, stage.stop == len(self.layers)
        total = sum(stored.rank_bytes(tensor, experts) for stored in self.layers[stage.start : stage.stop])
        plain = self.dtype_bits / 8
        a = self.architecture
        outside: list[Weight] = []
        if first or (last and a.tied):
            outside += a.embedding
        if last and not a.tied:
            outside += a.head
        if first and encoder:
            outside += a.encoder
        total += sum(weight.elements * weight.share(tensor, experts) * plain for weight in outside)
        return total + sum(positions * dim * plain for positions, dim in a.rotary)

    def stages(self, pipeline: int) -> list[range]:
        """Layers of each pipeline stage; what does not divide goes to the stages before the last (vLLM `get_pp_indices`)."""
        count = len(self.layers)
        sizes = [count // pipeline] * pipeline
        for i in range(2, count % pipeline + 2):
            sizes[-i] += 1
        bounds = [sum(sizes[:i]) for i in range(pipeline + 1)]
        return [range(start, stop) for start, stop in pairwise(bounds)]

    def total_bytes(self) -> float:
        """Bytes of all weights once, with the padding and copies the engine makes of some: a little more than the checkpoint."""
        return self.rank_bytes(range(len(self.layers)), 1, 1, encoder=True)


def load(config: Mapping[str, Any], quantize: str | None = None, dtype: str = "auto", name: str = "") -> Model:
    """The model that a `config.json` describes.

    `quantize` is the engine's `--quantization`: for a checkpoint in 16 bit it says how the engine shall store it.
    Raises ConfigError or UnknownQuantizationError with one sentence.
    """
    facts = architecture(config)
    return stored(facts, quantization(facts.quantization, quantize, config.get("expert_dtype")), DTYPE_BITS.get(dtype, 16), name)


def quantized(model: Model, method: str) -> Model:
    """The same architecture stored by another method."""
    return stored(model.architecture, quantization({}, method), model.dtype_bits, model.name)


def stored(facts: Architecture, scheme: Quantization, bits: int, name: str = "") -> Model:
    """The architecture with its layers' bytes under `scheme`, other numbers having `bits` bits."""
    known: dict[tuple[int, tuple[float, ...]], StoredLayer] = {}
    layers = []
    for index, layer in enumerate(facts.layers):
        widths = tuple(scheme.weight_bits(weight, index, bits) for weight in layer.weights)
        key = (id(layer), widths)
        if key not in known:
            known[key] = _stored(layer, widths, _MXFP4_MULTIPLE if scheme.method == "mxfp4" else 1)
        layers.append(known[key])
    return Model(facts, scheme, bits, tuple(layers), name)


def _stored(layer: Layer, widths: tuple[float, ...], expert_multiple: int) -> StoredLayer:
    sums = dict.fromkeys(Shard, 0.0)
    kv: dict[int, float] = {}
    for weight, bits in zip(layer.weights, widths, strict=True):
        size = weight.elements * bits / 8
        if weight.shard is Shard.KV_HEADS:
            kv[weight.heads] = kv.get(weight.heads, 0.0) + size
        else:
            sums[weight.shard] += size
    return StoredLayer(
        layer,
        replicated=sums[Shard.REPLICATED],
        tensor=sums[Shard.TENSOR] + sums[Shard.VOCABULARY],
        expert=sums[Shard.EXPERT],
        kv=tuple(sorted(kv.items())),
        expert_multiple=expert_multiple,
    )
