"""What Grafana makes of the answers to a panel's queries: lines, or a table."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.pictures.source import Series, Source

Cell = str | float | None


@dataclass(frozen=True)
class Line:
    """One named series."""

    name: str
    labels: Mapping[str, str]
    samples: list[tuple[float, float]]


@dataclass
class Columns:
    """A table by columns."""

    titles: list[str]
    rows: list[dict[str, Cell]]


def lines(panel: Mapping[str, Any], source: Source) -> list[Line]:
    """The series of all queries of a panel, named by their legends."""
    found = []
    for target in panel["targets"]:
        ask = source.instant if target.get("instant") else source.range
        found += [Line(_named(target, series), series.labels, series.samples) for series in ask(target["expr"])]
    return found


def _named(target: Mapping[str, Any], series: Series) -> str:
    legend = target.get("legendFormat")
    if legend:
        return re.sub(r"\{\{(\w+)\}\}", lambda label: series.labels.get(label[1], ""), legend)
    return ", ".join(f'{name}="{value}"' for name, value in sorted(series.labels.items()) if name != "__name__")


def columns(panel: Mapping[str, Any], source: Source) -> Columns:
    """The table of a panel, after the steps that the panel asks for."""
    targets = panel["targets"]
    table = Columns(["Time"], [])
    merged: dict[tuple[tuple[str, str], ...], dict[str, Cell]] = {}
    for target in targets:
        value = f"Value #{target['refId']}" if len(targets) > 1 else "Value"
        for series in source.instant(target["expr"]):
            row = merged.setdefault(tuple(sorted(series.labels.items())), {"Time": source.end, **series.labels})
            row[value] = series.samples[0][1]
            table.titles += [title for title in [*series.labels, value] if title not in table.titles]
    table.rows = list(merged.values())
    for step in panel["transformations"]:
        _STEPS[step["id"]](table, step["options"])
    for each in panel["options"].get("sortBy", []):
        by = each["displayName"]
        table.rows.sort(key=lambda row: _order(row.get(by)), reverse=each.get("desc", False))
    return table


def _order(cell: Cell) -> tuple[float, str]:
    return (float("-inf"), "") if cell is None else (cell, "") if isinstance(cell, float) else (0.0, str(cell))


def _merge(table: Columns, options: Mapping[str, Any]) -> None:
    """Rows with the same labels are one already."""


def _organize(table: Columns, options: Mapping[str, Any]) -> None:
    order, names = options["indexByName"], options["renameByName"]
    kept = [title for title in table.titles if not options["excludeByName"].get(title)]
    kept.sort(key=lambda title: order.get(title, len(order)))
    table.titles = [names.get(title, title) for title in kept]
    table.rows = [{names.get(title, title): row.get(title) for title in kept} for row in table.rows]


def _converted(table: Columns, options: Mapping[str, Any]) -> None:
    for conversion in options["conversions"]:
        assert conversion["destinationType"] == "number"
        name = conversion["targetField"]
        for row in table.rows:
            row[name] = None if row.get(name) is None else float(row[name] or 0)


def _calculated(table: Columns, options: Mapping[str, Any]) -> None:
    assert options["mode"] == "binary"
    left, right = (options["binary"][side]["matcher"]["options"] for side in ("left", "right"))
    table.titles.append(options["alias"])
    for row in table.rows:
        one, other = row.get(left), row.get(right)
        if isinstance(one, float) and isinstance(other, float):
            row[options["alias"]] = one * other if options["binary"]["operator"] == "*" else one / other


_STEPS = {"merge": _merge, "organize": _organize, "convertFieldType": _converted, "calculateField": _calculated}


def overridden(panel: Mapping[str, Any], name: str) -> dict[str, Any]:
    """How a series or column looks: the panel's own settings, and those for this name."""
    config = panel["fieldConfig"]
    looks = {**config["defaults"], **{f"custom.{key}": value for key, value in config["defaults"].get("custom", {}).items()}}
    for override in config["overrides"]:
        matcher = override["matcher"]
        if matcher["options"] == name or (matcher["id"] == "byRegexp" and re.fullmatch(matcher["options"], name)):
            looks |= {each["id"]: each["value"] for each in override["properties"]}
    return looks
