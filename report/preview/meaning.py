"""What changes mean for those who ask models and for what is stored. Times are the plan's; they are estimates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from report.preview.differences import parsed
from report.preview.figures import Figures, figures
from report.preview.model import Change, Op, Preview


class Weight(IntEnum):
    """How much somebody loses; the most comes first."""

    DATA = 0
    ANSWERS = 1
    """A model does not answer for a while, or never again."""
    CAPACITY = 2
    """A model answers, with less or elsewhere."""
    NOTHING = 3


@dataclass(frozen=True)
class Meaning:
    """A change and what it means; None where nobody has to know more than that it happens."""

    change: Change
    weight: Weight
    sentence: str | None = None


_SERVERS = ("ModelServer", "TgiServer")
_NODES = ("aws:eks/nodeGroup:NodeGroup", "kubernetes:karpenter.sh/v1:NodePool")
_GOES = (Op.REPLACE, Op.DELETE)
Models = Mapping[str, Figures]


def meanings(preview: Preview) -> list[Meaning]:
    """Of everything that is replaced, deleted or forgotten, and of updates that restart servers; the worst first."""
    before, after = figures(preview.before) or {}, figures(preview.after) or {}
    found = (_meaning(change, before, after) for change in preview.changes if not change.is_component)
    return sorted((each for each in found if each), key=lambda each: (each.weight, each.change.op != Op.REPLACE, each.change.urn))


def _meaning(change: Change, models: Models, planned: Models) -> Meaning | None:
    if change.component[0] in _SERVERS and change.kind in _TEMPLATES:
        name = change.component[1]
        return _of_server(change, name, models.get(name), planned.get(name))
    if change.op is Op.FORGET:
        return Meaning(change, Weight.NOTHING, "it stays where it is, and nobody manages it any more")
    if change.op not in _GOES:
        return None
    if change.type in _NODES:
        return _of_nodes(change, models)
    if (of := _DATA.get(change.type)) and (sentence := of(change)):
        return _of_data(change, sentence)
    if change.type in _WHOLE:
        names = ", ".join(sorted(models)) or "what runs there"
        return Meaning(change, Weight.ANSWERS, f"everything on the cluster goes with it, and {names} with that")
    sentence = _OTHERS.get((change.op, change.kind))
    return Meaning(change, Weight.NOTHING, sentence)


_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "LeaderWorkerSet": ("spec", "leaderWorkerTemplate"),
    "RayService": ("spec", "rayClusterConfig"),
}
"""By kind of a server, where its pods are described."""


def _of_server(change: Change, name: str, old: Figures | None, new: Figures | None) -> Meaning | None:
    match change.op:
        case Op.DELETE:
            freed = f"; {_accelerators(old, old.replicas)} become free" if old else ""
            return Meaning(change, Weight.ANSWERS, f"model {name} is served no more, and whoever asks it gets errors{freed}")
        case Op.REPLACE if change.deleted_first:
            return Meaning(change, Weight.ANSWERS, f"model {name}: no replica answers until the new one is ready{_ready(new)}")
        case Op.REPLACE:
            room = f"; {_accelerators(new, new.replicas)} are needed beside the old ones meanwhile" if new else ""
            sentence = f"model {name}: the old server answers until the new one is ready{_ready(new)}{room}"
            return Meaning(change, Weight.CAPACITY, sentence)
        case Op.UPDATE if any(parsed(path)[:2] == _TEMPLATES[change.kind] for path in change.paths):
            return _of_rollout(change, name, new)
    return None


def _of_rollout(change: Change, name: str, new: Figures | None) -> Meaning:
    spec = change.after.get("spec") or {}
    replicas = new.least if new else _number(spec.get("replicas"), 1, 1)
    strategy = spec.get("strategy") or spec.get("rolloutStrategy") or {}
    if change.kind == "RayService":
        # upgradeStrategy NewCluster: KubeRay makes all of it beside the old one, and moves requests when it is ready.
        room = f", with {_accelerators(new, replicas)} more meanwhile" if new else ""
        sentence = f"model {name}: a whole new Ray cluster is made beside the old one{room}; it answers{_ready(new)}"
        return Meaning(change, Weight.CAPACITY, sentence)
    rolling = strategy.get("rollingUpdate") or strategy.get("rollingUpdateConfiguration") or {}
    surge, away = _number(rolling.get("maxSurge"), replicas, 0), _number(rolling.get("maxUnavailable"), replicas, 1)
    if strategy.get("type") == "Recreate" or (surge == 0 and away >= replicas):
        return Meaning(change, Weight.ANSWERS, f"model {name}: its pods are made anew, and none answers until then{_ready(new)}")
    if surge:
        room = f", with {_accelerators(new, surge)} more meanwhile" if new else ""
        sentence = f"model {name}: its pods are made anew, each before the old one goes{room}; a new one answers{_ready(new)}"
        return Meaning(change, Weight.NOTHING, sentence)
    sentence = f"model {name}: its pods are made anew, {away} of {replicas} at a time; a new one answers{_ready(new)}"
    return Meaning(change, Weight.CAPACITY, sentence)


def _of_nodes(change: Change, models: Models) -> Meaning:
    component, pool = change.component
    pools = (pool, change.name.removeprefix(f"{pool}-pool-"))  # a node group is its component's, a NodePool one of Karpenter's
    here = {name: figure for name, figure in models.items() if figure.pool in pools}
    if component == "SystemNodeGroup":
        what = "controllers and monitoring run here and move to other nodes"
        return Meaning(
            change, Weight.CAPACITY, what if change.op is Op.REPLACE else "controllers and monitoring lose their nodes"
        )
    if not here:
        return Meaning(change, Weight.NOTHING, "no model of the plan runs on these nodes")
    names = ", ".join(f"{name} ({_accelerators(each, each.replicas)})" for name, each in sorted(here.items()))
    if change.op is Op.DELETE:
        return Meaning(change, Weight.ANSWERS, f"no node is left for {names}")
    longest = max(each.new_node_s for each in here.values())
    first = "before new ones are there" if change.deleted_first else "once new ones are there"
    sentence = f"the nodes under {names} are drained {first}; a replica that moves does not answer for about {longest:,} s"
    return Meaning(change, Weight.ANSWERS, sentence)


def _of_data(change: Change, lost: str) -> Meaning:
    if change.protected:
        return Meaning(change, Weight.DATA, "it is protected, so the engine refuses to delete it; nothing is lost")
    if change.retained:
        return Meaning(change, Weight.NOTHING, "it is left behind with all that is in it, and nobody manages it any more")
    return Meaning(change, Weight.NOTHING if lost in _KEPT else Weight.DATA, lost)


_STAYS = "the files behind it stay (reclaim policy Retain)"
_EMPTY = "deleting it fails while it has objects"
_KEPT = (_STAYS, _EMPTY)


def _volume(change: Change) -> str | None:
    kept = (change.before.get("spec") or {}).get("persistentVolumeReclaimPolicy") == "Retain"
    return _STAYS if kept else "the files on it are lost"


def _claim(change: Change) -> str | None:
    # A claim that names its volume loses nothing that the volume does not lose.
    named = (change.before.get("spec") or {}).get("volumeName")
    return None if named else "the files on its volume are lost, unless its StorageClass retains them"


def _bucket(change: Change) -> str | None:
    return "all objects in it are lost" if change.before.get("forceDestroy") else _EMPTY


def _key(change: Change) -> str | None:
    days = change.before.get("deletionWindowInDays") or 30
    return f"what is encrypted with it can be read by nobody {days} days later; until then the deletion can be cancelled"


_DATA: Mapping[str, Callable[[Change], str | None]] = {
    "kubernetes:core/v1:PersistentVolume": _volume,
    "kubernetes:core/v1:PersistentVolumeClaim": _claim,
    "aws:s3/bucket:Bucket": _bucket,
    "aws:efs/fileSystem:FileSystem": lambda _: "all files on it are lost; models are downloaded again",
    "aws:fsx/lustreFileSystem:LustreFileSystem": lambda _: "all files on it are lost; models are downloaded again",
    "aws:ebs/volume:Volume": lambda _: "the files on it are lost",
    "aws:kms/key:Key": _key,
    "aws:cloudwatch/logGroup:LogGroup": lambda change: None if change.before.get("skipDestroy") else "the logs in it are lost",
}
_WHOLE = ("aws:eks/cluster:Cluster",)
_OTHERS = {
    (Op.REPLACE, "Secret"): "what reads it is told the new name, and restarts where it is listed here",
    (Op.REPLACE, "Job"): "it runs again",
    (Op.REPLACE, "Namespace"): "all objects in it are deleted, also those that this program does not know",
    (Op.DELETE, "Namespace"): "all objects in it are deleted, also those that this program does not know",
}


def _accelerators(figure: Figures, replicas: int) -> str:
    return f"{replicas * figure.per_replica} x {figure.accelerator}"


def _ready(figure: Figures | None) -> str:
    return f" after about {figure.new_node_s:,} s on a new node, {figure.warm_node_s:,} s on a warm one" if figure else ""


def _number(value: Any, whole: int, default: int) -> int:
    """A count of pods as Kubernetes has it: a number, or a percentage of all."""
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit():
        return -(-int(value[:-1]) * whole // 100)
    return int(value) if isinstance(value, int | float) else default
