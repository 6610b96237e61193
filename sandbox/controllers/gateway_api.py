"""What Gateway API says of names, references and conditions, whoever implements it. Pure.

Host names: the field descriptions of the API, and envoyproxy/gateway internal/gatewayapi/helpers.go.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sandbox.controllers.cluster import Object
from sandbox.controllers.conditions import settled

GROUP: Final = "gateway.networking.k8s.io"
Told = dict[str, tuple[str, str, str]]
"""Conditions by type in the order in which they were told: status, reason, message."""
Name = tuple[str, str]
"""Namespace and name."""


def name_of(obj: Object) -> Name:
    """Where an object is found."""
    return obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def target_of(ref: Object, namespace: str) -> Name:
    """Where a reference of an object in `namespace` leads."""
    return ref.get("namespace") or namespace, ref["name"]


def oldest_first(objects: Iterable[Object]) -> list[Object]:
    """The order in which objects that want the same are served."""
    return sorted(objects, key=lambda each: (each["metadata"].get("creationTimestamp") or "", *name_of(each)))


def selects(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector (`matchLabels`, `matchExpressions`) takes these labels. Raises ValueError for one that is none."""
    selector = selector or {}
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for each in selector.get("matchExpressions") or []:
        key, values = each["key"], each.get("values") or []
        match each["operator"]:
            case "In":
                holds = labels.get(key) in values
            case "NotIn":
                holds = labels.get(key) not in values
            case "Exists" | "DoesNotExist" as operator:
                if values:
                    listed = ", ".join(f'"{value}"' for value in values)
                    raise ValueError(f"values: Invalid value: [{listed}]: values set must be empty for exists and does not exist")
                holds = (key in labels) == (operator == "Exists")
            case unknown:
                raise ValueError(f'"{unknown}" is not a valid label selector operator')
        if not holds:
            return False
    return True


def permitted(grants: Iterable[Object], source: tuple[str, str, str], target: tuple[str, str, str, str]) -> bool:
    """Whether an object (group, kind, namespace) may name another one (group, kind, namespace, name)."""
    group, kind, namespace, name = target
    if source[2] == namespace:
        return True
    for grant in grants:
        if name_of(grant)[0] != namespace:
            continue
        allowed = any((each.get("group", ""), each["kind"], each["namespace"]) == source for each in grant["spec"]["from"])
        if allowed and any(
            (each.get("group", ""), each["kind"]) == (group, kind) and each.get("name") in (None, "", name)
            for each in grant["spec"]["to"]
        ):
            return True
    return False


def hosts(route: Sequence[str], listener: str) -> set[str]:
    """The host names by which a route is reached through a listener; `*` stands for every one."""
    if not route:
        return {listener or "*"}
    return {found for host in route for found in _common(host, listener)}


def _common(host: str, listener: str) -> Iterator[str]:
    if not listener or listener == host or (listener.startswith("*") and _is_below(host, listener)):
        yield host
    elif host.startswith("*") and _is_below(listener, host):
        yield listener


def _is_below(host: str, wildcard: str) -> bool:
    """Whether a host, or a wildcard itself, is one of those that a wildcard stands for; unlike in certificates, at any depth."""
    suffix = wildcard.removeprefix("*")
    if host.startswith("*"):
        return host != wildcard and host.endswith(suffix)
    return host.endswith(suffix) and host != suffix


def overlap(one: str | None, other: str | None) -> bool:
    """Whether one certificate's name can serve for the other; a wildcard stands for one label, and none for all."""
    if one is None or other is None:
        return True
    return one == other or _serves(one, other) or _serves(other, one)


def _serves(host: str, wildcard: str) -> bool:
    if not (len(wildcard) > 1 and wildcard.startswith("*")) or (len(host) > 1 and host.startswith("*")):
        return False
    return host.endswith(wildcard[1:]) and "." not in host.removesuffix(wildcard[1:])


def conditions(before: Iterable[Object] | None, told: Told, generation: int) -> list[dict[str, Any]]:
    """What is told, in order; a condition keeps its time while its status stays, and one that is no longer told is left out."""
    old = {each["type"]: each for each in before or [] if each["type"] in told}
    found = {each["type"]: each for each in settled(list(old.values()), told, generation)}
    return [found[name] for name in told]
