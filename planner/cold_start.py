"""How long a server takes from nothing to its first answer, phase by phase, and every time-out that follows from it.

A phase is a sum of published measurements (catalog/cold_start.yaml, each with its source or the word "assumed"); the model adds
its bytes and its layers. Times are seconds, rates MB/s (10^6 bytes), sizes GiB unless a name says otherwise.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

from planner.activation import GIB
from planner.catalog.files import load_yaml
from planner.model import Model
from planner.options import Options

MB = 1_000_000
PROBE_PERIOD = 10
"""Seconds between two probes."""

SAFETY = 2
"""How much slower than predicted a start may be before it counts as failed."""

SPOT_NOTICE = 120
"""Seconds between the notice and the end of a spot instance: Amazon EC2 User Guide, "Spot Instance interruption notices"."""

_DISK_RESERVE = 1.2
"""A download writes beside the files that are complete, and a new revision beside the old one's configuration."""
_SHARD_GIB = 5
"""Size of a file of a checkpoint at most, as huggingface_hub saves it by default; the eager strategy holds one for each
worker."""


class UnknownStorageError(LookupError):
    """The catalogue has no such backend, node kind or image; the message names those it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """One derived number, for a table that a reviewer can argue with."""

    name: str
    value: float
    unit: str
    formula: str
    source: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """How a server stops, in seconds: `grace >= pre_stop + shutdown_timeout + teardown`."""

    pre_stop: int = 10
    """Until endpoints and gateways have dropped the pod."""
    shutdown_timeout: int = 60
    """vLLM's `--shutdown-timeout`: for requests in flight after SIGTERM."""
    teardown: int = 20
    """For the engine to free the accelerators."""

    @property
    def grace(self) -> int:
        """The shortest `terminationGracePeriodSeconds`."""
        return self.pre_stop + self.shutdown_timeout + self.teardown


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
    sizes = 0 if options.enforce_eager else _captured_sizes(options.max_num_seqs)

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


def _captured_sizes(sequences: int | None) -> int:
    """Batch sizes that get a CUDA graph, as `planner.activation` counts them; all up to 512 where the number of sequences is
    the default."""
    largest = 512 if sequences is None else min(2 * sequences, 512)
    return sum(1 for size in (1, 2, 4, *range(8, 256, 8), *range(256, 513, 16)) if size <= largest)


def _compile(layers: int, options: Options, *, cached: bool) -> tuple[float, str, str]:
    if options.enforce_eager:
        return 0.0, "--enforce-eager", "vLLM documentation, engine arguments: eager mode neither compiles nor captures graphs"
    facts = _facts()["compile"]["cached" if cached else "cold"]
    seconds = facts["base"] + facts["per_layer"] * layers
    return seconds, f"{facts['base']} s + {layers} layers x {facts['per_layer']} s", facts["source"]


def granted_seconds(weights_gib: float) -> int:
    """What practice grants a start by the size of the weights alone; see `startup_probe_seconds`."""
    return max(360, round(360 + (weights_gib - 13) * (1260 - 360) / (130 - 13)))


def startup_probe_seconds(cold: ColdStart, *, period: int = PROBE_PERIOD) -> int:
    """Seconds from the container's start until the engine must answer, a multiple of `period`.

    The larger of `SAFETY x (weights + load + compile + graphs + engine)` and what practice grants: 360 s for 7B and 1260 s for
    70B parameters in 16 bit (13 and 130 GiB), from the manifests of the Kubernetes AI workload guide this platform follows, a
    straight line between them and beyond, never below 360 s. The guide's rule of thumb after a failure (10 minutes for 13B, 25
    for 70B) is for storage slower than assumed here: name the real storage, and the predicted part grows.
    """
    return _up(max(SAFETY * cold.container_s, granted_seconds(cold.weights_gib)), period)


def progress_deadline_seconds(cold: ColdStart) -> int:
    """`progressDeadlineSeconds` of the Deployment: `SAFETY x (node + image) + startup probe`, at least Kubernetes' own 600 s.

    So a rollout is never called failed while its pod may still be starting.
    """
    return max(600, _up(SAFETY * (cold.node_s + cold.image_s) + startup_probe_seconds(cold), PROBE_PERIOD))


def keda_cooldown_seconds(cold: ColdStart) -> int:
    """`cooldownPeriod` of a ScaledObject: the whole cold start in full minutes, at least KEDA's own 300 s.

    A server that is given up sooner than another can be had is missed before it is saved.
    """
    return max(300, _up(cold.total_s, 60))


def karpenter_consolidate_after_seconds(cold: ColdStart) -> int:
    """`consolidateAfter` of a NodePool: `SAFETY x` the whole cold start in full minutes, at least 600 s.

    Else Karpenter takes nodes away while an image is pulled or a model loads (aws/karpenter-provider-aws#7414); 300 s, a common
    default, is less than such a start.
    """
    return max(600, _up(SAFETY * cold.total_s, 60))


