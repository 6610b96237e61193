"""The picture of a stack: what is in it, in which order, and that the documentation shows today's."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from report.recording import Registration, recorded
from sandbox.graph import Graph, graph, to_dot, to_svg
from sandbox.graph.boxes import classes
from tests.contracts.test_components import COMPONENTS

_STACK = "urn:pulumi:s::llm-platform::pulumi:pulumi:Stack::llm-platform-s"
_SVG = {"svg": "http://www.w3.org/2000/svg"}


def _resource(name: str, kind: str, *needs: str, parent: str = _STACK) -> Registration:
    token = kind if ":" in kind else f"llm-platform:index:{kind}"
    return Registration(token, name, {}, urn=name, parent=parent, dependencies=frozenset(needs))


def _component(kind: str, name: str, *needs: str) -> list[Registration]:
    """A component with one object, which waits for objects of others."""
    component = _resource(f"{kind}/{name}", kind)
    return [component, _resource(f"{name}-object", "kubernetes:core/v1:ConfigMap", *needs, parent=component.urn)]


def _chain() -> Iterator[Registration]:
    yield from _component("ExistingCluster", "cluster")
    yield _resource("kubernetes", "pulumi:providers:kubernetes", "cluster-object")
    yield from _component("Namespace", "models", "kubernetes")
    yield from _component("Namespace", "apps", "kubernetes")
    yield from _component("ModelServer", "chat", "models-object", "cluster-object", "kubernetes")
    yield _resource("identity", "PodIdentity", parent="ModelServer/chat")
    yield _resource("role", "aws:iam/role:Role", parent="identity")
    yield _resource("alone", "kubernetes:core/v1:Secret", "chat-object")


def test_components_of_a_class_are_one_box_with_their_parts_inside() -> None:
    drawn = graph("s", list(_chain()))
    assert {(box.key, box.concern, box.names, box.resources) for box in drawn.boxes} == {
        ("ExistingCluster", "cluster", ("ExistingCluster/cluster",), 1),
        ("Namespace", "security", ("Namespace/apps", "Namespace/models"), 2),
        ("ModelServer", "serving", ("ModelServer/chat",), 3),
    }


def test_arrows_come_by_way_of_providers_and_leave_out_what_follows_from_others() -> None:
    assert graph("s", list(_chain())).edges == (("ExistingCluster", "Namespace"), ("Namespace", "ModelServer"))


def test_components_that_wait_for_each_other_by_way_of_another_class_are_boxes_of_their_own() -> None:
    drawn = graph(
        "s",
        [
            *_component("Namespace", "controllers"),
            *_component("AwsLoadBalancerController", "balancers", "controllers-object"),
            *_component("Namespace", "gateway", "balancers-object"),
            *_component("Namespace", "apps"),
        ],
    )
    assert drawn.edges == (("AwsLoadBalancerController", "Namespace 2"), ("Namespace", "AwsLoadBalancerController"))
    names = {box.key: box.names for box in drawn.boxes if box.kind == "Namespace"}
    assert names == {"Namespace": ("Namespace/apps", "Namespace/controllers"), "Namespace 2": ("Namespace/gateway",)}


def test_every_component_has_a_concern_and_a_meaning() -> None:
    assert set(classes()) == {component.__name__ for component in COMPONENTS}
    drawn = graph("s", [each for name in classes() for each in _component(name, name)])
    assert [box.key for box in drawn.boxes if not 2 <= len(box.meaning.split()) <= 30] == []


def test_names_of_stacks_and_resources_cannot_break_the_drawing() -> None:
    names = ['"]; x -> y [label="', "<b>", "&", "a", "z"]
    text = to_dot(graph('s"', [each for name in names for each in _component("ModelServer", name)]))
    assert _nodes(to_svg(text)).keys() == {"ModelServer"}


def _nodes(svg: str) -> dict[str, list[str]]:
    """Lines of text of each box, by its key."""
    groups = ElementTree.fromstring(svg).iterfind(".//svg:g[@class='node']", _SVG)  # noqa: S314 - Graphviz wrote it
    return {_title(group): [str(text.text).strip() for text in group.iterfind("svg:text", _SVG)] for group in groups}


def _arrows(svg: str) -> set[str]:
    groups = ElementTree.fromstring(svg).iterfind(".//svg:g[@class='edge']", _SVG)  # noqa: S314
    return {_title(group) for group in groups}


def _title(group: ElementTree.Element) -> str:
    return str(group.findtext("svg:title", namespaces=_SVG))


@pytest.mark.parametrize("stack", ["prod", "onprem"])
def test_the_pictures_of_the_documentation_are_those_of_the_stacks(stack: str, root: Path) -> None:
    shown = (root / f"docs/images/stack-{stack}.svg").read_text()
    today: Graph = graph(stack, recorded(stack))
    # Fonts decide where things lie, and every machine has others; what is drawn is the same.
    assert _arrows(shown) == {f"{before}->{after}" for before, after in today.edges}
    drawn = _nodes(to_svg(to_dot(today)))
    assert _nodes(shown) == drawn, f"python -m sandbox graph {stack} --to docs/images/stack-{stack}.svg"
    assert len(drawn) <= 40, "more than anybody reads"
    assert f"images/stack-{stack}.svg" in (root / "docs/architecture.md").read_text()
    assert re.search(r"<svg width", shown)
