"""The annotation `pulumi.com/waitFor`: a JSONPath or a condition of the user's own, instead of the kind's rule. Pure."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from sandbox.providers.contract import ProviderError
from sandbox.providers.kubernetes.awaiting.rules import READY, Verdict, condition
from sandbox.providers.kubernetes.objects import WAIT_FOR, Object
from sandbox.providers.properties import lookup

_STEP: Final = re.compile(
    r"""\.(?P<field>(?:[\w-]|\\.)+)|\[(?P<index>-?\d+)\]|\[(?P<all>\*)\]|\['(?P<quoted>[^']+)'\]"""
    r"""|\[\?\(@\.(?P<key>[\w.-]+)\s*==\s*["'](?P<equals>[^"']*)["']\)\]"""
)


@dataclass(frozen=True)
class Wanted:
    """One expression; without a value the field only has to be there."""

    text: str
    path: tuple[dict[str, str], ...] = ()
    condition: str = ""
    value: str | None = None

    def holds(self, obj: Object) -> bool:
        if self.condition:
            found = condition(obj, self.condition)
            return _is_current(found, obj) and str(found.get("status", "")).lower() == (self.value or "").lower()
        values = _select([obj], self.path)
        return bool(values) and (self.value is None or all(_text(item) == self.value for item in values))


def parse(annotation: str) -> list[Wanted]:
    """The expressions of an annotation: one, or a JSON list of them.

    Raises:
        ProviderError: it is neither `jsonpath=…` nor `condition=…`, or uses JSONPath beyond fields, indexes and one filter.
    """
    texts = [annotation]
    if annotation.lstrip().startswith("["):
        try:
            texts = json.loads(annotation)
        except ValueError as error:
            raise _refusal(annotation) from error
    return [_parse(text) for text in texts]


def judge(wanted: list[Wanted], obj: Object) -> Verdict:
    missing = [item.text for item in wanted if not item.holds(obj)]
    return Verdict(waiting=f"waiting for {' and '.join(missing)}") if missing else READY


def _parse(text: str) -> Wanted:
    kind, _, rest = str(text).partition("=")
    if kind == "condition" and rest:
        name, _, value = rest.partition("=")
        return Wanted(text, condition=name, value=value or "True")
    # Without braces the first "=" ends the path, except one inside a filter.
    form = (
        r"\{(?P<path>[^{}]*)\}(=(?P<value>.*))?" if rest.startswith("{") else r"(?P<path>(\[[^\]]*\]|[^=\[])*)(=(?P<value>.*))?"
    )
    match = re.fullmatch(form, rest, re.DOTALL)
    if kind != "jsonpath" or not match:
        raise _refusal(text)
    path, value = match["path"], match["value"]
    steps, position = [], 0
    while position < len(path):
        step = _STEP.match(path, position)
        if not step:
            raise _refusal(text)
        steps.append({name: found for name, found in step.groupdict().items() if found is not None})
        position = step.end()
    if not steps:
        raise _refusal(text)
    return Wanted(text, tuple(steps), value=value.strip("\"'") if value else value)


def _is_current(of: Object, obj: Object) -> bool:
    """Whether the controller has seen the object as it is now: what it said of an earlier one does not count."""
    seen = of.get("observedGeneration", lookup(obj, ("status", "observedGeneration")))
    return seen is None or seen >= (lookup(obj, ("metadata", "generation")) or 0)


def _select(values: list[Any], path: tuple[dict[str, str], ...]) -> list[Any]:
    for step in path:
        found: list[Any] = []
        for value in values:
            if "field" in step or "quoted" in step:
                name = step.get("quoted") or step["field"].replace("\\", "")
                found += [value[name]] if isinstance(value, dict) and name in value else []
            elif not isinstance(value, list):
                continue
            elif "all" in step:
                found += value
            elif "index" in step:
                index = int(step["index"])
                found += [value[index]] if -len(value) <= index < len(value) else []
            else:
                fields = tuple({"field": name} for name in step["key"].split("."))
                found += [item for item in value if step["equals"] in map(_text, _select([item], fields))]
        values = found
    return values


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _refusal(text: str) -> ProviderError:
    return ProviderError(
        f"{WAIT_FOR}: {text!r} is not understood; write for example condition=Ready, jsonpath={{.status.phase}}=Running, "
        "or a JSON list of these"
    )