def engine_ready_timeout_seconds(cold: ColdStart) -> int:
    """`VLLM_ENGINE_READY_TIMEOUT_S`: vLLM's 600 s, or `SAFETY x` the start of the container in full minutes where that is more.

    vLLM 0.33 gives up after it, whatever the startup probe allows (vllm-project/vllm#35616).
    """
    return max(600, _up(SAFETY * cold.container_s, 60))


def timeouts(cold: ColdStart) -> tuple[Derived, ...]:
    """All time-outs that follow from a start, for a table."""
    guide = "Kubernetes AI workload guide (360 s for 7B, 1260 s for 70B) and the predicted phases"
    rows = (
        ("startup probe", startup_probe_seconds(cold), f"max({SAFETY} x {cold.container_s:.0f} s, granted by size)", guide),
        (
            "progress deadline",
            progress_deadline_seconds(cold),
            f"{SAFETY} x (node + image) + startup probe",
            "Kubernetes documentation, Deployments: 600 s by default",
        ),
        (
            "KEDA cool-down",
            keda_cooldown_seconds(cold),
            f"{cold.total_s:.0f} s",
            "KEDA documentation, ScaledObject: 300 s by default",
        ),
        (
            "Karpenter consolidateAfter",
            karpenter_consolidate_after_seconds(cold),
            f"{SAFETY} x {cold.total_s:.0f} s",
            "aws/karpenter-provider-aws#7414",
        ),
        (
            "VLLM_ENGINE_READY_TIMEOUT_S",
            engine_ready_timeout_seconds(cold),
            f"max(600 s, {SAFETY} x {cold.container_s:.0f} s)",
            "vLLM 0.33 vllm/envs.py; vllm-project/vllm#35616",
        ),
    )
    return tuple(
        Derived(name=name, value=value, unit="s", formula=formula, source=source) for name, value, formula, source in rows
    )


def _up(seconds: float, step: int) -> int:
    return ceil(seconds / step) * step


def check_drain(pre_stop: int, shutdown_timeout: int, teardown: int, grace: int, spot: bool) -> str | None:
    """Why a server would be killed before it has drained, with a value that works; None when it has the time. All in seconds.

    `grace >= preStop + --shutdown-timeout + teardown`; on spot capacity that sum must end within the two minutes of the notice.
    """
    needed = pre_stop + shutdown_timeout + teardown
    parts = f"preStop {pre_stop} s + --shutdown-timeout {shutdown_timeout} s + teardown {teardown} s = {needed} s"
    if spot and needed > SPOT_NOTICE:
        room = SPOT_NOTICE - pre_stop - teardown
        works = f"--shutdown-timeout {room}" if room >= 0 else "preStop 10, --shutdown-timeout 60 and teardown 20"
        return f"{parts} is more than the {SPOT_NOTICE} s a spot interruption leaves; use {works}"
    if grace < needed:
        return f"terminationGracePeriodSeconds {grace} is less than {parts}; use {needed} or more"
    return None


def shared_memory_mib(accelerators: int) -> int:
    """MiB of /dev/shm: 2 GiB for one accelerator, as in vLLM's examples, else 8 GiB each for NCCL and the workers' queues.

    The 64 MiB of a container make tensor parallelism fail (vllm-project/vllm#1710).
    """
    return 2048 if accelerators == 1 else 8192 * accelerators


def host_memory_mib(weights_gib_on_node: float, accelerators: int, shared_mib: int, load_strategy: str = "lazy") -> int:
    """MiB of host memory: the weights once, as they pass through to the accelerators, 4 GiB for the engine, and shared memory.

    Shared memory is a volume in memory, so it counts against the pod's limit. `eager` also holds one file of the checkpoint (5
    GiB) for each worker. Raises ValueError for an unknown strategy.
    """
    if load_strategy not in ("lazy", "prefetch", "eager"):
        raise ValueError(f"load strategy {load_strategy!r} is unknown; use lazy, prefetch or eager")
    files = _SHARD_GIB * 1024 * accelerators if load_strategy == "eager" else 0
    return ceil(weights_gib_on_node * 1024) + 4096 + shared_mib + files


def cpus(accelerators: int) -> int:
    """CPUs to request: one for the API server, one for the engine's scheduler, one for each accelerator's worker.

    Those are vLLM's processes (vLLM documentation, "Architecture Overview"); each keeps one CPU busy. A limit is not set:
    compiling at the start uses what is free.
    """
    return 2 + accelerators


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
    if size_gib is not None and size_gib < weights * _DISK_RESERVE:
        problems.append(
            f"{size_gib:g} GiB of {storage} are less than {_DISK_RESERVE} x {weights:.1f} GiB of weights; "
            f"use {ceil(weights * _DISK_RESERVE)} GiB or more"
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
            f"{probe_seconds:.0f} s; use a probe of {_up(SAFETY * seconds, PROBE_PERIOD)} s{others}"
        )
    if backend.local and (load_format or "").startswith("runai_streamer"):
        problems.append(
            f"--load-format {load_format} gains nothing on {storage}, a local disk (marin-community/marin#7136); "
            f"use {backend.load_format}"
        )
    return tuple(problems)
