"""Panels as these dashboards use them. Pure.

A panel shows the data source that the reader chose, says in its description what it answers, and has a sentence for when there
are no data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from string import ascii_uppercase
from typing import TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24
"""Columns of Grafana's grid."""

Has = Callable[[str], bool]
"""Whether a stack records all series that an expression reads."""
Built = timeseries.Panel | stat.Panel | table.Panel | heatmap.Panel
"""A panel as Grafana has it."""
_P = TypeVar("_P", timeseries.Panel, stat.Panel, table.Panel, heatmap.Panel)


class Unit(StrEnum):
    """Grafana's names of units."""

    COUNT = "short"
    SECONDS = "s"
    SHARE = "percentunit"
    """0 to 1, shown as 0 to 100 %."""
    REQUESTS_PER_SECOND = "reqps"
    PER_SECOND = "cps"
    TOKENS_PER_SECOND = "si:tok/s"
    TOKENS = "si:tok"
    BYTES = "bytes"
    CELSIUS = "celsius"
    WATTS = "watt"
    DOLLARS = "currencyUSD"
    TIMES = "suffix:x"


class Colour(StrEnum):
    """What a colour says; Grafana's own names, which fit its light and its dark theme."""

    NEUTRAL = "text"
    CALM = "blue"
    GOOD = "green"
    LOOK = "orange"
    BAD = "red"


@dataclass(frozen=True)
class Scale:
    """Colours by value: the first is for all below the first step."""

    base: Colour
    steps: Sequence[tuple[float, Colour]] = ()

    def config(self) -> dashboard_builders.ThresholdsConfig:
        """As Grafana writes it."""
        steps = [dashboard.Threshold(None, self.base), *(dashboard.Threshold(value, colour) for value, colour in self.steps)]
        return dashboard_builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


PLAIN = Scale(Colour.NEUTRAL)


def bad_above(look: float, bad: float) -> Scale:
    """Good below `look`, bad from `bad` on."""
    return Scale(Colour.GOOD, [(look, Colour.LOOK), (bad, Colour.BAD)])


def bad_below(bad: float, look: float) -> Scale:
    """Bad below `bad`, good from `look` on."""
    return Scale(Colour.BAD, [(bad, Colour.LOOK), (look, Colour.GOOD)])


ANY_IS_BAD = Scale(Colour.GOOD, [(1e-9, Colour.BAD)])
AT_LEAST_ONE = Scale(Colour.BAD, [(1, Colour.GOOD)])


def rows_high(rows: int) -> int:
    """Height of a table that shows so many rows, if they are not too many."""
    return min(max(rows + 2, 4), 12)


