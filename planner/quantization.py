"""How many bits a checkpoint's quantization leaves of each weight, and which weights it leaves alone.

Bits per number count what is stored beside it: scales of blocks, groups or channels, and zero points. Sources: the formats' own
definitions (OCP Microscaling 1.0: 8-bit scale per 32; NVFP4: FP8 scale per 16; AWQ and GPTQ: 16-bit scale and 4-bit zero point
per group; FP8 blocks: 32-bit scale per 128 x 128) and vLLM 0.33 `model_executor/layers/quantization` for what each method skips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planner.architecture import Shard, Weight
from planner.module_patterns import ModulePatterns

DTYPE_BITS = {"float16": 16, "bfloat16": 16, "half": 16, "float32": 32, "float": 32, "auto": 16}

_ALIASES = {
    "awq_marlin": "awq",
    "auto_awq": "awq",
    "gptq_marlin": "gptq",
    "auto_gptq": "gptq",
    "gptq_bitblas": "gptq",
    "gpt_oss_mxfp4": "mxfp4",
    "modelopt_fp4": "nvfp4",
    "modelopt_nvfp4": "nvfp4",
    "modelopt_fp8": "fp8",
    "modelopt_mxfp8": "mxfp8",
    "modelopt_mixed": "modelopt",
    "fbgemm_fp8": "fp8",
    "fp8_per_tensor": "fp8",
    "fp8_per_block": "fp8",
    "fp8_per_channel": "fp8",
    "deepseek_v4_fp8": "fp8",
    "nvfp4_per_token": "nvfp4",
    "fp4": "nvfp4",
    "w4a16_nvfp4": "nvfp4",
    "int8_per_channel_weight_only": "int8",
    "experts_int8": "int8",
    "w8a8": "int8",
    "bnb": "bitsandbytes",
    "auto-round": "inc",
    "auto_round": "inc",
}
_GROUP_128 = 4 + 16 / 128 + 4 / 128
BITS = {
    "awq": _GROUP_128,
    "gptq": _GROUP_128,
    "inc": _GROUP_128,
    "fp8": 8 + 32 / (128 * 128),
    "int8": 8.0,
    "compressed-tensors": 8.0,
    "quark": 8.0,
    "torchao": 8.0,
    "modelopt": 8.0,
    "mxfp4": 4 + 8 / 32,
    "mxfp8": 8 + 8 / 32,
    "nvfp4": 4 + 8 / 16,
    # NF4 blocks of 64 with a scale that is itself stored in 8 bit with one float32 per 256.
    "bitsandbytes": 4 + 8 / 64 + 32 / (64 * 256),
    "gguf": 4.85,
}
_EXPERTS_ONLY = {"mxfp4"}
_BETWEEN_4_AND_8 = 6


class UnknownQuantizationError(ValueError):
    """A quantization method that vLLM does not have; one sentence."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """A checkpoint's quantization: the method, and the bits of each weight it applies to."""

    method: str | None
    """vLLM's name of the method, None for a checkpoint in 16 bit."""
    bits: float
    """Bits of one number where the method applies, with scales and zero points."""
    skipped: ModulePatterns = field(default_factory=ModulePatterns)
    """Modules that stay in 16 bit."""
    groups: tuple[tuple[ModulePatterns, float], ...] = ()
    """Modules with bits of their own."""
    expert_bits: float | None = None
    """Bits of routed experts where they differ from the rest."""
    experts_only: bool = False
    kv_cache: str | None = None
    """Number format the checkpoint asks for its KV cache."""
    block: int | None = None
    """Numbers that share a scale along a weight's side, which a rank must hold whole; None where a scale is per tensor or row."""
    floating: bool = False
    """Whether stored numbers are floating-point ones."""

    @property
    def number_format(self) -> str:
        """What the accelerator multiplies or widens: fp8, mxfp4, mxfp8, nvfp4, int8, int4 or 16 bit."""
        if self.method is None:
            return "16 bit"
        if self.method in ("fp8", "mxfp4", "mxfp8", "nvfp4"):
            return self.method
        narrow = self.bits < _BETWEEN_4_AND_8
        if self.floating:
            return "nvfp4" if narrow else "fp8"
        return "int4" if narrow else "int8"

    def weight_bits(self, weight: Weight, layer: int, plain_bits: int) -> float:
        """Bits of one number of `weight` in layer `layer`, where unquantized weights have `plain_bits`."""
        if self.method is None or not weight.linear:
            return plain_bits
        if self.experts_only and weight.shard is not Shard.EXPERT:
            return plain_bits
        if self.skipped.match(weight.name, layer):
            return plain_bits
        for modules, bits in self.groups:
            if modules.match(weight.name, layer):
                return bits
        if self.expert_bits is not None and weight.shard is Shard.EXPERT:
            return self.expert_bits
        return self.bits


