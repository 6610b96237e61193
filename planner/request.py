"""A question as the command line and `--batch` put it, and the answer in their JSON."""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from planner.architecture import ConfigError
from planner.catalog.hardware import UnknownAcceleratorError, accelerator
from planner.catalog.models import UnknownModelError
from planner.catalog.models import model as catalog_model
from planner.compatibility import check_context, check_formats
from planner.engine import NEWEST, OLDEST, release
from planner.kv_cache import CACHE_DTYPES
from planner.memory import Fit, fit
from planner.model import Model, load
from planner.options import Device, Options, device
from planner.parallelism import fault, tensor_sizes, with_tensor_size
from planner.quantization import DTYPE_BITS, UnknownQuantizationError, canonical, is_unset
from planner.refusal import Suggestion, suggestions

_COUNTS = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
)
_SHARES = ("gpu_memory_utilization",)
_TEXTS = ("model", "gpu", "kv_cache_dtype", "quantization", "dtype", "vllm_version")
KEYS = ("config", *_TEXTS, "gpu_memory_gib", *_COUNTS, *_SHARES, "enforce_eager", "enable_expert_parallel")
"""What a question may hold: the options of `fit` with underscores."""

ANSWER = (
    "fits",
    "reason",
    "weights_gib",
    "non_torch_gib",
    "activation_gib",
    "cuda_graph_gib",
    "kv_cache_gib",
    "kv_cache_tokens",
    "max_concurrency",
    "max_model_len_that_fits",
)
"""Keys of an answer, in order; GiB are per accelerator."""

_LARGEST = 2**31
_NODE = 8
"""Accelerators a node may have at most where nobody says."""
_MOST_RANKS = 64
"""Tensor-parallel sizes that are tried when the one asked for does not work."""


class RequestError(ValueError):
    """A question that cannot be answered; one sentence that names the option and a value that works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What `fit` found for a question."""

    model: Model
    device: Device
    options: Options
    fit: Fit
    reason: str | None
    """Why it does not start: memory, parallel sizes or number formats."""
    warnings: tuple[str, ...]

    def suggestions(self) -> tuple[Suggestion, ...]:
        """Changes that fit, where memory is what stands against a start."""
        if self.reason is None or self.reason != self.fit.reason:
            return ()
        return suggestions(self.model, self.device, self.options, max(self.options.tensor_parallel_size, _NODE))

    def json(self) -> dict[str, Any]:
        """The answer under the keys of `ANSWER`."""
        terms = self.fit.terms
        values: dict[str, Any] = {
            "fits": self.reason is None,
            "reason": self.reason,
            "kv_cache_tokens": self.fit.kv_cache_tokens,
            "max_concurrency": round(self.fit.max_concurrency, 3),
            "max_model_len_that_fits": self.fit.max_model_len_that_fits,
        }
        return {key: values[key] if key in values else round(getattr(terms, key), 3) for key in ANSWER}


def answer(question: Mapping[str, Any]) -> Answer:
    """Plan what `question` asks for. Raises RequestError with one sentence."""
    model, warnings = model_of(question)
    card = _device(question, warnings)
    options = _options(question)
    findings = check_formats(model, card, options, _text(question, "dtype") or "auto")
    if release(options.vllm_version) < OLDEST:
        warnings.append(f"vLLM {options.vllm_version} is older than what is modelled (0.6); take the numbers as rough")
    if context := check_context(model, options):
        warnings.append(f"{context}, unless --hf-overrides stretches them")
    impossible = fault(model, options)
    if impossible is not None:
        # The numbers of the nearest size that works say more than none.
        valid = tensor_sizes(model, min(options.tensor_parallel_size, _MOST_RANKS)) or (1,)
        stages = min(options.pipeline_parallel_size, len(model.layers))
        planned = fit(model, card, with_tensor_size(model, replace(options, pipeline_parallel_size=stages), valid[-1]))
    else:
        planned = fit(model, card, options)
    return Answer(
        model=model,
        device=card,
        options=options,
        fit=planned,
        reason=impossible or next(iter(findings.refusals), None) or planned.reason,
        warnings=(*warnings, *model.architecture.warnings, *findings.warnings),
    )


def answer_line(line: str) -> dict[str, Any]:
    """The answer to one line of `--batch`; a line that cannot be answered says why and fits nothing."""
    try:
        return answer(_question(line)).json()
    except RequestError as error:
        return dict.fromkeys(ANSWER) | {"fits": False, "reason": str(error)}


