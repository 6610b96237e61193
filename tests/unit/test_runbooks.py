"""Every alert has a runbook, and what a runbook tells somebody to type exists."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from components.monitoring.alerts import alerts
from components.monitoring.exporters.recording import accelerator_groups
from components.monitoring.metrics import known_metrics
from components.monitoring.recording import recording_groups
from components.monitoring.rules import recorded
from tests.conftest import ROOT
from tests.promql import metric_names, promtool
from tests.simulators.stack import FACTS

FOLDER: Final = ROOT / "docs/runbooks"
PAGES: Final = sorted(page for page in FOLDER.glob("*.md") if page.name != "README.md")
SECTIONS: Final = ("## Checks", "## Remedy", "## When it lies", "## Related")


def queries(page: Path) -> list[str]:
    return re.findall(r"^```promql\n(.+?)\n```$", page.read_text(), re.MULTILINE | re.DOTALL)


def settings_keys(page: Path) -> set[str]:
    """What stands as code and begins with a section of a stack file."""
    sections = "|".join(key.removeprefix("llm-platform:") for key in _schema()["properties"]["config"]["properties"])
    found = re.findall(rf"`((?:{sections})\.[\w.<>]+)(?::[^`]*)?`", page.read_text())
    return set(found)


def _schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((ROOT / "stacks/schema.json").read_text())
    return loaded


def test_alerts_and_runbooks_are_the_same() -> None:
    named = {page.stem for page in PAGES}
    assert named == set(alerts())
    index = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| .+ \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert {name for name, _ in index} == named
    assert all(name == target for name, target in index)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_runbook_says_what_to_do_and_when_not_to_believe_it(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n")
    assert "**What users feel.**" in text
    assert [section for section in SECTIONS if f"\n{section}\n" not in text] == []
    assert queries(page)


def test_every_query_parses(tmp_path: Path) -> None:
    rules = [
        {"record": f"runbook:{page.stem}:{number}", "expr": query} for page in PAGES for number, query in enumerate(queries(page))
    ]
    assert len(rules) > 60
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": rules}]}))
    promtool("check", "rules", file)


def test_queries_ask_for_series_that_exist() -> None:
    exist = known_metrics() | recorded([*recording_groups(FACTS), *accelerator_groups(FACTS)])
    wrong = {f"{page.stem}: {name}" for page in PAGES for query in queries(page) for name in metric_names(query) - exist}
    assert wrong == set()


def test_settings_that_runbooks_name_exist() -> None:
    schema = _schema()

    def steps(node: dict[str, Any], part: str) -> list[dict[str, Any]]:
        """What `part` leads to from any form that `node` may have."""
        if "$ref" in node:
            return steps(schema["$defs"][node["$ref"].rpartition("/")[2]], part)
        forms = [form for key in ("anyOf", "oneOf", "allOf") for form in node.get(key, ())]
        own = node.get("properties", {})
        found = [own[part]] if part in own else []
        if isinstance(node.get("additionalProperties"), dict) and part not in own:
            found.append(node["additionalProperties"])
        return found + [each for form in forms for each in steps(form, part)]

    def known(key: str) -> bool:
        first, *rest = key.split(".")
        nodes = [schema["properties"]["config"]["properties"][f"llm-platform:{first}"]]
        for part in rest:
            nodes = [each for node in nodes for each in steps(node, part)]
        return bool(nodes)

    named = {(page.stem, key) for page in (*PAGES, FOLDER / "README.md") for key in settings_keys(page)}
    assert len(named) > 80
    assert known("models.<name>.replicas")
    assert not known("models.<name>.replicaCount")
    assert {(page, key) for page, key in named if not known(key)} == set()
