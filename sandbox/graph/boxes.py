"""What a stack registers, gathered into boxes: one for components of a class, with their parts inside.

A component that belongs to another is part of it. A provider is no box: what uses it waits for what the provider needs. Where
components of a class wait for each other by way of others, they are in boxes of their own.
"""

import importlib
import pkgutil
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter

import components
from components.base import PACKAGE, PlatformComponent
from report.recording import Registration

_TOKEN = f"{PACKAGE}:index:"
_PROVIDER = "pulumi:providers:"


@dataclass(frozen=True)
class Box:
    """Components of one class."""

    key: str
    """Its class, with a number where there are several."""
    kind: str
    concern: str
    """The folder of components/ it is from."""
    meaning: str
    """First sentence of its documentation."""
    names: tuple[str, ...]
    resources: int
    """How many resources they are made of, without themselves."""


@dataclass(frozen=True)
class Graph:
    """Boxes, and pairs (before, after) of their keys without those that follow from others."""

    stack: str
    boxes: tuple[Box, ...]
    edges: tuple[tuple[str, str], ...]


@cache
def classes() -> Mapping[str, tuple[str, type[PlatformComponent]]]:
    """Concern and class of every component, by the name of its class."""
    found: dict[str, tuple[str, type[PlatformComponent]]] = {}
    for package in pkgutil.iter_modules(components.__path__, f"{components.__name__}."):
        if package.ispkg:
            pending = [PlatformComponent]
            for module in pkgutil.walk_packages(importlib.import_module(package.name).__path__, f"{package.name}."):
                importlib.import_module(module.name)
            while pending:
                pending += (subclasses := pending.pop().__subclasses__())
                found |= {each.__name__: (each.__module__.split(".")[1], each) for each in subclasses}
    return found


def graph(stack: str, resources: Sequence[Registration]) -> Graph:
    """The boxes of a stack. Resources that belong to no component are left out."""
    owners = _owners(resources)
    outermost = {owner.urn: owner for owner in owners.values()}
    sizes = Counter(owner.urn for urn, owner in owners.items() if urn != owner.urn)
    needs = _needs(resources, owners)
    keys = _keys(outermost, needs)
    members: dict[str, list[str]] = defaultdict(list)
    for urn, key in keys.items():
        members[key].append(urn)
    boxes = [
        _box(key, [outermost[urn].name for urn in urns], _kind(outermost[urns[0]]), sum(sizes[urn] for urn in urns))
        for key, urns in sorted(members.items())
    ]
    return Graph(stack, tuple(boxes), _without_detours(_joined(needs, keys)))


def _owners(resources: Iterable[Registration]) -> dict[str, Registration]:
    """The outermost component of each resource that has one, by URN; parents are registered before their children."""
    owners: dict[str, Registration] = {}
    for each in resources:
        if each.parent in owners:
            owners[each.urn] = owners[each.parent]
        elif each.type.startswith(_TOKEN):
            owners[each.urn] = each
    return owners


def _kind(component: Registration) -> str:
    return component.type.removeprefix(_TOKEN)


def _needs(resources: Sequence[Registration], owners: Mapping[str, Registration]) -> dict[str, set[str]]:
    """Outermost components that have to be there first, by component."""
    needed = {each.urn: each.dependencies for each in resources}
    providers = {each.urn for each in resources if each.type.startswith(_PROVIDER)}
    needs: dict[str, set[str]] = {owner.urn: set() for owner in owners.values()}
    for each in resources:
        if each.urn in owners:
            direct = each.dependencies - providers
            through = {urn for provider in each.dependencies & providers for urn in needed[provider]}
            needs[owners[each.urn].urn] |= {owners[urn].urn for urn in direct | through if urn in owners}
    return needs


def _keys(outermost: Mapping[str, Registration], needs: Mapping[str, set[str]]) -> dict[str, str]:
    """The box of each component: the first of its class in which it closes no circle."""
    keys = {urn: urn for urn in outermost}
    used: dict[str, list[str]] = defaultdict(list)
    for component in sorted(outermost.values(), key=lambda each: (_kind(each), each.name)):
        kind = _kind(component)
        for key in [*used[kind], f"{kind} {len(used[kind]) + 1}" if used[kind] else kind]:
            joined = keys | {component.urn: key}
            if _acyclic(_joined(needs, joined)):
                used[kind] += [] if key in used[kind] else [key]
                keys = joined
                break
    return keys


def _joined(needs: Mapping[str, set[str]], keys: Mapping[str, str]) -> dict[str, set[str]]:
    """Boxes that have to be there first, by box."""
    before: dict[str, set[str]] = {key: set() for key in keys.values()}
    for urn, needed in needs.items():
        before[keys[urn]] |= {keys[each] for each in needed} - {keys[urn]}
    return before


def _acyclic(before: Mapping[str, set[str]]) -> bool:
    try:
        TopologicalSorter(before).prepare()
    except CycleError:
        return False
    return True


def _box(key: str, names: Iterable[str], kind: str, resources: int) -> Box:
    concern, component = classes()[kind]
    meaning = " ".join(str(component.__doc__).split("\n\n")[0].split()).split(". ")[0].rstrip(".")
    return Box(key, kind, concern, re.sub(r"[*`]", "", meaning), tuple(sorted(names)), resources)


def _without_detours(before: Mapping[str, set[str]]) -> tuple[tuple[str, str], ...]:
    """The edges of the transitive reduction."""
    all_before: dict[str, set[str]] = {}
    for key in TopologicalSorter(before).static_order():
        all_before[key] = before[key].union(*(all_before[each] for each in before[key]))
    return tuple(
        sorted(
            (each, key)
            for key, found in before.items()
            for each in found
            if not any(each in all_before[other] for other in found - {each})
        )
    )
