"""Dashboards: what they ask for is there, Grafana understands them, and with a stack's data each panel shows something."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from hypothesis import given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from components.accelerators.profiles import Vendor
from components.monitoring.dashboards import dashboards
from components.monitoring.exporters.recording import accelerator_groups
from components.monitoring.facts import RouteFacts, StackFacts, Track
from components.monitoring.metrics import known_metrics
from components.monitoring.recording import recording_groups
from components.monitoring.rules import recorded
from components.monitoring.signals import Engine
from report import __main__ as report
from tests.pictures import history
from tests.pictures.example import BEGIN, END, SHOWN, pages
from tests.pictures.frames import columns, lines
from tests.pictures.page import page
from tests.pictures.source import Source
from tests.promql import metric_names
from tests.simulators.stack import FACTS

LIMIT = 200 * 1024
"""Bytes of a dashboard; a ConfigMap holds 1 MiB."""
OLD = replace(FACTS, models=tuple(replace(model, engine_version="0.9.0") for model in FACTS.models))
BARE = StackFacts(
    stack="bare",
    pools=[replace(FACTS.pools[0], usd_per_node_hour=None, vendor="tpu", resource="google.com/tpu")],
    models=[replace(FACTS.models[-1], usd_per_replica_hour=None, max_replicas=1)],
)


_OF_SHARES = re.compile(r"\b(sum|avg)(_over_time| by \([^)]*\))? ?\(llm:\w+:(p\d\d_5m|ratio5m|error_ratio\d+[mhd])")


def boards(facts: StackFacts) -> dict[str, Any]:
    return {uid: json.loads(text) for uid, text in dashboards(facts).items()}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (panel for panel in board["panels"] if panel["type"] != "row")


def queries(board: dict[str, Any]) -> list[str]:
    """Every expression, with times in place of Grafana's variables of time."""
    found = [target["expr"] for panel in panels(board) for target in panel["targets"]]
    found += [annotation["target"]["expr"] for annotation in board["annotations"]["list"]]
    chosen = [variable["query"]["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    found += [re.fullmatch(r"label_values\((.+), \w+\)", query)[1] for query in chosen]  # type: ignore[index]
    return [expr.replace("$__range", "6h") for expr in found]


@st.composite
def stacks(draw: st.DrawFn) -> StackFacts:
    pools = [
        replace(
            FACTS.pools[0],
            name=f"pool-{index}",
            vendor=draw(st.sampled_from(Vendor)).value,
            max_nodes=draw(st.integers(1, 500)),
            usd_per_node_hour=draw(st.none() | st.floats(0.1, 100)),
        )
        for index in range(draw(st.integers(0, 3)))
    ]
    engines = [(Engine.VLLM, version) for version in ("0.9.0", "0.12.0", "0.20.0", "0.33.0")] + [(Engine.TGI, "3.3.7")]
    models = [
        replace(
            FACTS.models[0],
            name=f"model.{index}",
            namespace=(namespace := draw(st.sampled_from(["models", "team-a"]))),
            tenant="a" if namespace == "team-a" else None,
            engine=(ran := draw(st.sampled_from(engines)))[0],
            engine_version=ran[1],
            pool=draw(st.sampled_from([pool.name for pool in pools])),
            generates=draw(st.booleans()),
            max_replicas=draw(st.integers(2, 40)),
            adapters=draw(st.sampled_from([(), ("sql",)])),
            usd_per_replica_hour=draw(st.none() | st.floats(0.1, 100)),
        )
        for index in range(draw(st.integers(0, 4 if pools else 0)))
    ]
    by_space = {space: [model.name for model in models if model.namespace == space] for space in ("models", "team-a")}
    routes = [
        RouteFacts(name=f"route-{index}", namespace=space, versions={name: draw(st.sampled_from(Track)) for name in names})
        for index in range(draw(st.integers(0, 3)))
        if (names := by_space[space := draw(st.sampled_from(["models", "team-a"]))])
    ]
    return StackFacts(stack="drawn", models=models, pools=pools, routes=routes)


@settings(max_examples=40)
@given(stacks())
def test_every_dashboard_of_every_stack_keeps_the_rules(facts: StackFacts) -> None:
    there = known_metrics() | recorded([*recording_groups(facts), *accelerator_groups(facts)])
    texts = dashboards(facts)
    assert texts == dashboards(facts), "the same facts give the same text"
    for uid, text in texts.items():
        board = json.loads(text)
        assert len(text.encode()) < LIMIT
        assert board["uid"] == uid
        for expr in queries(board):
            asked = metric_names(expr)
            if not expr.startswith("vector"):
                assert asked, expr
            assert asked <= there, f"{uid}: nobody says {sorted(asked - there)}"
            assert not _OF_SHARES.search(expr), f"{uid}: a sum or a mean of quantiles or shares: {expr}"
        _placed_well(board)
        _told_well(board)


def _placed_well(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    places = [panel["gridPos"] for panel in board["panels"]]
    for place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, f"two panels at {one} and {other}"
    for y in {place["y"] for place in places}:
        assert sum(place["w"] for place in places if place["y"] == y) == 24


def _told_well(board: dict[str, Any]) -> None:
    titles = [(panel["type"], panel["title"]) for panel in panels(board)]
    assert len(titles) == len(set(titles))
    for panel in panels(board):
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["noValue"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all("datasource" not in target for target in panel["targets"])
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs))
    sources = re.findall(r'"uid": "([^"]+)"', json.dumps(board))
    assert set(sources) == {"${datasource}", board["uid"]}


def test_grafanas_own_types_read_what_they_wrote() -> None:
    register_default_plugins()
    for text in dashboards(FACTS).values():
        again = json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(text))))
        for each in (*again["links"], *again["annotations"]["list"]):
            assert each.pop("placement") == "inControlsMenu", "they have no type for those that are on top"
        assert again == json.loads(text)


