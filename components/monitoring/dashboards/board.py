"""A dashboard: rows of panels under a few choices of the reader. Pure."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from .panels import DATASOURCE, WIDTH, Built, Colour, Panel

TAG = "llm-platform"
"""What all dashboards of a stack have, and by what they find each other."""


_RECORDED = re.compile(r"\b(?:llm|accelerator):[\w:]+")
"""Names of series that rules of the stack make, in an expression."""


class Uid(StrEnum):
    """Names of the dashboards in addresses, the same in every stack."""

    FLEET = "llm-fleet"
    MODEL = "llm-model"
    ACCELERATOR = "llm-accelerator"
    COST = "llm-cost"
    CAPACITY = "llm-capacity"

    def link(self, **variables: str) -> str:
        """Address of the dashboard with these choices, for the same data source and time."""
        chosen = "".join(f"&var-{name}={value}" for name, value in variables.items())
        return f"/d/{self}?${{datasource:queryparam}}&${{__url_time_range}}{chosen}"


@dataclass(frozen=True)
class Row:
    """Panels that answer one question together."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Choice:
    """A choice of the reader: a value, or values, of `label` that the series `of` have."""

    name: str
    label: str
    title: str
    of: str
    one: bool = False
    """Exactly one, for panels that make sense for one only; otherwise any number, and all at first."""

    def variable(self) -> builders.QueryVariable:
        """As Grafana writes it."""
        query = f"label_values({self.of}, {self.label})"
        variable = builders.QueryVariable(self.name).label(self.title).datasource(DATASOURCE).definition(query)
        variable = variable.query({"qryType": 1, "query": query, "refId": f"variable-{self.name}"})
        variable = variable.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        variable = variable.sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        if self.one:
            return variable
        variable = variable.multi(True).include_all(True).all_value(".*")
        return variable.current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))


@dataclass(frozen=True)
class Board:
    """One dashboard."""

    uid: Uid
    title: str
    why: str
    choices: Sequence[Choice]
    rows: Sequence[Row]
    alerts: str
    """Selector of the firing alerts that every graph marks, without braces."""
    since: str = "now-6h"

    def json(self, series: frozenset[str]) -> str | None:
        """The dashboard as Grafana reads it, for a stack that records these series; None where nothing is left to show.

        Panels, and rows, that could never have data are left out: the engine's version does not say it, or no price is known.
        """

        def has(expr: str) -> bool:
            return series.issuperset(_RECORDED.findall(expr))

        rows = [(row.title, [built for panel in row.panels if (built := panel.build(has))]) for row in self.rows]
        rows = [(title, panels) for title, panels in rows if panels]
        if not rows or not all(has(choice.of) for choice in self.choices):
            return None
        board = builders.Dashboard(self.title).uid(self.uid).description(self.why).tags([TAG]).readonly()
        board = board.time(self.since, "now").refresh("1m").timezone("browser").tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        board = board.with_variable(builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        for choice in self.choices:
            board = board.with_variable(choice.variable())
        board = board.annotation(_alerts(self.alerts)).link(_others())
        ids, top = count(1), 0
        for title, panels in rows:
            board = board.with_row(builders.Row(title).id(next(ids)).grid_pos(dashboard.GridPos(h=1, w=WIDTH, x=0, y=top)))
            top += 1
            for line in _lines(panels):
                left, high = 0, max(_size(panel)[1] for panel in line)
                for panel, wide in zip(line, _filled(line), strict=True):
                    place = dashboard.GridPos(h=high, w=wide, x=left, y=top)
                    board = board.with_panel(panel.id(next(ids)).grid_pos(place))
                    left += wide
                top += high
        made = json.loads(JSONEncoder().encode(board.build()))
        for each in (*made["links"], *made["annotations"]["list"]):
            del each["placement"]  # The SDK hides both in a menu; without it they are on top.
        return json.dumps(made, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def _lines(panels: Sequence[Built]) -> list[list[Built]]:
    """Panels beside each other, as many as fit."""
    lines: list[list[Built]] = [[]]
    for panel in panels:
        if sum(_size(each)[0] for each in [*lines[-1], panel]) > WIDTH:
            lines.append([])
        lines[-1].append(panel)
    return lines


def _filled(line: Sequence[Built]) -> list[int]:
    """Their widths when they share the place of those that were left out."""
    each, over = divmod(WIDTH - sum(_size(panel)[0] for panel in line), len(line))
    return [_size(panel)[0] + each + (index < over) for index, panel in enumerate(line)]


def _size(panel: Built) -> tuple[int, int]:
    place = panel.build().grid_pos
    return (place.w, place.h) if place else (WIDTH, 1)


def _alerts(selector: str) -> builders.AnnotationQuery:
    firing = f'ALERTS{{alertstate="firing",alertname!="Watchdog",{selector}}}'
    query = builders.AnnotationQuery().name("Alerts").datasource(DATASOURCE).enable(True).icon_color(Colour.BAD)
    query = query.target(prometheus.Dataquery().expr(firing).ref_id("alerts").interval("1m").range())
    return query.title_format("{{alertname}}").text_format("{{namespace}} {{model_name}} {{node}}")


def _others() -> builders.DashboardLink:
    link = builders.DashboardLink("Dashboards").type(dashboard.DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.include_vars(True).keep_time(True)
