"""Release values against a chart's defaults and schema."""

from pathlib import Path
from typing import Any

import pytest

from sandbox.providers.kubernetes.helm.charts import CHARTS_ENV, Chart, find, short_name
from sandbox.providers.kubernetes.helm.values import merge, problems
from sandbox.providers.properties import UNKNOWN

DEFAULTS: dict[str, Any] = {
    "replicas": 1,
    "enabled": True,
    "image": {"repository": "keda", "tag": ""},
    "resources": {"limits": {"cpu": "1"}},
    "extra": {},
    "priorityClassName": None,
    "tolerations": [],
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "level": "info",
}
CHART = Chart("keda", "2.20.2", DEFAULTS, subcharts=frozenset({"grafana"}))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"replicas": 2, "image": {"tag": "x"}}, []),
        ({"replica": 2}, [("replica", "the chart has no such value; did you mean replicas?")]),
        ({"image": {"tga": "x"}}, [("image.tga", "the chart has no such value; did you mean tag?")]),
        ({"replicas": "two"}, [("replicas", "must be a number (the default is 1), not a text")]),
        ({"replicas": "50%"}, []),
        ({"enabled": "yes"}, [("enabled", "must be true or false (the default is True), not a text")]),
        ({"enabled": "{{ .Values.x }}"}, []),
        ({"image": "keda:1"}, [("image", "must be a map, not a text")]),
        ({"tolerations": {}}, [("tolerations", "must be a list (the default is []), not a map")]),
        ({"level": True}, [("level", "must be a text (the default is 'info'), not true or false")]),
        ({"extra": {"anything": {"goes": 1}}}, []),
        ({"priorityClassName": {"odd": 1}}, []),
        ({"nodeSelector": {"gpu": "l4"}, "resources": {"limits": {"nvidia.com/gpu": 1}}}, []),
        ({"global": {"x": 1}, "grafana": {"adminUser": "a"}}, []),
        ({"replicas": UNKNOWN, "image": {"tag": UNKNOWN}}, []),
        ({"replicas": None}, []),
    ],
)
def test_values_are_held_against_the_defaults(values: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert problems(values, CHART) == expected


def test_without_a_near_name_the_known_ones_are_listed() -> None:
    [(where, reason)] = problems({"zzzzzz": 1}, Chart("c", "1", {"a": 1, "b": 2}))
    assert where == "zzzzzz"
    assert reason == "the chart has no such value; known are a, b"


def test_a_schema_adds_names_and_rules() -> None:
    schema = {
        "$defs": {"inner": {"type": "object", "properties": {"hidden": {"type": "integer"}}}},
        "type": "object",
        "properties": {"level": {"enum": ["info", "debug"]}, "image": {"$ref": "#/$defs/inner"}, "more": {"type": "string"}},
    }
    chart = Chart("c", "1", DEFAULTS, schema=schema)
    assert problems({"more": "x", "image": {"hidden": 3}}, chart) == []
    assert problems({"level": "loud"}, chart) == [("level", "'loud' is not one of ['info', 'debug']")]
    assert problems({"image": {"hidden": "x"}}, chart) == [("image.hidden", "'x' is not of type 'integer'")]


def test_what_a_schema_has_against_the_chart_s_own_defaults_is_not_the_user_s() -> None:
    schema = {"type": "object", "properties": {"replicas": {"type": "string"}, "level": {"type": "string"}}}
    assert problems({"level": "debug"}, Chart("c", "1", DEFAULTS, schema=schema)) == []


def test_merge_is_by_key_and_lists_are_replaced() -> None:
    assert merge({"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"c": [2]}}) == {"a": {"b": 1, "c": [2]}, "d": 2}


@pytest.mark.parametrize("chart", ["keda", "kedacore/keda", "oci://ghcr.io/charts/keda", "./charts/keda/"])
def test_short_name(chart: str) -> None:
    assert short_name(chart) == "keda"


@pytest.mark.parametrize(
    ("folder", "version"), [("keda-2.20.2", "2.20.2"), ("keda-v2.20.2", "2.20.2"), ("keda-2.20.2", "v2.20.2")]
)
def test_a_chart_is_found_with_or_without_the_v(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, version: str
) -> None:
    monkeypatch.setenv(CHARTS_ENV, str(tmp_path))
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "values.yaml").write_text("replicas: 1\n")
    (tmp_path / folder / "Chart.yaml").write_text("appVersion: 1.2\ndependencies: [{name: a, alias: b}, {name: c}]\n")
    chart = find("keda", version)
    assert chart is not None
    assert (chart.defaults, chart.app_version) == ({"replicas": 1}, "1.2")
    assert chart.subcharts == {"a", "b", "c"}


def test_an_unknown_chart_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHARTS_ENV, str(tmp_path))
    assert find("keda", "1") is None
    monkeypatch.delenv(CHARTS_ENV)
    assert find("keda", "1") is None
