"""`python -m planner translate`: a launch of TGI as a model entry, what stands against it, and the memory it needs on vLLM."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from planner import tables
from planner.capacity import Offer
from planner.catalog.hardware import accelerator
from planner.memory import fit
from planner.model import Model
from planner.options import Device, Options, Speculative, device
from planner.parallelism import with_tensor_size
from planner.placement import Placement, RefusedError, place
from planner.profiles import tuned
from planner.request import RequestError, config_of, model_of
from planner.tgi.launcher import Value
from planner.tgi.parts import Adapter, Finding, Given, Kind, Translation, changes
from planner.tgi.sources import Launch, from_command, from_env_file, from_manifest
from planner.tgi.staying import stay
from planner.tgi.translation import PROFILE, translate

_NODE = 8
"""Accelerators a node may have at most where nobody says."""
_STEP = 1024
_HEADINGS = {
    Kind.MISSING: "to be added",
    Kind.REFUSED: "cannot be had",
    Kind.CHANGED: "changed",
    Kind.DROPPED: "left out",
}
_out = Console(markup=False, highlight=False, soft_wrap=True)
_table = Console(markup=False)

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[-- WORD...]", help="TGI's arguments, or the whole command: text-generation-launcher …, docker run …"
    ),
]


def command(
    words: Words = None,
    manifest: Annotated[Path | None, typer.Option("--manifest", metavar="FILE", help="Kubernetes YAML that starts TGI.")] = None,
    env: Annotated[Path | None, typer.Option("--env", metavar="FILE", help="TGI's environment, a NAME=value a line.")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of the entry.")] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="ID", help="Repository of the model, where TGI reads a directory.")
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", metavar="COMMIT", help="Commit of that repository.")] = None,
    node_pool: Annotated[str | None, typer.Option("--node-pool", metavar="POOL", help="Pool the servers will run on.")] = None,
    max_model_len: Annotated[
        int | None, typer.Option("--max-model-len", metavar="N", help="Longest context, where TGI chose it.", min=1)
    ] = None,
    adapter: Annotated[
        list[str] | None, typer.Option("--adapter", metavar="NAME=COMMIT:RANK", help="Facts of a LoRA adapter; repeatable.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The model's config.json.")] = None,
    gpu: Annotated[str | None, typer.Option("--gpu", metavar="NAME", help="Accelerator for the memory plan, e.g. L4.")] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Also print the entry that stays on TGI, for a route that leads to both.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """A TGI launch as a model entry for vLLM, with what is missing, cannot be had, is left out or changes.

    Example:

      python -m planner translate --node-pool l4 -- --model-id Qwen/Qwen2.5-7B-Instruct --max-input-tokens 4096
    """
    launch = _read(words or [], manifest, env)
    if source is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", source):
        raise RequestError(f"--source {source}: is no repository of Hugging Face; use owner/name")
    card = device(accelerator(gpu)) if gpu else None
    given = Given(
        name=name,
        source=source,
        revision=revision,
        node_pool=node_pool,
        max_model_len=max_model_len,
        adapters=dict(map(_adapter, adapter or ())),
    )
    checkpoint = _Checkpoint(config, source or launch.text("--model-id"))
    given = replace(given, model=checkpoint.model())
    first = translate(launch, given)
    if card and given.model:
        first = translate(launch, replace(given, longest=_longest(first.entry, given.model, card)))
    planned = _planned(first, checkpoint, card)
    kept = stay(launch, first) if keep else None
    if as_json:
        print(json.dumps(_json(first, planned, kept), indent=2))  # noqa: T201
    else:
        _print(launch, first, planned, kept)


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """Where the model's architecture is read."""

    config: Path | None
    source: str | None

    def model(self, **asked: str) -> Model | None:
        """The model as vLLM would load it; None where nobody knows its config.json."""
        question: dict[str, Any] = {"config": config_of(self.config)} if self.config else {"model": self.source}
        if self.config is None and self.source is None:
            return None
        try:
            return model_of(question | asked)[0]
        except RequestError:
            if self.config:
                raise
            return None


@dataclass(frozen=True, slots=True)
class _Planned:
    """The memory plan of an entry, or why there is none."""

    placement: Placement | None = None
    reason: str = ""


def _read(words: Sequence[str], manifest: Path | None, env: Path | None) -> Launch:
    if manifest and (words or env):
        raise RequestError("--manifest: a manifest has arguments and environment of its own; give it alone")
    if manifest:
        return from_manifest(_text(manifest))
    if not words and env is None:
        raise RequestError("nothing to translate; give --manifest FILE, --env FILE or TGI's arguments behind --")
    environment: dict[str, Value] = from_env_file(_text(env)) if env else {}
    return from_command(words, environment)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise RequestError(f"{path}: is no text") from None


def _adapter(text: str) -> tuple[str, Adapter]:
    parts = re.fullmatch(r"([A-Za-z0-9][\w.-]*)=([0-9a-f]{40}):(\d+)", text)
    if parts is None:
        raise RequestError(f"--adapter {text.partition('=')[0]}: give its name, commit and rank, e.g. support=<40 digits>:16")
    return parts[1], Adapter(revision=parts[2], rank=int(parts[3]))


