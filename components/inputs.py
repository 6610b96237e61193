"""Validation of what users write: plain values at once, outputs inside `apply`, every message one sentence.

A message names the place (file and key, or component and argument), the value, the reason and a value that works. No message has
what looks like a secret, and none has the value of a setting that is there for one.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import pulumi
import yaml
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainValidator, ValidationError
from pydantic.alias_generators import to_camel, to_snake
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from .secretive import hidden, looks_secret, names_secret

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list (- item)",
    "mapping_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "string_type": "text",
    "tuple_type": "a list (- item)",
}


class InputError(pulumi.RunError):
    """Input that cannot work. Its text is one sentence a line, without what looks like a secret; Pulumi prints no traceback."""

    def __init__(self, text: str) -> None:
        super().__init__(hidden(text))


class Model(BaseModel):
    """A frozen model that refuses unknown keys; camelCase outside (stack files, schemas), snake_case inside."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, arbitrary_types_allowed=True
    )


@dataclass(frozen=True)
class Matching:
    """Annotation of text that must have one form. Other text is told what it is not; editors get the pattern."""

    pattern: str
    what: str
    example: str

    def check(self, value: str) -> str:
        """`value`, or ValueError."""
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"{_shown(value)} is not {self.what}; use e.g. {self.example}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"pattern": f"^{self.pattern}$", "examples": [self.example]}


def _text_or_output(value: object) -> object:
    if isinstance(value, pulumi.Output) or (isinstance(value, str) and value):
        return value
    raise ValueError(f"{_shown(value)} is neither text nor an output; use e.g. the output of another component")


if TYPE_CHECKING:
    InputText = pulumi.Input[str]
else:
    # Pydantic cannot look into pulumi.Input: its parts are named as text only.
    InputText = Annotated[Any, PlainValidator(_text_or_output)]


