"""A dashboard as an HTML page, with its panels where Grafana puts them."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from tests.pictures.frames import Line, columns, lines, overridden
from tests.pictures.source import Source
from tests.pictures.units import written

_COLUMN, _STEP, _GAP = 58, 38, 8
_PALETTE = ("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300")
_COLOURS = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "text": "#ccccdc", "blue": "#5794f2"}
_STYLE = """
body{margin:0;background:#111217;color:#ccccdc;font:12px Inter,Helvetica,Arial,sans-serif}
header{padding:12px 8px;font-size:18px}header span{font-size:12px;color:#9d9fa8;margin-left:12px}
main{position:relative}
section{position:absolute;background:#181b1f;border:1px solid #25272d;box-sizing:border-box;overflow:hidden}
section h3{font-size:13px;font-weight:500;margin:6px 8px 0;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.row{background:none;border:0;font-size:15px;padding:4px}.number{font-size:28px;font-weight:500;text-align:center;padding-top:12px}
.empty{text-align:center;color:#9d9fa8;padding:20px 6px}table{border-collapse:collapse;width:calc(100% - 16px);margin:4px 8px}
td,th{padding:3px 6px;text-align:left;border-bottom:1px solid #25272d;white-space:nowrap}th{color:#6e9fff;font-weight:500}
td.n,th.n{text-align:right}.legend{position:absolute;bottom:2px;left:0;right:0;max-height:35%;overflow:hidden}
.legend table{font-size:11px}.legend td{border:0;padding:0 6px}i{display:inline-block;width:12px;height:4px;margin-right:6px}
"""


def page(dashboard: Mapping[str, Any], source: Source) -> str:
    """The whole page."""
    source.choose(dashboard)
    chosen = " · ".join(f"{name}: {'All' if value == '.*' else value}" for name, value in source.chosen.items())
    panels = [_panel(panel, source) for panel in dashboard["panels"]]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]) * _STEP
    return (
        f'<!doctype html><meta charset="utf-8"><title>{escape(dashboard["title"])}</title><style>{_STYLE}</style>'
        f"<header>{escape(dashboard['title'])}<span>{escape(chosen)}</span></header>"
        f'<main style="height:{height}px;width:{24 * _COLUMN}px">{"".join(panels)}</main>'
    )


def _panel(panel: Mapping[str, Any], source: Source) -> str:
    place = panel["gridPos"]
    width, height = place["w"] * _COLUMN - _GAP, place["h"] * _STEP - _GAP
    style = f"left:{place['x'] * _COLUMN + _GAP}px;top:{place['y'] * _STEP}px;width:{width}px;height:{height}px"
    if panel["type"] == "row":
        return f'<section class="row" style="{style}">⌄ {escape(panel["title"])}</section>'
    body = _DRAWN[panel["type"]](panel, source, width, height - 28)
    body = body or f'<div class="empty">{escape(panel["fieldConfig"]["defaults"]["noValue"])}</div>'
    return f'<section style="{style}" title="{escape(panel["description"])}"><h3>{escape(panel["title"])}</h3>{body}</section>'


def _number(panel: Mapping[str, Any], source: Source, width: int, height: int) -> str:
    found = lines(panel, source)
    if not found:
        return ""
    looks = panel["fieldConfig"]["defaults"]
    values = [line.samples[-1][1] for line in found]
    text = " ".join(
        f'<span style="color:{_colour(value, looks)}">{escape(written(value, looks["unit"], looks.get("decimals")))}</span>'
        for value in values
    )
    return f'<div class="number">{text}</div>'


def _colour(value: float, looks: Mapping[str, Any]) -> str:
    colour = "text"
    for step in looks.get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return _COLOURS[colour]


def _table(panel: Mapping[str, Any], source: Source, width: int, height: int) -> str:
    table = columns(panel, source)
    if not table.rows:
        return ""
    numbers = {title for title in table.titles for row in table.rows if isinstance(row.get(title), float)}
    head = "".join(f"<th{' class=n' if title in numbers else ''}>{escape(title)}</th>" for title in table.titles)
    body = ""
    for row in table.rows:
        body += "<tr>"
        for title in table.titles:
            cell, looks = row.get(title), overridden(panel, title)
            if isinstance(cell, float):
                coloured = looks.get("custom.cellOptions", {}).get("type") == "color-text"
                style = f' style="color:{_colour(cell, looks)}"' if coloured else ""
                body += f"<td class=n{style}>{escape(written(cell, looks['unit'], looks.get('decimals')))}</td>"
            else:
                css = " class=n" if title in numbers else ""
                body += f"<td{css}>{escape(cell or looks['noValue'])}</td>"
        body += "</tr>"
    return f"<table><tr>{head}</tr>{body}</table>"


def _graph(panel: Mapping[str, Any], source: Source, width: int, height: int) -> str:
    found = [line for line in lines(panel, source) if line.samples]
    if not found:
        return ""
    looks = [overridden(panel, line.name) for line in found]
    colours = [_line_colour(look, index) for index, look in enumerate(looks)]
    stacked = [look.get("custom.stacking", {}).get("mode") == "normal" for look in looks]
    legend = min(0.35 * height, 16 * len(found) + 18)
    drawn, left = height - legend - 22, 64
    tops = _tops(found, stacked)
    most = max((y for line in tops for _, y, _ in line), default=1) or 1
    top, tick = _scale(panel["fieldConfig"]["defaults"].get("max") or most)
    unit = panel["fieldConfig"]["defaults"]["unit"]

    def at(x: float, y: float) -> str:
        across = (x - source.start) / (source.end - source.start)
        return f"{left + across * (width - left - 12):.1f},{drawn - y / top * (drawn - 12):.1f}"

    shapes = _axes(source, unit, (top, tick), at, left, width, drawn)
    for line, look, colour in sorted(zip(tops, looks, colours, strict=True), key=lambda each: "custom.lineStyle" in each[1]):
        for part in _unbroken(line, source.step):
            ahead = " ".join(at(x, y) for x, y, _ in part)
            if look.get("custom.fillOpacity"):
                back = " ".join(at(x, low) for x, _, low in reversed(part))
                shapes += f'<polygon points="{ahead} {back}" fill="{colour}" fill-opacity=".35"/>'
            dash = ' stroke-dasharray="8 6"' if "custom.lineStyle" in look else ""
            shapes += f'<polyline points="{ahead}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>'
    return f'<svg width="{width}" height="{height - legend:.0f}">{shapes}</svg>{_legend(found, colours, unit)}'


def _line_colour(look: Mapping[str, Any], index: int) -> str:
    fixed = look.get("color", {})
    return _COLOURS[fixed["fixedColor"]] if fixed.get("mode") == "fixed" else _PALETTE[index % len(_PALETTE)]


def _tops(found: Sequence[Line], stacked: Sequence[bool]) -> list[list[tuple[float, float, float]]]:
    """For each line its points: time, value and where its area begins."""
    below: dict[float, float] = {}
    tops = []
    for line, on_top in zip(found, stacked, strict=True):
        points = []
        for x, y in line.samples:
            if math.isfinite(y):
                low = below.get(x, 0.0) if on_top else 0.0
                points.append((x, low + y, low))
                if on_top:
                    below[x] = low + y
        tops.append(points)
    return tops


def _unbroken(points: Sequence[tuple[float, float, float]], step: float) -> list[list[tuple[float, float, float]]]:
    parts: list[list[tuple[float, float, float]]] = []
    for point in points:
        if not parts or point[0] - parts[-1][-1][0] > 1.5 * step:
            parts.append([])
        parts[-1].append(point)
    return parts


def _scale(most: float) -> tuple[float, float]:
    """End of an axis that has room for a value, and the distance of its lines."""
    size: float = 10.0 ** math.floor(math.log10(most / 4))
    tick = next(size * step for step in (1, 2, 2.5, 5, 10) if size * step * 4 >= most * 0.999)
    return math.ceil(most / tick - 0.001) * tick, tick


def _axes(source: Source, unit: str, scale: tuple[float, float], at: Any, left: int, width: int, drawn: float) -> str:
    shapes = ""
    for index in range(round(scale[0] / scale[1]) + 1):
        y = float(at(source.start, index * scale[1]).split(",")[1])
        text = escape(written(index * scale[1], unit))
        shapes += f'<line x1="{left}" x2="{width - 12}" y1="{y}" y2="{y}" stroke="#2a2c33"/>'
        shapes += f'<text x="{left - 6}" y="{y + 4}" fill="#9d9fa8" font-size="11" text-anchor="end">{text}</text>'
    for index in range(1, 6):
        when = source.start + (source.end - source.start) * index / 6
        x = at(when, 0).split(",")[0]
        text = f"{datetime.fromtimestamp(when, UTC):%H:%M}"
        shapes += f'<text x="{x}" y="{drawn + 16:.0f}" fill="#9d9fa8" font-size="11" text-anchor="middle">{text}</text>'
    return shapes


def _legend(found: Sequence[Line], colours: Sequence[str], unit: str) -> str:
    rows = "".join(
        f'<tr><td><i style="background:{colour}"></i>{escape(line.name)}</td>'
        f"<td class=n>{escape(written(line.samples[-1][1], unit))}</td>"
        f"<td class=n>{escape(written(max(value for _, value in line.samples), unit))}</td></tr>"
        for line, colour in zip(found, colours, strict=True)
    )
    return f'<div class="legend"><table><tr><td>Name</td><td class=n>Last *</td><td class=n>Max</td></tr>{rows}</table></div>'


def _heat(panel: Mapping[str, Any], source: Source, width: int, height: int) -> str:
    found = sorted(lines(panel, source), key=lambda line: float(line.labels["le"]))
    if not found:
        return ""
    unit, left = panel["options"]["yAxis"]["unit"], 64
    each = (height - 30) / len(found)
    before: dict[float, float] = {}
    cells: list[tuple[float, int, float]] = []
    for index, line in enumerate(found):
        for when, value in line.samples:
            cells.append((when, index, value - before.get(when, 0.0)))
            before[when] = value
    most = max((value for _, _, value in cells), default=0) or 1
    wide = max(1.0, (width - left - 12) * source.step / (source.end - source.start))
    shapes = ""
    for when, index, value in cells:
        if value > 0:
            x = left + (when - source.start) / (source.end - source.start) * (width - left - 12)
            size = f'width="{wide:.1f}" height="{max(each - 1, 1):.1f}"'
            y = (len(found) - 1 - index) * each + 4
            shapes += f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="#ff9830" fill-opacity="{(value / most) ** 0.5:.2f}"/>'
    for index in range(0, len(found), max(1, len(found) // 8)):
        text = escape(written(float(found[index].labels["le"]), unit))
        y = (len(found) - 1 - index) * each + 12
        shapes += f'<text x="{left - 6}" y="{y:.0f}" fill="#9d9fa8" font-size="11" text-anchor="end">{text}</text>'
    return f'<svg width="{width}" height="{height}">{shapes}</svg>'


_DRAWN = {"stat": _number, "table": _table, "timeseries": _graph, "heatmap": _heat}
