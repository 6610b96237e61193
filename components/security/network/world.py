"""The world of the reachability model, made of Kubernetes objects as they are rendered. Pure."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from .manifests import NAMESPACE_NAME
from .reachability import NamedPort, Pod, World

Object = Mapping[str, Any]

_TEMPLATES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "CronJob": (("jobTemplate", "spec", "template"),),
    "DaemonSet": (("template",),),
    "Deployment": (("template",),),
    "Job": (("template",),),
    "LeaderWorkerSet": (("leaderWorkerTemplate", "leaderTemplate"), ("leaderWorkerTemplate", "workerTemplate")),
    "RayService": (("rayClusterConfig", "headGroupSpec", "template"), ("rayClusterConfig", "workerGroupSpecs", "*", "template")),
    "ReplicaSet": (("template",),),
    "StatefulSet": (("template",),),
}
"""By kind: where in its spec the templates of its pods are."""


def world(objects: Iterable[Object], others: Iterable[Pod] = (), pod_range: str = "10.42.0.0/16") -> World:
    """The pods, policies and namespaces of `objects`, and `others` beside them.

    Each template stands for two pods with addresses of `pod_range`: one pod always reaches itself, and what matters is whether it
    reaches another of its kind.
    """
    listed = list(objects)
    addresses = map(str, ipaddress.ip_network(pod_range).hosts())
    pods = [_pod(obj, template, address) for obj in listed for template in templates(obj) for address in islice(addresses, 2)]
    everybody = (*pods, *others)
    names = {pod.namespace for pod in everybody}
    named = {obj["metadata"]["name"]: obj["metadata"].get("labels") or {} for obj in listed if obj["kind"] == "Namespace"}
    return World(
        # The API server gives every namespace this label itself.
        namespaces={name: {**named.get(name, {}), NAMESPACE_NAME: name} for name in {*names, *named}},
        pods=everybody,
        policies=tuple(obj for obj in listed if obj["kind"] == "NetworkPolicy"),
    )


def templates(obj: Object) -> Iterator[Object]:
    """The pod templates of a workload; a pod is its own, and other kinds have none."""
    if obj["kind"] == "Pod":
        yield obj
    for path in _TEMPLATES.get(obj["kind"], ()):
        yield from _at(obj["spec"], path)


def _at(value: Any, path: Sequence[str]) -> Iterator[Object]:
    if not path:
        yield value
    elif path[0] == "*":
        yield from chain.from_iterable(_at(each, path[1:]) for each in value)
    elif path[0] in value:
        yield from _at(value[path[0]], path[1:])


def _pod(obj: Object, template: Object, address: str) -> Pod:
    labels, spec = template.get("metadata", {}).get("labels") or {}, template["spec"]
    told = [labels[key] for key in ("app.kubernetes.io/name", "app.kubernetes.io/instance") if key in labels]
    return Pod(
        name="/".join(told) or obj["metadata"]["name"],
        namespace=obj["metadata"].get("namespace", "default"),
        labels=labels,
        addresses=(address,),
        ports=tuple(
            NamedPort(port["name"], port["containerPort"], port.get("protocol", "TCP"))
            for container in spec["containers"]
            for port in container.get("ports") or ()
            if "name" in port
        ),
        host_network=bool(spec.get("hostNetwork")),
    )
