"""Which number formats, images and drivers an accelerator can run.

Source: vLLM 0.33: `get_min_capability` of each method in `model_executor/layers/quantization`, `platforms/cuda.py`
(`supported_dtypes`), `v1/attention/backends/triton_attn.py` (8-bit caches), the image's list of compute capabilities
(`docker/Dockerfile`, TORCH_CUDA_ARCH_LIST), and the driver needs of CUDA 13 (NVIDIA, CUDA compatibility: R580 and later).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.engine import NEWEST, release
from planner.model import Model
from planner.options import Device, Options

_MINIMUM = {
    "awq": (7, 5),
    "gptq": (6, 0),
    "inc": (6, 0),
    "fp8": (7, 5),
    "int8": (7, 5),
    "mxfp4": (8, 0),
    "mxfp8": (7, 5),
    "nvfp4": (7, 5),
}
_MINIMUM |= {"modelopt": (8, 0), "compressed-tensors": (7, 0), "quark": (7, 0), "torchao": (7, 5)}
_NATIVE = {"fp8": (8, 9), "mxfp4": (9, 0), "mxfp8": (10, 0), "nvfp4": (10, 0)}
"""From here on the accelerator multiplies in that format; before, weights are stored in it and multiplied in 16 bit."""
_OLDEST = (7, 5)
_PLUGINS = ("bitsandbytes", "gguf")
_CUDA_DRIVERS = {13: 580, 12: 525}
"""First driver branch that runs images of a CUDA major version."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What stands against running a model on a device: `refusals` make a start fail, `warnings` make it slower or need care."""

    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def check_formats(model: Model, device: Device, options: Options, dtype: str = "auto") -> Findings:
    """Whether `device` can run the model's number formats and the cache's; one sentence each."""
    parts = [_engine(model, options), _encoders(model, options), *_parts(model, device, options, dtype)]
    return Findings(
        tuple(sentence for part in parts for sentence in part.refusals),
        tuple(sentence for part in parts for sentence in part.warnings),
    )


def _engine(model: Model, options: Options) -> Findings:
    method = model.quantization.method
    if _newest(options) and method in _PLUGINS:
        return Findings(
            warnings=(f"{method} left vLLM's core; the image needs its plugin, or use a checkpoint in awq, gptq or fp8",)
        )
    return Findings()


def _encoders(model: Model, options: Options) -> Findings:
    """The peak of an encoder depends on the model's own pre-processing; 36 GiB were measured (vllm-project/vllm#12126)."""
    if options.language_model_only or not model.architecture.encoder:
        return Findings()
    return Findings(
        warnings=("what the encoder needs while it reads media is not planned, only its weights; check the first start's log",)
    )


def _parts(model: Model, device: Device, options: Options, dtype: str) -> Iterator[Findings]:
    if device.capability is None:
        yield _other_vendor(model, device)
        return
    shown = f"{device.name} (compute capability {device.capability[0]}.{device.capability[1]})"
    yield _weights(model, options, device.capability, shown)
    yield _numbers(model, dtype, device.capability, shown)
    asked = options.kv_cache_dtype.lower()
    yield _cache((model.quantization.kv_cache or "auto") if asked == "auto" else asked, device.capability, shown)


def _other_vendor(model: Model, device: Device) -> Findings:
    card, method = device.accelerator, model.quantization.method
    if card is None or card.vendor == "nvidia":
        return Findings()
    warning = f"memory on {card.name} is planned by what was measured on NVIDIA GPUs; check the first start's log"
    if method in ("fp8", "mxfp4", "nvfp4") and method not in card.formats:
        return Findings((f"{card.name} has no {method}; use a checkpoint in bfloat16 or another accelerator",), (warning,))
    return Findings(warnings=(warning,))


