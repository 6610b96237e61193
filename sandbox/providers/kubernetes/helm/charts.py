"""Facts about charts, from the directory LLM_PLATFORM_CHARTS names: `<chart>-<version>/` with Chart, values and schema."""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

CHARTS_ENV: Final = "LLM_PLATFORM_CHARTS"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OFFERED: Final = re.compile(r"^#+ ?([a-z]\w*):", re.MULTILINE)
"""A value that the file shows behind a # only: the chart takes it and has no default for it."""


@dataclass(frozen=True)
class Chart:
    """What a chart takes: its default values, the names of its subcharts, its schema where it ships one."""

    name: str
    version: str
    defaults: dict[str, Any]
    app_version: str = ""
    subcharts: frozenset[str] = frozenset()
    schema: dict[str, Any] = field(default_factory=dict)


def short_name(chart: str) -> str:
    """`keda` of `keda`, `kedacore/keda`, `oci://registry/charts/keda` or `./charts/keda`."""
    return chart.rstrip("/").rpartition("/")[2]


def find(chart: str, version: str) -> Chart | None:
    """The chart of that name and version; None where nothing is known of it. A leading `v` of the version is optional."""
    base = os.environ.get(CHARTS_ENV)
    if not base:
        return None
    plain = version.removeprefix("v")
    for spelling in (version, plain, f"v{plain}"):
        folder = Path(base) / f"{short_name(chart)}-{spelling}"
        if (folder / "values.yaml").is_file():
            return _load(folder, short_name(chart), version)
    return None


def _load(folder: Path, name: str, version: str) -> Chart:
    values, about = _yaml(folder / "values.yaml"), _yaml(folder / "Chart.yaml")
    # Istio's charts keep their defaults under this key; users set the same values at the top.
    offered = dict.fromkeys(_OFFERED.findall((folder / "values.yaml").read_text("utf-8")))
    values = {**offered, **(values.pop("_internal_defaults_do_not_set", None) or {}), **values}
    schema = folder / "values.schema.json"
    subcharts = {word for entry in about.get("dependencies") or [] for word in (entry.get("name"), entry.get("alias")) if word}
    return Chart(
        name,
        version,
        values,
        str(about.get("appVersion") or ""),
        frozenset(subcharts),
        json.loads(schema.read_text("utf-8")) if schema.is_file() else {},
    )


def _yaml(path: Path) -> dict[str, Any]:
    document = yaml.load(path.read_text("utf-8"), Loader=_LOADER) if path.is_file() else None  # noqa: S506
    return document if isinstance(document, dict) else {}