def options(entry: Mapping[str, Any]) -> Options:
    """As the plan of a stack has them (settings/planning.py)."""
    lora, speculative = entry.get("lora"), entry.get("speculative")
    ranks = lora["adapters"] if lora else {}
    return tuned(
        Options(
            max_model_len=entry.get("maxModelLen"),
            max_num_seqs=entry.get("maxNumSeqs"),
            max_num_batched_tokens=entry.get("maxNumBatchedTokens"),
            gpu_memory_utilization=entry.get("gpuMemoryUtilization"),
            kv_cache_dtype=entry.get("kvCacheDtype", "auto"),
            dtype=entry.get("dtype", "auto"),
            enforce_eager=entry.get("enforceEager", False),
            enable_prefix_caching=entry.get("prefixCaching", True),
            language_model_only=True,
            max_loras=len(ranks),
            max_lora_rank=lora.get("maxRank", 16) if lora else 16,
            speculative=Speculative(method=speculative["method"], tokens=speculative["tokens"]) if speculative else None,
        ),
        PROFILE,
    )


def _longest(entry: Mapping[str, Any], model: Model, card: Device) -> int | None:
    """Tokens of the longest context that fits, in steps; what fits to the last token leaves no room for a second request."""
    size = entry.get("parallelism", {}).get("tensor", 1)
    unlimited = with_tensor_size(model, replace(options(entry), max_model_len=None), size)
    found = fit(model, card, unlimited).max_model_len_that_fits
    return floor(found / _STEP) * _STEP or None


def _planned(made: Translation, checkpoint: _Checkpoint, card: Device | None) -> _Planned:
    if card is None:
        return _Planned(reason="give the accelerator as --gpu for the memory plan")
    if "maxModelLen" not in made.entry:
        return _Planned(reason="there is no memory plan without maxModelLen")
    asked = {key: made.entry[key] for key in ("quantization", "dtype") if key in made.entry}
    model = checkpoint.model(**asked)
    if model is None:
        return _Planned(reason="the catalogue does not have the model; give its config.json as --config for the memory plan")
    size = made.entry.get("parallelism", {}).get("tensor")
    offer = Offer(name=card.name, device=card, per_node=max(_NODE, size or 1))
    try:
        return _Planned(place(model, offer, options(made.entry), tensor=size))
    except RefusedError as error:
        return _Planned(reason=f"it does not fit: {error}")


def _print(launch: Launch, made: Translation, planned: _Planned, kept: Translation | None) -> None:
    entries = {each.name: dict(each.entry) for each in (kept, made) if each}
    _out.print(yaml.safe_dump(entries, sort_keys=False, default_flow_style=None, width=120), end="")
    if kept and kept.findings:
        _out.print(f"\n{kept.name} stays on TGI, but:")
        for finding in kept.findings:
            _out.print(f"  {finding.about}: {finding.sentence}")
    for kind, heading in _HEADINGS.items():
        if found := made.of(kind):
            _out.print(f"\n{heading}:")
            for finding in found:
                _out.print(f"  {finding.about}: {finding.sentence}")
    _out.print("\nwhat clients and operators notice:")
    for sentence in changes():
        _out.print(f"  {sentence}")
    _out.print()
    placed = planned.placement
    if placed is None:
        _out.print(planned.reason)
        return
    _table.print(tables.bar(placed.fit.terms, 60))
    _table.print(tables.legend())
    sizes = " + ".join(f"{size:.1f} {name}" for name, size, _ in tables.shares(placed.fit.terms))
    _out.print(f"{sizes} = {placed.fit.terms.total_gib:.1f} GiB of each {placed.offer.device.name}")
    for sentence in placed.warnings:
        _out.print(f"note: {sentence}")
    told = launch.count("--max-batch-total-tokens")
    _out.print(
        f"it fits on {placed.accelerators} x {placed.offer.device.name}: {placed.fit.kv_cache_tokens:,} cached tokens"
        f"{f' (TGI was given {told:,})' if told else ''}, {placed.fit.max_concurrency:.1f} requests of "
        f"{placed.fit.max_model_len:,} tokens at once"
    )


def _json(made: Translation, planned: _Planned, kept: Translation | None) -> dict[str, Any]:
    placed = planned.placement
    memory = None
    if placed:
        memory = {
            "accelerators": placed.accelerators,
            "max_model_len": placed.fit.max_model_len,
            "kv_cache_tokens": placed.fit.kv_cache_tokens,
            "max_concurrency": round(placed.fit.max_concurrency, 3),
            "memory_gib": {name: round(size, 3) for name, size, _ in tables.shares(placed.fit.terms)},
        }
    return {
        "name": made.name,
        "entry": dict(made.entry),
        **{kind.value: _told(made.of(kind)) for kind in Kind},
        "changes": list(changes()),
        "kept": {"name": kept.name, "entry": dict(kept.entry), "but": _told(kept.findings)} if kept else None,
        "memory": memory,
        "no_memory_plan": planned.reason or None,
    }


def _told(findings: Sequence[Finding]) -> list[dict[str, str]]:
    return [{"about": found.about, "why": found.sentence} for found in findings]