def _question(line: str) -> Mapping[str, Any]:
    try:
        question = json.loads(line)
    except json.JSONDecodeError as error:
        raise RequestError(f"the line is not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError):
        raise RequestError("the line has a number too long or brackets too deep to be read; use numbers of few digits") from None
    if not isinstance(question, Mapping):
        raise RequestError('a line must be a JSON object such as {"model": "Qwen/Qwen3-8B", "gpu": "L4"}')
    return question


def unknown_keys(question: Mapping[str, Any]) -> list[str]:
    """A sentence for each key that no option has."""
    sentences = []
    for key in question:
        if key not in KEYS:
            near = get_close_matches(str(key), KEYS, n=1)
            sentences.append(f"{key} is not an option and was ignored" + (f"; did you mean {near[0]}?" if near else ""))
    return sentences


def config_of(path: Path, shown: str | None = None) -> Mapping[str, Any]:
    """The configuration in a `config.json`, named `shown` in messages. Raises RequestError with one sentence."""
    name = shown or str(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(
            f"{name}: cannot be read ({error.strerror}); give the config.json of a Hugging Face repository"
        ) from None
    except (ValueError, RecursionError):
        raise RequestError(f"{name}: is not JSON; give the config.json of a Hugging Face repository") from None
    if not isinstance(config, Mapping):
        raise RequestError(f"{name}: is not a mapping; give the config.json of a Hugging Face repository")
    return config


def model_of(question: Mapping[str, Any]) -> tuple[Model, list[str]]:
    """The model a question names or describes, and what is uncertain about it. Raises RequestError."""
    config, name = question.get("config"), _text(question, "model")
    warnings: list[str] = []
    if config is None:
        if name is None:
            raise RequestError("no model is given; use --model ID from the catalogue or --config FILE")
        try:
            entry = catalog_model(name)
        except UnknownModelError as error:
            raise RequestError(str(error)) from None
        config = entry.config
        if entry.note:
            warnings.append(f"{entry.id}: {entry.note}")
    _known(question, "dtype", DTYPE_BITS)
    asked = _text(question, "quantization")
    try:
        loaded = load(config, asked, _text(question, "dtype") or "auto", name or "")
        stored = loaded.quantization.method
        if asked and stored and not is_unset(asked) and canonical(asked) != stored:
            warnings.append(
                f"the checkpoint is quantized by {stored}, so vLLM refuses --quantization {asked}; it is planned as it is"
            )
    except (ConfigError, UnknownQuantizationError) as error:
        raise RequestError(f"{name or 'config'}: {error}") from None
    return loaded, warnings


def _device(question: Mapping[str, Any], warnings: list[str]) -> Device:
    name, memory = _text(question, "gpu"), _number(question, "gpu_memory_gib", 4096)
    if name is None:
        if memory is None:
            raise RequestError("no accelerator is given; use --gpu NAME from the catalogue or --gpu-memory-gib X")
        return device(memory_gib=memory)
    try:
        return device(accelerator(name), memory)
    except UnknownAcceleratorError as error:
        if memory is None:
            raise RequestError(str(error)) from None
        warnings.append(f"{name} is not in the catalogue; it is planned by its {memory:g} GiB alone")
        return device(memory_gib=memory)


def _options(question: Mapping[str, Any]) -> Options:
    counts = {name: value for name in _COUNTS if (value := _count(question, name)) is not None}
    share = _number(question, "gpu_memory_utilization", 1)
    _known(question, "kv_cache_dtype", CACHE_DTYPES)
    return Options(
        **counts,  # type: ignore[arg-type]
        gpu_memory_utilization=share,
        kv_cache_dtype=_text(question, "kv_cache_dtype") or "auto",
        enforce_eager=_flag(question, "enforce_eager"),
        enable_expert_parallel=_flag(question, "enable_expert_parallel"),
        vllm_version=_text(question, "vllm_version") or NEWEST,
    )


def _text(question: Mapping[str, Any], key: str) -> str | None:
    value = question.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise RequestError(f"{key}: {value!r} is not text")
    return value


def _known(question: Mapping[str, Any], key: str, names: Collection[str]) -> None:
    value = _text(question, key)
    if value is not None and value.lower() not in names:
        raise RequestError(f"{key}: {value!r} is not a number format vLLM has; use one of {', '.join(names)}")


def _count(question: Mapping[str, Any], key: str) -> int | None:
    value = _number(question, key, _LARGEST)
    if value is not None and value != int(value):
        raise RequestError(f"{key}: {value:g} is not a whole number")
    return None if value is None else int(value)


def _number(question: Mapping[str, Any], key: str, most: float) -> float | None:
    value = question.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RequestError(f"{key}: {value!r} is not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise RequestError(f"{key}: {value!r} is not a number")
    if not 0 < value <= most:
        # A whole number may be too large to be shown, or to be a float at all.
        shown = f"{value:g}" if abs(value) < _LARGEST else "a number that large"
        raise RequestError(f"{key}: {shown} is not possible; use a number above 0 and up to {most:g}")
    return value


def _flag(question: Mapping[str, Any], key: str) -> bool:
    value = question.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise RequestError(f"{key}: {value!r} is neither true nor false")
    return value
