"""What the pods of a server must look like, judged from the live objects. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from ...quantities import quantity
from .expectation import Expectation

_LEADER_MARKS = (("leaderworkerset.sigs.k8s.io/worker-index", "0"), ("ray.io/node-type", "head"))
"""How LeaderWorkerSet and KubeRay mark the first pod of a group."""

_MEND = "if somebody changed it by hand, `pulumi refresh` and `pulumi up` restore it"

Pod = Mapping[str, Any]


def leads(pod: Pod) -> bool:
    """Whether a pod answers for its replica; the pod of a replica that is alone always does."""
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(key, value) == value for key, value in _LEADER_MARKS)


def is_ready(pod: Pod) -> bool:
    """Whether a pod is ready and stays."""
    conditions = {condition["type"]: condition["status"] for condition in pod.get("status", {}).get("conditions") or []}
    return conditions.get("Ready") == "True" and stays(pod)


def stays(pod: Pod) -> bool:
    """Whether a pod neither goes nor has ended."""
    ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    return not ended and "deletionTimestamp" not in pod["metadata"]


def faults_of_pods(expected: Expectation, pods: Sequence[Pod]) -> list[str]:
    """What is not as planned, a sentence each. `pods` are all that have the labels of `expected.selector`."""
    present = [pod for pod in pods if stays(pod)]
    return [*_counted(expected, present), *(fault for pod in present for fault in _of_pod(expected, pod))]


def _counted(expected: Expectation, pods: Sequence[Pod]) -> Iterator[str]:
    least, most = (number * expected.nodes_per_replica for number in (expected.replicas, expected.most_replicas))
    if not least <= len(pods) <= most:
        yield (
            f"{expected.service} has {len(pods)} pods, planned were {least if least == most else f'{least} to {most}'}; "
            f"`kubectl -n {expected.namespace} get events` says why, and `pulumi up` restores a number changed by hand"
        )
    for pod in pods:
        if not is_ready(pod):
            name = pod["metadata"]["name"]
            yield f"pod {name} is not ready; `kubectl -n {expected.namespace} describe pod {name}` says why"


def _of_pod(expected: Expectation, pod: Pod) -> Iterator[str]:
    name = f"pod {pod['metadata']['name']}"
    containers = {container["name"]: container for container in pod["spec"]["containers"]}
    if expected.container not in containers:
        yield f"{name} has no container {expected.container!r} but {', '.join(containers)}; roll it out again with `pulumi up`"
        return
    engine = containers[expected.container]
    if engine["image"] != expected.image:
        yield f"{name} runs the image {engine['image']}, planned was {expected.image}; {_MEND}"
    # The other pods of a replica are told their place in it.
    if leads(pod):
        yield from _words(name, "command", expected.command, engine.get("command") or ())
        yield from _words(name, "arguments", expected.args, engine.get("args") or ())
    yield from _amounts(name, expected.resources, engine.get("resources") or {})
    yield from _shared_memory(name, expected.shared_memory_mib, pod, engine)


def _words(name: str, what: str, wanted: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    """The first difference, with the flag it belongs to."""
    flag = ""
    for word, planned in zip_longest(found, wanted):
        if word != planned:
            is_value = flag and not any(text.startswith("--") for text in (word or "", planned or ""))
            place = f"after {flag} in its {what}" if is_value else f"in its {what}"
            yield f"{name} has {_shown(word)} {place}, planned was {_shown(planned)}; {_MEND}"
            return
        flag = word if word.startswith("--") else flag


def _shown(word: str | None) -> str:
    return "nothing" if word is None else repr(word)


def _amounts(name: str, wanted: Mapping[str, Mapping[str, str]], found: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("requests", "limits"):
        planned, real = wanted.get(kind) or {}, found.get(kind) or {}
        for key in sorted({*planned, *real}):
            one, other = planned.get(key), real.get(key)
            if one is None or other is None or quantity(one) != quantity(str(other)):
                yield f"{name} {kind} {other or 'no'} {key}, planned was {one or 'none'}; {_MEND}"


def _shared_memory(name: str, mib: int, pod: Pod, engine: Mapping[str, Any]) -> Iterator[str]:
    mounted = {mount["mountPath"]: mount["name"] for mount in engine.get("volumeMounts") or []}
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or []}
    source = volumes.get(mounted.get("/dev/shm", ""), {}).get("emptyDir") or {}  # noqa: S108 - a path inside the container
    size = source.get("sizeLimit")
    if source.get("medium") != "Memory" or size is None:
        yield f"{name} has no memory volume at /dev/shm, planned were {mib} MiB; its processes would fail with bus errors"
    elif quantity(str(size)) != quantity(f"{mib}Mi"):
        yield f"{name} has {size} of /dev/shm, planned were {mib} MiB; {_MEND}"