def validate(model: type[M], data: object, where: str, root: str = "") -> M:
    """`data` as a `model`, or an InputError with one sentence for every fault.

    `where` is the file or component the data came from; `root` is the key under which it stood there.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = error.errors()
        # A misspelt key is also a missing one; it is told once.
        meant = {(*fault["loc"][:-1], _near(model, fault["loc"])) for fault in faults if fault["type"] == "extra_forbidden"}
        told = [fault for fault in faults if not (fault["type"] == "missing" and fault["loc"] in meant)]
        # Pydantic counts no entry that is wrong.
        told = [fault for fault in told if fault["type"] != "too_short" or len(fault["input"]) < fault["ctx"]["min_length"]]
        sentences = [f"{where}: {_sentence(model, fault, root)}" for fault in told]
        raise InputError("\n".join(dict.fromkeys(sentences))) from None


def validated(value: pulumi.Input[T], check: Callable[[T], None]) -> pulumi.Input[T]:
    """`value`, passed on only after `check` accepted it: now when it is plain, inside `apply` when it is an output."""

    def gate(plain: T) -> T:
        check(plain)
        return plain

    return value.apply(gate) if isinstance(value, pulumi.Output) else gate(value)  # type: ignore[arg-type]


def _sentence(model: type[BaseModel], fault: Any, root: str) -> str:
    # Pydantic marks a fault in a mapping's key, as against its value, by one more part.
    marked = tuple(part for part in fault["loc"] if part != "[key]")
    value, context = fault["input"], fault.get("ctx") or {}
    location, owner, place = _find(model, marked)
    path = _path(location, root)
    entry = _entry(location, place)
    example = f", e.g. {entry}" if entry else ""
    guarded = any(isinstance(part, str) and names_secret(to_snake(part)) for part in location)
    shown = "the value" if guarded and isinstance(value, (str, int, float)) else _shown(value)
    match fault["type"]:
        case "extra_forbidden":
            near = _near(model, marked)
            hint = f"did you mean {near}?" if near else f"known here: {', '.join(sorted(_keys(owner)))}"
            return f"{path} is not a known setting; {hint}"
        case "missing":
            return f"{path} is missing; add it{example}"
        case "union_tag_not_found":
            key = context["discriminator"].strip("'")
            return f"{path}.{key} is missing; add it, e.g. {key}: {_first_tag(place, key)}"
        case "union_tag_invalid":
            key, tag = context["discriminator"].strip("'"), context["tag"]
            return f"{path}.{key}: {_shown(tag)} is not known; use {' or '.join(_plain(context['expected_tags']).split(', '))}"
        case "value_error":
            # A rule over a whole file names its keys itself.
            return f"{path}: {context['error']}" if path else str(context["error"])
        case "too_short":
            least = context["min_length"]
            return f"{path} {'is empty; add an entry' if least == 1 else f'has too few entries; give {least} or more'}{example}"
        case "literal_error" | "enum":
            return f"{path}: {shown} is not known; use {_plain(context['expected'])}"
        case "greater_than_equal":
            return f"{path}: {shown} is not allowed; use {context['ge']} or more{example}"
        case "less_than_equal":
            return f"{path}: {shown} is not allowed; use {context['le']} or less{example}"
        case "string_type" if isinstance(value, (bool, int, float)):
            quoted = "it in quotes" if guarded else _written(location, f'"{shown}"')
            return f"{path}: {shown} is not text; write {quoted}"
        case kind if kind in _EXPECTED:
            return f"{path}: {shown} is not {_EXPECTED[kind]}; use {example.removeprefix(', ') or _EXPECTED[kind]}"
        case _:
            rule = str(fault["msg"]).partition(" should ")[2] or fault["msg"]
            return f"{path}: {shown} is not allowed; it must {rule}{example}"


def _near(model: type[BaseModel], location: Sequence[Any]) -> str | None:
    """The known key that an unknown one resembles."""
    _, owner, _ = _find(model, location)
    return next(iter(difflib.get_close_matches(str(location[-1]), sorted(_keys(owner)), n=1)), None)


def _path(location: Sequence[Any], root: str) -> str:
    text = root
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, pulumi.Output):
        return "an output"
    if isinstance(value, str) and looks_secret(value):
        return "the text"
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(choices: str) -> str:
    """What may be chosen, members of enums by their values."""
    return re.sub(r"<[\w.]+: ('[^']*')>", r"\1", choices)


def _entry(location: Sequence[Any], place: Any) -> str:
    """An entry that works there, as a file has it; empty where none is known."""
    example = _example(place) if location else None
    return "" if example is None else _written(location, example)


def _written(location: Sequence[Any], value: str) -> str:
    return f"- {value}" if isinstance(location[-1], int) else f"{location[-1]}: {value}"


def _example(place: Any) -> str | None:
    """A value that works where a field or annotation is: the one it names, or what a model there cannot do without."""
    if isinstance(place, FieldInfo):
        named = [*(place.examples or ()), *(form.example for form in place.metadata if isinstance(form, Matching))]
        return str(named[0]) if named else _example(place.annotation)
    if get_origin(place) is Annotated:
        annotation, *forms = get_args(place)
        named = [form.example for form in forms if isinstance(form, Matching)]
        named += [example for form in forms if isinstance(form, FieldInfo) for example in form.examples or ()]
        return str(named[0]) if named else _example(annotation)
    if get_origin(place) in (Union, UnionType):
        members = [member for member in get_args(place) if member is not type(None)]
        return _example(members[0]) if len(members) == 1 else None
    if get_origin(place) is tuple:
        item = _example(get_args(place)[0])
        return None if item is None else f"[{item}]"
    if isinstance(place, type) and issubclass(place, BaseModel):
        needed = {field.alias or name: _example(field) for name, field in place.model_fields.items() if field.is_required()}
        entry = f"{{{', '.join(f'{key}: {example}' for key, example in needed.items())}}}"
        return entry if None not in needed.values() and _works(place, entry) else None
    return None


def _works(model: type[BaseModel], entry: str) -> bool:
    try:
        model.model_validate(yaml.safe_load(entry))
    except (ValidationError, yaml.YAMLError):
        return False
    return True


def _first_tag(place: Any, key: str) -> str:
    """What the first member of a union is told by."""
    first = _element(place.annotation if isinstance(place, FieldInfo) else place)[0]
    return str(next(get_args(field.annotation)[0] for name, field in first.model_fields.items() if key in (name, field.alias)))


def _keys(owner: type[BaseModel] | None) -> list[str]:
    return [field.alias or name for name, field in owner.model_fields.items()] if owner else []


def _find(model: type[BaseModel], location: Sequence[Any]) -> tuple[list[Any], type[BaseModel] | None, Any]:
    """A location as a file has it, the model class that owns its last part (None inside a list or mapping), and what is there:
    a field, or an annotation.

    Pydantic adds a part for the member of a tagged union; no file has it.
    """
    here: Any = model
    owner: type[BaseModel] | None = None
    place: Any = None
    written: list[Any] = []
    for part in location:
        if isinstance(here, tuple):
            here = next(member for member in here if part in _tags(member))
            continue
        written.append(part)
        if isinstance(here, type) and issubclass(here, BaseModel):
            owner = here
            place = next((f for n, f in owner.model_fields.items() if part in (n, f.alias)), None)
            here = _element(place.annotation) if place else None
        else:
            # A mapping's values stand last, a list's or tuple's items first.
            arguments = get_args(here)
            owner, place = None, arguments[-1 if isinstance(part, str) else 0] if arguments else None
            here = _element(place)
    return written, owner, place


def _element(annotation: Any) -> Any:
    """`annotation` without Optional and Annotated around it; of a union of models, all members."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        arguments = get_args(annotation)
        if get_origin(annotation) is Annotated:
            arguments = arguments[:1]
        members = tuple(a for a in arguments if a is not type(None))
        if len(members) > 1 and all(isinstance(member, type) and issubclass(member, BaseModel) for member in members):
            return members
        annotation = members[0]
    return annotation


def _tags(member: type[BaseModel]) -> set[str]:
    """What may stand in the fields that tell the members of a union apart."""
    return {
        tag
        for field in member.model_fields.values()
        if get_origin(field.annotation) is Literal
        for tag in get_args(field.annotation)
    }
