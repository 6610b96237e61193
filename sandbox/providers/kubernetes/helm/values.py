"""Values of a release held against the chart's own defaults and schema. Pure.

A chart ignores a key it does not know, so a misspelt one silently does nothing: here it is refused, with the nearest
names. Where a default is an empty map or nothing, or the map is one of Kubernetes' own (labels, resources …), anything goes.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final

from sandbox.providers.kubernetes.helm.charts import Chart
from sandbox.providers.properties import UNKNOWN, Asset, Path, lookup, render

Problem = tuple[Path, str]

# Maps of Kubernetes itself: a chart's default shows an example of what is in them, not all that may be.
_FREE: Final = re.compile(
    r"(^|.*[a-z])([lL]abels|[aA]nnotations|[nN]odeSelector|[sS]elector|[rR]esources|[sS]ecurityContext|[aA]ffinity|[pP]robe)$"
    r"|^(limits|requests|data|stringData|env|args|extraArgs|config|configs)$"
)
_TEMPLATED: Final = re.compile(r"\{\{|%$|^\d+([a-zA-Z]+)?$")  # a template, a percentage, a quantity


def merge(base: Any, over: Any) -> Any:
    """Values over values, as Helm merges them: maps by key, everything else as a whole."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}
    return over


def problems(values: Mapping[str, Any], chart: Chart) -> list[tuple[str, str]]:
    """What a chart would not take, as (path below `values`, reason)."""
    loose = frozenset({"global", *chart.subcharts})
    found = [(path, reason) for path, reason in _unlike(values, chart.defaults, (), loose) if not _in_schema(chart.schema, path)]
    return [(render(path), reason) for path, reason in [*found, *_against_schema(values, chart)]]


def _unlike(value: Any, default: Any, path: Path, loose: frozenset[str]) -> list[Problem]:
    if value is UNKNOWN or value is None or isinstance(value, Asset) or default is None or default == "":
        return []
    if isinstance(default, dict):
        return _unlike_map(value, default, path, loose)
    if wrong := _wrong_type(value, default):
        return [(path, wrong)]
    return []


def _unlike_map(value: Any, default: dict[str, Any], path: Path, loose: frozenset[str]) -> list[Problem]:
    if not isinstance(value, dict):
        return [(path, f"must be a map, not {_named(value)}")]
    if not default or (path and _FREE.match(str(path[-1]))):
        return []
    found: list[Problem] = []
    for key, item in value.items():
        here = (*path, key)
        if key in default:
            found += _unlike(item, default[key], here, loose)
        elif here[0] not in loose:  # a subchart's own defaults are not in this chart's values
            found.append((here, _unknown(key, default)))
    return found


def _unknown(key: str, default: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key, [str(name) for name in default], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(map(str, default))[:12])}"
    return f"the chart has no such value; {hint}"


def _wrong_type(value: Any, default: Any) -> str:
    if isinstance(default, bool):
        fits, wanted = isinstance(value, bool) or _is_template(value), "true or false"
    elif isinstance(default, int | float):
        fits, wanted = (isinstance(value, int | float) and not isinstance(value, bool)) or _is_template(value), "a number"
    elif isinstance(default, list):
        fits, wanted = isinstance(value, list), "a list"
    else:
        fits, wanted = isinstance(value, str | int | float) and not isinstance(value, bool), "a text"
    return "" if fits else f"must be {wanted} (the default is {default!r}), not {_named(value)}"


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and bool(_TEMPLATED.search(value))


def _named(value: Any) -> str:
    names = {dict: "a map", list: "a list", bool: "true or false", str: "a text", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)


def _against_schema(values: Mapping[str, Any], chart: Chart) -> list[Problem]:
    """What the chart's own schema says of the values over its defaults; unknown values are left out."""
    if not chart.schema:
        return []
    import jsonschema  # noqa: PLC0415  (0.1 s that most runs need not wait for)

    validator = jsonschema.validators.validator_for(chart.schema)(chart.schema)
    effective = merge(chart.defaults, _known(values))
    broken_anyway = {tuple(error.absolute_path) for error in validator.iter_errors(chart.defaults)}
    errors = [error for error in validator.iter_errors(effective) if tuple(error.absolute_path) not in broken_anyway]
    return [(tuple(error.absolute_path), error.message) for error in errors]


def _known(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _known(item) for key, item in value.items() if item is not UNKNOWN and not isinstance(item, Asset)}
    return [_known(item) for item in value if item is not UNKNOWN] if isinstance(value, list) else value


def _in_schema(schema: Mapping[str, Any], path: Path) -> bool:
    """Whether a schema names a path, or lets anything stand there, following its local references."""
    place: Any = schema
    for step in path:
        place = _resolved(schema, place)
        properties = place.get("properties") if isinstance(place, dict) else None
        if not isinstance(properties, dict) or step not in properties:
            return properties is None and isinstance(place, dict) and place.get("additionalProperties") is True
        place = properties[step]
    return bool(schema)


def _resolved(schema: Mapping[str, Any], place: Any) -> Any:
    for _ in range(8):  # references of references end somewhere
        reference = place.get("$ref") if isinstance(place, dict) else None
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return place
        place = lookup(schema, reference[2:].split("/"))
    return place
