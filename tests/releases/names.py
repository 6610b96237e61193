"""What components call their resources, and what they called them before. Pure, but for running the components."""

from collections.abc import Iterable, Mapping

from tests.contracts.examples import EXAMPLES, build
from tests.recorder import Registration, record


def urns() -> dict[str, frozenset[str]]:
    """By URN that the examples of all components register today: those it had before, and by which the engine finds it."""
    found: dict[str, frozenset[str]] = {}
    for component in EXAMPLES:
        found |= formerly(record(lambda component=component: build(component)).resources)  # type: ignore[misc]
    return found


def formerly(resources: Iterable[Registration]) -> dict[str, frozenset[str]]:
    """By URN the former ones, for resources in the order of their registration."""
    found: dict[str, frozenset[str]] = {}
    for resource in resources:
        found[resource.urn] = frozenset(_former(resource, found)) - {resource.urn}
    return found


def _former(resource: Registration, known: Mapping[str, frozenset[str]]) -> set[str]:
    """As the engine reckons: own aliases, and the parent's for its children, whose names follow when they begin with the parent's
    (pulumi/pulumi: pkg/resource/deploy/step_generator.go, generateAliases and inheritedChildAlias)."""
    now = _name(resource.parent) if resource.parent else ""
    found: set[str] = set()
    for parent in {resource.parent, *known.get(resource.parent, ())}:
        follows = parent and _name(parent) != now and resource.name.startswith(now)
        name = _name(parent) + resource.name.removeprefix(now) if follows else resource.name
        found.add(_urn(resource.urn, parent, resource.type, name))
        for alias in resource.aliases:
            of = alias.spec
            above = "" if of.noParent else of.parentUrn or parent
            found.add(alias.urn or _urn(resource.urn, above, of.type or resource.type, of.name or name))
    return found


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _urn(like: str, parent: str, type_: str, name: str) -> str:
    """A URN in the same stack, with of the types above only the parent's, as the recorder has them."""
    stack, project, *_ = like.split("::")
    above = f"{parent.split('::')[2].rpartition('$')[2]}$" if parent else ""
    return f"{stack}::{project}::{above}{type_}::{name}"