NONE = Quantization(None, 16)


def quantization(checkpoint: Mapping[str, Any], requested: str | None = None, expert_dtype: object = None) -> Quantization:
    """The quantization of a checkpoint with this `quantization_config`, or the one requested for a checkpoint without any.

    Raises UnknownQuantizationError for a method vLLM does not have.
    """
    declared = _declared_method(checkpoint)
    if declared is None:
        return _requested(requested)
    method, bits = declared
    groups: list[tuple[ModulePatterns, float]] = []
    block = _block(checkpoint)
    floating = False
    skipped = tuple(
        name for key in ("ignore", "modules_to_not_convert", "exclude_modules") for name in _texts(checkpoint.get(key))
    )
    sections, mixed = checkpoint.get("config_groups"), checkpoint.get("quantized_layers")
    if isinstance(mixed, Mapping) and method == "fp8":
        # An FP8 checkpoint some of whose modules were quantized further; what it ignores there stays FP8.
        skipped = ()
    elif isinstance(sections, Mapping):
        for section in (section for section in sections.values() if isinstance(section, Mapping)):
            targets = _texts(section.get("targets"))
            if not targets or "Linear" in targets:
                bits = _group_bits(section)
                block, floating = _block(section.get("weights")), _is_floating(section)
            else:
                groups.append((ModulePatterns(targets), _group_bits(section)))
    if isinstance(mixed, Mapping):
        groups += _mixed(mixed)
    return Quantization(
        method,
        bits,
        skipped=ModulePatterns(skipped),
        groups=tuple(groups),
        expert_bits=BITS["mxfp4"] if expert_dtype == "fp4" else None,
        experts_only=method in _EXPERTS_ONLY,
        kv_cache=_kv_cache(checkpoint),
        block=block if method not in ("mxfp4", "nvfp4") else None,
        floating=floating,
    )


def is_unset(method: str) -> bool:
    """Whether the text says that no method is asked for."""
    return method.strip().lower() in ("", "none", "null", "auto")


def canonical(method: str) -> str:
    """vLLM's method behind one of its spellings (`awq_marlin` is awq).

    Raises UnknownQuantizationError for a method vLLM does not have.
    """
    words = method.strip().lower().split()
    name = _ALIASES.get(words[0], words[0]) if words else ""
    if len(words) > 1 and name == "modelopt":
        name = _ALIASES.get(words[1], words[1])
    if name not in BITS:
        raise UnknownQuantizationError(
            f"{method!r} is not a quantization the planner knows; use one of {', '.join(sorted(BITS))}"
        )
    return name


def _requested(method: str | None) -> Quantization:
    if method is None or is_unset(method):
        return NONE
    name = canonical(method)
    in_groups = name in ("awq", "gptq", "inc")
    # Weights quantized while they load have one scale for a tensor or a row, unless blocks are asked for.
    in_blocks = method.lower() == "fp8_per_block"
    bits = 8.0 if name == "fp8" and not in_blocks else BITS[name]
    return Quantization(name, bits, experts_only=name in _EXPERTS_ONLY, block=128 if in_groups or in_blocks else None)


