"""How long a server takes from nothing to its first answer, phase by phase.

A phase is a sum of published measurements (catalog/cold_start.yaml, each with its source or the word "assumed"); the model adds
its bytes and its layers. Times are seconds, rates MB/s (10^6 bytes), sizes GiB unless a name says otherwise.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

from planner.activation import GIB, captured_sizes
from planner.catalog.files import load_yaml
from planner.derived import Derived
from planner.model import Model
from planner.options import Options

MB = 1_000_000
PROBE_PERIOD = 10
"""Seconds between two probes."""

SAFETY = 2
"""How much slower than predicted a start may be before it counts as failed."""

_GRAPH_SEQUENCES = 256
"""Sequences of a batch where the engine decides: on any card enough for all graphs there are."""

DISK_RESERVE = 1.2
"""How much more than the weights a disk must hold: a download writes beside the files that are complete, and a new revision
beside the old one's configuration."""


class UnknownStorageError(LookupError):
    """The catalogue has no such backend, node kind or image; the message names those it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where weights lie: what one reader gets of it and what all share."""

    name: str
    title: str
    local: bool
    """A disk of the node itself."""
    read_mb_per_s: float
    """What one loading node reads, without further settings."""
    total_mb_per_s: float | None = None
    """What all nodes that load at once share; None where each has its own."""
    limit_mb_per_s: float | None = None
    """The most that settings of the backend can make of one reader; None where the disk decides."""
    exclusive: bool = False
    """Whether only one node can have it."""
    load_format: str
    """vLLM's `--load-format` that suits it."""
    load_strategy: str
    """vLLM's `--safetensors-load-strategy` that suits it."""
    source: str

    def rate(self, readers: int = 1, read_mb_per_s: float | None = None) -> float:
        """MB/s for each of `readers` nodes that load at once; `read_mb_per_s` is what the backend is provisioned for.

        Raises ValueError for a rate the backend cannot give.
        """
        if readers < 1:
            raise ValueError(f"{readers} readers are not possible; use 1 or more")
        if read_mb_per_s is None:
            one, total = self.read_mb_per_s, self.total_mb_per_s
        else:
            if read_mb_per_s <= 0:
                raise ValueError(f"a read rate of {read_mb_per_s:g} MB/s is not possible; use more than 0")
            if self.limit_mb_per_s is not None and read_mb_per_s > self.limit_mb_per_s:
                raise ValueError(f"{self.name} gives a reader at most {self.limit_mb_per_s:g} MB/s, not {read_mb_per_s:g}")
            one = read_mb_per_s
            total = None if self.total_mb_per_s is None else max(self.total_mb_per_s, read_mb_per_s)
        return one if total is None else min(one, total / readers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """A start by phase, in seconds."""

    node_s: float
    """From the pod that asks for a node to its accelerators being allocatable."""
    image_s: float
    """Downloading and unpacking the engine's image."""
    weights_s: float
    """Reading the checkpoint from its storage into host memory."""
    load_to_device_s: float
    """Copying the weights to the accelerators."""
    compile_s: float
    """torch.compile."""
    graphs_s: float
    """Capturing CUDA graphs."""
    engine_s: float
    """Processes, imports, communication, memory profiling."""
    warm_s: float
    """A restart on the same node with image, files and compile cache in place; the weights are read again, memory need not hold
    them."""
    weights_gib: float
    derived: tuple[Derived, ...]
    """Every phase with its formula and source."""

    @property
    def container_s(self) -> float:
        """From the container's start, which is when the startup probe begins to count."""
        return self.weights_s + self.load_to_device_s + self.compile_s + self.graphs_s + self.engine_s

    @property
    def total_s(self) -> float:
        """From the pod's creation to the first answer."""
        return self.node_s + self.image_s + self.container_s


@cache
def _facts() -> Mapping[str, Any]:
    facts: dict[str, Any] = load_yaml(Path(__file__).parent / "catalog" / "cold_start.yaml")
    return facts


def _one_line(text: str) -> str:
    return " ".join(text.split())


@cache
def storages() -> tuple[Storage, ...]:
    """Every backend of the catalogue, in the order of the file."""
    return tuple(
        Storage(name=name, **(fields | {"source": _one_line(fields["source"])})) for name, fields in _facts()["storage"].items()
    )


def storage_backend(name: str) -> Storage:
    """The backend `name`. Raises UnknownStorageError, which names the known ones."""
    for known in storages():
        if known.name == name:
            return known
    raise UnknownStorageError(f"storage {name!r} is not in the catalogue; use {_listed(backend.name for backend in storages())}")


def _entry(section: str, kind: str, name: str) -> Mapping[str, Any]:
    entries: Mapping[str, Mapping[str, Any]] = _facts()[section]
    if name not in entries:
        raise UnknownStorageError(f"{kind} {name!r} is not in the catalogue; use {_listed(entries)}")
    return entries[name]


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def cold_start(
    model: Model,
    options: Options,
    *,
    storage: str,
    node: str = "karpenter",
    image: str = "vllm-cuda",
    node_ready: bool = False,
    image_cached: bool = False,
    compile_cached: bool = False,
    parallel_pull: bool = False,
    readers: int = 1,
    nodes: int = 1,
    read_mb_per_s: float | None = None,
    image_gib: float | None = None,
    checkpoint_bytes: float | None = None,
) -> ColdStart:
    """Predict a start of `model` with its weights on `storage`.

    `node` is the kind that must come up unless `node_ready`: warm, bare-metal, karpenter or managed-node-group. `readers`
    servers start at once, each on `nodes` nodes, and every node reads the whole checkpoint (modelplaneai/modelplane#204).
    `read_mb_per_s` is what the storage is provisioned for, `checkpoint_bytes` the size of the files where the engine quantizes
    while it loads.
    Raises UnknownStorageError or ValueError with one sentence.
    """
    if nodes < 1:
        raise ValueError(f"{nodes} nodes are not possible; use 1 or more")
    backend = storage_backend(storage)
    rate = backend.rate(readers * nodes, read_mb_per_s)
    size = checkpoint_bytes if checkpoint_bytes is not None else _checkpoint_bytes(model, options)
    layers = max(len(stage) for stage in model.stages(options.pipeline_parallel_size))
    ranks = options.tensor_parallel_size * options.pipeline_parallel_size
    sizes = 0 if options.enforce_eager else captured_sizes(options.max_num_seqs or _GRAPH_SEQUENCES)

    node_facts = _entry("nodes", "node kind", "warm" if node_ready else node)
    image_facts = _entry("images", "image", image)
    gib = image_gib if image_gib is not None else float(image_facts["gib"])
    pull = _facts()["pull"]["parallel" if parallel_pull else "serial"]
    device = _facts()["device"]
    engine = _facts()["engine"]
    # Files of an image that was just unpacked, or of a node that just booted, are not in memory yet.
    engine_state = "warm" if node_ready and image_cached else "cold"
    ranks_s = engine["per_further_rank"]["seconds"] * (options.accelerators - 1)

    node_s = float(node_facts["seconds"])
    image_s = 0.0 if image_cached else gib * GIB / MB / pull["mb_per_s"]
    weights_s = size / MB / rate
    load_s = size / MB / ranks / device["mb_per_s_per_accelerator"]
    compile_s, compile_formula, compile_source = _compile(layers, options, cached=compile_cached)
    graphs = _facts()["graphs"]
    graphs_s = sizes * layers * graphs["per_size_and_layer"] * graphs["modes"]
    engine_s = engine[engine_state]["seconds"] + ranks_s

    rows = (
        ("node", node_s, f"kind {'warm' if node_ready else node}", node_facts["source"]),
        (
            "image",
            image_s,
            "cached on the node" if image_cached else f"{gib:g} GiB / {pull['mb_per_s']} MB/s",
            f"{image_facts['source']}; {pull['source']}",
        ),
        ("weights", weights_s, f"{size / GIB:.1f} GiB / {rate:g} MB/s for each of {readers * nodes} readers", backend.source),
        (
            "load to device",
            load_s,
            f"{size / GIB:.1f} GiB / {ranks} ranks / {device['mb_per_s_per_accelerator']} MB/s",
            device["source"],
        ),
        ("compile", compile_s, compile_formula, compile_source),
        (
            "graphs",
            graphs_s,
            f"{sizes} sizes x {layers} layers x {graphs['per_size_and_layer']} s x {graphs['modes']} modes",
            graphs["source"],
        ),
        (
            "engine",
            engine_s,
            f"{engine[engine_state]['seconds']} s {engine_state} + {options.accelerators - 1} further ranks x "
            f"{engine['per_further_rank']['seconds']} s",
            f"{engine[engine_state]['source']}; {engine['per_further_rank']['source']}",
        ),
    )
    warm_compile = min(compile_s, _compile(layers, options, cached=True)[0])
    return ColdStart(
        node_s=node_s,
        image_s=image_s,
        weights_s=weights_s,
        load_to_device_s=load_s,
        compile_s=compile_s,
        graphs_s=graphs_s,
        engine_s=engine_s,
        warm_s=weights_s + load_s + warm_compile + graphs_s + engine["warm"]["seconds"] + ranks_s,
        weights_gib=size / GIB,
        derived=tuple(
            Derived(name=name, value=value, unit="s", formula=formula, source=_one_line(source))
            for name, value, formula, source in rows
        ),
    )


def _checkpoint_bytes(model: Model, options: Options) -> float:
    draft = options.speculative.draft if options.speculative else None
    return model.total_bytes() + (draft.total_bytes() if draft else 0.0)


def _compile(layers: int, options: Options, *, cached: bool) -> tuple[float, str, str]:
    if options.enforce_eager:
        return 0.0, "--enforce-eager", "vLLM documentation, engine arguments: eager mode neither compiles nor captures graphs"
    facts = _facts()["compile"]["cached" if cached else "cold"]
    seconds = facts["base"] + facts["per_layer"] * layers
    return seconds, f"{facts['base']} s + {layers} layers x {facts['per_layer']} s", facts["source"]


def check_storage(
    model_bytes: float,
    size_gib: float | None,
    storage: str,
    probe_seconds: float,
    *,
    load_format: str | None = None,
    readers: int = 1,
    read_mb_per_s: float | None = None,
) -> tuple[str, ...]:
    """What is wrong with keeping a model there, one sentence each with a value that works; empty when nothing is.

    The disk must hold the weights 1.2 times (`size_gib` None: it has no size of its own), the startup probe must allow the time
    to read them, and streaming from a local disk gains nothing. Raises UnknownStorageError or ValueError with one sentence.
    """
    backend = storage_backend(storage)
    rate = backend.rate(readers, read_mb_per_s)
    weights = model_bytes / GIB
    problems = []
    if size_gib is not None and size_gib < weights * DISK_RESERVE:
        problems.append(
            f"{size_gib:g} GiB of {storage} are less than {DISK_RESERVE} x {weights:.1f} GiB of weights; "
            f"use {ceil(weights * DISK_RESERVE)} GiB or more"
        )
    seconds = model_bytes / MB / rate
    if seconds > probe_seconds:
        faster = [
            other.name
            for other in storages()
            if other.name != storage and model_bytes / MB / other.rate(readers) * SAFETY <= probe_seconds
        ]
        others = f", or {_listed(faster)}" if faster else ""
        problems.append(
            f"reading {weights:.1f} GiB from {storage} at {rate:.0f} MB/s takes {seconds:.0f} s and the startup probe allows "
            f"{probe_seconds:.0f} s; use a probe of {rounded_up(SAFETY * seconds, PROBE_PERIOD)} s{others}"
        )
    if backend.local and (load_format or "").startswith("runai_streamer"):
        problems.append(
            f"--load-format {load_format} gains nothing on {storage}, a local disk (marin-community/marin#7136); "
            f"use {backend.load_format}"
        )
    return tuple(problems)


def rounded_up(seconds: float, step: int) -> int:
    """`seconds` up to the next multiple of `step`."""
    return ceil(seconds / step) * step
