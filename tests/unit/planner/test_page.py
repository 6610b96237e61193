"""The page of a search: complete, to scale, escaped, and whole without a network."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from planner.capacity import Result, Workload, offers, search
from planner.catalog.models import model as catalog_model
from planner.explain import Row
from planner.model import Model, load
from planner.options import Options
from planner.page import FULL_PLANS, page

DEEPSEEK, SMALL = "deepseek-ai/DeepSeek-R1", "Qwen/Qwen2.5-7B-Instruct-AWQ"
VOID = {"meta", "br", "hr", "img", "link", "input"}


@dataclass
class Node:
    """An element with its attributes and content."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list["Node | str"] = field(default_factory=list)

    def all(self, tag: str = "", css: str = "") -> Iterator["Node"]:
        for child in self.children:
            if isinstance(child, Node):
                if tag in ("", child.tag) and (not css or css in child.attributes.get("class", "").split()):
                    yield child
                yield from child.all(tag, css)

    def text(self) -> str:
        return " ".join(" ".join(c if isinstance(c, str) else c.text() for c in self.children).split())


class Tree(HTMLParser):
    """Parses a page into nodes; a tag that does not match is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.root = Node("")
        self.open = [self.root]
        self.feed(html)
        self.close()
        assert self.open == [self.root], f"not closed: {[node.tag for node in self.open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute of {tag} is there twice"
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def searched(name: str, concurrency: int, options: Options | None = None) -> tuple[Workload, Model, Result]:
    model = load(catalog_model(name).config, name=name)
    workload = Workload(concurrency=concurrency, options=options or Options())
    return workload, model, search(model, workload, offers())


@pytest.fixture(scope="module", params=[(DEEPSEEK, 32), (SMALL, 64)], ids=["large", "small"])
def case(request: pytest.FixtureRequest) -> tuple[str, Result, Node]:
    name, concurrency = request.param
    workload, model, result = searched(name, concurrency)
    html = page(name, workload, model, result)
    assert html == page(name, workload, model, result)
    return html, result, Tree(html).root


def percent(text: str) -> Decimal:
    assert text.endswith("%")
    return Decimal(text[:-1])


def test_nothing_is_loaded_from_elsewhere(case: tuple[str, Result, Node]) -> None:
    html, _, root = case
    for node in root.all():
        assert not node.attributes.keys() & {"src", "href", "srcset", "action", "data", "poster"}, node
        assert node.tag not in {"script", "link", "iframe", "object", "base"}
    assert "@import" not in html
    assert set(re.findall(r"url\(([^)]*)\)", html)) == {"#hatch"}
    identifiers = [node.attributes["id"] for node in root.all() if "id" in node.attributes]
    assert len(identifiers) == len(set(identifiers))
    labelled = [node.attributes["aria-labelledby"] for node in root.all() if "aria-labelledby" in node.attributes]
    assert set(labelled) <= set(identifiers)


def test_every_plan_is_there_in_its_rank(case: tuple[str, Result, Node]) -> None:
    _, result, root = case
    shown = {node.attributes["id"]: node for node in root.all() if re.fullmatch(r"plan-\d+", node.attributes.get("id", ""))}
    assert list(shown) == [f"plan-{rank}" for rank in range(1, len(result.plans) + 1)]
    for plan, node in zip(result.plans, shown.values(), strict=True):
        text = node.text()
        assert plan.offer.name in text
        assert f"{plan.options.tensor_parallel_size} x {plan.options.pipeline_parallel_size}" in text
        assert f"{plan.fit.kv_cache_tokens:,}" in text
        if plan.usd_per_hour is None:
            assert "price not known" in text
        else:
            assert f"{plan.usd_per_hour:,.2f}" in text
            assert f"{plan.usd_per_hour * 730:,.0f}" in text
        at_once = min(plan.fit.max_concurrency, plan.fit.max_num_seqs) * plan.replicas
        assert f"{at_once:,.1f}" in text
    assert {node.tag for node in list(shown.values())[:FULL_PLANS]} == {"li"}
    assert {node.tag for node in list(shown.values())[FULL_PLANS:]} <= {"tr"}
    assert all(warning in root.text() for plan in result.plans for warning in plan.warnings)
    assert all(plan.offer.device.name in node.text() for plan, node in zip(result.plans, shown.values(), strict=True))


def test_every_rejection_is_there_with_its_reason(case: tuple[str, Result, Node]) -> None:
    _, result, root = case
    sections = [node for node in root.all("section") if node.attributes["aria-labelledby"] == "rejected"]
    assert len(sections) == (1 if result.rejected else 0)
    rows = [[cell.text() for cell in row.all("td")] for section in sections for row in section.all("tr")]
    told = {(reason, name) for reason, names in filter(None, rows) for name in names.split(", ")}
    assert told == {(found.reason, found.offer.name) for found in result.rejected}


def test_bars_are_to_scale_and_have_words(case: tuple[str, Result, Node]) -> None:
    _, result, root = case
    bars = list(root.all("svg", "bar"))
    assert len(bars) == len(result.plans)
    for plan, bar in zip(result.plans, bars, strict=True):
        terms = plan.fit.terms
        parts = list(bar.all("rect"))
        assert [part.attributes["class"] for part in parts][-1] == "outside"
        assert sum(percent(part.attributes["width"]) for part in parts) == 100
        end = Decimal(0)
        for part in parts:
            assert percent(part.attributes["x"]) == end
            end += percent(part.attributes["width"])
        weights = float(percent(parts[0].attributes["width"]))
        assert weights == pytest.approx(terms.weights_gib / terms.total_gib * 100, abs=0.001)
        line = next(bar.all("line"))
        assert percent(line.attributes["x1"]) == pytest.approx(percent(parts[-1].attributes["x"]), abs=Decimal("0.002"))
        assert bar.attributes["role"] == "img"
        for size in (terms.total_gib, terms.budget_gib, terms.weights_gib, terms.kv_cache_gib):
            assert f"{size:.2f}" in bar.attributes["aria-label"]


def test_cuda_graphs_outside_the_budget_are_drawn_behind_its_end() -> None:
    workload, model, result = searched(SMALL, 8, Options(vllm_version="0.19.0"))
    bar = next(Tree(page(SMALL, workload, model, result)).root.all("svg", "bar"))
    assert [part.attributes["class"] for part in bar.all("rect")][-3:] == ["kv-cache", "cuda-graphs", "outside"]
    graphs = list(bar.all("rect"))[-2]
    assert percent(graphs.attributes["x"]) == pytest.approx(percent(next(bar.all("line")).attributes["x1"]), abs=Decimal("0.002"))


def test_what_users_write_is_escaped() -> None:
    hostile = "</title><script>alert('x')</script><img src=http://example.com/x onerror=alert(1)>&\"' {{ 7 * 7 }}"
    workload, model, result = searched(SMALL, 8)
    rejected = tuple(
        replace(found, reason=hostile, offer=replace(found.offer, name=hostile, device=replace(found.offer.device, name=hostile)))
        for found in result.rejected[:1]
    )
    offer = replace(result.plans[0].offer, name=hostile, device=replace(result.plans[0].offer.device, name=hostile))
    plans = (replace(result.plans[0], offer=offer, warnings=(hostile,)),)
    rows = {0: [Row(hostile, hostile, hostile, hostile)]}
    root = Tree(page(hostile, workload, model, Result(plans=plans, rejected=rejected), rows)).root
    assert not list(root.all("script"))
    assert not list(root.all("img"))
    assert next(root.all("h1")).text() == hostile
    assert next(root.all("h3")).text() == hostile
    assert root.text().count(hostile) >= 10
    assert next(root.all("svg", "bar")).attributes["aria-label"].startswith(hostile)


def test_plans_are_explained() -> None:
    workload, model, result = searched(DEEPSEEK, 32)
    cards = list(Tree(page("x", workload, model, result)).root.all("li", "card"))
    assert all(f"{plan.fit.request_gib:.3f} GiB" in card.text() for plan, card in zip(result.plans, cards, strict=True))
    given = page("x", workload, model, result, {1: [Row("own number", "42", "6 x 7", "a book")]})
    cards = list(Tree(given).root.all("li", "card"))
    assert ["own number" in card.text() for card in cards] == [index == 1 for index in range(len(cards))]
    assert [bool(list(card.all("details"))) for card in cards] == [index == 1 for index in range(len(cards))]


def test_without_a_plan_the_reasons_are_open() -> None:
    model = load(catalog_model(DEEPSEEK).config, name=DEEPSEEK)
    workload = Workload(concurrency=4)
    result = search(model, workload, offers(["L4"]))
    assert not result.plans
    root = Tree(page(DEEPSEEK, workload, model, result)).root
    assert "Nothing on offer can serve this" in root.text()
    assert "open" in next(root.all("details")).attributes
    assert not list(root.all("svg", "bar"))
    empty = Tree(page(DEEPSEEK, workload, model, Result(plans=(), rejected=()))).root
    assert not list(empty.all("details"))
