"""Published starts of vLLM, planned and compared; `python -m tests.unit.planner.cases` prints the tables.

A case takes part when it states vLLM's version (0.6 or later), the model's configuration, the card or its memory and the
utilisation (or is marked as having the default), and when everything that a plan cannot see is at its default. `LEFT_OUT` says
why any other does not.
"""

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from planner.catalog.hardware import Accelerator, accelerator
from planner.catalog.models import UnknownModelError
from planner.catalog.models import model as catalog_model
from planner.engine import NEWEST
from planner.memory import Fit, fit
from planner.model import Model, load
from planner.options import Device, Options, device

OLDEST = (0, 6)

NO_VERSION = "the version of vLLM is not stated"
OLD_VERSION = "older than vLLM 0.6"
NO_UTILISATION = "the utilisation is not stated"
NO_CONFIG = "the model's configuration is not among the data"
NO_CARD = "neither a card of the catalogue nor its memory is stated"
TWO_CARDS = "two different cards, with layers or ranks placed by hand"
SLEEP = "sleep mode, with which the engine overestimates its cache and runs out of memory"
ADAPTERS = "LoRA adapters, whose number and rank are not stated"
OTHER_ENGINE = "another engine derived from vLLM"

LEFT_OUT = {
    "h100-emp-gpt-oss-20b": NO_VERSION,
    "h100-emp-llama33-70b-fp8-tp2": NO_VERSION,
    "h100-emp-llama31-8b": NO_VERSION,
    "h100-emp-qwen3-0.6b": NO_VERSION,
    "h100-emp-llama33-70b-fp8-tp1": NO_VERSION,
    "t4-llama31-8b-bnb4": ADAPTERS,
    "t4-qwen25-1.5b": NO_VERSION,
    "a10x4-qwen3-30b-a3b-oom": NO_VERSION,
    "a10-llama31-8b-131k": NO_VERSION,
    "a10g-llama-guard-4-12b-oom": NO_UTILISATION,
    "rtx3090-llama31-8b-20k": NO_VERSION,
    "rtx3090-llama31-8b-29k": NO_VERSION,
    "rtx3090-hermes3-8b": NO_VERSION,
    "24g-qwen3-1.7b": NO_CARD,
    "24g-qwen25-32b-awq-4096": NO_VERSION,
    "24g-qwen25-32b-awq-1024": NO_VERSION,
    "lmcache-qwen3-8b-24g": NO_CARD,
    "4x22g-qwen3-30b-a3b-32k": NO_VERSION,
    "4x22g-qwen3-30b-a3b-131k": NO_VERSION,
    "4090x2-llama31-70b-awq-fp8kv": NO_VERSION,
    "4090x2-llama31-70b-awq-fp8kv-sleep": SLEEP,
    "5070ti-5090d-qwen3-coder-30b-fp8-pp2": TWO_CARDS,
    "5090x2-qwq-32b-bnb-pp2": NO_UTILISATION,
    "5080-5070ti-nemotron3-nano-nvfp4": TWO_CARDS,
    "48g-qwen25-math-1.5b": NO_VERSION,
    "l40s-llama31-8b": NO_UTILISATION,
    "l40x2-dscoder-v2-lite": OLD_VERSION,
    "a6000-llama31-8b": OTHER_ENGINE,
    "a100-40-llama3-8b": NO_VERSION,
    "a100-40-llama31-8b-v0101": NO_CARD,
    "a100-40x8-dscoder-v2-lite-tp8": NO_VERSION,
    "a100-80-llama2-7b": NO_VERSION,
    "a100-80x2-mixtral-awq": OLD_VERSION,
    "a10x2-mixtral-awq-oom": OLD_VERSION,
    "a100-40-opt-13b": NO_VERSION,
    "a100-80-qwq-32b-awq": NO_VERSION,
    "a100-gemma4-26b-a4b": NO_VERSION,
    "a100x8-qwen3vl-235b-fp8": NO_CARD,
    "h100-llama3-8b-v065": NO_VERSION,
    "h100-llama3-8b-tp2-v065": NO_VERSION,
    "h100-llama32-11b-vision": NO_CONFIG,
    "h100x2-qwen3-30b-a3b-tp2": NO_VERSION,
    "h100-llama31-8b-eagle": NO_UTILISATION,
    "h100x8-llama31-405b-fp8": NO_UTILISATION,
    "llama32-1b-unnamed": NO_CARD,
    "llama31-70b-w8a8-u098": NO_CARD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One published start, under the names of the data; GiB of one GPU, None where the source says nothing."""

    id: str
    model: str
    model_config: str | None
    vllm_version: str | None
    dtype: str | None
    quantization: str | None
    kv_cache_dtype: str | None
    gpu: str | None
    gpu_inferred: bool
    gpu_total_memory_gib: float | None
    tp: int
    pp: int
    gpu_memory_utilization: float | None
    max_model_len: int | None
    max_num_seqs: int | None
    max_num_batched_tokens: int | None
    enforce_eager: bool | None
    weights_gib: float | None
    non_torch_gib: float | None
    activation_gib: float | None
    kv_cache_gib: float | None
    kv_cache_tokens: int | None
    max_concurrency: float | None
    outcome: str
    notes: str | None

    @property
    def version(self) -> tuple[int, ...] | None:
        """The stated version as numbers."""
        return tuple(int(part) for part in re.findall(r"\d+", self.vllm_version)[:3]) if self.vllm_version else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A case beside its plan."""

    case: Case
    plan: Fit

    @property
    def sizes(self) -> tuple[str, float, float] | None:
        """What is compared, as planned and as published: tokens, else GiB of the cache; None where the source has neither."""
        case = self.case
        # With groups of layers that cache differently, old versions print blocks by groups; concurrency says what a cache holds.
        if "hybrid" in (case.notes or "") and case.max_concurrency and case.max_model_len:
            return "tokens", self.plan.max_concurrency * self.plan.max_model_len, case.max_concurrency * case.max_model_len
        if case.kv_cache_tokens:
            return "tokens", self.plan.kv_cache_tokens, case.kv_cache_tokens
        if case.kv_cache_gib and case.kv_cache_gib > 0:
            return "GiB", self.plan.terms.kv_cache_gib, case.kv_cache_gib
        return None

    @property
    def error(self) -> float | None:
        """Percent by which the planned cache is larger than the published one."""
        return (self.sizes[1] / self.sizes[2] - 1) * 100 if self.sizes else None

    @property
    def right(self) -> bool:
        """Whether the plan says of the start what became of it."""
        return self.plan.fits == (self.case.outcome == "ok")


@dataclass(frozen=True, slots=True)
class Figures:
    """How far plans are from what was published; errors in percent."""

    compared: int
    median: float
    ninetieth: float
    worst: float
    verdicts: int
    wrong: int


@cache
def cases() -> tuple[Case, ...]:
    """Every published case."""
    names = [field.name for field in fields(Case)]
    return tuple(Case(**{name: entry[name] for name in names}) for entry in _yaml("vllm_memory_cases.yaml"))


@cache
def configs() -> Mapping[str, Mapping[str, Any]]:
    """Architecture facts of the cases' models."""
    facts: dict[str, Mapping[str, Any]] = _yaml("model_configs.yaml")
    return facts


def planned_cases() -> list[Case]:
    """The cases that take part."""
    return [case for case in cases() if case.id not in LEFT_OUT]


def unversioned_cases() -> list[Case]:
    """The cases that would take part if they stated their version."""
    return [case for case in cases() if LEFT_OUT.get(case.id) == NO_VERSION]


def lacks(case: Case) -> set[str]:
    """Reasons to leave a case out that its data show."""
    reasons = set()
    if case.version is None:
        reasons.add(NO_VERSION)
    elif case.version < OLDEST:
        reasons.add(OLD_VERSION)
    if case.gpu_memory_utilization is None:
        reasons.add(NO_UTILISATION)
    if case.model_config not in configs():
        reasons.add(NO_CONFIG)
    if case.gpu_total_memory_gib is None and (case.gpu_inferred or card(case) is None):
        reasons.add(NO_CARD)
    return reasons


def card(case: Case) -> Accelerator | None:
    """The case's card in the catalogue."""
    try:
        return accelerator(case.gpu or "")
    except LookupError:
        return None


def model(case: Case) -> Model:
    """The case's model by the facts beside the cases."""
    return load(configs()[case.model_config or ""], case.quantization, case.dtype or "auto")


def own_model(case: Case) -> Model | None:
    """The case's model by its own entry of the catalogue, with the quantization that its checkpoint declares."""
    try:
        config = catalog_model(case.model).config
    except UnknownModelError:
        return None
    return load(config, None if "quantization_config" in config else case.quantization, case.dtype or "auto")


def compare(case: Case, planned: Model | None = None) -> Comparison:
    """The case beside its plan, by the newest version where it states none."""
    options = Options(
        tensor_parallel_size=case.tp,
        pipeline_parallel_size=case.pp,
        max_model_len=case.max_model_len,
        gpu_memory_utilization=case.gpu_memory_utilization,
        max_num_seqs=case.max_num_seqs,
        max_num_batched_tokens=case.max_num_batched_tokens,
        kv_cache_dtype=case.kv_cache_dtype or "auto",
        enforce_eager=bool(case.enforce_eager),
        vllm_version=case.vllm_version or NEWEST,
    )
    return Comparison(case, fit(planned or model(case), case_device(case), options))


def case_device(case: Case) -> Device:
    """The case's card with the memory the log printed."""
    return device(card(case), case.gpu_total_memory_gib)


def figures(comparisons: Iterable[Comparison]) -> Figures:
    """The figures of some comparisons."""
    every = list(comparisons)
    errors = sorted(abs(comparison.error) for comparison in every if comparison.error is not None)
    return Figures(
        compared=len(errors),
        median=statistics.median(errors),
        ninetieth=errors[int(0.9 * len(errors))],
        worst=errors[-1],
        verdicts=len(every),
        wrong=sum(not comparison.right for comparison in every),
    )


def outside_the_sweep(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Without the 45 starts of one sweep, which make up most of the data."""
    return [comparison for comparison in comparisons if not comparison.case.id.startswith(("h100-v019-", "h100-run-"))]


def table(title: str, comparisons: Sequence[Comparison]) -> Table:
    """Errors by model, GPU, parallelism and version."""
    shown = Table("model", "GPU", "TPxPP", "vLLM", "planned", "published", "error %", "verdict", title=title)
    for comparison in sorted(comparisons, key=lambda c: (c.case.model, c.case.gpu or "", c.case.tp, c.case.pp, c.case.id)):
        case, sizes, error = comparison.case, comparison.sizes, comparison.error
        unit, planned, published = sizes or ("", 0.0, 0.0)
        shape = ",.0f" if unit == "tokens" else ".2f"
        shown.add_row(
            case.model,
            case.gpu,
            f"{case.tp}x{case.pp}",
            case.vllm_version or f"({NEWEST})",
            f"{planned:{shape}} {unit}" if sizes else "-",
            f"{published:{shape}} {unit}" if sizes else "-",
            "-" if error is None else f"{error:+.2f}",
            ("right: " if comparison.right else "WRONG: ") + case.outcome,
        )
    return shown


def summary(name: str, found: Figures) -> str:
    """One line of figures."""
    return (
        f"{name}: {found.compared} compared, median error {found.median:.2f} %, 90th percentile {found.ninetieth:.2f} %, "
        f"worst {found.worst:.1f} %; {found.verdicts - found.wrong} of {found.verdicts} verdicts right"
    )


def report(console: Console) -> None:
    """Print all tables and figures."""
    planned = [compare(case) for case in planned_cases()]
    own = [compare(case, found) for case in planned_cases() if (found := own_model(case))]
    unversioned = [compare(case) for case in unversioned_cases()]
    console.print(table("Cases that take part", planned))
    console.print(table(f"Cases without a version, planned as {NEWEST}", unversioned))
    console.print(summary("Cases that take part", figures(planned)))
    console.print(summary("Of them all but the sweep of 0.19 on H100", figures(outside_the_sweep(planned))))
    console.print(summary("By the models' own entries in the catalogue", figures(own)))
    console.print(summary(f"Without a version, planned as {NEWEST}", figures(unversioned)))
    left_out = Table("case", "left out because", title="Cases left out")
    for name, reason in LEFT_OUT.items():
        left_out.add_row(name, reason)
    console.print(left_out)


def _yaml(name: str) -> Any:
    return yaml.safe_load((Path(__file__).parent / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    report(Console(width=180))