@dataclass(frozen=True)
class Query:
    """One expression; `legend` names its series, with labels in double braces."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Column:
    """One column of numbers in a table; `expr` gives one sample for each row, with the labels the table is by and no others."""

    title: str
    expr: str
    unit: Unit = Unit.COUNT
    decimals: int | None = None
    scale: Scale = PLAIN

    def looks(self) -> list[dashboard.DynamicConfigValue]:
        """How its cells look, as Grafana writes it."""
        decimals = [] if self.decimals is None else [dashboard.DynamicConfigValue("decimals", self.decimals)]
        coloured = [dashboard.DynamicConfigValue("custom.cellOptions", {"type": "color-text"})] if self.scale.steps else []
        thresholds = dashboard.DynamicConfigValue("thresholds", self.scale.config().build().to_json())
        return [dashboard.DynamicConfigValue("unit", self.unit), *decimals, thresholds, *coloured]


@dataclass(frozen=True, kw_only=True)
class _Panel:
    title: str
    why: str
    """What it answers."""
    unit: Unit = Unit.COUNT
    empty: str
    """What stands there without data."""
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Graph(_Panel):
    """Lines over time, or areas on top of each other where their sum means something."""

    queries: Sequence[Query]
    limit: Query | None = None
    """A dashed red line."""
    stacked: bool = False
    colours: Mapping[str, Colour] = field(default_factory=dict)
    """Of series whose names say how good they are; the others get one after the other."""
    top: float | None = None
    """The end of the axis, e.g. 1 for shares."""
    width: int = 8
    height: int = 8

    def build(self, has: Has) -> timeseries.Panel | None:
        """As Grafana writes it, without queries for what there is not; None where nothing is left."""
        queries = [query for query in self.queries if has(query.expr)]
        if not queries:
            return None
        drawn = [*queries, self.limit] if self.limit and has(self.limit.expr) else queries
        panel = _common(timeseries.Panel(), self)
        panel = panel.targets([_target(query, ref) for query, ref in zip(drawn, ascii_uppercase, strict=False)])
        panel = panel.color_scheme(dashboard_builders.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC))
        panel = panel.min(0).line_width(1.5).fill_opacity(35 if self.stacked else 0).show_points(common.VisibilityMode.NEVER)
        panel = panel.span_nulls(False).legend(_legend()).tooltip(_tooltip())
        if self.stacked:
            panel = panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
        if self.top is not None:
            panel = panel.max(self.top)
        for name, colour in self.colours.items():
            panel = panel.override_by_name(name, [_fixed(colour)])
        return panel.override_by_name(self.limit.legend, _LIMIT) if self.limit else panel


def _fixed(colour: Colour) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


_LIMIT = [
    _fixed(Colour.BAD),
    dashboard.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}),
    dashboard.DynamicConfigValue("custom.fillOpacity", 0),
    dashboard.DynamicConfigValue("custom.stacking", {"mode": "none", "group": "limit"}),
]


@dataclass(frozen=True, kw_only=True)
class Number(_Panel):
    """One number: what it is at the end of the time range, or over all of it."""

    expr: str
    scale: Scale = PLAIN
    decimals: int | None = None
    width: int = 4
    height: int = 3

    def build(self, has: Has) -> stat.Panel | None:
        """As Grafana writes it; None where what it reads is not there."""
        if not has(self.expr):
            return None
        panel = _common(stat.Panel(), self).thresholds(self.scale.config())
        panel = panel.with_target(_target(Query(self.expr, self.title), "A").instant())
        panel = panel.color_mode(common.BigValueColorMode.VALUE).graph_mode(common.BigValueGraphMode.NONE)
        panel = panel.text_mode(common.BigValueTextMode.VALUE)
        panel = panel.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        return panel if self.decimals is None else panel.decimals(self.decimals)


@dataclass(frozen=True, kw_only=True)
class Table(_Panel):
    """A row for each value of some labels, a column for each number."""

    by: Mapping[str, str]
    """Titles of the columns of labels, by the label."""
    columns: Sequence[Column]
    """Columns of numbers; a title that has no expression is that of a column which `steps` make."""
    links: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By the title of a column, the title and the address that its cells lead to."""
    steps: Sequence[dashboard.DataTransformerConfig] = ()
    """What Grafana does to the table at the end."""
    sort_by: str | None = None
    width: int = WIDTH
    height: int = 8

    def build(self, has: Has) -> table.Panel | None:
        """As Grafana writes it, without columns for what there is not; None where nothing is left."""
        asked = [column for column in self.columns if column.expr and has(column.expr)]
        if not asked:
            return None
        # Grafana shows the text for no data in every empty cell as well.
        panel = _common(table.Panel(), self).override_by_regexp(".*", [dashboard.DynamicConfigValue("noValue", "-")])
        values = {}
        for column, ref in zip(asked, ascii_uppercase, strict=False):
            panel = panel.with_target(_target(Query(column.expr), ref).instant().format(PromQueryFormat.TABLE))
            values[f"Value #{ref}" if len(asked) > 1 else "Value"] = column.title
        for column in self.columns:
            panel = panel.override_by_name(column.title, column.looks())
        for name, (text, url) in self.links.items():
            panel = panel.override_by_name(name, [dashboard.DynamicConfigValue("links", [{"title": text, "url": url}])])
        order = {name: index for index, name in enumerate([*self.by, *values])}
        named = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": {**self.by, **values}}
        first = [dashboard.DataTransformerConfig("merge", options={}), dashboard.DataTransformerConfig("organize", options=named)]
        panel = panel.transformations([*first, *self.steps])
        return panel.sort_by([_descending(self.sort_by)]) if self.sort_by else panel


@dataclass(frozen=True, kw_only=True)
class Heat(_Panel):
    """How a histogram's observations spread over time."""

    expr: str
    """A rate for each `le`."""
    width: int = 12
    height: int = 8

    def build(self, has: Has) -> heatmap.Panel | None:
        """As Grafana writes it; None where what it reads is not there."""
        if not has(self.expr):
            return None
        axis = heatmap.YAxisConfig().unit(self.unit).axis_placement(common.AxisPlacement.LEFT)
        colours = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(32).exponent(0.5)
        target = _target(Query(self.expr, "{{le}}"), "A").format(PromQueryFormat.HEATMAP)
        return _common(heatmap.Panel(), self).with_target(target).calculate(False).cell_gap(1).y_axis(axis).color(colours)


def _common(panel: _P, of: _Panel) -> _P:
    panel = panel.title(of.title).description(of.why).unit(of.unit).no_value(of.empty)
    return panel.datasource(DATASOURCE).span(of.width).height(of.height)


def _target(query: Query, ref: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).ref_id(ref).range()
    return target.legend_format(query.legend) if query.legend else target


def _descending(title: str) -> common_builders.TableSortByFieldState:
    return common_builders.TableSortByFieldState().display_name(title).desc(True)


def _legend() -> common_builders.VizLegendOptions:
    legend = common_builders.VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM)
    return legend.display_mode(common.LegendDisplayMode.TABLE).calcs(["lastNotNull", "max"]).sort_by("Last *").sort_desc(True)


def _tooltip() -> common_builders.VizTooltipOptions:
    return common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)


Panel = Graph | Number | Table | Heat