def _declared_method(checkpoint: Mapping[str, Any]) -> tuple[str, float] | None:
    """The method a `quantization_config` names, and its bits as far as its own keys say."""
    algorithm = str(checkpoint.get("quant_algo") or checkpoint.get("moe_quant_algo") or "").lower()
    algorithm = _ALIASES.get(algorithm, algorithm)
    declared = checkpoint.get("quant_method") or ("modelopt" if algorithm else None)
    if not isinstance(declared, str) or not declared:
        return None
    try:
        method = canonical(declared)
    except UnknownQuantizationError:
        return "torchao", BITS["torchao"]
    if method == "modelopt" and algorithm in BITS:
        return algorithm, BITS[algorithm]
    width = checkpoint.get("bits") or checkpoint.get("w_bit")
    if method in ("awq", "gptq", "inc") and isinstance(width, int) and 2 <= width <= 8:
        group = checkpoint.get("group_size") or checkpoint.get("q_group_size")
        return method, width + ((16 + width) / group if isinstance(group, int) and group > 0 else 0)
    if method == "bitsandbytes" and checkpoint.get("load_in_8bit"):
        return method, BITS["int8"]
    if method == "fp8" and not checkpoint.get("weight_block_size"):
        return method, 8.0
    return method, BITS[method]


def _block(section: object) -> int | None:
    """Numbers that share a scale along a side: of a block of FP8, or of a group of 4-bit numbers."""
    if not isinstance(section, Mapping):
        return None
    blocks = section.get("weight_block_size")
    if isinstance(blocks, Sequence) and not isinstance(blocks, str) and blocks and isinstance(blocks[0], int):
        return blocks[0] if blocks[0] > 0 else None
    for key in ("group_size", "q_group_size"):
        size = section.get(key)
        if isinstance(size, int) and not isinstance(size, bool) and size > 0:
            return size
    return None


def _is_floating(section: Mapping[str, Any]) -> bool:
    weights = section.get("weights")
    return isinstance(weights, Mapping) and weights.get("type") == "float"


def _group_bits(section: Mapping[str, Any]) -> float:
    """Bits of a number in a group of compressed-tensors or ModelOpt."""
    weights = section.get("weights")
    if not isinstance(weights, Mapping):
        return 16
    width = weights.get("num_bits")
    if not isinstance(width, int) or not 1 <= width <= 32:
        return 16
    size = weights.get("group_size")
    if not isinstance(size, int) or size <= 0:
        return width
    if weights.get("type") == "float" and width == 4:
        return width + 8 / size
    return width + (16 if weights.get("symmetric", True) else 16 + width) / size


def _mixed(layers: Mapping[str, Any]) -> list[tuple[ModulePatterns, float]]:
    """Bits by module of a ModelOpt checkpoint that mixes algorithms."""
    by_bits: dict[float, list[str]] = {}
    for name, section in layers.items():
        algorithm = str(section.get("quant_algo") or "").lower() if isinstance(section, Mapping) else ""
        algorithm = _ALIASES.get(algorithm, algorithm)
        if algorithm in BITS:
            by_bits.setdefault(BITS[algorithm], []).append(str(name))
    return [(ModulePatterns(tuple(names)), bits) for bits, names in by_bits.items()]


def _kv_cache(checkpoint: Mapping[str, Any]) -> str | None:
    scheme = checkpoint.get("kv_cache_scheme") or checkpoint.get("kv_cache_quant_algo")
    if isinstance(scheme, Mapping):
        return "fp8" if scheme.get("num_bits") == 8 else None
    return "fp8" if isinstance(scheme, str) and "fp8" in scheme.lower() else None


def _texts(value: object) -> tuple[str, ...]:
    return (
        tuple(item for item in value if isinstance(item, str))
        if isinstance(value, Sequence) and not isinstance(value, str)
        else ()
    )