@pytest.mark.parametrize("facts", [FACTS, OLD, BARE], ids=["example", "old-engine", "bare"])
def test_outline(facts: StackFacts, snapshot: SnapshotAssertion) -> None:
    """What is where, in which unit, and what it asks."""
    outline = []
    for uid, board in boards(facts).items():
        outline.append(f"{uid}: {board['title']}")
        for panel in board["panels"]:
            if panel["type"] == "row":
                outline.append(f"  {panel['title']}")
                continue
            place = panel["gridPos"]
            unit = panel["fieldConfig"]["defaults"]["unit"]
            outline.append(f"    {panel['title']} [{panel['type']} {place['w']}x{place['h']} {unit}]")
            outline += [f"      {target['expr']}" for target in panel["targets"]]
    assert "\n".join(outline) == snapshot


def test_what_an_engine_does_not_say_has_no_panel() -> None:
    gone = {
        panel["title"] for panel in panels(boards(FACTS)["llm-model"]) if panel not in list(panels(boards(OLD)["llm-model"]))
    } - {panel["title"] for panel in panels(boards(OLD)["llm-model"])}
    assert gone == {"Rejected requests", "Waiting by reason"}


def test_a_stack_without_routes_compares_no_versions() -> None:
    rows = {panel["title"] for board in boards(replace(FACTS, routes=())).values() for panel in board["panels"]}
    assert not rows & {"Routes", "Versions of routes", "Versions of its routes", "Failed by version"}


def test_a_stack_without_prices_and_text_has_neither_dollars_nor_first_tokens() -> None:
    text = json.dumps(boards(BARE))
    assert "usd" not in text
    assert "time_to_first_token" not in text
    assert boards(BARE).keys() == {"llm-fleet", "llm-model", "llm-cost", "llm-capacity"}, "nobody measures a TPU here"
    assert not dashboards(StackFacts(stack="empty", models=[], pools=[]))


def test_links_lead_to_dashboards_with_these_variables() -> None:
    every = boards(FACTS)
    for board in every.values():
        for uid, query in re.findall(r"/d/([\w-]+)\?([^\"]*)", json.dumps(board)):
            named = set(re.findall(r"var-(\w+)=", query))
            assert named == {"namespace", "model"}
            assert named <= {variable["name"] for variable in every[uid]["templating"]["list"]}
        for panel in panels(board):
            for override in panel["fieldConfig"]["overrides"]:
                for link in (each for each in override["properties"] if each["id"] == "links"):
                    fields = set(re.findall(r"__data\.fields\.(\w+)", json.dumps(link)))
                    assert fields <= set(panel["transformations"][1]["options"]["renameByName"].values())


def test_the_page_on_dashboards_names_every_row(root: Path) -> None:
    page = (root / "docs/dashboards.md").read_text()
    for board in boards(FACTS).values():
        section = page.partition(f"\n## {board['title']}\n")[2].partition("\n## ")[0]
        assert section, board["title"]
        for row in (panel["title"] for panel in board["panels"] if panel["type"] == "row"):
            assert f"| {row} |" in section, f"{board['title']}: {row}"


def test_every_panel_shows_the_data_of_a_stack(tmp_path: Path) -> None:
    """In a real Prometheus, with what simulated engines and exporters say and with what the stack's rules make of it."""
    groups = [*recording_groups(FACTS), *accelerator_groups(FACTS)]
    with history.recorded(tmp_path, pages(), groups, BEGIN, END) as url:
        for uid, board in boards(FACTS).items():
            source = Source(url, SHOWN, END)
            page(board, source)
            for panel in panels(board):
                for target in panel["targets"]:
                    one = {**panel, "targets": [target]}
                    found = lines(one, source)
                    assert found, f"{uid}: {panel['title']}: {source.filled(target['expr'])}"
                    names = [line.name for line in found]
                    assert panel["type"] == "table" or len(names) == len(set(names)), f"{uid}: {panel['title']}: {names}"
                if panel["type"] == "stat":
                    assert len(lines(panel, source)) == 1, f"{uid}: {panel['title']}"
                if panel["type"] == "table":
                    _read_well(uid, panel, columns(panel, source).titles)


def _read_well(uid: str, panel: dict[str, Any], titles: list[str]) -> None:
    """All columns have titles of ours: each query gives the labels that the table is by, and no others."""
    named = set(panel["transformations"][1]["options"]["renameByName"].values())
    made = {step["options"]["alias"] for step in panel["transformations"] if step["id"] == "calculateField"}
    assert set(titles) <= named | made, f"{uid}: {panel['title']}"


def test_the_dashboards_of_a_stack_are_written_as_files(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "report", "dashboards", "local", "--to", str(tmp_path / "new")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = {file.stem: json.loads(file.read_text())["uid"] for file in (tmp_path / "new").iterdir()}
    assert written == {uid: uid for uid in dashboards(FACTS)}


def test_a_stack_without_monitoring_has_no_dashboards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "recorded", lambda _: [])
    monkeypatch.setattr(sys, "argv", ["report", "dashboards", "local", "--to", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        report.main()
    assert ended.value.code == 2
    said = "error: stacks/Pulumi.local.yaml: monitoring is not set, so there is none; use e.g. {kind: standalone}\n"
    assert capsys.readouterr().err == said
