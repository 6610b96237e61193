"""The reference at the end of each page of docs/components/: arguments and outputs out of docstrings, what an example makes."""

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from pulumi.provider.experimental.analyzer import Analyzer, PropertyDefinition, TypeDefinition

from components.base import PACKAGE, PlatformComponent
from tests.contracts.examples import build
from tests.recorder import Recording, Registration, record

BEGIN = "<!-- From here on written by `python -m tests.pages`. -->"
_EXAMPLE = "example"
_NAMES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "anything"}


def page_of(component: type[PlatformComponent]) -> str:
    """Name of its file."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", component.__name__).lower() + ".md"


def with_reference(page: str, component: type[PlatformComponent]) -> str:
    """A page with its reference anew."""
    return f"{page.partition(BEGIN)[0].rstrip()}\n\n{BEGIN}\n\n{_reference(component)}"


def _reference(component: type[PlatformComponent]) -> str:
    described = Analyzer(PACKAGE).analyze(components=[component])
    definition, types = described["component_definitions"][component.__name__], described["type_definitions"]
    arguments = inspect.get_annotations(component.__init__)["args"]
    inputs = _table("argument", definition.inputs, definition.inputs_mapping, types, _docstrings(arguments))
    outputs = _table("output", definition.outputs, definition.outputs_mapping, types)
    used = list(_used(definition.inputs.values(), types))
    parts = [f"## Arguments\n\n{inputs}"]
    for found in used:
        table = _table("key", found.properties, found.properties_mapping, types, _docstrings(found.python_type))
        parts.append(f"### {found.name}\n\n{_cell(found.description or '')}\n\n{table}")
    if definition.outputs:
        parts.append(f"## Outputs\n\n{outputs}")
    parts.append(f"## Preview\n\n{_preview(record(lambda: build(component, _EXAMPLE)), component)}")
    return "\n".join(parts)


def _table(
    head: str,
    properties: Mapping[str, PropertyDefinition],
    names: Mapping[str, str],
    types: Mapping[str, TypeDefinition],
    inherited: Mapping[str, str] | None = None,
) -> str:
    """A row for each property; only what is asked for can be required, and has docstrings that the analyser does not find."""
    rows = []
    for key, found in properties.items():
        told = found.description or (inherited or {}).get(names[key]) or _meaning(found, types)
        required = ", **required**" if inherited is not None and not found.optional else ""
        rows.append(f"| `{names[key]}` | {_type(found, types)}{required} | {_cell(told)} |")
    return "\n".join([f"| {head} | value | what it is |", "|---|---|---|", *rows, ""])


def _docstrings(of: type) -> dict[str, str]:
    """The texts below the keys of a TypedDict and of those it extends, of which the class itself forgets."""
    (body,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(of))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for base in body.bases:
        if isinstance(base, ast.Name) and base.id != "TypedDict":
            found |= _docstrings(vars(sys.modules[of.__module__])[base.id])
    for field, text in pairwise(body.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(told))):
                found[name] = told
    return found


def _meaning(found: PropertyDefinition, types: Mapping[str, TypeDefinition]) -> str:
    name = found.ref.rpartition(":")[2] if found.ref else ""
    return (types[name].description or "") if name in types else ""


def _type(found: PropertyDefinition, types: Mapping[str, TypeDefinition]) -> str:
    if found.ref:
        name = found.ref.rpartition(":")[2]
        if name in types and types[name].enum:
            return " or ".join(f"`{value.value}`" for value in types[name].enum or ())
        return f"[{name}](#{name.lower()})" if name in types else f"`{found.ref.rpartition('/')[2]}`"
    if found.items:
        return f"list of {_type(found.items, types)}"
    if found.additional_properties:
        return f"map of {_type(found.additional_properties, types)}"
    return _NAMES[found.type.value] if found.type else "anything"


def _used(properties: object, types: Mapping[str, TypeDefinition]) -> Iterator[TypeDefinition]:
    """Types with keys of their own, each once, in the order they are met."""
    seen: set[str] = set()
    pending = list(properties)  # type: ignore[call-overload]
    while pending:
        found = pending.pop(0)
        pending += [inner for inner in (found.items, found.additional_properties) if inner]
        name = found.ref.rpartition(":")[2] if found.ref else ""
        if name in types and name not in seen and types[name].properties:
            seen.add(name)
            yield types[name]
            pending += types[name].properties.values()


def _preview(recording: Recording, component: type[PlatformComponent]) -> str:
    own = recording.one(f"{PACKAGE}:index:{component.__name__}")
    lines = [(own.type, own.name), *_below(recording.resources, own, "")]
    width = max(len(kind) for kind, _ in lines)
    shown = "\n".join(f" +  {kind:<{width}}  {name}" for kind, name in lines)
    made = f"{len(lines) - 1} resources" if len(lines) != 2 else "1 resource"
    return f"""What a preview shows of the one in [the tests](../../tests/contracts/examples.py), {made} beside itself:

```
{shown}
```
"""


def _below(resources: Sequence[Registration], parent: Registration, margin: str) -> Iterator[tuple[str, str]]:
    children = sorted((each for each in resources if each.parent == parent.urn), key=lambda each: (each.type, each.name))
    for index, child in enumerate(children):
        last = index == len(children) - 1
        yield f"{margin}{'└─' if last else '├─'} {child.type}", child.name
        yield from _below(resources, child, margin + ("   " if last else "│  "))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
