"""What a dashboard asks Prometheus, asked as Grafana does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

Labels = Mapping[str, str]
_ALL = "$__all"
_VALUES = re.compile(r"label_values\((.+),\s*(\w+)\)")


@dataclass(frozen=True)
class Series:
    """Samples of one series: seconds and values."""

    labels: Labels
    samples: list[tuple[float, float]]


@dataclass(frozen=True)
class Source:
    """A Prometheus, looked at over one time range."""

    url: str
    start: float
    end: float
    step: float = 60
    chosen: dict[str, str] = field(default_factory=dict)
    """What the reader chose, by variable."""

    def choose(self, dashboard: Mapping[str, Any]) -> None:
        """Make the choices that Grafana makes when the dashboard opens, for variables without one."""
        for variable in dashboard["templating"]["list"]:
            if variable["type"] != "query" or variable["name"] in self.chosen:
                continue
            if variable.get("includeAll"):
                self.chosen[variable["name"]] = variable["allValue"]
                continue
            found = _VALUES.fullmatch(self.filled(variable["query"]["query"]))
            assert found
            values = sorted({series.labels[found[2]] for series in self.instant(f"group by ({found[2]}) ({found[1]})")})
            self.chosen[variable["name"]] = values[0] if values else ""

    def filled(self, expr: str) -> str:
        """An expression with the choices in place of the variables."""
        expr = expr.replace("$__range", f"{round(self.end - self.start)}s")
        return re.sub(r"\$(\w+)", lambda found: self.chosen[found[1]], expr)

    def instant(self, expr: str) -> list[Series]:
        """The samples at the end of the time range."""
        result = self._asked("query", {"query": self.filled(expr), "time": str(self.end)})
        return [Series(each["metric"], [(float(each["value"][0]), float(each["value"][1]))]) for each in result]

    def range(self, expr: str) -> list[Series]:
        """The samples over the time range."""
        times = {"start": str(self.start), "end": str(self.end), "step": str(self.step)}
        result = self._asked("query_range", {"query": self.filled(expr), **times})
        return [Series(each["metric"], [(float(at), float(value)) for at, value in each["values"]]) for each in result]

    def _asked(self, what: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.url}/api/v1/{what}", data=dict(parameters), timeout=60).json()
        assert answer["status"] == "success", f"{answer['error']}: {parameters['query']}"
        result = answer["data"]["result"]
        if answer["data"]["resultType"] == "scalar":
            return [{"metric": {}, "value": result}]
        return list(result)