def _weights(model: Model, options: Options, capability: tuple[int, int], shown: str) -> Findings:
    method = model.quantization.method
    if _newest(options) and capability < _OLDEST:
        image = f"vLLM {options.vllm_version}'s image"
        return Findings((f"{image} has no kernels for {shown}; use a GPU of 7.5 or later (T4 and newer)",))
    if method is not None and capability < _MINIMUM.get(method, (0, 0)):
        runs = [other for other in ("awq", "gptq") if capability >= _MINIMUM[other]]
        return Findings((f"{shown} cannot run {method}; use a checkpoint in {' or '.join(['float16', *runs])}, or a newer GPU",))
    stored = model.quantization.number_format
    if capability < _NATIVE.get(stored, (0, 0)):
        return Findings(warnings=(f"{shown} multiplies {stored} weights in 16 bit: it saves memory, not time",))
    return Findings()


def _numbers(model: Model, dtype: str, capability: tuple[int, int], shown: str) -> Findings:
    if capability >= (8, 0):
        return Findings()
    if dtype == "bfloat16":
        return Findings((f"{shown} has no bfloat16; use --dtype float16",))
    if dtype == "auto" and model.architecture.dtype == "bfloat16":
        return Findings(warnings=(f"{shown} has no bfloat16; the engine runs this model in float16, which some models overflow",))
    return Findings()


def _cache(cache: str, capability: tuple[int, int], shown: str) -> Findings:
    if cache.startswith("fp8") and capability < (8, 0):
        return Findings((f"{shown} cannot keep its KV cache in {cache}; use --kv-cache-dtype float16",))
    if cache.startswith("fp8") and capability < (8, 9):
        return Findings(
            warnings=(f"{shown} keeps an {cache} KV cache only with some attention backends; try it before you rely on it",)
        )
    if cache.startswith("nvfp4") and capability < (10, 0):
        other = "fp8" if capability >= (8, 9) else "bfloat16"
        return Findings((f"{shown} cannot keep its KV cache in {cache}; use --kv-cache-dtype {other}",))
    return Findings()


def _newest(options: Options) -> bool:
    return release(options.vllm_version) >= release(NEWEST)[:2]


def oldest_driver(cuda_major: int | None) -> int:
    """The oldest driver branch that runs images of that CUDA version; 0 where nothing is known."""
    return _CUDA_DRIVERS.get(cuda_major or 0, 0)


def driver_fault(cuda_major: int, driver_branch: int) -> str | None:
    """Why an image of that CUDA version does not run under a driver branch (R550 is 550); None when it does."""
    needed = _CUDA_DRIVERS.get(cuda_major)
    if needed is None or driver_branch >= needed:
        return None
    return (
        f"the image's CUDA {cuda_major} needs driver R{needed} or later and the nodes have R{driver_branch}; "
        "install a newer driver, or set VLLM_ENABLE_CUDA_COMPATIBILITY=1 on data-centre GPUs"
    )


def check_context(model: Model, options: Options) -> str | None:
    """Why the asked context is longer than the model was made for; None when it is not."""
    limit = model.architecture.max_positions
    if options.max_model_len and limit and options.max_model_len > limit:
        return f"a context of {options.max_model_len} tokens exceeds the {limit} positions of the model; use {limit} or less"
    return None


def check_lora(rank: int, count: int, options: Options) -> str | None:
    """Why adapters do not suit the options: ranks vLLM has kernels for, and slots for all that shall run in one batch."""
    ranks = (1, 8, 16, 32, 64, 128, 256, 320, 512)
    if options.max_lora_rank not in ranks:
        return f"a largest rank of {options.max_lora_rank} is not one vLLM has; use one of {', '.join(map(str, ranks))}"
    if rank > options.max_lora_rank:
        fits = next(
            (f"use a largest rank of {size}" for size in ranks if size >= rank), f"use adapters of rank {ranks[-1]} or less"
        )
        return f"rank {rank} exceeds {options.max_lora_rank}, the largest the engine has room for; {fits}"
    if count > options.max_loras:
        fewer = f"{options.max_loras} or fewer adapters or " if options.max_loras else ""
        return f"{count} adapters need as many slots in a batch and there are {options.max_loras}; use {fewer}{count} slots"
    return None
