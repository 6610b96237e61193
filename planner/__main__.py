"""`python -m planner`: does a model fit, where would it run best, why, what the catalogues hold, and TGI's launches on vLLM."""

import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import isfinite, nan
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from planner import tables
from planner.capacity import Plan, Rejected, Workload, offers, search
from planner.catalog import hardware, models
from planner.cold_start import UnknownStorageError
from planner.compatibility import check_context
from planner.explain import explain as explained
from planner.forecast import STORAGE, Forecast, Rented, forecast
from planner.model import Model, load
from planner.options import Options
from planner.profiles import UnknownProfileError, profiles
from planner.request import RequestError, answer, answer_line, config_of, model_of, unknown_keys
from planner.scaling_table import scaling_table
from planner.tgi import command as tgi

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("translate")(tgi.command)
_UNKNOWN = (UnknownStorageError, hardware.UnknownAcceleratorError, hardware.UnknownInstanceTypeError, models.UnknownModelError)
_out = Console(markup=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

ModelOption = Annotated[str | None, typer.Option("--model", metavar="ID", help="Model of the catalogue, e.g. Qwen/Qwen3-8B.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A Hugging Face config.json as it is.")]
GpuOption = Annotated[str | None, typer.Option("--gpu", metavar="NAME", help="Accelerator of the catalogue, e.g. L4.")]
MemoryOption = Annotated[float | None, typer.Option("--gpu-memory-gib", metavar="X", help="Memory of any other accelerator.")]
LengthOption = Annotated[int | None, typer.Option("--max-model-len", metavar="N", help="Longest context in tokens.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def fit(
    config: ConfigOption = None,
    model: ModelOption = None,
    gpu: GpuOption = None,
    gpu_memory_gib: MemoryOption = None,
    tensor_parallel_size: Annotated[
        int, typer.Option("--tensor-parallel-size", metavar="N", help="Accelerators that share each layer.")
    ] = 1,
    pipeline_parallel_size: Annotated[int, typer.Option("--pipeline-parallel-size", metavar="N", help="Stages of layers.")] = 1,
    data_parallel_size: Annotated[int, typer.Option("--data-parallel-size", metavar="N", help="Copies of the layers.")] = 1,
    max_model_len: LengthOption = None,
    gpu_memory_utilization: Annotated[
        float | None, typer.Option("--gpu-memory-utilization", metavar="U", help="Share of its memory.")
    ] = None,
    max_num_seqs: Annotated[int | None, typer.Option("--max-num-seqs", metavar="N", help="Requests in one batch.")] = None,
    max_num_batched_tokens: Annotated[
        int | None, typer.Option("--max-num-batched-tokens", metavar="N", help="Tokens in one step.")
    ] = None,
    kv_cache_dtype: Annotated[
        str, typer.Option("--kv-cache-dtype", metavar="D", help="Format of the KV cache, e.g. fp8.")
    ] = "auto",
    quantization: Annotated[
        str | None, typer.Option("--quantization", metavar="Q", help="Method, where the config names none.")
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", metavar="D", help="Of weights that say none.")] = "auto",
    vllm_version: Annotated[str | None, typer.Option("--vllm-version", metavar="V", help="Of the engine.")] = None,
    enforce_eager: Annotated[bool, typer.Option("--enforce-eager", help="Without CUDA graphs.")] = False,
    enable_expert_parallel: Annotated[bool, typer.Option("--enable-expert-parallel", help="Divide experts as a whole.")] = False,
    batch: Annotated[bool, typer.Option("--batch", help="One JSON object a line on stdin, one answer a line on stdout.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Whether a model starts on an accelerator, and what it can hold there.

    Shows the memory of each accelerator term by term, and for what does not fit the nearest changes that would.

    Example:

      python -m planner fit --model Qwen/Qwen3-32B --gpu L40S --tensor-parallel-size 2 --max-model-len 16384
    """
    if batch:
        _answer_lines()
        return
    question = {
        "config": config_of(config) if config is not None else None,
        "model": model,
        "gpu": gpu,
        "gpu_memory_gib": gpu_memory_gib,
        "tensor_parallel_size": tensor_parallel_size,
        "pipeline_parallel_size": pipeline_parallel_size,
        "data_parallel_size": data_parallel_size,
        "max_model_len": max_model_len,
        "gpu_memory_utilization": gpu_memory_utilization,
        "max_num_seqs": max_num_seqs,
        "max_num_batched_tokens": max_num_batched_tokens,
        "kv_cache_dtype": kv_cache_dtype,
        "quantization": quantization,
        "dtype": dtype,
        "vllm_version": vllm_version,
        "enforce_eager": enforce_eager,
        "enable_expert_parallel": enable_expert_parallel,
    }
    found = answer(question)
    for warning in found.warnings:
        _err.print(f"warning: {warning}")
    if as_json:
        _print_json(found.json())
    else:
        _out.print(tables.bar(found.fit.terms, 60))
        _out.print(tables.legend())
        _out.print(tables.explanation_table("", explained(found.model, found.device, found.options, found.fit)))
        _out.print("it fits" if found.reason is None else f"it does not fit: {found.reason}", soft_wrap=True)
        for change in found.suggestions():
            _out.print(f"it would fit with {change.text}", soft_wrap=True)


@app.command()
def plan(
    config: ConfigOption = None,
    model: ModelOption = None,
    context: Annotated[
        int | None, typer.Option("--context", metavar="N", help="Longest context; the profile's by default.", min=1, max=2**31)
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", help="Requests of that context at once.", min=1, max=2**31)
    ] = 1,
    profile: Annotated[str, typer.Option("--profile", help=f"One of {', '.join(profiles())}.")] = "balanced",
    region: Annotated[str, typer.Option("--region", help="Region whose on-demand prices count.")] = "us-east-1",
    price: Annotated[
        list[str] | None, typer.Option("--price", metavar="TYPE=USD", help="A price per hour that goes first.")
    ] = None,
    accelerator: Annotated[
        list[str] | None, typer.Option("--accelerator", metavar="NAME", help="Only these; repeatable.")
    ] = None,
    quantization: Annotated[
        str | None, typer.Option("--quantization", metavar="Q", help="Method, where the config names none.")
    ] = None,
    kv_cache_dtype: Annotated[
        str, typer.Option("--kv-cache-dtype", metavar="D", help="Format of the KV cache, e.g. fp8.")
    ] = "auto",
    storage: Annotated[
        str, typer.Option("--storage", metavar="NAME", help="Where the weights lie, for the cold start.")
    ] = STORAGE,
    most: Annotated[int, typer.Option("--most", metavar="N", help="Plans to show.", min=1)] = 10,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with all plans.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Where a model would run, ranked by price: instance type, parallelism, servers and nodes.

    Example:

      python -m planner plan --model Qwen/Qwen3-32B --context 16384 --concurrency 16 --most 5
    """
    question = {"config": config_of(config) if config is not None else None, "model": model, "quantization": quantization}
    loaded, warnings = model_of(question)
    options = Options(max_model_len=context, kv_cache_dtype=kv_cache_dtype, language_model_only=True)
    if problem := check_context(loaded, options):
        raise RequestError(problem)
    workload = Workload(concurrency=concurrency, profile=profile, options=options)
    prices = _prices(price or ())
    result = search(loaded, workload, offers(accelerator or (), region, prices))
    name = loaded.name or str(config)
    forecasts = [_forecast(name, loaded, found, storage, region, prices) for found in result.plans]
    for warning in (*warnings, *loaded.architecture.warnings):
        _err.print(f"warning: {warning}")
    if html is not None:
        from planner.page import page  # noqa: PLC0415 - its template engine is needed for pages only

        html.write_text(page(name, workload, loaded, result, forecasts=forecasts), encoding="utf-8")
    if as_json:
        _print_json(
            {
                "plans": [_plan_json(found, meant) for found, meant in zip(result.plans, forecasts, strict=True)],
                "rejected": [_rejected_json(found) for found in result.rejected],
            }
        )
    elif result.plans:
        _out.print(tables.plans_table(result.plans[:most], forecasts))
        _out.print(tables.legend())
        for sentence in dict.fromkeys(w for found in result.plans[:most] for w in found.warnings):
            _out.print(f"note: {sentence}", soft_wrap=True)
    else:
        _out.print("nothing on offer can serve this:", soft_wrap=True)
        for rejected in result.rejected:
            _out.print(f"  {rejected.offer.name}: {rejected.reason}", soft_wrap=True)


def _forecast(name: str, model: Model, found: Plan, storage: str, region: str, prices: Mapping[str, float]) -> Forecast:
    rented = Rented(instance_type=found.offer.name, instances=found.nodes, region=region, prices=prices)
    return forecast(
        name,
        model,
        found.offer.device,
        found.options,
        found.fit,
        replicas=found.replicas,
        nodes_per_server=found.nodes_per_server,
        storage=storage,
        rented=rented,
    )


def _prices(entries: Sequence[str]) -> dict[str, float]:
    prices = {}
    for entry in entries:
        name, _, amount = entry.partition("=")
        try:
            usd = float(amount)
        except ValueError:
            usd = nan
        if isfinite(usd) and usd >= 0:
            prices[hardware.instance_type(name).name] = usd
        else:
            raise RequestError(f"--price {entry}: {amount!r} is not an amount; use e.g. g6.xlarge=0.80")
    return prices


def _plan_json(found: Plan, meant: Forecast) -> dict[str, Any]:
    made, cost = meant.throughput, meant.cost
    per_million = cost.usd_per_million_output_tokens if cost else None
    return {
        "hardware": found.offer.name,
        "accelerator": found.offer.device.name,
        "tensor_parallel_size": found.options.tensor_parallel_size,
        "pipeline_parallel_size": found.options.pipeline_parallel_size,
        "enable_expert_parallel": found.options.enable_expert_parallel,
        "servers": found.replicas,
        "nodes": found.nodes,
        "accelerators": found.accelerators,
        "max_model_len": found.fit.max_model_len,
        "max_num_seqs": found.fit.max_num_seqs,
        "max_num_batched_tokens": found.fit.max_num_batched_tokens,
        "gpu_memory_utilization": found.fit.gpu_memory_utilization,
        "kv_cache_tokens": found.fit.kv_cache_tokens,
        "max_concurrency": round(found.fit.max_concurrency, 3),
        "usd_per_hour": None if found.usd_per_hour is None else round(found.usd_per_hour, 4),
        "cold_start_s": round(meant.cold.total_s),
        "warm_start_s": round(meant.cold.warm_s),
        "output_tokens_per_s": made and [round(made.decode_tokens_per_s_low), round(made.decode_tokens_per_s_high)],
        "usd_per_million_output_tokens": per_million and [round(amount, 3) for amount in per_million],
        "memory_gib": {name: round(size, 3) for name, size, _ in tables.shares(found.fit.terms)},
        "warnings": list(found.warnings),
    }


def _rejected_json(found: Rejected) -> dict[str, str]:
    return {"hardware": found.offer.name, "reason": found.reason}


def _answer_lines() -> None:
    told: set[str] = set()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    for line in filter(str.strip, sys.stdin):
        print(json.dumps(answer_line(line)), flush=True)  # noqa: T201
        try:
            question = json.loads(line)
        except (ValueError, RecursionError):
            continue
        for sentence in unknown_keys(question if isinstance(question, dict) else {}):
            if sentence not in told:
                told.add(sentence)
                _err.print(f"warning: {sentence}")


@app.command()
def explain(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="Name of a stack in stacks/, e.g. local.")],
    as_json: JsonOption = False,
) -> None:
    """Every derived number of a stack's models, with its formula and source. Run it in the root of the project.

    Example:

      python -m planner explain local
    """
    # The only reader of stack files; it brings Pulumi, which all other commands do without.
    try:
        import settings  # noqa: PLC0415
        from components.inputs import InputError  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        if missing.name != "settings":
            raise
        reason = "explain: stack files are read by the project they belong to; run it in a checkout of that, or use fit or plan"
        raise RequestError(reason) from None

    file = settings.stack_file(stack)
    try:
        planned = settings.plan(settings.from_file(Path(file), file), file, Path())
    except InputError as error:
        raise RequestError(str(error)) from None
    if as_json:
        _print_json({name: [asdict(row) for row in model.rows()] for name, model in planned.models.items()})
        return
    for name, model in planned.models.items():
        _out.print(tables.bar(model.placement.fit.terms, 60))
        _out.print(tables.legend())
        _out.print(tables.explanation_table(name, model.rows()))
    for sentence in tables.stack_sentences(planned):
        _out.print(sentence, soft_wrap=True)


@app.command()
def catalog(what: Annotated[str, typer.Argument(metavar="models|accelerators|instances")], as_json: JsonOption = False) -> None:
    """What the catalogues hold, with the source of every fact in --json.

    Example:

      python -m planner catalog models
    """
    match what:
        case "models":
            rows = [_model_row(name) for name in models.model_ids()]
        case "accelerators":
            rows = [_accelerator_row(card) for card in hardware.accelerators().values()]
        case "instances":
            rows = [_instance_row(instance) for instance in hardware.instance_types().values()]
        case _:
            raise RequestError(f"{what!r} is not a catalogue; use models, accelerators or instances")
    if as_json:
        _print_json(rows)
        return
    shown = [{key: value for key, value in row.items() if "source" not in key} for row in rows]
    table = Table(*shown[0], caption="sources: --json", caption_justify="left")
    for row in shown:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    _out.print(table)


def _model_row(name: str) -> dict[str, Any]:
    entry = models.model(name)
    loaded = load(entry.config)
    a = loaded.architecture
    return {
        "model": entry.id,
        "parameters_b": round(a.parameters() / 1e9, 1),
        "weights_gib": round(loaded.total_bytes() / 1024**3, 1),
        "format": loaded.quantization.method or a.dtype,
        "context": a.max_positions,
        "source": entry.source,
    }


@app.command()
def autoscale() -> None:
    """What autoscaling does under loads of different kinds: the table of docs/scaling.md.

    Example:

      python -m planner autoscale
    """
    print(scaling_table())  # noqa: T201


def _accelerator_row(card: hardware.Accelerator) -> dict[str, Any]:
    return {
        "accelerator": card.name,
        "vendor": card.vendor,
        "memory_gib": card.memory_gib,
        "capability": None if card.compute_capability is None else ".".join(map(str, card.compute_capability)),
        "formats": " ".join(sorted(card.formats)),
        "interconnect": card.interconnect,
        "driver": card.driver,
        "resource": card.resource,
        "source": card.source,
    }


def _instance_row(instance: hardware.InstanceType) -> dict[str, Any]:
    price = hardware.on_demand_price(instance.name)
    return {
        "instance": instance.name,
        "accelerators": f"{instance.accelerator_count} x {instance.accelerator}",
        "vcpus": instance.vcpus,
        "memory_gib": round(instance.memory_mib / 1024),
        "network": instance.network,
        "efa": instance.efa,
        "nvme_gb": instance.nvme_gb,
        "usd_per_hour": None if price is None else price.usd_per_hour,
        "price_source": None if price is None else f"{price.source}, {price.date}",
    }


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))  # noqa: T201


def main(run: Callable[[], object] = app) -> None:
    """Run the command line; what cannot be answered is told in one sentence."""
    try:
        run()
    except (RequestError, UnknownProfileError, *_UNKNOWN) as error:
        _err.print(f"error: {error}")
        sys.exit(2)


if __name__ == "__main__":
    main()
