"""docs/stack-file.md: every key of a stack file, out of the schema that editors use."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import settings

Schema = Mapping[str, Any]
_HEAD = """# The stack file

Every key of `stacks/Pulumi.<stack>.yaml`. A key belongs to the section `llm-platform:<section>`; `<name>` stands for a name you
choose, `[]` for each item of a list. What has no default and is not **required** may be left out. Editors complete and check the
same keys by [stacks/schema.json](../stacks/schema.json), out of which `python -m tests.pages` writes this page.

"""
_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def stack_file_page() -> str:
    """The page."""
    schema = settings.json_schema()
    return _Page(schema["$defs"], schema["properties"]["config"]).text()


class _Page:
    def __init__(self, definitions: Mapping[str, Schema], config: Schema) -> None:
        self._definitions = definitions
        self._sections: Mapping[str, Schema] = config["properties"]
        self._required = set(config["required"])
        used = Counter(re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps([*definitions.values(), config])))
        self._shared = [name for name in sorted(definitions) if used[name] > 1 and definitions[name].get("properties")]

    def text(self) -> str:
        names = {key: key.removeprefix(f"{settings.PROJECT}:") for key in self._sections}
        index = "\n".join(f"| [{name}](#{name.lower()}) | {self._meaning(self._sections[key])} |" for key, name in names.items())
        parts = [f"{_HEAD}| section | what it says |\n|---|---|\n{index}\n"]
        for key, name in names.items():
            needed = " **Required.**" if key in self._required else ""
            parts.append(f"## {name}\n\n{self._meaning(self._sections[key])}{needed}\n{self._tables(name, self._sections[key])}")
        parts += [
            f"## {_title(name)}\n\n{self._meaning(self._definitions[name])}\n{_table(self._rows('', self._definitions[name]))}"
            for name in self._shared
        ]
        return "\n".join(parts)

    def _tables(self, path: str, schema: Schema) -> str:
        """One table, or one for each kind there is to choose from."""
        schema = self._resolved(schema)
        if kinds := schema.get("discriminator", {}).get("mapping"):
            meant = {kind: self._definitions[reference.rpartition("/")[2]] for kind, reference in kinds.items()}
            return "".join(
                f"\n### {path} of kind {kind}\n\n{self._meaning(found)}\n{_table(self._rows(path, found))}"
                for kind, found in meant.items()
            )
        return _table(list(self._rows(path, schema)))

    def _rows(self, path: str, schema: Schema) -> Iterator[tuple[str, str, str]]:
        """Key, value and meaning of everything below a path, each key before what is below it."""
        for key, found in (schema.get("properties") or {}).items():
            below = f"{path}.{key}".lstrip(".")
            yield below, self._value(found, key in schema.get("required", ())), self._told(found)
            yield from self._below(below, found)
        if not schema.get("properties"):
            yield from self._below(path, schema)

    def _below(self, path: str, schema: Schema) -> Iterator[tuple[str, str, str]]:
        suffix, inner = self._inner(schema)
        if self._reference(inner) in self._shared:
            return
        inner = self._resolved(inner)
        kinds = inner.get("discriminator", {}).get("mapping", {})
        for kind, reference in kinds.items():
            for key, value, told in self._rows(path + suffix, self._definitions[reference.rpartition("/")[2]]):
                yield key, value, f"Of kind {kind}: {told}" if told else f"Chooses kind {kind}."
        if inner.get("properties"):
            yield from self._rows(path + suffix, inner)
        elif suffix and self._inner(inner)[0]:
            yield from self._below(path + suffix, inner)

    def _inner(self, schema: Schema) -> tuple[str, Schema]:
        """What lies in a list or under the names of a map, and how its path is written."""
        schema = self._resolved(schema)
        if isinstance(schema.get("additionalProperties"), Mapping):
            return ".<name>", schema["additionalProperties"]
        named: Schema = next(iter(schema.get("patternProperties", {}).values()), {})
        if named and not schema.get("properties"):
            return ".<name>", named
        return ("[]", schema["items"]) if schema.get("type") == "array" and "items" in schema else ("", schema)

    def _reference(self, schema: Schema) -> str:
        choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
        if len(choices) == 1:
            return self._reference(choices[0])
        return str(schema.get("$ref", "")).rpartition("/")[2]

    def _resolved(self, schema: Schema) -> Schema:
        """Without the reference and the null that may stand in its place."""
        choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
        if len(choices) == 1:
            return {**self._resolved(choices[0]), **{key: schema[key] for key in ("description", "examples") if key in schema}}
        if name := self._reference(schema):
            return {**self._definitions[name], **{key: value for key, value in schema.items() if key != "$ref"}}
        return schema

    def _meaning(self, schema: Schema) -> str:
        return _cell(str(self._resolved(schema).get("description", "")))

    def _told(self, schema: Schema) -> str:
        examples = self._resolved(schema).get("examples") or self._inner(schema)[1].get("examples") or ()
        example = f" E.g. `{_cell(_yaml(examples[0]))}`." if examples else ""
        return f"{self._meaning(schema)}{example}"

    def _value(self, schema: Schema, required: bool) -> str:
        default = schema.get("default")
        shown = "**required**" if required else f"`{_cell(_yaml(default))}`" if default not in (None, [], {}, ()) else ""
        return ", ".join(part for part in (self._type(schema), shown) if part)

    def _type(self, schema: Schema) -> str:
        suffix, inner = self._inner(schema)
        found = self._resolved(schema)
        name = self._reference(inner) if suffix else self._reference(schema)
        if name in self._shared:
            link = f"[{_title(name)}](#{_title(name).lower().replace(' ', '-')})"
            return f"{'list of ' if suffix == '[]' else 'map of ' if suffix else ''}{link}"
        if suffix:
            return f"{'list' if suffix == '[]' else 'map'} of {self._type(inner)}"
        if values := found.get("enum") or ([found["const"]] if "const" in found else None):
            shown = [f"`{value}`" for value in values]
            return f"one of {', '.join(shown)}" if len(shown) > 4 else " or ".join(shown)
        if choices := [each for each in found.get("anyOf", ()) if each.get("type") != "null"]:
            return " or ".join(dict.fromkeys(self._type(each) for each in choices))
        if found.get("type") == "object" or found.get("discriminator"):
            return "section"
        return _TYPES.get(str(found.get("type")), "anything")


def _title(definition: str) -> str:
    words = re.sub(r"(Settings|Model|Config)$", "", definition)
    return re.sub(r"(?<!^)(?=[A-Z][a-z])", " ", words).lower()


def _yaml(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _table(rows: Any) -> str:
    body = "\n".join(f"| `{key}` | {value} | {told} |" for key, value, told in rows)
    return f"\n| key | value | what it is |\n|---|---|---|\n{body}\n" if body else ""
