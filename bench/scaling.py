"""How a preview grows with the models and the node pools of a stack: time and memory of the program, and of all it calls."""

import copy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import settings
from bench.ground import Measured, Previews, previews
from bench.measure import ROOT, exponent, table
from bench.overhead import SAME, flat_programs

MODELS = (1, 10, 50, 100, 200)
POOLS = (1, 10, 25, 50)
_P = f"{settings.PROJECT}:"
_PLENTY = {"usdPerMonth": 1_000_000_000}

Config = Callable[[int], Mapping[str, Any]]


def scaling(*, models: tuple[int, ...] = MODELS, pools: tuple[int, ...] = POOLS) -> str:
    """A preview each, of stacks that are not there yet."""
    return "\n\n".join([_grown("models", "local", models, with_models), _grown("node pools on EKS", "dev", pools, with_pools)])


def with_models(number: int) -> dict[str, Any]:
    """The stack `local` with that many models instead of one, each on a node of its own."""
    config = _config("local")
    (model,) = config[f"{_P}models"].values()
    model["cache"] = {"kind": "nfs", "server": "nfs.example.internal", "export": "/exports/models"}
    config[f"{_P}models"] = {f"model-{each:03}": copy.deepcopy(model) for each in range(number)}
    config[f"{_P}cluster"]["nodePools"]["l4"]["maxNodes"] = number
    config[f"{_P}monitoring"]["storageGib"] = 100
    config[f"{_P}budget"] = _PLENTY
    return config


def with_pools(number: int) -> dict[str, Any]:
    """The stack `dev` with that many node groups instead of one."""
    config = _config("dev")
    cluster = config[f"{_P}cluster"]
    ((name, pool),) = cluster["nodePools"].items()
    cluster["nodePools"] = {name: pool} | {f"{name}-{each:02}": copy.deepcopy(pool) for each in range(1, number)}
    config[f"{_P}budget"] = _PLENTY
    return config


def _config(stack: str) -> dict[str, Any]:
    file = settings.stack_file(stack)
    return settings.read_stack_file(ROOT / Path(file), file)


def _grown(of_what: str, stack: str, numbers: tuple[int, ...], config: Config) -> str:
    found: list[Measured] = []
    for number in numbers:
        with previews(stack, config(number)) as stands:
            found.append(stands.preview(stands.directory))
            if number == numbers[-1]:
                flat = _by_flat_program(stands)
    rows: list[list[object]] = [_row(number, one) for number, one in zip(numbers, found, strict=True)]
    resources = [one.steps["create"] for one in found]
    growth = [f"{exponent(resources, values):.2f}" for values in zip(*map(_measures, found), strict=True)]
    rows += [_row(f"{numbers[-1]}, by a flat program", flat), ["growth exponent over resources", "", *growth]]
    return table([of_what, "resources", "wall s", "CPU s, program", "CPU s, all", "MiB"], rows)


def _by_flat_program(stands: Previews) -> Measured:
    with tempfile.TemporaryDirectory(prefix="bench-flat-") as name:
        recording = Path(name) / "recording.json"
        stands.preview(stands.directory, recording)
        program = flat_programs(recording, Path(name))[SAME]
        stands.preview(program)  # which compiles it
        return stands.preview(program)


def _row(label: object, one: Measured) -> list[object]:
    return [label, one.steps["create"], *(f"{value:.1f}" for value in _measures(one))]


def _measures(one: Measured) -> tuple[float, float, float, float]:
    return one.seconds, one.program, one.cpu, one.mib
