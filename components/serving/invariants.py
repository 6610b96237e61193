"""What must hold between the parts of a server, checked on finished objects, whoever made them. Pure.

The components derive all of it; this is the proof, for tests of whole stacks and for policies over previews.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from planner.cold_start import DISK_RESERVE
from planner.drain import SPOT_NOTICE, Drain

from ..quantities import quantity
from ..types import NodePool

WEIGHTS, START = "llm-platform/weights-gib", "llm-platform/start-seconds"
"""Annotations of a server: the size of its weights, and how long its container is predicted to take to its first answer."""
DRAIN = "llm-platform/drain-seconds"
"""Annotation of a server whose engine has no such flag: what requests in flight are granted."""
MOST_REPLICAS = "llm-platform/max-replicas"
"""Annotation of a server whose replicas an autoscaler sets: the most it may ask for."""

MODELS = "models"
"""Name of the volume a model lies on."""
ENGINE = "engine"
"""Name of the container that answers."""

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Broken:
    """An invariant that does not hold."""

    rule: str
    where: str
    """Kind and name of the object."""
    sentence: str

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class _Server:
    """A workload with an engine, and the pool it lands on."""

    name: str
    annotations: Mapping[str, str]
    replicas: int
    spec: Mapping[str, Any]
    """Of the workload."""
    pods: tuple[Mapping[str, Any], ...]
    """Specs of the pods of one replica, one for each node."""
    pool: NodePool

    @property
    def engine(self) -> Mapping[str, Any]:
        """The container that answers."""
        return _container(self.pods[0])

    @property
    def accelerators(self) -> int:
        """What one replica asks for."""
        return sum(_requested(pod, self.pool) for pod in self.pods)


def broken(objects: Sequence[Object], pools: Sequence[NodePool]) -> list[Broken]:
    """Every invariant that the servers among `objects` break on these pools; claims are looked up among the objects."""
    servers, lost = _servers(objects, pools)
    found = list(lost)
    for server in servers:
        for rule in (_sizes, _fits_a_node, _tolerates, _stops, _starts, _shared_memory, _devices):
            found += [Broken(rule.__name__.strip("_"), server.name, sentence) for sentence in rule(server)]
        found += [Broken("cache", server.name, sentence) for sentence in _cache(server, objects)]
    return found + list(_headroom(servers))


def _sizes(server: _Server) -> Iterator[str]:
    sizes = {flag: int(_flag(server, flag) or 1) for flag in _PARALLEL}
    product = 1
    for size in sizes.values():
        product *= size
    if product != server.accelerators:
        parts = " x ".join(f"{flag.removeprefix('--').removesuffix('-size')} {size}" for flag, size in sizes.items())
        yield f"{parts} = {product} ranks, and the pods of a replica ask for {server.accelerators} accelerators"


def _fits_a_node(server: _Server) -> Iterator[str]:
    card = server.pool.accelerator
    for pod in server.pods:
        wanted = _requested(pod, server.pool)
        if card is not None and wanted > card.units:
            yield f"a pod asks for {wanted} accelerators and a node of pool {server.pool.name} has {card.units}"


def _tolerates(server: _Server) -> Iterator[str]:
    for pod in server.pods:
        for taint in server.pool.tolerations():
            if not any(tolerated(taint, toleration) for toleration in pod.get("tolerations", ())):
                yield f"the taint {taint['key']}={taint['value']}:{taint['effect']} of pool {server.pool.name} is not tolerated"


def _stops(server: _Server) -> Iterator[str]:
    stop = (server.engine.get("lifecycle") or {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    timeout = int(_flag(server, "--shutdown-timeout") or server.annotations.get(DRAIN) or 0)
    if not stop:
        yield "nothing waits before the engine stops, so requests reach a pod that is going; add a preStop sleep"
    if not timeout:
        yield "requests in flight are aborted; give --shutdown-timeout a value"
    for pod in server.pods[1:]:
        waits = (_container(pod).get("lifecycle") or {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if waits < stop + timeout:
            yield f"a worker ends {waits} s after it is told to, while the leader answers for {stop + timeout} s"
    for pod in server.pods:
        grace = pod.get("terminationGracePeriodSeconds", 30)
        if grace <= stop + timeout:
            yield f"{grace} s of grace end before preStop {stop} s and the drain of {timeout} s; use {stop + timeout + _TEARDOWN}"
        if server.pool.interruptible and stop + timeout > SPOT_NOTICE:
            yield f"preStop {stop} s and the drain of {timeout} s are more than the {SPOT_NOTICE} s of a spot interruption"


def _starts(server: _Server) -> Iterator[str]:
    return start_faults(server.engine, server.spec, server.annotations)


def start_faults(engine: Object, spec: Object, annotations: Mapping[str, str]) -> Iterator[str]:
    """Why a container that loads a model is ended before it answers; `spec` and `annotations` are of its workload."""
    probe = engine.get("startupProbe")
    if probe is None:
        if engine.get("livenessProbe"):
            yield "a liveness probe without a startup probe kills a model that is loading"
        return
    budget = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
    needed = float(annotations.get(START, 0))
    if budget < needed:
        yield f"the startup probe allows {budget} s and the start takes {needed:.0f} s"
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline < budget:
        yield f"a rollout fails after {deadline} s while the startup probe allows {budget} s"


def _shared_memory(server: _Server) -> Iterator[str]:
    for pod in server.pods:
        volumes = {volume["name"]: volume for volume in pod.get("volumes", ())}
        mount = next((m for m in _container(pod).get("volumeMounts", ()) if m["mountPath"] == "/dev/shm"), None)  # noqa: S108
        memory = volumes[mount["name"]].get("emptyDir", {}) if mount else {}
        if memory.get("medium") != "Memory" or "sizeLimit" not in memory:
            yield "shared memory is no memory volume with a size; the 64 MiB of a container make its workers fail"
            continue
        limit = (_container(pod).get("resources") or {}).get("limits", {}).get("memory")
        if limit is None or quantity(limit) <= quantity(memory["sizeLimit"]):
            yield f"the memory limit {limit} does not hold the {memory['sizeLimit']} of /dev/shm, which count against it"


def _devices(server: _Server) -> Iterator[str]:
    card = server.pool.accelerator
    for pod in server.pods:
        found = _container(pod).get("resources") or {}
        asked, most = (found.get(kind, {}).get(card.offered if card else "") for kind in ("requests", "limits"))
        if asked != most:
            yield f"{asked} accelerators are requested and {most} are the limit; Kubernetes wants both alike"


def _cache(server: _Server, objects: Sequence[Object]) -> Iterator[str]:
    weights = float(server.annotations.get(WEIGHTS, 0))
    claims = {name for pod in server.pods for name in _claims(pod)}
    for claim in objects:
        if claim.get("kind") == "PersistentVolumeClaim" and claim["metadata"].get("name") in claims:
            size = claim["spec"]["resources"]["requests"]["storage"]
            if quantity(size) < quantity(f"{weights:.3f}Gi") * Decimal(str(DISK_RESERVE)):
                yield f"{size} of cache are less than {DISK_RESERVE} x {weights:.1f} GiB of weights"


def _headroom(servers: Sequence[_Server]) -> Iterator[Broken]:
    for pool in {server.pool.name: server.pool for server in servers}.values():
        here = [server for server in servers if server.pool.name == pool.name]
        used = sum(server.replicas * server.accelerators for server in here)
        if used > pool.capacity():
            names = ", ".join(server.name for server in here)
            yield Broken("headroom", names, f"they ask for {used} accelerators of pool {pool.name}, which has {pool.capacity()}")
            continue
        for server in here:
            surge = _surge(server)
            if surge * server.accelerators > pool.capacity() - used:
                yield Broken(
                    "headroom",
                    server.name,
                    f"a rollout starts {surge} more before it stops one, and pool {pool.name} has {pool.capacity() - used} "
                    "accelerators to spare; use maxSurge: 0",
                )


_PARALLEL = ("--num-shard", "--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size")
_TEARDOWN = Drain().teardown


def _servers(objects: Sequence[Object], pools: Sequence[NodePool]) -> tuple[list[_Server], list[Broken]]:
    found, lost = [], []
    for thing in objects:
        read = _READERS.get(str(thing.get("kind")))
        if read is None:
            continue
        pods = read(thing["spec"])
        if not pods or not any(container["name"] == ENGINE for container in pods[0]["containers"]):
            continue
        name = f"{thing['kind']} {thing['metadata'].get('name', '')}".strip()
        pool = next((pool for pool in pools if _lands_on(pods[0], pool)), None)
        if pool is None:
            lost.append(Broken("pool", name, "its node affinity selects no pool of this cluster"))
            continue
        metadata = thing["metadata"]
        annotations = metadata.get("annotations") or {}
        replicas = int(annotations.get(MOST_REPLICAS) or thing["spec"].get("replicas", 1))
        found.append(_Server(name, annotations, replicas, thing["spec"], tuple(pods), pool))
    return found, lost


def _of_deployment(spec: Object) -> list[Object]:
    return [spec["template"]["spec"]]


def _of_leader_worker_set(spec: Object) -> list[Object]:
    template = spec["leaderWorkerTemplate"]
    worker = template["workerTemplate"]["spec"]
    leader = (template.get("leaderTemplate") or template["workerTemplate"])["spec"]
    return [leader, *[worker] * (template.get("size", 1) - 1)]


_READERS: Mapping[str, Callable[[Object], list[Object]]] = {
    "Deployment": _of_deployment,
    "LeaderWorkerSet": _of_leader_worker_set,
}


def _surge(server: _Server) -> int:
    strategy = server.spec.get("strategy") or server.spec.get("rolloutStrategy") or {}
    rolling = strategy.get("rollingUpdate") or strategy.get("rollingUpdateConfiguration") or {}
    return int(rolling.get("maxSurge", 0))


def _lands_on(pod: Object, pool: NodePool) -> bool:
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    return bool(affinity.get("requiredDuringSchedulingIgnoredDuringExecution") == pool.node_affinity())


def _container(pod: Object) -> Object:
    found: Object = next(container for container in pod["containers"] if container["name"] == ENGINE)
    return found


def _requested(pod: Object, pool: NodePool) -> int:
    requests = (_container(pod).get("resources") or {}).get("requests", {})
    return int(requests.get(pool.accelerator.offered if pool.accelerator else "", 0))


def _flag(server: _Server, flag: str) -> str | None:
    words = [str(word) for word in server.engine.get("args", ())]
    return words[words.index(flag) + 1] if flag in words else None


def tolerated(taint: Mapping[str, Any], toleration: Mapping[str, Any]) -> bool:
    """Whether a toleration of a pod holds for a taint of a node."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return (toleration.get("key"), toleration.get("value", "")) == (taint["key"], taint["value"])


def _claims(pod: Object) -> list[str]:
    """Claims of the model itself."""
    volumes = (volume for volume in pod.get("volumes", ()) if volume["name"] == MODELS)
    return [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]
